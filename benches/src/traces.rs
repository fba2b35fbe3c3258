//! Traces of cache requests: seeded generators, and readers of public formats.
//!
//! A lookup that misses stores its key, as an application does that asks a database then.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::request::Random;

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    /// Reads it, and stores it if it is not there.
    Look,
    Store,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Access {
    pub(crate) operation: Operation,
    pub(crate) key: u64,
    pub(crate) value_bytes: u32,
    /// 0 without an expiry.
    pub(crate) life_s: u32,
}

/// A trace that is generated.
pub(crate) struct Generated {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// All values have one size, so that it is known how many keys fit.
    pub(crate) is_even: bool,
    make: fn(&mut Maker),
}

/// All of them.
pub(crate) const GENERATED: &[Generated] = &[
    even("zipf-0.7", "zipf 0.7 over 10 × the keys kept", |maker| maker.zipf(0.7)),
    even("zipf-0.9", "zipf 0.9", |maker| maker.zipf(0.9)),
    even("zipf-1.1", "zipf 1.1", |maker| maker.zipf(1.1)),
    even("scan", "zipf 0.9, and scans of keys that are read once", Maker::scans),
    even("loop", "a loop over 1.1 × the keys kept", |maker| maker.cycle(1.1)),
    even("shift", "zipf 0.9, whose most popular keys change bit by bit", Maker::shift),
    Generated {
        name: "sizes",
        what: "zipf 0.9 with values of 50 B to 50 KB",
        is_even: false,
        make: |maker| maker.sized(50, 50_000),
    },
    even("expiry", "zipf 0.9, keys live 1 to 60 s", Maker::expiring),
];

const fn even(name: &'static str, what: &'static str, make: fn(&mut Maker)) -> Generated {
    Generated { name, what, is_even: true, make }
}

/// The size of values that are all alike.
pub(crate) const EVEN_BYTES: u32 = 100;
/// So many times as many keys are asked for as are kept.
const KEYS_PER_KEPT: u64 = 10;

impl Generated {
    /// `length` accesses, the same each time; about `kept` keys of even size should fit.
    pub(crate) fn accesses(&self, kept: u64, length: usize) -> Vec<Access> {
        let random = Random::seeded(20_010_407);
        let mut maker = Maker { kept, length, random, accesses: Vec::with_capacity(length) };
        (self.make)(&mut maker);
        maker.accesses
    }
}

struct Maker {
    kept: u64,
    length: usize,
    random: Random,
    accesses: Vec<Access>,
}

/// Ranks at random, the first the most often: the cumulated weights of 1/rank^exponent.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: u64, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=ranks).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn draw(&self, random: &mut Random) -> u64 {
        const STEPS: u64 = 1 << 53;
        let all = self.0.last().copied().unwrap_or(0.0);
        let wanted = random.below(STEPS) as f64 / STEPS as f64 * all;
        self.0.partition_point(|sum| *sum <= wanted) as u64
    }
}

impl Maker {
    fn look(&mut self, key: u64) {
        let (operation, value_bytes) = (Operation::Look, EVEN_BYTES);
        self.accesses.push(Access { operation, key, value_bytes, life_s: 0 });
    }

    fn is_done(&self) -> bool {
        self.accesses.len() >= self.length
    }

    fn all_keys(&self) -> u64 {
        self.kept * KEYS_PER_KEPT
    }

    fn zipf(&mut self, exponent: f64) {
        let zipf = Zipf::new(self.all_keys(), exponent);
        while !self.is_done() {
            let key = zipf.draw(&mut self.random);
            self.look(key);
        }
    }

    /// Half of the time a scan is under way, and it has half of the requests then.
    fn scans(&mut self) {
        let zipf = Zipf::new(self.all_keys(), 0.9);
        let mut scanned = self.all_keys();
        while !self.is_done() {
            let is_scan = self.accesses.len() as u64 / (4 * self.kept) % 2 == 1;
            if is_scan && self.random.below(2) == 0 {
                self.look(scanned);
                scanned += 1;
            } else {
                let key = zipf.draw(&mut self.random);
                self.look(key);
            }
        }
    }

    fn cycle(&mut self, keys_per_kept: f64) {
        let keys = (self.kept as f64 * keys_per_kept) as u64;
        while !self.is_done() {
            self.look(self.accesses.len() as u64 % keys);
        }
    }

    /// With every 20 requests the most popular key is no longer asked for, and all others move up.
    fn shift(&mut self) {
        let zipf = Zipf::new(self.all_keys(), 0.9);
        while !self.is_done() {
            let key = zipf.draw(&mut self.random) + self.accesses.len() as u64 / 20;
            self.look(key);
        }
    }

    /// Each key has a size of its own; as many keys are small as are large, in the logarithm.
    fn sized(&mut self, least: u32, most: u32) {
        self.zipf(0.9);
        let (least, most) = (f64::from(least), f64::from(most));
        for access in &mut self.accesses {
            let share = Random::seeded(access.key << 8).below(1 << 20) as f64 / f64::from(1 << 20);
            access.value_bytes = (least * (most / least).powf(share)) as u32;
        }
    }

    fn expiring(&mut self) {
        self.zipf(0.9);
        for access in &mut self.accesses {
            access.life_s = 1 + Random::seeded(access.key << 8).below(60) as u32;
        }
    }
}

