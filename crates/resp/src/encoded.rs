//! Constant replies, encoded and ready to be copied.

pub const OK: &[u8] = b"+OK\r\n";
pub const PONG: &[u8] = b"+PONG\r\n";
pub const QUEUED: &[u8] = b"+QUEUED\r\n";
pub const ZERO: &[u8] = b":0\r\n";
pub const ONE: &[u8] = b":1\r\n";
pub const MINUS_ONE: &[u8] = b":-1\r\n";
pub const MINUS_TWO: &[u8] = b":-2\r\n";
pub const EMPTY_BULK: &[u8] = b"$0\r\n\r\n";
pub const EMPTY_ARRAY: &[u8] = b"*0\r\n";
pub const NULL_RESP2: &[u8] = b"$-1\r\n";
pub const NULL_ARRAY_RESP2: &[u8] = b"*-1\r\n";
pub const NULL_RESP3: &[u8] = b"_\r\n";
pub const TRUE_RESP3: &[u8] = b"#t\r\n";
pub const FALSE_RESP3: &[u8] = b"#f\r\n";
