//! A crash at any moment: what was acknowledged is there, transactions are whole, and what is left is one moment.

use basalt_commands::config::{AppendFsync, Config};
use basalt_journal::Frames;
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, DiskFault, Files, Simulation};

/// What a client of the workload knows of its counters.
#[derive(Default, Clone)]
struct Known {
    /// By kind of counter: how often it was asked for, and answered.
    asked: u64,
    answered: u64,
}

/// A client that does one thing after the other, and what it did.
struct Worker {
    id: ClientId,
    number: usize,
    /// Of `first:<n>` and `second:<n>`, which are raised in turn, each by a command of its own.
    turns: Known,
    /// Of `left:<n>` and `right:<n>`, which are raised together.
    pairs: Known,
    /// The most that it has read of another's `first`.
    read: (usize, u64),
    waits_for: Waits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nothing,
    Turn,
    /// Both set by one command, or by a transaction, whose replies come before.
    Pair,
    Execution,
    Read(usize),
}

impl Worker {
    fn new(server: &mut Simulation, number: usize) -> Self {
        Self {
            id: server.connect(number),
            number,
            turns: Known::default(),
            pairs: Known::default(),
            read: (0, 0),
            waits_for: Waits::Nothing,
        }
    }

    fn go_on(&mut self, server: &mut Simulation, random: &mut Random, workers: usize) {
        if self.waits_for != Waits::Nothing {
            let lines = server.received_lines(self.id);
            let Some(last) = lines.last() else { return };
            match self.waits_for {
                Waits::Turn => self.turns.answered += 1,
                Waits::Execution if last.contains("QUEUED") || last == "OK" => return,
                Waits::Pair | Waits::Execution => self.pairs.answered += 1,
                Waits::Read(other) => self.read = (other, last.parse().unwrap_or(0)),
                Waits::Nothing => {}
            }
            self.waits_for = Waits::Nothing;
            return;
        }
        let n = self.number;
        match random.below(4) {
            0 | 1 => {
                let name = if self.turns.asked.is_multiple_of(2) { "first" } else { "second" };
                server.send_line(self.id, &format!("INCR {name}:{n}"));
                self.turns.asked += 1;
                self.waits_for = Waits::Turn;
            }
            2 => {
                let value = self.pairs.asked + 1;
                self.waits_for = Waits::Execution;
                let line = match random.below(3) {
                    0 => {
                        self.waits_for = Waits::Pair;
                        format!("MSET left:{n} {value} right:{n} {value} third:{n} {value}")
                    }
                    _ => {
                        server.send_line(self.id, "MULTI");
                        server.send_line(self.id, &format!("SET left:{n} {value}"));
                        server.send_line(self.id, &format!("SET right:{n} {value}"));
                        if random.one_in(2) {
                            server.send_line(self.id, "CLIENT ID");
                        }
                        server.send_line(self.id, &format!("SET third:{n} {value}"));
                        "EXEC".into()
                    }
                };
                server.send_line(self.id, &line);
                self.pairs.asked += 1;
            }
            _ => {
                let other = random.below(workers);
                server.send_line(self.id, &format!("GET first:{other}"));
                self.waits_for = Waits::Read(other);
            }
        }
    }
}

fn number(server: &mut Simulation, client: ClientId, key: &str) -> u64 {
    server.ask_line(client, &format!("GET {key}")).parse().unwrap_or(0)
}

struct Run {
    seed: u64,
    policy: AppendFsync,
    power: bool,
    slots: bool,
    /// The journal is rewritten now and then, and turned off and on.
    rewrites: bool,
}

