//! Errors: why bytes are no RDB that can be read.

use std::fmt;

/// Why bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The input ends within an item: more of it may follow in a file, none in a payload.
    Short,
    /// The bytes violate the format; the text names the rule.
    Malformed(&'static str),
    /// A collection without elements, which Redis removes instead of storing it.
    Empty,
    /// A hash of which all fields are past their expiry.
    Expired,
    /// A type of values that this reader does not know.
    UnknownType(u8),
    /// A value that only a module can read.
    Module(String),
    /// A file of a newer version than this reader knows.
    Version(u32),
    /// A file that does not begin as an RDB file does.
    NoRdb,
    /// The checksum at the end of a file is not that of its bytes.
    Checksum,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the data ends in the middle of a value"),
            Self::Malformed(rule) => f.write_str(rule),
            Self::Empty => f.write_str("a collection without elements"),
            Self::Expired => f.write_str("a hash whose fields are all past their expiry"),
            Self::UnknownType(kind) => write!(f, "a value of the unknown type {kind}"),
            Self::Module(name) => {
                write!(f, "a value of the module '{name}', which is not supported")
            }
            Self::Version(version) => {
                write!(f, "RDB version {version} is newer than the newest known one")
            }
            Self::NoRdb => {
                f.write_str("this is no RDB file: it does not begin with REDIS or VALKEY")
            }
            Self::Checksum => f.write_str("the checksum at the end does not match the content"),
        }
    }
}

impl std::error::Error for Error {}
