//! Producers add entries with idempotency IDs, so that an entry that is sent again is added once.

use std::borrow::Cow;

use basalt_keyspace::{Effect, IDEMPOTENCY_NAMES, IDEMPOTENCY_SECONDS, Stream, StreamChange};
use twox_hash::XxHash3_128;

use super::{ROW, id, stream};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

/// XADD's options about them.
pub(super) const PRODUCED: Argument = Argument::one_of(
    "idmp",
    &[
        Argument::string("pid").after("IDMPAUTO"),
        Argument::block("idmp", &[Argument::string("pid"), Argument::string("iid")]).after("IDMP"),
    ],
)
.optional();

/// The idempotency ID of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Produced<'a> {
    pub producer: &'a [u8],
    /// `None`: the hash of its content.
    name: Option<&'a [u8]>,
}

impl<'a> Produced<'a> {
    /// Parses the arguments after IDMP (producer and ID) or IDMPAUTO (producer).
    pub(super) fn parse(values: &[&'a [u8]], is_again: bool) -> Result<Self, CommandError> {
        let refusal = match values {
            _ if is_again => "IDMP/IDMPAUTO specified multiple times",
            [b""] => "IDMPAUTO requires a non-empty producer ID",
            [b"", _] => "IDMP requires a non-empty producer ID",
            [_, b""] => "IDMP requires a non-empty idempotent ID",
            _ => return Ok(Self { producer: values[0], name: values.get(1).copied() }),
        };
        Err(CommandError::new(format!("ERR syntax error, {refusal}")))
    }

    /// The idempotency ID of an entry with these fields and values.
    pub(super) fn name(&self, parts: &[&[u8]]) -> Cow<'a, [u8]> {
        self.name.map_or_else(|| Cow::Owned(name_by_content(parts).to_vec()), Cow::Borrowed)
    }
}

/// Redis' hash of fields and values, which does not depend on their order.
fn name_by_content(parts: &[&[u8]]) -> [u8; 16] {
    let (mut sums, mut differences) = ([0_u64; 2], [0_u64; 2]);
    let mut pair = Vec::new();
    for [field, value] in parts.as_chunks::<2>().0 {
        pair.clear();
        pair.extend_from_slice(field);
        // This separates the end of a field from the start of its value.
        pair.extend((field.len() as u64).to_le_bytes());
        pair.extend_from_slice(value);
        let hash = XxHash3_128::oneshot(&pair);
        for (at, half) in [hash as u64, (hash >> 64) as u64].into_iter().enumerate() {
            sums[at] = sums[at].wrapping_add(half);
            differences[at] ^= half;
        }
    }
    let low = sums[0] ^ differences[1].rotate_left(1);
    let high = sums[1] ^ differences[0].rotate_left(1);
    let mut name = [0; 16];
    name[..8].copy_from_slice(&low.to_le_bytes());
    name[8..].copy_from_slice(&high.to_le_bytes());
    name
}

/// A new stream gets the configured settings.
pub(super) fn configure_new(call: &mut Call<'_>) {
    let (seconds, most) = (call.config.stream_idmp_duration, call.config.stream_idmp_maxsize);
    if (seconds, most) != (IDEMPOTENCY_SECONDS, IDEMPOTENCY_NAMES) {
        let change = StreamChange::ConfigureProducers { seconds, most };
        call.keyspace.edit(call.database, &call.key).commit(Effect::Stream(change));
    }
}

/// For how many seconds, and how many per producer, a stream remembers idempotency IDs.
pub(super) fn settings_of(stream: &Stream) -> (u64, u64) {
    let given = stream.producers().map(|producers| (producers.seconds(), producers.most()));
    given.unwrap_or((IDEMPOTENCY_SECONDS, IDEMPOTENCY_NAMES))
}

pub(super) const XCFGSET: Command = Command {
    name: "xcfgset",
    since: "8.6.0",
    summary: "Sets how long, and how many per producer, a stream remembers idempotency IDs.",
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::integer("idmp-duration").after("IDMP-DURATION").optional(),
        Argument::integer("idmp-maxsize").after("IDMP-MAXSIZE").optional(),
    ],
    run: Run::Shard(xcfgset),
    shows: r#"@skip-oracle a command of Redis 8.6
> XCFGSET log IDMP-DURATION 60
(error) ERR no such key
> XADD log IDMP ann 1 * n 1
"<any text>"
> XCFGSET log IDMP-DURATION 60 IDMP-MAXSIZE 10
OK
> XCFGSET log IDMP-MAXSIZE 0
(error) ERR IDMP-MAXSIZE must be between 1 and 10000 entries
> XCFGSET log IDMP-DURATION 86401
(error) ERR IDMP-DURATION must be between 1 and 86400 seconds
> XCFGSET log
(error) ERR At least one parameter must be specified
> XCFGSET log IDMP-MAXSIZE
(error) ERR syntax error
"#,
    ..ROW
};

