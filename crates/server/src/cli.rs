//! The command line: from arguments and files to a configuration, or to a message and the end.
//!
//! Directives go to the parameter table as Redis reads them (`commands::config::CommandLine`); clap
//! sees the rest: the configuration file, `--help`, `--version` and `--check-config`. This room
//! reads the files, those that are included too.
//!
//! Not here: what a configuration means, and acting on it.

use basalt_commands::config::{self, CommandLine, Config, Loaded, Source};
use basalt_commands::glob;
use basalt_server::{check_journal, check_rdb, checks, export_journal};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What the server was told at start.
#[derive(Debug)]
pub(crate) struct Launch {
    /// `dir` is absolute, and was there.
    pub(crate) config: Config,
    /// The configuration file, absolute: where CONFIG REWRITE writes.
    pub(crate) config_path: Option<PathBuf>,
    /// What was accepted and may surprise, for the log.
    pub(crate) warnings: Vec<String>,
    /// Only the configuration was to be checked; `launch` ends the process then.
    pub(crate) check_only: bool,
    /// Only this snapshot file was to be checked.
    check_rdb: Option<PathBuf>,
    /// The journal was only to be exported to this folder.
    export_aof: Option<PathBuf>,
    /// Only the journal was to be checked, and mended where that is said.
    check_aof: Option<bool>,
}

/// Why there is nothing to launch.
#[derive(Debug)]
struct Exit {
    code: i32,
    text: String,
}

impl Exit {
    fn failed(why: impl std::fmt::Display) -> Self {
        Self {
            code: 1,
            text: format!("basalt-server: the configuration cannot be used\n\n{why}\n"),
        }
    }

    fn leave(&self) -> ! {
        let text = self.text.as_bytes();
        // Nobody is left to hear of a broken pipe.
        let _ = match self.code {
            0 => io::stdout().write_all(text),
            _ => io::stderr().write_all(text),
        };
        std::process::exit(self.code);
    }
}

/// An in-memory data store that speaks Redis and runs every command on every core.
#[derive(Parser)]
#[command(name = "basalt-server", version, disable_version_flag = true)]
#[command(override_usage = "basalt-server [CONFIG] [--directive value …]…")]
struct Cli {
    /// A file in the syntax of redis.conf; a lone `-` at the end reads standard input too.
    config: Option<PathBuf>,

    /// Say all that is wrong with the configuration, and start nothing.
    #[arg(long)]
    check_config: bool,

    /// Say whether the journal's files are sound, and start nothing.
    #[arg(long, conflicts_with = "check_config")]
    check_aof: bool,

    /// With --check-aof: cut off what is not sound at the end of the last files.
    #[arg(long, requires = "check_aof")]
    fix: bool,

    /// Say whether a snapshot file is sound, and start nothing.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, conflicts_with = "check_config")]
    check_rdb: Option<PathBuf>,

    /// Write the journal as an append-only file of Redis into an empty folder.
    #[arg(long, value_name = "DIR", allow_hyphen_values = true, conflicts_with = "check_config")]
    export_aof: Option<PathBuf>,

    /// Print the version.
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// Reads the process' arguments. Ends the process after `--check-config`, `--help` and `--version`, and when the
/// configuration cannot be used.
pub(crate) fn launch() -> Launch {
    let arguments: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsString::into_vec).collect();
    let launch =
        launch_with(&arguments, &mut io::stdin().lock()).unwrap_or_else(|exit| exit.leave());
    if launch.check_only {
        Exit { code: 0, text: launch.check_result() }.leave();
    }
    if let Some(fix) = launch.check_aof {
        match check_journal(&launch.config, fix) {
            Ok(text) => Exit { code: 0, text }.leave(),
            Err(text) => Exit { code: 1, text }.leave(),
        }
    }
    if let Some(path) = &launch.export_aof {
        match export_journal(&launch.config, path) {
            Ok(text) => Exit { code: 0, text }.leave(),
            Err(text) => Exit { code: 1, text }.leave(),
        }
    }
    if let Some(path) = &launch.check_rdb {
        match check_rdb(path) {
            Ok(text) => Exit { code: 0, text }.leave(),
            Err(text) => Exit { code: 1, text }.leave(),
        }
    }
    launch
}

impl Launch {
    /// What `--check-config` says of a configuration that can be used.
    fn check_result(&self) -> String {
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        warnings.chain(["The configuration can be used.\n".into()]).collect()
    }
}

