//! Streams compared with a plain model, and their bytes under mutation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Parts = Vec<Vec<u8>>;

fn id(number: u64) -> StreamId {
    // Several IDs per millisecond, and gaps.
    StreamId { ms: number / 3, seq: if number % 3 == 2 { u64::MAX - 1 } else { number % 3 } }
}

#[derive(Clone, Debug, Default)]
struct GroupModel {
    last_id: StreamId,
    entries_read: Option<u64>,
    /// ID to consumer, time and count.
    pending: BTreeMap<StreamId, (Vec<u8>, u64, u64)>,
    consumers: BTreeMap<Vec<u8>, (u64, Option<u64>)>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    entries: BTreeMap<StreamId, Parts>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    groups: BTreeMap<Vec<u8>, GroupModel>,
    producers: ProducersModel,
}

#[derive(Clone, Debug)]
enum Change {
    Add { gap: u64, parts: Parts },
    Delete(u64),
    Trim { count: u64 },
    TrimNodes { keep: u64, entries_max: u64 },
    TrimBefore { number: u64, exactly: bool },
    SetLastId(u64),
    Create(u8),
    Destroy(u8),
    Join(u8, u8),
    Leave(u8, u8),
    Assign { group: u8, consumer: u8, number: u64, count: u64 },
    Seen { group: u8, consumer: u8, is_active: bool },
    Release { group: u8, number: u64, count: u64 },
    Acknowledge { group: u8, number: u64 },
    Note { producer: u8, name: u8, number: u64 },
    Configure { seconds: u64, most: u64 },
    Forget(u64),
    Code,
}

fn parts() -> impl Strategy<Value = Parts> {
    let part = prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 0..6),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        1 => (120..140usize).prop_map(|len| vec![b'x'; len]),
    ];
    prop_oneof![
        5 => part.clone().prop_map(|value| vec![b"name".to_vec(), value]),
        2 => (part.clone(), part.clone()).prop_map(|(name, value)| vec![name, value]),
        1 => proptest::collection::vec(part, 1..4)
            .prop_map(|values| values.into_iter().flat_map(|value| [b"n".to_vec(), value]).collect()),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let number = 0..400u64;
    let (group, consumer) = (0..3u8, 0..4u8);
    prop_oneof![
        20 => (1..4u64, parts()).prop_map(|(gap, parts)| Change::Add { gap, parts }),
        6 => number.clone().prop_map(Change::Delete),
        1 => (0..40u64).prop_map(|count| Change::Trim { count }),
        1 => (0..60u64, 0..20u64)
            .prop_map(|(keep, entries_max)| Change::TrimNodes { keep, entries_max }),
        1 => (number.clone(), any::<bool>())
            .prop_map(|(number, exactly)| Change::TrimBefore { number, exactly }),
        1 => number.clone().prop_map(Change::SetLastId),
        1 => group.clone().prop_map(Change::Create),
        1 => (0..9u8).prop_map(Change::Destroy),
        2 => (group.clone(), consumer.clone()).prop_map(|(g, c)| Change::Join(g, c)),
        1 => (group.clone(), 0..9u8).prop_map(|(g, c)| Change::Leave(g, c)),
        9 => (group.clone(), consumer.clone(), number.clone(), 1..5u64).prop_map(
            |(group, consumer, number, count)| Change::Assign { group, consumer, number, count }
        ),
        2 => (group.clone(), consumer, any::<bool>())
            .prop_map(|(group, consumer, is_active)| Change::Seen { group, consumer, is_active }),
        5 => (group, number.clone()).prop_map(|(group, number)| Change::Acknowledge { group, number }),
        2 => (0..3u8, number.clone(), 0..5u64)
            .prop_map(|(group, number, count)| Change::Release { group, number, count }),
        9 => (0..4u8, 0..12u8, number.clone())
            .prop_map(|(producer, name, number)| Change::Note { producer, name, number }),
        1 => (0..2u64, 1..6u64).prop_map(|(few, most)| Change::Configure { seconds: 2 + 98 * few, most }),
        1 => number.prop_map(Change::Forget),
        1 => Just(Change::Code),
    ]
}

/// A moment at which idempotency IDs may have expired.
fn after_some_time(now_ms: u64) -> u64 {
    2000 + now_ms / 3
}

/// Producers as plain lists.
#[derive(Clone, Debug)]
struct ProducersModel {
    seconds: u64,
    most: u64,
    noted: u64,
    repeated: u64,
    by_name: BTreeMap<u8, Vec<(u8, StreamId)>>,
}

