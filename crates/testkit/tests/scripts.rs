//! Scripts in simulation: each happens at one moment, whatever keys it touches and declares.

use basalt_commands::config::Config;
use basalt_keyspace::SlotId;
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

const ACCOUNTS: usize = 6;
const EACH: i64 = 100;

/// Moves an amount from one account to another, whose names it is given as arguments: it declares whatever
/// the test wants it to.
const TRANSFER: &str = "local from, to = 'account' .. ARGV[1], 'account' .. ARGV[2]
    redis.call('INCRBY', from, -ARGV[3])
    redis.call('RPUSH', 'log' .. ARGV[1], ARGV[3])
    redis.call('INCRBY', to, ARGV[3])
    return 'moved'";

/// As [`TRANSFER`], but it takes so long that it pauses several times.
const SLOW_TRANSFER: &str = "local from, to = 'account' .. ARGV[1], 'account' .. ARGV[2]
    local function wait() for i = 1, 6e5 do end end
    redis.call('INCRBY', from, -ARGV[3])
    wait()
    redis.call('RPUSH', 'log' .. ARGV[1], ARGV[3])
    redis.call('PUBLISH', 'moved', ARGV[3])
    wait()
    redis.call('INCRBY', to, ARGV[3])
    wait()
    return 'moved'";

const TOTAL: &str = "local sum = 0
    for i = 0, 5 do sum = sum + (tonumber(redis.call('GET', 'account' .. i)) or 0) end
    return sum";

fn send(simulation: &mut Simulation, client: ClientId, args: &[&str]) {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let mut request = Vec::new();
    encode_request(&args, &mut request);
    simulation.send(client, &request);
}

/// Scripts that lie about their keys, MGETs and EXECs at the same time see the same sum.
#[test]
fn scripts_over_shards_happen_at_one_moment() {
    for shards in 1..=5 {
        for seed in 0..6 {
            transfers(shards, seed, TRANSFER, 30);
        }
    }
}

/// The same of scripts that pause in their middle.
#[test]
fn nobody_sees_half_of_a_script_that_pauses() {
    for shards in 1..=4 {
        for seed in 0..2 {
            transfers(shards, 100 + seed, SLOW_TRANSFER, 4);
        }
    }
}

/// As long as a script spins the simulation never rests, so it goes on for so many steps.
fn steps(simulation: &mut Simulation, count: usize) {
    for _ in 0..count {
        simulation.step();
    }
}

/// A script that spins has others answered -BUSY, on its shard alone, until it is killed.
#[test]
fn a_busy_script_keeps_others_off_its_shard_only() {
    for seed in 0..3 {
        let mut simulation = Simulation::new(2, Config::default(), seed);
        let clients: Vec<ClientId> = (0..4).map(|at| simulation.connect(at % 2)).collect();
        let keys: Vec<String> = (0..6).map(|at| format!("key{at}")).collect();
        for key in &keys {
            assert_eq!(simulation.ask_line(clients[0], &format!("SET {key} 1")), "OK");
        }
        send(&mut simulation, clients[1], &["EVAL", "while true do end", "1", &keys[0]]);
        steps(&mut simulation, 20);
        // These wait for it, until it is busy.
        send(&mut simulation, clients[2], &["GET", &keys[0]]);
        send(&mut simulation, clients[3], &["GET", &keys[0]]);
        steps(&mut simulation, 20);
        assert_eq!(received(&mut simulation, clients[2]), []);
        simulation.advance_ms(6_000);
        steps(&mut simulation, 40);
        let is_busy =
            |value: &Value| matches!(value, Value::Error(text) if text.starts_with(b"BUSY"));
        for client in [clients[2], clients[3]] {
            let replies = received(&mut simulation, client);
            assert!(replies.len() == 1 && is_busy(&replies[0]), "seed {seed}: {replies:?}");
        }
        for key in &keys {
            send(&mut simulation, clients[0], &["GET", key]);
        }
        steps(&mut simulation, 60);
        let answers = received(&mut simulation, clients[0]);
        assert_eq!(answers.len(), keys.len(), "seed {seed}");
        assert!(is_busy(&answers[0]) && !answers.iter().all(is_busy), "seed {seed}: {answers:?}");
        send(&mut simulation, clients[2], &["SCRIPT", "KILL"]);
        simulation.settle();
        assert_eq!(received(&mut simulation, clients[2]), [Value::Simple(b"OK".to_vec())]);
        assert_eq!(simulation.ask_line(clients[0], &format!("GET {}", keys[0])), "1");
        assert_eq!(received(&mut simulation, clients[1]).len(), 1);
        for shard in 0..2 {
            assert!(simulation.core(shard).is_at_rest(), "seed {seed}");
        }
    }
}

