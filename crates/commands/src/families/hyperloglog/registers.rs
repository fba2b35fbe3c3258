//! Registers: 16,384 numbers of 6 bits, in the two encodings of Redis' hyperloglog.c, byte for
//! byte.
//!
//! ```text
//! ┌──────┬──────────┬─────┬─────────────┬───────────    dense:  6 bits each, the lowest first
//! │ HYLL │ encoding │ 0 0 │ cardinality │ registers …   sparse: runs, see `sparse`
//! │  4   │    1     │  3  │      8      │
//! └──────┴──────────┴─────┴─────────────┴───────────
//! ```
//!
//! The cardinality caches the last estimate; its highest bit marks it as out of date.
//!
//! Not here: the estimate (`estimate`), the commands.

use super::sparse;
use crate::error::CommandError;

/// The number of a hash's bits that select a register.
const INDEX_BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
/// The number of a hash's bits in which zeros are counted; a register is at most one more.
pub(super) const RANK_BITS: u32 = 64 - INDEX_BITS;

pub(super) const HEADER_BYTES: usize = 16;
const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARDINALITY_AT: usize = 8;
/// The offset of the byte whose highest bit marks the cardinality as out of date.
pub(super) const STALE_AT: usize = 15;
pub(super) const STALE: u8 = 0x80;

const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;

const NOT_VALID: CommandError =
    CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");
pub(super) const CORRUPTED: CommandError =
    CommandError::text("INVALIDOBJ Corrupted HLL object detected");

/// The encoding of the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Dense = 0,
    Sparse = 1,
}

/// All registers, a byte each.
pub(super) type Plain = [u8; REGISTERS];

/// Checks a string's header; returns the encoding of its registers. The runs of sparse ones may
/// still be corrupted.
pub(super) fn encoding(text: &[u8]) -> Result<Encoding, CommandError> {
    if text.len() < HEADER_BYTES || !text.starts_with(MAGIC) {
        return Err(NOT_VALID);
    }
    match text[ENCODING_AT] {
        0 if text.len() == DENSE_BYTES => Ok(Encoding::Dense),
        1 => Ok(Encoding::Sparse),
        _ => Err(NOT_VALID),
    }
}

/// A string with all registers 0.
pub(super) fn empty() -> Vec<u8> {
    let mut text = header(Encoding::Sparse, &[0; 8]);
    sparse::put_zeros(REGISTERS, &mut text);
    text
}

fn header(encoding: Encoding, cardinality: &[u8]) -> Vec<u8> {
    [MAGIC, &[encoding as u8, 0, 0, 0][..], cardinality].concat()
}

/// The cached cardinality; `None` if it is out of date.
pub(super) fn cached_cardinality(text: &[u8]) -> Option<u64> {
    let bytes = text[CARDINALITY_AT..HEADER_BYTES].try_into().expect("because these are 8 bytes");
    (text[STALE_AT] & STALE == 0).then(|| u64::from_le_bytes(bytes))
}

/// The offset and the bytes of a new estimate.
pub(super) fn cardinality_bytes(cardinality: u64) -> (usize, [u8; 8]) {
    (CARDINALITY_AT, (cardinality & !(1 << 63)).to_le_bytes())
}

/// The register of an element, and the rank that the element gives it.
pub(super) fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash_64a(element);
    let index = hash as usize % REGISTERS;
    let rank = (hash >> INDEX_BITS | 1 << RANK_BITS).trailing_zeros() + 1;
    (index, rank as u8)
}

/// MurmurHash64A with Redis' seed, the same on all machines.
fn murmur_hash_64a(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xADC8_3B19;
    const FACTOR: u64 = 0xC6A4_A793_5BD1_E995;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ (word ^ word >> 47).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

/// The position of a dense register: the first of its two bytes, and its shift within them.
fn dense_place(index: usize) -> (usize, usize) {
    (HEADER_BYTES + index * 6 / 8, index * 6 % 8)
}

/// One dense register.
pub(super) fn dense_get(text: &[u8], index: usize) -> u8 {
    let (at, shift) = dense_place(index);
    let next = text.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([text[at], next]) >> shift) as u8 & 0x3F
}

/// The bytes of a dense register after it is set to `rank`, and their offset.
pub(super) fn dense_written(text: &[u8], index: usize, rank: u8) -> (usize, [u8; 2], usize) {
    let (at, shift) = dense_place(index);
    let next = text.get(at + 1).copied().unwrap_or(0);
    let others = u16::from_le_bytes([text[at], next]) & !(0x3F << shift);
    let bytes = (others | u16::from(rank) << shift).to_le_bytes();
    (at, bytes, if shift > 2 { 2 } else { 1 })
}

