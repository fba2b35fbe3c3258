//! The command table: all rows, and the lookup of a name.

use std::sync::LazyLock;

use crate::command::Command;
use crate::error::CommandError;
use crate::families;

/// Every command, family by family; subcommands are in their containers.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter()
}

/// Every row by its number, each container before its subcommands.
pub fn rows() -> &'static [&'static Command] {
    &ROWS
}

/// The rows of all families, numbered.
static COMMANDS: LazyLock<&'static [Command]> = LazyLock::new(|| {
    let mut numbers = 0..;
    let mut number = |row: &Command| Command {
        number: numbers.next().expect("because there are fewer rows than numbers"),
        ..*row
    };
    let rows = families::FAMILIES.iter().flat_map(|family| family.iter()).map(|command| {
        let command = number(command);
        let subcommands: Vec<Command> = command.subcommands.iter().map(&mut number).collect();
        // The table lives as long as the process.
        Command { subcommands: subcommands.leak(), ..command }
    });
    rows.collect::<Vec<_>>().leak()
});

static ROWS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
    commands().flat_map(|command| std::iter::once(command).chain(command.subcommands)).collect()
});

/// LIMIT: no command has a longer name.
const NAME_BYTES_MAX: usize = 24;

/// The size of the name index: a power of two, several times the number of commands.
const INDEX_CELLS: usize = 2048;

static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

struct Index {
    cells: Box<[Option<&'static Command>]>,
}

impl Index {
    fn new() -> Self {
        let mut cells = vec![None; INDEX_CELLS].into_boxed_slice();
        for command in commands() {
            let name = command.name.as_bytes();
            assert!(name.len() <= NAME_BYTES_MAX, "{} is too long", command.name);
            let mut at = cell(name);
            while cells[at].is_some() {
                at = (at + 1) % INDEX_CELLS;
            }
            cells[at] = Some(command);
        }
        Self { cells }
    }
}

/// Where the search for a name starts: a hash of its length and its first and last letters, in any
/// case.
#[inline]
fn cell(name: &[u8]) -> usize {
    let word =
        |bytes: &[u8]| bytes.iter().fold(0_u64, |word, &byte| (word << 8) | u64::from(byte | 0x20));
    let head = word(&name[..name.len().min(8)]);
    let tail = word(&name[name.len().saturating_sub(4)..]);
    let mixed = (head ^ (tail << 29) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 53) as usize % INDEX_CELLS
}

/// The row of a command, by its name in any case.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let index = &*INDEX;
    let mut at = cell(name);
    while let Some(command) = index.cells[at] {
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        at = (at + 1) % INDEX_CELLS;
    }
    None
}

/// The row of a container's subcommand.
pub fn find_subcommand(container: &'static Command, name: &[u8]) -> Option<&'static Command> {
    let mut subcommands = container.subcommands.iter();
    subcommands.find(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))
}

/// The row of a name in COMMAND INFO's form: `client|id` is a subcommand.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => find(name),
        Some(bar) => find_subcommand(find(&name[..bar])?, &name[bar + 1..]),
    }
}

/// LIMIT: bytes of a request in the error for an unknown command.
const QUOTED_BYTES_MAX: usize = 128;

/// Redis' error for an unknown command: the name and the first arguments, truncated.
#[cold]
pub fn unknown(args: &[&[u8]]) -> CommandError {
    let mut shown = Vec::new();
    for arg in &args[1..] {
        if shown.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(quotable(arg, room));
        shown.extend_from_slice(b"' ");
    }
    let name = quotable(args[0], QUOTED_BYTES_MAX);
    let text = [b"ERR unknown command '", name, b"', with args beginning with: ", &shown];
    CommandError::new(text.concat())
}

/// Redis' error for a container's unknown subcommand.
#[cold]
pub fn unknown_subcommand(container: &Command, name: &[u8]) -> CommandError {
    let name = quotable(name, QUOTED_BYTES_MAX);
    let after = format!("'. Try {} HELP.", container.name.to_uppercase());
    CommandError::quoting("ERR unknown subcommand '", name, &after)
}

