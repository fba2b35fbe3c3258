//! Single bits.

use basalt_keyspace::{Effect, Encoding, event};

use super::{ROW, bit_offset, bits};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::text_of;
use crate::memory::check_growth;

pub(super) const GETBIT: Command = Command {
    name: "getbit",
    since: "2.2.0",
    summary: "Returns one bit of a string; bits beyond its end are 0.",
    arity: 3,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::integer("offset")],
    run: Run::Shard(getbit),
    shows: r#"> SET letter a
OK
> GETBIT letter 1
(integer) 1
> GETBIT letter 3
(integer) 0
> GETBIT letter 100
(integer) 0
> GETBIT absent 0
(integer) 0
> GETBIT letter -1
(error) ERR bit offset is not an integer or out of range
"#,
    ..ROW
};

fn getbit(call: &mut Call<'_>) -> Outcome {
    let offset = bit_offset(call.args[2], call.config.proto_max_bulk_len)?;
    let entry = call.keyspace.read(call.database, &call.key);
    let mut digits = itoa::Buffer::new();
    let text = text_of(entry.as_deref(), &mut digits)?;
    call.reply.integer(i64::from(bits::bit(text, offset)));
    Ok(())
}

pub(super) const SETBIT: Command = Command {
    name: "setbit",
    since: "2.2.0",
    summary: "Sets or clears one bit of a string and returns its previous value; the string grows to hold it.",
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    arguments: &[Argument::KEY, Argument::integer("offset"), Argument::integer("value")],
    run: Run::Shard(setbit),
    shows: r#"> SETBIT seen 7 1
(integer) 0
> SETBIT seen 7 0
(integer) 1
> GET seen
"\x00"
> SETBIT seen 17 1
(integer) 0
> GET seen
"\x00\x00@"
> SETBIT seen 1 2
(error) ERR bit is not an integer or out of range
"#,
    ..ROW
};

fn setbit(call: &mut Call<'_>) -> Outcome {
    let offset = bit_offset(call.args[2], call.config.proto_max_bulk_len)?;
    let is_set = match call.args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::text("ERR bit is not an integer or out of range")),
    };
    let at = (offset / 8) as usize;
    let bytes_max = call.keyspace.value_bytes_max;
    let edit = call.keyspace.edit(call.database, &call.key);
    let (byte, is_ready) = {
        let entry = edit.entry();
        let mut digits = itoa::Buffer::new();
        let byte = text_of(entry.as_deref(), &mut digits)?.get(at).copied();
        (byte, byte.is_some() && entry.is_some_and(|entry| entry.encoding() == Encoding::Raw))
    };
    let is_there = byte.is_some();
    let (byte, mask) = (byte.unwrap_or(0), bits::mask(offset));
    let was_set = byte & mask != 0;
    if was_set != is_set || !is_ready {
        let byte = if is_set { byte | mask } else { byte & !mask };
        check_growth(edit.entry().as_deref(), at + 1, bytes_max)?;
        // A bit that is set already may still turn the string into bytes, which clients don't see.
        let is_same = was_set == is_set && is_there;
        let edit = if is_same { edit.unsignalled() } else { edit.as_event(event::SETBIT) };
        edit.commit(Effect::SetRange { offset: at, bytes: &[byte] });
    }
    call.reply.integer(i64::from(was_set));
    Ok(())
}
