//! Fed: which of the few keys that somebody waits for were changed since it was last asked.
//!
//! Costs no byte in an entry, and one look at an empty table per change where nobody waits. Keys are known by
//! their hash: who is told of another key of the same hash looks in vain, which harms nothing.
//!
//! Not here: who waits, and for what (`engine::waiting`).

use std::collections::{BTreeMap, VecDeque};

use crate::effect::Effect;
use crate::{Keyspace, StreamChange};

#[derive(Debug, Default)]
pub(crate) struct Fed {
    /// Whether each was changed.
    wanted: BTreeMap<u64, bool>,
    /// Those, each once, in the order of their changes.
    changed: VecDeque<u64>,
}

impl Fed {
    /// A key is about to be changed.
    #[inline]
    pub(crate) fn note_effect(&mut self, hash: u64, effect: &Effect<'_>) {
        if self.is_wanted() && may_feed(effect) {
            self.note(hash);
        }
    }

    /// Whether anybody waits for any key.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn note(&mut self, hash: u64) {
        if let Some(is_changed) = self.wanted.get_mut(&hash)
            && !std::mem::replace(is_changed, true)
        {
            self.changed.push_back(hash);
        }
    }

    /// Any key may hold something else now.
    pub(crate) fn note_all(&mut self) {
        for (hash, is_changed) in &mut self.wanted {
            if !std::mem::replace(is_changed, true) {
                self.changed.push_back(*hash);
            }
        }
    }
}

/// Whether anybody may have waited for this: of streams, those who read them wait for entries and for the end
/// of their group, and nothing else (XGROUP SETID lets them wait on, as in Redis).
#[cold]
fn may_feed(effect: &Effect<'_>) -> bool {
    match effect {
        Effect::ExpireAt { .. } | Effect::Persist => false,
        Effect::Stream(change) => matches!(
            change,
            StreamChange::Add { .. }
                | StreamChange::DestroyGroup { .. }
                | StreamChange::Become { .. }
        ),
        _ => true,
    }
}

impl Keyspace {
    /// From now on changes of keys of this hash are told of, until [`Keyspace::want_no_more`].
    pub fn want_fed(&mut self, hash: u64) {
        self.fed.wanted.entry(hash).or_default();
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
        let hash = self.fed.changed.pop_front()?;
        if let Some(is_changed) = self.fed.wanted.get_mut(&hash) {
            *is_changed = false;
        }
        Some(hash)
    }
}
