//! Records: the content of a journal, decoded and replayed.

use basalt_keyspace::{
    Cause, DatabaseId, Deliveries, Effect, FieldLife, HashChange, KeyHasher, Keyspace, ListChange,
    Record, SetChange, Side, SortedChange, StreamChange, StreamId, StreamIds, Strings,
};

const NOW_MS: u64 = 1_700_000_000_000;
const DATABASES: usize = 16;
/// Sizes in records are trusted; larger ones would only use memory.
const SIZE_MAX: usize = 1 << 20;

/// A decoded record is encoded as it was, and has the same effect each time.
pub(super) fn run(data: &[u8]) {
    let mut rest = data;
    let mut records = Vec::new();
    while let Ok((record, len)) = Record::decode(rest) {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(
            Record::decode(&again).map(|(record, _)| record),
            Ok(record),
            "a record written again differs"
        );
        if !is_replayed(&record) {
            break;
        }
        records.extend_from_slice(&rest[..len]);
        rest = &rest[len..];
        if rest.is_empty() {
            break;
        }
    }
    let (one, other) = (replayed(&records, 1), replayed(&records, 2));
    assert_eq!(one.digests(), other.digests(), "the same records give the same data");
}

/// Whether a record uses no more memory than it declares.
fn is_replayed(record: &Record<'_>) -> bool {
    let Record::Key { effect, .. } = record else { return true };
    match effect {
        Effect::SetRange { offset, .. } => *offset <= SIZE_MAX,
        Effect::Splice { offset, removed, .. } => *offset <= SIZE_MAX && *removed <= SIZE_MAX,
        _ => true,
    }
}

fn replayed(records: &[u8], seed: u64) -> Keyspace {
    let mut keyspace = Keyspace::new(DATABASES, KeyHasher::new(seed), NOW_MS);
    // Records of missing databases are refused, and end it.
    let _ = keyspace.replay(records);
    keyspace.verify();
    keyspace
}

#[expect(clippy::too_many_lines, reason = "a list")]
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let words: [&[u8]; 4] = [b"a", b"1", b"b", b"-7"];
    let words = Strings::from(&words);
    let score = 1.5_f64.to_le_bytes();
    let scored: [&[u8]; 2] = [&score, b"member"];
    let scored = Strings::from(&scored);
    let id = StreamId { ms: 7, seq: 0 };
    let ids = StreamIds::from(std::slice::from_ref(&id));
    let by_key: &[(&[u8], &[Effect<'_>])] = &[
        (
            b"string",
            &[
                Effect::SetString { value: b"v", expire_at_ms: Some(NOW_MS + 5), changed: false },
                Effect::Append { bytes: b"tail" },
                Effect::SetRange { offset: 9, bytes: b"z" },
                Effect::Splice { offset: 1, removed: 2, bytes: b"in between" },
                Effect::Persist,
            ],
        ),
        (b"number", &[Effect::SetInteger { value: -7, expire_at_ms: None }]),
        (
            b"gone",
            &[
                Effect::SetInteger { value: 1, expire_at_ms: None },
                Effect::ExpireAt { at_ms: NOW_MS + 1 },
                Effect::Remove { cause: Cause::Expired },
            ],
        ),
        (
            b"list",
            &[
                Effect::List(ListChange::Push { side: Side::Front, elements: words }),
                Effect::List(ListChange::Set { index: 1, element: b"e" }),
                Effect::List(ListChange::Insert { index: 1, element: b"" }),
                Effect::List(ListChange::Remove { element: b"e", from: Side::Back, count: 7 }),
                Effect::List(ListChange::Keep { start: 0, end: 2 }),
                Effect::List(ListChange::Pop { side: Side::Back, count: 1 }),
            ],
        ),
        (
            b"hash",
            &[
                Effect::Hash(HashChange::Set { pairs: words, life: FieldLife::Until(NOW_MS + 9) }),
                Effect::Hash(HashChange::Persist { fields: words }),
                Effect::Hash(HashChange::ExpireAt { fields: words, at_ms: NOW_MS + 7 }),
            ],
        ),
        (
            b"set",
            &[
                Effect::Set(SetChange::Add { members: words }),
                Effect::Set(SetChange::Remove { members: scored }),
            ],
        ),
        (
            b"sorted",
            &[
                Effect::Sorted(SortedChange::Set { pairs: scored }),
                Effect::Sorted(SortedChange::RemoveRanks { from: 3, count: u64::MAX }),
            ],
        ),
        (
            b"stream",
            &[
                Effect::Stream(StreamChange::Add { id, pairs: words, in_new_node: true }),
                Effect::Stream(StreamChange::CreateGroup {
                    group: b"g",
                    last_id: id,
                    entries_read: None,
                }),
                Effect::Stream(StreamChange::Assign {
                    group: b"g",
                    consumer: b"c",
                    ids,
                    at_ms: NOW_MS,
                    deliveries: Deliveries::OneMore,
                }),
                Effect::Stream(StreamChange::Release {
                    group: b"g",
                    ids,
                    deliveries: Deliveries::OneLess,
                }),
                Effect::Stream(StreamChange::ConfigureProducers { seconds: 9, most: 2 }),
                Effect::Stream(StreamChange::NoteName {
                    producer: b"p",
                    name: b"n",
                    id,
                    at_ms: NOW_MS,
                }),
                Effect::Stream(StreamChange::CountRepeated),
                Effect::Stream(StreamChange::SetLastId {
                    last_id: StreamId { ms: 9, seq: 0 },
                    entries_added: None,
                    max_deleted_id: None,
                }),
                Effect::Stream(StreamChange::DropFirst { count: 3 }),
            ],
        ),
    ];
    let mut all = Vec::new();
    let mut one_by_one = Vec::new();
    for (key, effects) in by_key {
        let mut own = Vec::new();
        for &effect in *effects {
            Record::Key { database: DatabaseId(0), key, effect }.encode(&mut own);
        }
        all.extend_from_slice(&own);
        one_by_one.push(own);
    }
    Record::Swap { first: DatabaseId(0), second: DatabaseId(3) }.encode(&mut all);
    Record::Flush { database: DatabaseId(1) }.encode(&mut all);
    one_by_one.push(all);
    one_by_one
}
