//! The engine in simulation: replies equal those of a plain map, in order, whatever the delivery,
//! the cutting of the input and the number of shards.

use std::collections::HashMap;

use basalt_commands::config::Config;
use basalt_resp::{Value, encode_request};
use basalt_testkit::client::replies;
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

/// Clients with their own keys, so that a model knows each reply.
fn one_history(seed: u64, shards: usize) {
    let mut random = Random::from_seed(seed);
    let mut simulation = Simulation::new(shards, Config::default(), seed);
    simulation.fragments = random.one_in(2);
    let clients: Vec<ClientId> = (0..5).map(|core| simulation.connect(core)).collect();
    let mut models: Vec<HashMap<String, String>> = vec![HashMap::new(); clients.len()];
    let mut expected: Vec<Vec<Value>> = vec![Vec::new(); clients.len()];
    for _ in 0..20 {
        for (index, &client) in clients.iter().enumerate() {
            let mut bytes = Vec::new();
            for _ in 0..random.below(40) {
                let mut ask = |(args, value): (Vec<String>, Value)| {
                    encode_request(&args, &mut bytes);
                    expected[index].push(value);
                };
                if random.one_in(6) {
                    transaction(&mut random, index, &mut models[index]).into_iter().for_each(ask);
                } else {
                    ask(request(&mut random, index, &mut models[index]));
                }
            }
            simulation.send(client, &bytes);
        }
        for _ in 0..random.below(30) {
            simulation.step();
        }
    }
    simulation.settle();
    for (index, &client) in clients.iter().enumerate() {
        let got = replies(&simulation.take_received(client));
        assert_eq!(got, expected[index], "client {index}, seed {seed}, {shards} shards");
    }
    let keys: usize = models.iter().map(HashMap::len).sum();
    let asker = simulation.connect(0);
    simulation.send(asker, b"DBSIZE\r\n");
    simulation.settle();
    assert_eq!(replies(&simulation.take_received(asker)), [Value::Integer(keys as i64)]);
    for shard in 0..shards {
        simulation.core(shard).keyspace().verify();
    }
}

/// Some requests between MULTI and EXEC.
fn transaction(
    random: &mut Random,
    client: usize,
    model: &mut HashMap<String, String>,
) -> Vec<(Vec<String>, Value)> {
    let word = |word: &str| vec![word.to_owned()];
    let mut asked = vec![(word("MULTI"), Value::simple("OK"))];
    let mut values = Vec::new();
    for _ in 0..random.below(5) {
        let (args, value) = request(random, client, model);
        asked.push((args, Value::simple("QUEUED")));
        values.push(value);
    }
    asked.push((word("EXEC"), Value::Array(values)));
    asked
}

fn request(
    random: &mut Random,
    client: usize,
    model: &mut HashMap<String, String>,
) -> (Vec<String>, Value) {
    let mut key = || format!("c{client}:k{}", random.below(12));
    let (key, other) = (key(), key());
    let text = |value: Option<&String>| match value {
        Some(text) => Value::bulk(text),
        None => Value::Null,
    };
    let number = random.number() % 1000;
    let args = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    match random.below(9) {
        0 | 1 => {
            let value = format!("v{number}");
            model.insert(key.clone(), value.clone());
            (args(&["SET", &key, &value]), Value::simple("OK"))
        }
        2 | 3 => (args(&["GET", &key]), text(model.get(&key))),
        4 => {
            let gone = usize::from(model.remove(&key).is_some())
                + usize::from(model.remove(&other).is_some());
            (args(&["DEL", &key, &other]), Value::Integer(gone as i64))
        }
        5 => {
            let got = [&key, &other, &key].map(|key| text(model.get(key)));
            (args(&["MGET", &key, &other, &key]), Value::Array(got.into()))
        }
        6 => {
            model.insert(key.clone(), "a".into());
            model.insert(other.clone(), "b".into());
            (args(&["MSET", &key, "a", &other, "b"]), Value::simple("OK"))
        }
        7 => {
            let reply = match model.get(&key).cloned() {
                None => Value::error("ERR no such key"),
                Some(value) => {
                    model.remove(&key);
                    model.insert(other.clone(), value);
                    Value::simple("OK")
                }
            };
            (args(&["RENAME", &key, &other]), reply)
        }
        _ => (args(&["PING", &key]), Value::bulk(&key)),
    }
}