/// Works for a while, crashes, and looks at what is left.
fn crash(Run { seed, policy, power, slots, rewrites }: Run) {
    let mut random = Random::from_seed(seed);
    let shards = 1 + random.below(4);
    let config = || Config { appendfsync: policy, ..Config::default() };
    let mut server = Simulation::with_journal(shards, config(), seed);
    let count = 1 + random.below(6);
    let mut workers: Vec<Worker> =
        (0..count).map(|number| Worker::new(&mut server, number)).collect();
    if slots {
        server.move_slots(&["first:0", "left:0"]);
    }
    let operator = server.connect(0);
    for _ in 0..random.below(3_000) {
        let at = random.below(count);
        if rewrites && random.one_in(300) {
            server.send_line(operator, "BGREWRITEAOF");
        }
        workers[at].go_on(&mut server, &mut random, count);
        server.step();
        if random.one_in(50) {
            server.advance_ms(1 + random.below(60) as u64);
        }
    }
    let after = if random.one_in(2) { shards } else { 1 + random.below(4) };
    let files = if power { server.lose_power() } else { server.kill() };
    let mut server =
        Simulation::restart(&files, after, config(), seed).expect("the files are sound");
    let client = server.connect(0);
    let is_always = policy == AppendFsync::Always;
    let firsts: Vec<u64> =
        (0..count).map(|n| number(&mut server, client, &format!("first:{n}"))).collect();
    for Worker { number: n, turns, pairs, read, .. } in &workers {
        let context = format!("seed {seed}, client {n}");
        let (first, second) = (firsts[*n], number(&mut server, client, &format!("second:{n}")));
        assert!(second <= first && first <= second + 1, "{context}: {first}, {second}");
        assert!(first + second <= turns.asked, "{context}");
        let keys = ["left", "right", "third"];
        let values = keys.map(|key| number(&mut server, client, &format!("{key}:{n}")));
        assert!(values.iter().all(|value| *value == values[0]), "{context}: {values:?}");
        assert!(values[0] <= pairs.asked, "{context}");
        if is_always {
            assert!(
                first + second >= turns.answered,
                "{context}: {first}+{second} of {}",
                turns.answered
            );
            assert!(values[0] >= pairs.answered, "{context}: {values:?} of {}", pairs.answered);
            assert!(firsts[read.0] >= read.1, "{context}: was read");
        }
    }
}

#[test]
fn what_always_acknowledged_survives_a_power_loss() {
    for seed in 0..60 {
        crash(Run {
            seed,
            policy: AppendFsync::Always,
            power: true,
            slots: false,
            rewrites: false,
        });
    }
}

#[test]
fn every_reply_comes_in_the_end() {
    for seed in 0..60 {
        let mut random = Random::from_seed(seed);
        let shards = 2 + random.below(3);
        let config = Config { appendfsync: AppendFsync::Always, ..Config::default() };
        let mut server = Simulation::with_journal(shards, config, seed);
        let mut workers: Vec<Worker> = (0..6).map(|n| Worker::new(&mut server, n)).collect();
        for _ in 0..600 {
            let at = random.below(workers.len());
            workers[at].go_on(&mut server, &mut random, 6);
            server.step();
        }
        server.rest_ms(200);
        server.settle();
        for worker in &mut workers {
            let is_answered = worker.waits_for == Waits::Nothing || server.has_received(worker.id);
            assert!(is_answered, "seed {seed}, client {}", worker.number);
        }
    }
}

#[test]
fn what_always_acknowledged_survives_while_slots_move() {
    for seed in 0..25 {
        crash(Run { seed, policy: AppendFsync::Always, power: true, slots: true, rewrites: false });
    }
}

#[test]
fn what_was_acknowledged_survives_while_the_journal_is_rewritten() {
    for seed in 0..80 {
        let (policy, power) = match seed % 4 {
            0 => (AppendFsync::EverySecond, true),
            1 => (AppendFsync::No, false),
            _ => (AppendFsync::Always, seed % 3 > 0),
        };
        crash(Run { seed, policy, power, slots: seed % 5 == 0, rewrites: true });
    }
}

/// Rewrites the journal, and waits until that is done.
fn rewrite(server: &mut Simulation, client: ClientId) {
    let answer = server.ask_line(client, "BGREWRITEAOF");
    assert_eq!(answer, "Background append only file rewriting started");
    server.rest_ms(3_000);
}

