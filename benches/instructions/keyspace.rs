//! Instructions per operation on data: lookups, GET and SET in a shard of a hundred thousand keys,
//! in batches of sixteen.

use std::hint::black_box;

use basalt_keyspace::{Content, DatabaseId, Effect, Key, KeyHasher, Keyspace};
use basalt_resp::{Protocol, Reply};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// The server's allocator, since it does a large part of a SET.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of keys per benchmark; one key costs a sixteenth of the result.
const BATCH: u64 = 16;
const KEYS: u64 = 100_000;
const DATABASE: DatabaseId = DatabaseId(0);

fn name(index: u64) -> Vec<u8> {
    format!("key:{index:012}").into_bytes()
}

/// Keys spread over all existing ones, or similar missing ones.
fn names(first: u64) -> Vec<Vec<u8>> {
    (0..BATCH).map(|index| name(first + index * (KEYS / BATCH))).collect()
}

fn filled() -> Keyspace {
    let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1_000_000);
    for name in (0..KEYS).map(name) {
        set(&mut keyspace, &name, b"xxx", None);
    }
    keyspace
}

/// An output with spare capacity, as that of a busy connection.
fn output() -> Vec<u8> {
    Vec::with_capacity(1 << 16)
}

fn present() -> (Keyspace, Vec<Vec<u8>>) {
    (filled(), names(0))
}

fn absent() -> (Keyspace, Vec<Vec<u8>>) {
    (filled(), names(KEYS))
}

fn set(keyspace: &mut Keyspace, name: &[u8], value: &[u8], expire_at_ms: Option<u64>) {
    let key = keyspace.key(name);
    let effect = Effect::SetString { value, expire_at_ms, changed: false };
    keyspace.edit(DATABASE, &key).commit(effect);
}

// Hash, slot and search, until it is known whether the key exists.
#[library_benchmark]
#[bench::present(present())]
#[bench::absent(absent())]
fn lookup_16((keyspace, names): (Keyspace, Vec<Vec<u8>>)) -> (Keyspace, usize) {
    let found = names.iter().filter(|name| {
        let key = keyspace.key(black_box(name));
        keyspace.peek(DATABASE, &key).is_some()
    });
    let count = found.count();
    (keyspace, count)
}

// The same in the stages of a turn: prefetch all buckets, then all entries, then read.
#[library_benchmark]
#[bench::present(present())]
fn lookup_staged_16((mut keyspace, names): (Keyspace, Vec<Vec<u8>>)) -> (Keyspace, usize) {
    let keys: [Key<'_>; BATCH as usize] =
        std::array::from_fn(|index| keyspace.key(black_box(&names[index])));
    keyspace.prefetch(keys.iter().map(|key| (DATABASE, key.slot, key.hash)));
    let count = keys.iter().filter(|key| keyspace.read(DATABASE, key).is_some()).count();
    (keyspace, count)
}

// The part of GET below the command: statistics, access word, reply.
#[library_benchmark]
#[bench::present(present(), output())]
fn get_16(
    (mut keyspace, names): (Keyspace, Vec<Vec<u8>>),
    mut out: Vec<u8>,
) -> (Keyspace, Vec<u8>) {
    for name in &names {
        let key = keyspace.key(black_box(name));
        let entry = keyspace.read(DATABASE, &key).expect("because it was set");
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        match entry.content() {
            Some(Content::Bytes(text)) => reply.bulk(text),
            Some(Content::Integer(value)) => reply.bulk_integer(value),
            None => reply.null(),
        }
    }
    (keyspace, out)
}

// The part of SET below the command: an edit, its effect and the accounting.
#[library_benchmark]
#[bench::replaces(present(), None)]
#[bench::adds(absent(), None)]
#[bench::adds_with_expiry(absent(), Some(2_000_000))]
fn set_16((mut keyspace, names): (Keyspace, Vec<Vec<u8>>), expire_at_ms: Option<u64>) -> Keyspace {
    for name in &names {
        set(&mut keyspace, black_box(name), b"yyy", expire_at_ms);
    }
    keyspace
}

library_benchmark_group!(name = lookups, benchmarks = [lookup_16, lookup_staged_16]);
library_benchmark_group!(name = strings, benchmarks = [get_16, set_16]);
main!(library_benchmark_groups = [lookups, strings]);
