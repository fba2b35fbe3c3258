//! Target: which servers are to read what is written, and what they cannot be given.

use std::fmt;

/// The family and version that payloads and files are written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Everything is kept: each value is written in the oldest version that holds all of it.
    #[default]
    Latest,
    /// Version 10: Redis 7.0 and later, Valkey.
    Redis7,
    /// Version 12: Redis 7.4 and later.
    Redis8,
    /// Version 80: Valkey 9.0 and later.
    Valkey9,
}

/// What a target has no form for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Without it the fields would live forever, so the value is not written.
    FieldExpiry,
    /// Without them entries would never be delivered again, so the value is not written.
    ReleasedEntries,
    /// The value is written without them: entries that are sent again are added again.
    Producers,
}

impl Target {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Redis7 => "redis7",
            Self::Redis8 => "redis8",
            Self::Valkey9 => "valkey9",
        }
    }

    /// The version in a file's head. A file for [`Target::Latest`] says what Redis 8.0 accepts; a
    /// value that is newer than that is refused there by its type.
    pub(crate) const fn file_version(self) -> u32 {
        match self {
            Self::Redis7 => 10,
            Self::Latest | Self::Redis8 => 12,
            Self::Valkey9 => 80,
        }
    }
}

impl Loss {
    /// Whether the value is not written at all.
    pub const fn is_refused(self) -> bool {
        !matches!(self, Self::Producers)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldExpiry => "fields with an expiry",
            Self::ReleasedEntries => "pending entries that no consumer owns",
            Self::Producers => "producers of a stream",
        })
    }
}
