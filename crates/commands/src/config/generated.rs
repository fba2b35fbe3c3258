//! Texts generated from the table: `config/basalt.conf`, `docs/reference/config.md` and a part of
//! `--help`.
//!
//! `UPDATE=1 cargo test -p basalt-commands generated` writes the files; without `UPDATE` the test
//! compares.

use super::PARAMETERS;
use super::parameter::{Parameter, Section, Standing};
use std::fmt::Write as _;

/// The width that comments are wrapped to.
const COLUMNS: usize = 96;

/// The parameters in `--help`, by section, if they have an effect.
const USUAL: &[&str] = &[
    "bind",
    "port",
    "unixsocket",
    "maxclients",
    "daemonize",
    "dir",
    "databases",
    "shards",
    "pipeline-order",
    "loglevel",
    "logfile",
    "log-format",
    "requirepass",
    "protected-mode",
    "maxmemory",
    "maxmemory-policy",
    "metrics-port",
];

/// `config/basalt.conf`: every parameter with its default.
pub fn configuration_file() -> String {
    let mut text = String::from(
        "# Basalt's configuration: every parameter with its default, or with another value if a comment says
# so.
#
#   basalt-server basalt.conf                this file
#   basalt-server basalt.conf --port 7000    the command line has precedence
#   basalt-server --check-config basalt.conf reports all errors of a file, and starts nothing
#
# A line is a name and its value. Values with blanks need quotes; \"\" is the empty value. Sizes may
# have a unit: 1k is 1000, 1kb is 1024 bytes, and so on with m, mb, g and gb. `include path` reads
# another file at this position, and path may have wildcards. If a parameter is repeated, the last
# value counts; only `save` adds up.
#
# This file is generated from the parameter table; docs/reference/config.md has the same
# content.
",
    );
    for &section in Section::ALL {
        let in_section = |standing| rows(section, standing).filter(|row| !row.is_hidden);
        if rows(section, Standing::Used).chain(rows(section, Standing::Later)).next().is_none() {
            continue;
        }
        let _ = write!(text, "\n{:#<COLUMNS$}\n", format!("#### {} ", section.title()));
        for row in in_section(Standing::Used) {
            text.push('\n');
            comment(&mut text, row);
            if row.shipped.is_some() {
                let _ = writeln!(text, "# Default: {}.", row.default);
            }
            let _ = writeln!(text, "{}", line(row, row.shipped.unwrap_or(row.default)));
        }
        listed(
            &mut text,
            "Known, but nothing acts on it yet (another value: a warning):",
            in_section(Standing::Later),
        );
        listed(&mut text, "Known, but without effect in Basalt:", in_section(Standing::Inert));
    }
    text
}

fn comment(text: &mut String, row: &Parameter) {
    for paragraph in row.paragraphs() {
        wrap(text, "# ", &paragraph);
        text.push_str("#\n");
    }
    wrap(text, "# ", &properties(row));
}

/// The valid values, and when they can be set.
fn properties(row: &Parameter) -> String {
    let mut properties = format!("Value: {}.", row.kind.describe());
    if !row.is_mutable {
        properties.push_str(" Only at start.");
    }
    if row.is_protected {
        properties.push_str(" Changing it later needs enable-protected-configs.");
    }
    properties
}

fn listed<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = &'a Parameter>) {
    let lines: String = rows.map(|row| format!("# {}\n", line(row, row.default))).collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n# {title}\n#\n{lines}");
    }
}

fn line(row: &Parameter, value: &str) -> String {
    let needs_quotes = value.is_empty() || value.contains(' ') && !row.kind.takes_many();
    match needs_quotes {
        true => format!("{} \"{value}\"", row.name),
        false => format!("{} {value}", row.name),
    }
}