impl Default for ProducersModel {
    fn default() -> Self {
        let (seconds, most) = (IDEMPOTENCY_SECONDS, IDEMPOTENCY_NAMES);
        Self { seconds, most, noted: 0, repeated: 0, by_name: BTreeMap::new() }
    }
}

impl ProducersModel {
    /// Removes expired IDs, the oldest first.
    fn at(&self, at_ms: u64) -> BTreeMap<u8, Vec<(u8, StreamId)>> {
        let due_ms = at_ms.checked_sub(self.seconds * 1000);
        let mut rest = self.by_name.clone();
        for names in rest.values_mut() {
            let is_due = |(_, id): &&(u8, StreamId)| due_ms.is_some_and(|due_ms| id.ms <= due_ms);
            names.drain(..names.iter().take_while(is_due).count());
        }
        rest.retain(|_, names| !names.is_empty());
        rest
    }

    fn find(&self, producer: u8, name: u8, at_ms: u64) -> Option<StreamId> {
        let rest = self.at(at_ms);
        rest.get(&producer)?.iter().find(|(other, _)| *other == name).map(|(_, id)| *id)
    }

    fn known(&self, at_ms: u64) -> (u64, u64) {
        let rest = self.at(at_ms);
        (rest.len() as u64, rest.values().map(|names| names.len() as u64).sum())
    }

    fn note(&mut self, producer: u8, name: u8, id: StreamId, at_ms: u64) {
        self.by_name = self.at(at_ms);
        self.noted += 1;
        let names = self.by_name.entry(producer).or_default();
        names.push((name, id));
        if names.len() as u64 > self.most {
            names.remove(0);
        }
    }
}

const LIMITS: NodeLimits = NodeLimits { bytes: 400, entries: 10 };

struct Pair {
    stream: Stream,
    model: Model,
    newest: u64,
    now_ms: u64,
}

impl Pair {
    fn new() -> Self {
        Self { stream: Stream::new(), model: Model::default(), newest: 0, now_ms: 0 }
    }

    fn apply(&mut self, change: Change) {
        self.now_ms += 1;
        let (stream, model, now_ms) = (&mut self.stream, &mut self.model, self.now_ms);
        match change {
            Change::Add { gap, parts } => {
                self.newest += gap;
                let id = id(self.newest);
                let bytes = parts.iter().map(Vec::len).sum();
                let is_full = stream.is_node_full(LIMITS, bytes);
                stream.add(id, parts.iter().map(Vec::as_slice), is_full);
                model.entries.insert(id, parts);
                model.last_id = id;
                model.entries_added += 1;
            }
            Change::Delete(number) => {
                let id = id(number);
                let was_there = model.entries.remove(&id).is_some();
                assert_eq!(stream.delete(id), was_there);
                if was_there {
                    model.max_deleted_id = model.max_deleted_id.max(id);
                }
            }
            Change::Trim { count } => {
                let keep = Keep::Newest(stream.len().saturating_sub(count));
                self.trim(keep, Trim::Exactly, count.min(self.model.entries.len() as u64));
            }
            Change::TrimNodes { keep, entries_max } => {
                let count = stream.trimmed_count(Keep::Newest(keep), Trim::Nodes { entries_max });
                assert!(count <= stream.len().saturating_sub(keep));
                assert!(entries_max == 0 || count <= entries_max);
                self.trim(Keep::Newest(keep), Trim::Nodes { entries_max }, count);
            }
            Change::TrimBefore { number, exactly } => {
                let id = id(number);
                let below = model.entries.range(..id).count() as u64;
                let trim = if exactly { Trim::Exactly } else { Trim::Nodes { entries_max: 0 } };
                let count = stream.trimmed_count(Keep::From(id), trim);
                assert!(if exactly { count == below } else { count <= below });
                self.trim(Keep::From(id), trim, count);
            }
            Change::SetLastId(number) => {
                let last = model.entries.keys().next_back().copied().unwrap_or_default();
                if id(number) >= last {
                    self.newest = number;
                    model.last_id = id(number);
                    stream.set_last_id(id(number), None, None);
                }
            }
            Change::Create(group) => {
                let is_new = !model.groups.contains_key(&vec![group]);
                assert_eq!(stream.create_group(&[group], id(3), Some(now_ms)), is_new);
                model.groups.entry(vec![group]).or_insert_with(|| GroupModel {
                    last_id: id(3),
                    entries_read: Some(now_ms),
                    ..GroupModel::default()
                });
            }
            Change::Destroy(group) => {
                assert_eq!(
                    stream.destroy_group(&[group]),
                    model.groups.remove(&vec![group]).is_some()
                );
            }
            Change::Forget(number) => {
                stream.acknowledge_everywhere(id(number));
                for group in model.groups.values_mut() {
                    group.pending.remove(&id(number));
                }
            }
            Change::Code => {
                let mut bytes = Vec::new();
                stream.encode(&mut bytes);
                *stream = Stream::decode(&bytes).expect("a stream's own bytes");
                let mut again = Vec::new();
                stream.encode(&mut again);
                assert_eq!(bytes, again);
            }
            Change::Note { producer, name, number } => {
                let at_ms = after_some_time(now_ms);
                let known =
                    stream.producers().and_then(|all| all.find(&[producer], &[name], at_ms));
                assert_eq!(known, model.producers.find(producer, name, at_ms));
                if known.is_none() {
                    stream.note_name(&[producer], &[name], id(number), at_ms);
                    model.producers.note(producer, name, id(number), at_ms);
                } else {
                    stream.count_repeated();
                    model.producers.repeated += 1;
                }
            }
            Change::Configure { seconds, most } => {
                stream.configure_producers(seconds, most);
                let ProducersModel { noted, repeated, .. } = model.producers;
                model.producers =
                    ProducersModel { seconds, most, noted, repeated, by_name: BTreeMap::new() };
            }
            of_group => self.apply_to_group(&of_group),
        }
    }

