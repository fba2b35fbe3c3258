//! Known differences between servers, as data: what differs, between which servers, and why it is
//! not our fault.
//!
//! A difference that is not listed here is a failure.

use crate::process::Program;
use basalt_resp::Value;

/// A difference that is allowed.
pub struct Allowed {
    /// One of the two servers must be this one.
    pub program: Program,
    /// The command's name; `*` is any command.
    pub command: &'static str,
    pub why: &'static str,
    /// A closer check: request, the reply of `program`, the other reply.
    pub applies: fn(&[Vec<u8>], &Value, &Value) -> bool,
}

pub const ALLOWED: &[Allowed] = &[
    Allowed {
        program: Program::Redis7,
        command: "*",
        why: "Redis 7 calls a time negative that is too far away to be counted",
        applies: |_, redis, other| {
            begins(redis, "ERR timeout is negative") && begins(other, "ERR timeout is out of range")
        },
    },
    Allowed {
        program: Program::Redis7,
        command: "hscan",
        why: "Redis 7 knows no NOVALUES",
        applies: |_, redis, _| is_error(redis),
    },
    Allowed {
        program: Program::Redis7,
        command: "lrem",
        why: "Redis 7 takes the one count that has no negative",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "lpos",
        why: "Redis 7 takes the one rank that has no negative",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zrank",
        why: "Redis 7 knows no WITHSCORE",
        applies: |request, redis, _| is_error(redis) && request.len() > 3,
    },
    Allowed {
        program: Program::Redis7,
        command: "zrevrank",
        why: "Redis 7 knows no WITHSCORE",
        applies: |request, redis, _| is_error(redis) && request.len() > 3,
    },
    Allowed {
        program: Program::Valkey9,
        command: "object",
        why: "Valkey 9 makes a quicklist before it knows whether the long element is added at all, \
              and a key that moved keeps its large form where ours is packed again",
        applies: |_, valkey, other| {
            let name = |value: &Value| match value {
                Value::Bulk(name) => name.clone(),
                _ => Vec::new(),
            };
            // From the smallest to the largest.
            let size = |value: &Value| match name(value).as_slice() {
                b"intset" => Some(0),
                b"listpack" => Some(1),
                b"quicklist" | b"hashtable" | b"skiplist" => Some(2),
                _ => None,
            };
            size(other).is_some() && size(valkey) > size(other)
        },
    },
    Allowed {
        program: Program::Valkey9,
        command: "hgetex",
        why: "Valkey 9 takes a key named FIELDS for the word",
        applies: |request, _, other| {
            is_error(other) && request.get(1).is_some_and(|key| key.eq_ignore_ascii_case(b"fields"))
        },
    },
    Allowed {
        program: Program::Valkey9,
        command: "hsetex",
        why: "Valkey 9 takes a key named FIELDS for the word",
        applies: |request, _, other| {
            is_error(other) && request.get(1).is_some_and(|key| key.eq_ignore_ascii_case(b"fields"))
        },
    },
    Allowed {
        program: Program::Redis7,
        command: "object",
        why: "Redis 7 packs neither lists nor sets",
        applies: |request, _, _| {
            request.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"encoding"))
        },
    },
    Allowed {
        program: Program::Redis7,
        command: "object",
        why: "Redis 7 has each small number once: a key that is new is idle as long as its number was",
        applies: |request, redis, other| {
            let asks = request.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"idletime"));
            asks && matches!((redis, other), (Value::Integer(_), Value::Integer(_)))
        },
    },
    Allowed {
        program: Program::Redis7,
        command: "zadd",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zincrby",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zcount",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zrange",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zrangebyscore",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zrevrangebyscore",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zremrangebyscore",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zunion",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zinter",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zunionstore",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "zinterstore",
        why: "Redis 7 takes hexadecimal numbers for scores",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "xread",
        why: "Redis 7 names the command otherwise, and knows no + for an ID",
        applies: |_, redis, _| is_error(redis),
    },
    Allowed {
        program: Program::Redis7,
        command: "xreadgroup",
        why: "Redis 7 names the command otherwise, and knows no + for an ID",
        applies: |_, redis, _| is_error(redis),
    },
    Allowed {
        program: Program::Redis7,
        command: "scan",
        why: "Redis 7 takes a cursor for a number that Valkey refuses, and any word for a type",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "getex",
        why: "Redis 7 looks for the key before it looks at the time",
        applies: |_, redis, other| (*redis == Value::Null || is_error(redis)) && is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "bitcount",
        why: "Redis 7 looks for the key before it looks at the range, and takes no start without an end",
        applies: |_, redis, other| is_error(redis) || is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "bitpos",
        why: "Redis 7 looks for the key before it looks at the range",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "dbsize",
        why: "Redis 7 stores a value whose time is already over, and counts it until it meets it",
        applies: |_, redis, other| match (redis, other) {
            (Value::Integer(redis), Value::Integer(other)) => redis > other,
            _ => false,
        },
    },
    Allowed {
        program: Program::Valkey9,
        command: "dbsize",
        why: "Valkey 9's MSETEX stores values whose time is already over, and counts them until it meets them",
        applies: |_, valkey, other| match (valkey, other) {
            (Value::Integer(valkey), Value::Integer(other)) => valkey > other,
            _ => false,
        },
    },
    Allowed {
        program: Program::Redis7,
        command: "client",
        why: "Redis 7 takes the name from a HELLO whose later options are wrong",
        applies: |request, _, _| {
            request.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"getname"))
        },
    },
    Allowed {
        program: Program::Redis7,
        command: "command",
        why: "Redis 7 counts the arguments of COMMAND GETKEYS before it looks at the command in them",
        applies: |_, redis, other| is_error(redis) && is_error(other),
    },
    Allowed {
        program: Program::Redis7,
        command: "object",
        why: "Redis 7 has no packed encoding for sets",
        applies: |_, redis, other| is_bulk(redis, "hashtable") && is_bulk(other, "listpack"),
    },
    Allowed {
        program: Program::Valkey9,
        command: "object",
        why: "Valkey 9 embeds a string by the size of key and value together, Redis up to 44 bytes",
        applies: |_, valkey, other| {
            [valkey, other].iter().all(|value| is_bulk(value, "embstr") || is_bulk(value, "raw"))
        },
    },
    Allowed {
        program: Program::Valkey9,
        command: "xinfo",
        why: "Valkey 9 counts what was trimmed away among what a group has still to read",
        applies: |_, valkey, other| without_lag(valkey) == without_lag(other),
    },
    Allowed {
        program: Program::Valkey9,
        command: "*",
        why: "Valkey 9 takes a cursor with a blank or a sign before it or a zero byte after it",
        applies: |request, _, other| {
            let at = match request[0].to_ascii_lowercase().as_slice() {
                b"scan" => 1,
                b"hscan" | b"sscan" | b"zscan" => 2,
                _ => return false,
            };
            is_error(other) && request.get(at).is_some_and(|at| !at.iter().all(u8::is_ascii_digit))
        },
    },
    Allowed {
        program: Program::Valkey9,
        command: "*",
        why: "Valkey's error texts quote an argument only up to its first zero byte",
        applies: |request, valkey, other| {
            is_error(valkey) && is_error(other) && request.iter().any(|word| word.contains(&0))
        },
    },
];

