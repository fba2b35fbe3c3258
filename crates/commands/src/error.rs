//! What a command refuses, in Redis' words: the text is what the client sees behind the `-`.

use std::borrow::Cow;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(pub Cow<'static, str>);

impl CommandError {
    pub const SYNTAX: Self = Self::text("ERR syntax error");
    pub const NOT_INTEGER: Self = Self::text("ERR value is not an integer or out of range");
    pub const NOT_FLOAT: Self = Self::text("ERR value is not a valid float");
    pub const OUT_OF_RANGE: Self = Self::text("ERR value is out of range");
    pub const NO_SUCH_KEY: Self = Self::text("ERR no such key");
    pub const WRONG_TYPE: Self =
        Self::text("WRONGTYPE Operation against a key holding the wrong kind of value");

    pub const fn text(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// What Redis says when a command gets the wrong number of arguments. `name` is the row's: a
    /// subcommand's has its container's in front.
    pub fn wrong_arity(name: &str) -> Self {
        Self::new(format!("ERR wrong number of arguments for '{name}' command"))
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
