//! BITOP: strings combined bit by bit.

use basalt_keyspace::{Cause, Effect};

use super::ROW;
use crate::argument::Argument;
use crate::command::{Command, Flags, KeySpec, Run, Verb};
use crate::error::CommandError;

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
    run: Run::Engine(Verb::BitOp),
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
pub enum BitOp {
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
pub fn parse_bitop(args: &[&[u8]]) -> Result<BitOp, CommandError> {
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

impl BitOp {
    /// The strings combined, with the length of the longest. There must be at least one.
    pub fn combine(self, sources: &[&[u8]]) -> Vec<u8> {
        let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        let (first, others) = sources.split_first().expect("because BITOP has a source");
        match self {
            Self::And => {
                let mut all = padded(first, len);
                for other in others {
                    let (head, tail) = all.split_at_mut(other.len());
                    merge(head, other, |a, b| a & b);
                    tail.fill(0);
                }
                all
            }
            Self::Or => any_of(sources, len),
            Self::Xor => {
                let mut odd = padded(first, len);
                others.iter().for_each(|other| merge(&mut odd, other, |a, b| a ^ b));
                odd
            }
            Self::Not => first.iter().map(|byte| !byte).collect(),
            Self::Diff => {
                let mut difference = padded(first, len);
                merge(&mut difference, &any_of(others, len), |a, b| a & !b);
                difference
            }
            Self::Diff1 => {
                let mut difference = any_of(others, len);
                merge(&mut difference, first, |a, b| a & !b);
                difference
            }
            Self::AndOr => {
                let mut all = padded(first, len);
                merge(&mut all, &any_of(others, len), |a, b| a & b);
                all
            }
            Self::One => {
                let (mut once, mut twice) = (vec![0; len], vec![0; len]);
                for source in sources {
                    let pairs = once.iter_mut().zip(&mut twice).zip(*source);
                    pairs.for_each(|((once, twice), byte): ((&mut u8, &mut u8), &u8)| {
                        *twice |= *once & byte;
                        *once |= byte;
                    });
                }
                merge(&mut once, &twice, |a, b| a & !b);
                once
            }
        }
    }
}

fn padded(text: &[u8], len: usize) -> Vec<u8> {
    let mut padded = Vec::with_capacity(len);
    padded.extend_from_slice(text);
    padded.resize(len, 0);
    padded
}

fn any_of(sources: &[&[u8]], len: usize) -> Vec<u8> {
    let mut any = padded(sources.first().copied().unwrap_or_default(), len);
    sources.iter().skip(1).for_each(|source| merge(&mut any, source, |a, b| a | b));
    any
}

/// Combines bytes with those of another string, up to the shorter length.
fn merge(into: &mut [u8], other: &[u8], combine: impl Fn(u8, u8) -> u8) {
    into.iter_mut().zip(other).for_each(|(own, other)| *own = combine(*own, *other));
}

/// What BITOP writes to its destination.
pub fn bitop_effect(result: &[u8]) -> Effect<'_> {
    if result.is_empty() {
        Effect::Remove { cause: Cause::Deleted }
    } else {
        Effect::SetString { value: result, expire_at_ms: None, changed: true }
    }
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
        for lens in [vec![5], vec![0], vec![9, 3], vec![3, 9], vec![0, 4], vec![7, 40, 33, 0, 40]] {
            let texts: Vec<_> = lens.iter().enumerate().map(|(n, len)| text(n, *len)).collect();
            let sources: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let len = lens.iter().copied().max().unwrap();
            for &(name, operation) in NAMES {
                if operation == BitOp::Not && sources.len() > 1 {
                    continue;
                }
                let result = operation.combine(&sources);
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
