//! Moves or copies a key to another name or database.

use basalt_keyspace::{DatabaseId, event};

use super::ROW;
use crate::args::{Grammar, database, flag, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys, Settings};
use crate::memory::check_memory;

const RENAME_ROW: Command =
    Command { arity: 3, arguments: &[Argument::KEY, Argument::key("newkey", 1)], ..ROW };

pub(super) const RENAME: Command = Command {
    name: "rename",
    since: "1.0.0",
    summary: "Renames a key; replaces the key that has the new name.",
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["OW", "update"])],
    run: Run::Many(&const { ManyKeys::of::<Rename<false>>().with_whole(rename::<false>) }),
    shows: r#"> MSET old value new gone
OK
> RENAME old new
OK
> MGET old new
1) (nil)
2) "value"
> RENAME old new
(error) ERR no such key
"#,
    ..RENAME_ROW
};

pub(super) const RENAMENX: Command = Command {
    name: "renamenx",
    since: "1.0.0",
    summary: "Renames a key, only if no key has the new name.",
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["OW", "insert"])],
    run: Run::Many(&const { ManyKeys::of::<Rename<true>>().with_whole(rename::<true>) }),
    shows: r#"> MSET old value taken stays
OK
> RENAMENX old taken
(integer) 0
> RENAMENX old free
(integer) 1
> MGET old taken free
1) (nil)
2) "stays"
3) "value"
"#,
    ..RENAME_ROW
};

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// RENAME, and RENAMENX with `IF_FREE`. Over shards the value goes as it is.
struct Rename<const IF_FREE: bool>;

impl<const IF_FREE: bool> OverKeys for Rename<IF_FREE> {
    /// Whether the key holds something.
    type Found = bool;

    fn read(key: KeyRead<'_>) -> bool {
        key.peek().is_some()
    }

    fn decide(found: Vec<bool>, decision: &mut Decision<'_, '_>) -> Outcome {
        let is_same = decision.keys[SOURCE] == decision.keys[TARGET];
        if !found[SOURCE] {
            return Err(CommandError::NO_SUCH_KEY);
        }
        let may = !(IF_FREE && found[TARGET]);
        if may && !is_same {
            decision.move_value(SOURCE, TARGET);
        }
        if IF_FREE {
            decision.reply.integer(i64::from(may));
        } else {
            decision.reply.ok();
        }
        Ok(())
    }
}

/// The same where both keys are on one shard.
fn rename<const IF_FREE: bool>(call: &mut Call<'_>) -> Outcome {
    let (source, target) = (call.key, call.keyspace.key(call.args[2]));
    if call.keyspace.peek(call.database, &source).is_none() {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let may = !(IF_FREE && call.keyspace.peek(call.database, &target).is_some());
    if may
        && source.bytes != target.bytes
        && let Some(value) = call.keyspace.take_value(call.database, &source, event::RENAME_FROM)
    {
        call.keyspace.put_value(call.database, &target, value, event::RENAME_TO);
    }
    if IF_FREE {
        call.reply.integer(i64::from(may));
    } else {
        call.reply.ok();
    }
    Ok(())
}

pub(super) const COPY: Command = Command {
    name: "copy",
    since: "6.2.0",
    summary: "Copies the value and the expiry of a key to another key, optionally in another database.",
    complexity: "O(N) for a value of N elements; O(1) for a string",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RO", "access"]), KeySpec::at(2, &["OW", "update"])],
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::integer("destination-db").after("DB").optional(),
        Argument::word("replace", "REPLACE").optional(),
    ],
    run: Run::Many(&const { ManyKeys::of::<Copy>() }),
    shows: r#"> SET sheep dolly EX 100
OK
> COPY sheep clone
(integer) 1
> GET clone
"dolly"
> TTL clone
(integer) <between 95 100>
> SET sheep shaun
OK
> COPY sheep clone
(integer) 0
> COPY sheep clone REPLACE
(integer) 1
> GET clone
"shaun"
> COPY sheep sheep DB 1
(integer) 1
> COPY sheep sheep
(error) ERR source and destination objects are the same
> COPY sheep clone DB 99
(error) ERR DB index is out of range
"#,
    ..ROW
};

/// A parsed COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyRequest {
    pub to: DatabaseId,
    pub replace: bool,
}

#[derive(Clone, Copy)]
pub(super) enum CopyOption {
    Database,
    Replace,
}

