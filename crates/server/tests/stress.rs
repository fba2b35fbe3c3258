//! The server's loop between rest and work, over and over: nothing may hang.
//!
//! Clients are silent for a while around the loop's bounds, so that shards wait briefly and long, and
//! are woken in every order; every answer must come. A few seconds by default; with
//! `BASALT_STRESS_SECONDS=900` for so long.

#[path = "toy/client.rs"]
#[expect(dead_code, reason = "the stress uses a part of it")]
mod client;
mod toy;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::Served;

/// One, so that nothing but its own answer can wake a shard that missed a wake-up, and several.
const CLIENT_COUNTS: [u64; 2] = [1, 6];
/// Silences are shorter than this, and some are longer than an active loop waits.
const SILENCE_MAX_US: u64 = 25_000;
/// An answer that takes longer than this is counted and shown, though only its absence fails: the
/// machine may be busy with other things.
const SLOW: Duration = Duration::from_millis(50);

#[test]
#[expect(clippy::disallowed_methods, reason = "rests of random length are what is tested")]
fn nothing_hangs_between_rest_and_work() {
    let seconds = std::env::var("BASALT_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let each = Duration::from_secs(seconds.unwrap_or(4)) / 8;
    for (shards, clients) in (1..=4).flat_map(|shards| CLIENT_COUNTS.map(|count| (shards, count))) {
        let served = Served::with_shards(shards);
        let end = Instant::now() + each;
        let (answers, slow, slowest_us) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for number in 0..clients {
                let (served, answers, slow, slowest_us) = (&served, &answers, &slow, &slowest_us);
                scope.spawn(move || {
                    let mut random = number + 1;
                    let mut client = served.client();
                    while Instant::now() < end {
                        let count = next(&mut random) % 40 + 1;
                        let begin = Instant::now();
                        let words: String =
                            (0..count).map(|one| format!("PING {one}\r\n")).collect();
                        client.say(&words);
                        for one in 0..count {
                            assert_eq!(client.text(), one.to_string());
                        }
                        let took = begin.elapsed();
                        answers.fetch_add(count, Ordering::Relaxed);
                        slow.fetch_add((took > SLOW).into(), Ordering::Relaxed);
                        slowest_us.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
                        match next(&mut random) % 8 {
                            0 => client = served.client(),
                            1..=3 => {}
                            _ => thread::sleep(Duration::from_micros(
                                next(&mut random) % SILENCE_MAX_US,
                            )),
                        }
                    }
                });
            }
        });
        let line = format!(
            "{shards} shards, {clients} clients: {} answers, {} slower than {} ms, the slowest {} ms\n",
            answers.into_inner(),
            slow.into_inner(),
            SLOW.as_millis(),
            slowest_us.into_inner() / 1000,
        );
        std::io::stderr().write_all(line.as_bytes()).expect("the test may speak");
    }
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random >> 16
}
