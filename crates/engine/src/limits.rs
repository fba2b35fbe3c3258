//! Limits of the engine: every queue, buffer, loop and batch that could grow has its bound here.

/// LIMIT: messages that one shard may have on their way to another before it gathers further work in
/// the next one. Answers ride back in the request's place, so a ring of twice this length per
/// direction can never be full.
pub const MESSAGES_IN_FLIGHT_MAX: usize = 64;

/// LIMIT: requests gathered for one shard before sessions that want to add to them have to wait.
pub(crate) const OUTBOX_REQUESTS_MAX: usize = 4096;
/// LIMIT: the same in bytes; the request that goes beyond it may be as large as requests are.
pub(crate) const OUTBOX_BYTES_MAX: usize = 8 << 20;
/// LIMIT: bytes of replies to the requests gathered for one shard, if they are as long as those to the last ones.
pub(crate) const OUTBOX_REPLY_BYTES_MAX: usize = 1 << 20;
/// As many requests are gathered for one shard whatever the size of the replies.
pub(crate) const OUTBOX_REQUESTS_MIN: usize = 64;

/// LIMIT: requests parsed and staged together. Large enough that the memory of all of them is on its
/// way at once, small enough that what was fetched is still near when it is worked.
pub(crate) const STAGE_REQUESTS_MAX: usize = 64;
/// LIMIT: keys whose memory is fetched together.
pub(crate) const STAGE_KEYS_MAX: usize = 256;
/// LIMIT: requests of one connection in one stage, so that a long pipeline leaves room for others.
pub(crate) const STAGE_REQUESTS_PER_SESSION: usize = 32;
/// LIMIT: requests worked in one turn; what is left goes on in the next, after new input was read.
pub(crate) const TURN_REQUESTS_MAX: usize = 4096;
/// LIMIT: bytes of replies that a turn makes, and one more; what is left goes on in the next, when it is known what
/// memory they take.
pub(crate) const TURN_OUTPUT_BYTES_MAX: usize = 2 << 20;
/// LIMIT: sessions with a backlog that are worked in one turn.
pub(crate) const TURN_READY_MAX: usize = 256;

/// LIMIT: replies of other shards that one session may wait for before its next request is worked; less
/// where replies are so large that they would be more than [`OUTPUT_PAUSE_BYTES`].
pub(crate) const HOLES_MAX: usize = 1024;
/// As many holes a session may have before the size of its replies is known.
pub(crate) const HOLES_AT_FIRST: usize = 64;
/// As many holes a session may have whatever the size of its replies.
pub(crate) const HOLES_MIN: usize = 4;
/// LIMIT: output of this length is sent even while replies of other shards are awaited.
pub(crate) const SEND_EARLY_BYTES: usize = 16 << 10;
/// LIMIT: a session with more unsent output than this has its requests left in its backlog, as long as
/// there is room in it. A full backlog is worked all the same, this much output at a time: a client that
/// writes all its requests before it reads a reply would wait for ever otherwise.
pub(crate) const OUTPUT_PAUSE_BYTES: usize = 1 << 20;
/// LIMIT: the socket of a session is not read while its backlog is longer than this and holds a request.
/// What the kernel has received by then comes on top: one turn's receive buffers at most.
pub(crate) const BACKLOG_BYTES_MAX: usize = 1 << 20;
/// A large argument of which so much is still to come is received into its own memory.
pub(crate) const DIRECT_BYTES_MIN: usize = 1 << 20;
/// LIMIT: bytes of it that one receive may bring in, so that others have their turn.
pub const DIRECT_RECEIVE_BYTES_MAX: usize = 512 << 10;
/// Buffers of this capacity or less stay with an idle session.
pub(crate) const BUFFER_KEPT_BYTES: usize = 16 << 10;

/// LIMIT: what may wait for a monitor where `client-output-buffer-limit normal` sets none, or be on its way to
/// those of another core.
pub(crate) const MONITOR_UNSENT_MAX_BYTES: usize = 32 << 20;

/// LIMIT: bytes of messages for subscribers of another core that wait to leave for it; what is more is lost, and
/// the subscribers are cut off.
pub(crate) const NOTICE_BYTES_MAX: usize = 64 << 20;
/// LIMIT: subscriptions of sessions that are gone which are dropped in a turn.
pub(crate) const SUBSCRIPTIONS_DROPPED_AT_ONCE: usize = 1000;

/// LIMIT: microseconds of a turn that go to expiry and to dropping what was flushed.
pub(crate) const MAINTENANCE_TURN_US: u64 = 300;
/// LIMIT: keys that a call evicts before it runs, with the default of `maxmemory-eviction-tenacity`; what is left
/// to evict goes in maintenance.
pub(crate) const EVICTED_PER_CALL_MAX: usize = 16;
/// LIMIT: the same where all must go before the call runs: for a large value, or with the tenacity of 100.
pub(crate) const EVICTED_PER_CALL_TENACIOUS: usize = 1024;
/// LIMIT: keys evicted at once because another shard asks.
pub(crate) const EVICTED_PER_ASK_MAX: usize = 256;
/// LIMIT: clients that a shard cuts off in a turn because of `maxmemory-clients`; the next ones go in the next turn.
pub(crate) const CLIENTS_EVICTED_MAX: usize = 64;
/// LIMIT: steps of freeing what was evicted that a call does at `maxmemory`.
pub(crate) const FREED_PER_CALL_STEPS: usize = 4;
/// How often sessions are looked over for idleness and output limits.
pub(crate) const SESSION_CHECK_US: u64 = 100_000;
/// LIMIT: transactions, and hops, of one turn that are logged because they took long; the rest is counted, or dropped.
pub(crate) const LONG_VISITS_MAX: usize = 16;
/// LIMIT: hashes of keys in such a line.
pub(crate) const LOGGED_HASHES_MAX: usize = 16;

