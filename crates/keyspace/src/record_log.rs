//! RecordLog: the records that not all of their readers have read.
//!
//! A journal, replicas and a snapshot read the same records, each at its own position. Bytes that all
//! readers have read are dropped. Without readers nothing is encoded.
//!
//! Not here: what a record is (`record`), when one is written (`commit`).

use crate::limits::RECORDS_UNREAD_BYTES_MAX;
use crate::origin::TxnTag;
use crate::record::Record;

/// A reader of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId(u64);

/// The reader left more than [`RECORDS_UNREAD_BYTES_MAX`] bytes unread, or is not registered. Its records
/// are lost: it must begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

#[derive(Debug)]
struct Reader {
    id: ReaderId,
    /// It is waited for, and never loses its place.
    is_kept: bool,
    /// Where it goes on, in bytes since the log began; `None` where it lagged.
    position: Option<u64>,
}

/// Up to this capacity the buffer stays when all was read.
const KEPT_BYTES: usize = 1 << 20;
/// How many hashes of keys the table of changes can tell apart.
const CHANGES: usize = 4096;

/// Up to where keys changed, by their hashes: a key that has no change of its own may share another's place.
#[derive(Debug)]
struct Changes {
    /// The position behind the last change of a key with such a hash.
    by_hash: Box<[u64; CHANGES]>,
    /// The position behind the last change of all keys together.
    of_all: u64,
}

#[derive(Debug, Default)]
pub(crate) struct RecordLog {
    bytes: Vec<u8>,
    /// The position of the first of `bytes`.
    start: u64,
    readers: Vec<Reader>,
    next_id: u64,
    /// The transaction that the last records are part of.
    part: Option<TxnTag>,
    changes: Option<Changes>,
}

impl RecordLog {
    pub(crate) fn has_readers(&self) -> bool {
        self.readers.iter().any(|reader| reader.position.is_some())
    }

    /// The position behind the last record, in bytes since the log began.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// A reader of all records from now on. One that is kept never loses its place: whoever has it bounds what
    /// gathers before it.
    pub(crate) fn add_reader(&mut self, is_kept: bool) -> ReaderId {
        // For the new one the records begin outside of all transactions.
        self.begin_part(None);
        let id = ReaderId(self.next_id);
        self.next_id += 1;
        self.readers.push(Reader { id, is_kept, position: Some(self.end()) });
        id
    }

    /// Whether to note from now on which keys changed up to where.
    pub(crate) fn track_changes(&mut self, is_tracked: bool) {
        let of_all = self.end();
        let table = || Changes { by_hash: Box::new([0; CHANGES]), of_all };
        match (is_tracked, &self.changes) {
            (true, None) => self.changes = Some(table()),
            (false, _) => self.changes = None,
            (true, Some(_)) => {}
        }
    }

    /// A key with this hash, or all keys, changed by the last record.
    pub(crate) fn note_change(&mut self, hash: Option<u64>) {
        let end = self.end();
        if let Some(changes) = &mut self.changes {
            match hash {
                Some(hash) => changes.by_hash[hash as usize % CHANGES] = end,
                None => changes.of_all = end,
            }
        }
    }

    /// The position behind the last change of a key with this hash, or a later one.
    #[inline]
    pub(crate) fn changed_at(&self, hash: u64) -> u64 {
        let Some(changes) = &self.changes else { return 0 };
        changes.by_hash[hash as usize % CHANGES].max(changes.of_all)
    }

    pub(crate) fn remove_reader(&mut self, id: ReaderId) {
        self.readers.retain(|reader| reader.id != id);
        self.drop_read();
    }

    /// What follows is part of this transaction, or of none.
    pub(crate) fn begin_part(&mut self, transaction: Option<TxnTag>) {
        let transaction = transaction.filter(|tag| tag.parts > 1);
        if self.part != transaction {
            self.part = transaction;
            self.append(&Record::Part { transaction });
        }
    }

    /// The part of a transaction is complete.
    pub(crate) fn end_part(&mut self, transaction: TxnTag) {
        self.append(&Record::PartEnd { transaction });
        self.part = None;
    }

    /// Appends a record. A reader that has too much unread before it loses its place; so a record of any
    /// size reaches a reader that keeps up.
    pub(crate) fn append(&mut self, record: &Record<'_>) {
        if self.bytes.len() > RECORDS_UNREAD_BYTES_MAX {
            let end = self.end();
            let keeps_up = |at: &u64| end - at <= RECORDS_UNREAD_BYTES_MAX as u64;
            self.readers.iter_mut().for_each(|reader| {
                reader.position = reader.position.filter(|at| reader.is_kept || keeps_up(at));
            });
            self.drop_read();
        }
        if self.has_readers() {
            record.encode(&mut self.bytes);
        }
    }