    fn apply_to_group(&mut self, change: &Change) {
        let now_ms = self.now_ms;
        let (Change::Join(group, _)
        | Change::Leave(group, _)
        | Change::Assign { group, .. }
        | Change::Seen { group, .. }
        | Change::Release { group, .. }
        | Change::Acknowledge { group, .. }) = *change
        else {
            unreachable!("the others were taken before")
        };
        let Some(model) = self.model.groups.get_mut(&vec![group]) else {
            assert_eq!(self.stream.change_group(&[group], |_| ()), None);
            return;
        };
        self.stream.change_group(&[group], |group| match *change {
            Change::Join(_, consumer) => {
                group.join(&[consumer], now_ms);
                model.consumers.entry(vec![consumer]).or_insert((now_ms, None));
            }
            Change::Leave(_, consumer) => {
                let is_there = model.consumers.remove(&vec![consumer]).is_some();
                let before = model.pending.len();
                model.pending.retain(|_, (owner, ..)| *owner != [consumer]);
                let gone = is_there.then_some(before - model.pending.len());
                assert_eq!(group.leave(&[consumer]), gone);
            }
            Change::Assign { consumer, number, count, .. } => {
                let member = group.join(&[consumer], now_ms);
                model.consumers.entry(vec![consumer]).or_insert((now_ms, None));
                group.assign(id(number), member, now_ms, count);
                group.last_id = group.last_id.max(id(number));
                model.last_id = model.last_id.max(id(number));
                model.pending.insert(id(number), (vec![consumer], now_ms, count));
            }
            Change::Seen { consumer, is_active, .. } => {
                if let Some(number) = group.number(&[consumer]) {
                    group.note_seen(number, now_ms, is_active);
                }
                if let Some((seen, active)) = model.consumers.get_mut(&vec![consumer]) {
                    *seen = now_ms;
                    *active = if is_active { Some(now_ms) } else { *active };
                }
            }
            Change::Release { number, count, .. } => {
                group.release(id(number), count);
                model.pending.insert(id(number), (Vec::new(), 0, count));
            }
            Change::Acknowledge { number, .. } => {
                let was_there = model.pending.remove(&id(number)).is_some();
                assert_eq!(group.acknowledge(id(number)), was_there);
            }
            _ => unreachable!("the others were taken before"),
        });
    }

    fn trim(&mut self, keep: Keep, trim: Trim, count: u64) {
        assert_eq!(self.stream.trimmed_count(keep, trim), count);
        self.stream.drop_first(count);
        for _ in 0..count {
            self.model.entries.pop_first();
        }
    }