/// Unpacks 32 registers of 6 bits to bytes.
fn spread(packed: &[u8; 24]) -> [u64; 4] {
    let word = |at: usize| {
        u64::from_le_bytes(packed[at..at + 8].try_into().expect("because it is eight bytes"))
    };
    let [first, second, third] = [word(0), word(8), word(16)];
    let eights = [first, first >> 48 | second << 16, second >> 32 | third << 32, third >> 16];
    eights.map(|packed| {
        let halves = packed & 0xFF_FFFF | (packed & 0xFFFF_FF00_0000) << 8;
        let pairs = halves & 0x0000_0FFF_0000_0FFF | (halves & 0x00FF_F000_00FF_F000) << 4;
        pairs & 0x003F_003F_003F_003F | (pairs & 0x0FC0_0FC0_0FC0_0FC0) << 2
    })
}

/// The maximum of each two of eight registers, in words: faster than the compiler's code for bytes.
fn higher(one: u64, other: u64) -> u64 {
    const HIGHEST_BITS: u64 = 0x8080_8080_8080_8080;
    // A byte of 6 bits with its highest bit set cannot borrow from its neighbour; the bit stays set
    // if the register is not lower.
    let is_higher = (((one | HIGHEST_BITS) - other) & HIGHEST_BITS) >> 7;
    let mask = (is_higher << 8).wrapping_sub(is_higher);
    one & mask | other & !mask
}

/// Packs two neighbours into 12 bits, four times, from eight registers of a byte each.
fn pairs(eight: &[u8; 8]) -> u64 {
    let spread = u64::from_le_bytes(*eight);
    spread & 0x003F_003F_003F_003F | (spread & 0x3F00_3F00_3F00_3F00) >> 2
}

/// Packs eight registers of a byte each.
fn squeeze(eight: &[u8; 8]) -> [u8; 6] {
    let pairs = pairs(eight);
    let halves = pairs & 0x0000_0FFF_0000_0FFF | (pairs & 0x0FFF_0000_0FFF_0000) >> 4;
    let packed = halves & 0xFF_FFFF | (halves & 0x00FF_FFFF_0000_0000) >> 8;
    let [a, b, c, d, e, f, ..] = packed.to_le_bytes();
    [a, b, c, d, e, f]
}

/// Raises registers to those of another string that are higher.
pub(super) fn merge(text: &[u8], into: &mut Plain) -> Result<(), CommandError> {
    match encoding(text)? {
        Encoding::Dense => {
            let (packed, _) = text[HEADER_BYTES..].as_chunks::<24>();
            let (plain, _) = into.as_chunks_mut::<32>();
            for (plain, packed) in plain.iter_mut().zip(packed) {
                for (eight, others) in plain.as_chunks_mut::<8>().0.iter_mut().zip(spread(packed)) {
                    *eight = higher(u64::from_le_bytes(*eight), others).to_le_bytes();
                }
            }
            Ok(())
        }
        Encoding::Sparse => {
            let mut at = 0;
            for run in sparse::runs(&text[HEADER_BYTES..]) {
                let end = at + run.len;
                let registers = into.get_mut(at..end).ok_or(CORRUPTED)?;
                registers.iter_mut().for_each(|own| *own = (*own).max(run.rank));
                at = end;
            }
            if at == REGISTERS { Ok(()) } else { Err(CORRUPTED) }
        }
    }
}

/// The number of registers of each rank.
pub(super) fn histogram(text: &[u8]) -> Result<[u32; 64], CommandError> {
    match encoding(text)? {
        Encoding::Dense => {
            let mut plain = [0; REGISTERS];
            merge(text, &mut plain)?;
            Ok(histogram_of(&plain))
        }
        Encoding::Sparse => {
            let (mut counts, mut total) = ([0; 64], 0);
            for run in sparse::runs(&text[HEADER_BYTES..]) {
                counts[usize::from(run.rank)] += run.len as u32;
                total += run.len;
            }
            if total == REGISTERS { Ok(counts) } else { Err(CORRUPTED) }
        }
    }
}

/// The same for plain registers.
pub(super) fn histogram_of(plain: &Plain) -> [u32; 64] {
    // Counted in pairs, which halves the steps, and in four tables, so that equal neighbours do not
    // depend on each other.
    let mut tables = [[0_u16; 1 << 12]; 4];
    for eight in plain.as_chunks::<8>().0 {
        let pairs = pairs(eight);
        for (at, table) in tables.iter_mut().enumerate() {
            table[(pairs >> (16 * at)) as usize & 0xFFF] += 1;
        }
    }
    let [sums, others @ ..] = &mut tables;
    for table in others {
        sums.iter_mut().zip(table).for_each(|(sum, times)| *sum += *times);
    }
    // The number of registers fits 16 bits.
    let mut counts = [0_u16; 64];
    for (rank, row) in sums.as_chunks::<64>().0.iter().enumerate() {
        counts[rank] += row.iter().sum::<u16>();
        counts.iter_mut().zip(row).for_each(|(count, times)| *count += times);
    }
    counts.map(u32::from)
}

