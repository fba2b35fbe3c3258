//! Requests: the parsed arguments of the commands that the engine runs.
//!
//! Each is a pure function of the arguments, name first, and of the few settings that validate
//! them: it parses all of them or fails with Redis' error, so that the engine only acts.
//!
//! Not here: the rows and the parsers themselves, which are side by side in `families`.

pub use crate::families::connection::*;
pub use crate::families::hash::*;
pub use crate::families::hyperloglog::*;
pub use crate::families::keys::*;
pub use crate::families::list::*;
pub use crate::families::scripting::*;
pub use crate::families::server::*;
pub use crate::families::sorted::{OwnedMembers, RangeRequest, parse_range_store, write_scored};
pub use crate::families::string::*;
