//! BITOP: strings combined bit by bit.

use std::borrow::Cow;

use basalt_keyspace::{Cause, Content, DatabaseId, Effect, Entry, Key, Keyspace, LongString};
use smallvec::SmallVec;

use super::ROW;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::TravellingText;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys, Settings};

pub(super) const BITOP: Command = Command {
    name: "bitop",
    since: "2.6.0",
    summary: "Combines strings bit by bit and stores the result; shorter strings count as padded with zeros.",
    complexity: "O(N) for N bytes in all strings",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[
        KeySpec::at(2, &["OW", "update"]),
        KeySpec { first: 3, ..KeySpec::all(1, &["RO", "access"]) },
    ],
    arguments: &[
        Argument::one_of(
            "operation",
            &[
                Argument::word("and", "AND"),
                Argument::word("or", "OR"),
                Argument::word("xor", "XOR"),
                Argument::word("not", "NOT"),
                Argument::word("diff", "DIFF"),
                Argument::word("diff1", "DIFF1"),
                Argument::word("andor", "ANDOR"),
                Argument::word("one", "ONE"),
            ],
        ),
        Argument::key("destkey", 0),
        Argument::key("key", 1).multiple(),
    ],
    run: Run::Many(&const { ManyKeys::of::<BitOpOver>().with_whole(bitop) }),
    shows: r#"> MSET a foobar b abcdef
OK
> BITOP AND both a b
(integer) 6
> GET both
"`bc`ab"
> BITOP NOT other a
(integer) 6
> BITOP XOR nothing absent
(integer) 0
> BITOP NOT other a b
(error) ERR BITOP NOT must be called with a single source key.
@only ours
> BITOP DIFF first a b
(integer) 6
> GET first
"\x06\r\x0c\x02\x00\x10"
> BITOP ONE odd a b
(integer) 6
> BITOP ANDOR none a
(error) ERR BITOP ANDOR must be called with at least two source keys.
"#,
    ..ROW
};

/// The operation on bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BitOp {
    And,
    Or,
    Xor,
    Not,
    /// In the first string and in none of the others.
    Diff,
    /// In at least one of the others, and not in the first.
    Diff1,
    /// In the first and in at least one of the others.
    AndOr,
    /// In exactly one.
    One,
}

const NAMES: &[(&str, BitOp)] = &[
    ("AND", BitOp::And),
    ("OR", BitOp::Or),
    ("XOR", BitOp::Xor),
    ("NOT", BitOp::Not),
    ("DIFF", BitOp::Diff),
    ("DIFF1", BitOp::Diff1),
    ("ANDOR", BitOp::AndOr),
    ("ONE", BitOp::One),
];

/// Parses the operation, and checks that the number of keys is valid for it.
pub(super) fn parse_bitop(args: &[&[u8]]) -> Result<BitOp, CommandError> {
    let found = NAMES.iter().find(|(name, _)| args[1].eq_ignore_ascii_case(name.as_bytes()));
    let Some(&(name, operation)) = found else { return Err(CommandError::SYNTAX) };
    let source_count = args.len() - 3;
    match operation {
        BitOp::Not if source_count != 1 => {
            Err(CommandError::text("ERR BITOP NOT must be called with a single source key."))
        }
        BitOp::Diff | BitOp::Diff1 | BitOp::AndOr if source_count < 2 => {
            let text = format!("ERR BITOP {name} must be called with at least two source keys.");
            Err(CommandError::new(text))
        }
        _ => Ok(operation),
    }
}

/// Strings are combined in pieces of so many bytes, which stay in the first cache while all sources pass.
const PIECE_BYTES: usize = 8 << 10;

impl BitOp {
    /// The strings combined: as long as the longest of them. There is one of them at least.
    ///
    /// # Errors
    /// Where there is no memory for the result.
    pub(super) fn combine(self, sources: &[&[u8]]) -> Result<LongString, CommandError> {
        let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        let mut result = LongString::default();
        result.try_reserve(len, len).map_err(|_| CommandError::NO_MEMORY)?;
        result.prefer_large_pages();
        let mut parts: SmallVec<[&[u8]; 16]> = SmallVec::new();
        let (mut piece, mut scratch) =
            (vec![0; PIECE_BYTES.min(len)], vec![0; PIECE_BYTES.min(len)]);
        for start in (0..len).step_by(PIECE_BYTES) {
            let end = len.min(start + PIECE_BYTES);
            parts.clear();
            parts.extend(
                sources.iter().map(|text| &text[text.len().min(start)..text.len().min(end)]),
            );
            let piece = &mut piece[..end - start];
            piece.fill(0);
            self.combine_piece(&parts, piece, &mut scratch[..end - start]);
            result.push(piece);
        }
        Ok(result)
    }

