//! RESP2 and RESP3 on the wire: requests in, replies out.
//!
//! ```text
//!   receive buffer ──► parse ──► args: slices of the buffer
//!   handler ──► Reply ──► output buffer, already in the client's protocol
//!   Value ◄──► bytes: whole replies, for clients and tests
//! ```
//!
//! A request is parsed in place: no argument is copied, and lengths in the input reserve no memory.
//! Not here: commands, keys, sockets, authentication.

pub mod encoded;
pub mod fuzz;
mod inline;
mod line;
mod long_double;
pub mod number;
pub mod parse;
mod payloads;
pub mod reply;
mod shortest;
pub mod value;
mod wide;

pub use inline::split_words;
pub use number::{
    FloatError, LongFloat, add_long_double, format_f64, format_i64, format_long_double_human,
    parse_f64, parse_i64,
};
pub use parse::{
    LARGE_BULK_BYTES, ParseLimits, Parsed, Partial, ProtocolError, parse, parse_apart,
};
pub use payloads::Payloads;
pub use reply::{Deferred, NO_MEMORY_FOR_REPLY, NoMemory, Reply, append_reply};
pub use value::{DecodeError, Value, decode, encode, encode_request, scalar_bytes};

/// The version of the protocol that a session speaks; HELLO changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}
