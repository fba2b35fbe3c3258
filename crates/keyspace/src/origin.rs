//! Origin: for whom data changes, and as part of which transaction.
//!
//! Whoever runs a command sets it before ([`Keyspace::swap_origin`](crate::Keyspace::swap_origin)) and puts back the one before; hooks of a
//! commit see it. Expiry, and whatever a server does by itself, has none.

use crate::ShardId;
use crate::codec::{Malformed, Reader};

/// A client: the shard beside which its session is, and a number that no other session of that shard ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    pub home: ShardId,
    pub session: u64,
}

/// A transaction, on all its shards. Two with the same `epoch`, `at_us`, `home` and `behind` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnTag {
    /// The run of the process: another after each start.
    pub epoch: u64,
    /// When it began (monotonic microseconds), or a little later.
    pub at_us: u64,
    /// The shard that coordinates it.
    pub home: ShardId,
    pub behind: u32,
    /// How many shards may write in it. Each ends its part ([`Keyspace::end_part`](crate::Keyspace::end_part)), also without a change.
    pub parts: u16,
}

/// For whom data changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub client: Option<ClientId>,
    pub transaction: Option<TxnTag>,
}

impl TxnTag {
    /// Appends its bytes but for `parts`, numbers little-endian.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.at_us.to_le_bytes());
        out.extend_from_slice(&self.home.0.to_le_bytes());
        out.extend_from_slice(&self.behind.to_le_bytes());
    }

    pub(crate) fn decode(parts: u16, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            parts,
            epoch: u64::from_le_bytes(reader.array()?),
            at_us: u64::from_le_bytes(reader.array()?),
            home: ShardId(u16::from_le_bytes(reader.array()?)),
            behind: u32::from_le_bytes(reader.array()?),
        })
    }
}
