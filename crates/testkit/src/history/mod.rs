//! Histories: what concurrent clients asked and saw, and whether any order of one after the other explains it.
//!
//! Lists that are only appended to show the order of their writes to every reader; registers that are read before they
//! are written do, too. From that follow who must have come before whom ([`check`]): a cycle has no explanation.
//!
//! In the manner of Elle (Kingsbury, Alvaro: "Elle: Inferring Isolation Anomalies from Experimental Observations").

mod check;
mod workload;

pub use check::{Anomaly, Kind, check};
pub use workload::{Plan, Workload};

/// One thing that a transaction did. Every written id is written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Append { key: String, id: u64 },
    ReadList { key: String, ids: Vec<u64> },
    Write { key: String, id: u64 },
    Read { key: String, id: Option<u64> },
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It was refused: nothing of it may ever be seen.
    Refused,
    /// Nobody knows: its client was gone before it was answered. What it read is not known.
    Unknown,
}

/// One transaction as its client saw it.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub acts: Vec<Act>,
    pub fate: Fate,
    /// When it was asked and when it was answered, on one clock for all clients.
    pub asked_at: u64,
    pub answered_at: u64,
}
