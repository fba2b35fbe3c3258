//! Collection: a key's value that is too large for its entry's block.
//!
//! One variant per collection type. Small collections are packed in the block
//! ([`Small`](crate::Small)).
//!
//! Not here: the shapes themselves (a module each), when a small one becomes a large one (`keyspace`).

use crate::block::block_bytes;
use crate::entry::Encoding;
use crate::fields::Fields;
use crate::list::List;
use crate::members::Members;
use crate::sorted::Sorted;
use crate::stream::Stream;

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    String,
    List,
    Hash,
    Set,
    Sorted,
    Stream,
}

impl Kind {
    /// The name that TYPE returns.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Sorted => "zset",
            Self::Stream => "stream",
        }
    }
}

/// For freeing in slices: to free one node of a list costs about as much as this many elements of
/// other types.
const ELEMENTS_PER_NODE: usize = 4;

/// A large collection.
#[derive(Clone, Debug)]
pub enum Collection {
    List(List),
    Hash(Fields),
    Set(Members),
    /// Boxed because it is larger than the others.
    Stream(Box<Stream>),
    Sorted(Sorted),
}

// A collection moves to another thread with its slot, and when it is freed lazily.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Collection>();
};

impl Collection {
    pub fn kind(&self) -> Kind {
        match self {
            Self::List(_) => Kind::List,
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::Stream(_) => Kind::Stream,
            Self::Sorted(_) => Kind::Sorted,
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Self::List(list) if list.is_quicklist() => Encoding::Quicklist,
            Self::List(_) => Encoding::Listpack,
            Self::Hash(_) | Self::Set(_) => Encoding::Hashtable,
            Self::Stream(_) => Encoding::Stream,
            Self::Sorted(_) => Encoding::Skiplist,
        }
    }

    /// The number of elements; of a stream also the pending entries, consumers and groups.
    pub fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Hash(fields) => fields.len(),
            Self::Set(members) => members.len(),
            Self::Stream(stream) => stream.droppable_len(),
            Self::Sorted(sorted) => sorted.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The heap bytes that it takes beside itself. O(1).
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::List(list) => list.heap_bytes(),
            Self::Hash(fields) => fields.heap_bytes(),
            Self::Set(members) => members.heap_bytes(),
            Self::Stream(stream) => block_bytes(size_of::<Stream>()) + stream.heap_bytes(),
            Self::Sorted(sorted) => sorted.heap_bytes(),
        }
    }

    /// The heap bytes that it takes with its box. O(1).
    pub fn boxed_bytes(&self) -> usize {
        block_bytes(size_of::<Self>()) + self.heap_bytes()
    }

    /// The expiry of the first field to expire, in Unix milliseconds; `None` for types and values
    /// without any.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        match self {
            Self::List(_) => None,
            Self::Hash(fields) => fields.next_expiry_ms(),
            Self::Set(_) => None,
            Self::Stream(_) => None,
            Self::Sorted(_) => None,
        }
    }

    /// Frees about `count` elements, in any order, and returns the freed heap bytes. The collection
    /// must not be read afterwards.
    pub fn drop_some(&mut self, count: usize) -> usize {
        match self {
            Self::List(list) => list.drop_some(count.div_ceil(ELEMENTS_PER_NODE)),
            Self::Hash(fields) => fields.drop_some(count),
            Self::Set(members) => members.drop_some(count),
            Self::Stream(stream) => stream.drop_some(count),
            Self::Sorted(sorted) => sorted.drop_some(count),
        }
    }
}
