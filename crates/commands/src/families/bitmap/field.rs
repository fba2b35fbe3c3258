//! Fields: integers of any width at any offset of a string.

use basalt_keyspace::{Effect, Encoding, event};

use super::bits::{FIELD_BYTES_MAX, Field};
use super::{ROW, offset_within};
use crate::args::{Grammar, integer, three_values, two_values, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Access, Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::text_of;
use crate::memory::check_growth;

const ENCODING: Argument = Argument::string("encoding");
const OFFSET: Argument = Argument::integer("offset");
const GET_PARTS: &[Argument] = &[ENCODING, OFFSET];

pub(super) const BITFIELD: Command = Command {
    name: "bitfield",
    since: "3.2.0",
    summary: "Reads, sets and increments integers of any width at any offset of a string.",
    complexity: "O(1) for each operation",
    arity: -2,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "access", "update", "variable_flags"])
        .because("This command allows both access and modification of the key")
        .varying(access)],
    arguments: &[
        Argument::KEY,
        Argument::one_of(
            "operation",
            &[
                Argument::block("get-block", GET_PARTS).after("GET"),
                Argument::block(
                    "write",
                    &[
                        Argument::one_of(
                            "overflow-block",
                            &[
                                Argument::word("wrap", "WRAP"),
                                Argument::word("sat", "SAT"),
                                Argument::word("fail", "FAIL"),
                            ],
                        )
                        .after("OVERFLOW")
                        .optional(),
                        Argument::one_of(
                            "write-operation",
                            &[
                                Argument::block(
                                    "set-block",
                                    &[ENCODING, OFFSET, Argument::integer("value")],
                                )
                                .after("SET"),
                                Argument::block(
                                    "incrby-block",
                                    &[ENCODING, OFFSET, Argument::integer("increment")],
                                )
                                .after("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .multiple()
        .optional(),
    ],
    run: Run::Shard(bitfield),
    shows: r#"> BITFIELD players SET u8 #0 200 INCRBY u8 #0 30 GET i4 4
1) (integer) 0
2) (integer) 230
3) (integer) 6
> BITFIELD players OVERFLOW SAT INCRBY u8 #0 100 OVERFLOW FAIL INCRBY u8 #0 1
1) (integer) 255
2) (nil)
> BITFIELD players INCRBY u8 #0 2
1) (integer) 1
> BITFIELD players GET u64 0
(error) ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
"#,
    ..ROW
};

pub(super) const BITFIELD_RO: Command = Command {
    name: "bitfield_ro",
    since: "6.0.0",
    summary: "Reads integers of any width at any offset of a string.",
    complexity: "O(1) for each operation",
    arity: -2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::block("get-block", GET_PARTS).after("GET").optional().repeating_token(),
    ],
    run: Run::Shard(bitfield_ro),
    shows: r#"> SET letter a
OK
> BITFIELD_RO letter GET u8 0 GET i4 1
1) (integer) 97
2) (integer) -4
> BITFIELD_RO letter SET u8 0 98
(error) ERR BITFIELD_RO only supports the GET subcommand
"#,
    ..ROW
};

/// The handling of a number that a field cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// One operation on one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    field: Field,
    is_signed: bool,
    action: Action,
    overflow: Overflow,
}

#[derive(Clone, Copy)]
enum StepWord {
    Get,
    Set,
    Add,
    Overflow,
}

const STEPS: Grammar<StepWord> = Grammar(&[
    two_values("get", StepWord::Get),
    three_values("set", StepWord::Set),
    three_values("incrby", StepWord::Add),
    value("overflow", StepWord::Overflow),
]);

/// Parses all operations.
fn parse(args: &[&[u8]], bytes_max: u64) -> Result<Vec<Step>, CommandError> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    for step in STEPS.parse(args) {
        let (word, values) = step?;
        if let StepWord::Overflow = word {
            overflow = match values[0].to_ascii_lowercase().as_slice() {
                b"wrap" => Overflow::Wrap,
                b"sat" => Overflow::Saturate,
                b"fail" => Overflow::Fail,
                _ => return Err(CommandError::text("ERR Invalid OVERFLOW type specified")),
            };
            continue;
        }
        let (is_signed, bits) = width(values[0])?;
        let field = Field { offset: field_offset(values[1], bits, bytes_max)?, bits };
        let action = match word {
            StepWord::Get | StepWord::Overflow => Action::Get,
            StepWord::Set => Action::Set(integer(values[2])?),
            StepWord::Add => Action::Add(integer(values[2])?),
        };
        steps.push(Step { field, is_signed, action, overflow });
    }
    Ok(steps)
}

