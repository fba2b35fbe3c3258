//! EvictionPool: candidates for eviction, and which of them goes first.
//!
//! Not here: where candidates come from (`eviction`).

use basalt_structures::{Entry, KeyHasher};

use crate::DatabaseId;
use crate::commit::database::ScanPosition;
use crate::frequency::{Frequency, UseReader, Uses, idle_seconds};
use crate::lrfu_score::DOUBLING;
use crate::slot::SlotId;

/// Which keys go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionOrder {
    /// The least recently used; or modified, where reads don't count as uses.
    LeastRecent,
    LeastFrequent,
    /// Those whose faded uses are the fewest for the room that they take (`lrfu`).
    LeastFaded,
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

/// More than the logarithm of any size, so that ranks stay above 0.
const SIZES: u64 = 64 * DOUBLING as u64;

/// The binary logarithm of a size, with 8 bits of fraction; between powers of two it is a line.
fn doublings(bytes: usize) -> u64 {
    let bytes = (bytes as u64).max(1);
    let whole = bytes.ilog2();
    let rest = (u128::from(bytes) * u128::from(DOUBLING)) >> whole;
    u64::from(whole * DOUBLING) + rest as u64 - u64::from(DOUBLING)
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
    /// What was stored last, where uses fade: it may be the next to go.
    pub(crate) newest: Option<(DatabaseId, SlotId, u64)>,
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
    pub(crate) reader: UseReader,
}

impl Judge {
    /// The rank of an entry; `None` if it may not be evicted.
    pub(crate) fn rank(&self, entry: &Entry) -> Option<u64> {
        let expire_at_ms = entry.expire_at_ms();
        if self.eviction.volatile_only && expire_at_ms.is_none() {
            return None;
        }
        let access = entry.access();
        let now_ms = self.reader.now_ms;
        Some(match self.eviction.order {
            EvictionOrder::NearestExpiry => expire_at_ms.unwrap_or(u64::MAX),
            EvictionOrder::Random => 0,
            EvictionOrder::LeastRecent => {
                (now_ms / 1000).saturating_sub(u64::from(idle_seconds(access, now_ms)))
            }
            EvictionOrder::LeastFrequent => {
                let frequency = match self.reader.uses {
                    Uses::Counted(frequency) => frequency,
                    _ => Frequency::default(),
                };
                let count = u64::from(frequency.of(access, now_ms));
                // Of those used as often the one that was not used for longer.
                let unused = u64::from(frequency.unused_minutes(access, now_ms));
                (count << 16) | (0xFFFF - unused)
            }
            EvictionOrder::LeastFaded => {
                let score = self.reader.fade.score(access);
                // One that takes twice the room has to be used twice as often.
                (score + SIZES).saturating_sub(doublings(entry.heap_bytes()))
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