/// Allowed differences after which the two servers hold different data: the run ends there.
pub const PARTING: &[Allowed] = &[
    Allowed {
        program: Program::Valkey9,
        command: "lset",
        why: "Valkey 9 takes an index beyond 32 bits for what is left of it in them",
        applies: |_, _, other| is_error(other),
    },
    Allowed {
        program: Program::Valkey9,
        command: "*",
        why: "of a sketch that was written into, Valkey 9 notices less",
        applies: |_, valkey, other| !is_error(valkey) && begins(other, "INVALIDOBJ"),
    },
    Allowed {
        program: Program::Valkey9,
        command: "xautoclaim",
        why: "Valkey 9 asks for memory for as many as COUNT says, however few there are",
        applies: |_, valkey, _| begins(valkey, "ERR Insufficient memory"),
    },
    Allowed {
        program: Program::Redis7,
        command: "geoadd",
        why: "Redis 7 takes hexadecimal numbers for degrees",
        applies: |_, _, other| is_error(other),
    },
];

/// XINFO GROUPS' reply without the lag.
fn without_lag(value: &Value) -> Value {
    let is_lag = |name: &Value| is_bulk(name, "lag");
    match value {
        Value::Array(items) => {
            let is_value = |at: usize| at > 0 && is_lag(&items[at - 1]);
            let kept = (0..items.len()).filter(|&at| !is_value(at));
            Value::Array(kept.map(|at| without_lag(&items[at])).collect())
        }
        Value::Map(pairs) => {
            let kept = pairs.iter().filter(|(name, _)| !is_lag(name));
            Value::Map(kept.cloned().collect())
        }
        other => other.clone(),
    }
}

fn begins(value: &Value, text: &str) -> bool {
    matches!(value, Value::Error(error) if error.starts_with(text.as_bytes()))
}

fn is_error(value: &Value) -> bool {
    matches!(value, Value::Error(_))
}

fn is_bulk(value: &Value, text: &str) -> bool {
    value.as_bytes() == Some(text.as_bytes())
}

impl Allowed {
    pub fn covers(&self, request: &[Vec<u8>], of_program: &Value, other: &Value) -> bool {
        let name = request.first().map_or(&b""[..], Vec::as_slice);
        (self.command == "*" || name.eq_ignore_ascii_case(self.command.as_bytes()))
            && (self.applies)(request, of_program, other)
    }
}
