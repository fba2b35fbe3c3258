//! Observe: what a shard counts and keeps for those who look at it.

pub(crate) mod command_stats;
pub(crate) mod histogram;
pub(crate) mod hop_name;
pub(crate) mod hot_keys;
pub(crate) mod latency;
pub(crate) mod monitor;
pub(crate) mod rates;
pub(crate) mod slowlog;
pub(crate) mod stats;
pub(crate) mod top_keys;
