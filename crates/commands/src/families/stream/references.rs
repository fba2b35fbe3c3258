//! Deletion with respect to groups that still have to read or to acknowledge the entry.

use std::collections::BTreeSet;

use basalt_keyspace::{Effect, Stream, StreamChange, StreamId, StreamIds};

use super::{ROW, group_of, id, stream};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

/// The treatment of groups that refer to an entry to delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum References {
    /// The entry is deleted, and stays pending.
    #[default]
    Kept,
    /// The entry is deleted, and removed from all pending entries.
    Dropped,
    /// The entry is deleted only if all groups have read and acknowledged it.
    Respected,
}

impl References {
    /// Parses the word of an option.
    pub(super) fn of_word(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_slice() {
            b"keepref" => Self::Kept,
            b"delref" => Self::Dropped,
            b"acked" => Self::Respected,
            _ => return None,
        })
    }
}

pub(super) const REFERENCES: Argument = Argument::one_of(
    "condition",
    &[
        Argument::word("keepref", "KEEPREF"),
        Argument::word("delref", "DELREF"),
        Argument::word("acked", "ACKED"),
    ],
)
.optional();

pub(super) const IDS: Argument =
    Argument::block("ids", &[Argument::integer("numids"), Argument::string("id").multiple()])
        .after("IDS");

/// Whether a group still has to read or to acknowledge an entry.
pub(super) fn is_referenced(stream: &Stream, id: StreamId) -> bool {
    let mut groups = stream.groups().iter();
    groups.any(|group| group.last_id < id || group.pending(id).is_some())
}

/// Parses the arguments after the keys and names: `[KEEPREF|DELREF|ACKED] IDS numids id …`.
fn parse(args: &[&[u8]]) -> Result<(References, Vec<StreamId>), CommandError> {
    let (mut references, mut ids) = (None, None);
    let mut rest = args;
    while let [word, others @ ..] = rest {
        rest = others;
        if let Some(wanted) = References::of_word(word) {
            if references.replace(wanted).is_some() {
                return Err(CommandError::SYNTAX);
            }
        } else if word.eq_ignore_ascii_case(b"ids") && ids.is_none() && !others.is_empty() {
            let count = integer(others[0]).ok().and_then(|count| usize::try_from(count).ok());
            let count = count
                .filter(|count| *count > 0)
                .ok_or(CommandError::text("ERR Number of IDs must be a positive integer"))?;
            if count > others.len() - 1 {
                return Err(CommandError::text(
                    "ERR The `numids` parameter must match the number of arguments",
                ));
            }
            let (given, behind) = others[1..].split_at(count);
            ids = Some(given.iter().map(|text| id::parse(text, 0)).collect::<Result<_, _>>()?);
            rest = behind;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    Ok((references.unwrap_or_default(), ids.ok_or(CommandError::SYNTAX)?))
}

/// The result for an entry, in the reply.
const WAS_NOT_THERE: i64 = -1;
const IS_DELETED: i64 = 1;
const IS_REFERENCED: i64 = 2;

fn commit(call: &mut Call<'_>, change: StreamChange<'_>) {
    call.keyspace.edit(call.database, &call.key).commit(Effect::Stream(change));
}

fn tell(call: &mut Call<'_>, told: &[i64]) {
    call.reply.array(told.len());
    told.iter().for_each(|number| call.reply.integer(*number));
}

pub(super) const XDELEX: Command = Command {
    name: "xdelex",
    since: "8.2.0",
    summary: "Removes entries by ID, with a choice about groups that refer to them; returns the result for each.",
    complexity: "O(N*M) for N IDs and M groups",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, REFERENCES, IDS],
    run: Run::Shard(xdelex),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XADD log 3-0 n 3
"3-0"
> XGROUP CREATE log readers 0
OK
@only ours
> XCLAIM log readers ann 0 1-0 FORCE JUSTID LASTID 2-0
1) "1-0"
> XDELEX log ACKED IDS 4 1-0 2-0 3-0 4-0
1) (integer) 2
2) (integer) 1
3) (integer) 2
4) (integer) -1
> XDELEX log IDS 1 3
1) (integer) 1
> XDELEX log DELREF IDS 2 1-0 1-0
1) (integer) 1
2) (integer) -1
> XPENDING log readers
1) (integer) 0
2) (nil)
3) (nil)
4) (nil)
> XDELEX log IDS 0 1-0
(error) ERR Number of IDs must be a positive integer
> XDELEX log IDS 2 1-0
(error) ERR The `numids` parameter must match the number of arguments
> XDELEX log KEEPREF ACKED IDS 1 1-0
(error) ERR syntax error
> XDELEX absent IDS 1 1-0
1) (integer) -1
"#,
    ..ROW
};

