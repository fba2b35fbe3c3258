//! DUMP payloads of real servers: read, compared by digest, written for every target and read again; and
//! what happens if they are damaged.

use basalt_keyspace::{DatabaseId, Digest, HashRef, KeyHasher, Keyspace};
use basalt_rdb::{Dialect, Error, Target, Trust, dump, open_payload, read_value};
use proptest as _;

const GOLDEN: &str = include_str!("golden/payloads.tsv");
const DB: DatabaseId = DatabaseId(0);
const NOW_MS: u64 = 1_700_000_000_000;
const TARGETS: [Target; 4] = [Target::Latest, Target::Redis7, Target::Redis8, Target::Valkey9];

struct Golden {
    name: String,
    digest: &'static str,
    payload: Vec<u8>,
}

fn golden() -> Vec<Golden> {
    let rows = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let fields: Vec<&str> = row.split('\t').collect();
        let [server, name, digest, hex] = fields[..] else { panic!("{row}") };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hex");
        let payload = (0..hex.len()).step_by(2).map(byte).collect();
        Golden { name: format!("{server} {name}"), digest, payload }
    })
    .collect()
}

fn keyspace() -> Keyspace {
    Keyspace::new(1, KeyHasher::new(1), NOW_MS)
}

/// Has the key `k` hold the value of a payload.
fn restore(keyspace: &mut Keyspace, payload: &[u8]) -> Result<(), Error> {
    let (number, value, dialect) = open_payload(payload).expect("it is sealed");
    load(keyspace, number, value, dialect)
}

fn load(keyspace: &mut Keyspace, number: u8, value: &[u8], dialect: Dialect) -> Result<(), Error> {
    let value = read_value(number, value, (dialect, Trust::None), NOW_MS)?;
    let key = keyspace.key(b"k");
    keyspace.edit(DB, &key).commit(value.effect(None));
    Ok(())
}

fn digest(keyspace: &Keyspace) -> String {
    let entry = keyspace.peek(DB, &keyspace.key(b"k")).expect("it was restored");
    Digest::of_entry(&entry, NOW_MS, false).to_string()
}

fn expiries(keyspace: &Keyspace) -> Vec<(Vec<u8>, Option<u64>)> {
    let entry = keyspace.peek(DB, &keyspace.key(b"k")).expect("it was restored");
    let hash = HashRef::of(&entry, NOW_MS).into_iter().flat_map(|hash| hash.iter());
    let text = |content: basalt_keyspace::Content<'_>| {
        content.as_text(&mut basalt_keyspace::Digits::default()).to_vec()
    };
    let mut all: Vec<_> = hash.map(|field| (text(field.name), field.expire_at_ms)).collect();
    all.sort();
    all
}

#[test]
fn payloads_of_every_server_are_read_and_come_back_for_every_target() {
    for Golden { name, digest: wanted, payload } in golden() {
        let mut first = keyspace();
        restore(&mut first, &payload).unwrap_or_else(|error| panic!("{name}: {error}"));
        first.verify();
        if wanted != "-" {
            assert_eq!(digest(&first), wanted, "{name}");
        }
        for target in TARGETS {
            for compresses in [false, true] {
                let entry = first.peek(DB, &first.key(b"k")).expect("it was restored");
                let written = match dump(&entry, target, compresses) {
                    Ok(written) => written,
                    Err(loss) => {
                        assert!(name.contains("ttl") && target == Target::Redis7, "{name}: {loss}");
                        continue;
                    }
                };
                let mut second = keyspace();
                restore(&mut second, &written)
                    .unwrap_or_else(|error| panic!("{name} for {target:?}: {error}"));
                assert_eq!(first.digests(), second.digests(), "{name} for {target:?}");
                assert_eq!(expiries(&first), expiries(&second), "{name} for {target:?}");
            }
        }
    }
}

#[test]
fn fields_keep_their_expiries() {
    for Golden { name, payload, .. } in golden() {
        let wanted: &[(&str, u64)] = match name.split_once(' ').expect("it has two parts").1 {
            "hash_ttl_small" => &[("a", 33_177_117_420_123), ("c", 33_177_117_430_000)],
            "hash_ttl_large" => &[("field 3", 33_177_117_420_123), ("field 5", 33_177_117_420_123)],
            _ => continue,
        };
        let mut keyspace = keyspace();
        restore(&mut keyspace, &payload).expect("it is valid");
        let found = expiries(&keyspace).into_iter();
        let found: Vec<_> = found.filter_map(|(field, at_ms)| Some((field, at_ms?))).collect();
        let wanted: Vec<_> =
            wanted.iter().map(|(field, at_ms)| (field.as_bytes().to_vec(), *at_ms)).collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn damaged_payloads_are_refused_or_read_but_never_more() {
    for Golden { name, payload, .. } in golden() {
        let (number, value, dialect) = open_payload(&payload).expect("it is sealed");
        let mut refused = 0;
        let mut look = |number: u8, value: &[u8]| {
            let mut keyspace = keyspace();
            match load(&mut keyspace, number, value, dialect) {
                Ok(()) => keyspace.verify(),
                Err(_) => refused += 1,
            }
        };
        for at in 0..value.len() {
            look(number, &value[..at]);
            for mask in [0x01, 0x80, 0xFF] {
                let mut damaged = value.to_vec();
                damaged[at] ^= mask;
                look(number, &damaged);
            }
        }
        look(number, &[value, b"x"].concat());
        for other in 0..=30 {
            look(other, value);
        }
        assert!(refused > value.len(), "{name}: only {refused}");
    }
}

#[test]
fn a_seal_that_is_wrong_is_noticed() {
    let Golden { payload, .. } = golden().swap_remove(0);
    assert!(open_payload(&payload).is_some());
    for at in 0..payload.len() {
        let mut damaged = payload.clone();
        damaged[at] ^= 1;
        assert!(open_payload(&damaged).is_none(), "byte {at}");
        assert!(open_payload(&payload[..at]).is_none(), "cut at {at}");
    }
}
