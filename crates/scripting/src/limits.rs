//! What a script may take.

/// LIMIT: bytes that an interpreter holds. Beyond it a script ends with "not enough memory".
pub(crate) const MEMORY_MAX: usize = 256 << 20;

/// Instructions of the interpreter, and steps of our functions, between two questions to the host.
pub(crate) const CHECK_STEPS: i64 = 1000;

/// A block of so many bytes counts as steps: making it may take long.
pub(crate) const LARGE_BLOCK_BYTES: usize = 1 << 16;

/// Bytes of a large block that count as one step.
pub(crate) const BYTES_PER_STEP: usize = 256;

/// LIMIT: tables within tables of a reply, in either direction. Deeper ones end with an error.
pub(crate) const NESTING_MAX: usize = 1000;

/// LIMIT: bytes of the reply that a script makes.
pub(crate) const REPLY_BYTES_MAX: usize = 256 << 20;

/// LIMIT: bytes of a script or of a chunk that it loads, far below what the parser's counters bear.
pub(crate) const SOURCE_BYTES_MAX: usize = 64 << 20;

/// LIMIT: values that `unpack` puts on the stack; Lua's own limit is a little higher.
pub(crate) const UNPACKED_MAX: f64 = 7900.0;

/// LIMIT: calls within calls of the pattern matcher; a deeper match ends with an error.
pub(crate) const MATCH_DEPTH_MAX: u32 = 200;

/// Bytes of the native stack of a run, as much as threads have. Pages that it does not touch take no memory.
pub(crate) const NATIVE_STACK_BYTES: usize = 2 << 20;

/// Steps that a command counts as: many of them take longer than so many instructions.
pub(crate) const CALL_STEPS: usize = 20;