    /// What a reader has not read yet, as bytes of [`Record::encode`].
    pub(crate) fn unread(&self, id: ReaderId) -> Result<&[u8], Lagged> {
        let position = self.readers.iter().find(|reader| reader.id == id).and_then(|r| r.position);
        let position = position.ok_or(Lagged)?;
        Ok(&self.bytes[(position - self.start) as usize..])
    }

    /// A reader has read `len` bytes more.
    pub(crate) fn advance(&mut self, id: ReaderId, len: usize) {
        let end = self.end();
        let reader = self.readers.iter_mut().find(|reader| reader.id == id);
        if let Some(position) = reader.and_then(|reader| reader.position.as_mut()) {
            *position = (*position + len as u64).min(end);
        }
        self.drop_read();
    }

    /// Drops what all have read, once it is half of what is kept: so each byte is moved once at most.
    fn drop_read(&mut self) {
        let end = self.end();
        let first = self.readers.iter().filter_map(|reader| reader.position).min().unwrap_or(end);
        let read = (first - self.start) as usize;
        if 2 * read < self.bytes.len() || read == 0 {
            return;
        }
        self.start = first;
        if read == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        } else {
            self.bytes.drain(..read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatabaseId;

    const FLUSH: Record<'static> = Record::Flush { database: DatabaseId(1) };

    fn flushes(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        (0..count).for_each(|_| FLUSH.encode(&mut bytes));
        bytes
    }

    #[test]
    fn each_reader_has_its_own_position() {
        let mut log = RecordLog::default();
        assert!(!log.has_readers());
        let first = log.add_reader(false);
        log.append(&FLUSH);
        let second = log.add_reader(false);
        (0..3).for_each(|_| log.append(&FLUSH));
        assert_eq!(log.unread(first).unwrap(), flushes(4));
        assert_eq!(log.unread(second).unwrap(), flushes(3));
        let one = flushes(1).len();
        log.advance(second, 2 * one);
        log.advance(first, one);
        assert_eq!(log.unread(first).unwrap(), flushes(3));
        assert_eq!(log.unread(second).unwrap(), flushes(1));
        log.advance(first, 3 * one);
        assert_eq!(log.unread(second).unwrap(), flushes(1));
        assert_eq!(log.bytes, flushes(1), "what all have read is dropped");
        log.remove_reader(second);
        assert_eq!((log.unread(second), log.bytes.len()), (Err(Lagged), 0));
        assert!(log.has_readers());
        log.remove_reader(first);
        log.append(&FLUSH);
        assert!(log.bytes.is_empty(), "nobody reads");
    }

    #[test]
    fn a_reader_that_is_kept_loses_nothing() {
        let mut log = RecordLog::default();
        let (kept, other) = (log.add_reader(true), log.add_reader(false));
        let key = vec![b'k'; RECORDS_UNREAD_BYTES_MAX / 2];
        let record =
            Record::Key { database: DatabaseId(0), key: &key, effect: crate::Effect::Persist };
        (0..5).for_each(|_| log.append(&record));
        assert_eq!(log.unread(other), Err(Lagged));
        let len = log.unread(kept).expect("it is kept").len();
        assert!(len > 5 * key.len());
        log.advance(kept, len);
        assert!(log.bytes.is_empty() && log.bytes.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn changes_are_found_by_hash() {
        let mut log = RecordLog::default();
        log.add_reader(true);
        log.note_change(Some(7));
        assert_eq!(log.changed_at(7), 0, "they are not tracked");
        log.append(&FLUSH);
        log.track_changes(true);
        let begun = log.end();
        assert_eq!(log.changed_at(7), begun, "what was before is not known");
        log.append(&FLUSH);
        log.note_change(Some(7));
        let first = log.end();
        log.append(&FLUSH);
        log.note_change(Some(8));
        assert_eq!([7, 8, 9].map(|hash| log.changed_at(hash)), [first, log.end(), begun]);
        log.note_change(None);
        assert_eq!(log.changed_at(9), log.end());
        log.track_changes(false);
        assert_eq!(log.changed_at(9), 0);
    }

    #[test]
    fn a_reader_that_lags_loses_its_place_and_the_others_do_not() {
        let mut log = RecordLog::default();
        let (slow, quick) = (log.add_reader(false), log.add_reader(false));
        let key = vec![b'k'; RECORDS_UNREAD_BYTES_MAX + 1];
        let effect = crate::Effect::Persist;
        let large = Record::Key { database: DatabaseId(0), key: &key, effect };
        log.append(&large);
        // One record of any size reaches a reader that keeps up.
        log.advance(quick, log.unread(quick).unwrap().len());
        assert!(log.unread(slow).unwrap().len() > RECORDS_UNREAD_BYTES_MAX);
        log.append(&FLUSH);
        assert_eq!(log.unread(slow), Err(Lagged));
        assert_eq!(log.unread(quick).unwrap(), flushes(1));
        assert_eq!(log.bytes, flushes(1), "what only the slow reader needed is dropped");
    }
}
