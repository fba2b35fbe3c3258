//! Producers: the idempotency IDs of entries, so that an entry that is sent again is not added
//! again.
//!
//! ```text
//! producers   by name
//! each        its idempotency IDs in the order in which they came; the same sorted
//! ```
//!
//! An idempotency ID is forgotten when its producer has added a number of newer ones, or a time
//! after the moment in the entry's ID. Expired IDs count as forgotten at once; their memory is
//! freed as further IDs come: each addition checks its own producer and one other in turn.

use std::collections::VecDeque;

use super::StreamId;
use crate::block::block_bytes;

/// The default number of seconds for which an idempotency ID is remembered.
pub const IDEMPOTENCY_SECONDS: u64 = 100;
/// The default number of idempotency IDs that are remembered per producer.
pub const IDEMPOTENCY_NAMES: u64 = 100;

/// An entry with its idempotency ID.
#[derive(Clone, Debug)]
struct Named {
    name: Box<[u8]>,
    id: StreamId,
}

/// A producer's idempotency IDs.
#[derive(Clone, Debug, Default)]
struct Producer {
    /// The oldest is at the front.
    recent: VecDeque<Named>,
    /// The sequence number of the first.
    first: u64,
    /// The sequence numbers of all, sorted by idempotency ID.
    by_name: Vec<u64>,
    name_bytes: usize,
}

impl Producer {
    fn numbered(&self, number: u64) -> &Named {
        &self.recent[(number - self.first) as usize]
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|number| (*self.numbered(*number).name).cmp(name))
    }

    /// The number of expired IDs.
    fn due_count(&self, due_ms: Option<u64>) -> usize {
        let Some(due_ms) = due_ms else { return 0 };
        self.recent.iter().take_while(|named| named.id.ms <= due_ms).count()
    }

    fn find(&self, name: &[u8], due_ms: Option<u64>) -> Option<StreamId> {
        let number = self.by_name[self.search(name).ok()?];
        let id = self.numbered(number).id;
        let is_known = due_ms.is_none_or(|due_ms| id.ms > due_ms)
            || (number - self.first) as usize >= self.due_count(due_ms);
        is_known.then_some(id)
    }

    /// Adds a new ID; removes the oldest if there are more than `most`.
    fn note(&mut self, name: &[u8], id: StreamId, most: u64) {
        let Err(at) = self.search(name) else { return };
        self.by_name.insert(at, self.first + self.recent.len() as u64);
        self.name_bytes += block_bytes(name.len());
        self.recent.push_back(Named { name: name.into(), id });
        while self.recent.len() as u64 > most {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(first) = self.recent.front() else { return };
        let at = self.search(&first.name).expect("because all names are sorted");
        self.name_bytes -= block_bytes(first.name.len());
        self.by_name.remove(at);
        self.recent.pop_front();
        self.first += 1;
    }

    fn heap_bytes(&self) -> usize {
        block_bytes(self.recent.capacity() * size_of::<Named>())
            + block_bytes(self.by_name.capacity() * size_of::<u64>())
            + self.name_bytes
    }
}

/// A named producer.
type Kept = (Box<[u8]>, Box<Producer>);

fn bytes_of((name, producer): &Kept) -> usize {
    block_bytes(name.len()) + block_bytes(size_of::<Producer>()) + producer.heap_bytes()
}

/// All producers of a stream.
#[derive(Clone, Debug)]
pub struct Producers {
    /// For how long an ID is remembered, in seconds.
    pub(super) seconds: u64,
    /// How many IDs per producer are remembered.
    pub(super) most: u64,
    /// The number of IDs ever recorded.
    pub(super) noted: u64,
    /// The number of repeated entries.
    pub(super) repeated: u64,
    /// Sorted by name.
    sorted: Vec<Kept>,
    /// Of the producers, without the array.
    producer_bytes: usize,
}

impl Default for Producers {
    fn default() -> Self {
        Self::new(IDEMPOTENCY_SECONDS, IDEMPOTENCY_NAMES, 0, 0)
    }
}

impl Producers {
    /// No producers, with settings and counters of before.
    pub fn new(seconds: u64, most: u64, noted: u64, repeated: u64) -> Self {
        Self { seconds, most, noted, repeated, sorted: Vec::new(), producer_bytes: 0 }
    }

    /// For how many seconds an ID is remembered.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// How many IDs per producer are remembered.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The number of IDs ever recorded.
    pub fn noted(&self) -> u64 {
        self.noted
    }

