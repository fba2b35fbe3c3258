//! Datasets: the data that a server holds before a workload starts, as requests that load it.
//!
//! Every server gets the same requests. Keys and members have redis-benchmark's form
//! (`element:000000012345`), so requests with random digits find them.

use crate::request::key;

/// The number of members or elements per load request.
const PER_REQUEST: u64 = 100;
/// The number of scores, and of elements of the large collections; like redis-benchmark's `-r`.
pub(crate) const MILLION: u64 = 1_000_000;

/// A named dataset.
#[derive(Debug)]
pub(crate) struct Dataset {
    name: &'static str,
    /// The number of requests that load it; `None`: as many as the workload has keys.
    requests: Option<u64>,
    /// The arguments of the `index`th request, which may contain the workload's value.
    store: fn(index: u64, value: &str) -> Vec<String>,
}

/// A dataset in the size that a workload requires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preload {
    dataset: &'static Dataset,
    pub(crate) requests: u64,
    value_bytes: usize,
}

impl Dataset {
    /// Whether the workload decides the number of keys and the size of values.
    pub(crate) fn is_sized(&self) -> bool {
        self.requests.is_none()
    }

    pub(crate) fn preload(&'static self, keys: u64, value_bytes: usize) -> Preload {
        let value_bytes = if self.is_sized() { value_bytes } else { 0 };
        Preload { dataset: self, requests: self.requests.unwrap_or(keys), value_bytes }
    }
}

impl Preload {
    /// Identifies it among others.
    pub(crate) fn id(&self) -> (&'static str, u64, usize) {
        (self.dataset.name, self.requests, self.value_bytes)
    }

    /// The arguments of every request, in order.
    pub(crate) fn request(&self) -> impl Fn(u64) -> Vec<String> {
        let value = "x".repeat(self.value_bytes);
        let store = self.dataset.store;
        move |index| store(index, &value)
    }
}

const fn fixed(name: &'static str, requests: u64, store: fn(u64, &str) -> Vec<String>) -> Dataset {
    Dataset { name, requests: Some(requests), store }
}

pub(crate) static NOTHING: Dataset = fixed("nothing", 0, |_, _| vec![]);

pub(crate) static STRINGS: Dataset = Dataset {
    name: "strings",
    requests: None,
    store: |index, value| words(["SET", &key("key:", index), value]),
};

pub(crate) static COUNTERS: Dataset = Dataset {
    name: "counters",
    requests: None,
    store: |index, _| words(["SET", &key("counter:", index), "0"]),
};

/// Values of 1 KiB.
pub(crate) static TEXTS: Dataset = fixed("texts", 100_000, |index, _| {
    words(["SET", &key("text:", index), &letters(index, 16).repeat(64)])
});

/// A thousand bits per key.
pub(crate) static BITMAPS: Dataset = fixed("bitmaps", 100_000, |index, _| {
    words(["SET", &key("bitmap:", index), &letters(index, 25).repeat(5)])
});

/// One value of 1 MB.
pub(crate) static BITS: Dataset = fixed("bits", 1, |_, _| {
    let text: String = (0..MILLION / 20).map(|index| letters(index, 20)).collect();
    words(["SET", "bits", &text])
});

/// Two HyperLogLogs of 100,000 elements each, half of them in both.
pub(crate) static HYPERLOGLOGS: Dataset = fixed("hyperloglogs", 2000, |index, _| {
    let (name, part) = if index < 1000 { ("hll:a", index) } else { ("hll:b", index - 500) };
    stored("PFADD", name, part, |out, number| out.push(element(number)))
});

/// A list of which LRANGE reads the head.
pub(crate) static LIST: Dataset = fixed("list", 1000, push);

/// LIMIT: the number of elements that a round of LPOP removes.
pub(crate) const LONG_LIST_ELEMENTS: u64 = 2 * MILLION;
pub(crate) static LONG_LIST: Dataset = fixed("long-list", LONG_LIST_ELEMENTS / PER_REQUEST, push);

fn push(index: u64, _: &str) -> Vec<String> {
    stored("RPUSH", "mylist", index, |out, _| out.push("xxx".to_owned()))
}

/// Hashes of ten fields.
pub(crate) static HASHES: Dataset = fixed("hashes", 100_000, |index, _| {
    let fields =
        (0..10).flat_map(|field| [format!("f{field}"), format!("val{:06}", index % MILLION)]);
    words(["HSET", &key("hash:", index)]).into_iter().chain(fields).collect()
});

