//! The keyspace against a plain model: whatever is committed, looked at, flushed, swapped or left to
//! expire, both hold the same, the books equal a full walk, and a replay gives the same digests.

use std::collections::BTreeMap;

use basalt_keyspace::{
    Cause, Content, DatabaseId, Effect, Entry, KeyHasher, Keyspace, Malformed, Record, SLOTS,
    ScanPosition, StreamChange, StreamId, Strings, stream_of,
};
use proptest::collection::vec;
use proptest::prelude::*;

const DATABASES: usize = 3;
const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
enum Change {
    SetString { value: Vec<u8>, expire_in_ms: Option<u64>, changed: bool },
    SetInteger { value: i64, expire_in_ms: Option<u64> },
    Append(Vec<u8>),
    SetRange { offset: usize, bytes: Vec<u8> },
    ExpireIn(u64),
    Persist,
    Remove,
}

#[derive(Clone, Debug)]
enum Step {
    Change { database: u16, key: u8, reads: bool, change: Change },
    Read { database: u16, key: u8 },
    Inspect { database: u16, key: u8 },
    Wait { ms: u64 },
    Expire { in_pieces: bool },
    Flush { database: u16 },
    Swap { first: u16, second: u16 },
    Bury { in_pieces: bool },
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..60),
        1 => (200_usize..3000).prop_map(|len| vec![b'x'; len]),
    ]
}

fn expiry() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![0_u64..2_000, 1_000_u64..100_000_000])
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (value(), expiry(), any::<bool>()).prop_map(|(value, expire_in_ms, changed)| {
            Change::SetString { value, expire_in_ms, changed }
        }),
        3 => (any::<i64>(), expiry())
            .prop_map(|(value, expire_in_ms)| Change::SetInteger { value, expire_in_ms }),
        2 => value().prop_map(Change::Append),
        1 => (0_usize..2000, vec(any::<u8>(), 1..30))
            .prop_map(|(offset, bytes)| Change::SetRange { offset, bytes }),
        2 => (0_u64..100_000).prop_map(Change::ExpireIn),
        1 => Just(Change::Persist),
        2 => Just(Change::Remove),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let database = || 0..DATABASES as u16;
    prop_oneof![
        20 => (database(), 0_u8..24, any::<bool>(), change()).prop_map(
            |(database, key, reads, change)| Step::Change { database, key, reads, change }
        ),
        4 => (database(), 0_u8..24).prop_map(|(database, key)| Step::Read { database, key }),
        2 => (database(), 0_u8..24).prop_map(|(database, key)| Step::Inspect { database, key }),
        4 => prop_oneof![0_u64..50, 500_u64..60_000].prop_map(|ms| Step::Wait { ms }),
        2 => any::<bool>().prop_map(|in_pieces| Step::Expire { in_pieces }),
        1 => database().prop_map(|database| Step::Flush { database }),
        1 => (database(), database()).prop_map(|(first, second)| Step::Swap { first, second }),
        1 => any::<bool>().prop_map(|in_pieces| Step::Bury { in_pieces }),
    ]
}

