//! Digests: strings compared by their hash, without sending them.
//!
//! The hash is XXH3 with 64 bits, as 16 hexadecimal digits; clients compute it too.

use basalt_keyspace::{Content, Entry};
use twox_hash::XxHash3_64;

use super::{ROW, content, holds, remove};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const DIGEST: Command = Command {
    name: "digest",
    since: "8.4.0",
    summary: "Returns the hash of a string.",
    complexity: "O(N) for N bytes",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(digest),
    shows: r#"@only ours
> SET key value
OK
> DIGEST key
"87d57e269b9df0f0"
> DIGEST absent
(nil)
"#,
    ..ROW
};

fn digest(call: &mut Call<'_>) -> Outcome {
    match call.keyspace.read(call.database, &call.key) {
        Some(entry) => call.reply.bulk(format!("{:016x}", hash(&entry)?).as_bytes()),
        None => call.reply.null(),
    }
    Ok(())
}

fn hash(entry: &Entry) -> Result<u64, CommandError> {
    Ok(match content(entry)? {
        Content::Bytes(bytes) => XxHash3_64::oneshot(bytes),
        Content::Integer(value) => {
            XxHash3_64::oneshot(itoa::Buffer::new().format(value).as_bytes())
        }
    })
}

/// A comparison of a key's string, by itself or by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison<'a> {
    Equal(&'a [u8]),
    NotEqual(&'a [u8]),
    DigestEqual(u64),
    DigestNotEqual(u64),
}

impl Comparison<'_> {
    pub(super) fn is_met_by(self, entry: &Entry) -> Result<bool, CommandError> {
        Ok(match self {
            Self::Equal(text) => holds(entry, text)?,
            Self::NotEqual(text) => !holds(entry, text)?,
            Self::DigestEqual(digest) => hash(entry)? == digest,
            Self::DigestNotEqual(digest) => hash(entry)? != digest,
        })
    }
}

/// Parses a digest: 16 hexadecimal digits in either case.
pub(super) fn parse_digest(text: &[u8]) -> Result<u64, CommandError> {
    let digits =
        Some(text).filter(|text| text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(CommandError::text("ERR must be exactly 16 hexadecimal characters"))
}

pub(super) const DELEX: Command = Command {
    name: "delex",
    since: "8.4.0",
    summary: "Removes a key, optionally only if its string passes a comparison.",
    complexity: "O(1); O(N) for N bytes where digests are compared",
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RM", "delete"])],
    arguments: &[
        Argument::KEY,
        Argument::one_of(
            "condition",
            &[
                Argument::string("ifeq-value").after("IFEQ"),
                Argument::string("ifne-value").after("IFNE"),
                Argument::string("ifdeq-digest").after("IFDEQ"),
                Argument::string("ifdne-digest").after("IFDNE"),
            ],
        )
        .optional(),
    ],
    run: Run::Shard(delex),
    shows: r#"@only ours
> SET lock mine
OK
> DELEX lock IFEQ yours
(integer) 0
> DELEX lock IFNE mine
(integer) 0
> DELEX lock IFEQ mine
(integer) 1
> SET key value
OK
> DELEX key IFDNE 87d57e269b9df0f0
(integer) 0
> DELEX key IFDEQ 87D57E269B9DF0F0
(integer) 1
> SET key value
OK
> DELEX key
(integer) 1
> DELEX key IFDNE 0000000000000000
(integer) 0
> DELEX key IFDEQ 87d5
(error) ERR must be exactly 16 hexadecimal characters
> DELEX key IFDEQ
(error) ERR wrong number of arguments for 'delex' command
> DELEX key IFGT 5
(error) ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
"#,
    ..ROW
};

fn delex(call: &mut Call<'_>) -> Outcome {
    let comparison = match call.args[2..] {
        [] => None,
        [word, value] => Some(match word.to_ascii_lowercase().as_slice() {
            b"ifeq" => Comparison::Equal(value),
            b"ifne" => Comparison::NotEqual(value),
            b"ifdeq" => Comparison::DigestEqual(parse_digest(value)?),
            b"ifdne" => Comparison::DigestNotEqual(parse_digest(value)?),
            _ => {
                let text = "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE";
                return Err(CommandError::text(text));
            }
        }),
        _ => return Err(CommandError::wrong_arity(DELEX.name)),
    };
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_removed = match (edit.entry(), comparison) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(entry), Some(comparison)) => comparison.is_met_by(&entry).map_err(|_| {
            CommandError::text("ERR Key should be of string type if conditions are specified")
        })?,
    };
    if is_removed {
        remove(edit);
    }
    call.reply.integer(i64::from(is_removed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_sixteen_digits() {
        assert_eq!(parse_digest(b"00006C38adf31777"), Ok(0x6c38_adf3_1777));
        for text in [&b""[..], b"6c38adf31777", b"+0006c38adf31777", b"g0006c38adf31777"] {
            assert!(parse_digest(text).is_err(), "{text:?}");
        }
    }

    /// The example of Redis' issue 14496.
    #[test]
    fn the_hash_is_redis() {
        let text =
            b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2k\
                     wlj7626sd";
        let entry = Entry::string(b"k", text, None, 0);
        assert_eq!(format!("{:016x}", hash(&entry).expect("it is a string")), "00006c38adf31777");
        assert_eq!(
            hash(&Entry::integer(b"k", -12, None, 0)),
            hash(&Entry::string(b"k", b"-12", None, 0))
        );
    }
}