    /// Combines parts of strings, none of them longer than the piece, which is all zeros.
    fn combine_piece(self, sources: &[&[u8]], piece: &mut [u8], scratch: &mut [u8]) {
        let (first, others) = sources.split_first().expect("because BITOP has a source");
        match self {
            Self::And => {
                piece[..first.len()].copy_from_slice(first);
                let shortest = others.iter().map(|other| other.len()).min();
                let (head, tail) = piece.split_at_mut(shortest.unwrap_or(piece.len()));
                merge_all(head, others, |a, b| a & b);
                tail.fill(0);
            }
            Self::Or => any_of(sources, piece),
            Self::Xor => {
                merge_all(piece, sources, |a, b| a ^ b);
            }
            Self::Not => {
                piece.fill(0xff);
                merge(piece, first, |_, b| !b);
            }
            Self::Diff => {
                any_of(others, scratch_of(scratch));
                piece[..first.len()].copy_from_slice(first);
                merge(piece, scratch, |a, b| a & !b);
            }
            Self::Diff1 => {
                any_of(others, piece);
                merge(piece, first, |a, b| a & !b);
            }
            Self::AndOr => {
                any_of(others, scratch_of(scratch));
                piece[..first.len()].copy_from_slice(first);
                merge(piece, scratch, |a, b| a & b);
            }
            Self::One => {
                let twice = scratch_of(scratch);
                for source in sources {
                    let pairs = piece.iter_mut().zip(twice.iter_mut()).zip(*source);
                    pairs.for_each(|((once, twice), byte): ((&mut u8, &mut u8), &u8)| {
                        *twice |= *once & byte;
                        *once |= byte;
                    });
                }
                merge(piece, twice, |a, b| a & !b);
            }
        }
    }
}

/// The scratch space, all zeros.
fn scratch_of(scratch: &mut [u8]) -> &mut [u8] {
    scratch.fill(0);
    scratch
}

fn any_of(sources: &[&[u8]], any: &mut [u8]) {
    merge_all(any, sources, |a, b| a | b);
}

/// So many strings are combined in one pass over the result, which saves reading and writing that for each.
const SOURCES_AT_ONCE: usize = 4;

/// Combines bytes with those of other strings one after the other, each up to the shorter length.
fn merge_all(into: &mut [u8], others: &[&[u8]], combine: impl Fn(u8, u8) -> u8 + Copy) {
    for group in others.chunks(SOURCES_AT_ONCE) {
        let len = into.len();
        let [a, b, c, d] = *group else {
            group.iter().for_each(|other| merge(into, other, combine));
            continue;
        };
        if group.iter().any(|other| other.len() < len) {
            group.iter().for_each(|other| merge(into, other, combine));
            continue;
        }
        // Of one length, so that the loop needs no checks.
        let (a, b, c, d) = (&a[..len], &b[..len], &c[..len], &d[..len]);
        for at in 0..len {
            let first = combine(combine(into[at], a[at]), b[at]);
            into[at] = combine(combine(first, c[at]), d[at]);
        }
    }
}

/// Combines bytes with those of another string, up to the shorter length.
fn merge(into: &mut [u8], other: &[u8], combine: impl Fn(u8, u8) -> u8) {
    into.iter_mut().zip(other).for_each(|(own, other)| *own = combine(*own, *other));
}

/// Results up to here lie in their entry's block.
const INLINE_BYTES: usize = 1 << 10;

/// Has the destination hold the result, or nothing if it is empty.
fn store(keyspace: &mut Keyspace, id: DatabaseId, key: &Key<'_>, result: LongString) {
    if result.len() > INLINE_BYTES {
        return keyspace.put_text(id, key, result);
    }
    let edit = keyspace.edit(id, key);
    let effect = if result.is_empty() {
        Effect::Remove { cause: Cause::Deleted }
    } else {
        Effect::SetString { value: &result, expire_at_ms: None, changed: true }
    };
    edit.commit(effect);
}

/// BITOP over shards: the strings travel, long ones as they lie.
struct BitOpOver;

const TARGET: usize = 0;

impl OverKeys for BitOpOver {
    type Found = Result<TravellingText, CommandError>;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_bitop(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        // BITOP doesn't look at what it overwrites.
        if key.index == TARGET {
            return Ok(TravellingText::Copied(Vec::new()));
        }
        let entry = key.keyspace.read(key.database, &key.key);
        TravellingText::of(entry.as_deref())
    }