#[test]
fn a_rewrite_keeps_the_data_and_drops_what_is_over() {
    for shards in [1, 3] {
        let config = || Config::default();
        let mut server = Simulation::with_journal(shards, config(), 11);
        let client = server.connect(0);
        for round in 0..200 {
            server.ask_line(client, &format!("SET counter {round}"));
            server.ask_line(client, "RPUSH list a b c");
            server.ask_line(client, "LTRIM list 0 5");
        }
        server.ask_line(client, "SELECT 3");
        server.ask_line(client, "HSET hash f 1 g 2");
        let before: usize = server.after_kill_bytes();
        rewrite(&mut server, client);
        assert!(server.is_rewritten());
        let after: usize = server.after_kill_bytes();
        assert!(after * 4 < before, "{after} of {before}");
        server.ask_line(client, "HSET hash f 3");
        server.rest_ms(2_000);
        let files = server.lose_power();
        let mut server = Simulation::restart(&files, 2, config(), 12).expect("they are sound");
        let client = server.connect(0);
        assert_eq!(server.ask_line(client, "GET counter"), "199");
        assert_eq!(server.ask_line(client, "LRANGE list 0 -1"), "a b c a b c");
        server.ask_line(client, "SELECT 3");
        assert_eq!(server.ask_line(client, "HMGET hash f g"), "3 2");
    }
}

#[test]
fn a_rewrite_that_fails_loses_nothing_and_the_next_one_works() {
    let config = || Config { appendfsync: AppendFsync::Always, ..Config::default() };
    let mut server = Simulation::with_journal(2, config(), 13);
    let client = server.connect(0);
    server.ask_line(client, "MSET a 1 b 2");
    server.fail_next_save("No space left on device");
    rewrite(&mut server, client);
    assert!(!server.is_rewritten());
    assert!(server.log().iter().any(|line| line.contains("rewrite terminated with error")));
    assert!(server.ask_line(client, "INFO persistence").contains("aof_last_bgrewrite_status:err"));
    server.ask_line(client, "MSET a 3 c 4");
    rewrite(&mut server, client);
    assert!(server.is_rewritten());
    server.ask_line(client, "SET d 5");
    let files = server.lose_power();
    let mut server = Simulation::restart(&files, 2, config(), 14).expect("they are sound");
    let client = server.connect(0);
    assert_eq!(server.ask_line(client, "MGET a b c d"), "3 2 4 5");
}

#[test]
fn a_journal_is_turned_on_and_off_while_the_server_runs() {
    for (shards, seed) in (20..32).map(|seed| (1 + seed as usize % 3, seed)) {
        let config = || Config { appendfsync: AppendFsync::Always, ..Config::default() };
        let mut server = Simulation::new(shards, config(), seed);
        let client = server.connect(0);
        server.ask_line(client, "MSET a 1 b 2 c 3");
        assert_eq!(server.ask_line(client, "CONFIG SET appendonly yes"), "OK");
        server.ask_line(client, "SET a 4");
        server.rest_ms(3_000);
        assert!(server.is_rewritten(), "there is a base");
        assert_eq!(server.ask_line(client, "MSET b 5 d 6"), "OK");
        for _ in 0..3 {
            assert_eq!(server.ask_line(client, "CONFIG SET appendonly no"), "OK");
            assert_eq!(server.ask_line(client, "SET c lost"), "OK");
            assert_eq!(server.ask_line(client, "CONFIG SET appendonly yes"), "OK");
            assert_eq!(server.ask_line(client, "MSET c 7 e 8"), "OK");
        }
        server.rest_ms(4_000);
        assert_eq!(server.ask_line(client, "INCR f"), "1");
        assert_eq!(server.ask_line(client, "CONFIG SET appendonly no"), "OK");
        server.rest_ms(3_000);
        let files = server.lose_power();
        let mut server = Simulation::restart(&files, 2, config(), seed).expect("they are sound");
        let client = server.connect(0);
        assert_eq!(server.ask_line(client, "MGET a b c d e f"), "4 5 7 6 8 1");
    }
}

#[test]
fn what_everysec_leaves_is_one_moment() {
    for seed in 0..40 {
        crash(Run {
            seed,
            policy: AppendFsync::EverySecond,
            power: seed % 2 == 0,
            slots: false,
            rewrites: false,
        });
    }
}

#[test]
fn what_is_never_synced_is_one_moment() {
    for seed in 0..24 {
        crash(Run {
            seed,
            policy: AppendFsync::No,
            power: seed % 2 == 0,
            slots: seed % 3 == 0,
            rewrites: false,
        });
    }
}

