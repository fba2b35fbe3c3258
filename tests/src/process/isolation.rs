//! Many connections with transactions over few keys: a serial order of transactions explains what
//! they see.

use super::{Test, start};
use basalt_resp::encode_request;
use basalt_testkit::history::{Transaction, Workload, check};
use basalt_testkit::process::{Program, Server};
use basalt_testkit::random::Random;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub(super) const TESTS: &[(&str, Test)] =
    &[("histories_have_an_explanation", histories_have_an_explanation)];
pub(super) const TESTS_OF_OURS: &[(&str, Test)] =
    &[("slots_move_under_load", slots_move_under_load)];

const CONNECTIONS: usize = 16;

/// Many for ours; a few for others, to show that the test is right.
fn transactions(program: Program) -> usize {
    if program == Program::Ours { 208_000 } else { 16_000 }
}

fn histories_have_an_explanation(program: Program) {
    transact(&start(program, &[]), transactions(program));
}

/// Slots move between four shards all the while.
fn slots_move_under_load(program: Program) {
    const TRANSACTIONS: usize = 48_000;
    let server = start(program, &["--shards", "4"]);
    let is_over = AtomicBool::new(false);
    let moves = || {
        let (mut random, mut connection) = (Random::from_seed(1), server.connect());
        let mut moved = 0;
        while !is_over.load(Ordering::Relaxed) {
            let first = random.below(14_000);
            let (last, shard) = (first + random.below(2000), random.below(4));
            let line = format!("DEBUG SLOT-MOVE {first} {last} {shard}");
            let reply = connection.execute(&line.split(' ').collect::<Vec<_>>());
            let text = reply.as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
            match &text[..] {
                b"OK" => moved += 1,
                b"ERR the server is too busy to move slots now" => {}
                _ => panic!("{reply:?}"),
            }
        }
        moved
    };
    let moved = std::thread::scope(|scope| {
        let mover = scope.spawn(moves);
        let clients = scope.spawn(|| transact(&server, TRANSACTIONS));
        let outcome = clients.join();
        is_over.store(true, Ordering::Relaxed);
        let moved = mover.join().expect("slots can be moved");
        outcome.expect("clients see nothing of it");
        moved
    });
    assert!(moved > 20, "slots moved only {moved} times");
}

#[expect(clippy::disallowed_methods, reason = "what was answered before what is about real time")]
fn transact(server: &Server, transactions: usize) {
    let workload = Mutex::new(Workload::new("", 6, 5));
    let begun = Instant::now();
    let now = || u64::try_from(begun.elapsed().as_nanos()).expect("a test ends within centuries");
    let client = |number: usize| {
        let mut connection = server.connect();
        if number % 2 == 1 {
            connection.execute(&["HELLO", "3"]);
        }
        let mut random = Random::from_seed(number as u64);
        let mut history = Vec::new();
        for _ in 0..transactions / CONNECTIONS {
            let plan = workload.lock().expect("nobody panicked").plan(&mut random);
            let mut bytes = Vec::new();
            plan.requests.iter().for_each(|request| encode_request(request, &mut bytes));
            let asked_at = now();
            let replies = connection.exchange(&bytes, plan.requests.len()).expect("it is answered");
            let answered_at = now();
            let (acts, fate) = plan.read(&replies);
            history.push(Transaction { acts, fate, asked_at, answered_at });
        }
        history
    };
    let mut history = std::thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|number| scope.spawn(move || client(number))).collect();
        let parts = clients.into_iter().map(|client| client.join().expect("no client panicked"));
        parts.collect::<Vec<_>>().concat()
    });
    let mut connection = server.connect();
    for plan in workload.into_inner().expect("nobody panicked").last_reads() {
        let asked_at = now();
        let reply = connection.execute(&plan.requests[0]);
        let (acts, fate) = plan.read(&[reply]);
        history.push(Transaction { acts, fate, asked_at, answered_at: now() });
    }
    assert!(history.len() >= transactions);
    if let Err(anomaly) = check(&history) {
        let shown: Vec<_> = anomaly.transactions.iter().map(|&at| &history[at]).collect();
        panic!("{anomaly}\n{shown:#?}");
    }
}