/// Reads a trace of one of the public formats, which is found out by the number of columns:
/// - Twitter's cache traces: time, key, key bytes, value bytes, client, operation, life in seconds;
/// - libCacheSim's CSV: time, object, bytes, and columns that are not used. A first line with names is left out.
pub(crate) fn read(path: &Path, length: usize) -> io::Result<Vec<Access>> {
    let mut accesses = Vec::new();
    for (index, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        if accesses.len() >= length {
            break;
        }
        let line = line?;
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        let is_named = index == 0 && columns[0].parse::<f64>().is_err();
        if line.is_empty() || line.starts_with('#') || is_named {
            continue;
        }
        accesses.push(access(&columns).ok_or_else(|| {
            io::Error::other(format!("{}:{}: no access: {line}", path.display(), index + 1))
        })?);
    }
    Ok(accesses)
}

fn access(columns: &[&str]) -> Option<Access> {
    let number = |text: &str| text.parse::<u32>().ok();
    let key = |text: &str| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    };
    Some(match *columns {
        [_, name, _, value_bytes, _, operation, life_s] => Access {
            operation: match operation {
                "get" | "gets" | "incr" | "decr" => Operation::Look,
                "set" | "add" | "replace" | "cas" | "append" | "prepend" => Operation::Store,
                "delete" => Operation::Delete,
                _ => return None,
            },
            key: key(name),
            value_bytes: number(value_bytes)?,
            life_s: number(life_s)?,
        },
        [_, name, bytes, ..] => {
            let operation = Operation::Look;
            Access { operation, key: key(name), value_bytes: number(bytes)?, life_s: 0 }
        }
        _ => return None,
    })
}

/// The mean size of the values of different keys.
pub(crate) fn mean_bytes(accesses: &[Access]) -> u64 {
    let sizes: HashMap<u64, u32> =
        accesses.iter().map(|access| (access.key, access.value_bytes)).collect();
    let sum: u64 = sizes.values().map(|bytes| u64::from(*bytes)).sum();
    sum / (sizes.len() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn trace(name: &str) -> Vec<Access> {
        let generated = GENERATED.iter().find(|own| own.name == name).expect("a trace");
        let accesses = generated.accesses(1000, 20_000);
        assert_eq!(accesses, generated.accesses(1000, 20_000));
        assert_eq!(accesses.len(), 20_000);
        accesses
    }

    fn share_of_first(accesses: &[Access], keys: u64) -> f64 {
        let count = accesses.iter().filter(|access| access.key < keys).count();
        count as f64 / accesses.len() as f64
    }

    #[test]
    fn generated_traces_are_what_their_names_say() {
        let shares =
            ["zipf-0.7", "zipf-0.9", "zipf-1.1"].map(|name| share_of_first(&trace(name), 1000));
        assert!((shares[0] - 0.47).abs() < 0.03, "{shares:?}");
        assert!((shares[1] - 0.68).abs() < 0.03, "{shares:?}");
        assert!((shares[2] - 0.86).abs() < 0.03, "{shares:?}");
        let keys: HashSet<u64> = trace("loop").iter().map(|access| access.key).collect();
        assert_eq!(keys.len(), 1100);
        let scanned = trace("scan").iter().filter(|access| access.key >= 10_000).count();
        assert!((3000..5000).contains(&scanned), "{scanned}");
        let late = &trace("shift")[10_000..];
        assert!(late.iter().all(|access| access.key >= 500));
        let sizes: Vec<u32> = trace("sizes").iter().map(|access| access.value_bytes).collect();
        assert!(sizes.iter().all(|bytes| (49..=50_000).contains(bytes)));
        assert!(
            sizes.iter().any(|bytes| *bytes < 100) && sizes.iter().any(|bytes| *bytes > 20_000)
        );
        assert!(trace("expiry").iter().all(|access| (1..=60).contains(&access.life_s)));
    }

    #[test]
    fn public_formats_are_read() {
        let columns = |line: &'static str| access(&line.split(',').collect::<Vec<_>>());
        let twitter = columns("0,q:q:1:8WTfjZU14ee,17,213,4,get,0").expect("an access");
        assert_eq!(
            (twitter.operation, twitter.value_bytes, twitter.life_s),
            (Operation::Look, 213, 0)
        );
        let stored = columns("1,q:q:1:8WTfjZU14ee,17,27,1,add,14400").expect("an access");
        assert_eq!(
            (stored.operation, stored.key, stored.life_s),
            (Operation::Store, twitter.key, 14400)
        );
        let simulated = columns("12,4321,512,9999").expect("an access");
        assert_eq!((simulated.operation, simulated.value_bytes), (Operation::Look, 512));
        assert_eq!(columns("1,2"), None);
        assert_eq!(columns("0,key,17,213,4,unknown,0"), None);
    }

    #[test]
    fn files_are_read_up_to_a_length() {
        let path = std::env::temp_dir().join(format!("trace-{}.csv", std::process::id()));
        std::fs::write(&path, "time,object,size\n1,a,10\n2,b,20\n\n3,a,10\n").expect("a file");
        let accesses = read(&path, 10).expect("a trace");
        assert_eq!((accesses.len(), mean_bytes(&accesses)), (3, 15));
        assert_eq!(accesses[0].key, accesses[2].key);
        assert_eq!(read(&path, 2).expect("a trace").len(), 2);
        std::fs::write(&path, "1,a,10\n2,b\n").expect("a file");
        assert!(read(&path, 10).is_err_and(|error| error.to_string().contains(":2:")));
        std::fs::remove_file(&path).expect("a file");
    }
}
