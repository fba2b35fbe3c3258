//! XNACK: consumers release entries that they cannot process.

use basalt_keyspace::{Deliveries, Effect, StreamChange, StreamId, StreamIds};

use super::references::IDS;
use super::{ROW, group_of, id, no_group};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const XNACK: Command = Command {
    name: "xnack",
    since: "8.8.0",
    summary: "Releases pending entries: they stay pending without a consumer, and any consumer may claim them.",
    complexity: "O(1) for each ID",
    arity: -7,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::string("group"),
        Argument::one_of(
            "mode",
            &[
                Argument::word("silent", "SILENT"),
                Argument::word("fail", "FAIL"),
                Argument::word("fatal", "FATAL"),
            ],
        ),
        IDS,
        Argument::integer("count").after("RETRYCOUNT").optional(),
        Argument::word("force", "FORCE").optional(),
    ],
    run: Run::Shard(xnack),
    shows: r#"@skip-oracle a command of Redis 8.8
> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XGROUP CREATE log readers 0
OK
> XCLAIM log readers ann 0 1-0 2-0 FORCE JUSTID
1) "1-0"
2) "2-0"
> XNACK log readers FAIL IDS 2 1-0 3-0
(integer) 1
> XPENDING log readers - + 10
1) 1) "1-0"
   2) ""
   3) (integer) -1
   4) (integer) 1
2) 1) "2-0"
   2) "ann"
   3) (integer) <between 0 10000>
   4) (integer) 1
> XNACK log readers FATAL IDS 1 2-0
(integer) 1
> XNACK log nobody FAIL IDS 1 1-0
(error) NOGROUP No such key 'log' or consumer group 'nobody'
> XNACK log readers LOUD IDS 1 1-0
(error) ERR mode must be SILENT, FAIL, or FATAL
> XNACK log readers FAIL IDS 2 1-0
(error) ERR number of IDs doesn't match numids
"#,
    ..ROW
};

/// The options after the mode.
#[derive(Default)]
struct Options<'a> {
    ids: &'a [&'a [u8]],
    retry_count: Option<u64>,
    is_forced: bool,
}

fn parse_options<'a>(args: &'a [&'a [u8]]) -> Result<Options<'a>, CommandError> {
    let mut options = Options::default();
    let mut rest = args;
    while let [word, others @ ..] = rest {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        rest = match others {
            [count, others @ ..] if is("ids") => {
                let not_positive = CommandError::text("ERR numids must be a positive integer");
                let count = integer(count).ok().and_then(|count| i32::try_from(count).ok());
                let count = count.filter(|count| *count > 0).ok_or(not_positive)? as usize;
                if count > others.len() {
                    return Err(CommandError::text("ERR number of IDs doesn't match numids"));
                }
                options.ids = &others[..count];
                &others[count..]
            }
            [count, others @ ..] if is("retrycount") => {
                let negative = CommandError::text("ERR Invalid RETRYCOUNT value, must be >= 0");
                options.retry_count = Some(u64::try_from(integer(count)?).map_err(|_| negative)?);
                others
            }
            _ if is("force") => {
                options.is_forced = true;
                others
            }
            _ => return Err(CommandError::quoting("ERR Unrecognized XNACK option '", word, "'")),
        };
    }
    if options.ids.is_empty() {
        return Err(CommandError::text("ERR syntax error, expected IDS keyword"));
    }
    Ok(options)
}

fn xnack(call: &mut Call<'_>) -> Outcome {
    let (args, key) = (call.args, call.key.bytes);
    let group = args[2];
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let refusal = || no_group(key, group);
    let (stream, found) = group_of(entry.as_deref(), group)?.ok_or_else(refusal)?;
    let by_mode = match args[3].to_ascii_lowercase().as_slice() {
        b"silent" => Deliveries::OneLess,
        b"fail" => Deliveries::Kept,
        b"fatal" => Deliveries::Are(Deliveries::MAX),
        _ => return Err(CommandError::text("ERR mode must be SILENT, FAIL, or FATAL")),
    };
    let options = parse_options(&args[4..])?;
    let ids: Result<Vec<StreamId>, _> = options.ids.iter().map(|id| id::parse(id, 0)).collect();
    let mut ids = ids?;
    ids.retain(|id| found.pending(*id).is_some() || options.is_forced && stream.get(*id).is_some());
    if !ids.is_empty() {
        let deliveries = options.retry_count.map_or(by_mode, Deliveries::Are);
        let given_back = StreamIds::from(&ids[..]);
        let change = StreamChange::Release { group, ids: given_back, deliveries };
        edit.commit(Effect::Stream(change));
    }
    call.reply.integer(ids.len() as i64);
    Ok(())
}
