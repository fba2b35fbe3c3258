//! Group: consumers that share a stream, and their pending entries (delivered and not
//! acknowledged).
//!
//! Each pending entry is in two maps: with its consumer's number, time and count in the group's, by
//! its ID alone in the consumer's.
//!
//! Not here: which entries a consumer gets (`commands`).

use crate::block::block_bytes;

use super::StreamId;
use super::runs::Runs;

/// The consumer number of entries that were released (XNACK).
const NO_CONSUMER: u32 = u32::MAX;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    consumer: u32,
    pub delivered_at_ms: u64,
    pub delivery_count: u64,
}

/// A reader of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for entries.
    pub seen_at_ms: u64,
    /// When it last got entries.
    pub active_at_ms: Option<u64>,
    pending: Runs<()>,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The IDs of its pending entries, from an ID on.
    pub fn pending_from(&self, id: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.starting_at(id).map(|(id, ())| *id)
    }

    fn heap_bytes(&self) -> usize {
        block_bytes(self.name.len()) + self.pending.heap_bytes()
    }
}

/// A consumer's number within its group, stable while the consumer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerNumber(u32);

/// A group of consumers.
#[derive(Clone, Debug)]
pub struct Group {
    name: Box<[u8]>,
    /// The ID of the last entry that was delivered to any consumer.
    pub last_id: StreamId,
    /// The number of entries ever added up to that one, if known.
    pub entries_read: Option<u64>,
    pending: Runs<Pending>,
    /// The number of pending entries without a consumer.
    unowned_count: usize,
    /// By number; removed consumers leave a vacancy.
    consumers: Vec<Option<Consumer>>,
    /// The numbers, sorted by name.
    by_name: Vec<u32>,
    /// Of the consumers, without the arrays.
    consumer_bytes: usize,
}

impl Group {
    pub(super) fn new(name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            name: name.into(),
            last_id,
            entries_read,
            pending: Runs::new(),
            unowned_count: 0,
            consumers: Vec::new(),
            by_name: Vec::new(),
            consumer_bytes: 0,
        }
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn heap_bytes(&self) -> usize {
        block_bytes(self.name.len())
            + self.pending.heap_bytes()
            + block_bytes(self.consumers.capacity() * size_of::<Option<Consumer>>())
            + block_bytes(self.by_name.capacity() * size_of::<u32>())
            + self.consumer_bytes
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.by_name.iter().map(|number| self.numbered(*number))
    }

