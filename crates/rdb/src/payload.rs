//! Payload: what DUMP returns: a type, a value, the version of the format and a checksum.

use crate::crc64::Checksum;
use crate::format::{VERSION_REDIS_MAX, VERSION_VALKEY_MAX, VERSION_VALKEY_MIN};
use crate::read::Dialect;

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// The type and the value in a payload, and the family that wrote it; `None` if its version is newer
/// than those that are known, or its checksum wrong.
pub fn open_payload(payload: &[u8]) -> Option<(u8, &[u8], Dialect)> {
    let (body, dialect) = open(payload)?;
    let (number, value) = body.split_first()?;
    Some((*number, value, dialect))
}

/// What stands before version and checksum, if both are right.
pub(crate) fn open(payload: &[u8]) -> Option<(&[u8], Dialect)> {
    let (covered, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let (body, version) = covered.split_last_chunk::<VERSION_BYTES>()?;
    let version = u32::from(u16::from_le_bytes(*version));
    let dialect = match version {
        0..=VERSION_REDIS_MAX => Dialect::Redis,
        VERSION_VALKEY_MIN..=VERSION_VALKEY_MAX => Dialect::Valkey,
        _ => return None,
    };
    let checksum = u64::from_le_bytes(*checksum);
    (checksum == Checksum::of(covered)).then_some((body, dialect))
}

/// Appends version and checksum to a type and value.
pub fn seal_payload(body: &mut Vec<u8>, version: u16) {
    body.extend_from_slice(&version.to_le_bytes());
    let checksum = Checksum::of(body);
    body.extend_from_slice(&checksum.to_le_bytes());
}
