//! Transcripts: sessions in the format of redis-cli, as examples and as tests.
//!
//! ```text
//! # A comment.
//! > SET k v PX 100
//! OK
//! @clock +100ms
//! > GET k
//! (nil)
//! ```
//!
//! A command that blocks has `(waits)` below it; a line `<` reads the reply once it has come.
//!
//! `docs/TESTING.md` lists the directives. A command must be followed by its reply: a missing reply
//! is an error, so that no transcript passes by accident.
//!
//! Not here: the format of a reply (`print`), wildcards (`wildcard`), and the servers
//! (`socket_target`, `sim_target`).

use crate::client::{Request, is_end};
use crate::print::{print, print_sorted};
use crate::wildcard;
use basalt_resp::Value;
use std::fmt::{self, Write as _};
use std::io;

/// A server that a transcript can be replayed against.
pub trait Target {
    fn profile(&self) -> &Profile;

    /// Sends a request as the client with this name, which is connected on first use.
    fn execute(&mut self, client: &str, args: &Request) -> io::Result<Value>;

    /// As `execute`, for a request that may block: returns None once the client is blocked, or the
    /// reply if it has come.
    fn begin_wait(&mut self, client: &str, args: &Request) -> io::Result<Option<Value>>;

    /// The next reply to a blocked client.
    fn end_wait(&mut self, client: &str) -> io::Result<Value>;

    /// Lets time pass, by at most the profile's `wait_ms_max` at a time.
    fn advance_clock(&mut self, ms: u64);
}

/// The properties of a target that directives test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// `ours`, or an oracle's name.
    pub program: &'static str,
    /// 2 or 3.
    pub resp: u8,
    /// `None` for oracles, which have no shards.
    pub shard_count: Option<usize>,
    /// The longest time that its clock can be advanced at once.
    pub wait_ms_max: u64,
}

/// The first reply that differs from the transcript.
#[derive(Debug)]
pub struct Difference {
    pub line: usize,
    pub request: String,
    pub expected: Vec<String>,
    pub got: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "line {}: > {}", self.line, self.request)?;
        writeln!(out, "  expected:")?;
        self.expected.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
        writeln!(out, "  got:")?;
        self.got.iter().try_for_each(|line| writeln!(out, "    {line}"))
    }
}

/// An invalid transcript, with the line.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    pub line: usize,
    pub why: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.why)
    }
}

/// A parsed transcript.
#[derive(Debug)]
pub struct Transcript {
    shard_count: Option<usize>,
    not_for_oracles: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    /// From 1, as editors count.
    line: usize,
    only: Only,
    action: Action,
}

#[derive(Debug)]
enum Action {
    /// Empty: the step reads the reply to a request that blocked.
    Ask {
        client: String,
        source: String,
        args: Request,
        sorted: bool,
        expected: Vec<String>,
    },
    Wait {
        ms: u64,
    },
}

/// The targets of a step.
#[derive(Clone, Debug, Default)]
struct Only {
    /// Empty: all.
    programs: Vec<String>,
    resp: Option<u8>,
}

const PROGRAMS: [&str; 5] = ["ours", "oracle", "redis7", "redis8", "valkey9"];

impl Only {
    fn includes(&self, profile: &Profile) -> bool {
        let is_named = |name: &String| {
            name == profile.program || (name == "oracle" && profile.program != "ours")
        };
        (self.programs.is_empty() || self.programs.iter().any(is_named))
            && self.resp.is_none_or(|resp| resp == profile.resp)
    }
}

impl Transcript {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let transcript = Self::parse_unanswered(text)?;
        for step in &transcript.steps {
            if let Action::Ask { expected, .. } = &step.action
                && expected.is_empty()
            {
                return Err(step_error(step.line, "no reply is written below this command"));
            }
        }
        Ok(transcript)
    }

    /// As `parse`, for a text whose replies are not recorded yet.
    fn parse_unanswered(text: &str) -> Result<Self, ParseError> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.read(index + 1, line).map_err(|why| step_error(index + 1, &why))?;
        }
        Ok(reader.transcript)
    }

    /// Replays every step for this target, up to the first reply that differs. Call it only if
    /// [`unfit_for`](Self::unfit_for) returns `None`.
    pub fn replay(&self, target: &mut dyn Target) -> Result<(), Box<Difference>> {
        let profile = target.profile().clone();
        for step in self.steps_for(&profile) {
            match &step.action {
                Action::Wait { ms } => target.advance_clock(*ms),
                Action::Ask { client, source, args, sorted, expected } => {
                    let got = ask(target, client, args, *sorted, expected);
                    if !wildcard::matches(expected, &got) {
                        return Err(Box::new(Difference {
                            line: step.line,
                            request: source.clone(),
                            expected: expected.clone(),
                            got,
                        }));
                    }
                }
            }
        }
        Ok(())
    }

    /// Why this transcript does not apply to a target; `None` if it does.
    pub fn unfit_for(&self, profile: &Profile) -> Option<String> {
        let oracle = profile.program != "ours";
        if let (true, Some(why)) = (oracle, &self.not_for_oracles) {
            return Some(why.clone());
        }
        if let (Some(wanted), Some(has)) = (self.shard_count, profile.shard_count)
            && wanted != has
        {
            return Some(format!("for {wanted} shards"));
        }
        let mut asks = false;
        for step in self.steps_for(profile) {
            match step.action {
                Action::Ask { .. } => asks = true,
                Action::Wait { ms } if ms > profile.wait_ms_max => {
                    return Some(format!("its clock can't be advanced by {ms} ms"));
                }
                Action::Wait { .. } => {}
            }
        }
        (!asks).then(|| "no step is for this target".to_owned())
    }

    fn steps_for(&self, profile: &Profile) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.only.includes(profile))
    }
}

