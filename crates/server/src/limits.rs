//! Limits of the server: every queue, buffer, loop and batch that could grow has its bound here.

use basalt_engine::limits::MESSAGES_IN_FLIGHT_MAX;

/// LIMIT: completions worked in one turn of the loop; the rest waits for the next.
pub(crate) const EVENTS_PER_TURN_MAX: usize = 1024;

/// LIMIT: entries of a ring's submission queue; a fuller turn submits more than once.
pub(crate) const SUBMISSIONS: u32 = 1024;

/// LIMIT: entries of a ring's completion queue. What doesn't fit is kept by the kernel, at a cost.
pub(crate) const COMPLETIONS: u32 = 8 * 1024;

/// LIMIT: receive buffers of a ring (a power of two). Where all are in use, connections wait for the
/// end of the turn.
pub(crate) const BUFFER_COUNT: u16 = 16;

/// One receive buffer. Together they fit into a core's second-level cache: four times as many cost 10 % more
/// CPU time per request with 500 connections.
pub(crate) const BUFFER_BYTES: u32 = 64 * 1024;

/// LIMIT: bytes that a connection receives in a turn where clients take much memory.
pub(crate) const SPARING_RECEIVE_BYTES_MAX: u32 = 32 * 1024;

/// LIMIT: receives into large arguments that begin in one turn, so that many of them don't delay others; the rest
/// begins in the next.
pub(crate) const DIRECT_RECEIVES_MAX: usize = 8;

/// LIMIT: bytes of one send. A client that reads as fast as the kernel copies would keep it in one call for all of a
/// large reply.
pub(crate) const SEND_BYTES_MAX: usize = 1 << 20;

/// LIMIT: empty output buffers that a shard keeps for its next replies.
pub(crate) const SPARE_OUTPUTS_MAX: usize = 1024;
/// LIMIT: the same in bytes.
pub(crate) const SPARE_OUTPUTS_BYTES_MAX: usize = 4 << 20;

/// LIMIT: an output buffer larger than this is freed rather than kept.
pub(crate) const SPARE_OUTPUT_BYTES_MAX: usize = 32 * 1024;

/// LIMIT: sockets on their way to one shard; the others wait on the accepting shard.
const SOCKETS_IN_FLIGHT_MAX: usize = 128;

/// What must stay free in a mesh ring for the engine's messages and replies, which are never refused.
pub(crate) const MESH_RESERVED: usize = 2 * MESSAGES_IN_FLIGHT_MAX;

/// LIMIT: packets on their way from one shard to another.
pub(crate) const MESH_CAPACITY: usize = (MESH_RESERVED + SOCKETS_IN_FLIGHT_MAX).next_power_of_two();

/// LIMIT: questions of threads that are no shards that wait for a shard's answer.
pub(crate) const ASKS_MAX: usize = 64;

/// LIMIT: connections to the metrics page at a time; further ones are told so and let go.
pub(crate) const PAGE_CONNECTIONS_MAX: usize = 32;
/// LIMIT: bytes of the head of a request for the metrics page, and its header lines.
pub(crate) const PAGE_HEAD_BYTES_MAX: usize = 8 << 10;
pub(crate) const PAGE_HEADERS_MAX: usize = 64;

/// LIMIT: shards of a process.
pub(crate) const SHARDS_MAX: usize = 64;
