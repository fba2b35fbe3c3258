//! redis-benchmark of Redis 7, Redis 8 and Valkey 9, with those tests of its default list whose commands exist.

use super::{SERVERS, run, trial};
use basalt_testkit::process::{Program, Server};
use libtest_mimic::Trial;
use std::path::Path;

/// LIMIT: seconds for one benchmark; it needs one.
const SECONDS_MAX: u32 = 60;

const BENCHMARKS: [Program; 3] = [Program::Redis7, Program::Redis8, Program::Valkey9];

/// Shapes of load: name, arguments.
const SHAPES: &[(&str, &[&str])] = &[
    ("plain", &["-c", "50", "-n", "20000"]),
    ("one_client", &["-c", "1", "-n", "2000"]),
    ("pipelined", &["-c", "50", "-n", "100000", "-P", "16"]),
    ("many_clients", &["-c", "500", "-n", "20000"]),
    (
        "random_keys_large_values",
        &["-c", "20", "-n", "20000", "-P", "4", "-r", "1000", "-d", "16384"],
    ),
    ("resp3_in_threads", &["-c", "50", "-n", "50000", "-P", "4", "-3", "--threads", "2"]),
];

/// The tests of the default list that need strings only.
const TESTS: &str = "ping_inline,ping_mbulk,set,get,incr,mset";
const TEST_COUNT: usize = 6;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for program in SERVERS {
        for benchmark in BENCHMARKS {
            let tool = benchmark.tool("benchmark");
            // On the oracle one run shows that the test is right.
            let shapes = if program == Program::Ours { SHAPES } else { &SHAPES[..1] };
            for (shape, args) in shapes {
                let name = format!("benchmark_{}_{shape}", benchmark.name());
                let path = tool.clone().unwrap_or_default();
                trials.push(trial(&name, program, tool.is_some(), move |server| {
                    measure(&path, server, args);
                }));
            }
        }
    }
    trials
}

fn measure(tool: &Path, server: &Server, shape: &[&str]) {
    let port = server.port().to_string();
    let args = [&["-p", &port, "-t", TESTS, "--csv"], shape].concat();
    let said = run(tool, SECONDS_MAX, &args, b"");
    assert!(said.success, "{}{}", said.out, said.err);
    assert!(!said.out.contains("rror") && !said.err.contains("rror"), "{}{}", said.out, said.err);
    let rates: Vec<f64> = said
        .out
        .lines()
        .filter_map(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok())
        .collect();
    assert!(rates.len() == TEST_COUNT && rates.iter().all(|rate| *rate > 100.0), "{}", said.out);
    assert_eq!(dangling_clients(server), 1, "clients that have gone are still counted");
}

/// Clients that the server counts, with the one that asks.
fn dangling_clients(server: &Server) -> usize {
    let mut connection = server.connect();
    // The last connections may be closed a moment after the tool has ended: ask a few hundred
    // times.
    let mut count = 0;
    for _ in 0..500 {
        let info = connection.execute(&["INFO", "clients"]);
        let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
        let field = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
        count = field.and_then(|count| count.trim().parse().ok()).unwrap_or_default();
        if count == 1 {
            break;
        }
    }
    count
}
