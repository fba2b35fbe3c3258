//! Counts and searches bits, in a whole string or in a part of it.

use std::ops::RangeInclusive;

use super::{ROW, bits};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::text_of;

const RANGE: Argument = Argument::block(
    "range",
    &[
        Argument::integer("start"),
        Argument::block(
            "end-unit-block",
            &[
                Argument::integer("end"),
                Argument::one_of(
                    "unit",
                    &[Argument::word("byte", "BYTE"), Argument::word("bit", "BIT")],
                )
                .optional(),
            ],
        )
        .optional(),
    ],
)
.optional();

/// A part of a string; negative ends count from the string's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: i64,
    /// `None`: to the end.
    end: Option<i64>,
    is_in_bits: bool,
}

const WHOLE: Part = Part { start: 0, end: None, is_in_bits: false };

impl Part {
    /// Parses `[start [end [BYTE|BIT]]]`.
    fn parse(args: &[&[u8]]) -> Result<Self, CommandError> {
        let unit = |word: &[u8]| match word.to_ascii_lowercase().as_slice() {
            b"bit" => Ok(true),
            b"byte" => Ok(false),
            _ => Err(CommandError::SYNTAX),
        };
        match *args {
            [] => Ok(WHOLE),
            [start] => Ok(Self { start: integer(start)?, ..WHOLE }),
            [start, end] => Ok(Self { start: integer(start)?, end: Some(integer(end)?), ..WHOLE }),
            [start, end, word] => {
                let start = integer(start)?;
                let is_in_bits = unit(word)?;
                Ok(Self { start, end: Some(integer(end)?), is_in_bits })
            }
            _ => Err(CommandError::SYNTAX),
        }
    }

    /// The bits of it in a string of `len` bytes; `None` if it is empty.
    fn bits(self, bytes: usize) -> Option<RangeInclusive<u64>> {
        let len = if self.is_in_bits { bytes as i64 * 8 } else { bytes as i64 };
        let from_start = |at: i64| if at < 0 { (len + at).max(0) } else { at };
        let start = from_start(self.start);
        let end = self.end.map_or(len - 1, from_start).min(len - 1);
        if start > end {
            return None;
        }
        let (start, end) = (start as u64, end as u64);
        Some(if self.is_in_bits { start..=end } else { start * 8..=end * 8 + 7 })
    }

    /// Whether both ends count from the string's end, and are in the wrong order. BITCOUNT checks
    /// this before it clamps them: otherwise both might become 0, and the first byte be counted.
    fn is_backwards(self) -> bool {
        self.end.is_some_and(|end| self.start < 0 && end < 0 && self.start > end)
    }
}

pub(super) const BITCOUNT: Command = Command {
    name: "bitcount",
    since: "2.6.0",
    summary: "Counts the bits that are set in a string, or in a range of it.",
    complexity: "O(N) for N bytes looked at",
    arity: -2,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, RANGE],
    run: Run::Shard(bitcount),
    shows: r#"> SET word foobar
OK
> BITCOUNT word
(integer) 26
> BITCOUNT word 1 1
(integer) 6
> BITCOUNT word -2 -1 BYTE
(integer) 7
> BITCOUNT word 5 30 BIT
(integer) 17
> BITCOUNT absent
(integer) 0
> BITCOUNT word 0 1 NIBBLE
(error) ERR syntax error
"#,
    ..ROW
};

fn bitcount(call: &mut Call<'_>) -> Outcome {
    let part = Part::parse(&call.args[2..])?;
    let entry = call.keyspace.read(call.database, &call.key);
    let mut digits = itoa::Buffer::new();
    let text = text_of(entry.as_deref(), &mut digits)?;
    let range = part.bits(text.len()).filter(|_| !part.is_backwards());
    call.reply.integer(range.map_or(0, |range| bits::count(text, &range) as i64));
    Ok(())
}

pub(super) const BITPOS: Command = Command {
    name: "bitpos",
    since: "2.8.7",
    summary: "Returns the position of the first bit that is set, or clear, in a string or in a range of it.",
    complexity: "O(N) for N bytes looked at",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::integer("bit"), RANGE],
    run: Run::Shard(bitpos),
    shows: r#"> SET row "\xff\xf0\x00"
OK
> BITPOS row 0
(integer) 12
> BITPOS row 1 2
(integer) -1
> BITPOS row 1 3 -1 BIT
(integer) 3
> SET full "\xff\xff"
OK
> BITPOS full 0
(integer) 16
> BITPOS full 0 0 -1
(integer) -1
> BITPOS absent 0
(integer) 0
> BITPOS absent 1
(integer) -1
> BITPOS row 2
(error) ERR The bit argument must be 1 or 0.
"#,
    ..ROW
};

fn bitpos(call: &mut Call<'_>) -> Outcome {
    let wanted = match integer(call.args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    let part = Part::parse(&call.args[3..])?;
    let entry = call.keyspace.read(call.database, &call.key);
    let mut digits = itoa::Buffer::new();
    let text = text_of(entry.as_deref(), &mut digits)?;
    let found = match (&entry, part.bits(text.len())) {
        // A missing key is an infinite string of zeros.
        (None, _) => (!wanted).then_some(0),
        (Some(_), None) => None,
        (Some(_), Some(range)) => bits::find(text, wanted, &range)
            // After a string whose end was not given there are zeros.
            .or_else(|| (!wanted && part.end.is_none()).then(|| range.end() + 1)),
    };
    call.reply.integer(found.map_or(-1, |at| at as i64));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_and_clamped() {
        let part = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            Part::parse(&args)
        };
        let bits = |line| part(line).unwrap().bits(4);
        assert_eq!(bits(""), Some(0..=31));
        assert_eq!(bits("1"), Some(8..=31));
        assert_eq!(bits("-1 100"), Some(24..=31));
        assert_eq!(bits("-100 -4 byte"), Some(0..=7));
        assert_eq!(bits("3 -2 Bit"), Some(3..=30));
        assert_eq!(bits("-9223372036854775808 9223372036854775807 BIT"), Some(0..=31));
        assert_eq!((bits("4"), bits("2 1")), (None, None));
        assert_eq!(part("0 0 BIT").unwrap().bits(0), None);
        assert!(part("-1 -2").unwrap().is_backwards() && !part("-2 -1").unwrap().is_backwards());
        assert_eq!(part("a x y"), Err(CommandError::NOT_INTEGER));
        assert_eq!(part("0 x y"), Err(CommandError::SYNTAX));
        assert_eq!(part("0 1 bit bit"), Err(CommandError::SYNTAX));
    }
}