/// Replaces the replies in `text` that differ from this target's by its own.
pub fn record(text: &str, target: &mut dyn Target) -> Result<String, ParseError> {
    let transcript = Transcript::parse_unanswered(text)?;
    let profile = target.profile().clone();
    let mut lines: Vec<Option<String>> = text.lines().map(|line| Some(line.to_owned())).collect();
    if transcript.unfit_for(&profile).is_some() {
        return Ok(text.to_owned());
    }
    for step in transcript.steps_for(&profile) {
        match &step.action {
            Action::Wait { ms } => target.advance_clock(*ms),
            Action::Ask { client, args, sorted, expected, .. } => {
                let got = ask(target, client, args, *sorted, expected);
                if expected.is_empty() || !wildcard::matches(expected, &got) {
                    lines[step.line..step.line + expected.len()].fill(None);
                    let command = lines[step.line - 1].as_mut();
                    let command = command.expect("because only replies are taken away");
                    got.iter().for_each(|line| {
                        let _ = write!(command, "\n{line}");
                    });
                }
            }
        }
    }
    Ok(lines.into_iter().flatten().fold(String::new(), |all, line| all + &line + "\n"))
}

/// The line below a command that blocks.
const WAITS: &str = "(waits)";

fn ask(
    target: &mut dyn Target,
    client: &str,
    args: &Request,
    sorted: bool,
    expected: &[String],
) -> Vec<String> {
    let answer = if args.is_empty() {
        target.end_wait(client)
    } else if expected == [WAITS] {
        match target.begin_wait(client, args) {
            Ok(None) => return vec![WAITS.to_owned()],
            Ok(Some(value)) => Ok(value),
            Err(error) => Err(error),
        }
    } else {
        target.execute(client, args)
    };
    let printed = match answer {
        Ok(value) if sorted => print_sorted(&value),
        Ok(value) => print(&value),
        Err(error) if is_end(error.kind()) => "(connection closed)".to_owned(),
        Err(error) => format!("(no reply: {error})"),
    };
    // An empty line ends a recorded reply, so it can't be part of one: verbatim text loses its
    // empty lines here.
    let lines: Vec<String> =
        printed.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() { vec!["(empty text)".to_owned()] } else { lines }
}

fn step_error(line: usize, why: &str) -> ParseError {
    ParseError { line, why: why.to_owned() }
}

/// Parses line by line; directives apply to the steps that follow.
struct Reader {
    transcript: Transcript,
    client: String,
    only: Only,
    sorted: bool,
    /// Whether the next line without a prefix belongs to the reply of the last step.
    in_reply: bool,
}

impl Default for Reader {
    fn default() -> Self {
        let transcript = Transcript { shard_count: None, not_for_oracles: None, steps: Vec::new() };
        Self {
            transcript,
            client: "main".to_owned(),
            only: Only::default(),
            sorted: false,
            in_reply: false,
        }
    }
}

impl Reader {
    fn read(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(source) = line.strip_prefix("> ") {
            let args = split_args(source)?;
            let sorted = std::mem::take(&mut self.sorted);
            let (client, source) = (self.client.clone(), source.to_owned());
            self.push(number, Action::Ask { client, source, args, sorted, expected: Vec::new() });
            self.in_reply = true;
        } else if line == "<" {
            let (client, source) = (self.client.clone(), "(what it waited for)".to_owned());
            let (args, sorted) = (Request::new(), std::mem::take(&mut self.sorted));
            self.push(number, Action::Ask { client, source, args, sorted, expected: Vec::new() });
            self.in_reply = true;
        } else if let Some(directive) = line.strip_prefix('@') {
            self.in_reply = false;
            let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
            self.direct(number, name, rest.trim())?;
        } else if line.trim().is_empty() || line.starts_with('#') {
            self.in_reply = false;
        } else {
            match self.transcript.steps.last_mut().map(|step| &mut step.action) {
                Some(Action::Ask { expected, .. }) if self.in_reply => {
                    expected.push(line.to_owned());
                }
                _ => return Err(format!("no command above this reply: {line}")),
            }
        }
        Ok(())
    }