fn launch_with(arguments: &[Vec<u8>], stdin: &mut dyn Read) -> Result<Launch, Exit> {
    let line = CommandLine::parse(arguments);
    let cli = parse_flags(&line)?;
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    if let Some(path) = &cli.config {
        texts.push((path.display().to_string(), read(path).map_err(Exit::failed)?));
    }
    if line.reads_stdin {
        let mut text = Vec::new();
        stdin.read_to_end(&mut text).map_err(|error| Exit::failed(format!("stdin: {error}")))?;
        texts.push(("stdin".into(), text));
    }
    let mut sources: Vec<Source<'_>> =
        texts.iter().map(|(name, text)| Source::File { name, text }).collect();
    sources.push(Source::CommandLine(&line.lines));
    let Loaded { mut config, warnings, errors } = Config::load(&sources, &mut included);
    let mut faults = Vec::new();
    if !errors.errors.is_empty() {
        faults.push(errors.to_string());
    }
    match absolute_directory(&config.dir) {
        Ok(dir) => config.dir = dir,
        Err(why) => faults.push(why),
    }
    let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    if cli.check_config {
        faults.extend(checks::faults(&config));
        warnings.extend(checks::warnings(&config));
    }
    if !faults.is_empty() {
        return Err(Exit::failed(faults.join("\n")));
    }
    let config_path = cli.config.map(std::path::absolute).transpose().map_err(Exit::failed)?;
    Ok(Launch {
        config,
        config_path,
        warnings,
        check_only: cli.check_config,
        check_rdb: cli.check_rdb,
        export_aof: cli.export_aof,
        check_aof: cli.check_aof.then_some(cli.fix),
    })
}

fn parse_flags(line: &CommandLine) -> Result<Cli, Exit> {
    let file = line.config_file.as_deref().map(OsStr::from_bytes);
    let words = line.flags.iter().map(OsStr::new).chain(file);
    let options = line.options.iter();
    let options = options.flat_map(|(name, value)| [OsStr::new(name), OsStr::from_bytes(value)]);
    let words = options.chain(words);
    let command = Cli::command().after_help(after_help());
    let parsed =
        command.try_get_matches_from(std::iter::once(OsStr::new("basalt-server")).chain(words));
    parsed.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        let asked = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind());
        Exit { code: if asked { 0 } else { 1 }, text: error.render().to_string() }
    })
}

fn after_help() -> String {
    format!(
        "\
Directives:
  Every parameter of a configuration file is a directive here, and counts more than in the file.
  The usual ones, with their defaults (all of them: docs/reference/config.md):

{}Examples:
  basalt-server
  basalt-server basalt.conf
  basalt-server basalt.conf --port 7000 --bind 127.0.0.1
  basalt-server basalt.conf --check-config
  basalt-server --maxmemory 4gb --shards 4
  echo 'requirepass secret' | basalt-server basalt.conf -",
        config::usage()
    )
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read '{}': {error}", path.display()))
}

fn absolute_directory(dir: &str) -> Result<String, String> {
    let refused = |why: String| format!("dir '{dir}': {why}");
    let path = std::fs::canonicalize(dir).map_err(|error| refused(error.to_string()))?;
    if !path.is_dir() {
        return Err(refused("Not a directory".into()));
    }
    let path = path.into_os_string().into_string();
    path.map_err(|_| refused("its whole path is not valid UTF-8".into()))
}

/// The files that an `include` means, in the order of their names.
fn included(pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let paths = match has_wildcard(pattern.as_bytes()) {
        true => matching(Path::new(pattern)),
        false => vec![PathBuf::from(pattern)],
    };
    paths.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect()
}

fn has_wildcard(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| b"*?[".contains(byte))
}

/// The paths that exist and match, name by name; a directory that cannot be read has none, as for a
/// shell.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for name in pattern {
        found = found.iter().flat_map(|base| step(base, name.as_bytes())).collect();
    }
    found
}

