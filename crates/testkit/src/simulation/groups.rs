//! Groups: the records of each transaction over several shards are complete on all of them.
//!
//! A reader on every shard follows which records carry which transaction's tag, and where its parts end.

use std::collections::{BTreeMap, BTreeSet};

use basalt_keyspace::{Keyspace, ReaderId, Record, TxnTag};

/// What shards recorded of transactions.
#[derive(Default)]
pub(super) struct Groups {
    shards: Vec<ShardGroups>,
    /// The shards that recorded changes or the end of a transaction that is not complete yet.
    open: BTreeMap<TxnTag, Group>,
    complete: usize,
}

#[derive(Default)]
struct ShardGroups {
    reader: Option<ReaderId>,
    /// The transaction that the records are part of.
    part: Option<TxnTag>,
}

#[derive(Debug, Default)]
struct Group {
    changed: BTreeSet<usize>,
    ended: BTreeSet<usize>,
}

impl Groups {
    /// Follows these shards' records from now on.
    pub(super) fn begin<'a>(&mut self, keyspaces: impl Iterator<Item = &'a mut Keyspace>) {
        let begin = |keyspace: &mut Keyspace| ShardGroups {
            reader: Some(keyspace.add_reader()),
            part: None,
        };
        self.shards = keyspaces.map(begin).collect();
    }

    /// Whether the shards' records are followed.
    pub(super) fn is_on(&self) -> bool {
        !self.shards.is_empty()
    }

    /// How many transactions were complete on all their shards.
    pub(super) fn complete(&self) -> usize {
        self.complete
    }

    /// Reads what a shard recorded.
    pub(super) fn read(&mut self, shard: usize, keyspace: &mut Keyspace) {
        let Some(reader) = self.shards.get(shard).and_then(|own| own.reader) else { return };
        let records = keyspace.unread_records(reader).expect("it reads after each turn");
        let len = records.len();
        self.note_all(shard, records);
        keyspace.advance_reader(reader, len);
    }

    fn note_all(&mut self, shard: usize, mut records: &[u8]) {
        while !records.is_empty() {
            let (record, len) = Record::decode(records).expect("records are well-formed");
            self.note(shard, &record);
            records = &records[len..];
        }
    }

    fn note(&mut self, shard: usize, record: &Record<'_>) {
        match *record {
            Record::Part { transaction } => self.shards[shard].part = transaction,
            Record::PartEnd { transaction } => {
                self.shards[shard].part = None;
                let group = self.open.entry(transaction).or_default();
                assert!(group.ended.insert(shard), "{transaction:?} ends twice on shard {shard}");
                if group.ended.len() == usize::from(transaction.parts) {
                    let group = self.open.remove(&transaction).expect("it was just there");
                    let has_ended = group.changed.is_subset(&group.ended);
                    assert!(has_ended, "{transaction:?} changed more than its parts: {group:?}");
                    self.complete += 1;
                }
            }
            _ => {
                let Some(transaction) = self.shards[shard].part else { return };
                let group = self.open.entry(transaction).or_default();
                let has_ended = group.ended.contains(&shard);
                assert!(
                    !has_ended,
                    "{transaction:?} changes shard {shard} after its end: {record:?}"
                );
                group.changed.insert(shard);
            }
        }
    }

    /// Checks, when nothing is under way, that no transaction is complete on a part of its shards only.
    pub(super) fn check(&self) {
        assert!(self.open.is_empty(), "transactions are not complete: {:#?}", self.open);
    }
}

#[cfg(test)]
mod tests {
    use basalt_keyspace::{DatabaseId, ShardId};

    use super::*;

    const TAG: TxnTag = TxnTag { epoch: 1, at_us: 2, home: ShardId(0), behind: 0, parts: 2 };
    const BEGIN: Record<'_> = Record::Part { transaction: Some(TAG) };
    const CHANGE: Record<'_> = Record::Flush { database: DatabaseId(0) };
    const END: Record<'_> = Record::PartEnd { transaction: TAG };

    fn noted(records: &[(usize, Record<'_>)]) -> Groups {
        let shards = (0..3).map(|_| ShardGroups::default()).collect();
        let mut groups = Groups { shards, ..Groups::default() };
        for (shard, record) in records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            groups.note_all(*shard, &bytes);
        }
        groups
    }

    #[test]
    fn a_group_is_complete_when_all_its_parts_ended() {
        let groups =
            noted(&[(0, CHANGE), (0, BEGIN), (0, CHANGE), (1, END), (0, END), (0, CHANGE)]);
        groups.check();
        assert_eq!(groups.complete(), 1);
    }

    #[test]
    #[should_panic = "are not complete"]
    fn a_part_that_is_missing_is_noticed() {
        noted(&[(0, BEGIN), (0, CHANGE), (0, END)]).check();
    }

    #[test]
    #[should_panic = "after its end"]
    fn a_change_after_the_end_is_noticed() {
        noted(&[(0, BEGIN), (0, CHANGE), (0, END), (0, BEGIN), (0, CHANGE)]);
    }

    #[test]
    #[should_panic = "more than its parts"]
    fn a_change_beside_the_parts_is_noticed() {
        noted(&[(2, BEGIN), (2, CHANGE), (0, END), (1, END)]);
    }
}
