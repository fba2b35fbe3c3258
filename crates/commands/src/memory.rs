//! Memory: a command that is about to need much asks for it first, and is refused where it is not there.

use basalt_keyspace::{Entry, SPARE_BYTES_MAX, is_granted};

use crate::error::CommandError;

/// Err: the system does not grant `bytes` more.
pub fn check_memory(bytes: usize) -> Result<(), CommandError> {
    if is_granted(bytes) { Ok(()) } else { Err(CommandError::NO_MEMORY) }
}

/// A copy. Err: there is no memory for it.
pub fn copied(bytes: &[u8]) -> Result<Vec<u8>, CommandError> {
    check_memory(bytes.len())?;
    Ok(bytes.to_vec())
}

/// Asks for the memory that a string needs to become `len` bytes long, where its block has no room: it moves
/// to another, with room to spare.
///
/// Err: there is no memory for it.
pub(crate) fn check_growth(entry: Option<&Entry>, len: usize) -> Result<(), CommandError> {
    if len <= SPARE_BYTES_MAX || entry.is_some_and(|entry| len <= entry.text_room()) {
        return Ok(());
    }
    // A new string is put together before it is copied into its block.
    let blocks = if entry.is_some() { 1 } else { 2 };
    check_memory(len.saturating_add(SPARE_BYTES_MAX).saturating_mul(blocks))
}
