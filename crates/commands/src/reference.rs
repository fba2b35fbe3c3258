//! Reference: the page of all commands, generated from their rows.
//!
//! `UPDATE=1 cargo test -p basalt-commands generated` writes `docs/reference/commands.md`; without
//! `UPDATE` the test compares.

use std::fmt::Write as _;

use crate::command::{Command, Group};
use crate::docs;
use crate::table;

/// The headings of the groups, in the order of the page.
const GROUPS: [(Group, &str); 16] = [
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Bitmap, "Bitmaps"),
    (Group::HyperLogLog, "HyperLogLog"),
    (Group::List, "Lists"),
    (Group::Hash, "Hashes"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Stream, "Streams"),
    (Group::Geo, "Places"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Transactions, "Transactions"),
    (Group::Scripting, "Scripts"),
    (Group::Connection, "Connections"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
];

/// `docs/reference/commands.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Commands\n\nWhat a command takes and does is Redis'. The transcripts are also tests: they are run \
         against Basalt, Redis 7.0, Redis 8 and Valkey 9.\n\nThis page is generated from the command table.\n",
    );
    for (group, heading) in GROUPS {
        let mut commands: Vec<&Command> =
            table::commands().filter(|command| command.group == group).collect();
        commands.sort_by_key(|command| command.name);
        if !commands.is_empty() {
            page.push_str(&format!("\n## {heading}\n"));
        }
        for command in commands {
            push_command(command, &mut page);
            command.subcommands.iter().for_each(|sub| push_command(sub, &mut page));
        }
    }
    page
}

fn push_command(command: &Command, page: &mut String) {
    let mut usage = command.name.replace('|', " ").to_uppercase();
    for argument in command.arguments {
        usage.push(' ');
        docs::push_usage(argument, &mut usage);
    }
    let _ = write!(page, "\n### {}\n\n", command.name.replace('|', " ").to_uppercase());
    let _ = write!(page, "`{usage}`\n\n{}\n\n", command.summary);
    if let Some(deprecated) = command.deprecated {
        let _ = write!(
            page,
            "Deprecated since {}: use {}.\n\n",
            deprecated.since, deprecated.replaced_by
        );
    }
    let categories: Vec<String> =
        command.categories().names().map(|name| format!("@{name}")).collect();
    let _ = write!(page, "Since {}. ", command.since);
    if !command.complexity.is_empty() {
        let _ = write!(page, "{}. ", command.complexity);
    }
    let _ = write!(page, "{}\n\n```\n{}```\n", categories.join(" "), example(command.shows));
}

/// A transcript without directives for the test runner, in RESP2's form.
fn example(transcript: &str) -> String {
    let mut text = String::new();
    let mut is_shown = true;
    for line in transcript.lines() {
        match line.strip_prefix("@resp ") {
            Some(protocol) => is_shown = protocol != "3",
            None if line.starts_with("@clock") => {
                let _ = writeln!(text, "# {} later", line.trim_start_matches("@clock +"));
            }
            None if line.starts_with('@') || !is_shown => {}
            None => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).expect("the page can be written");
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == reference(),
            "{path} is not what the table says: UPDATE=1 cargo test -p basalt-commands generated"
        );
    }

    #[test]
    fn examples_are_for_readers() {
        let transcript = "@sorted\n> A\n1\n@resp 3\n> B\n2\n@resp any\n@clock +5s\n> C\n3\n";
        assert_eq!(example(transcript), "> A\n1\n# 5s later\n> C\n3\n");
    }
}
