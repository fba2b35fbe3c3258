//! Fed: which of the few keys that somebody waits for were changed since it was last asked.
//!
//! Costs no byte in an entry, and one look at an empty table per change where nobody waits. Keys are known by
//! their hash: who is told of another key of the same hash looks in vain, which harms nothing.
//!
//! Not here: who waits, and for what (`engine::waiting`).

use std::collections::{BTreeSet, VecDeque};

use crate::Keyspace;

#[derive(Debug, Default)]
pub(crate) struct Fed {
    wanted: BTreeSet<u64>,
    /// Each once, in the order of their changes.
    changed: VecDeque<u64>,
}

impl Fed {
    #[inline]
    pub(crate) fn note(&mut self, hash: u64) {
        if !self.wanted.is_empty() && self.wanted.contains(&hash) && !self.changed.contains(&hash) {
            self.changed.push_back(hash);
        }
    }

    /// Any key may hold something else now.
    pub(crate) fn note_all(&mut self) {
        self.changed = self.wanted.iter().copied().collect();
    }
}

impl Keyspace {
    /// From now on changes of keys of this hash are told of, until [`Keyspace::want_no_more`].
    pub fn want_fed(&mut self, hash: u64) {
        self.fed.wanted.insert(hash);
    }

    pub fn want_no_more(&mut self, hash: u64) {
        self.fed.wanted.remove(&hash);
    }

    /// As if the key of this hash were changed.
    pub fn note_fed(&mut self, hash: u64) {
        self.fed.note(hash);
    }

    /// Whether a key that somebody waits for was changed.
    #[inline]
    pub fn has_fed(&self) -> bool {
        !self.fed.changed.is_empty()
    }

    /// The next such key.
    pub fn next_fed(&mut self) -> Option<u64> {
        self.fed.changed.pop_front()
    }
}