#[test]
fn a_read_of_what_is_on_disk_waits_for_nothing() {
    let config = Config { appendfsync: AppendFsync::Always, ..Config::default() };
    let mut server = Simulation::with_journal(1, config, 3);
    let (writer, reader) = (server.connect(0), server.connect(0));
    assert_eq!(server.ask_line(writer, "MSET a 1 b 2"), "OK");
    server.disk(0).fault = DiskFault::Full;
    server.send_line(writer, "SET a 3");
    steps(&mut server);
    assert!(!server.has_received(writer), "its write is not on disk");
    server.send_line(reader, "GET b");
    steps(&mut server);
    assert_eq!(server.received_lines(reader), ["2"]);
    server.send_line(reader, "GET a");
    steps(&mut server);
    assert!(!server.has_received(reader), "what it read is not on disk");
    server.disk(0).fault = DiskFault::None;
    server.rest_ms(1_500);
    assert_eq!(server.received_lines(reader), ["3"]);
    assert_eq!(server.received_lines(writer), ["OK"]);
}

#[test]
fn a_full_disk_refuses_writes_on_all_shards_until_there_is_room() {
    for policy in [AppendFsync::Always, AppendFsync::EverySecond, AppendFsync::No] {
        let config = Config { appendfsync: policy, ..Config::default() };
        let mut server = Simulation::with_journal(3, config, 5);
        let (writer, other) = (server.connect(0), server.connect(1));
        assert_eq!(server.ask_line(writer, "MSET a 1 b 2 c 3"), "OK");
        for shard in 0..3 {
            server.disk(shard).fault = DiskFault::Full;
        }
        server.send_line(writer, "SET a 4");
        server.rest_ms(300);
        for key in ["a", "b", "c"] {
            let refused = server.ask_line(other, &format!("SET {key} 5"));
            assert!(refused.starts_with("MISCONF"), "{refused}");
        }
        assert_eq!(server.ask_line(other, "GET b"), "2");
        assert!(server.log().iter().any(|line| line.contains("No space left")));
        for shard in 0..3 {
            server.disk(shard).fault = DiskFault::None;
        }
        server.rest_ms(2_500);
        assert_eq!(server.ask_line(other, "SET b 6"), "OK");
        server.rest_ms(1_500);
        let files = server.lose_power();
        let config = Config { appendfsync: policy, ..Config::default() };
        let mut server = Simulation::restart(&files, 3, config, 6).expect("the files are sound");
        let client = server.connect(0);
        if policy != AppendFsync::No {
            assert_eq!(server.ask_line(client, "MGET a b c"), "4 6 3");
        }
    }
}

#[test]
fn what_could_not_be_synced_is_written_again_before_anybody_is_told() {
    for (policy, seed) in [AppendFsync::Always, AppendFsync::EverySecond]
        .into_iter()
        .flat_map(|policy| (0..20).map(move |seed| (policy, seed)))
    {
        let config = || Config { appendfsync: policy, ..Config::default() };
        let mut server = Simulation::with_journal(2, config(), seed);
        let (writer, other) = (server.connect(0), server.connect(1));
        assert_eq!(server.ask_line(writer, "MSET a 1 b 2"), "OK");
        for shard in 0..2 {
            server.disk(shard).fault = DiskFault::SyncFails;
        }
        for key in ["a", "b"] {
            server.send_line(writer, &format!("SET {key} 3"));
        }
        server.rest_ms(1_500);
        let answered = server.received_lines(writer);
        assert_eq!(answered.is_empty(), policy == AppendFsync::Always, "{answered:?}");
        for key in ["a", "b"] {
            let refused = server.ask_line(other, &format!("SET {key} 4"));
            assert!(refused.starts_with("MISCONF"), "{refused}");
        }
        assert!(server.log().iter().any(|line| line.contains("can't be synced")));
        for shard in 0..2 {
            server.disk(shard).fault = DiskFault::None;
        }
        server.rest_ms(3_000);
        if policy == AppendFsync::Always {
            assert_eq!(server.received_lines(writer), ["OK", "OK"]);
        }
        assert_eq!(server.ask_line(other, "MSET c 5 d 6"), "OK");
        server.rest_ms(2_000);
        let files = server.lose_power();
        let mut server = Simulation::restart(&files, 2, config(), seed).expect("they are sound");
        let client = server.connect(0);
        assert_eq!(server.ask_line(client, "MGET a b c d"), "3 3 5 6");
    }
}

