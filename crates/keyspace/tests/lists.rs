//! Lists in a keyspace against a plain model: through every form, the books and a replay agree.

use std::collections::VecDeque;

use basalt_keyspace::{
    Content, DatabaseId, Effect, KeyHasher, Keyspace, ListChange, ListRef, Side, Strings,
    Thresholds,
};
use proptest::collection::vec;
use proptest::prelude::*;

const KEY: &[u8] = b"list";
const DATABASE: DatabaseId = DatabaseId(0);

#[derive(Clone, Debug)]
enum Step {
    Push(Side, Vec<Vec<u8>>),
    Pop(Side, u64),
    Set(u64, Vec<u8>),
    Insert(u64, Vec<u8>),
    Remove(Vec<u8>, Side, u64),
    Keep(u64, u64),
    Copy,
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0_u8..4).prop_map(|digit| vec![b'0' + digit]),
        3 => vec(any::<u8>(), 0..40),
        1 => (100_usize..900).prop_map(|len| vec![b'x'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::Front), Just(Side::Back)];
    prop_oneof![
        6 => (side(), vec(element(), 1..20)).prop_map(|(side, all)| Step::Push(side, all)),
        3 => (side(), 1_u64..12).prop_map(|(side, count)| Step::Pop(side, count)),
        2 => (0_u64..30, element()).prop_map(|(at, element)| Step::Set(at, element)),
        2 => (0_u64..30, element()).prop_map(|(at, element)| Step::Insert(at, element)),
        2 => (element(), side(), 1_u64..9).prop_map(|(one, side, max)| Step::Remove(one, side, max)),
        1 => (0_u64..40, 0_u64..60).prop_map(|(start, end)| Step::Keep(start, end)),
        1 => Just(Step::Copy),
    ]
}

fn fresh(thresholds: Thresholds) -> Keyspace {
    let mut keyspace = Keyspace::new(1, KeyHasher::new(7), 1_000);
    keyspace.thresholds = thresholds;
    keyspace
}

fn commit(keyspace: &mut Keyspace, effect: Effect<'_>) {
    let key = keyspace.key(KEY);
    keyspace.edit(DATABASE, &key).commit(effect);
}

fn on_model(model: &mut VecDeque<Vec<u8>>, step: &Step) {
    let len = model.len();
    let within = |number: u64| (number as usize).min(len);
    match step {
        Step::Push(Side::Front, all) => all.iter().for_each(|one| model.push_front(one.clone())),
        Step::Push(Side::Back, all) => model.extend(all.iter().cloned()),
        Step::Pop(Side::Front, count) => drop(model.drain(..within(*count))),
        Step::Pop(Side::Back, count) => model.truncate(len - within(*count)),
        Step::Set(at, one) if within(*at) < len => model[within(*at)].clone_from(one),
        Step::Insert(at, one) => model.insert(within(*at), one.clone()),
        Step::Remove(one, side, max) => {
            let mut at: Vec<_> = (0..len).filter(|&at| &model[at] == one).collect();
            if *side == Side::Back {
                at.reverse();
            }
            at.truncate(*max as usize);
            at.sort_unstable();
            at.into_iter().rev().for_each(|at| drop(model.remove(at)));
        }
        Step::Keep(start, end) => {
            let (start, end) = (within(*start), within(*end));
            *model = if start < end {
                model.range(start..end).cloned().collect()
            } else {
                VecDeque::new()
            };
        }
        Step::Set(..) | Step::Copy => {}
    }
}

fn on_keyspace(keyspace: &mut Keyspace, step: &Step) {
    let change = match step {
        Step::Push(side, all) => {
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            let elements = Strings::from(&all[..]);
            return commit(keyspace, Effect::List(ListChange::Push { side: *side, elements }));
        }
        Step::Copy => {
            let (key, mut bytes) = (keyspace.key(KEY), Vec::new());
            let Some(entry) = keyspace.peek(DATABASE, &key) else { return };
            let mut record = Vec::new();
            let effect = Effect::copy_of(&entry, &mut bytes);
            basalt_keyspace::Record::Key { database: DATABASE, key: KEY, effect }
                .encode(&mut record);
            return keyspace.replay(&record).expect("because it was just written");
        }
        Step::Pop(side, count) => ListChange::Pop { side: *side, count: *count },
        Step::Set(index, element) => ListChange::Set { index: *index, element },
        Step::Insert(index, element) => ListChange::Insert { index: *index, element },
        Step::Remove(element, from, count) => {
            ListChange::Remove { element, from: *from, count: *count }
        }
        Step::Keep(start, end) => ListChange::Keep { start: *start, end: *end },
    };
    commit(keyspace, Effect::List(change));
}

fn text(content: Content<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    content.append_to(&mut out);
    out
}

fn agrees(keyspace: &mut Keyspace, model: &VecDeque<Vec<u8>>) {
    let key = keyspace.key(KEY);
    {
        let entry = keyspace.peek(DATABASE, &key);
        let list = entry.as_deref().map(|entry| ListRef::of(entry).expect("because it is a list"));
        assert_eq!(list.is_none(), model.is_empty(), "a list without elements is none");
        if let Some(list) = list {
            assert_eq!(list.len(), model.len());
            assert!(list.iter_from(0).map(text).eq(model.iter().cloned()));
            assert!(list.iter_end(Side::Back).map(text).eq(model.iter().rev().cloned()));
            for at in [0, model.len() / 2, model.len() - 1, model.len()] {
                assert_eq!(list.get(at).map(text).as_ref(), model.get(at));
            }
        }
    }
    keyspace.verify();
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(600)
    })]

    #[test]
    fn lists_are_what_a_deque_is(
        size in prop_oneof![Just(-2), Just(-1), Just(4), Just(0), Just(100)],
        steps in vec(step(), 1..40),
    ) {
        let thresholds = Thresholds { list_max_listpack_size: size, ..Thresholds::default() };
        let (mut keyspace, mut model) = (fresh(thresholds), VecDeque::new());
        for step in &steps {
            // What commands never commit: a change of what is not there.
            if model.is_empty() && !matches!(step, Step::Push(..)) {
                continue;
            }
            on_keyspace(&mut keyspace, step);
            on_model(&mut model, step);
            agrees(&mut keyspace, &model);
        }
    }
}