/// Parses `u8`, `i64` …: whether it is signed, and its width in bits.
fn width(text: &[u8]) -> Result<(bool, u32), CommandError> {
    let (is_signed, digits) = match text {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => (false, &b""[..]),
    };
    let bits_max = if is_signed { 64 } else { 63 };
    match integer(digits) {
        Ok(bits) if (1..=bits_max).contains(&bits) => Ok((is_signed, bits as u32)),
        _ => Err(CommandError::text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        )),
    }
}

/// Parses an offset in bits or, after `#`, in multiples of this width.
fn field_offset(text: &[u8], bits: u32, bytes_max: u64) -> Result<u64, CommandError> {
    let offset = match text {
        // What 64 bits can't hold wraps: `BITFIELD key GET i8 #4611686018427387904` reads at 0.
        [b'#', number @ ..] => integer(number).map(|n| n.wrapping_mul(i64::from(bits))),
        _ => integer(text),
    };
    offset_within(offset.ok(), bytes_max)
}

fn access(args: &[&[u8]]) -> Access {
    let only_reads = STEPS
        .parse(args.get(2..).unwrap_or_default())
        .all(|step| matches!(step, Ok((StepWord::Get | StepWord::Overflow, _))));
    if only_reads { &["RO", "access"] } else { &["RW", "access", "update"] }
}

impl Step {
    /// Converts a field's bits to a number.
    fn number(&self, bits: u64) -> i64 {
        let unused = 64 - self.field.bits;
        let high = bits << unused;
        if self.is_signed { (high as i64) >> unused } else { (high >> unused) as i64 }
    }

