//! A snapshot is what was there when it began, whatever changes while it is written.

use std::sync::{Arc, Mutex};

use basalt_keyspace::{
    Cause, DatabaseId, Effect, Entry, KeyHasher, Keyspace, ListChange, Side, SlotId, SnapshotSink,
    Strings,
};
use proptest::prelude::*;

const DATABASES: u16 = 3;
const NOW_MS: u64 = 1_000_000;

/// Keeps what is written as records of another keyspace.
#[derive(Clone)]
struct Copier(Arc<Mutex<Keyspace>>);

impl SnapshotSink for Copier {
    fn write(&mut self, database: DatabaseId, entry: &Entry) {
        let mut copy = self.0.lock().expect("nothing panics");
        let key = copy.key(entry.key());
        assert!(copy.databases().stored(database, &key).is_none(), "a key is written twice");
        let mut bytes = Vec::new();
        copy.edit(database, &key).commit(Effect::copy_of(entry, &mut bytes));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Set {
        database: u16,
        key: u16,
    },
    Push {
        database: u16,
        key: u16,
    },
    Delete {
        database: u16,
        key: u16,
    },
    Flush {
        database: u16,
    },
    Swap {
        first: u16,
        second: u16,
    },
    /// The slot of a key leaves for another shard, or comes back.
    Move {
        key: u16,
    },
    Write {
        granules: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (database, key) = (0..DATABASES, 0_u16..400);
    prop_oneof![
        6 => (database.clone(), key.clone()).prop_map(|(database, key)| Step::Set { database, key }),
        4 => (database.clone(), key.clone()).prop_map(|(database, key)| Step::Push { database, key }),
        4 => (database.clone(), key.clone()).prop_map(|(database, key)| Step::Delete { database, key }),
        1 => database.clone().prop_map(|database| Step::Flush { database }),
        1 => (database.clone(), database).prop_map(|(first, second)| Step::Swap { first, second }),
        2 => key.prop_map(|key| Step::Move { key }),
        4 => (0_u8..30).prop_map(|granules| Step::Write { granules }),
    ]
}

/// Many keys share few slots, so that some slots are large.
fn name(key: u16) -> Vec<u8> {
    format!("{{{}}}{key}", key % 5).into_bytes()
}

fn act(step: Step, here: &mut Keyspace, away: &mut Keyspace) {
    let has = |keyspace: &Keyspace, slot: SlotId| {
        (0..DATABASES).any(|id| keyspace.slot_len(DatabaseId(id), slot) > 0)
    };
    match step {
        Step::Set { database, key }
        | Step::Push { database, key }
        | Step::Delete { database, key } => {
            let name = name(key);
            let of_key = here.key(&name);
            // A key of a slot that is away is changed there.
            let keyspace = if has(away, of_key.slot) { away } else { here };
            let edit = keyspace.edit(DatabaseId(database), &of_key);
            let elements: [&[u8]; 2] = [b"some", b"elements"];
            edit.commit(match step {
                Step::Set { .. } => Effect::SetInteger { value: key.into(), expire_at_ms: None },
                Step::Push { .. } => Effect::List(ListChange::Push {
                    side: Side::Back,
                    elements: Strings::from(&elements),
                }),
                _ => Effect::Remove { cause: Cause::Deleted },
            });
        }
        Step::Flush { database } => {
            here.flush(DatabaseId(database));
            away.flush(DatabaseId(database));
        }
        Step::Swap { first, second } => {
            here.swap(DatabaseId(first), DatabaseId(second));
            away.swap(DatabaseId(first), DatabaseId(second));
        }
        Step::Move { key } => {
            let slot = SlotId::of_key(&name(key));
            let (from, to) = if has(away, slot) { (away, here) } else { (here, away) };
            let bundle = from.detach(&[slot]);
            to.attach(bundle);
        }
        Step::Write { granules } => {
            let mut left = granules;
            let mut more = || {
                left = left.saturating_sub(1);
                left > 0
            };
            here.write_snapshot(&mut more);
            away.write_snapshot(&mut more);
        }
    }
}

fn keyspace() -> Keyspace {
    Keyspace::new(DATABASES.into(), KeyHasher::new(1), NOW_MS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 150 }))]
    #[test]
    fn it_is_what_was_there(
        before in prop::collection::vec(step(), 0..500),
        during in prop::collection::vec(step(), 0..500),
    ) {
        let (mut here, mut away) = (keyspace(), keyspace());
        before.into_iter().for_each(|step| act(step, &mut here, &mut away));
        let wanted: Vec<_> = here.digests().into_iter().zip(away.digests()).collect();
        let copies = [&mut here, &mut away].map(|keyspace| {
            let copy = Copier(Arc::new(Mutex::new(self::keyspace())));
            keyspace.begin_snapshot(Box::new(copy.clone()));
            copy
        });
        during.into_iter().for_each(|step| act(step, &mut here, &mut away));
        for keyspace in [&mut here, &mut away] {
            prop_assert!(!keyspace.write_snapshot(&mut || true));
            keyspace.end_snapshot();
            keyspace.verify();
        }
        let digests = copies.map(|copy| copy.0.lock().expect("nothing panics").digests());
        let [first, second] = digests;
        let written: Vec<_> = first.into_iter().zip(second).collect();
        prop_assert_eq!(written, wanted);
        while here.free_step(&mut || true) || away.free_step(&mut || true) {}
        here.verify();
        away.verify();
    }
}
