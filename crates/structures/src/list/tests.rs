//! Lists compared with a deque of byte strings; the accounting with a walk.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push(Side, Vec<u8>),
    PushMany(Side, usize),
    RemoveEnd(Side, usize),
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, Side, usize),
    Keep(usize, usize),
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..5).prop_map(|digit| vec![b'0' + digit]),
        4 => prop::collection::vec(any::<u8>(), 0..30),
        1 => (100usize..400).prop_map(|len| vec![b'y'; len]),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::Front), Just(Side::Back)];
    prop_oneof![
        4 => (side(), any_text()).prop_map(|(side, text)| Step::Push(side, text)),
        3 => (side(), 1usize..80).prop_map(|(side, count)| Step::PushMany(side, count)),
        2 => (side(), 0usize..6).prop_map(|(side, count)| Step::RemoveEnd(side, count)),
        3 => (any::<usize>(), any_text()).prop_map(|(at, text)| Step::Set(at, text)),
        4 => (any::<usize>(), any_text()).prop_map(|(at, text)| Step::Insert(at, text)),
        2 => (any::<usize>(), 0usize..40).prop_map(|(at, count)| Step::Remove(at, count)),
        2 => (any_text(), side(), 1usize..9).prop_map(|(text, side, max)| Step::RemoveEqual(text, side, max)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Step::Keep(from, to)),
    ]
}

fn any_limit() -> impl Strategy<Value = NodeLimit> {
    prop_oneof![
        Just(NodeLimit { bytes: 200, count: u32::MAX }),
        Just(NodeLimit { bytes: 8192, count: 3 }),
        Just(NodeLimit { bytes: 8192, count: 1 }),
        Just(NodeLimit { bytes: 600, count: 16 }),
    ]
}

type Model = VecDeque<Vec<u8>>;

fn push(list: &mut List, model: &mut Model, side: Side, text: &[u8]) {
    list.push(side, Content::of(text));
    match side {
        Side::Front => model.push_front(text.to_vec()),
        Side::Back => model.push_back(text.to_vec()),
    }
}

fn take(list: &mut List, model: &mut Model, step: &Step) {
    match step {
        Step::Push(side, text) => push(list, model, *side, text),
        Step::PushMany(side, count) => {
            for number in 0..*count {
                push(list, model, *side, format!("element {number}").as_bytes());
            }
        }
        Step::RemoveEnd(side, count) => {
            list.remove_end(*side, *count);
            for _ in 0..*count {
                match side {
                    Side::Front => model.pop_front(),
                    Side::Back => model.pop_back(),
                };
            }
        }
        Step::Set(at, text) if !model.is_empty() => {
            let at = at % model.len();
            list.set(at, Content::of(text));
            model[at].clone_from(text);
        }
        Step::Set(..) => {}
        Step::Insert(at, text) => {
            let at = at % (model.len() + 1);
            list.insert(at, Content::of(text));
            model.insert(at, text.clone());
        }
        Step::Remove(at, count) => {
            let at = at % (model.len() + 1);
            list.remove(at, *count);
            drop(model.drain(at..(at + count).min(model.len())));
        }
        Step::RemoveEqual(text, side, max) => {
            let removed = list.remove_equal(Content::of(text), *side, *max);
            let mut at: Vec<_> = (0..model.len()).filter(|&at| &model[at] == text).collect();
            if *side == Side::Back {
                at.reverse();
            }
            at.truncate(*max);
            at.sort_unstable();
            assert_eq!(removed, at.len());
            at.into_iter().rev().for_each(|at| drop(model.remove(at)));
        }
        Step::Keep(from, to) => {
            let from = from % (model.len() + 1);
            let to = from + to % (model.len() - from + 1);
            list.keep(from..to);
            *model = model.range(from..to).cloned().collect();
        }
    }
}

fn text(content: Content<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    content.append_to(&mut out);
    out
}