fn xdelex(call: &mut Call<'_>) -> Outcome {
    let (references, ids) = parse(&call.args[2..])?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let (mut deleted, mut told) = (BTreeSet::new(), Vec::with_capacity(ids.len()));
    let stream = stream(entry.as_deref())?;
    for id in &ids {
        told.push(match stream {
            Some(stream) if stream.get(*id).is_some() && !deleted.contains(id) => {
                if references == References::Respected && is_referenced(stream, *id) {
                    IS_REFERENCED
                } else {
                    deleted.insert(*id);
                    IS_DELETED
                }
            }
            _ => WAS_NOT_THERE,
        });
    }
    let is_there = stream.is_some();
    if !deleted.is_empty() {
        let deleted: Vec<_> = deleted.into_iter().collect();
        commit(call, StreamChange::Delete { ids: StreamIds::from(&deleted[..]) });
    }
    // An entry that was deleted before may still be pending.
    if references == References::Dropped && is_there {
        commit(call, StreamChange::Forget { ids: StreamIds::from(&ids[..]) });
    }
    tell(call, &told);
    Ok(())
}

pub(super) const XACKDEL: Command = Command {
    name: "xackdel",
    since: "8.2.0",
    summary: "Acknowledges entries for a group and removes them, with a choice about groups that refer to them.",
    complexity: "O(N*M) for N IDs and M groups",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update", "delete"])],
    arguments: &[Argument::KEY, Argument::string("group"), REFERENCES, IDS],
    run: Run::Shard(xackdel),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XGROUP CREATE log readers 0
OK
> XGROUP CREATE log others 0
OK
@only ours
> XCLAIM log readers ann 0 1-0 2-0 FORCE JUSTID LASTID 2-0
1) "1-0"
2) "2-0"
> XCLAIM log others bob 0 1-0 FORCE JUSTID LASTID 2-0
1) "1-0"
> XACKDEL log readers ACKED IDS 3 1-0 2-0 3-0
1) (integer) 2
2) (integer) 1
3) (integer) -1
> XACKDEL log others IDS 1 1-0
1) (integer) 1
> XLEN log
(integer) 0
> XACKDEL log nobody IDS 1 1-0
1) (integer) -1
> XACKDEL absent readers DELREF IDS 1 1-0
1) (integer) -1
"#,
    ..ROW
};

fn xackdel(call: &mut Call<'_>) -> Outcome {
    let group = call.args[2];
    let (references, ids) = parse(&call.args[3..])?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let found = group_of(entry.as_deref(), group)?;
    let mut told = vec![WAS_NOT_THERE; ids.len()];
    let (mut acknowledged, mut deleted) = (BTreeSet::new(), Vec::new());
    for (id, told) in ids.iter().zip(&mut told) {
        let Some((stream, own)) = found else { break };
        if own.pending(*id).is_none() || !acknowledged.insert(*id) {
            continue;
        }
        let mut others = stream.groups().iter().filter(|other| other.name() != own.name());
        let is_wanted = own.last_id < *id
            || others.any(|other| other.last_id < *id || other.pending(*id).is_some());
        *told = if references == References::Respected && is_wanted {
            IS_REFERENCED
        } else {
            deleted.push(*id);
            IS_DELETED
        };
    }
    if !acknowledged.is_empty() {
        let acknowledged: Vec<_> = acknowledged.into_iter().collect();
        let ids = StreamIds::from(&acknowledged[..]);
        commit(call, StreamChange::Acknowledge { group, ids });
    }
    if !deleted.is_empty() {
        let ids = StreamIds::from(&deleted[..]);
        commit(call, StreamChange::Delete { ids });
        if references == References::Dropped {
            commit(call, StreamChange::Forget { ids });
        }
    }
    tell(call, &told);
    Ok(())
}