    fn push(&mut self, line: usize, action: Action) {
        self.transcript.steps.push(Step { line, only: self.only.clone(), action });
    }

    fn direct(&mut self, number: usize, name: &str, rest: &str) -> Result<(), String> {
        match name {
            "client" if !rest.is_empty() => rest.clone_into(&mut self.client),
            "clock" => {
                let ms = rest.strip_prefix('+').and_then(parse_duration_ms);
                let ms = ms.ok_or("the clock moves as in @clock +100ms or @clock +2s")?;
                self.push(number, Action::Wait { ms });
            }
            "only" => {
                let names = rest.split_whitespace().filter(|name| *name != "any");
                self.only.programs = names.map(str::to_owned).collect();
                if let Some(name) =
                    self.only.programs.iter().find(|name| !PROGRAMS.contains(&name.as_str()))
                {
                    return Err(format!("@only knows {PROGRAMS:?} and any, not {name}"));
                }
            }
            "resp" => {
                self.only.resp = match rest {
                    "2" => Some(2),
                    "3" => Some(3),
                    "any" => None,
                    _ => return Err("@resp is 2, 3 or any".to_owned()),
                }
            }
            "shards" => {
                let count = rest.parse().map_err(|_| "@shards needs a number")?;
                self.transcript.shard_count = Some(count);
            }
            "skip-oracle" if !rest.is_empty() => {
                self.transcript.not_for_oracles = Some(rest.to_owned());
            }
            "skip-oracle" => return Err("@skip-oracle needs a reason".to_owned()),
            "sorted" => self.sorted = true,
            _ => return Err(format!("unknown directive @{name} {rest}")),
        }
        Ok(())
    }
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse().ok(),
        None => text.strip_suffix('s')?.parse::<u64>().ok()?.checked_mul(1000),
    }
}

/// Splits as redis-cli does: words, `"…"` with escapes, `'…'` with `\'` only.
pub fn split_args(line: &str) -> Result<Request, String> {
    let mut bytes = line.bytes().peekable();
    let mut args = Vec::new();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        let Some(&first) = bytes.peek() else { return Ok(args) };
        let arg = match first {
            b'"' | b'\'' => {
                bytes.next();
                let arg = quoted(&mut bytes, first).ok_or("a quote is not closed")?;
                if bytes.peek().is_some_and(|next| !next.is_ascii_whitespace()) {
                    return Err("a closing quote must be followed by a space".to_owned());
                }
                arg
            }
            _ => std::iter::from_fn(|| bytes.next_if(|byte| !byte.is_ascii_whitespace())).collect(),
        };
        args.push(arg);
    }
}

