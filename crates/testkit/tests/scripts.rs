//! Scripts in simulation: each happens at one moment, whatever keys it touches and declares.

use basalt_commands::config::Config;
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
            transfers(shards, seed);
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

fn transfers(shards: usize, seed: u64) {
    let mut simulation = Simulation::new(shards, Config::default(), seed);
    let mut random = Random::from_seed(seed + 1);
    let clients: Vec<ClientId> = (0..4).map(|at| simulation.connect(at % shards)).collect();
    let place = format!("{shards} shards, seed {seed}");
    for account in 0..ACCOUNTS {
        let line = format!("SET account{account} {EACH}");
        assert_eq!(simulation.ask_line(clients[0], &line), "OK");
    }
    let names: Vec<String> = (0..ACCOUNTS).map(|account| format!("account{account}")).collect();
    for _ in 0..30 {
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
                    let mut args = vec!["EVAL", TRANSFER];
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