/// The dense registers after the header of `text`, with its cardinality.
pub(super) fn dense_of(text: &[u8], plain: &Plain) -> Vec<u8> {
    let mut dense = header(Encoding::Dense, &text[CARDINALITY_AT..HEADER_BYTES]);
    dense.reserve_exact(DENSE_BYTES - HEADER_BYTES);
    plain.as_chunks::<8>().0.iter().for_each(|eight| dense.extend_from_slice(&squeeze(eight)));
    dense
}

/// A dense string with the same registers.
pub(super) fn to_dense(text: &[u8]) -> Result<Vec<u8>, CommandError> {
    let mut plain = [0; REGISTERS];
    merge(text, &mut plain)?;
    Ok(dense_of(text, &plain))
}

/// Whether adding an element would change a register.
pub(super) fn would_raise(text: &[u8], (index, rank): (usize, u8)) -> Result<bool, CommandError> {
    match encoding(text)? {
        Encoding::Dense => Ok(dense_get(text, index) < rank),
        Encoding::Sparse => Ok(sparse::rank(text, index).ok_or(CORRUPTED)? < rank),
    }
}

/// Raises one register if it is lower. Returns whether it was; sparse registers become dense if
/// necessary.
pub(super) fn raise(
    text: &mut Vec<u8>,
    (index, rank): (usize, u8),
    sparse_bytes_max: usize,
) -> Result<bool, CommandError> {
    if text[ENCODING_AT] == Encoding::Sparse as u8 {
        match sparse::raise(text, (index, rank), sparse_bytes_max)? {
            sparse::Raised::Was(raised) => return Ok(raised),
            sparse::Raised::NeedsDense => *text = to_dense(text)?,
        }
    }
    let is_lower = dense_get(text, index) < rank;
    if is_lower {
        let (at, bytes, len) = dense_written(text, index, rank);
        text[at..at + len].copy_from_slice(&bytes[..len]);
    }
    Ok(is_lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_redis() {
        // The results of these `PFADD`s in Redis' sparse encoding: see `sparse`'s tests for whole
        // strings.
        assert_eq!(place_of(b"a"), place_of(b"a"));
        assert_ne!(murmur_hash_64a(b""), murmur_hash_64a(b"\0"));
    }

    #[test]
    fn dense_registers_are_set_and_read() {
        let mut text = to_dense(&empty()).unwrap();
        assert_eq!(text.len(), DENSE_BYTES);
        let rank = |index: usize| (index * 7 % 52) as u8;
        let order = (0..REGISTERS).map(|n| n * 5 % REGISTERS);
        for index in order {
            assert_eq!(raise(&mut text, (index, rank(index)), 0), Ok(rank(index) > 0));
        }
        let mut plain = [0; REGISTERS];
        merge(&text, &mut plain).unwrap();
        for (index, own) in plain.iter().enumerate() {
            assert_eq!((*own, dense_get(&text, index)), (rank(index), rank(index)));
        }
        assert_eq!(dense_of(&text, &plain), text);
        let counts = histogram(&text).unwrap();
        for (rank, count) in counts.iter().enumerate() {
            let those = plain.iter().filter(|own| usize::from(**own) == rank);
            assert_eq!(*count as usize, those.count());
        }
        assert_eq!(counts.iter().sum::<u32>() as usize, REGISTERS);
        assert_eq!(counts[0] as usize, plain.iter().filter(|rank| **rank == 0).count());
    }

    #[test]
    fn what_is_no_sketch_is_refused() {
        let good = empty();
        for len in 0..HEADER_BYTES {
            assert_eq!(encoding(&good[..len]), Err(NOT_VALID));
        }
        let mut other = good.clone();
        other[ENCODING_AT] = 2;
        assert_eq!(encoding(&other), Err(NOT_VALID));
        other[ENCODING_AT] = 0;
        assert_eq!(encoding(&other), Err(NOT_VALID), "too short to be dense");
        other[0] = b'h';
        assert_eq!(encoding(&other), Err(NOT_VALID));
        assert_eq!(histogram(&good[..HEADER_BYTES]), Err(CORRUPTED));
    }
}
