//! Memory: a command that needs much of it checks first, and fails if the system does not have it.

use basalt_keyspace::{Entry, SPARE_BYTES_MAX, is_granted};

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

/// Reserves the memory for a string of `len` bytes, if it has no room for that.
///
/// Fails if there is no memory for it.
pub(crate) fn check_growth(entry: Option<&Entry>, len: usize) -> Result<(), CommandError> {
    if len <= SPARE_BYTES_MAX || entry.is_some_and(|entry| len <= entry.text_room()) {
        return Ok(());
    }
    check_memory(len.saturating_add(SPARE_BYTES_MAX))
}
