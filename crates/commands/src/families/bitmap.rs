//! Bitmaps: strings as arrays of bits. The first bit of a byte is its highest.

mod bit;
mod bits;
mod combine;
mod count;
mod field;

use crate::args::integer;
use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub(crate) const COMMANDS: &[Command] = &[
    count::BITCOUNT,
    field::BITFIELD,
    field::BITFIELD_RO,
    combine::BITOP,
    count::BITPOS,
    bit::GETBIT,
    bit::SETBIT,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Bitmap, also: Categories::BITMAP, ..Command::ROW };

/// Parses the offset of a bit in a string of at most `bytes_max` bytes.
fn bit_offset(text: &[u8], bytes_max: u64) -> Result<u64, CommandError> {
    offset_within(integer(text).ok(), bytes_max)
}

fn offset_within(offset: Option<i64>, bytes_max: u64) -> Result<u64, CommandError> {
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset / 8 < bytes_max)
        .ok_or(CommandError::text("ERR bit offset is not an integer or out of range"))
}
