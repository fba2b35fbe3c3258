//! The command line as Redis parses it: `[CONFIG] [-] [--directive value …]…`; CONFIG may also follow a flag.
//!
//! Every directive becomes a line of configuration, parsed after the file and standard input. A
//! value may start with `--`, since the argument after a directive's name is always its value; only
//! `--save` before another directive or at the end means `--save ""`, as before Redis 7. `"--port
//! 7000"` in one argument is name and value, and the arguments before the first `--` are a line
//! too.
//!
//! Not here: the meaning of the flags in `FLAGS`, and reading files (`server::cli`).

use super::words;

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    pub config_file: Option<Vec<u8>>,
    /// A lone `-`: the configuration continues on standard input.
    pub reads_stdin: bool,
    /// The given ones of `FLAGS`.
    pub flags: Vec<&'static str>,
    /// The given ones of `OPTIONS`, with their values.
    pub options: Vec<(&'static str, Vec<u8>)>,
    /// The directives as lines of a configuration file.
    pub lines: Vec<Vec<u8>>,
}

impl CommandLine {
    /// Words that have no value and are no directives.
    pub const FLAGS: &[&str] =
        &["-h", "--help", "-V", "-v", "--version", "--check-config", "--check-aof", "--fix"];

    /// Words that have a value and are no directives.
    pub const OPTIONS: &[&str] = &["--check-rdb", "--export-aof"];

    /// Parses the arguments after the program's name.
    pub fn parse(arguments: &[Vec<u8>]) -> Self {
        let mut parsed = Self::default();
        let mut rest = arguments;
        let mut is_value_due = false;
        // The file comes first, or behind a flag.
        let mut may_be_file = true;
        while let [argument, others @ ..] = rest {
            let is_option = |option: &&&str| option.as_bytes() == argument && !is_value_due;
            if let Some(option) = Self::OPTIONS.iter().find(is_option)
                && let [value, behind @ ..] = others
            {
                parsed.options.push((option, value.clone()));
                (rest, may_be_file) = (behind, true);
                continue;
            }
            if may_be_file && parsed.config_file.is_none() && !argument.starts_with(b"-") {
                parsed.config_file = Some(argument.clone());
                (rest, may_be_file) = (others, false);
                continue;
            }
            may_be_file = false;
            let is_at_an_end = others.is_empty() || rest.len() == arguments.len();
            if is_value_due {
                parsed.add_value(argument);
                is_value_due = false;
            } else if argument == b"-" && is_at_an_end {
                parsed.reads_stdin = true;
            } else if let Some(flag) = Self::FLAGS.iter().find(|flag| flag.as_bytes() == argument) {
                parsed.flags.push(flag);
                may_be_file = true;
            } else if let Some(directive) = argument.strip_prefix(b"--") {
                is_value_due = parsed.add_directive(directive, others);
            } else {
                parsed.add_value(argument);
            }
            rest = others;
        }
        parsed
    }

    /// Starts a line; returns whether the next argument is its value, whatever it looks like.
    fn add_directive(&mut self, directive: &[u8], behind: &[Vec<u8>]) -> bool {
        let mut line = directive.to_vec();
        let has_value = words::split(directive).is_none_or(|words| words.len() != 1);
        let is_bare_save = directive.eq_ignore_ascii_case(b"save")
            && behind.first().is_none_or(|next| next.starts_with(b"--"));
        if is_bare_save {
            line.extend(b" \"\"");
        }
        self.lines.push(line);
        !has_value && !is_bare_save
    }

    fn add_value(&mut self, value: &[u8]) {
        let value = words::quoted(value);
        match self.lines.last_mut() {
            Some(line) => line.extend([b" ", value.as_slice()].concat()),
            None => self.lines.push(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> CommandLine {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
        CommandLine::parse(&arguments)
    }

    fn lines(arguments: &[&str]) -> Vec<String> {
        parse(arguments).lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn options_take_the_next_word() {
        let parsed = parse(&["--check-rdb", "--odd.rdb", "a.conf", "--requirepass", "--check-rdb"]);
        assert_eq!(parsed.options, [("--check-rdb", b"--odd.rdb".to_vec())]);
        assert_eq!(parsed.config_file, Some(b"a.conf".to_vec()));
        assert_eq!(parsed.lines, [b"requirepass \"--check-rdb\"".to_vec()]);
    }

    #[test]
    fn directives_become_lines() {
        assert_eq!(lines(&[]), Vec::<String>::new());
        assert_eq!(
            lines(&["--port", "7000", "--save", "60", "1", "--save", "300 10"]),
            ["port \"7000\"", "save \"60\" \"1\"", "save \"300 10\""]
        );
        assert_eq!(lines(&["--port 7000", "--hz", "5"]), ["port 7000", "hz \"5\""]);
        assert_eq!(lines(&["--requirepass", "--secret"]), ["requirepass \"--secret\""]);
        assert_eq!(lines(&["--requirepass", "--help"]), ["requirepass \"--help\""]);
        assert_eq!(lines(&["--list-max-listpack-size", "-1"]), ["list-max-listpack-size \"-1\""]);
    }

    #[test]
    fn a_bare_save_saves_never() {
        assert_eq!(lines(&["--save"]), ["save \"\""]);
        assert_eq!(lines(&["--SAVE", "--port", "1"]), ["SAVE \"\"", "port \"1\""]);
        assert_eq!(lines(&["--save", "", "--port", "1"]), ["save \"\"", "port \"1\""]);
        assert_eq!(lines(&["--port", "--save"]), ["port \"--save\""]);
    }

    #[test]
    fn files_standard_input_and_flags_are_found() {
        let parsed = parse(&["a.conf", "--port", "1", "--check-config", "-"]);
        assert_eq!(parsed.config_file.as_deref(), Some(&b"a.conf"[..]));
        assert!(parsed.reads_stdin);
        assert_eq!(parsed.flags, ["--check-config"]);
        assert_eq!(parsed.lines, [b"port \"1\"".to_vec()]);
        for arguments in [
            &["--check-config", "a.conf", "--port", "1"][..],
            &["a.conf", "--check-config", "--port", "1"],
            &["--port", "1", "--check-config", "a.conf"],
            &["a.conf", "--port", "1", "--check-config"],
        ] {
            let parsed = parse(arguments);
            assert_eq!(parsed.config_file.as_deref(), Some(&b"a.conf"[..]), "{arguments:?}");
            assert_eq!(parsed.flags, ["--check-config"], "{arguments:?}");
            assert_eq!(parsed.lines, [b"port \"1\"".to_vec()], "{arguments:?}");
        }
        assert!(parse(&["-", "--port", "1"]).reads_stdin);
        assert!(!parse(&["--bind", "-"]).reads_stdin);
        assert_eq!(parse(&["-v"]).flags, ["-v"]);
    }

    #[test]
    fn words_before_any_directive_are_a_line() {
        assert_eq!(
            lines(&["a.conf", "loglevel", "debug", "--hz", "5"]),
            ["\"loglevel\" \"debug\"", "hz \"5\""]
        );
        assert_eq!(lines(&["-x"]), ["\"-x\""]);
    }
}