    fn check(&self) {
        let (stream, model) = (&self.stream, &self.model);
        stream.check();
        assert_eq!(stream.len(), model.entries.len() as u64);
        assert_eq!(
            (stream.last_id(), stream.max_deleted_id(), stream.entries_added()),
            (model.last_id, model.max_deleted_id, model.entries_added)
        );
        let all: Vec<_> = model.entries.iter().map(|(id, parts)| (*id, parts.clone())).collect();
        let found: Vec<_> =
            stream.range(StreamId::MIN, StreamId::MAX).map(|entry| read(&entry)).collect();
        assert_eq!(found, all);
        assert_eq!(stream.first().map(|entry| read(&entry)).as_ref(), all.first());
        assert_eq!(stream.last().map(|entry| read(&entry)).as_ref(), all.last());
        let at_ms = after_some_time(self.now_ms);
        let known = stream.producers().map_or((0, 0), |all| all.known(at_ms));
        assert_eq!(known, model.producers.known(at_ms));
        let counts = stream.producers().map_or((0, 0), |all| (all.noted(), all.repeated()));
        assert_eq!(counts, (model.producers.noted, model.producers.repeated));
        let names: BTreeSet<_> =
            stream.groups().iter().map(|group| group.name().to_vec()).collect();
        assert_eq!(names, model.groups.keys().cloned().collect());
        for (name, model) in &model.groups {
            check_group(stream.group(name).expect("a group of the model"), model);
        }
    }

    fn check_between(&self, start: u64, end: u64) {
        let (start, end) = (id(start), id(end));
        let expected: Vec<_> = self
            .model
            .entries
            .iter()
            .filter(|(id, _)| (start..=end).contains(*id))
            .map(|(id, parts)| (*id, parts.clone()))
            .collect();
        let mut found: Vec<_> = self.stream.range(start, end).map(|entry| read(&entry)).collect();
        assert_eq!(found, expected);
        found = self.stream.range_back(start, end).map(|entry| read(&entry)).collect();
        found.reverse();
        assert_eq!(found, expected);
        assert_eq!(
            self.stream.get(start).map(|entry| read(&entry)).map(|(_, parts)| parts),
            self.model.entries.get(&start).cloned()
        );
    }
}

fn read(entry: &StreamEntry<'_>) -> (StreamId, Parts) {
    let parts = entry.pairs().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect();
    (entry.id, parts)
}

fn check_group(group: &Group, model: &GroupModel) {
    assert_eq!(group.entries_read, model.entries_read);
    assert_eq!(group.pending_count(), model.pending.len());
    assert_eq!(group.last_pending(), model.pending.keys().next_back().copied());
    let pending: BTreeMap<_, _> = group
        .pending_from(StreamId::MIN)
        .map(|(id, pending)| {
            let owner = group.owner(pending).map_or(Vec::new(), |owner| owner.name().to_vec());
            (*id, (owner, pending.delivered_at_ms, pending.delivery_count))
        })
        .collect();
    assert_eq!(pending, model.pending);
    let consumers: BTreeMap<_, _> = group
        .consumers()
        .map(|consumer| (consumer.name().to_vec(), (consumer.seen_at_ms, consumer.active_at_ms)))
        .collect();
    assert_eq!(consumers, model.consumers);
    for (name, _) in consumers {
        let consumer = group.consumer(&name).expect("a consumer of the model");
        let own = model.pending.iter().filter(|(_, (owner, ..))| *owner == name);
        assert!(consumer.pending_from(StreamId::MIN).eq(own.map(|(id, _)| *id)));
    }
}