fn wrap(text: &mut String, margin: &str, paragraph: &str) {
    let mut line = String::from(margin);
    for word in paragraph.split(' ') {
        if line.len() + word.len() >= COLUMNS {
            let _ = writeln!(text, "{}", line.trim_end());
            line = String::from(margin);
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// `docs/reference/config.md`: every parameter, for reading.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration

Parameters are given in a file (`basalt-server basalt.conf`), on the command line (`--port 7000`)
and, unless they say \"only at start\", by CONFIG SET while the server runs. The file has the syntax
of redis.conf; [config/basalt.conf](../../config/basalt.conf) holds every parameter with its
default.

All parameters of Redis 7 and 8 and of Valkey 9 are known. Those with an effect are described
first. Those whose feature is not built yet, and those without use in this design, are validated,
stored and returned by CONFIG GET. If the feature is not built yet, a value other than the default
causes a warning at start, and CONFIG SET refuses it. If ignoring a value would change the meaning
of the configuration, it is refused at start too, with the reason.

This page is generated from the parameter table.

| form | means |
|---|---|
| `1k`, `1kb`, `1m`, `1mb`, `1g`, `1gb` | 1000, 1024, 1000², 1024², 1000³, 1024³ bytes |
| `\"two words\"`, `\"\\n \\r \\t \\b \\a \\x41\"`, `'it\\'s'` | quoted words, with escapes |
| `include path` | the file, or the files that match the wildcards, at this position |
| `# …` | a comment, on a line of its own |
| `--name value …` | on the command line; parsed after the file |
| `-` | as first or last argument: standard input is parsed too |
",
    );
    for &section in Section::ALL {
        let used: Vec<&Parameter> = rows(section, Standing::Used).collect();
        if used.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {}\n", section.title());
        for row in used {
            entry(&mut text, row);
        }
    }
    text.push_str("\n## Without effect until their feature is built\n\n");
    text.push_str("| parameter | default | meaning | why not yet |\n|---|---|---|---|\n");
    for row in all(Standing::Later) {
        let meaning = row.paragraphs().next().unwrap_or_default();
        let at_start = if row.refusal.is_some() { "Refused at start: " } else { "" };
        let why = row.missing().unwrap_or_default();
        let (names, default) = (names(row), code(row.default));
        let _ = writeln!(text, "| {names} | {default} | {meaning} | {at_start}{why} |");
    }
    text.push_str("\n## Without effect in Basalt\n\n");
    text.push_str("| parameter | default | why |\n|---|---|---|\n");
    for row in all(Standing::Inert) {
        let why = row.paragraphs().next().unwrap_or_default();
        let _ = writeln!(text, "| {} | {} | {why} |", names(row), code(row.default));
    }
    text
}

fn entry(text: &mut String, row: &Parameter) {
    let _ = write!(text, "\n### {}\n\n", row.name);
    for paragraph in row.paragraphs() {
        let _ = write!(text, "{}\n\n", paragraph.replace('<', "\\<"));
    }
    let _ = writeln!(text, "- Default: {}", code(row.default));
    let _ = writeln!(text, "- {}", properties(row).replace('<', "\\<"));
    if !row.aliases.is_empty() {
        let aliases: Vec<String> = row.aliases.iter().map(|alias| code(alias)).collect();
        let _ = writeln!(text, "- Also called {}", aliases.join(", "));
    }
}

fn names(row: &Parameter) -> String {
    row.names().map(code).collect::<Vec<_>>().join(", ")
}

fn code(words: &str) -> String {
    if words.is_empty() { "`\"\"`".into() } else { format!("`{words}`") }
}

fn all(standing: Standing) -> impl Iterator<Item = &'static Parameter> {
    Section::ALL.iter().flat_map(move |&section| rows(section, standing))
}

fn rows(section: Section, standing: Standing) -> impl Iterator<Item = &'static Parameter> {
    PARAMETERS.iter().filter(move |row| row.section == section && row.standing == standing)
}

/// The most used parameters, for `--help`.
pub fn usage() -> String {
    let mut text = String::new();
    for &section in Section::ALL {
        let rows = rows(section, Standing::Used).filter(|row| USUAL.contains(&row.name));
        let lines: String = rows.map(usage_of).collect();
        if !lines.is_empty() {
            let _ = write!(text, "  {}\n{lines}\n", section.title());
        }
    }
    text
}

fn usage_of(row: &Parameter) -> String {
    let doc = row.paragraphs().next().unwrap_or_default();
    let mut wrapped = String::new();
    wrap(&mut wrapped, &" ".repeat(25), &format!("{doc} [{}]", default_word(row)));
    format!("    --{:<19}{}", row.name, wrapped.trim_start())
}

fn default_word(row: &Parameter) -> &str {
    if row.default.is_empty() { "\"\"" } else { row.default }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn check(path: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, text).expect("the file can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not what the table says: UPDATE=1 cargo test -p basalt-commands generated",
            path.display()
        );
    }

    #[test]
    fn generated_files_are_up_to_date() {
        check("config/basalt.conf", &configuration_file());
        check("docs/reference/config.md", &reference());
    }

    #[test]
    fn the_usual_parameters_are_told() {
        let text = usage();
        for name in USUAL {
            let row = PARAMETERS.iter().find(|row| row.name == *name).expect("it is a parameter");
            let is_told = text.contains(&format!("--{name} "));
            assert_eq!(is_told, row.standing == Standing::Used, "{name}");
        }
    }

    fn load(text: &str) -> (Config, Vec<crate::config::Warning>) {
        let mut no_include = |_: &str| -> Result<_, String> { panic!("nothing is included") };
        Config::parse_file(text.as_bytes(), "basalt.conf", &mut no_include)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_configuration_file_is_the_default_and_the_metrics_page() {
        // A server that is started by hand may be one of several.
        let expected = Config { metrics_port: 9121, ..Config::default() };
        assert_eq!(load(&configuration_file()), (expected, Vec::new()));
    }

    /// The lines in comments are right too, and only hidden parameters are missing.
    #[test]
    fn the_configuration_file_names_every_parameter() {
        let text = configuration_file();
        for row in PARAMETERS.iter().filter(|row| !row.is_hidden) {
            let shipped = line(row, row.shipped.unwrap_or(row.default));
            assert!(
                text.lines().any(|found| found.trim_start_matches("# ") == shipped),
                "{shipped}"
            );
            assert_eq!(load(&line(row, row.default)).0, Config::default(), "{}", row.name);
        }
    }
}
