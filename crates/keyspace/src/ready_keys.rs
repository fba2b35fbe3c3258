//! ReadyKeys: which of the keys that blocked clients wait for were changed since the last check.
//!
//! Costs no byte in an entry. Keys are known by their hash; a change of another key with the same hash only
//! causes a check that finds nothing.
//!
//! Not here: who waits, and for what (`engine::waiting`).

use std::collections::{BTreeMap, VecDeque};

use crate::collections::StreamChange;
use crate::effect::Effect;

#[derive(Debug, Default)]
pub(crate) struct ReadyKeys {
    /// Whether each was changed.
    wanted: BTreeMap<u64, bool>,
    /// Those, each once, in the order of their changes.
    changed: VecDeque<u64>,
}

impl ReadyKeys {
    /// A key was changed.
    pub(crate) fn note_effect(&mut self, hash: u64, effect: &Effect<'_>) {
        if may_make_ready(effect) {
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

    /// Watches keys of this hash, until [`ReadyKeys::unwatch`].
    pub(crate) fn watch(&mut self, hash: u64) {
        self.wanted.entry(hash).or_default();
    }

    pub(crate) fn unwatch(&mut self, hash: u64) {
        self.wanted.remove(&hash);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// The next watched key that was changed.
    pub(crate) fn next(&mut self) -> Option<u64> {
        let hash = self.changed.pop_front()?;
        if let Some(is_changed) = self.wanted.get_mut(&hash) {
            *is_changed = false;
        }
        Some(hash)
    }
}

/// Whether anybody may have waited for this: of streams, those who read them wait for entries, for what is given
/// back, and for the end of their group, and nothing else (XGROUP SETID lets them wait on, as in Redis).
fn may_make_ready(effect: &Effect<'_>) -> bool {
    match effect {
        Effect::ExpireAt { .. } | Effect::Persist => false,
        Effect::Stream(change) => matches!(
            change,
            StreamChange::Add { .. }
                | StreamChange::DestroyGroup { .. }
                | StreamChange::Become { .. }
                | StreamChange::Release { .. }
        ),
        _ => true,
    }
}