fn quoted(bytes: &mut std::iter::Peekable<impl Iterator<Item = u8>>, quote: u8) -> Option<Vec<u8>> {
    let mut arg = Vec::new();
    loop {
        let byte = bytes.next()?;
        if byte == quote {
            return Some(arg);
        }
        if byte != b'\\' {
            arg.push(byte);
            continue;
        }
        let escaped = bytes.next()?;
        match (quote, escaped) {
            (b'\'', b'\'') => arg.push(b'\''),
            (b'\'', other) => arg.extend([b'\\', other]),
            (_, b'n') => arg.push(b'\n'),
            (_, b'r') => arg.push(b'\r'),
            (_, b't') => arg.push(b'\t'),
            (_, b'a') => arg.push(7),
            (_, b'b') => arg.push(8),
            (_, b'x') => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                arg.push(u8::try_from(high * 16 + low).expect("because two hex digits fit a byte"));
            }
            (_, other) => arg.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::request;

    /// Answers every request with its last argument.
    struct Echo {
        profile: Profile,
        asked: Vec<(String, Request)>,
        waited_ms: u64,
    }

    impl Echo {
        fn new(program: &'static str, resp: u8) -> Self {
            let shard_count = (program == "ours").then_some(4);
            let profile = Profile { program, resp, shard_count, wait_ms_max: 3000 };
            Self { profile, asked: Vec::new(), waited_ms: 0 }
        }
    }

    impl Target for Echo {
        fn profile(&self) -> &Profile {
            &self.profile
        }

        fn execute(&mut self, client: &str, args: &Request) -> io::Result<Value> {
            self.asked.push((client.to_owned(), args.clone()));
            Ok(Value::Bulk(args.last().unwrap().clone()))
        }

        fn begin_wait(&mut self, client: &str, args: &Request) -> io::Result<Option<Value>> {
            self.asked.push((client.to_owned(), args.clone()));
            Ok(None)
        }

        fn end_wait(&mut self, client: &str) -> io::Result<Value> {
            Ok(Value::Bulk(client.into()))
        }

        fn advance_clock(&mut self, ms: u64) {
            self.waited_ms += ms;
        }
    }

    fn replay(text: &str, target: &mut Echo) -> Result<(), Box<Difference>> {
        Transcript::parse(text).unwrap().replay(target)
    }

    #[test]
    fn a_reply_as_written_passes_and_another_one_fails() {
        let mut echo = Echo::new("ours", 2);
        replay("# comment\n> ECHO a\n\"a\"\n\n> ECHO <any>\n\"<any text>\"\n", &mut echo).unwrap();
        assert_eq!(echo.asked.len(), 2);
        let wrong = replay("> ECHO a\n\"a\"\n> ECHO b\n\"a\"\n", &mut echo).unwrap_err();
        assert_eq!((wrong.line, wrong.got), (3, vec!["\"b\"".to_owned()]));
    }

    #[test]
    fn a_reply_may_come_later() {
        let text = "> POP k\n(waits)\n@client other\n> PUSH k\n\"k\"\n@client main\n<\n\"main\"\n";
        let mut echo = Echo::new("ours", 2);
        replay(text, &mut echo).unwrap();
        assert_eq!(echo.asked.len(), 2);
    }

    #[test]
    fn a_command_without_reply_is_no_test() {
        let error = Transcript::parse("> ECHO a\n> ECHO b\n\"b\"\n").unwrap_err();
        assert_eq!(error.line, 1);
    }

    #[test]
    fn directives_choose_steps_clients_and_time() {
        let text = "@only redis7\n> A 1\nx\n@only ours\n> B 2\n\"2\"\n@only any\n@resp 2\n> C 3\nx\n\
                    @resp any\n@client other\n@clock +2s\n@clock +5ms\n> D 4\n\"4\"\n";
        let mut echo = Echo::new("ours", 3);
        replay(text, &mut echo).unwrap();
        assert_eq!(echo.waited_ms, 2005);
        assert_eq!(
            echo.asked,
            [("main".to_owned(), request(&["B", "2"])), ("other".to_owned(), request(&["D", "4"]))]
        );
    }

    #[test]
    fn transcripts_are_unfit_by_shards_clock_and_for_oracles() {
        let unfit = |text: &str, program| {
            Transcript::parse(text).unwrap().unfit_for(&Echo::new(program, 2).profile)
        };
        assert_eq!(unfit("@shards 1\n> A\nx\n", "ours").unwrap(), "for 1 shards");
        assert_eq!(unfit("@shards 4\n> A\nx\n", "ours"), None);
        assert_eq!(unfit("@shards 1\n> A\nx\n", "redis7"), None);
        assert_eq!(unfit("@skip-oracle no shards\n> A\nx\n", "redis7").unwrap(), "no shards");
        assert!(unfit("@clock +4s\n> A\nx\n", "ours").is_some());
        assert!(unfit("@only oracle\n> A\nx\n", "ours").is_some());
    }

    #[test]
    fn recording_writes_what_came_and_keeps_what_matches() {
        let text = "> ECHO a\n# next\n> ECHO b\nold\nlines\n> ECHO 12\n\"<any integer>\"\n";
        let recorded = record(text, &mut Echo::new("redis7", 2)).unwrap();
        let expected = "> ECHO a\n\"a\"\n# next\n> ECHO b\n\"b\"\n> ECHO 12\n\"<any integer>\"\n";
        assert_eq!(recorded, expected);
    }

    #[test]
    fn arguments_are_split_as_in_redis_cli() {
        assert!(split_args("SET 'it").is_err(), "an open quote");
        let args = split_args(r#"  SET "a \x00\"\n" 'it\'s \n' "" plain"quote  "#).unwrap();
        let expected: [&[u8]; 5] = [b"SET", b"a \0\"\n", b"it's \\n", b"", b"plain\"quote"];
        assert_eq!(args, request(&expected));
        assert!(split_args("\"a\"b").is_err());
    }

    #[test]
    fn directives_are_checked() {
        for text in ["@clock 5", "@resp 4", "@only redis9", "@skip-oracle", "@nonsense", "stray"] {
            assert!(Transcript::parse(text).is_err(), "{text}");
        }
    }
}