/// As C prints bytes: up to a NUL, and at most `len_max`.
fn quotable(bytes: &[u8], len_max: usize) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(len_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{EngineCommand, Flags, NOT_KEY, Run};
    use std::collections::BTreeSet;

    #[test]
    fn a_rows_number_is_its_place() {
        let numbers = rows().iter().map(|row| usize::from(row.number));
        assert!(numbers.eq(0..rows().len()));
    }

    #[test]
    fn every_name_is_found_once_and_in_any_case() {
        let mut names = BTreeSet::new();
        for row in rows().iter().copied() {
            assert!(names.insert(row.name), "{} has two rows", row.name);
            assert_eq!(row.name, row.name.to_lowercase());
            let found = find_full(row.name.to_uppercase().as_bytes()).map(|found| found.name);
            assert_eq!(found, Some(row.name));
        }
        assert!(find(b"").is_none() && find(b"gett").is_none() && find(&[b'x'; 100]).is_none());
        assert!(find(b"client|id").is_none(), "a subcommand is no command");
    }

    #[test]
    fn subcommands_carry_their_containers_name() {
        for command in commands() {
            assert!(!command.name.contains('|'), "{}", command.name);
            for sub in command.subcommands {
                let prefix = format!("{}|", command.name);
                assert!(sub.name.starts_with(&prefix), "{} in {}", sub.name, command.name);
                assert!(sub.subcommands.is_empty(), "{} in {}", sub.name, command.name);
            }
            let is_container = matches!(command.run, Run::Container);
            assert!(!is_container || !command.subcommands.is_empty(), "{}", command.name);
        }
    }

    #[test]
    fn every_row_is_whole() {
        for row in rows().iter().copied() {
            let name = row.name;
            assert!(row.arity != 0 && !row.since.is_empty(), "{name}");
            assert!(row.summary.ends_with('.'), "{name}: say in a sentence what it does");
            assert!(row.shows.contains("> "), "{name}: show what it does");
            let own = row.own_name().to_uppercase();
            let shown = row.shows.lines().filter_map(|line| line.strip_prefix("> "));
            let mut shown = shown.filter(|line| line.to_uppercase().contains(&own));
            assert!(shown.next().is_some(), "{name}: its transcript never calls it");
        }
    }

    #[test]
    fn flags_agree_with_keys() {
        let writes_keys = |row: &Command| {
            row.keys.iter().any(|spec| ["RW", "OW", "RM"].contains(&spec.access[0]))
        };
        for row in rows().iter().copied() {
            let name = row.name;
            let both = row.flags.has(Flags::WRITE) && row.flags.has(Flags::READONLY);
            assert!(!both, "{name} can't write and only read");
            if !row.keys.is_empty() {
                let may_write = row.flags.has(Flags::WRITE.or(Flags::MAY_REPLICATE));
                // XREADGROUP writes the group's state, but only reads the entries: Redis says so
                // too.
                let is_as_redis_says = name == "xreadgroup";
                // What a script writes follows from the commands that it calls.
                let is_script = ["eval", "evalsha", "fcall"].contains(&name);
                let writes = (writes_keys(row) && !is_script) || is_as_redis_says;
                assert_eq!(may_write, writes, "{name}");
                assert!(!matches!(row.run, Run::Container), "{name}");
            }
            // Shard channels are no keys.
            let of_keys = row.keys.iter().filter(|spec| spec.access != NOT_KEY);
            for (index, spec) in of_keys.enumerate() {
                assert!(["RO", "RW", "OW", "RM"].contains(&spec.access[0]), "{name}");
                assert!(spec.first > 0 && spec.step > 0, "{name}");
                let least = usize::from(row.arity.unsigned_abs());
                let may_be_empty = index > 0 && spec.last < 0;
                let is_there =
                    (spec.first as usize) < least || may_be_empty || spec.finder.is_some();
                assert!(is_there, "{name}: its first key may be missing");
            }
            if let Run::Split(..) = row.run {
                assert!(row.keys.len() == 1 && row.keys[0].last == -1, "{name} can't be split");
            }
            // The names of HIMPORT PREPARE belong to the session.
            let writes = row.flags.has(Flags::WRITE) || name == "himport|prepare";
            assert!(!row.flags.has(Flags::DENYOOM) || writes, "{name}");
        }
    }

    #[test]
    fn every_engine_command_has_one_row() {
        let engine_command = |row: &Command| match row.run {
            Run::Engine(engine_command) => Some(engine_command),
            _ => None,
        };
        let mut engine_commands: Vec<EngineCommand> =
            rows().iter().copied().filter_map(engine_command).collect();
        engine_commands.sort_by_key(|engine_command| *engine_command as usize);
        for pair in engine_commands.windows(2) {
            assert_eq!(pair[0] as usize + 1, pair[1] as usize, "two rows or none near {pair:?}");
        }
        assert_eq!(
            (engine_commands[0], engine_commands[engine_commands.len() - 1]),
            (EngineCommand::AclHelp, EngineCommand::XInfoHelp),
            "first and last"
        );
    }

    #[test]
    fn groups_of_keys_and_values_are_whole() {
        let mset = find(b"mset").expect("because it has a row");
        let counts: Vec<usize> = (0..8).filter(|count| mset.takes(*count)).collect();
        assert_eq!(counts, [3, 5, 7]);
        let get = find(b"get").expect("because it has a row");
        assert!(get.takes(2) && !get.takes(1) && !get.takes(3));
        let del = find(b"del").expect("because it has a row");
        assert!(!del.takes(1) && del.takes(2) && del.takes(3));
    }

    #[test]
    fn short_names_do_not_crowd() {
        let index = &*INDEX;
        let longest = commands().map(|command| {
            let start = cell(command.name.as_bytes());
            let probes = (0..INDEX_CELLS).find(|step| {
                let found = index.cells[(start + step) % INDEX_CELLS];
                found.is_some_and(|found| found.name == command.name)
            });
            probes.expect("because the index holds every command")
        });
        assert!(longest.max().expect("because there are commands") <= 3, "spread the index better");
    }
}