fn cases(count: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { 3 } else { count };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_stream_is_a_sorted_map_with_groups(
        changes in proptest::collection::vec(change(), 1..if cfg!(miri) { 60 } else { 300 }),
        bounds in proptest::collection::vec((0..400u64, 0..400u64), 5),
    ) {
        let mut pair = Pair::new();
        for change in changes {
            pair.apply(change);
        }
        pair.check();
        bounds.iter().for_each(|(start, end)| pair.check_between(*start, *end));
        let mut freed = 0;
        let held = pair.stream.heap_bytes();
        while pair.stream.droppable_len() > 0 {
            freed += pair.stream.drop_some(7);
        }
        pair.stream.check();
        assert_eq!(held - pair.stream.heap_bytes(), freed);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn runs_are_a_sorted_map(
        changes in proptest::collection::vec((any::<bool>(), 0..2000u64), 1..if cfg!(miri) { 200 } else { 4000 }),
        ascending in any::<bool>(),
    ) {
        let mut runs = Runs::new();
        let mut model = BTreeMap::new();
        for (index, (inserts, number)) in changes.iter().enumerate() {
            let number = if ascending && *inserts { index as u64 } else { *number };
            if *inserts {
                assert_eq!(runs.insert(id(number), index), model.insert(id(number), index));
            } else {
                assert_eq!(runs.remove(id(number)), model.remove(&id(number)));
            }
        }
        runs.check();
        assert!(runs.starting_at(StreamId::MIN).map(|(id, value)| (id, value)).eq(model.iter()));
        for bound in (0..2000).step_by(97).map(id) {
            assert!(runs.starting_at(bound).map(|(id, value)| (id, value)).eq(model.range(bound..)));
            assert!(runs.back_from(bound).map(|(id, value)| (id, value)).eq(model.range(..=bound).rev()));
            assert_eq!(runs.get(bound), model.get(&bound));
            assert_eq!(runs.floor_mut(bound).map(|item| item.0), model.range(..=bound).next_back().map(|item| *item.0));
        }
        while let Some((id, value)) = runs.pop_first() {
            assert_eq!(model.pop_first(), Some((id, value)));
        }
        assert!(model.is_empty());
        runs.check();
    }
}

/// Redis' own sizes: `XADD` to a node until `XINFO STREAM` shows another.
#[test]
fn nodes_end_where_those_of_redis_do() {
    let fill = |limits: NodeLimits, parts: &[&[u8]]| {
        let mut stream = Stream::new();
        for number in 1.. {
            let bytes = parts.iter().map(|part| part.len()).sum();
            let is_full = stream.is_node_full(limits, bytes);
            if is_full && number > 1 {
                return number - 1;
            }
            stream.add(StreamId { ms: number, seq: 0 }, parts.iter().copied(), is_full);
        }
        unreachable!("every node is full at some time")
    };
    let by_default = NodeLimits { bytes: 4096, entries: 100 };
    assert_eq!(fill(by_default, &[b"f", b"v"]), 100);
    assert_eq!(fill(NodeLimits { entries: 7, ..by_default }, &[b"f", b"v"]), 7);
    assert_eq!(fill(by_default, &[b"field", &[b'x'; 60]]), 58);
    assert_eq!(fill(by_default, &[b"field", &[b'x'; 100]]), 36);
    assert_eq!(fill(NodeLimits { bytes: 4096, entries: 0 }, &[b"a", b"1", b"b", b"-70000"]), 263);
}

/// Whatever the bytes are, decoding gives a stream with all invariants, or `None`.
#[test]
fn foreign_bytes_are_checked() {
    let mut pair = Pair::new();
    for number in 0..40 {
        pair.apply(Change::Add { gap: 1 + number % 3, parts: vec![b"n".to_vec(), vec![b'v'; 9]] });
        pair.apply(Change::Add { gap: 1, parts: vec![b"other".to_vec(), b"-12".to_vec()] });
    }
    pair.apply(Change::Create(1));
    pair.apply(Change::Create(2));
    for number in 0..30 {
        let consumer = (number % 3) as u8;
        pair.apply(Change::Assign { group: 1, consumer, number, count: 2 });
        pair.apply(Change::Delete(number * 3));
        pair.apply(Change::Release { group: 2, number, count: 3 });
        pair.apply(Change::Note { producer: consumer, name: number as u8, number });
    }
    let mut whole = Vec::new();
    pair.stream.encode(&mut whole);
    let mut state = 8812_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % bound
    };
    let mut decoded = 0;
    for _ in 0..if cfg!(miri) { 30 } else { 60_000 } {
        let mut bytes = whole.clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(5) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << below(8),
                2 => bytes[at] = below(256) as u8,
                3 => bytes.insert(at, below(256) as u8),
                _ => drop(bytes.drain(at..(at + below(4)).min(bytes.len() - 1).max(at))),
            }
        }
        let Some(mut stream) = Stream::decode(&bytes) else { continue };
        decoded += 1;
        stream.check();
        let len =
            stream.range(StreamId::MIN, StreamId::MAX).inspect(|entry| _ = read(entry)).count();
        assert_eq!(len as u64, stream.len());
        let first = stream.first_id();
        assert_eq!(stream.get(first).is_some(), len > 0);
        if let Some(next) = stream.last_id().next() {
            stream.add(next, [&b"a"[..], b"b"].into_iter(), false);
        }
        stream.drop_first(len as u64 / 2);
        stream.delete(first);
        stream.check();
    }
    assert!(cfg!(miri) || decoded > 100, "only {decoded} of the mutations were streams");
}

#[test]
fn ids_step_over_the_ends_of_a_millisecond() {
    let edge = StreamId { ms: 4, seq: u64::MAX };
    assert_eq!(edge.next(), Some(StreamId { ms: 5, seq: 0 }));
    assert_eq!(edge.next().and_then(StreamId::previous), Some(edge));
    assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
}
