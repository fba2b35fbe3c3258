//! Keyspace: all databases of one shard.
//!
//! ```text
//! Keyspace ──16──► Database ──per slot──► Table ──► Entry
//!    │ edit(key) ──► Edit::commit(Effect) ──► hooks before · apply, books, expiry wheel · hooks after
//! ```
//!
//! Guards: every change of data is a [`Change`] and goes through `commit`; the books equal a full walk; a
//! replay of the effects gives the same [`digest`](Keyspace::digests).
//! Not here: commands, other shards, the clock (the moment is set by [`Keyspace::set_now`]).

mod access;
mod big_keys;
mod codec;
mod collections;
mod commit;
mod digest;
mod edit;
mod effect;
mod events;
mod eviction;
mod eviction_pool;
mod expiry;
mod expiry_times;
mod frequency;
mod hooks;
mod key;
mod keyspace;
mod lazy_free;
mod limits;
mod lrfu;
mod lrfu_score;
mod lrfu_trials;
mod origin;
mod random;
mod ready_keys;
mod received;
mod record;
mod record_log;
mod slot;
mod slot_transfer;
mod snapshot;
mod subscribe;
mod tracking;
mod watch;

pub use basalt_structures::{
    Consumer, Content, Digits, Encoding, Entry, EntryRef, Group, IDEMPOTENCY_NAMES,
    IDEMPOTENCY_SECONDS, Keep, KeyHasher, Kind, LexBound, LongString, MapByHash, NodeLimits,
    OutOfMemory, Pending, Producers, SMALL_BYTES_MAX, STREAM_ENTRY_BYTES_MAX, ScoreRange, Scored,
    Side, Small, Stream, StreamEntry, StreamId, TEXT_BYTES_MAX, Trim, Value, count_ones,
    is_granted, is_mapping_granted,
};
pub use big_keys::BigKey;
pub use codec::{Cause, Malformed, StringList, Strings};
pub use collections::{
    Deliveries, FieldLife, HashChange, HashField, HashRef, ListBack, ListChange, ListForth,
    ListIter, ListRef, MembersWalk, SetChange, SetIter, SetRef, SortedChange, SortedRef,
    StreamChange, StreamIds, Thresholds, score_bytes, significant, stream_of,
};
pub use commit::database::{Databases, ScanPosition};
pub use commit::handover::{DetachedValue, KeptValue};
pub use commit::make::Maker;
pub use digest::{Digest, combine_digests};
pub use edit::Edit;
pub use effect::Effect;
pub use events::{Event, EventClasses, Events, RaisedEvents, event};
pub use eviction_pool::{Eviction, EvictionOrder};
pub use frequency::{Frequency, UseReader, Uses, idle_seconds};
pub use hooks::{Change, Observer, ObserverId};
pub use key::Key;
pub use keyspace::{DatabaseStats, Keyspace, KeyspaceStats};
pub use limits::{EVENTS_MAX, RECORDS_UNREAD_BYTES_MAX, SPARE_BYTES_MAX};
pub use origin::{ClientId, Origin, TxnTag};
pub use random::Random;
pub use received::LONG_STRING_BYTES;
pub use record::Record;
pub use record_log::{Lagged, ReaderId};
pub use slot::{SLOTS, SlotId};
pub use slot_transfer::{SlotBundle, slot_of_item};
pub use snapshot::SnapshotSink;
pub use tracking::Invalidated;

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