#[test]
fn of_two_busy_scripts_each_keeps_its_shard_until_it_ends() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(2, Config::default(), seed);
        let clients: Vec<ClientId> = (0..4).map(|at| simulation.connect(at % 2)).collect();
        let keys: Vec<String> = (0..12).map(|at| format!("key{at}")).collect();
        for key in &keys {
            assert_eq!(simulation.ask_line(clients[0], &format!("SET {key} 1")), "OK");
        }
        let shard_of = |key: &String| usize::from(SlotId::of_key(key.as_bytes()).0) * 2 / 16_384;
        for (shard, client) in [2, 1].iter().enumerate() {
            let key = keys.iter().find(|key| shard_of(key) == shard).expect("keys of both");
            send(&mut simulation, clients[*client], &["EVAL", "while true do end", "1", key]);
            steps(&mut simulation, 20);
            simulation.advance_ms(6_000);
            steps(&mut simulation, 40);
        }
        for key in &keys {
            send(&mut simulation, clients[0], &["GET", key]);
            while !simulation.has_received(clients[0]) {
                steps(&mut simulation, 1);
            }
            let answers = received(&mut simulation, clients[0]);
            assert!(
                matches!(&answers[..], [Value::Error(text)] if text.starts_with(b"BUSY")),
                "seed {seed}: {answers:?}"
            );
        }
        // Asked where a script turned busy last, which ends before it hears of the other's end.
        send(&mut simulation, clients[3], &["SCRIPT", "KILL"]);
        simulation.settle();
        assert_eq!(received(&mut simulation, clients[3]), [Value::Simple(b"OK".to_vec())]);
        for client in [clients[0], clients[3]] {
            for key in &keys {
                let value = simulation.ask_line(client, &format!("GET {key}"));
                assert_eq!(value, "1", "seed {seed}");
            }
            assert_eq!(simulation.ask_line(client, "DBSIZE"), "12", "seed {seed}");
        }
    }
}

fn received(simulation: &mut Simulation, client: ClientId) -> Vec<Value> {
    let bytes = simulation.take_received(client);
    let (mut rest, mut values) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (value, len) = decode(rest).expect("it is well-formed").expect("it is whole");
        values.push(value);
        rest = &rest[len..];
    }
    values
}

/// A reply to MGET, to the sum, or to a transfer.
fn check(reply: &Value, place: &str) {
    let expected = EACH * ACCOUNTS as i64;
    match reply {
        Value::Array(values) => {
            let amount = |value: &Value| {
                let text = String::from_utf8_lossy(value.as_bytes().expect("a text")).into_owned();
                text.parse::<i64>().expect("a number")
            };
            assert_eq!(values.iter().map(amount).sum::<i64>(), expected, "MGET, {place}");
        }
        Value::Integer(sum) => assert_eq!(*sum, expected, "EVAL, {place}"),
        other => assert_eq!(other.as_bytes(), Some(b"moved".as_slice()), "{other:?}, {place}"),
    }
}

fn transfers(shards: usize, seed: u64, transfer: &str, rounds: usize) {
    let mut simulation = Simulation::new(shards, Config::default(), seed);
    let mut random = Random::from_seed(seed + 1);
    let clients: Vec<ClientId> = (0..4).map(|at| simulation.connect(at % shards)).collect();
    let place = format!("{shards} shards, seed {seed}");
    for account in 0..ACCOUNTS {
        let line = format!("SET account{account} {EACH}");
        assert_eq!(simulation.ask_line(clients[0], &line), "OK");
    }
    let names: Vec<String> = (0..ACCOUNTS).map(|account| format!("account{account}")).collect();
    for _ in 0..rounds {
        for &client in &clients {
            match random.below(4) {
                0 => {
                    let mut args = vec!["MGET"];
                    args.extend(names.iter().map(String::as_str));
                    send(&mut simulation, client, &args);
                }
                1 => send(&mut simulation, client, &["EVAL_RO", TOTAL, "1", &names[0]]),
                _ => {
                    let from = random.below(ACCOUNTS).to_string();
                    let to = random.below(ACCOUNTS).to_string();
                    let amount = (1 + random.below(20)).to_string();
                    let declared = format!("account{}", [&from, &to][random.below(2)]);
                    let mut args = vec!["EVAL", transfer];
                    if random.below(3) > 0 {
                        args.extend(["1", &declared]);
                    } else {
                        args.push("0");
                    }
                    args.extend([from.as_str(), &to, &amount]);
                    send(&mut simulation, client, &args);
                }
            }
        }
        simulation.settle();
        for &client in &clients {
            for reply in received(&mut simulation, client) {
                check(&reply, &place);
            }
        }
    }
    send(&mut simulation, clients[0], &["EVAL", TOTAL, "0"]);
    simulation.settle();
    assert_eq!(received(&mut simulation, clients[0]).len(), 1, "{place}");
    for shard in 0..shards {
        simulation.core(shard).keyspace().verify();
        assert!(simulation.core(shard).is_at_rest(), "{place}");
    }
}
