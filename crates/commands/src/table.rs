//! The command table: every row, and how a name finds its row.

use std::sync::LazyLock;

use crate::command::Command;
use crate::error::CommandError;
use crate::families;

/// Every command, family by family; subcommands hang below their containers.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    families::FAMILIES.iter().flat_map(|family| family.iter())
}

/// LIMIT: longer names belong to no command.
const NAME_BYTES_MAX: usize = 24;

/// Cells of the name index: a power of two, several times the number of commands.
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

/// Where the search for a name starts: from its length and its first and last letters, whatever their
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

/// The row of a command, whatever the case of its name.
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

/// The row of a name as COMMAND INFO takes it: `client|id` is a subcommand.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => find(name),
        Some(bar) => find_subcommand(find(&name[..bar])?, &name[bar + 1..]),
    }
}

/// LIMIT: bytes of a request that are quoted to tell that it names no command.
const QUOTED_BYTES_MAX: usize = 128;

/// What Redis says to a request that names no command: the name and the first arguments, cut short.
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

/// What Redis says to a container's unknown subcommand.
#[cold]
pub fn unknown_subcommand(container: &Command, name: &[u8]) -> CommandError {
    let name = quotable(name, QUOTED_BYTES_MAX);
    let after = format!("'. Try {} HELP.", container.name.to_uppercase());
    CommandError::quoting("ERR unknown subcommand '", name, &after)
}

/// As C prints bytes: up to a NUL, and no more than `len_max`.
fn quotable(bytes: &[u8], len_max: usize) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(len_max)]
}
