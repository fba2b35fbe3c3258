//! Slow log: the requests of a shard's sessions that took long, the newest first.

use std::collections::VecDeque;

/// A slow request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlowRequest {
    pub number: u64,
    /// Seconds since 1970.
    pub at_s: u64,
    /// The turn in which it was logged (monotonic µs, by the clock of all shards): the order of all logs together.
    pub logged_at_us: u64,
    pub us: u64,
    /// Cut short, and encoded as an array.
    pub args: Vec<u8>,
    /// The client's address.
    pub address: String,
    pub client_name: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    /// The newest first.
    requests: VecDeque<SlowRequest>,
    logged: u64,
}

impl SlowLog {
    /// The number for the next request: of `shard_count` logs, none gives one that another gives.
    pub(crate) fn next_number(&mut self, shard: u16, shard_count: usize) -> u64 {
        self.logged += 1;
        (self.logged - 1) * shard_count as u64 + u64::from(shard)
    }

    /// LIMIT: `slowlog-max-len` requests are kept.
    pub(crate) fn add(&mut self, request: SlowRequest, len_max: u64) {
        self.requests.push_front(request);
        self.requests.truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn newest(&self, count: usize) -> Vec<SlowRequest> {
        self.requests.iter().take(count).cloned().collect()
    }

    pub(crate) fn reset(&mut self) {
        self.requests.clear();
    }
}