    /// The bits for a number to store; `None` if OVERFLOW FAIL refuses it.
    fn new_bits(&self, old: u64) -> Option<u64> {
        let wanted = match self.action {
            Action::Get => return None,
            Action::Set(value) if self.is_signed => i128::from(value),
            Action::Set(value) => i128::from(value as u64),
            Action::Add(value) => i128::from(self.number(old)) + i128::from(value),
        };
        let (min, max) = if self.is_signed {
            (-1 << (self.field.bits - 1), (1 << (self.field.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.field.bits) - 1)
        };
        match self.overflow {
            Overflow::Fail if !(min..=max).contains(&wanted) => None,
            Overflow::Saturate => Some(wanted.clamp(min, max) as u64),
            Overflow::Fail | Overflow::Wrap => Some(wanted as u64),
        }
        .map(|bits| bits & (u64::MAX >> (64 - self.field.bits)))
    }
}

fn bitfield_ro(call: &mut Call<'_>) -> Outcome {
    let steps = parse(&call.args[2..], call.config.proto_max_bulk_len)?;
    if steps.iter().any(|step| step.action != Action::Get) {
        return Err(CommandError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_all(call, &steps)
}

fn bitfield(call: &mut Call<'_>) -> Outcome {
    let steps = parse(&call.args[2..], call.config.proto_max_bulk_len)?;
    let writes = steps.iter().filter(|step| step.action != Action::Get);
    let Some(last_byte) = writes.map(|step| step.field.last_byte()).max() else {
        return read_all(call, &steps);
    };
    let mut is_signalled = make_room(call, last_byte)?;
    call.reply.array(steps.len());
    for step in &steps {
        is_signalled |= run(call, step, is_signalled)?;
    }
    Ok(())
}

fn read_all(call: &mut Call<'_>, steps: &[Step]) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let mut digits = itoa::Buffer::new();
    let text = text_of(entry.as_deref(), &mut digits)?;
    call.reply.array(steps.len());
    for step in steps {
        call.reply.integer(step.number(step.field.read(text)));
    }
    Ok(())
}

/// Makes the value a string with this byte, stored as bytes, whatever operations follow. Returns whether it grew,
/// which raises the command's event.
fn make_room(call: &mut Call<'_>, byte: usize) -> Result<bool, CommandError> {
    let bytes_max = call.keyspace.value_bytes_max;
    let edit = call.keyspace.edit(call.database, &call.key);
    let (there, is_ready) = {
        let entry = edit.entry();
        let mut digits = itoa::Buffer::new();
        let there = text_of(entry.as_deref(), &mut digits)?.get(byte).copied();
        (there, there.is_some() && entry.is_some_and(|entry| entry.encoding() == Encoding::Raw))
    };
    let grows = there.is_none();
    check_growth(edit.entry().as_deref(), byte + 1, bytes_max)?;
    if !is_ready {
        let edit = if grows { edit.as_event(event::SETBIT) } else { edit.unsignalled() };
        edit.commit(Effect::SetRange { offset: byte, bytes: &[there.unwrap_or(0)] });
    }
    Ok(grows)
}

/// Runs one operation. Returns whether it changed something; only the first change raises the event.
fn run(call: &mut Call<'_>, step: &Step, is_signalled: bool) -> Result<bool, CommandError> {
    let edit = call.keyspace.edit(call.database, &call.key);
    let mut buffer = [0; FIELD_BYTES_MAX];
    let (old, new, len) = {
        let entry = edit.entry();
        let mut digits = itoa::Buffer::new();
        let text = text_of(entry.as_deref(), &mut digits)?;
        let old = step.field.read(text);
        let new = step.new_bits(old);
        (old, new, step.field.written(text, new.unwrap_or(old), &mut buffer))
    };
    match (step.action, new) {
        (Action::Get, _) | (Action::Set(_), Some(_)) => call.reply.integer(step.number(old)),
        (Action::Add(_), Some(new)) => call.reply.integer(step.number(new)),
        (_, None) => call.reply.null(),
    }
    let changes = new.is_some_and(|new| new != old);
    if changes {
        let offset = step.field.first_byte();
        let events = if is_signalled { event::NONE } else { event::SETBIT };
        edit.as_event(events).commit(Effect::SetRange { offset, bytes: &buffer[..len] });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: &str, action: Action, overflow: Overflow) -> Step {
        let (is_signed, bits) = width(kind.as_bytes()).unwrap();
        Step { field: Field { offset: 0, bits }, is_signed, action, overflow }
    }

    #[test]
    fn numbers_wrap_saturate_or_fail() {
        let new = |kind, old: i64, action, overflow| {
            let step = step(kind, action, overflow);
            let mask = u64::MAX >> (64 - step.field.bits);
            step.new_bits(old as u64 & mask).map(|bits| step.number(bits))
        };
        for (kind, old, action, wrapped, clamped) in [
            ("u2", 3, Action::Add(1), 0, 3),
            ("u2", 0, Action::Add(-1), 3, 0),
            ("i2", 1, Action::Add(1), -2, 1),
            ("i2", -2, Action::Add(-1), 1, -2),
            ("i8", 0, Action::Set(200), -56, 127),
            ("i8", 0, Action::Set(-200), 56, -128),
            ("u8", 0, Action::Set(-1), 255, 255),
            ("u8", 7, Action::Add(i64::MIN), 7, 0),
            ("i64", i64::MAX, Action::Add(1), i64::MIN, i64::MAX),
            ("i64", i64::MIN, Action::Add(i64::MIN), 0, i64::MIN),
            ("u63", i64::MAX, Action::Add(i64::MAX), i64::MAX - 1, i64::MAX),
            ("i1", 0, Action::Add(1), -1, 0),
        ] {
            assert_eq!(new(kind, old, action, Overflow::Wrap), Some(wrapped), "{kind} {action:?}");
            assert_eq!(
                new(kind, old, action, Overflow::Saturate),
                Some(clamped),
                "{kind} {action:?}"
            );
            assert_eq!(new(kind, old, action, Overflow::Fail), None, "{kind} {action:?}");
        }
        for overflow in [Overflow::Wrap, Overflow::Saturate, Overflow::Fail] {
            assert_eq!(new("i5", -16, Action::Add(31), overflow), Some(15));
            assert_eq!(new("i64", -1, Action::Set(i64::MIN), overflow), Some(i64::MIN));
        }
    }

    #[test]
    fn widths_and_offsets_are_read_strictly() {
        assert_eq!(width(b"i64"), Ok((true, 64)));
        assert_eq!(width(b"u1"), Ok((false, 1)));
        for wrong in ["u64", "i65", "i0", "u", "", "8", "U8", "u+8", "u08", "u-1"] {
            assert!(width(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(field_offset(b"#3", 5, 100), Ok(15));
        assert_eq!(field_offset(b"799", 5, 100), Ok(799));
        for wrong in ["800", "#160", "-1", "#-1", "#", "", "a"] {
            assert!(field_offset(wrong.as_bytes(), 5, 100).is_err(), "{wrong}");
        }
    }
}