#[test]
fn replies_are_a_maps_in_every_order_of_delivery() {
    for seed in 0..300 {
        one_history(seed, 1 + (seed % 8) as usize);
    }
}

#[test]
fn a_scan_over_shards_meets_every_key() {
    for shards in [1, 3, 4] {
        let mut simulation = Simulation::new(shards, Config::default(), 5);
        let client = simulation.connect(1);
        for number in 0..5000 {
            simulation.send(client, format!("SET key:{number} x\r\n").as_bytes());
        }
        simulation.settle();
        simulation.take_received(client);
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            simulation.send(client, format!("SCAN {cursor} COUNT 100\r\n").as_bytes());
            simulation.settle();
            let reply = replies(&simulation.take_received(client)).remove(0);
            let Value::Array(parts) = reply else { panic!("SCAN gives an array") };
            let Value::Array(keys) = &parts[1] else { panic!("SCAN gives keys") };
            assert!(keys.len() < 200, "{} keys in one go", keys.len());
            seen.extend(keys.iter().map(|key| key.as_bytes().expect("a key").to_vec()));
            cursor = String::from_utf8(parts[0].as_bytes().expect("a cursor").to_vec()).unwrap();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 5000, "on {shards} shards");
    }
}

#[test]
fn a_long_pipeline_is_answered_whole() {
    for shards in [1, 4] {
        let mut simulation = Simulation::new(shards, Config::default(), 9);
        let client = simulation.connect(0);
        let count = 50_000;
        let mut bytes = Vec::new();
        for number in 0..count {
            encode_request(&["INCR", &format!("n{}", number % 7)], &mut bytes);
        }
        simulation.send(client, &bytes);
        simulation.settle();
        let replies = replies(&simulation.take_received(client));
        assert_eq!(replies.len(), count);
        for (number, reply) in replies.into_iter().enumerate() {
            assert_eq!(reply, Value::Integer((number / 7 + 1) as i64));
        }
    }
}

#[test]
fn keys_go_at_their_moment() {
    let mut simulation = Simulation::new(4, Config::default(), 11);
    let client = simulation.connect(2);
    for number in 0..2000 {
        simulation.send(client, format!("SET k{number} x PX {}\r\n", 1000 + number).as_bytes());
    }
    simulation.settle();
    simulation.take_received(client);
    for step in 1..=30_u64 {
        simulation.advance_ms(100);
        simulation.settle();
        simulation.send(client, b"DBSIZE\r\n");
        simulation.settle();
        let left = 2000_u64.saturating_sub((step * 100).saturating_sub(999)).min(2000);
        assert_eq!(
            replies(&simulation.take_received(client)),
            [Value::Integer(left as i64)],
            "after {} ms",
            step * 100
        );
    }
}

#[test]
fn who_never_reads_holds_up_nobody_and_loses_nothing() {
    for shards in [1, 4] {
        let mut simulation = Simulation::new(shards, Config::default(), 21);
        let deaf = simulation.connect(0);
        let other = simulation.connect(0);
        simulation.set_deaf(deaf, true);
        let value = "x".repeat(10_000);
        simulation.send(other, format!("SET big {value}\r\n").as_bytes());
        simulation.settle();
        assert_eq!(replies(&simulation.take_received(other)), [Value::simple("OK")]);
        let count = 3000;
        for _ in 0..count {
            simulation.send(deaf, b"GET big\r\n");
        }
        simulation.settle();
        let received = simulation.take_received(deaf);
        let first = received.len();
        assert!(first < 4 << 20, "its replies wait as requests, not as {first} bytes of output");
        simulation.send(other, b"PING\r\n");
        simulation.settle();
        assert_eq!(replies(&simulation.take_received(other)), [Value::simple("PONG")]);
        simulation.set_deaf(deaf, false);
        simulation.settle();
        let mut all = received;
        all.extend(simulation.take_received(deaf));
        let replies = replies(&all);
        assert_eq!(replies.len(), count);
        assert!(replies.iter().all(|reply| *reply == Value::bulk(&value)));
    }
}