/// LIMIT: a client that waits looks again no sooner, if none of its keys was fed.
pub(crate) const LOOK_AGAIN_MS_MIN: u64 = 5;

/// LIMIT: databases on the metrics page, the first ones.
pub(crate) const STATS_DATABASES_MAX: usize = 256;

/// LIMIT: places of sessions looked over at a time.
pub(crate) const SESSION_CHECK_MAX: usize = 512;

/// LIMIT: slots handed over while all stands still; of more, the rest goes after a breath.
pub(crate) const SLOTS_MOVED_AT_ONCE: usize = 256;
/// How many bytes of a snapshot are handed over at a time.
pub(crate) const SAVE_CHUNK_BYTES: usize = 256 << 10;
/// LIMIT: bytes of a snapshot that a shard has encoded and nobody has taken. With more the save is given up: changes
/// come faster than the disk can take what was there before.
pub(crate) const SAVE_BACKLOG_BYTES_MAX: usize = 1 << 30;
/// How often to look how a save goes.
pub(crate) const SAVE_LOOK_US: u64 = 2_000;
/// How many bytes of a file's keys a shard gets at a time.
pub(crate) const LOAD_BATCH_BYTES: usize = 128 << 10;
/// LIMIT: microseconds of a turn that go to loading a file while all clients wait for it.
pub(crate) const LOAD_TURN_US: u64 = 5_000;
/// How often save points are looked at.
pub(crate) const SAVE_POINTS_US: u64 = 1_000_000;
/// How long a failed save keeps save points from trying again.
pub(crate) const SAVE_RETRY_US: u64 = 5_000_000;

/// How often loads are compared, where slots are to be balanced.
pub(crate) const BALANCE_US: u64 = 1_000_000;
/// LIMIT: slots moved by one look at the loads.
pub(crate) const SLOTS_BALANCED_AT_ONCE: usize = 64;
/// LIMIT: microseconds that all stands still until what was under way is over. Then the move is given up.
pub(crate) const STILL_US_MAX: u64 = 100_000;

/// LIMIT: bytes of entries that the kernel has not taken from a shard's journal before requests wait.
pub(crate) const JOURNAL_UNWRITTEN_BYTES_MAX: u64 = 64 << 20;
/// LIMIT: bytes of frames that are kept because they are not synced, under `everysec`: with more a sync begins at once.
/// They count among the unwritten.
pub(crate) const JOURNAL_RETAINED_BYTES_MAX: usize = 16 << 20;
/// LIMIT: bytes of entries in one frame; a record that is longer has a frame of its own.
pub(crate) const JOURNAL_BODY_BYTES_MAX: usize = 1 << 20;
/// How long until a frame that could not be written is tried again.
pub(crate) const JOURNAL_RETRY_US: u64 = 1_000_000;
/// LIMIT: how long a journal that is turned off has to bring what it took in to the disk.
pub(crate) const JOURNAL_END_US: u64 = 2_000_000;
/// After so many rewrites of the journal that failed in a row the next one waits, first a minute, then twice as long
/// each time, at most an hour.
pub(crate) const REWRITE_FAILURES_FREE: u32 = 3;
pub(crate) const REWRITE_PAUSE_US: u64 = 60_000_000;
pub(crate) const REWRITE_PAUSE_MAX_US: u64 = 3_600_000_000;
/// How often a cut is taken if no client waits for it.
pub(crate) const CUT_EVERY_US: u64 = 100_000;
/// How long a shard leaves it to the home of a transaction to take the cut that its reply waits for.
pub(crate) const CUT_OTHERS_US: u64 = 20_000;

/// LIMIT: scripts that came by EVAL and are known; the oldest is forgotten.
pub(crate) const EVAL_SCRIPTS_MAX: usize = 500;
/// An interpreter that holds more collects garbage between turns.
pub(crate) const IDLE_INTERPRETER_BYTES: usize = 1 << 20;
/// LIMIT: bytes of a value that is copied so that a script's write can be undone. A script that writes a
/// larger one runs with everything held, where nothing has to be undone.
pub(crate) const UNDO_VALUE_BYTES: usize = 64 << 10;
/// Runs that begin with everything held, after a script needed it.
pub(crate) const WIDE_RUNS: u32 = 64;
/// LIMIT: nanoseconds that a script runs in one turn, and how often it is asked in it whether it goes on.
pub(crate) const SCRIPT_SLICE_NS: u64 = 2_000_000;
pub(crate) const SCRIPT_SLICE_CHECKS: u32 = 500;
/// LIMIT: questions of a library that is loaded whether it may go on, about half a second.
pub(crate) const LIBRARY_LOAD_CHECKS: u64 = 50_000;