fn xcfgset(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let stream = stream(entry.as_deref())?.ok_or(CommandError::NO_SUCH_KEY)?;
    let (mut seconds, mut most) = (None, None);
    let mut rest = &call.args[2..];
    while let [word, others @ ..] = rest {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let (given, name, limit, unit) = if is("idmp-duration") {
            (&mut seconds, "IDMP-DURATION", 86_400, "seconds")
        } else if is("idmp-maxsize") {
            (&mut most, "IDMP-MAXSIZE", 10_000, "entries")
        } else {
            return Err(CommandError::SYNTAX);
        };
        let [value, others @ ..] = others else { return Err(CommandError::SYNTAX) };
        if given.is_some() {
            return Err(CommandError::new(format!("ERR {name} specified multiple times")));
        }
        let number = integer(value)?;
        if !(1..=limit).contains(&number) {
            let refusal = format!("ERR {name} must be between 1 and {limit} {unit}");
            return Err(CommandError::new(refusal));
        }
        *given = Some(number as u64);
        rest = others;
    }
    if seconds.is_none() && most.is_none() {
        return Err(CommandError::text("ERR At least one parameter must be specified"));
    }
    let before = settings_of(stream);
    let (seconds, most) = (seconds.unwrap_or(before.0), most.unwrap_or(before.1));
    // Setting the same values again forgets nothing.
    if (seconds, most) != before {
        edit.commit(Effect::Stream(StreamChange::ConfigureProducers { seconds, most }));
    }
    call.reply.ok();
    Ok(())
}

pub(super) const XIDMPRECORD: Command = Command {
    name: "xidmprecord",
    since: "8.6.2",
    summary: "Records the idempotency ID of an existing entry; used to rebuild a stream.",
    arity: 5,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::string("pid"),
        Argument::string("iid"),
        Argument::string("stream-id"),
    ],
    run: Run::Shard(xidmprecord),
    shows: r#"@skip-oracle a command of Redis 8.6
> XADD log 9999999999999-1 n 1
"9999999999999-1"
> XADD log 9999999999999-2 n 2
"9999999999999-2"
> XIDMPRECORD log ann first 9999999999999-1
OK
> XIDMPRECORD log ann first 9999999999999-1
OK
> XIDMPRECORD log ann first 9999999999999-2
(error) ERR IID already exists for this producer with a different stream ID
> XADD log IDMP ann first * n 3
"9999999999999-1"
> XIDMPRECORD log ann third 3-0
(error) ERR No such message in stream
> XIDMPRECORD log "" third 9999999999999-1
(error) ERR producer ID must be non-empty
> XIDMPRECORD log ann "" 9999999999999-1
(error) ERR idempotent ID must be non-empty
> XIDMPRECORD absent ann first 1-0
(error) ERR no such key
"#,
    ..ROW
};

fn xidmprecord(call: &mut Call<'_>) -> Outcome {
    let [_, _, producer, name, text] = *call.args else { unreachable!("its arity is five") };
    let id = id::parse(text, 0)?;
    if producer.is_empty() {
        return Err(CommandError::text("ERR producer ID must be non-empty"));
    }
    if name.is_empty() {
        return Err(CommandError::text("ERR idempotent ID must be non-empty"));
    }
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let stream = stream(entry.as_deref())?.ok_or(CommandError::NO_SUCH_KEY)?;
    if stream.get(id).is_none() {
        return Err(CommandError::text("ERR No such message in stream"));
    }
    match stream.producers().and_then(|producers| producers.find(producer, name, now_ms)) {
        Some(known) if known != id => {
            return Err(CommandError::text(
                "ERR IID already exists for this producer with a different stream ID",
            ));
        }
        Some(_) => {}
        None => {
            let change = StreamChange::NoteName { producer, name, id, at_ms: now_ms };
            edit.commit(Effect::Stream(change));
        }
    }
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_content_know_no_order_but_what_belongs_together() {
        let name = |parts: &[&[u8]]| name_by_content(parts);
        assert_eq!(name(&[b"a", b"1", b"b", b"2"]), name(&[b"b", b"2", b"a", b"1"]));
        for other in [
            &[&b"a"[..], b"2", b"b", b"1"][..],
            &[b"a1", b"", b"b", b"2"],
            &[b"a", b"1", b"b", b"2", b"b", b"2"],
            &[],
        ] {
            assert_ne!(name(&[b"a", b"1", b"b", b"2"]), name(other));
        }
    }
}
