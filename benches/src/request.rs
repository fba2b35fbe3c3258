//! Requests: their encoding, and pipelines that are encoded once and sent many times with different
//! keys.

use crate::commands::{DIGITS, VALUE};
use crate::workload::{KEY_DIGITS, Workload};

/// A fast pseudo-random generator (xorshift64*, Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((u128::from(drawn) * u128::from(limit)) >> 64) as u64
    }
}

/// Appends one request.
pub(crate) fn encode<Argument: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[Argument]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A random key in redis-benchmark's form, such as `key:000000012345`.
pub(crate) fn key(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:0width$}", width = KEY_DIGITS)
}

/// An encoded pipeline of a workload; only the digits of its keys change.
pub(crate) struct Pipeline {
    bytes: Vec<u8>,
    /// The positions of the keys' digits.
    digits_at: Vec<usize>,
    keys: u64,
    random: Random,
}

impl Pipeline {
    pub(crate) fn new(workload: &Workload, seed: u64) -> Pipeline {
        // A placeholder for digits that no other argument equals.
        let mark = DIGITS.to_string().repeat(KEY_DIGITS);
        let value = "x".repeat(workload.value_bytes);
        let mut bytes = Vec::new();
        for _ in 0..workload.pipeline {
            for words in workload.command.sent() {
                let args: Vec<String> =
                    words.map(|word| word.replace(DIGITS, &mark).replace(VALUE, &value)).collect();
                encode(&mut bytes, &args);
            }
        }
        let is_mark = |at: &usize| bytes[*at..].starts_with(mark.as_bytes());
        let digits_at = (0..bytes.len()).filter(is_mark).collect();
        Pipeline { bytes, digits_at, keys: workload.keys, random: Random::seeded(seed) }
    }

    /// The pipeline with new random keys.
    pub(crate) fn refreshed(&mut self) -> &[u8] {
        for &at in &self.digits_at {
            let mut number = self.random.below(self.keys);
            for digit in self.bytes[at..at + KEY_DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pipeline: &mut Pipeline) -> String {
        String::from_utf8(pipeline.refreshed().to_vec()).unwrap()
    }

    #[test]
    fn requests_are_encoded_as_resp_arrays() {
        let workload = Workload::named("set-c1-p2-d5-r1").unwrap();
        let request = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$5\r\nxxxxx\r\n";
        assert_eq!(text(&mut Pipeline::new(&workload, 1)), request.repeat(2));
    }

    #[test]
    fn every_key_gets_digits_of_its_own_within_the_range() {
        let mut pipeline = Pipeline::new(&Workload::named("mset-c1-p1-r100").unwrap(), 7);
        let (first, second) = (text(&mut pipeline), text(&mut pipeline));
        assert_ne!(first, second);
        let keys: Vec<&str> = second.lines().filter_map(|line| line.strip_prefix("key:")).collect();
        assert_eq!(keys.len(), 10);
        assert!(
            keys.iter().all(|digits| digits.len() == 12 && digits.parse::<u64>().unwrap() < 100)
        );
        assert!(keys.iter().any(|digits| *digits != keys[0]));
    }

    #[test]
    fn random_numbers_reach_the_whole_range() {
        let mut random = Random::seeded(3);
        let mut seen = [false; 10];
        (0..1000).for_each(|_| seen[random.below(10) as usize] = true);
        assert_eq!(seen, [true; 10]);
    }
}
