//! Loading: from the text of files and of the command line to a `Config`.
//!
//! The syntax is that of redis.conf: a directive and its words per line, `#` comments, quotes
//! (`words`), units, `include`. If a directive is repeated, the last one counts, except for `save`,
//! which adds up. An error has file, line, the line itself and, for an unknown directive, the most
//! similar one.
//!
//! Not here: reading files. The caller passes the text, and a function for included files.

use super::parameter::{Parameter, Standing};
use super::{Config, PARAMETERS, find, words};
use std::fmt::{self, Display, Formatter};

/// LIMIT: the depth of nested includes.
const INCLUDE_DEPTH_MAX: usize = 16;

/// A text to load; several are parsed one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    File {
        name: &'a str,
        text: &'a [u8],
    },
    /// Lines from the command line (`CommandLine::lines`).
    CommandLine(&'a [Vec<u8>]),
}

/// Finds the files of an `include`: their names, in order, and their texts.
///
/// A pattern may match nothing; a missing file with a name without `*`, `?` and `[` is an error.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<(String, Vec<u8>)>, String> + 'a;

/// A warning: something that was accepted but should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// File and line; `None` if it is about several lines.
    pub place: Option<String>,
    pub text: String,
}

impl Display for Warning {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{place}: {}", self.text),
            None => formatter.write_str(&self.text),
        }
    }
}

/// Why a configuration is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// File and line, or the command line.
    pub place: String,
    /// Where the file was included, the innermost include first.
    pub included_at: Vec<String>,
    /// The line, without secrets.
    pub line: String,
    pub message: String,
    /// The most similar known name.
    pub suggestion: Option<&'static str>,
}

impl Display for ConfigError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: '{}'\n  {}", self.place, self.line, self.message)?;
        for place in &self.included_at {
            write!(formatter, "\n  included at {place}")?;
        }
        if let Some(suggestion) = self.suggestion {
            write!(formatter, "\n  did you mean '{suggestion}'?")?;
        }
        Ok(())
    }
}

/// LIMIT: how many refused lines are kept; further ones are only counted.
const ERRORS_MAX: usize = 100;

/// All lines that cannot be used, in their order; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    pub errors: Vec<ConfigError>,
    /// How many more there were.
    pub omitted: usize,
}

