//! SORT in simulation: the values that it reads on many shards are of one moment, whatever the
//! delivery.
//!
//! One test lets the engine ignore all conflicts, and must notice.

use basalt_commands::config::Config;
use basalt_resp::{Value, encode_request};
use basalt_testkit::client::replies;
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

/// Keys that are named after the elements.
const KEYS: usize = 6;

fn send(simulation: &mut Simulation, client: ClientId, lines: &[&str]) {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        encode_request(&words, &mut bytes);
    }
    simulation.send(client, &bytes);
}

/// All keys hold the same number at any moment.
fn assert_one_moment(reply: &Value, seed: u64) {
    let Value::Array(values) = reply else { panic!("seed {seed}: {reply:?}") };
    assert_eq!(values.len(), KEYS, "seed {seed}");
    assert!(values.iter().all(|value| *value == values[0]), "seed {seed}: {values:?}");
}

fn mset(number: u64) -> String {
    let pairs: Vec<String> = (0..KEYS).map(|key| format!("w_{key} {number}")).collect();
    format!("MSET {}", pairs.join(" "))
}

fn sorts_see_one_moment(seed: u64) {
    let mut random = Random::from_seed(seed);
    let shards = 1 + random.below(6);
    let mut simulation = Simulation::new(shards, Config::default(), seed);
    let writers: Vec<ClientId> = (0..2).map(|core| simulation.connect(core)).collect();
    let sorters: Vec<ClientId> = (0..3).map(|core| simulation.connect(core)).collect();
    let elements: Vec<String> = (0..KEYS).map(|key| key.to_string()).collect();
    let push = format!("RPUSH ids {}", elements.join(" "));
    send(&mut simulation, writers[0], &[&push, &mset(0), "SORT ids GET w_* STORE sorted"]);
    simulation.settle();
    writers.iter().for_each(|writer| drop(simulation.take_received(*writer)));
    let mut asked = 0;
    for round in 1..40 {
        let writer = *random.pick(&writers);
        send(&mut simulation, writer, &[&mset(round)]);
        let sorter = *random.pick(&sorters);
        match random.below(3) {
            0 => send(&mut simulation, sorter, &["SORT ids BY w_* GET w_*"]),
            1 => send(&mut simulation, sorter, &["MULTI", "SORT_RO ids BY x_* GET w_*", "EXEC"]),
            _ => {
                let lines = ["SORT ids BY w_* GET w_* STORE sorted", "LRANGE sorted 0 -1"];
                send(&mut simulation, sorter, &lines);
            }
        }
        asked += 1;
        (0..random.below(6 * shards)).for_each(|_| _ = simulation.step());
    }
    simulation.settle();
    let mut seen = 0;
    for sorter in sorters {
        for reply in replies(&simulation.take_received(sorter)) {
            match &reply {
                Value::Array(inner) if inner.len() == 1 => assert_one_moment(&inner[0], seed),
                Value::Array(_) => assert_one_moment(&reply, seed),
                _ => continue,
            }
            seen += 1;
        }
    }
    assert_eq!(seen, asked, "seed {seed}: each is answered");
    for shard in 0..shards {
        simulation.core(shard).keyspace().verify();
        assert!(simulation.core(shard).is_at_rest(), "seed {seed}: shard {shard}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn it_is_noticed_when_other_moments_are_mixed_in() {
    basalt_engine::break_isolation();
    let is_noticed = |seed| std::panic::catch_unwind(|| sorts_see_one_moment(seed)).is_err();
    assert!((0..150).any(is_noticed));
}

#[test]
fn what_sort_reads_is_of_one_moment() {
    (0..150).for_each(sorts_see_one_moment);
}
