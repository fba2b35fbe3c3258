//! Rdb: Redis' format for values and snapshots, as DUMP payloads and as files.
//!
//! ```text
//! bytes ──► Input ──► read  ──► Value ──► Effect        RESTORE, loading a file
//! Entry ──► write ──► bytes                             DUMP, a snapshot
//! ```
//!
//! The reader takes every encoding from Redis 2.6 to Redis 8.8 and Valkey 9; the writer writes the
//! plain encodings, which all of them load, in the versions that a [`Target`] names. Whatever the
//! input is, reading it returns a value or an [`Error`]: lengths are checked against what is left
//! of the input before memory is allocated for them.
//!
//! Not here: files and sockets (`server`), which keys are saved when (`engine`).

mod crc64;
mod error;
mod format;
mod functions;
mod input;
mod lzf;
mod payload;
mod read;
mod target;
mod write;

pub use crc64::Checksum;
pub use error::Error;
pub use functions::{dump_functions, read_functions};
pub use payload::{open_payload, seal_payload};
pub use read::file::{FileReader, Item, KeyItem};
pub use read::{Dialect, Trust, Value, read_value};
pub use target::{Loss, Target};
pub use write::file::{FileWriter, KeyHints};
pub use write::{Writer, dump};
