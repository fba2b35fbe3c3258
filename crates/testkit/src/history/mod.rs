//! Histories: the requests and replies of concurrent clients, and whether any serial order explains
//! them.
//!
//! Lists to which clients only append show the order of their writes to every reader; so do
//! registers that are read before they are written. From that follow the transactions' dependencies
//! ([`check`]): a cycle is an anomaly.
//!
//! The method is that of Elle (Kingsbury, Alvaro: "Elle: Inferring Isolation Anomalies from
//! Experimental Observations", 2020).

mod check;
mod workload;

pub use check::{Anomaly, Kind, check};
pub use workload::{Plan, Workload};

/// One operation of a transaction. Every written id is unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Append { key: String, id: u64 },
    ReadList { key: String, ids: Vec<u64> },
    Write { key: String, id: u64 },
    Read { key: String, id: Option<u64> },
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It was aborted: none of its writes may ever be visible.
    Refused,
    /// Unknown: its client disconnected before the reply. Its reads are unknown.
    Unknown,
}

/// One transaction as its client saw it.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub acts: Vec<Act>,
    pub fate: Fate,
    /// When it was sent and when it was answered, on one clock for all clients.
    pub asked_at: u64,
    pub answered_at: u64,
}
