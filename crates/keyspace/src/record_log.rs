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
    /// Where it goes on, in bytes since the log began; `None` where it lagged.
    position: Option<u64>,
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
}

impl RecordLog {
    pub(crate) fn has_readers(&self) -> bool {
        self.readers.iter().any(|reader| reader.position.is_some())
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// A reader of all records from now on.
    pub(crate) fn add_reader(&mut self) -> ReaderId {
        // For the new one the records begin outside of all transactions.
        self.begin_part(None);
        let id = ReaderId(self.next_id);
        self.next_id += 1;
        self.readers.push(Reader { id, position: Some(self.end()) });
        id
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
                reader.position = reader.position.filter(keeps_up);
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
            self.bytes = Vec::new();
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
        let first = log.add_reader();
        log.append(&FLUSH);
        let second = log.add_reader();
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
    fn a_reader_that_lags_loses_its_place_and_the_others_do_not() {
        let mut log = RecordLog::default();
        let (slow, quick) = (log.add_reader(), log.add_reader());
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
