//! Keyspace: all databases of one shard.
//!
//! ```text
//! Keyspace ──16──► Database ──per slot──► Table ──► Entry
//!    │ edit(key) ──► Edit::commit(Effect) ──► apply · books · expiry wheel · journal
//! ```
//!
//! Guards: every change is an [`Effect`] committed through an [`Edit`]; the books equal a full walk; a
//! replay of the effects gives the same [`digest`](Keyspace::digests).
//! Not here: commands, other shards, the clock (the moment is set by [`Keyspace::set_now`]).

mod chance;
mod collections;
mod database;
mod digest;
mod edit;
mod effect;
mod expiry;
mod fed;
mod frequency;
mod graves;
mod key;
mod keyspace;
mod slot;
mod slots;
mod watch;

pub use basalt_structures::{
    Consumer, Content, Digits, Encoding, Entry, EntryRef, Group, IDEMPOTENCY_NAMES,
    IDEMPOTENCY_SECONDS, Keep, KeyHasher, Kind, LexBound, NodeLimits, Pending, Producers,
    STREAM_ENTRY_BYTES_MAX, ScoreRange, Scored, Side, Small, Stream, StreamEntry, StreamId, Trim,
    Value, count_ones,
};
pub use chance::Chance;
pub use collections::{
    Deliveries, FieldLife, HashChange, HashField, HashRef, ListBack, ListChange, ListForth,
    ListIter, ListRef, MembersWalk, SetChange, SetIter, SetRef, SortedChange, SortedRef,
    StreamChange, StreamIds, Thresholds, score_bytes, significant, stream_of,
};
pub use database::ScanPosition;
pub use digest::{Digest, combine_digests};
pub use edit::Edit;
pub use effect::{Cause, Effect, Malformed, Record, StringList, Strings};
pub use frequency::Frequency;
pub use key::Key;
pub use keyspace::{DatabaseFacts, Keyspace, KeyspaceStats, idle_seconds};
pub use slot::{SLOTS, SlotId};
pub use slots::{SlotBundle, slot_of_item};

/// Which shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A SELECT number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseId(pub u16);

impl DatabaseId {
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
