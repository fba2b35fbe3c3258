//! Commands about the server process.

use super::{ALWAYS, ROW};
use crate::args::{Grammar, flag, integer};
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

pub(super) const INFO: Command = Command {
    name: "info",
    since: "1.0.0",
    summary: "Returns statistics of the server, in sections.",
    arity: -1,
    flags: ALWAYS,
    also: Categories::DANGEROUS,
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    arguments: &[Argument::string("section").multiple().optional()],
    run: Run::Engine(EngineCommand::Info),
    shows: r##"@resp 2
> INFO keyspace
"# Keyspace\r\n"
> SET key value
OK
> INFO keyspace
"# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0<any text>\r\n"
> INFO nonsense
""
"##,
    ..ROW
};

/// The requested sections of INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoRequest {
    names: Vec<String>,
}

/// Parses INFO's arguments.
pub fn parse_info(args: &[&[u8]]) -> InfoRequest {
    let lower = |name: &&[u8]| String::from_utf8_lossy(name).to_lowercase();
    let names: Vec<String> = args[1..].iter().map(lower).collect();
    InfoRequest { names: if names.is_empty() { vec!["default".to_owned()] } else { names } }
}

impl InfoRequest {
    /// Whether a section, by its name in lower case, is requested. Sections outside of the default
    /// set are included by name, or with `everything`.
    pub fn wants(&self, section: &str, is_default: bool) -> bool {
        self.names.iter().any(|name| match name.as_str() {
            "all" | "everything" => true,
            "default" => is_default,
            name => name == section,
        })
    }
}

pub(super) const LASTSAVE: Command = Command {
    name: "lastsave",
    since: "1.0.0",
    summary: "Returns the Unix time of the last save; before the first one, that of the server's start.",
    arity: 1,
    flags: ALWAYS.or(Flags::FAST),
    also: Categories::ADMIN.or(Categories::DANGEROUS),
    tips: &["nondeterministic_output"],
    run: Run::Engine(EngineCommand::LastSave),
    shows: r#"> LASTSAVE
(integer) <any integer>
"#,
    ..ROW
};

pub(super) const ROLE: Command = Command {
    name: "role",
    since: "2.8.12",
    summary: "Returns the server's role in replication: a primary, with its offset and its replicas.",
    arity: 1,
    flags: ALWAYS.or(Flags::NOSCRIPT).or(Flags::FAST),
    also: Categories::ADMIN.or(Categories::DANGEROUS),
    run: Run::Engine(EngineCommand::Role),
    shows: r#"> ROLE
1) "master"
2) (integer) 0
3) (empty array)
"#,
    ..ROW
};

pub(super) const LOLWUT: Command = Command {
    name: "lolwut",
    since: "5.0.0",
    summary: "Returns a drawing and the version of the server.",
    complexity: "",
    arity: -1,
    flags: Flags::READONLY.or(Flags::FAST),
    arguments: &[Argument::integer("version").after("VERSION").optional()],
    run: Run::Engine(EngineCommand::Lolwut),
    shows: r#"> LOLWUT
<any text>
<any lines>
"#,
    ..ROW
};

/// The number of columns that LOLWUT draws.
const COLUMNS: usize = 11;
const ROWS: usize = 8;

/// Parses LOLWUT's arguments, which select a drawing in other servers and nothing in ours, and
/// draws basalt columns, whose heights `random` gives.
pub fn lolwut(
    args: &[&[u8]],
    version: &str,
    random: &mut dyn FnMut() -> u64,
) -> Result<String, CommandError> {
    if let [_, word, number, ..] = args
        && word.eq_ignore_ascii_case(b"version")
    {
        integer(number)?;
    }
    let heights: [usize; COLUMNS] =
        std::array::from_fn(|_| 2 + (random() % (ROWS as u64 - 1)) as usize);
    let mut drawing = String::new();
    for level in (0..=ROWS).rev() {
        let column = |height: &usize| match level.cmp(height) {
            std::cmp::Ordering::Greater => "    ",
            std::cmp::Ordering::Equal => " __ ",
            std::cmp::Ordering::Less => "|  |",
        };
        let line: String = heights.iter().map(column).collect();
        drawing.push_str(line.trim_end());
        drawing.push('\n');
    }
    drawing.push_str(&format!(
        "\nColumns, one per core, each standing alone. Basalt ver. {version}\n"
    ));
    Ok(drawing)
}

pub(super) const SHUTDOWN: Command = Command {
    name: "shutdown",
    since: "1.0.0",
    summary: "Stops the server, optionally after a save.",
    complexity: "O(N) for N keys to be saved; O(1) without a save",
    arity: -1,
    flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::NO_MULTI).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::one_of(
        "abort-selector",
        &[
            Argument::block(
                "save-selector-block",
                &[
                    Argument::one_of(
                        "save-selector",
                        &[Argument::word("nosave", "NOSAVE"), Argument::word("save", "SAVE")],
                    )
                    .optional(),
                    Argument::word("now", "NOW").optional(),
                    Argument::word("force", "FORCE").optional(),
                    Argument::word("safe", "SAFE").optional(),
                    Argument::word("failover", "FAILOVER").optional(),
                ],
            ),
            Argument::word("abort", "ABORT"),
        ],
    )
    .optional()],
    run: Run::Engine(EngineCommand::Shutdown),
    shows: r#"> SHUTDOWN NOSAVE SAVE
