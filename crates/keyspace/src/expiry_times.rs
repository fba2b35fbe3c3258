//! ExpiryTimes: when something of an entry expires, and the wheel's four bytes for its key.
//!
//! Not here: when it goes (`expiry`), the order of time itself (`structures::wheel`).

use basalt_structures::{Collection, Entry, Fate};

use crate::key::Key;
use crate::slot::{SLOTS, SlotId};

const ITEM_HASH_BITS: u32 = 18;

/// When an entry's key expires, and when the first of its elements does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpiryTimes {
    pub(crate) key_ms: Option<u64>,
    pub(crate) element_ms: Option<u64>,
}

impl ExpiryTimes {
    pub(crate) const NEVER: Self = Self { key_ms: None, element_ms: None };

    #[inline]
    pub(crate) fn of(entry: &Entry) -> Self {
        let element_ms = entry.collection().and_then(Collection::next_expiry_ms);
        Self { key_ms: entry.expire_at_ms(), element_ms }
    }

    /// When something of the entry expires next.
    pub(crate) fn next(self) -> Option<u64> {
        match (self.key_ms, self.element_ms) {
            (Some(key_ms), Some(element_ms)) => Some(key_ms.min(element_ms)),
            (key_ms, element_ms) => key_ms.or(element_ms),
        }
    }
}

/// What the wheel knows of a key.
#[inline]
pub(crate) fn item(key: &Key<'_>) -> u32 {
    (u32::from(key.slot.0) << ITEM_HASH_BITS) | (key.hash >> (64 - ITEM_HASH_BITS)) as u32
}

/// The slot of an item, and a hash that starts as its key's does.
#[inline]
pub(crate) fn hint(item: u32) -> (SlotId, u64) {
    let slot = SlotId((item >> ITEM_HASH_BITS) as u16);
    (slot, u64::from(item) << (64 - ITEM_HASH_BITS))
}

/// What is kept of slots that went away.
#[derive(Default)]
pub(crate) struct OrphanTimers {
    /// A bit for each slot that went; nothing before the first.
    away: Option<Box<[u64; SLOTS / 64]>>,
    pub(crate) orphans: Vec<u32>,
    /// Whether a slot ever came from another shard.
    pub(crate) has_come: bool,
}

impl OrphanTimers {
    pub(crate) fn set_away(&mut self, slot: SlotId, is_away: bool) {
        let away = self.away.get_or_insert_with(|| Box::new([0; SLOTS / 64]));
        let (word, bit) = (&mut away[slot.index() / 64], 1 << (slot.index() % 64));
        *word = if is_away { *word | bit } else { *word & !bit };
    }

    /// A slot has come.
    pub(crate) fn set_here(&mut self, slot: SlotId) {
        self.has_come = true;
        if self.away.is_some() {
            self.set_away(slot, false);
        }
    }

    /// No key here needs the item; perhaps one does where its slot is now.
    pub(crate) fn gone(&mut self, item: u32) -> Fate {
        if let Some(away) = &self.away {
            let slot = hint(item).0.index();
            if away[slot / 64] & (1 << (slot % 64)) != 0 {
                self.orphans.push(item);
            }
        }
        Fate::Gone
    }
}
