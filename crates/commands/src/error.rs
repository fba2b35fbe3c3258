//! Errors of commands, in Redis' words: the text is what the client gets after the `-`.

use std::borrow::Cow;

use basalt_resp::NoMemory;

/// An error reply: bytes, because some texts quote what the client sent.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandError(Cow<'static, [u8]>);

impl CommandError {
    pub const SYNTAX: Self = Self::text("ERR syntax error");
    pub const NOT_INTEGER: Self = Self::text("ERR value is not an integer or out of range");
    pub const NOT_FLOAT: Self = Self::text("ERR value is not a valid float");
    pub const OUT_OF_RANGE: Self = Self::text("ERR value is out of range");
    pub const NO_SUCH_KEY: Self = Self::text("ERR no such key");
    pub const DATABASE_OUT_OF_RANGE: Self = Self::text("ERR DB index is out of range");
    pub const SAME_OBJECT: Self = Self::text("ERR source and destination objects are the same");
    pub const WRONG_TYPE: Self =
        Self::text("WRONGTYPE Operation against a key holding the wrong kind of value");

    pub const OVER_MAXMEMORY: Self =
        Self::text("OOM command not allowed when used memory > 'maxmemory'.");
    /// The system does not grant what the command needs.
    pub const NO_MEMORY: Self =
        Self::text("OOM command not allowed: it needs more memory than the system has left");
    pub const NO_MEMORY_FOR_REPLY: Self = Self::text(basalt_resp::NO_MEMORY_FOR_REPLY);

    pub const fn text(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }

    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// A text that quotes the client's input; as in Redis, up to the first NUL and without newlines
    /// at the text's end.
    pub fn quoting(before: &str, quoted: &[u8], after: &str) -> Self {
        let quoted = quoted.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut text = [before.as_bytes(), quoted, after.as_bytes()].concat();
        while text.pop_if(|last| matches!(last, b'\r' | b'\n')).is_some() {}
        Self::new(text)
    }

    /// As [`CommandError::quoting`], with two quotations between three parts.
    pub fn quoting_two(parts: [&str; 3], first: &[u8], second: &[u8]) -> Self {
        let cut =
            |quoted: &'_ [u8]| quoted.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        let [before, between, after] = parts.map(str::as_bytes);
        Self::new([before, &cut(first), between, &cut(second), after].concat())
    }

    /// The error for a wrong number of arguments. `name` is the row's name: a subcommand's has its
    /// container's as a prefix.
    pub fn wrong_arity(name: &str) -> Self {
        Self::new(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// The text without the `-`; for [`basalt_resp::Reply::error_bytes`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<NoMemory> for CommandError {
    fn from(_: NoMemory) -> Self {
        Self::NO_MEMORY_FOR_REPLY
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::fmt::Debug for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommandError({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EXPIRE key 1 "what\r\n"` on Valkey 9 shows that newlines are replaced.
    #[test]
    fn quoted_bytes_end_where_redis_ends_them() {
        let text =
            |quoted: &[u8], after| CommandError::quoting("ERR no ", quoted, after).to_string();
        assert_eq!(text(b"a\0b", "!"), "ERR no a!");
        assert_eq!(text(b"a\r\n\n", ""), "ERR no a");
        assert_eq!(text(b"\n", "!"), "ERR no \n!");
    }
}