/// Libraries are there after a crash, on as many shards as there are then, whichever shard was asked to change them.
#[test]
fn libraries_are_journaled() {
    let load = |server: &mut Simulation, client, name: &str, value: &str| {
        let code = format!(
            "#!lua name={name}\nredis.register_function('{name}', function(keys)
                 redis.call('INCRBY', keys[1], 1)
                 return '{value}'
             end)"
        );
        let loaded = server.ask_args(client, &["FUNCTION", "LOAD", "REPLACE", &code]);
        assert_eq!(loaded, name);
    };
    for (policy, after) in
        [(AppendFsync::Always, 3), (AppendFsync::EverySecond, 2), (AppendFsync::Always, 1)]
    {
        let config = || Config { appendfsync: policy, ..Config::default() };
        let mut server = Simulation::with_journal(3, config(), 5);
        let clients = [server.connect(2), server.connect(1)];
        load(&mut server, clients[0], "one", "first");
        load(&mut server, clients[1], "two", "second");
        load(&mut server, clients[1], "one", "third");
        load(&mut server, clients[0], "gone", "fourth");
        assert_eq!(server.ask_line(clients[1], "FCALL one 1 counter"), "third");
        assert_eq!(server.ask_line(clients[1], "FUNCTION DELETE gone"), "OK");
        if policy != AppendFsync::Always {
            server.rest_ms(3_000);
        }
        let files = server.lose_power();
        let mut server = Simulation::restart(&files, after, config(), 6).expect("they are sound");
        for shard in 0..after {
            let client = server.connect(shard);
            assert_eq!(server.ask_line(client, "FCALL one 1 counter"), "third");
            assert_eq!(server.ask_line(client, "FCALL two 1 counter"), "second");
            assert!(server.ask_line(client, "FCALL gone 0").contains("Function not found"));
        }
        let client = server.connect(0);
        let calls = (1 + 2 * after).to_string();
        assert_eq!(server.ask_line(client, "GET counter"), calls);
    }
}

fn steps(server: &mut Simulation) {
    for _ in 0..50 {
        server.step();
    }
}

#[test]
fn a_transaction_longer_than_a_frame_is_there_wholly_or_not_at_all() {
    for policy in [AppendFsync::Always, AppendFsync::EverySecond] {
        let config = || Config { appendfsync: policy, ..Config::default() };
        let mut server = Simulation::with_journal(1, config(), 9);
        let client = server.connect(0);
        server.ask_line(client, "SET before 1");
        server.send_line(client, "MULTI");
        for key in 0..5 {
            let value = "x".repeat(700_000);
            server.send_line(client, &format!("SET key:{key} {value}"));
        }
        server.send_line(client, "EXEC");
        server.rest_ms(2_000);
        assert!(server.received_lines(client).len() >= 5);
        let files = server.kill();
        let file = files.journals[0][0].clone();
        let mut frames = Frames::of(file.as_slice(), 0).expect("its header is whole");
        let (mut left, mut ends) = (Vec::new(), vec![frames.offset]);
        while frames.next_frame().expect("memory is read").is_some() {
            ends.push(frames.offset);
        }
        assert!(ends.len() > 4, "{ends:?}");
        for end in ends {
            let journals = vec![vec![file[..end as usize].to_vec()]];
            let cut = Files { journals, ..files.clone() };
            let mut server = Simulation::restart(&cut, 1, config(), 10).expect("it is sound");
            let client = server.connect(0);
            let line = server.ask_line(client, "EXISTS key:0 key:1 key:2 key:3 key:4");
            left.push(line.parse::<u64>().expect("a number"));
        }
        assert!(left.iter().all(|count| *count == 0 || *count == 5), "{policy:?}: {left:?}");
        assert_eq!(left.last(), Some(&5), "{policy:?}");
    }
}

#[test]
fn what_waitaof_waited_for_survives_a_power_loss() {
    for (seed, policy) in
        [AppendFsync::EverySecond, AppendFsync::No, AppendFsync::Always].into_iter().enumerate()
    {
        for shards in [1, 3] {
            let config = || Config { appendfsync: policy, ..Config::default() };
            let mut server = Simulation::with_journal(shards, config(), 40 + seed as u64);
            let client = server.connect(0);
            for round in 1..4 {
                server.ask_line(client, &format!("MSET a {round} b {round} c {round}"));
                server.ask_line(client, &format!("SET d {round}"));
                server.send_line(client, "WAITAOF 1 0 0");
                server.rest_ms(20);
                assert_eq!(server.received_lines(client), ["1 0"], "{policy:?}, {shards} shards");
            }
            let files = server.lose_power();
            let mut server = Simulation::restart(&files, 2, config(), 50).expect("they are sound");
            let client = server.connect(0);
            assert_eq!(server.ask_line(client, "MGET a b c d"), "3 3 3 3");
        }
    }
}

