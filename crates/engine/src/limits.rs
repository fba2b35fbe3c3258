//! Limits of the engine: every queue, buffer, loop and batch that could grow has its bound here.

/// LIMIT: messages that one shard may have on their way to another before it gathers further work in
/// the next batch. Replies ride back in the request's place, so a ring of twice this length per
/// direction can never be full.
pub const MESSAGES_IN_FLIGHT_MAX: usize = 64;
