//! Structures: data structures in memory, and the only crate with unsafe code for data.
//!
//! ```text
//! Table ──cells──► Entry (one block: header, expiry, key, value)      Wheel: items by expiry
//!                    └──► Collection (values too large for the block)
//! ```
//!
//! Not here: which slot or database a table serves, what a change means to others (`keyspace`).

#![expect(unsafe_code, reason = "this room is where data takes its shape in memory")]

mod bits;
mod block;
mod collection;
mod entry;
mod fields;
mod hash;
mod intset;
mod list;
mod long_string;
mod members;
mod memory;
mod packed;
mod prefetch;
mod sorted;
mod stream;
mod table;
mod wheel;

pub use bits::count_ones;
pub use block::{
    OutOfMemory, PoolStats, block_bytes, give_back_chunk, give_back_left, is_mapping_granted,
    pool_stats, promise_chunks, supply_chunks, withdraw_chunks,
};
pub use collection::{Collection, Kind};
pub use entry::{Content, Encoding, Entry, SMALL_BYTES_MAX, Small, TEXT_BYTES_MAX, Value};
pub use fields::Fields;
pub use hash::{HashedAlready, KeyHasher, MapByHash};
pub use intset::{IntSet, IntSplice};

pub use list::{Back as ListBack, Forth as ListForth, List, NodeLimit, Side};
pub use long_string::{LongString, TextChange};
pub use members::{Member, MemberPlace, Members, MembersIter};
pub use memory::is_granted;
pub use packed::{
    BothWays, Digits, Forwards, Packed, PackedIter, PackedVec, Run, Span, Splice, Walk,
    element_bytes, write_element,
};
pub use prefetch::prefetch_ref;
pub use sorted::{LexBound, ScoreRange, Scored, Sorted, SortedWalk};
pub use stream::{
    Consumer, ConsumerNumber, Group, IDEMPOTENCY_NAMES, IDEMPOTENCY_SECONDS, Keep, NodeLimits,
    Pairs, Pending, Producers, STREAM_ENTRY_BYTES_MAX, Stream, StreamEntry, StreamId, Trim,
};
pub use table::{EntryMut, EntryRef, Place, TAGS, Table};
pub use wheel::{Backlog, Fate, Resolve, Wheel};
