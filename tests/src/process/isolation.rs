//! Many connections with transactions over few keys: what they see is explained by one transaction after the other.

use super::{Test, start};
use basalt_resp::encode_request;
use basalt_testkit::chance::Chance;
use basalt_testkit::history::{Transaction, Workload, check};
use basalt_testkit::process::Program;
use std::sync::Mutex;
use std::time::Instant;

pub(super) const TESTS: &[(&str, Test)] =
    &[("histories_have_an_explanation", histories_have_an_explanation)];

const CONNECTIONS: usize = 16;

/// Of ours many; of others enough to show that the test is right.
fn transactions(program: Program) -> usize {
    if program == Program::Ours { 208_000 } else { 16_000 }
}

#[expect(clippy::disallowed_methods, reason = "what was answered before what is about real time")]
fn histories_have_an_explanation(program: Program) {
    let server = start(program, &[]);
    let workload = Mutex::new(Workload::new("", 6, 5));
    let begun = Instant::now();
    let now = || u64::try_from(begun.elapsed().as_nanos()).expect("a test ends within centuries");
    let client = |number: usize| {
        let mut connection = server.connect();
        if number % 2 == 1 {
            connection.execute(&["HELLO", "3"]);
        }
        let mut chance = Chance::from_seed(number as u64);
        let mut history = Vec::new();
        for _ in 0..transactions(program) / CONNECTIONS {
            let plan = workload.lock().expect("nobody panicked").plan(&mut chance);
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
    assert!(history.len() >= transactions(program));
    if let Err(anomaly) = check(&history) {
        let shown: Vec<_> = anomaly.transactions.iter().map(|&at| &history[at]).collect();
        panic!("{anomaly}\n{shown:#?}");
    }
}
