//! Memory: a command that needs much of it checks first, and fails if the system does not have it.

use basalt_keyspace::{Entry, SPARE_BYTES_MAX, is_granted, is_mapping_granted};

use crate::error::CommandError;

/// Fails if the system does not have `bytes` more.
pub fn check_memory(bytes: usize) -> Result<(), CommandError> {
    if is_granted(bytes) { Ok(()) } else { Err(CommandError::NO_MEMORY) }
}

/// A copy. Fails if there is no memory for it.
pub fn copied(bytes: &[u8]) -> Result<Vec<u8>, CommandError> {
    check_memory(bytes.len())?;
    Ok(bytes.to_vec())
}

/// Checks that there is memory for a change of a string that leaves it at least `len` bytes long: for what it has no
/// room for, or for a copy of one that is shared.
///
/// Fails if there is no memory for it, or if it would be longer than `bytes_max`, that of the keyspace.
pub(crate) fn check_growth(
    entry: Option<&Entry>,
    len: usize,
    bytes_max: usize,
) -> Result<(), CommandError> {
    let before = entry.and_then(Entry::text_len).unwrap_or(0);
    if len > bytes_max && len > before {
        return Err(CommandError::OVER_MAXMEMORY);
    }
    let len = len.max(before);
    if len <= SPARE_BYTES_MAX {
        return Ok(());
    }
    // A mapping grows by what is missing; what lies elsewhere moves.
    let room = entry.map_or(0, Entry::text_room);
    let kept = if room >= SPARE_BYTES_MAX { room } else { 0 };
    let is_there = len <= room || is_mapping_granted((len - kept).saturating_add(SPARE_BYTES_MAX));
    if is_there { Ok(()) } else { Err(CommandError::NO_MEMORY) }
}
