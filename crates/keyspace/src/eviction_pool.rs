//! EvictionPool: candidates for eviction, and which of them goes first.
//!
//! Not here: where candidates come from (`eviction`).

use basalt_structures::{Entry, KeyHasher};

use crate::DatabaseId;
use crate::commit::database::ScanPosition;
use crate::frequency::{Frequency, idle_seconds};
use crate::slot::SlotId;

/// Which keys go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionOrder {
    /// The least recently used; or modified, where reads don't count as uses.
    LeastRecent,
    LeastFrequent,
    Random,
    /// The next to expire.
    NearestExpiry,
}

/// How keys are chosen for eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    pub order: EvictionOrder,
    /// Only keys with an expiry go.
    pub volatile_only: bool,
    /// `maxmemory-samples`: the more, the more exact and slow.
    pub samples: usize,
}

/// A key that may be evicted, as it was when it was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The least goes first: the second of the last use, a count of uses, or the moment of expiry.
    pub(crate) rank: u64,
    pub(crate) database: DatabaseId,
    pub(crate) slot: SlotId,
    pub(crate) hash: u64,
    /// It was used or changed since if this differs.
    pub(crate) access: u32,
}

/// The candidates that were met, and where the hand stands.
#[derive(Default)]
pub(crate) struct EvictionPool {
    /// How its candidates were chosen.
    pub(crate) eviction: Option<Eviction>,
    /// The best one last.
    pub(crate) candidates: Vec<Candidate>,
    /// Where it goes on.
    pub(crate) hand: (DatabaseId, ScanPosition),
}

impl EvictionPool {
    pub(crate) fn offer(&mut self, candidate: Candidate, max: usize) {
        let is_full = self.candidates.len() >= max;
        if is_full && self.candidates.first().is_some_and(|worst| worst.rank <= candidate.rank) {
            return;
        }
        let is_same = |other: &Candidate| {
            (other.hash, other.slot, other.database)
                == (candidate.hash, candidate.slot, candidate.database)
        };
        if let Some(at) = self.candidates.iter().position(is_same) {
            self.candidates.remove(at);
        } else if is_full {
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|other| other.rank > candidate.rank);
        self.candidates.insert(at, candidate);
    }
}

/// What makes an entry a candidate, and which goes first.
#[derive(Clone, Copy)]
pub(crate) struct Judge {
    pub(crate) eviction: Eviction,
    pub(crate) frequency: Option<Frequency>,
    pub(crate) now_ms: u64,
}

impl Judge {
    /// The rank of an entry; `None` if it may not be evicted.
    pub(crate) fn rank(&self, entry: &Entry) -> Option<u64> {
        let expire_at_ms = entry.expire_at_ms();
        if self.eviction.volatile_only && expire_at_ms.is_none() {
            return None;
        }
        let access = entry.access();
        Some(match self.eviction.order {
            EvictionOrder::NearestExpiry => expire_at_ms.unwrap_or(u64::MAX),
            EvictionOrder::Random => 0,
            EvictionOrder::LeastRecent => {
                (self.now_ms / 1000).saturating_sub(u64::from(idle_seconds(access, self.now_ms)))
            }
            EvictionOrder::LeastFrequent => {
                let frequency = self.frequency.unwrap_or_default();
                let count = u64::from(frequency.of(access, self.now_ms));
                // Of those used as often the one that was not used for longer.
                let unused = u64::from(frequency.unused_minutes(access, self.now_ms));
                (count << 16) | (0xFFFF - unused)
            }
        })
    }
}

pub(crate) fn candidate(
    hasher: &KeyHasher,
    database: DatabaseId,
    slot: SlotId,
    entry: &Entry,
    rank: u64,
) -> Candidate {
    Candidate { rank, database, slot, hash: hasher.hash(entry.key()), access: entry.access() }
}