(error) ERR syntax error
> SHUTDOWN NOW ABORT
(error) ERR syntax error
> SHUTDOWN ABORT
(error) ERR No shutdown in progress.
"#,
    ..ROW
};

/// A parsed SHUTDOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownRequest {
    /// Aborts one that is in progress.
    Abort,
    End {
        /// Whether to save; `None`: as configured.
        save: Option<bool>,
        /// Does not wait for replicas.
        now: bool,
        /// Ends even if a save fails.
        force: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ShutdownOption {
    NoSave,
    Save,
    Now,
    Force,
    /// Words of Valkey 9 that only matter with slots and replicas of a cluster.
    OfCluster,
    Abort,
}

pub(super) const SHUTDOWN_OPTIONS: Grammar<ShutdownOption> = Grammar(&[
    flag("nosave", ShutdownOption::NoSave).of_choice(1),
    flag("save", ShutdownOption::Save).of_choice(1),
    flag("now", ShutdownOption::Now),
    flag("force", ShutdownOption::Force),
    flag("safe", ShutdownOption::OfCluster),
    flag("failover", ShutdownOption::OfCluster),
    flag("abort", ShutdownOption::Abort),
]);

/// Parses SHUTDOWN's arguments.
pub fn parse_shutdown(args: &[&[u8]]) -> Result<ShutdownRequest, CommandError> {
    let options: Result<Vec<_>, _> = SHUTDOWN_OPTIONS.parse(&args[1..]).collect();
    let options: Vec<_> = options?.into_iter().map(|(option, _)| option).collect();
    let given = |option| options.contains(&option);
    if given(ShutdownOption::Abort) {
        let is_alone = options.iter().all(|option| *option == ShutdownOption::Abort);
        return if is_alone { Ok(ShutdownRequest::Abort) } else { Err(CommandError::SYNTAX) };
    }
    let save = match (given(ShutdownOption::Save), given(ShutdownOption::NoSave)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let (now, force) = (given(ShutdownOption::Now), given(ShutdownOption::Force));
    Ok(ShutdownRequest::End { save, now, force })
}

pub(super) const TIME: Command = Command {
    name: "time",
    since: "2.6.0",
    summary: "Returns the server's time: Unix seconds, and the microseconds of the current second.",
    arity: 1,
    flags: ALWAYS.or(Flags::FAST),
    tips: &["nondeterministic_output"],
    run: Run::Engine(EngineCommand::Time),
    shows: r#"> TIME
1) "<any integer>"
2) "<any integer>"
"#,
    ..ROW
};

#[cfg(test)]
mod tests {
    use super::*;

    fn shutdown(line: &str) -> Result<ShutdownRequest, CommandError> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        parse_shutdown(&args)
    }

    #[test]
    fn shutdown_options_exclude_each_other() {
        let end = |save, now, force| Ok(ShutdownRequest::End { save, now, force });
        assert_eq!(shutdown("shutdown"), end(None, false, false));
        assert_eq!(shutdown("shutdown NOSAVE now force"), end(Some(false), true, true));
        assert_eq!(shutdown("shutdown save safe"), end(Some(true), false, false));
        assert_eq!(shutdown("shutdown abort ABORT"), Ok(ShutdownRequest::Abort));
        for line in
            ["shutdown save nosave", "shutdown now abort", "shutdown safe abort", "shutdown x"]
        {
            assert_eq!(shutdown(line), Err(CommandError::SYNTAX), "{line}");
        }
    }

    #[test]
    fn sections_are_chosen_by_name_or_in_sets() {
        let plain = parse_info(&[b"info"]);
        assert!(plain.wants("server", true) && !plain.wants("commandstats", false));
        let named = parse_info(&[b"info", b"CommandStats", b"cpu"]);
        assert!(named.wants("commandstats", false) && named.wants("cpu", true));
        assert!(!named.wants("server", true));
        assert!(parse_info(&[b"info", b"everything"]).wants("commandstats", false));
        assert!(!parse_info(&[b"info", b"nonsense"]).wants("server", true));
    }

    #[test]
    fn columns_stand() {
        let mut seed = 0;
        let drawing = lolwut(&[b"lolwut"], "1.2.3", &mut || {
            seed += 1;
            seed
        });
        let drawing = drawing.expect("because there are no arguments to be refused");
        assert!(drawing.contains("|  |") && drawing.ends_with("Basalt ver. 1.2.3\n"), "{drawing}");
        assert!(lolwut(&[b"lolwut", b"version", b"x"], "", &mut || 0).is_err());
    }
}