/// Some keys share a slot, some are long.
fn key_bytes(key: u8) -> Vec<u8> {
    match key % 4 {
        0 => format!("key:{key}").into_bytes(),
        1 => format!("{{tag}}{key}").into_bytes(),
        2 => [vec![b'l'; 300], vec![key]].concat(),
        _ => vec![key],
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    text: Vec<u8>,
    expire_at_ms: Option<u64>,
}

#[derive(Default)]
struct Model {
    databases: [BTreeMap<Vec<u8>, Kept>; DATABASES],
    hits: u64,
    misses: u64,
    expired: u64,
}

impl Model {
    /// Takes a dead entry away, as every look does; says whether a live one is there.
    fn look(&mut self, database: u16, key: &[u8], now_ms: u64) -> bool {
        let entries = &mut self.databases[usize::from(database)];
        let is_dead = |kept: &Kept| kept.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if entries.get(key).is_some_and(is_dead) {
            entries.remove(key);
            self.expired += 1;
        }
        entries.contains_key(key)
    }

    fn count_look(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
    }

    fn change(&mut self, database: u16, key: Vec<u8>, change: &Change, now_ms: u64) {
        let entries = &mut self.databases[usize::from(database)];
        let moment = |after_ms: &Option<u64>| after_ms.map(|after_ms| now_ms + after_ms);
        match change {
            Change::SetString { value, expire_in_ms, .. } => {
                let kept = Kept { text: value.clone(), expire_at_ms: moment(expire_in_ms) };
                entries.insert(key, kept);
            }
            Change::SetInteger { value, expire_in_ms } => {
                let text = value.to_string().into_bytes();
                entries.insert(key, Kept { text, expire_at_ms: moment(expire_in_ms) });
            }
            Change::Append(bytes) => {
                let kept = entries.entry(key).or_insert(Kept { text: vec![], expire_at_ms: None });
                kept.text.extend_from_slice(bytes);
            }
            Change::SetRange { offset, bytes } => {
                let kept = entries.entry(key).or_insert(Kept { text: vec![], expire_at_ms: None });
                let end = offset + bytes.len();
                kept.text.resize(kept.text.len().max(end), 0);
                kept.text[*offset..end].copy_from_slice(bytes);
            }
            Change::ExpireIn(after_ms) => {
                if let Some(kept) = entries.get_mut(&key) {
                    kept.expire_at_ms = Some(now_ms + after_ms);
                }
            }
            Change::Persist => {
                if let Some(kept) = entries.get_mut(&key) {
                    kept.expire_at_ms = None;
                }
            }
            Change::Remove => drop(entries.remove(&key)),
        }
    }

    fn expire(&mut self, now_ms: u64) {
        for entries in &mut self.databases {
            let before = entries.len();
            entries.retain(|_, kept| kept.expire_at_ms.is_none_or(|at_ms| at_ms > now_ms));
            self.expired += (before - entries.len()) as u64;
        }
    }

    fn live(&self, database: usize, now_ms: u64) -> BTreeMap<Vec<u8>, Kept> {
        let mut live = self.databases[database].clone();
        live.retain(|_, kept| kept.expire_at_ms.is_none_or(|at_ms| at_ms > now_ms));
        live
    }
}

fn effect_of(change: &Change, now_ms: u64) -> Effect<'_> {
    let moment = |after_ms: &Option<u64>| after_ms.map(|after_ms| now_ms + after_ms);
    match change {
        Change::SetString { value, expire_in_ms, changed } => {
            Effect::SetString { value, expire_at_ms: moment(expire_in_ms), changed: *changed }
        }
        Change::SetInteger { value, expire_in_ms } => {
            Effect::SetInteger { value: *value, expire_at_ms: moment(expire_in_ms) }
        }
        Change::Append(bytes) => Effect::Append { bytes },
        Change::SetRange { offset, bytes } => Effect::SetRange { offset: *offset, bytes },
        Change::ExpireIn(after_ms) => Effect::ExpireAt { at_ms: now_ms + after_ms },
        Change::Persist => Effect::Persist,
        Change::Remove => Effect::Remove { cause: Cause::Deleted },
    }
}

fn kept(entry: &Entry) -> Kept {
    let text = match entry.content() {
        Some(Content::Bytes(bytes)) => bytes.to_vec(),
        Some(Content::Integer(value)) => value.to_string().into_bytes(),
        None => panic!("a collection is no string"),
    };
    Kept { text, expire_at_ms: entry.expire_at_ms() }
}

fn live(keyspace: &Keyspace, database: usize) -> BTreeMap<Vec<u8>, Kept> {
    let mut live = BTreeMap::new();
    keyspace.visit_all(DatabaseId(database as u16), &mut |entry| {
        live.insert(entry.key().to_vec(), kept(entry));
    });
    live
}

/// Says yes a few times, then no.
fn pieces(count: usize) -> impl FnMut() -> bool {
    let mut left = count;
    move || {
        left = left.saturating_sub(1);
        left > 0
    }
}

