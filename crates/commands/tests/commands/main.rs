//! Commands through their public interface: the properties of the table, handlers on a keyspace,
//! and the replay of their effects.

mod docs;
mod facts;
mod keys;
mod random;
mod replay;
mod shard;
mod sketches;
mod strings;
