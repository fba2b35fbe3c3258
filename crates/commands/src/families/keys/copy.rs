//! Moves or copies a key to another name or database.

use basalt_keyspace::{Cause, DatabaseId, Effect, event};

use super::ROW;
use crate::args::{Grammar, database, flag, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run, Verb};
use crate::error::CommandError;

const RENAME_ROW: Command =
    Command { arity: 3, arguments: &[Argument::KEY, Argument::key("newkey", 1)], ..ROW };

pub(super) const RENAME: Command = Command {
    name: "rename",
    since: "1.0.0",
    summary: "Renames a key; replaces the key that has the new name.",
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["OW", "update"])],
    run: Run::Engine(Verb::Rename),
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
    run: Run::Engine(Verb::RenameNx),
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
    run: Run::Engine(Verb::Copy),
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
pub struct CopyRequest {
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
pub fn parse_copy(
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
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_moved = is_free && edit.entry().is_some();
    if is_moved {
        let mut copied = Vec::new();
        let effect = Effect::copy_of(&edit.entry().expect("because it was just seen"), &mut copied);
        edit.as_event(event::MOVE_FROM).commit(Effect::Remove { cause: Cause::Deleted });
        call.keyspace.edit(to, &call.key).as_event(event::MOVE_TO).commit(effect);
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
