//! Isolation in simulation: commands over keys of several shards are seen as happening at one moment.

use basalt_commands::config::Config;
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::chance::Chance;
use basalt_testkit::simulation::{ClientId, Simulation};

fn replies(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, len) =
            decode(bytes).expect("replies are well-formed").expect("replies are whole");
        values.push(value);
        bytes = &bytes[len..];
    }
    values
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Writers set all keys to one value at once, and some leave in the midst of it; readers must find
/// nothing else than one value in all of them.
fn sets_and_gets(seed: u64) {
    let mut chance = Chance::from_seed(seed);
    let shards = 1 + chance.below(8);
    let mut simulation = Simulation::new(shards, Config::default(), seed);
    simulation.fragments = chance.one_in(3);
    let mut clients: Vec<ClientId> = (0..6).map(|_| simulation.connect(chance.below(8))).collect();
    let mut number = 0;
    for _ in 0..25 {
        for (index, client) in clients.iter_mut().enumerate() {
            let mut bytes = Vec::new();
            for _ in 0..chance.below(4) {
                let mut names = NAMES.to_vec();
                for at in 1..names.len() {
                    names.swap(at, chance.below(at + 1));
                }
                if index % 2 == 0 {
                    number += 1;
                    let value = number.to_string();
                    let mut request = vec!["MSET"];
                    names.iter().for_each(|name| request.extend([*name, &value]));
                    encode_request(&request, &mut bytes);
                } else if chance.one_in(3) {
                    encode_request(&["GET", names[0]], &mut bytes);
                } else {
                    encode_request(&[&["MGET"], names.as_slice()].concat(), &mut bytes);
                }
            }
            simulation.send(*client, &bytes);
            if chance.one_in(20) {
                simulation.disconnect(*client);
                *client = simulation.connect(chance.below(8));
            }
        }
        for _ in 0..chance.below(12) {
            simulation.step();
        }
    }
    simulation.settle();
    for client in clients {
        for reply in replies(&simulation.take_received(client)) {
            let values = match reply {
                Value::Array(values) => values,
                value @ Value::Bulk(_) => vec![value],
                _ => continue,
            };
            assert!(values.iter().all(|value| *value == values[0]), "seed {seed}: {values:?}");
        }
    }
    for shard in 0..shards {
        simulation.core(shard).keyspace().verify();
        assert!(
            simulation.core(shard).is_at_rest(),
            "seed {seed}: shard {shard} waits for something"
        );
    }
}

#[test]
fn many_keys_change_at_one_moment() {
    for seed in 0..500 {
        sets_and_gets(seed);
    }
}