#[test]
fn waitaof_ends_with_its_time() {
    let config = Config { appendfsync: AppendFsync::EverySecond, ..Config::default() };
    let mut server = Simulation::with_journal(2, config, 60);
    let client = server.connect(0);
    server.ask_line(client, "MSET a 1 b 2");
    for shard in 0..2 {
        server.disk(shard).fault = DiskFault::SyncFails;
    }
    server.send_line(client, "WAITAOF 1 0 300");
    server.rest_ms(400);
    assert_eq!(server.received_lines(client), ["0 0"]);
    for shard in 0..2 {
        server.disk(shard).fault = DiskFault::None;
    }
    server.send_line(client, "WAITAOF 1 1 3000");
    server.rest_ms(2_000);
    assert!(!server.has_received(client), "no replica has it");
    server.rest_ms(1_500);
    assert_eq!(server.received_lines(client), ["1 0"]);
}

#[test]
fn without_syncs_of_its_own_a_failed_sync_brings_a_new_base() {
    let config = || Config { appendfsync: AppendFsync::No, ..Config::default() };
    for seed in 0..10 {
        let mut server = Simulation::with_journal(2, config(), seed);
        let client = server.connect(0);
        server.ask_line(client, "MSET a 1 b 2 c 3");
        server.rest_ms(100);
        for shard in 0..2 {
            server.disk(shard).fault = DiskFault::SyncFails;
        }
        server.send_line(client, "WAITAOF 1 0 0");
        server.rest_ms(300);
        let other = server.connect(1);
        assert!(server.ask_line(other, "SET d 1").starts_with("MISCONF"));
        for shard in 0..2 {
            server.disk(shard).fault = DiskFault::None;
        }
        server.rest_ms(20_000);
        assert_eq!(server.received_lines(client), ["1 0"]);
        assert_eq!(server.ask_line(client, "SET d 4"), "OK");
        server.send_line(client, "WAITAOF 1 0 0");
        server.rest_ms(2_000);
        assert_eq!(server.received_lines(client), ["1 0"]);
        let files = server.lose_power();
        let mut server = Simulation::restart(&files, 2, config(), seed).expect("they are sound");
        let client = server.connect(0);
        assert_eq!(server.ask_line(client, "MGET a b c d"), "1 2 3 4");
    }
}

#[test]
fn a_save_that_failed_refuses_writes_until_one_succeeds() {
    let settings = [(&b"save"[..], &b"3600 1"[..])];
    let config = Config::default().set(&settings, true).expect("it can be set");
    let mut server = Simulation::new(3, config, 70);
    let client = server.connect(1);
    assert_eq!(server.ask_line(client, "MSET a 1 b 2 c 3"), "OK");
    server.send_line(client, "MULTI");
    server.send_line(client, "SET a 2");
    server.settle();
    server.received_lines(client);
    let other = server.connect(2);
    server.fail_next_save("No space left on device");
    server.ask_line(other, "BGSAVE");
    server.rest_ms(100);
    for line in ["SET a 4", "SET b 4", "SET c 4", "PING"] {
        let refused = server.ask_line(other, line);
        assert!(refused.contains("MISCONF Basalt is configured to save"), "{line}: {refused}");
    }
    let refused = server.ask_line(client, "EXEC");
    assert!(refused.contains("EXECABORT") && refused.contains("MISCONF"), "{refused}");
    assert_eq!(server.ask_line(other, "MGET a b c"), "1 2 3");
    assert_eq!(server.ask_line(other, "CONFIG SET stop-writes-on-bgsave-error no"), "OK");
    assert_eq!(server.ask_line(other, "SET b 5"), "OK");
    assert_eq!(server.ask_line(other, "CONFIG SET stop-writes-on-bgsave-error yes"), "OK");
    assert!(server.ask_line(other, "SET b 6").contains("MISCONF"));
    server.ask_line(other, "BGSAVE");
    server.rest_ms(100);
    assert_eq!(server.ask_line(other, "SET b 7"), "OK");
}
