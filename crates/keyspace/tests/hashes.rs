//! Hashes through the keyspace: what is committed is what a plain model holds, fields expire in time, the
//! books equal a full walk, and a replay gives the same digests.

use std::collections::BTreeMap;

use basalt_keyspace::{
    Cause, DatabaseId, Digits, Effect, FieldLife, HashChange, HashRef, KeyHasher, Keyspace,
    Strings, Thresholds,
};
use proptest::prelude::*;

const START_MS: u64 = 1_700_000_000_000;
const ID: DatabaseId = DatabaseId(0);

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

#[derive(Clone, Debug)]
enum Step {
    Set { field: u8, value: Vec<u8>, life: Option<u64> },
    Remove(u8),
    ExpireIn(u8, u64),
    Persist(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        6 => (0_u8..40, value, prop::option::weighted(0.1, 1_u64..500))
            .prop_map(|(field, value, life)| Step::Set { field, value, life }),
        3 => (0_u8..40).prop_map(Step::Remove),
        1 => (0_u8..40, 1_u64..500).prop_map(|(field, ms)| Step::ExpireIn(field, ms)),
        1 => (0_u8..40).prop_map(Step::Persist),
        1 => (1_u64..300).prop_map(Step::Wait),
    ]
}

fn fields(keyspace: &Keyspace) -> Model {
    let entry = keyspace.peek(ID, &keyspace.key(b"hash"));
    let hash = entry.as_deref().and_then(|entry| HashRef::of(entry, keyspace.now_ms()));
    let mut digits = [Digits::default(), Digits::default()];
    let [of_name, of_value] = &mut digits;
    let all = hash.into_iter().flat_map(|hash| hash.iter());
    all.map(|field| {
        let (name, value) = (field.name.as_text(of_name), field.value.as_text(of_value));
        (name.to_vec(), (value.to_vec(), field.expire_at_ms))
    })
    .collect()
}

fn apply(step: Step, keyspace: &mut Keyspace, model: &mut Model) {
    let now_ms = keyspace.now_ms();
    let commit = |keyspace: &mut Keyspace, change: HashChange<'_>| {
        let key = keyspace.key(b"hash");
        keyspace.edit(ID, &key).commit(Effect::Hash(change));
    };
    let name = |field: u8| field.to_string().into_bytes();
    match step {
        Step::Set { field, value, life } => {
            let (name, at_ms) = (name(field), life.map(|ms| now_ms + ms));
            let life = at_ms.map_or(FieldLife::Forever, FieldLife::Until);
            let pair: [&[u8]; 2] = [&name, &value];
            commit(keyspace, HashChange::Set { pairs: Strings::from(&pair), life });
            model.insert(name, (value, at_ms));
        }
        Step::Remove(field) => {
            let name = name(field);
            let fields = [name.as_slice()];
            let fields = Strings::from(&fields);
            commit(keyspace, HashChange::Remove { fields, cause: Cause::Deleted });
            model.remove(&name);
        }
        Step::ExpireIn(field, ms) => {
            let (name, at_ms) = (name(field), now_ms + ms);
            let fields = [name.as_slice()];
            commit(keyspace, HashChange::ExpireAt { fields: Strings::from(&fields), at_ms });
            if let Some(held) = model.get_mut(&name) {
                held.1 = Some(at_ms);
            }
        }
        Step::Persist(field) => {
            let name = name(field);
            let fields = [name.as_slice()];
            commit(keyspace, HashChange::Persist { fields: Strings::from(&fields) });
            if let Some(held) = model.get_mut(&name) {
                held.1 = None;
            }
        }
        Step::Wait(ms) => {
            keyspace.set_now(now_ms + ms);
            model.retain(|_, (_, at_ms)| at_ms.is_none_or(|at_ms| at_ms > now_ms + ms));
            assert_eq!(fields(keyspace), *model, "what is past its expiry is not seen");
            while keyspace.expire_due(&mut || true) {}
        }
    }
}

proptest! {
    #[test]
    fn a_hash_is_its_model(
        steps in prop::collection::vec(step(), 1..120),
        most in prop::sample::select(vec![0_u64, 8, 512]),
    ) {
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), START_MS);
        keyspace.thresholds =
            Thresholds { hash_max_listpack_entries: most, ..Thresholds::default() };
        let reader = keyspace.add_reader();
        let mut model = Model::new();
        for step in steps {
            apply(step, &mut keyspace, &mut model);
            keyspace.verify();
            prop_assert_eq!(fields(&keyspace), model.clone());
            prop_assert_eq!(keyspace.len(ID), usize::from(!model.is_empty()));
        }
        let mut replayed = Keyspace::new(1, KeyHasher::new(2), START_MS);
        let records = keyspace.unread_records(reader).expect("the reader keeps up");
        replayed.replay(records).expect("records are what was recorded");
        replayed.verify();
        replayed.set_now(keyspace.now_ms());
        prop_assert_eq!(keyspace.digests(), replayed.digests());
    }
}