#[test]
fn who_is_over_the_output_limit_is_cut_off() {
    let config = Config::default()
        .set(&[(b"client-output-buffer-limit", b"normal 100000 0 0")], true)
        .expect("the limit can be set");
    let mut simulation = Simulation::new(2, config, 22);
    let deaf = simulation.connect(0);
    simulation.set_deaf(deaf, true);
    simulation.send(deaf, format!("SET big {}\r\n", "x".repeat(60_000)).as_bytes());
    for _ in 0..5 {
        simulation.send(deaf, b"GET big\r\n");
    }
    simulation.settle();
    simulation.advance_ms(200);
    simulation.settle();
    assert!(!simulation.is_connected(deaf));
}

#[test]
fn a_session_ends_when_its_input_ends_and_all_is_answered() {
    for shards in [1, 4] {
        let mut simulation = Simulation::new(shards, Config::default(), 23);
        let client = simulation.connect(0);
        for number in 0..500 {
            simulation.send(client, format!("SET k{number} x\r\nMGET k1 k2 k3\r\n").as_bytes());
        }
        simulation.send(client, b"*2\r\n$3\r\nGET\r\n$100\r\ncut");
        simulation.end_input(client);
        simulation.settle();
        assert_eq!(replies(&simulation.take_received(client)).len(), 1000);
        assert!(!simulation.is_connected(client));
    }
}

#[test]
fn a_protocol_error_is_answered_after_what_came_before_it_and_ends_the_session() {
    for shards in [1, 4] {
        let mut simulation = Simulation::new(shards, Config::default(), 24);
        let client = simulation.connect(1);
        simulation.send(client, b"SET a 1\r\nGET a\r\n*1\r\n!oops\r\nGET a\r\n");
        simulation.settle();
        let got = replies(&simulation.take_received(client));
        let error = Value::error("ERR Protocol error: expected '$', got '!'");
        assert_eq!(got, [Value::simple("OK"), Value::bulk("1"), error]);
        assert!(!simulation.is_connected(client));
    }
}

#[test]
fn idle_sessions_end_after_the_timeout() {
    let config = Config::default().set(&[(b"timeout", b"10")], true).expect("it can be set");
    let mut simulation = Simulation::new(1, config, 25);
    let (idle, busy) = (simulation.connect(0), simulation.connect(0));
    for _ in 0..12 {
        simulation.advance_ms(1000);
        simulation.send(busy, b"PING\r\n");
        simulation.settle();
    }
    assert!(!simulation.is_connected(idle) && simulation.is_connected(busy));
}

/// A single client among many idle ones is found in time.
#[test]
fn an_idle_session_ends_in_time_though_thousands_left() {
    let config = Config::default().set(&[(b"timeout", b"10")], true).expect("it can be set");
    let mut simulation = Simulation::new(1, config, 28);
    let clients: Vec<_> = (0..2000).map(|_| simulation.connect(0)).collect();
    let (last, others) = clients.split_last().expect("there are some");
    others.iter().for_each(|client| simulation.disconnect(*client));
    simulation.rest_ms(9_900);
    assert!(simulation.is_connected(*last));
    simulation.rest_ms(1_000);
    assert!(!simulation.is_connected(*last));
}