    /// The number of entries that were repeated.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Entries whose IDs' moments are up to this one are expired.
    fn due_ms(&self, now_ms: u64) -> Option<u64> {
        now_ms.checked_sub(self.seconds.saturating_mul(1000))
    }

    fn search(&self, producer: &[u8]) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(name, _)| (**name).cmp(producer))
    }

    /// The entry with this producer and idempotency ID.
    pub fn find(&self, producer: &[u8], name: &[u8], now_ms: u64) -> Option<StreamId> {
        self.sorted[self.search(producer).ok()?].1.find(name, self.due_ms(now_ms))
    }

    /// Whether a producer is remembered.
    pub fn knows(&self, producer: &[u8]) -> bool {
        self.search(producer).is_ok()
    }

    /// The number of producers, and the number of IDs of all of them.
    pub fn known(&self, now_ms: u64) -> (u64, u64) {
        let due_ms = self.due_ms(now_ms);
        let lens = self.sorted.iter().map(|(_, own)| own.recent.len() - own.due_count(due_ms));
        lens.filter(|len| *len > 0)
            .fold((0, 0), |(producers, names), len| (producers + 1, names + len as u64))
    }

    /// Records an entry's idempotency ID.
    pub(super) fn note(&mut self, producer: &[u8], name: &[u8], id: StreamId, now_ms: u64) {
        let due_ms = self.due_ms(now_ms);
        if !self.sorted.is_empty() {
            self.forget_due((self.noted % self.sorted.len() as u64) as usize, due_ms);
        }
        if let Ok(at) = self.search(producer) {
            self.forget_due(at, due_ms);
        }
        self.noted += 1;
        self.note_quietly(producer, name, id);
    }

    /// As [`Producers::note`], without counting or forgetting anything else.
    pub fn note_quietly(&mut self, producer: &[u8], name: &[u8], id: StreamId) {
        let at = self.search(producer).unwrap_or_else(|at| {
            let kept: Kept = (producer.into(), Box::default());
            self.producer_bytes += bytes_of(&kept);
            self.sorted.insert(at, kept);
            at
        });
        let most = self.most;
        self.change(at, |producer| producer.note(name, id, most));
    }

    fn forget_due(&mut self, at: usize, due_ms: Option<u64>) {
        self.change(at, |producer| {
            for _ in 0..producer.due_count(due_ms) {
                producer.forget_first();
            }
        });
        if self.sorted[at].1.recent.is_empty() {
            self.producer_bytes -= bytes_of(&self.sorted.remove(at));
        }
    }

    /// Changes a producer and updates the accounting.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Producer)) {
        self.producer_bytes -= bytes_of(&self.sorted[at]);
        change(&mut self.sorted[at].1);
        self.producer_bytes += bytes_of(&self.sorted[at]);
    }

    /// Sets for how long, and how many per producer, IDs are remembered; forgets them all.
    pub(super) fn configure(&mut self, seconds: u64, most: u64) {
        *self = Self::new(seconds, most, self.noted, self.repeated);
    }

    /// Every producer with its IDs in the order in which they came.
    pub fn all(
        &self,
    ) -> impl ExactSizeIterator<Item = (&[u8], impl ExactSizeIterator<Item = (&[u8], StreamId)>)>
    {
        self.sorted.iter().map(|(name, producer)| {
            (&**name, producer.recent.iter().map(|named| (&*named.name, named.id)))
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        block_bytes(self.sorted.capacity() * size_of::<Kept>()) + self.producer_bytes
    }

    /// The number of objects to free: itself and its content.
    pub(super) fn droppable_len(&self) -> usize {
        1 + self.sorted.iter().map(|(_, own)| 1 + own.recent.len()).sum::<usize>()
    }

    /// Frees a producer, any one; returns the number of freed objects.
    pub(super) fn drop_one(&mut self) -> Option<usize> {
        let kept = self.sorted.pop()?;
        self.producer_bytes -= bytes_of(&kept);
        Some(1 + kept.1.recent.len())
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.sorted.iter().map(bytes_of).sum::<usize>(), self.producer_bytes);
        assert!(self.sorted.is_sorted_by(|a, b| a.0 < b.0));
        for (_, own) in &self.sorted {
            assert!(!own.recent.is_empty() && own.recent.len() as u64 <= self.most);
            assert_eq!(own.by_name.len(), own.recent.len());
            let names = own.by_name.iter().map(|number| &own.numbered(*number).name);
            assert!(names.is_sorted_by(|a, b| a < b));
            let bytes = own.recent.iter().map(|named| block_bytes(named.name.len())).sum::<usize>();
            assert_eq!(bytes, own.name_bytes);
        }
    }
}
