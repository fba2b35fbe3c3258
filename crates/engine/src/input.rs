//! Input: what is known of a request before it runs.

pub(crate) mod args;
pub(crate) mod keys;
pub(crate) mod measured;
pub(crate) mod resolve;
