//! Quiet: a core that stands still while slots move.

use basalt_keyspace::ShardId;

/// The home of a coordination, and its number there.
pub(crate) type SlotMoveId = (ShardId, u64);

/// A shard stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Still {
    pub slot_move: SlotMoveId,
    pub since_us: u64,
}

/// What a core answers when it is asked whether all is quiet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet {
    /// If it is: how often something happened that others could feel.
    pub disturbances: Option<u64>,
    pub now_us: u64,
}