/// A hundred hashes of a thousand fields.
pub(crate) static BIG_HASHES: Dataset = fixed("big-hashes", 1000, |index, _| {
    stored("HSET", &key("hash:", index / 10), index % 10, |out, number| {
        out.extend([element(number), format!("val{number:06}")]);
    })
});

/// One hash of a million fields.
pub(crate) static HASH: Dataset = fixed("hash", MILLION / PER_REQUEST, |index, _| {
    stored("HSET", "myhash", index, |out, number| out.extend([element(number), "xxx".to_owned()]))
});

/// One set of a million members.
pub(crate) static SET: Dataset = fixed("set", MILLION / PER_REQUEST, |index, _| {
    stored("SADD", "myset", index, |out, number| out.push(element(number)))
});

/// A hundred sets of a thousand members.
pub(crate) static SETS: Dataset = fixed("sets", 1000, |index, _| {
    stored("SADD", &key("set:", index / 10), index % 10, |out, number| out.push(element(number)))
});

/// Two sets of 10,000 members, half of them in both.
pub(crate) static SET_PAIR: Dataset = fixed("set-pair", 200, |index, _| {
    let (name, part) = if index < 100 { ("set:a", index) } else { ("set:b", index - 50) };
    stored("SADD", name, part, |out, number| out.push(element(number)))
});

/// One sorted set of a million members, with different scores below a million.
pub(crate) static SORTED_SET: Dataset = fixed("sorted-set", MILLION / PER_REQUEST, |index, _| {
    stored("ZADD", "myzset", index, |out, number| {
        // The factor is coprime to a million, so every score occurs once.
        out.extend([(number * 7919 % MILLION).to_string(), element(number)]);
    })
});

/// A stream of entries with one field and consecutive IDs.
pub(crate) static STREAM: Dataset = fixed("stream", 100_000, |index, _| {
    words(["XADD", "mystream", &format!("{index}-1"), "myfield", "xxx"])
});

/// A hundred thousand places all over the globe.
pub(crate) static PLACES: Dataset = fixed("places", 1000, |index, _| {
    stored("GEOADD", "places", index, |out, number| {
        let (longitude, latitude) = (scattered(number) % 360_000, scattered(!number) % 160_000);
        let degrees =
            |thousandths: u64, middle: f64| format!("{:.3}", thousandths as f64 / 1000.0 - middle);
        out.extend([degrees(longitude, 180.0), degrees(latitude, 80.0), key("place:", number)]);
    })
});

fn words<const COUNT: usize>(words: [&str; COUNT]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn element(number: u64) -> String {
    key("element:", number)
}

/// A request that adds the `index`th hundred of members to one key.
fn stored(
    command: &str,
    name: &str,
    index: u64,
    member: impl Fn(&mut Vec<String>, u64),
) -> Vec<String> {
    let mut args = words([command, name]);
    (index * PER_REQUEST..(index + 1) * PER_REQUEST).for_each(|number| member(&mut args, number));
    args
}

/// Spreads numbers over all 64 bits; a bijection (the finalizer of splitmix64).
pub(crate) fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Letters that look random and, from 14 letters on, differ for every number.
pub(crate) fn letters(number: u64, count: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";
    let mut bits = u128::from(scattered(number)) | u128::from(scattered(number ^ 0xA5A5)) << 64;
    let letter = |_| {
        let letter = ALPHABET[(bits % 32) as usize];
        bits /= 32;
        char::from(letter)
    };
    (0..count).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_and_are_no_numbers() {
        let keys: HashSet<String> = (0..100_000).map(|index| letters(index, 16)).collect();
        assert_eq!(keys.len(), 100_000);
        assert!(keys.iter().all(|key| key.len() == 16 && key.parse::<i64>().is_err()));
    }

    #[test]
    fn a_sorted_set_has_every_score_once() {
        let request = SORTED_SET.preload(0, 0);
        let stored: Vec<Vec<String>> = (0..request.requests).map(request.request()).collect();
        let scores: HashSet<&String> =
            stored.iter().flat_map(|args| args[2..].iter().step_by(2)).collect();
        assert_eq!(scores.len() as u64, MILLION);
    }

    #[test]
    fn the_pair_of_sets_has_half_in_common() {
        let preload = SET_PAIR.preload(0, 0);
        let members = |name: &str| -> HashSet<String> {
            let requests = (0..preload.requests).map(preload.request());
            requests.filter(|args| args[1] == name).flat_map(|args| args[2..].to_vec()).collect()
        };
        let (a, b) = (members("set:a"), members("set:b"));
        assert_eq!((a.len(), b.len(), a.intersection(&b).count()), (10_000, 10_000, 5000));
    }
}
