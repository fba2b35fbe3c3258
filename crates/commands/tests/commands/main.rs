//! The commands through their public door: the facts of the table, handlers on a keyspace, and the replay
//! of what they did.

mod docs;
mod facts;
mod keys;
mod random;
mod replay;
mod shard;
mod sketches;
mod strings;
