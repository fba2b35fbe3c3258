//! Slots: which shard has which, and how they move.

pub(crate) mod balance;
pub(crate) mod quiet;
pub(crate) mod routes;
