//! Statistics of shards, in simulation: transactions by kind, waits, and the transaction log.

use basalt_commands::config::Config;
use basalt_engine::{ShardSnapshot, TransactionStats};
use basalt_resp::encode_request;
use basalt_testkit::simulation::{ClientId, Simulation};

fn send(simulation: &mut Simulation, client: ClientId, line: &str) {
    let mut bytes = Vec::new();
    encode_request(&line.split_whitespace().collect::<Vec<_>>(), &mut bytes);
    simulation.send(client, &bytes);
}

fn facts(simulation: &mut Simulation) -> Vec<ShardSnapshot> {
    (0..simulation.shard_count()).map(|shard| simulation.core(shard).snapshot()).collect()
}

fn transactions(simulation: &mut Simulation, of: fn(&TransactionStats) -> u64) -> u64 {
    facts(simulation).iter().map(|shard| of(&shard.stats.transactions)).sum()
}

/// Keys of all shards.
fn mset() -> String {
    (0..20).fold("MSET".to_owned(), |line, index| format!("{line} key:{index} x"))
}

#[test]
fn transactions_are_counted_by_kind() {
    let mut simulation = Simulation::new(3, Config::default(), 1);
    let client = simulation.connect(1);
    for line in [
        &mset(),
        "RENAME {key:1} {key:1}2",
        "MULTI",
        "SET {t}1 x",
        "RENAME {t}1 {t}2",
        "EXEC",
        "DBSIZE",
        // Keys on one shard without a dependency: a command like any other.
        "DEL {t}1 {t}2",
        "GET a",
    ] {
        send(&mut simulation, client, line);
        simulation.settle();
    }
    let count = |simulation: &mut Simulation, of| transactions(simulation, of);
    assert_eq!(count(&mut simulation, |stats| stats.on_several_shards), 1);
    // RENAME, and EXEC with its commands: both are plain calls, which hold nothing.
    assert_eq!(count(&mut simulation, |stats| stats.on_one_shard), 2);
    assert_eq!(count(&mut simulation, |stats| stats.on_all_shards), 1);
    // Three shards held MSET's keys, three DBSIZE's everything.
    assert_eq!(count(&mut simulation, |stats| stats.held.total()), 6);
    assert_eq!(count(&mut simulation, |stats| stats.waits + stats.given_back), 0);
    let visits = facts(&mut simulation).into_iter().map(|shard| shard.transactions);
    assert!(visits.into_iter().all(|visits| visits == Default::default()));
}

#[test]
fn conflicts_are_counted() {
    let (mut waits, mut given_back) = (0, 0);
    for seed in 0..20 {
        let mut simulation = Simulation::new(3, Config::default(), seed);
        let clients: Vec<ClientId> = (0..6).map(|core| simulation.connect(core % 3)).collect();
        for _ in 0..10 {
            for client in &clients {
                send(&mut simulation, *client, &mset());
                send(&mut simulation, *client, "GET key:1");
            }
        }
        let mut most_waiting = 0;
        for _ in 0..200 {
            simulation.step();
            let waiting =
                facts(&mut simulation).into_iter().map(|shard| shard.transactions.waiting);
            most_waiting = most_waiting.max(waiting.max().unwrap_or(0));
        }
        simulation.settle();
        assert!(most_waiting > 0, "seed {seed}: nobody ever waited");
        waits += transactions(&mut simulation, |stats| stats.waits);
        given_back += transactions(&mut simulation, |stats| stats.given_back);
        assert_eq!(transactions(&mut simulation, |stats| stats.on_several_shards), 60);
        assert_eq!(transactions(&mut simulation, |stats| stats.held.total()), 180);
    }
    assert!(waits > 100 && given_back > 0, "{waits} waits, {given_back} grants given back");
}

#[test]
fn what_holds_for_long_is_logged() {
    for (limit_ms, is_logged) in [(50, true), (1000, false), (-1, false)] {
        let config = Config { transaction_log_slower_than: limit_ms, ..Config::default() };
        let mut simulation = Simulation::new(2, config, 1);
        let client = simulation.connect(0);
        send(&mut simulation, client, &mset());
        let holds = |simulation: &mut Simulation| {
            facts(simulation).iter().any(|shard| shard.transactions.holding > 0)
        };
        let held = (0..1000).any(|_| simulation.step() && holds(&mut simulation));
        assert!(held, "it ended before it held anything");
        simulation.advance_ms(100);
        assert!(facts(&mut simulation).iter().any(|shard| shard.transactions.holding == 1));
        simulation.settle();
        let log = simulation.log().concat();
        assert_eq!(log.contains(" keys ("), is_logged, "{limit_ms}: {log}");
        if is_logged {
            assert!(log.contains("Transaction ") && log.contains(":w"), "{log}");
        }
        let longest = facts(&mut simulation).into_iter().map(|shard| shard.stats.transactions);
        let longest_us = longest.map(|stats| stats.held_max_us).max();
        assert!(longest_us >= Some(100_000), "{longest_us:?}");
    }
}

/// An EXEC over everything would log all keys: the log line is bounded.
#[test]
fn a_turn_logs_only_so_many() {
    let config = Config { transaction_log_slower_than: 0, ..Config::default() };
    let mut simulation = Simulation::new(2, config, 3);
    let clients: Vec<ClientId> = (0..50).map(|core| simulation.connect(core % 2)).collect();
    for (index, client) in clients.iter().enumerate() {
        let keys = (0..8).map(|key| format!(" {index}:{key} x")).collect::<String>();
        send(&mut simulation, *client, &format!("MSETNX{keys}"));
    }
    simulation.settle();
    assert_eq!(transactions(&mut simulation, |stats| stats.on_several_shards), 50);
    let told = simulation.log().iter().filter(|line| line.starts_with("Transaction ")).count();
    let left_out =
        simulation.log().iter().filter_map(|line| line.split_once(" more transactions "));
    let left_out: usize =
        left_out.map(|(count, _)| count.parse::<usize>().expect("a number")).sum();
    assert_eq!(told + left_out, 100);
}

/// Many sessions are visited in slices, and the page shows the last complete round.
#[test]
fn many_sessions_are_told_of_by_rounds() {
    let mut simulation = Simulation::new(1, Config::default(), 1);
    let clients: Vec<ClientId> = (0..600).map(|_| simulation.connect(0)).collect();
    let of = |simulation: &mut Simulation| facts(simulation)[0].clients;
    send(&mut simulation, clients[599], "WATCH a b");
    simulation.settle();
    assert_eq!((of(&mut simulation).connected, of(&mut simulation).sums.bytes), (600, 0));
    for _ in 0..3 {
        simulation.advance_ms(200);
        send(&mut simulation, clients[0], "PING");
        simulation.settle();
    }
    let seen = of(&mut simulation);
    assert!(seen.sums.bytes > 600 * 100, "{seen:?}");
    assert_eq!((seen.sums.watching, seen.sums.watched_keys), (1, 2));
}