fn apply(step: &Step, keyspace: &mut Keyspace, model: &mut Model) {
    let now_ms = keyspace.now_ms();
    match step {
        Step::Change { database, key, reads, change } => {
            let bytes = key_bytes(*key);
            let is_there = model.look(*database, &bytes, now_ms);
            if *reads {
                model.count_look(is_there);
            }
            let key = keyspace.key(&bytes);
            let edit = match reads {
                true => keyspace.read_and_edit(DatabaseId(*database), &key),
                false => keyspace.edit(DatabaseId(*database), &key),
            };
            assert_eq!(edit.entry().is_some(), is_there);
            edit.commit(effect_of(change, now_ms));
            model.change(*database, bytes, change, now_ms);
        }
        Step::Read { database, key } | Step::Inspect { database, key } => {
            let bytes = key_bytes(*key);
            let is_there = model.look(*database, &bytes, now_ms);
            model.count_look(is_there);
            let expected = model.databases[usize::from(*database)].get(&bytes);
            let (id, key) = (DatabaseId(*database), keyspace.key(&bytes));
            let found = match step {
                Step::Read { .. } => keyspace.read(id, &key),
                _ => keyspace.inspect(id, &key),
            };
            assert_eq!(found.map(|entry| kept(&entry)).as_ref(), expected);
        }
        Step::Wait { ms } => keyspace.set_now(now_ms + ms),
        Step::Expire { in_pieces } => {
            if *in_pieces {
                keyspace.expire_due(&mut pieces(2));
            }
            while keyspace.expire_due(&mut || true) {}
            model.expire(now_ms);
            let (mut keys, mut expected) = (0, 0);
            for (index, entries) in model.databases.iter().enumerate() {
                keys += keyspace.len(DatabaseId(index as u16));
                expected += entries.len();
            }
            assert_eq!(keys, expected, "all that was due is gone, and nothing else");
        }
        Step::Flush { database } => {
            keyspace.flush(DatabaseId(*database));
            model.databases[usize::from(*database)].clear();
        }
        Step::Swap { first, second } => {
            keyspace.swap(DatabaseId(*first), DatabaseId(*second));
            model.databases.swap(usize::from(*first), usize::from(*second));
        }
        Step::Bury { in_pieces } => {
            if *in_pieces {
                keyspace.free_step(&mut pieces(1));
            }
            while keyspace.free_step(&mut || true) {}
            assert!(!keyspace.has_lazy_free());
        }
    }
}

