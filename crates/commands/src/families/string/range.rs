//! Reads and writes parts of a string.

use basalt_keyspace::{Content, Effect, event};

use super::{ROW, answer_part, content, effect_of, text_len};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::memory::check_growth;

pub(super) const STRLEN: Command = Command {
    name: "strlen",
    since: "2.2.0",
    summary: "Returns the length of a string in bytes.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(strlen),
    shows: r#"> SET greeting "hello world"
OK
> STRLEN greeting
(integer) 11
> STRLEN absent
(integer) 0
"#,
    ..ROW
};

fn strlen(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    call.reply.integer(text_len(entry.as_deref())? as i64);
    Ok(())
}

pub(super) const APPEND: Command = Command {
    name: "append",
    since: "2.0.0",
    summary: "Appends to a string and returns its new length; a missing key is created.",
    complexity: "O(1), counted over many calls, when what is added is short",
    arity: 3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[Argument::KEY, Argument::string("value")],
    run: Run::Shard(append),
    shows: r#"> APPEND line Hello
(integer) 5
> APPEND line " World"
(integer) 11
> GET line
"Hello World"
"#,
    ..ROW
};

fn append(call: &mut Call<'_>) -> Outcome {
    let bytes = call.args[2];
    let bytes_max = call.keyspace.value_bytes_max;
    let edit = call.keyspace.edit(call.database, &call.key);
    let len = text_len(edit.entry().as_deref())?;
    if edit.entry().is_none() {
        edit.as_event(event::APPEND).commit(effect_of(bytes, None));
        call.reply.integer(bytes.len() as i64);
        return Ok(());
    }
    refuse_too_long(len, bytes.len(), call.config.proto_max_bulk_len)?;
    check_growth(edit.entry().as_deref(), len + bytes.len(), bytes_max)?;
    edit.commit(Effect::Append { bytes });
    call.reply.integer((len + bytes.len()) as i64);
    Ok(())
}

fn refuse_too_long(len: usize, more: usize, max: u64) -> Result<(), CommandError> {
    if (len as u64).checked_add(more as u64).is_some_and(|total| total <= max) {
        return Ok(());
    }
    Err(CommandError::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)"))
}

pub(super) const SETRANGE: Command = Command {
    name: "setrange",
    since: "2.2.0",
    summary: "Overwrites a part of a string from an offset on; a gap before it is filled with zero bytes.",
    complexity: "O(1) for short values; O(M) for M bytes written",
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[Argument::KEY, Argument::integer("offset"), Argument::string("value")],
    run: Run::Shard(setrange),
    shows: r#"> SET greeting "Hello World"
OK
> SETRANGE greeting 6 Redis
(integer) 11
> GET greeting
"Hello Redis"
> SETRANGE padded 3 x
(integer) 4
> GET padded
"\x00\x00\x00x"
> SETRANGE absent 10 ""
(integer) 0
> EXISTS absent
(integer) 0
> SETRANGE greeting -1 x
(error) ERR offset is out of range
"#,
    ..ROW
};

fn setrange(call: &mut Call<'_>) -> Outcome {
    let offset = integer(call.args[2])?;
    let bytes = call.args[3];
    let offset =
        usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let bytes_max = call.keyspace.value_bytes_max;
    let edit = call.keyspace.edit(call.database, &call.key);
    let len = text_len(edit.entry().as_deref())?;
    if bytes.is_empty() {
        call.reply.integer(len as i64);
        return Ok(());
    }
    refuse_too_long(offset, bytes.len(), call.config.proto_max_bulk_len)?;
    check_growth(edit.entry().as_deref(), offset + bytes.len(), bytes_max)?;
    edit.commit(Effect::SetRange { offset, bytes });
    call.reply.integer(len.max(offset + bytes.len()) as i64);
    Ok(())
}

const GETRANGE_ROW: Command = Command {
    complexity: "O(N) for N bytes told",
    arity: 4,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::integer("start"), Argument::integer("end")],
    run: Run::Shard(getrange),
    ..ROW
};

pub(super) const GETRANGE: Command = Command {
    name: "getrange",
    since: "2.4.0",
    summary: "Returns a part of a string; negative offsets count from the end.",
    shows: r#"> SET line "This is a string"
OK
> GETRANGE line 0 3
"This"
> GETRANGE line -3 -1
"ing"
> GETRANGE line 10 100
"string"
> GETRANGE line 5 2
""
> GETRANGE absent 0 -1
""
> GETRANGE line a b
(error) ERR value is not an integer or out of range
"#,
    ..GETRANGE_ROW
};

pub(super) const SUBSTR: Command = Command {
    name: "substr",
    since: "1.0.0",
    summary: "Returns a part of a string; an old name of GETRANGE.",
    deprecated: Some(Deprecated { since: "2.0.0", replaced_by: "`GETRANGE`" }),
    shows: r#"> SET line "This is a string"
OK
> SUBSTR line 0 3
"This"
"#,
    ..GETRANGE_ROW
};

fn getrange(call: &mut Call<'_>) -> Outcome {
    let (start, end) = (integer(call.args[2])?, integer(call.args[3])?);
    let entry = call.keyspace.read(call.database, &call.key);
    let mut digits = itoa::Buffer::new();
    let text = match entry.as_deref().map(content).transpose()? {
        None => b"",
        Some(Content::Bytes(bytes)) => bytes,
        Some(Content::Integer(value)) => digits.format(value).as_bytes(),
    };
    let part = part(text, start, end);
    match entry.as_deref() {
        Some(entry) => answer_part(&mut call.reply, entry, part),
        None => call.reply.bulk(part),
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn part(text: &[u8], start: i64, end: i64) -> &[u8] {
    // Redis checks this before it clamps: otherwise both might become 0 and give the first byte.
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = text.len() as i64;
    let from_start = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { b"" } else { &text[start as usize..=end as usize] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_clamped_as_in_redis() {
        for (start, end, expected) in [
            (0, 0, "h"),
            (0, -1, "hello"),
            (-100, 1, "he"),
            (-100, -90, "h"),
            (-90, -100, ""),
            (5, 9, ""),
            (4, 9, "o"),
            (i64::MIN, i64::MAX, "hello"),
            (i64::MAX, i64::MIN, ""),
        ] {
            assert_eq!(part(b"hello", start, end), expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(part(b"", 0, -1), b"");
        assert_eq!(part(b"", -1, -1), b"");
    }

    #[test]
    fn lengths_are_refused_beyond_the_limit() {
        assert!(refuse_too_long(10, 5, 15).is_ok());
        assert!(refuse_too_long(10, 6, 15).is_err());
        assert!(refuse_too_long(usize::MAX, 1, u64::MAX).is_err());
    }
}