pub(super) const COPY_OPTIONS: Grammar<CopyOption> =
    Grammar(&[value("db", CopyOption::Database), flag("replace", CopyOption::Replace)]);

/// Parses COPY's arguments, given in a session with database `from`.
pub(super) fn parse_copy(
    args: &[&[u8]],
    from: DatabaseId,
    database_count: usize,
) -> Result<CopyRequest, CommandError> {
    let mut copy = CopyRequest { to: from, replace: false };
    for option in COPY_OPTIONS.parse(&args[3..]) {
        match option? {
            (CopyOption::Database, values) => copy.to = database(values[0], database_count)?,
            (CopyOption::Replace, _) => copy.replace = true,
        }
    }
    if copy.to == from && args[1] == args[2] {
        return Err(CommandError::SAME_OBJECT);
    }
    Ok(copy)
}

struct Copy;

impl OverKeys for Copy {
    /// Whether the key holds something, and there is memory for a copy of it.
    type Found = Result<bool, CommandError>;

    fn check(args: &[&[u8]], settings: &Settings<'_>) -> Outcome {
        parse_copy(args, settings.database, settings.database_count).map(drop)
    }

    fn database_of(args: &[&[u8]], index: usize, settings: &Settings<'_>) -> DatabaseId {
        let own = settings.database;
        match parse_copy(args, own, settings.database_count) {
            Ok(request) if index == TARGET => request.to,
            _ => own,
        }
    }

    fn read(mut key: KeyRead<'_>) -> Self::Found {
        if key.index == TARGET {
            return Ok(key.peek().is_some());
        }
        let Some(source) = key.entry() else { return Ok(false) };
        check_memory(source.heap_bytes())?;
        Ok(true)
    }

    /// Over shards a copy goes as it is.
    fn decide(found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        let Settings { database, database_count, .. } = decision.settings;
        let request = parse_copy(decision.args, database, database_count)?;
        let is_taken = found[TARGET].clone()?;
        let is_copied = match &found[SOURCE] {
            Ok(false) => false,
            _ if is_taken && !request.replace => false,
            found => found.clone()?,
        };
        if is_copied {
            decision.copy_value(SOURCE, TARGET);
        }
        decision.reply.integer(i64::from(is_copied));
        Ok(())
    }
}

pub(super) const MOVE: Command = Command {
    name: "move",
    since: "1.0.0",
    summary: "Moves a key to another database, only if no key there has its name.",
    arity: 3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    arguments: &[Argument::KEY, Argument::integer("db")],
    run: Run::Shard(move_),
    shows: r#"> SET key value EX 100
OK
> MOVE key 1
(integer) 1
> EXISTS key
(integer) 0
> MOVE key 1
(integer) 0
> SELECT 1
OK
> TTL key
(integer) <between 95 100>
> MOVE key 1
(error) ERR source and destination objects are the same
> MOVE key 99
(error) ERR DB index is out of range
"#,
    ..ROW
};

/// A key has the same slot in every database, so both are on this shard.
fn move_(call: &mut Call<'_>) -> Outcome {
    let to = database(call.args[2], call.keyspace.database_count())?;
    if to == call.database {
        return Err(CommandError::SAME_OBJECT);
    }
    let is_free = call.keyspace.edit(to, &call.key).entry().is_none();
    let take = || call.keyspace.take_value(call.database, &call.key, event::MOVE_FROM);
    let value = is_free.then(take).flatten();
    let is_moved = value.is_some();
    if let Some(value) = value {
        call.keyspace.put_value(to, &call.key, value, event::MOVE_TO);
    }
    call.reply.integer(i64::from(is_moved));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_is_read_wholly() {
        let parse = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            parse_copy(&args, DatabaseId(1), 16)
        };
        let to = |index, replace| Ok(CopyRequest { to: DatabaseId(index), replace });
        assert_eq!(parse("copy a b"), to(1, false));
        assert_eq!(parse("copy a a db 3 REPLACE"), to(3, true));
        assert_eq!(parse("copy a a replace"), Err(CommandError::SAME_OBJECT));
        assert_eq!(parse("copy a b db"), Err(CommandError::SYNTAX));
        assert_eq!(parse("copy a b db 16"), Err(CommandError::DATABASE_OUT_OF_RANGE));
        assert_eq!(parse("copy a b db x replace no"), Err(CommandError::NOT_INTEGER));
    }
}