    fn numbered(&self, number: u32) -> &Consumer {
        self.consumers[number as usize].as_ref().expect("because a number in use has a consumer")
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|number| (*self.numbered(*number).name).cmp(name))
    }

    /// The consumer with this name; `None` if it is missing.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        Some(self.numbered(self.number(name)?.0))
    }

    /// The number of the consumer with this name; `None` if it is missing.
    pub fn number(&self, name: &[u8]) -> Option<ConsumerNumber> {
        let at = self.search(name).ok()?;
        Some(ConsumerNumber(self.by_name[at]))
    }

    /// The consumer of this pending entry; `None` if the entry was released.
    pub fn owner(&self, pending: &Pending) -> Option<&Consumer> {
        (pending.consumer != NO_CONSUMER).then(|| self.numbered(pending.consumer))
    }

    /// The number of pending entries without a consumer.
    pub fn unowned_count(&self) -> usize {
        self.unowned_count
    }

    /// Whether this consumer owns the pending entry.
    pub fn is_owner(&self, pending: &Pending, number: ConsumerNumber) -> bool {
        pending.consumer == number.0
    }

    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The pending entry with this ID; `None` if it is not pending.
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(id)
    }

    /// The pending entries, from an ID on.
    pub fn pending_from(&self, id: StreamId) -> impl Iterator<Item = &(StreamId, Pending)> {
        self.pending.starting_at(id)
    }

    /// The largest ID that is pending; `None` if nothing is.
    pub fn last_pending(&self) -> Option<StreamId> {
        self.pending.last().map(|(id, _)| *id)
    }

    /// The consumer with this name, created if necessary.
    pub fn join(&mut self, name: &[u8], now_ms: u64) -> ConsumerNumber {
        let at = match self.search(name) {
            Ok(at) => return ConsumerNumber(self.by_name[at]),
            Err(at) => at,
        };
        let has_vacancy = self.by_name.len() < self.consumers.len();
        let vacancy = has_vacancy.then(|| self.consumers.iter().position(Option::is_none));
        let number = vacancy.flatten().unwrap_or_else(|| {
            self.consumers.push(None);
            self.consumers.len() - 1
        });
        let consumer = Consumer {
            name: name.into(),
            seen_at_ms: now_ms,
            active_at_ms: None,
            pending: Runs::new(),
        };
        self.consumer_bytes += consumer.heap_bytes();
        self.consumers[number] = Some(consumer);
        self.by_name.insert(at, number as u32);
        ConsumerNumber(number as u32)
    }

    /// Removes a consumer with its pending entries; returns their number.
    pub fn leave(&mut self, name: &[u8]) -> Option<usize> {
        let at = self.search(name).ok()?;
        let number = self.by_name.remove(at);
        let consumer = self.consumers[number as usize].take()?;
        self.consumer_bytes -= consumer.heap_bytes();
        for id in consumer.pending_from(StreamId::MIN) {
            self.pending.remove(id);
        }
        Some(consumer.pending_count())
    }

    /// Records that a consumer asked for entries, and whether it got any.
    pub fn note_seen(&mut self, number: ConsumerNumber, at_ms: u64, is_active: bool) {
        self.change_consumer(number.0, |consumer| {
            consumer.seen_at_ms = at_ms;
            if is_active {
                consumer.active_at_ms = Some(at_ms);
            }
        });
    }

    /// Makes an entry pending for a consumer, whichever owned it before.
    pub fn assign(
        &mut self,
        id: StreamId,
        number: ConsumerNumber,
        delivered_at_ms: u64,
        delivery_count: u64,
    ) {
        let pending = Pending { consumer: number.0, delivered_at_ms, delivery_count };
        match self.pending.insert(id, pending) {
            Some(before) if before.consumer == number.0 => return,
            Some(before) if before.consumer == NO_CONSUMER => self.unowned_count -= 1,
            Some(before) => self.change_consumer(before.consumer, |consumer| {
                consumer.pending.remove(id);
            }),
            None => {}
        }
        self.change_consumer(number.0, |consumer| {
            consumer.pending.insert(id, ());
        });
    }

    /// Makes an entry pending without a consumer.
    pub fn release(&mut self, id: StreamId, delivery_count: u64) {
        let pending = Pending { consumer: NO_CONSUMER, delivered_at_ms: 0, delivery_count };
        match self.pending.insert(id, pending) {
            Some(before) if before.consumer == NO_CONSUMER => return,
            Some(before) => self.change_consumer(before.consumer, |consumer| {
                consumer.pending.remove(id);
            }),
            None => {}
        }
        self.unowned_count += 1;
    }

    /// Removes a pending entry; returns false if it does not exist.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        if pending.consumer == NO_CONSUMER {
            self.unowned_count -= 1;
            return true;
        }
        self.change_consumer(pending.consumer, |consumer| {
            consumer.pending.remove(id);
        });
        true
    }

    /// Changes a consumer and updates the accounting.
    fn change_consumer(&mut self, number: u32, change: impl FnOnce(&mut Consumer)) {
        let consumer = &mut self.consumers[number as usize];
        let consumer = consumer.as_mut().expect("because a number in use has a consumer");
        self.consumer_bytes -= consumer.heap_bytes();
        change(consumer);
        self.consumer_bytes += consumer.heap_bytes();
    }

    /// Frees about `count` pending entries, in any order. The group must not be read afterwards.
    pub(super) fn drop_some(&mut self, count: usize) -> usize {
        let mut dropped = 0;
        while dropped < count {
            if let Some(run) = self.pending.drop_run() {
                dropped += run.len();
            } else if let Some(last) = self.consumers.last_mut() {
                let run = last.as_mut().and_then(|consumer| {
                    self.consumer_bytes -= consumer.heap_bytes();
                    let run = consumer.pending.drop_run();
                    self.consumer_bytes += consumer.heap_bytes();
                    run
                });
                match run {
                    Some(run) => dropped += run.len(),
                    None => {
                        if let Some(consumer) = self.consumers.pop().flatten() {
                            self.consumer_bytes -= consumer.heap_bytes();
                        }
                        dropped += 1;
                    }
                }
            } else {
                break;
            }
        }
        dropped
    }

    /// Whether [`Group::drop_some`] has nothing left.
    pub(super) fn is_shell(&self) -> bool {
        self.pending.len() == 0 && self.consumers.is_empty()
    }

    /// The number of objects to free: the group, its pending entries and consumers.
    pub(super) fn droppable_len(&self) -> usize {
        1 + self.pending.len() + self.consumers.len()
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.pending.check();
        let consumers = self.consumers.iter().flatten();
        assert_eq!(consumers.clone().map(Consumer::heap_bytes).sum::<usize>(), self.consumer_bytes);
        consumers.clone().for_each(|consumer| consumer.pending.check());
        let owned_count = consumers.map(Consumer::pending_count).sum::<usize>();
        assert_eq!(owned_count + self.unowned_count, self.pending.len());
        assert!(self.consumers().map(Consumer::name).is_sorted_by(|a, b| a < b));
        for (id, pending) in self.pending.starting_at(StreamId::MIN) {
            assert!(self.owner(pending).is_none_or(|owner| owner.pending.get(*id).is_some()));
        }
    }
}
