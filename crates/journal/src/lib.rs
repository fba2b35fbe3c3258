//! Journal: the files of a journal as bytes. Frames, cuts, the manifest, and what a recovery keeps.
//!
//! ```text
//! shard's records ─► Entries ─► Frame ─► file          start: files ─► scan ─► kept ─► replay
//! ```
//!
//! Each shard appends to a file of its own. A *position* counts the bytes of entries since the generation began;
//! a *cut* is a vector of positions, one per shard, taken while nothing was half done: recovery keeps the newest
//! one that is wholly there. `docs/design/persistence.md` has the reasons.
//!
//! Not here: files and rings (`server`), what a record means (`keyspace`), when a cut is taken (`engine`).

mod base;
mod entry;
mod frame;
mod header;
mod manifest;
mod recovery;
mod scan;
mod varint;

pub use base::BaseWriter;
pub use entry::{Entries, Entry, put_open_records, put_records, put_state, put_tie};
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameHead};
pub use header::{FileHeader, FileKind, HEADER_BYTES, HeaderError};
pub use manifest::{GENERATIONS_MAX, Generation, JOURNALS_MAX, Manifest, ManifestError, Segment};
pub use recovery::{Kept, keep};
pub use scan::{Blob, Damage, Frames, Scan, ScanError, Tail, scan};

/// The version of the format that is written. Older ones are read for ever.
pub const VERSION: u16 = 1;

/// The bytes end too early, or are not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
