//! Slots: which shard has which, and how they move.

pub(crate) mod balance;
pub(crate) mod moves;
pub(crate) mod routes;
