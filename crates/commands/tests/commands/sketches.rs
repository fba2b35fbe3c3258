//! HyperLogLogs whose bytes were tampered with: Redis' refusals, and never a panic.

use basalt_resp::Value;

use crate::shard::Shard;

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

fn bulk(value: &Value) -> Vec<u8> {
    value.as_bytes().expect("because the key holds a string").to_vec()
}

/// Some sketch, sparse or dense, with its estimate or without.
fn sketch(shard: &mut Shard, random: &mut Random) -> Vec<u8> {
    shard.ask("DEL s");
    shard.ask("PFADD s");
    let count = [0, 1, 5, 60, 500, 5000][random.below(6)];
    for number in 0..count {
        shard.ask(&format!("PFADD s element:{number}"));
    }
    if random.below(4) == 0 {
        shard.ask("PFDEBUG TODENSE s");
    }
    if random.below(3) == 0 {
        shard.ask("PFCOUNT s");
    }
    bulk(&shard.ask("GET s"))
}

fn tamper(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1));
        let byte = [0, 0x3F, 0x40, 0x7F, 0x80, 0xFF, random.below(256) as u8][random.below(7)];
        match random.below(4) {
            0 if !bytes.is_empty() => bytes[at] = byte,
            // Most of the bytes are registers; the first of them and the header are more telling.
            1 if bytes.len() > 24 => bytes[4 + at % 20] = byte,
            2 => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn tampered_ones_are_read_or_refused() {
    let mut shard = Shard::new();
    let mut random = Random(0x11C0);
    let (mut read, mut not_valid, mut corrupted) = (0, 0, 0);
    for _ in 0..60 {
        let good = sketch(&mut shard, &mut random);
        for _ in 0..40 {
            let mut bytes = good.clone();
            tamper(&mut bytes, &mut random);
            for request in [
                &[&b"PFCOUNT"[..], b"k"][..],
                &[b"PFADD", b"k", b"some", b"more"],
                &[b"PFDEBUG", b"DECODE", b"k"],
                &[b"PFDEBUG", b"GETREG", b"k"],
                &[b"PFDEBUG", b"TODENSE", b"k"],
                &[b"PFDEBUG", b"ENCODING", b"k"],
            ] {
                shard.ask_args(&[b"SET", b"k", &bytes]);
                match shard.ask_args(request) {
                    Value::Error(text) if text.starts_with(b"WRONGTYPE Key is not") => {
                        not_valid += 1;
                    }
                    Value::Error(text) if text.starts_with(b"INVALIDOBJ ") => corrupted += 1,
                    Value::Error(text) => {
                        assert_eq!(text, b"ERR HLL encoding is not sparse", "{request:?}");
                    }
                    _ => read += 1,
                }
            }
        }
    }
    assert!(
        read > 500 && not_valid > 500 && corrupted > 500,
        "{read} {not_valid} {corrupted}: this tests little"
    );
}

/// The estimate is of what was added, whatever road the registers took.
#[test]
fn merged_ones_estimate_what_was_added() {
    let mut shard = Shard::new();
    for number in 0..3000 {
        shard.ask(&format!("PFADD all {number}"));
        shard.ask(&format!("PFADD part{} {number}", number % 3));
    }
    let Value::Integer(estimate) = shard.ask("PFCOUNT all") else { panic!("no estimate") };
    assert!((2850..3150).contains(&estimate), "{estimate}");
    let all = bulk(&shard.ask("GET all"));
    shard.ask("PFCOUNT all");
    assert_eq!(bulk(&shard.ask("GET all")), all, "an estimate that is known is not written again");
}
