//! Families: the rows and handlers, a file for each group of commands.

use crate::command::Command;

/// Every family's rows.
pub const FAMILIES: &[&[Command]] = &[];