    fn decide(found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        let operation = parse_bitop(decision.args)?;
        let sources: Vec<TravellingText> = found.into_iter().skip(1).collect::<Result<_, _>>()?;
        let sources: Vec<&[u8]> = sources.iter().map(|text| &**text).collect();
        let result = operation.combine(&sources)?;
        decision.reply.integer(result.len() as i64);
        decision.write(TARGET, move |keyspace, id, key| store(keyspace, id, key, result));
        Ok(())
    }
}

/// A string as it lies, or the digits of an integer.
fn text_of(entry: &Entry) -> Result<Cow<'_, [u8]>, CommandError> {
    match entry.content().ok_or(CommandError::WRONG_TYPE)? {
        Content::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        Content::Integer(value) => Ok(Cow::Owned(value.to_string().into_bytes())),
    }
}

/// BITOP where all keys are on one shard: nothing is copied but the result.
fn bitop(call: &mut Call<'_>) -> Outcome {
    let operation = parse_bitop(call.args)?;
    let keys: SmallVec<[Key<'_>; 16]> =
        call.args[3..].iter().map(|name| call.keyspace.key(name)).collect();
    for key in &keys {
        call.keyspace.read(call.database, key);
    }
    let result = {
        let entries: Vec<_> =
            keys.iter().map(|key| call.keyspace.peek(call.database, key)).collect();
        let texts = entries.iter().map(|entry| match entry {
            Some(entry) => text_of(entry),
            None => Ok(Cow::Borrowed(&[][..])),
        });
        let texts: Vec<Cow<'_, [u8]>> = texts.collect::<Result<_, _>>()?;
        let texts: SmallVec<[&[u8]; 16]> = texts.iter().map(|text| &**text).collect();
        operation.combine(&texts)?
    };
    call.reply.integer(result.len() as i64);
    store(call.keyspace, call.database, &call.key, result);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of an operation for one bit, from the bits of all sources.
    fn plain(operation: BitOp, bits: &[bool]) -> bool {
        let (first, any_other) = (bits[0], bits[1..].contains(&true));
        match operation {
            BitOp::And => !bits.contains(&false),
            BitOp::Or => bits.contains(&true),
            BitOp::Xor => bits.iter().filter(|bit| **bit).count() % 2 == 1,
            BitOp::Not => !first,
            BitOp::Diff => first && !any_other,
            BitOp::Diff1 => !first && any_other,
            BitOp::AndOr => first && any_other,
            BitOp::One => bits.iter().filter(|bit| **bit).count() == 1,
        }
    }

    #[test]
    fn operations_combine_as_bit_by_bit() {
        let text = |seed: usize, len: usize| -> Vec<u8> {
            (0..len).map(|at| (at * 31 + seed * 77 + at * at * seed) as u8).collect()
        };
        let lens = [
            vec![5],
            vec![0],
            vec![9, 3],
            vec![3, 9],
            vec![0, 4],
            vec![7, 40, 33, 0, 40],
            vec![40; 10],
            vec![33, 40, 40, 40, 40, 40, 40, 39, 40],
        ];
        for lens in lens {
            let texts: Vec<_> = lens.iter().enumerate().map(|(n, len)| text(n, *len)).collect();
            let sources: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let len = lens.iter().copied().max().unwrap();
            for &(name, operation) in NAMES {
                if operation == BitOp::Not && sources.len() > 1 {
                    continue;
                }
                let result = operation.combine(&sources).expect("there is memory");
                assert_eq!(result.len(), len, "{name} {lens:?}");
                for at in 0..len * 8 {
                    let bit = |text: &[u8]| {
                        text.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
                    };
                    let bits: Vec<bool> = sources.iter().map(|source| bit(source)).collect();
                    assert_eq!(bit(&result), plain(operation, &bits), "{name} {lens:?} at {at}");
                }
            }
        }
    }

    #[test]
    fn operations_want_enough_sources() {
        let parse = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            parse_bitop(&args).map_err(|error| error.to_string())
        };
        assert_eq!(parse("bitop aNd d a"), Ok(BitOp::And));
        assert_eq!(parse("bitop diff1 d a b"), Ok(BitOp::Diff1));
        let few = "ERR BITOP ANDOR must be called with at least two source keys.";
        assert_eq!(parse("bitop andor d a"), Err(few.to_owned()));
        let many = "ERR BITOP NOT must be called with a single source key.";
        assert_eq!(parse("bitop not d a b"), Err(many.to_owned()));
        assert_eq!(parse("bitop nand d a"), Err("ERR syntax error".to_owned()));
    }
}