/// What stands in a directory under a name with or without wildcards.
fn step(base: &Path, name: &[u8]) -> Vec<PathBuf> {
    if !has_wildcard(name) {
        let path = base.join(OsStr::from_bytes(name));
        return if path.exists() { vec![path] } else { Vec::new() };
    }
    let listed = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
    let is_match = |entry: &OsString| {
        let is_hidden = entry.as_bytes().starts_with(b".") && !name.starts_with(b".");
        !is_hidden && glob::matches(name, entry.as_bytes())
    };
    let mut names: Vec<OsString> =
        entries.map(|entry| entry.file_name()).filter(is_match).collect();
    names.sort();
    names.iter().map(|name| base.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for a test, gone at its end.
    struct Files(PathBuf);

    impl Files {
        fn new(test: &str, files: &[(&str, &str)]) -> Self {
            let directory = format!("basalt-cli-{}-{test}", std::process::id());
            let directory = std::env::temp_dir().join(directory);
            std::fs::create_dir_all(directory.join("conf.d")).expect("a directory can be made");
            for (name, text) in files {
                std::fs::write(
                    directory.join(name),
                    text.replace("DIR", &directory.display().to_string()),
                )
                .expect("a file can be written");
            }
            Self(directory)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).display().to_string()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("the directory can be removed");
        }
    }

    fn run(arguments: &[&str], stdin: &str) -> Result<Launch, Exit> {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
        launch_with(&arguments, &mut stdin.as_bytes())
    }

    #[test]
    fn nothing_said_is_the_default() {
        let launch = run(&[], "").unwrap();
        assert_eq!(launch.config.port, 6379);
        assert!(Path::new(&launch.config.dir).is_absolute());
        assert!(launch.config_path.is_none() && launch.warnings.is_empty() && !launch.check_only);
    }

    #[test]
    fn file_standard_input_and_command_line_count_in_this_order() {
        let files = Files::new(
            "order",
            &[("a.conf", "port 1\nhz 1\ntimeout 1\nio-threads 4\ndir DIR/conf.d")],
        );
        let path = files.path("a.conf");
        let launch = run(&[&path, "--port", "3", "--check-config", "-"], "port 2\nhz 2").unwrap();
        let config = &launch.config;
        assert_eq!((config.port, config.hz, config.timeout), (3, 2, 1));
        assert!(config.dir.ends_with("/conf.d"), "{}", config.dir);
        assert_eq!(launch.config_path, Some(PathBuf::from(&path)));
        assert!(launch.warnings[0].starts_with(&format!("{path}:4: 'io-threads'")));
        assert!(launch.check_only);
        let result = launch.check_result();
        assert!(result.starts_with("warning: ") && result.ends_with("can be used.\n"), "{result}");
    }

    #[test]
    fn includes_find_files_by_wildcards() {
        let files = Files::new(
            "include",
            &[
                (
                    "a.conf",
                    "include DIR/b.conf\ninclude DIR/c*.d/[0-9]*.conf\ninclude DIR/none*.conf",
                ),
                ("b.conf", "port 7"),
                ("conf.d/20.conf", "hz 20"),
                ("conf.d/10.conf", "hz 10\ntimeout 10"),
                ("conf.d/x.conf", "hz 99"),
                ("conf.d/.5.conf", "hz 99"),
            ],
        );
        let config = run(&[&files.path("a.conf")], "").unwrap().config;
        assert_eq!((config.port, config.hz, config.timeout), (7, 20, 10));
    }

    #[test]
    fn failures_say_why_and_end_with_1() {
        let files = Files::new(
            "failures",
            &[("a.conf", "port 1\ninclude DIR/gone.conf"), ("b.conf", "prot 1")],
        );
        for (arguments, why) in [
            (&[files.path("a.conf")][..], "gone.conf': No such file or directory"),
            (&[files.path("b.conf")], "did you mean 'port'?"),
            (&[files.path("c.conf")], "c.conf': No such file or directory"),
            (&["--port".into()], "command line: 'port'\n  wrong number of arguments"),
            (&["--dir".into(), files.path("gone")], "No such file or directory"),
            (&["--dir".into(), files.path("a.conf")], "Not a directory"),
        ] {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let exit = run(&arguments, "").unwrap_err();
            assert_eq!(exit.code, 1);
            assert!(exit.text.contains(why), "{}", exit.text);
        }
    }

    #[test]
    fn a_check_says_all_that_is_wrong() {
        let files = Files::new(
            "check",
            &[(
                "a.conf",
                "hz x\nmaxmemory-policy allkeys-lru\nbind 300.1.1.1 127.0.0.1\nport 0x\nlogfile DIR/gone/log\n\
                 unixsocket DIR/a.conf\ndir DIR/gone\nunixsocketgroup no-such-group",
            )],
        );
        let path = files.path("a.conf");
        for arguments in [[&path, "--check-config"], ["--check-config", &path]] {
            let exit = run(&arguments, "").unwrap_err();
            assert_eq!(exit.code, 1);
            for part in [
                "a.conf:1: 'hz x'",
                "a.conf:4: 'port 0x'",
                "/gone': No such file or directory",
                "bind 300.1.1.1: ",
                "/gone/log: ",
                "/a.conf: it is no socket",
                "unixsocketgroup no-such-group: ",
            ] {
                assert!(exit.text.contains(part), "{part} is missing: {}", exit.text);
            }
        }
        // What is right passes, and nothing is left behind.
        let log = files.path("log");
        let socket = files.path("socket");
        let arguments =
            ["--check-config", "--port", "0", "--unixsocket", &socket, "--logfile", &log];
        assert!(run(&arguments, "").unwrap().check_only);
        assert!(!Path::new(&log).exists() && !Path::new(&socket).exists());
        // The server starts without a pidfile, so the check passes, too.
        let gone = files.path("gone/pid");
        let arguments =
            ["--check-config", "--port", "0", "--unixsocket", &socket, "--pidfile", &gone];
        let result = run(&arguments, "").unwrap().check_result();
        assert!(result.starts_with(&format!("warning: pidfile {gone}: No such file")), "{result}");
    }

    #[test]
    fn help_and_version_are_no_failures() {
        for flag in ["-h", "--help"] {
            let exit = run(&["--port", "1", flag], "").unwrap_err();
            assert_eq!(exit.code, 0);
            for part in ["Usage: basalt-server", "--check-config", "--maxmemory ", "Examples:"] {
                assert!(exit.text.contains(part), "{part}");
            }
            assert!(!exit.text.contains("repl-timeout"), "nothing acts on it yet");
            assert!(exit.text.lines().all(|line| line.chars().count() <= 100), "{}", exit.text);
        }
        for flag in ["-v", "-V", "--version"] {
            let exit = run(&[flag], "").unwrap_err();
            assert_eq!(
                (exit.code, exit.text),
                (0, format!("basalt-server {}\n", env!("CARGO_PKG_VERSION")))
            );
        }
    }
}
