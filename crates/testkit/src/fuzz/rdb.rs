//! Rdb: values of RESTORE and files of snapshots, as anything.

use basalt_keyspace::{DatabaseId, KeyHasher, Keyspace};
use basalt_rdb::{Dialect, FileReader, Item, Target, Trust, dump, open_payload, read_value};

const NOW_MS: u64 = 1_700_000_000_000;
const DB: DatabaseId = DatabaseId(0);

fn restored(number: u8, value: &[u8], dialect: Dialect, trust: Trust) -> Option<Keyspace> {
    let value = read_value(number, value, (dialect, trust), NOW_MS).ok()?;
    let mut keyspace = Keyspace::new(1, KeyHasher::new(1), NOW_MS);
    let key = keyspace.key(b"key");
    keyspace.edit(DB, &key).commit(value.effect(None));
    keyspace.verify();
    Some(keyspace)
}

/// A value that is read can be written, and is the same when it is read again.
pub(super) fn values(data: &[u8]) {
    let Some((number, value)) = data.split_first() else { return };
    for dialect in [Dialect::Redis, Dialect::Valkey] {
        restored(*number, value, dialect, Trust::Checksum);
        let Some(first) = restored(*number, value, dialect, Trust::None) else { continue };
        let entry = first.peek(DB, &first.key(b"key")).expect("an empty value is refused");
        for target in [Target::Latest, Target::Redis7, Target::Redis8, Target::Valkey9] {
            let Ok(payload) = dump(&entry, target, true) else { continue };
            let (number, value, dialect) = open_payload(&payload).expect("it was sealed");
            let second = restored(number, value, dialect, Trust::None).expect("it was written");
            assert_eq!(first.digests(), second.digests(), "it comes back for {target:?}");
        }
    }
}

/// The items of a file are read, or an error comes, with the whole file at hand and byte by byte.
pub(super) fn files(data: &[u8]) {
    let mut reader = FileReader::new(true);
    let (mut rest, mut count) = (data, 0);
    while let Ok((item, taken)) = reader.next(rest) {
        assert!(taken > 0 && taken <= rest.len(), "an item takes bytes");
        rest = &rest[taken..];
        count += 1;
        match item {
            Item::Key(key) => {
                restored(key.number, key.value, reader.dialect(), Trust::Checksum);
            }
            Item::End => break,
            _ => {}
        }
    }
    let mut reader = FileReader::new(true);
    let (mut start, mut items) = (0, 0);
    for end in 0..=data.len() {
        if let Ok((item, taken)) = reader.next(&data[start..end]) {
            items += 1;
            start += taken;
            if matches!(item, Item::End) {
                break;
            }
        }
    }
    assert_eq!(items, count, "byte by byte the same items come");
}

fn golden() -> impl Iterator<Item = Vec<u8>> {
    let rows = include_str!("../../../rdb/tests/golden/payloads.tsv").lines();
    rows.filter_map(|row| row.split('\t').nth(3)).map(|hex| {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    })
}

pub(super) fn value_corpus() -> Vec<Vec<u8>> {
    let short = golden().filter(|payload| payload.len() < 500);
    short.map(|payload| payload[..payload.len() - 10].to_vec()).collect()
}

/// Files of one key each, without a checksum.
pub(super) fn file_corpus() -> Vec<Vec<u8>> {
    let file = |body: Vec<u8>| {
        let head = b"REDIS0012\xFA\x03ver\x015\xFE\x00\xFB\x01\x00\xFC\0\0\0\0\0\x01\0\0\xF8\x05";
        [head, &body[..1], b"\x03key", &body[1..], b"\xFF\0\0\0\0\0\0\0\0"].concat()
    };
    value_corpus().into_iter().map(file).collect()
}

#[test]
fn the_corpora_are_read() {
    for body in value_corpus() {
        let both = [Dialect::Redis, Dialect::Valkey];
        let is_read = |dialect| restored(body[0], &body[1..], dialect, Trust::None).is_some();
        assert!(both.into_iter().any(is_read), "type {}", body[0]);
    }
    let mut ends = 0;
    for file in file_corpus() {
        let mut reader = FileReader::new(true);
        let mut rest = &file[..];
        while let Ok((item, taken)) = reader.next(rest) {
            rest = &rest[taken..];
            ends += usize::from(matches!(item, Item::End));
        }
    }
    assert!(ends > 50, "only {ends} files were read to their end");
}
