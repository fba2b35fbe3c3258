//! Mesh: what cores send each other.

pub(crate) mod message;
pub(crate) mod outbox;