fn agrees(list: &List, model: &Model) {
    assert_eq!(list.len(), model.len());
    assert!(list.iter().map(text).eq(model.iter().cloned()));
    let back = list.iter_back_from(model.len().saturating_sub(1));
    assert!(back.map(text).eq(model.iter().rev().cloned()));
    assert_eq!(list.end(Side::Front).map(text).as_ref(), model.front());
    assert_eq!(list.end(Side::Back).map(text).as_ref(), model.back());
    for at in [0, model.len() / 3, model.len() / 2 + 1, model.len()] {
        assert_eq!(list.get(at).map(text).as_ref(), model.get(at));
        assert!(list.iter_from(at).map(text).eq(model.iter().skip(at).cloned()));
    }
    let limit = list.limit;
    for node in &list.nodes {
        assert!(node.count() > 0, "no node is empty");
        assert!(limit.allows(node.bytes(), node.count()));
        assert_eq!(Run::<BothWays>::is_valid(node.run().as_bytes()), Some(node.count()));
    }
    assert_eq!(list.rooms, list.nodes.iter().map(Node::heap_bytes).sum::<usize>());
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1000 })
    })]

    #[test]
    fn it_holds_what_a_deque_holds(
        limit in any_limit(),
        steps in prop::collection::vec(any_step(), 0..if cfg!(miri) { 12 } else { 60 }),
    ) {
        let (mut list, mut model) = (List::new(limit), Model::new());
        for step in &steps {
            take(&mut list, &mut model, step);
            agrees(&list, &model);
        }
        let rooms = list.rooms;
        let mut freed = 0;
        while !list.is_empty() {
            freed += list.drop_some(2);
        }
        prop_assert_eq!((freed, list.rooms), (rooms, 0));
    }
}

#[test]
fn elements_of_18_bytes_take_below_21() {
    for side in [Side::Front, Side::Back] {
        let mut list = List::default();
        let count = if cfg!(miri) { 2000 } else { 200_000 };
        for number in 0..count {
            list.push(side, Content::Bytes(format!("element:{number:010}").as_bytes()));
        }
        let each = list.heap_bytes() as f64 / f64::from(count);
        assert!(each < 20.5 || cfg!(miri), "{each} bytes per element");
    }
}

#[test]
fn a_queue_does_not_move_its_elements_each_time() {
    let mut list = List::default();
    for number in 0..300 {
        list.push(Side::Back, Content::Bytes(format!("a queued element {number:06}").as_bytes()));
    }
    for number in 300..if cfg!(miri) { 1500 } else { 20_000 } {
        list.push(Side::Back, Content::Bytes(format!("a queued element {number:06}").as_bytes()));
        list.remove_end(Side::Front, 1);
        assert!(list.node_count() <= 4 && list.heap_bytes() < 40_000);
    }
    assert_eq!(list.len(), 300);
}

#[test]
fn a_small_list_becomes_a_large_one_with_the_same_elements() {
    let mut packed = crate::PackedVec::<BothWays>::default();
    for number in 0..500 {
        packed.push(Content::Integer(number));
    }
    for limit in [NodeLimit::of_parameter(-5), NodeLimit::of_parameter(7)] {
        let list = List::of_packed(packed.view(), limit);
        assert!(list.iter().eq(packed.view().iter()));
        assert_eq!(list.node_count(), if limit.count == 7 { 72 } else { 1 });
        assert_eq!(list.single_run().is_some(), limit.count != 7);
    }
    assert!(
        List::of_packed(Packed::new(Packed::<BothWays>::EMPTY), NodeLimit::default()).is_empty()
    );
}

#[test]
fn limits_are_read_as_redis_reads_them() {
    let limit = |value| NodeLimit::of_parameter(value);
    assert_eq!(limit(-1).bytes, 4096);
    assert_eq!(limit(-2).bytes, 8192);
    assert_eq!((limit(-5).bytes, limit(-99).bytes), (65536, 65536));
    assert_eq!((limit(0).count, limit(128).count, limit(1 << 40).count), (1, 128, 65535));
}