fn check(keyspace: &Keyspace, model: &Model) {
    keyspace.verify();
    for database in 0..DATABASES {
        assert_eq!(live(keyspace, database), model.live(database, keyspace.now_ms()));
    }
    let stats = keyspace.stats;
    assert_eq!(
        (stats.hits, stats.misses, stats.expired),
        (model.hits, model.misses, model.expired)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_keyspace_is_its_model(steps in vec(step(), 1..120)) {
        let mut keyspace = Keyspace::new(DATABASES, KeyHasher::new(1), START_MS);
        let reader = keyspace.add_reader();
        let mut model = Model::default();
        for step in &steps {
            apply(step, &mut keyspace, &mut model);
            check(&keyspace, &model);
        }
        let mut replayed = Keyspace::new(DATABASES, KeyHasher::new(2), START_MS);
        let records = keyspace.unread_records(reader).expect("the reader keeps up");
        replayed.replay(records).expect("records are what was recorded");
        replayed.verify();
        replayed.set_now(keyspace.now_ms());
        prop_assert_eq!(keyspace.digests(), replayed.digests());
        for database in 0..DATABASES {
            prop_assert_eq!(live(&keyspace, database), live(&replayed, database));
        }
    }
}

#[test]
fn integers_change_in_place() {
    let mut keyspace = Keyspace::new(1, KeyHasher::new(1), START_MS);
    let key = keyspace.key(b"counter");
    let set = |keyspace: &mut Keyspace, value, expire_at_ms| {
        keyspace.edit(DatabaseId(0), &key).commit(Effect::SetInteger { value, expire_at_ms });
    };
    set(&mut keyspace, 1, Some(START_MS + 10));
    let bytes = keyspace.used_bytes();
    keyspace.set_now(START_MS + 5);
    set(&mut keyspace, i64::MIN, Some(START_MS + 10));
    assert_eq!(keyspace.used_bytes(), bytes);
    let entry = keyspace.peek(DatabaseId(0), &key).expect("it has 5 ms left");
    assert_eq!(
        (entry.content(), entry.expire_at_ms()),
        (Some(Content::Integer(i64::MIN)), Some(START_MS + 10))
    );
    set(&mut keyspace, 7, None);
    assert_eq!(keyspace.statistics(DatabaseId(0)).expiring, 0);
    keyspace.verify();
}

#[test]
fn inspecting_is_no_use() {
    let mut keyspace = Keyspace::new(1, KeyHasher::new(1), START_MS);
    let key = keyspace.key(b"key");
    let value = Effect::SetString { value: b"v", expire_at_ms: None, changed: false };
    keyspace.edit(DatabaseId(0), &key).commit(value);
    let idle_after = |keyspace: &mut Keyspace, reads: bool| {
        keyspace.set_now(keyspace.now_ms() + 9_000);
        let now_ms = keyspace.now_ms();
        let found = match reads {
            true => keyspace.read(DatabaseId(0), &key),
            false => keyspace.inspect(DatabaseId(0), &key),
        };
        basalt_keyspace::idle_seconds(found.expect("it stays").access(), now_ms)
    };
    assert_eq!(idle_after(&mut keyspace, false), 9);
    assert_eq!(idle_after(&mut keyspace, true), 0);
    assert_eq!(idle_after(&mut keyspace, false), 9);
    assert_eq!((keyspace.stats.hits, keyspace.stats.misses), (3, 0));
}

#[test]
fn a_scan_in_steps_visits_what_stays() {
    let mut keyspace = Keyspace::new(1, KeyHasher::new(1), START_MS);
    let id = DatabaseId(0);
    let names: Vec<Vec<u8>> = (0..3000).map(|n| format!("key:{n}").into_bytes()).collect();
    for name in &names {
        let key = keyspace.key(name);
        let value = Effect::SetInteger { value: 1, expire_at_ms: None };
        keyspace.edit(id, &key).commit(value);
    }
    let (mut seen, mut position, mut step) = (BTreeMap::new(), ScanPosition::default(), 0);
    while position.slot < SLOTS {
        position = keyspace.scan(id, position, SLOTS, 10, &mut |entry| {
            seen.insert(entry.key().to_vec(), ());
        });
        // Every other key goes while the scan is on its way.
        if let Some(name) = names.get(2 * step + 1) {
            let key = keyspace.key(name);
            keyspace.edit(id, &key).commit(Effect::Remove { cause: Cause::Deleted });
        }
        step += 1;
    }
    for name in names.iter().step_by(2) {
        assert!(seen.contains_key(name), "{} was there throughout", String::from_utf8_lossy(name));
    }
}

/// What can't follow on what is there is refused, and what went before it stays.
#[test]
fn records_of_streams_that_do_not_follow_are_refused() {
    let parts: [&[u8]; 2] = [b"n", b"v"];
    let id = |ms| StreamId { ms, seq: 0 };
    let add =
        |ms| StreamChange::Add { id: id(ms), pairs: Strings::from(&parts), in_new_node: false };
    let last =
        |ms| StreamChange::SetLastId { last_id: id(ms), entries_added: None, max_deleted_id: None };
    for bad in [add(5), add(4), add(0), last(4)] {
        let mut records = Vec::new();
        for change in [add(5), bad, add(6)] {
            let effect = Effect::Stream(change);
            Record::Key { database: DatabaseId(0), key: b"s", effect }.encode(&mut records);
        }
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), START_MS);
        assert_eq!(keyspace.replay(&records), Err(Malformed), "{bad:?}");
        let entry = keyspace.peek(DatabaseId(0), &keyspace.key(b"s"));
        let stream = entry.as_deref().and_then(stream_of).expect("the first record was right");
        assert_eq!((stream.len(), stream.last_id()), (1, id(5)));
    }
}
