//! Input: what is known of a request before it runs.

pub(crate) mod resolve;
