//! Runs a fuzz target with its corpus and with mutations of it, from a seed.

use super::FuzzTarget;
use crate::random::Random;

/// Runs a target `iterations` times. If it panics, the last input is printed.
pub fn run(target: &FuzzTarget, seed: u64, iterations: usize) {
    let corpus = (target.corpus)();
    let mut tried = Tried { target: target.name, input: Vec::new() };
    for input in &corpus {
        tried.run(target, input.clone());
    }
    let mut random = Random::from_seed(seed);
    for _ in 0..iterations {
        let mut input = random.pick(&corpus).clone();
        for _ in 0..=random.below(4) {
            change(&mut input, &corpus, target.dictionary, &mut random);
        }
        tried.run(target, input);
    }
}

/// Prints its input if it is dropped while a test panics.
struct Tried {
    target: &'static str,
    input: Vec<u8>,
}

impl Tried {
    fn run(&mut self, target: &FuzzTarget, input: Vec<u8>) {
        self.input = input;
        (target.run)(&self.input);
    }
}

impl Drop for Tried {
    #[expect(clippy::print_stderr, reason = "a failed test shows it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fuzz target {}: {:?}", self.target, self.input.escape_ascii().to_string());
        }
    }
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], dictionary: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let to = (at + random.below(12)).min(input.len());
    match random.below(7) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..to)),
        2 => drop(input.splice(at..at, random.pick(dictionary).iter().copied())),
        3 => drop(input.splice(at..to, random.pick(dictionary).iter().copied())),
        4 => input.insert(at, random.below(256) as u8),
        5 if at < input.len() => input[at] ^= 1 << random.below(8),
        _ => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}