/// A core sleeps until it gets a message, so it must schedule its own work for clients.
#[test]
fn a_core_that_nobody_talks_to_wakes_for_timeouts_alone() {
    let config = Config::default();
    let mut simulation = Simulation::new(2, config.clone(), 26);
    let clients: Vec<_> = (0..2000).map(|core| simulation.connect(core)).collect();
    assert_eq!(simulation.rest_ms(600_000), 0, "nothing is due");
    assert!(clients.iter().all(|client| simulation.is_connected(*client)));

    let config = config.set(&[(b"timeout", b"10")], true).expect("it can be set");
    let mut simulation = Simulation::new(2, config, 27);
    let clients: Vec<_> = (0..2000).map(|core| simulation.connect(core)).collect();
    simulation.rest_ms(9_000);
    assert!(clients.iter().all(|client| simulation.is_connected(*client)));
    simulation.rest_ms(2_000);
    assert!(!clients.iter().any(|client| simulation.is_connected(*client)));
    assert!(simulation.rest_ms(600_000) <= 2, "a last look finds nobody left to look after");
}

#[test]
fn the_first_core_wakes_to_balance_slots() {
    let config = Config::default().set(&[(b"balance-slots", b"yes")], true).expect("it can be set");
    for (shards, looks) in [(1, 0..=0), (2, 59..=61)] {
        let mut simulation = Simulation::new(shards, config.clone(), 29);
        let wakes = simulation.rest_ms(60_000);
        assert!(looks.contains(&wakes), "{wakes} looks in a minute");
    }
}

/// With `pipeline-order strict` no later command of a pipeline takes effect before an earlier one:
/// the key written last never exists without those written before it.
#[test]
fn a_strict_pipeline_runs_in_its_order() {
    let config =
        Config::default().set(&[(b"pipeline-order", b"strict")], true).expect("it can be set");
    for seed in 0..40 {
        let mut simulation = Simulation::new(4, config.clone(), seed);
        let writer = simulation.connect(0);
        let count = 40;
        for number in 0..count {
            simulation.send(writer, format!("SET k{number} x\r\n").as_bytes());
        }
        for _ in 0..2000 {
            simulation.step();
            let there: Vec<bool> = (0..count)
                .map(|number| {
                    let name = format!("k{number}");
                    (0..4).any(|shard| {
                        let keyspace = simulation.core(shard).keyspace();
                        let key = keyspace.key(name.as_bytes());
                        keyspace.peek(basalt_keyspace::DatabaseId(0), &key).is_some()
                    })
                })
                .collect();
            let done = there.iter().take_while(|&&there| there).count();
            assert!(!there[done..].contains(&true), "seed {seed}: {there:?}");
            if done == count {
                break;
            }
        }
        simulation.settle();
        assert_eq!(replies(&simulation.take_received(writer)).len(), count);
    }
}

/// A watch is checked when an EXEC is decided; keys that expire while the shards execute it change
/// nothing.
#[test]
fn a_watched_key_that_expires_under_way_makes_no_half_exec() {
    for seed in 0..600 {
        let mut random = Random::from_seed(seed);
        let shards = 2 + random.below(3);
        let mut simulation = Simulation::new(shards, Config::default(), seed);
        let (client, other) = (simulation.connect(random.below(4)), simulation.connect(0));
        let watched = ["a", "b", "c", "k", "l"][random.below(5)];
        simulation.ask_line(client, &format!("SET {watched} x PX {}", 2 + random.below(4)));
        simulation.ask_line(client, &format!("WATCH {watched}"));
        let mut lines = String::from("MULTI\r\n");
        for key in ["1", "2", "3", "4"].into_iter().take(2 + random.below(3)) {
            lines += &format!("INCR n{key}\r\n");
        }
        simulation.send(client, (lines + "EXEC\r\n").as_bytes());
        for _ in 0..40 {
            simulation.step();
            if random.one_in(6) {
                simulation.advance_ms(1);
            }
        }
        simulation.settle();
        let told = simulation.received_lines(client);
        let values = simulation.ask_line(other, "MGET n1 n2 n3 n4");
        let counted = values.split(' ').filter(|value| *value == "1").count();
        let queued = told.iter().filter(|line| *line == "QUEUED").count();
        let wanted = if told.last().is_some_and(|line| line == "(nil)") { 0 } else { queued };
        assert_eq!(counted, wanted, "seed {seed}: {told:?}, {values}");
        for shard in 0..shards {
            assert!(simulation.core(shard).is_at_rest(), "seed {seed}");
        }
    }
}
