//! Snapshots of all data.

use super::ROW;
use crate::args::{Grammar, flag};
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

pub(super) const SAVE: Command = Command {
    name: "save",
    since: "1.0.0",
    summary: "Saves all data to `dbfilename` and answers when it is on the disk.",
    complexity: "O(N) for N keys",
    arity: 1,
    flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING).or(Flags::NO_MULTI),
    run: Run::Engine(EngineCommand::Save),
    shows: r#"@only ours
> SET key value
OK
> SAVE
OK
> SAVE now
(error) ERR wrong number of arguments for 'save' command
"#,
    ..ROW
};

pub(super) const BGSAVE: Command = Command {
    name: "bgsave",
    since: "1.0.0",
    summary: "Starts to save all data, as it is now, to `dbfilename`, or stops to.",
    arity: -1,
    flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING),
    arguments: &[Argument::one_of(
        "operation",
        &[Argument::word("schedule", "SCHEDULE"), Argument::word("cancel", "CANCEL")],
    )
    .optional()],
    run: Run::Engine(EngineCommand::BgSave),
    shows: r#"@only ours
> SET key value
OK
> BGSAVE later
(error) ERR syntax error
> BGSAVE SCHEDULE
Background saving started
"#,
    ..ROW
};

pub(super) const BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    summary: "Begins to write the journal anew, with nothing in it that is over, while the server goes on.",
    shows: "\
> BGREWRITEAOF now
(error) ERR wrong number of arguments for 'bgrewriteaof' command
",
    since: "1.0.0",
    arity: 1,
    flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING),
    run: Run::Engine(EngineCommand::BgRewriteAof),
    ..ROW
};

/// What BGSAVE is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BgSaveRequest {
    Start,
    /// Later, where something else is being written.
    Schedule,
    Cancel,
}

/// FORK and FORKLESS (Valkey 9.2) choose between two ways of which there is one here.
const BGSAVE_WORDS: Grammar<BgSaveRequest> = Grammar(&[
    flag("schedule", BgSaveRequest::Schedule),
    flag("fork", BgSaveRequest::Start),
    flag("forkless", BgSaveRequest::Start),
    flag("cancel", BgSaveRequest::Cancel),
]);

/// Parses BGSAVE's arguments: at most one word.
pub fn parse_bgsave(args: &[&[u8]]) -> Result<BgSaveRequest, CommandError> {
    let words: Result<Vec<_>, _> = BGSAVE_WORDS.parse(&args[1..]).collect();
    match words?[..] {
        [] => Ok(BgSaveRequest::Start),
        [(request, _)] => Ok(request),
        _ => Err(CommandError::SYNTAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_at_most() {
        let parse = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            parse_bgsave(&args)
        };
        assert_eq!(parse("bgsave SCHEDULE"), Ok(BgSaveRequest::Schedule));
        for line in ["bgsave", "bgsave fork", "bgsave FORKLESS"] {
            assert_eq!(parse(line), Ok(BgSaveRequest::Start), "{line}");
        }
        assert_eq!(parse("bgsave cancel"), Ok(BgSaveRequest::Cancel));
        for line in ["bgsave now", "bgsave schedule cancel", "bgsave fork fork"] {
            assert_eq!(parse(line), Err(CommandError::SYNTAX), "{line}");
        }
    }
}
