//! Sets in a keyspace against a plain model: through every form, the books and a replay agree.

use std::collections::BTreeSet;

use basalt_keyspace::{
    DatabaseId, Digits, Effect, KeyHasher, Keyspace, Record, SetChange, SetRef, Strings, Thresholds,
};
use proptest::collection::vec;
use proptest::prelude::*;

const KEY: &[u8] = b"set";
const DATABASE: DatabaseId = DatabaseId(0);

type Names = Vec<Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Add(Names),
    Remove(Names),
    Take(u64, usize),
    Copy,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-30_i64..30).prop_map(|number| number.to_string().into_bytes()),
        1 => (-2_i64..2).prop_map(|near| (i64::from(i32::MAX) + near).to_string().into_bytes()),
        2 => (0_u8..40).prop_map(|letter| vec![b'a', letter]),
        1 => (8_usize..700).prop_map(|len| vec![b'x'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => vec(name(), 1..25).prop_map(Step::Add),
        3 => vec(name(), 1..25).prop_map(Step::Remove),
        2 => (any::<u64>(), 0_usize..12).prop_map(|(random, count)| Step::Take(random, count)),
        1 => Just(Step::Copy),
    ]
}

fn fresh(thresholds: Thresholds) -> Keyspace {
    let mut keyspace = Keyspace::new(1, KeyHasher::new(7), 1_000);
    keyspace.thresholds = thresholds;
    keyspace
}

fn change(keyspace: &mut Keyspace, names: &[Vec<u8>], adds: bool) {
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let members = Strings::from(&names[..]);
    let change = if adds { SetChange::Add { members } } else { SetChange::Remove { members } };
    let key = keyspace.key(KEY);
    keyspace.edit(DATABASE, &key).commit(Effect::Set(change));
}

fn chosen(keyspace: &Keyspace, random: u64, count: usize) -> Names {
    let entry = keyspace.peek(DATABASE, &keyspace.key(KEY));
    let set = entry.as_deref().and_then(SetRef::of);
    let chosen = set.map(|set| set.choose(count, random)).unwrap_or_default();
    chosen.iter().map(|member| member.as_text(&mut Digits::default()).to_vec()).collect()
}

fn copy(keyspace: &mut Keyspace) {
    let (key, mut bytes, mut record) = (keyspace.key(KEY), Vec::new(), Vec::new());
    if let Some(entry) = keyspace.peek(DATABASE, &key) {
        let effect = Effect::copy_of(&entry, &mut bytes);
        Record::Key { database: DATABASE, key: KEY, effect }.encode(&mut record);
    }
    keyspace.replay(&record).expect("it was just written");
}

fn agrees(keyspace: &mut Keyspace, model: &BTreeSet<Vec<u8>>) {
    {
        let entry = keyspace.peek(DATABASE, &keyspace.key(KEY));
        let set = entry.as_deref().map(|entry| SetRef::of(entry).expect("it is a set"));
        assert_eq!(set.is_none(), model.is_empty(), "a set without members is none");
        if let Some(set) = set {
            assert_eq!(set.len(), model.len());
            assert!(model.iter().all(|name| set.contains(name)));
            assert!(!set.contains(b"nobody"));
            let mut scanned = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = set.scan(cursor, 5, &mut |member| {
                    scanned.insert(member.as_text(&mut Digits::default()).to_vec());
                });
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(&scanned, model);
        }
    }
    keyspace.verify();
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    #[test]
    fn sets_are_what_a_set_is(
        (integers, packed) in prop_oneof![Just((512, 128)), Just((8, 16)), Just((0, 0)), Just((20, 4))],
        steps in vec(step(), 1..40),
    ) {
        let thresholds = Thresholds {
            set_max_intset_entries: integers,
            set_max_listpack_entries: packed,
            ..Thresholds::default()
        };
        let (mut keyspace, mut model) = (fresh(thresholds), BTreeSet::new());
        let reader = keyspace.add_reader();
        for step in &steps {
            match step {
                Step::Add(names) => {
                    change(&mut keyspace, names, true);
                    model.extend(names.iter().cloned());
                }
                // What commands never commit: a change of what is not there.
                _ if model.is_empty() => continue,
                Step::Remove(names) => {
                    change(&mut keyspace, names, false);
                    names.iter().for_each(|name| _ = model.remove(name));
                }
                Step::Take(random, count) => {
                    let names = chosen(&keyspace, *random, *count);
                    prop_assert_eq!(names.len(), (*count).min(model.len()));
                    prop_assert!(names.iter().all(|name| model.remove(name)), "each once");
                    change(&mut keyspace, &names, false);
                }
                Step::Copy => copy(&mut keyspace),
            }
            agrees(&mut keyspace, &model);
        }
        let records = keyspace.unread_records(reader).expect("the reader keeps up");
        let mut replayed = fresh(thresholds);
        replayed.replay(records).expect("the records were just written");
        prop_assert_eq!(replayed.digests(), keyspace.digests());
    }
}
