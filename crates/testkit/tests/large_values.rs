//! Large arguments are received apart from their requests, and large replies are shared with the data: nobody may
//! see that.

use basalt_commands::config::Config;
use basalt_resp::{Value, encode_request};
use basalt_testkit::client::replies;
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

fn send(simulation: &mut Simulation, client: ClientId, args: &[&[u8]]) {
    let mut bytes = Vec::new();
    encode_request(args, &mut bytes);
    simulation.send(client, &bytes);
}

fn received(simulation: &mut Simulation, client: ClientId) -> Vec<Value> {
    simulation.settle();
    replies(&simulation.take_received(client))
}

/// A value of so many bytes that no other has.
fn value(random: &mut Random, len: usize) -> Vec<u8> {
    let start = random.number();
    (0..len as u64)
        .map(|at| (start.wrapping_add(at).wrapping_mul(0x9e37_79b9) >> 11) as u8)
        .collect()
}

#[test]
fn large_arguments_arrive_however_they_are_cut() {
    let (ok, none) = (Value::simple("OK"), Value::Integer(0));
    let anything = Value::Push(Vec::new());
    let mut received_directly = 0;
    for seed in 0..30 {
        let mut random = Random::from_seed(seed);
        let mut simulation = Simulation::new(1 + random.below(4), Config::default(), seed);
        simulation.fragments = true;
        let client = simulation.connect(0);
        let mut expected = Vec::new();
        for round in 0..6 {
            let key = format!("key{}", random.below(4)).into_bytes();
            let len = [10, 65_535, 65_536, 70_000, 300_000, 2_400_000][random.below(6)];
            let (first, second) = (value(&mut random, len), value(&mut random, 100_000));
            match random.below(6) {
                0 => {
                    send(&mut simulation, client, &[b"SET", &key, &first, b"EX", b"100"]);
                    expected.push(ok.clone());
                }
                1 => {
                    let other = format!("other{round}").into_bytes();
                    let args = [b"MSET", &key[..], &first, &other, &second];
                    send(&mut simulation, client, &args);
                    send(&mut simulation, client, &[b"GET", &other]);
                    expected.extend([ok.clone(), Value::Bulk(second)]);
                }
                2 => {
                    send(&mut simulation, client, &[b"GETSET", b"absent", &first]);
                    send(&mut simulation, client, &[b"DEL", b"absent"]);
                    send(&mut simulation, client, &[b"SET", &key, &first]);
                    expected.extend([Value::Null, Value::Integer(1), ok.clone()]);
                }
                3 => {
                    // Behind one that waits for other shards, and in a transaction.
                    send(&mut simulation, client, &[b"MULTI"]);
                    send(&mut simulation, client, &[b"SET", &key, &first]);
                    send(&mut simulation, client, &[b"EXEC"]);
                    let queued = Value::simple("QUEUED");
                    expected.extend([ok.clone(), queued, Value::Array(vec![ok.clone()])]);
                }
                4 => {
                    send(
                        &mut simulation,
                        client,
                        &[b"DEL", &key, b"absent1", b"absent2", b"absent3"],
                    );
                    send(&mut simulation, client, &[b"EXISTS", b"absent1"]);
                    send(&mut simulation, client, &[b"SET", &key, &first, b"NX"]);
                    expected.push(anything.clone());
                    expected.extend([none.clone(), ok.clone()]);
                }
                _ => {
                    send(&mut simulation, client, &[b"SET", &key, b"start"]);
                    send(&mut simulation, client, &[b"APPEND", &key, &first]);
                    send(&mut simulation, client, &[b"SETRANGE", &key, b"0", &first]);
                    let len = first.len() as i64;
                    let whole = Value::Integer(len + 5);
                    expected.extend([ok.clone(), whole.clone(), whole]);
                    send(&mut simulation, client, &[b"SET", &key, &first]);
                    expected.push(ok.clone());
                }
            }
            send(&mut simulation, client, &[b"GET", &key]);
            send(&mut simulation, client, &[b"GETRANGE", &key, b"5", b"-2"]);
            send(&mut simulation, client, &[b"PING"]);
            let part = first[5..first.len() - 1].to_vec();
            expected.extend([Value::Bulk(first), Value::Bulk(part), Value::simple("PONG")]);
        }
        let got = received(&mut simulation, client);
        assert_eq!(got.len(), expected.len(), "seed {seed}");
        received_directly += simulation.received_directly;
        for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!(*expected == anything || got == expected, "seed {seed}, reply {index}");
        }
    }
    assert!(received_directly > 10 << 20, "{received_directly} bytes");
}

/// What is being sent stays what it was when it was asked for, whatever happens to the key meanwhile.
#[test]
fn a_large_reply_never_changes() {
    for shards in [1, 2] {
        let mut simulation = Simulation::new(shards, Config::default(), 41);
        let (deaf, other) = (simulation.connect(0), simulation.connect(0));
        let mut random = Random::from_seed(41);
        let mut expected = Vec::new();
        simulation.set_deaf(deaf, true);
        send(&mut simulation, deaf, &[b"PING"]);
        simulation.settle();
        let keys: Vec<Vec<u8>> = (0..4).map(|key| format!("key{key}").into_bytes()).collect();
        for (number, key) in keys.iter().enumerate() {
            let first = value(&mut random, 200_000);
            send(&mut simulation, other, &[b"SET", key, &first]);
            simulation.settle();
            send(&mut simulation, deaf, &[b"GET", key]);
            simulation.settle();
            let change: [&[&[u8]]; 4] = [
                &[b"SETRANGE", key, b"7", b"changed"],
                &[b"APPEND", key, b"more"],
                &[b"DEL", key],
                &[b"SETBIT", key, b"9", b"1"],
            ];
            send(&mut simulation, other, change[number]);
            simulation.settle();
            expected.push(Value::Bulk(first));
        }
        simulation.take_received(other);
        simulation.set_deaf(deaf, false);
        let got = received(&mut simulation, deaf);
        assert!(got[1..] == expected[..], "with {shards} shards");
    }
}

#[test]
fn a_request_that_has_begun_costs_what_was_sent() {
    let mut simulation = Simulation::new(1, Config::default(), 42);
    let (client, other) = (simulation.connect(0), simulation.connect(0));
    simulation.send(client, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n");
    simulation.settle();
    for sent in 1..=6 {
        simulation.send(client, &vec![b'x'; 1 << 20]);
        simulation.settle();
        send(&mut simulation, other, &[b"CLIENT", b"LIST"]);
        let list = received(&mut simulation, other);
        let list = String::from_utf8_lossy(list[0].as_bytes().expect("a text")).into_owned();
        let line = list.lines().find(|line| line.contains("qbuf=") && !line.contains("qbuf=0"));
        let field = |name: &str| -> usize {
            let line = line.expect("the client has something in its buffer");
            let rest = line.split(name).nth(1).expect("the field is there");
            rest.split(' ').next().and_then(|text| text.parse().ok()).expect("a number")
        };
        assert!(field(" qbuf=") >= sent << 20);
        let memory = field(" tot-mem=");
        assert!(memory < (sent << 20) + (64 << 10), "{memory} bytes for {sent} MiB");
    }
    assert_eq!(simulation.received_directly, 6 << 20);
}