impl Display for ConfigErrors {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            write!(formatter, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        if self.omitted > 0 {
            write!(formatter, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A directive that is no parameter.
struct Directive {
    name: &'static str,
    word_count_min: usize,
    word_count_max: usize,
    meaning: Meaning,
}

enum Meaning {
    Include,
    /// It is ignored without a change of meaning, for this reason.
    Ignored(&'static str),
    /// Ignoring it would change the meaning of the configuration.
    Refused(&'static str),
}

const MANY: usize = usize::MAX;

const DIRECTIVES: &[Directive] = &[
    directive("include", 1, 1, Meaning::Include),
    directive("rename-command", 2, 2, Meaning::Refused("renaming commands is not built yet")),
    directive("user", 1, MANY, Meaning::Refused("users are not built yet; use requirepass")),
    directive("loadmodule", 1, MANY, Meaning::Refused("modules for Redis cannot be loaded")),
    directive("sentinel", 0, MANY, Meaning::Refused("sentinel mode is not built yet")),
    directive("list-max-ziplist-entries", 1, 1, Meaning::Ignored("see list-max-listpack-size")),
    directive("list-max-ziplist-value", 1, 1, Meaning::Ignored("see list-max-listpack-size")),
    directive("lua-replicate-commands", 1, 1, Meaning::Ignored("effects are always replicated")),
];

const fn directive(
    name: &'static str,
    word_count_min: usize,
    word_count_max: usize,
    meaning: Meaning,
) -> Directive {
    Directive { name, word_count_min, word_count_max, meaning }
}

/// The names of the directives that are no parameters; a rewrite keeps their lines.
pub(super) fn directive_names() -> impl Iterator<Item = &'static str> {
    DIRECTIVES.iter().map(|directive| directive.name)
}

impl Config {
    /// Loads one file on top of the defaults.
    pub fn parse_file(
        text: &[u8],
        name: &str,
        include: &mut Include<'_>,
    ) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        Config::load(&[Source::File { name, text }], include).used()
    }

    /// Loads several sources on top of the defaults, as if they were one file.
    pub fn load(sources: &[Source<'_>], include: &mut Include<'_>) -> Loaded {
        let mut loading = Loading {
            config: Config::default(),
            warnings: Vec::new(),
            errors: ConfigErrors::default(),
            seen: Vec::new(),
            inert_defaults: Vec::new(),
            including: Vec::new(),
            include,
        };
        for source in sources {
            match source {
                Source::File { name, text } => loading.file(name, text),
                Source::CommandLine(lines) => {
                    lines.iter().for_each(|line| loading.line("command line", line));
                }
            }
        }
        loading.end()
    }
}

/// A loaded configuration, with its warnings.
#[derive(Debug)]
pub struct Loaded {
    /// Without the lines that were refused.
    pub config: Config,
    pub warnings: Vec<Warning>,
    pub errors: ConfigErrors,
}

impl Loaded {
    /// The configuration and what to know of it, or all the lines that can't be used.
    pub fn used(self) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        match self.errors.errors.is_empty() {
            true => Ok((self.config, self.warnings)),
            false => Err(self.errors),
        }
    }
}

struct Loading<'a, 'b> {
    config: Config,
    warnings: Vec<Warning>,
    errors: ConfigErrors,
    /// The parameters given so far, in any file.
    seen: Vec<&'static str>,
    inert_defaults: Vec<&'static str>,
    /// The files being parsed, each with the line of the include in it.
    including: Vec<(String, String)>,
    include: &'a mut Include<'b>,
}

/// What is wrong with a line.
struct Refusal {
    message: String,
    suggestion: Option<&'static str>,
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Refusal { message, suggestion: None }
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl Loading<'_, '_> {
    fn file(&mut self, name: &str, text: &[u8]) {
        self.including.push((name.to_owned(), String::new()));
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let place = format!("{name}:{}", index + 1);
            if let Some((_, at)) = self.including.last_mut() {
                at.clone_from(&place);
            }
            self.line(&place, line);
        }
        self.including.pop();
    }

    fn line(&mut self, place: &str, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return;
        }
        let outcome = match words::split(line) {
            None => Err("a quote is not closed, or something follows the closing quote".into()),
            Some(words) => match words.split_first() {
                None => Ok(()),
                Some((name, _)) if name.eq_ignore_ascii_case(b"include") => {
                    self.include(place, line, &words)
                }
                Some((name, values)) => self.directive(place, name, values),
            },
        };
        if let Err(refusal) = outcome {
            self.refuse(place, line, refusal);
        }
    }

    fn directive(&mut self, place: &str, name: &[u8], values: &[Vec<u8>]) -> Result<(), Refusal> {
        if let Some((parameter, _)) = find(name) {
            return self.parameter(place, parameter, values);
        }
        let known = DIRECTIVES.iter().find(|d| name.eq_ignore_ascii_case(d.name.as_bytes()));
        let shown = String::from_utf8_lossy(name);
        let Some(directive) = known else {
            let message = match name.contains(&b'.') {
                true => {
                    format!("'{shown}' would be a module's directive, and there are no modules")
                }
                false => {
                    format!("Bad directive or wrong number of arguments: no '{shown}' is known")
                }
            };
            return Err(Refusal { message, suggestion: suggestion(name) });
        };
        if values.len() < directive.word_count_min || values.len() > directive.word_count_max {
            return Err("wrong number of arguments".into());
        }
        match directive.meaning {
            Meaning::Include => {}
            Meaning::Ignored(why) => {
                let text = format!("'{}' is accepted but has no effect: {why}", directive.name);
                self.warnings.push(Warning { place: Some(place.to_owned()), text });
            }
            Meaning::Refused(why) => return Err(format!("'{}': {why}", directive.name).into()),
        }
        Ok(())
    }

    fn parameter(
        &mut self,
        place: &str,
        parameter: &'static Parameter,
        values: &[Vec<u8>],
    ) -> Result<(), Refusal> {
        let many = parameter.kind.takes_many();
        if !many && values.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        // Several words may also come as one: `save "60 1"`.
        let split = match values {
            [all] if many && !all.is_empty() => {
                Some(words::split(all).ok_or("a quote is not closed within the value")?)
            }
            _ => None,
        };
        let values = split.as_deref().unwrap_or(values);
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let again = self.seen.contains(&parameter.name);
        let mut config = self.config.clone();
        parameter.assign(&mut config, &values, again)?;
        self.config = config;
        if !again {
            self.seen.push(parameter.name);
        }
        self.warn_of(place, parameter);
        Ok(())
    }

    fn warn_of(&mut self, place: &str, parameter: &'static Parameter) {
        let is_default = parameter.has_default(&self.config);
        let name = parameter.name;
        let text = match parameter.standing {
            Standing::Used => return,
            Standing::Later if is_default => return,
            Standing::Later => {
                let why = parameter.missing().unwrap_or_default();
                format!("'{name}' has no effect: {why}")
            }
            Standing::Inert if is_default => {
                if !self.inert_defaults.contains(&name) {
                    self.inert_defaults.push(name);
                }
                return;
            }
            Standing::Inert => {
                let why = parameter.paragraphs().next().unwrap_or_default();
                format!("'{name}' is accepted but has no effect: {why}")
            }
        };
        self.warnings.push(Warning { place: Some(place.to_owned()), text });
    }

    fn include(&mut self, place: &str, line: &[u8], words: &[Vec<u8>]) -> Result<(), Refusal> {
        let files = match words {
            _ if self.including.len() > INCLUDE_DEPTH_MAX => {
                Err(format!("files include each other more than {INCLUDE_DEPTH_MAX} deep"))
            }
            [_, pattern] => match str::from_utf8(pattern) {
                Ok(pattern) => (self.include)(pattern),
                Err(_) => Err("a file's name must be valid UTF-8".into()),
            },
            _ => Err("wrong number of arguments".into()),
        }?;
        for (name, text) in files {
            if self.including.iter().any(|(open, _)| *open == name) {
                self.refuse(place, line, format!("'{name}' includes itself").into());
            } else {
                self.file(&name, &text);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, place: &str, line: &[u8], refusal: Refusal) {
        if self.errors.errors.len() == ERRORS_MAX {
            self.errors.omitted += 1;
            return;
        }
        let outer = self.including.len().saturating_sub(1);
        let included_at = self.including[..outer].iter().rev().map(|(_, at)| at.clone()).collect();
        self.errors.errors.push(ConfigError {
            place: place.to_owned(),
            included_at,
            line: without_secrets(line, refusal.suggestion),
            message: refusal.message,
            suggestion: refusal.suggestion,
        });
    }

    fn end(mut self) -> Loaded {
        if !self.inert_defaults.is_empty() {
            let names = self.inert_defaults.join(", ");
            let text = format!("accepted but without effect, with their default values: {names}");
            self.warnings.push(Warning { place: None, text });
        }
        Loaded { config: self.config, warnings: self.warnings, errors: self.errors }
    }
}

/// The line in a form that may be shown: a directive that holds a secret, or may be misspelt for
/// one, loses its words.
fn without_secrets(line: &[u8], suggestion: Option<&str>) -> String {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let name = &line[..end];
    let is_secret = |name: &[u8]| {
        find(name).is_some_and(|(parameter, _)| parameter.is_secret)
            || name.eq_ignore_ascii_case(b"user")
    };
    let hides = end < line.len();
    if hides && is_secret(name) || suggestion.is_some_and(|meant| is_secret(meant.as_bytes())) {
        return format!("{} (hidden)", String::from_utf8_lossy(name));
    }
    let shown: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
    shown
}

/// The known name that is most similar to an unknown one, if it is similar enough.
fn suggestion(name: &[u8]) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    // LIMIT: no directive is longer than twice this, and the time is quadratic.
    if name.len() > 64 {
        return None;
    }
    let names = PARAMETERS.iter().flat_map(Parameter::names).chain(directive_names());
    let (distance, nearest) = names.map(|n| (distance(&name, n.as_bytes()), n)).min()?;
    (distance <= 1 + name.len() / 5).then_some(nearest)
}

/// The number of bytes to insert, remove, replace or swap with their neighbour (optimal string
/// alignment distance).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                let moved = 1 + rows[i - 1][j].min(rows[i][j - 1]);
                let is_swap =
                    i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                let swapped = if is_swap { 1 + rows[i - 2][j - 2] } else { usize::MAX };
                replaced.min(moved).min(swapped)
            };
        }
    }
    rows[one.len()][other.len()]
}

/// A fuzz target: loads any bytes, and a loaded configuration must survive a rewrite.
pub fn fuzz_file(data: &[u8]) {
    let mut nothing = |_: &str| Ok(Vec::new());
    let Ok((config, _)) = Config::parse_file(data, "fuzz", &mut nothing) else { return };
    let rewritten = super::rewrite(data, &config, super::Extent::Changed);
    let again = Config::parse_file(&rewritten, "rewritten", &mut nothing);
    let (again, _) = again.expect("because a rewritten configuration can be loaded");
    assert!(again == config, "a rewritten configuration must mean the same");
}
