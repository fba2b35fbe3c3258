//! Sparse registers: run-length encoding, as in Redis' hyperloglog.c.
//!
//! ```text
//! 00xxxxxx            x + 1 registers of 0
//! 01xxxxxx yyyyyyyy   xy + 1 registers of 0
//! 1vvvvvxx            x + 1 registers of v + 1
//! ```
//!
//! Runs are split and merged exactly as in Redis, so the same elements give the same bytes.

use super::registers::{CORRUPTED, HEADER_BYTES, STALE, STALE_AT};
use crate::error::CommandError;

/// LIMIT: the length of a short run of zeros; longer ones take two bytes.
const ZEROS_SHORT_MAX: usize = 64;
/// LIMIT: the length of a run of equal registers that are not 0.
const EQUALS_MAX: usize = 4;
/// LIMIT: the rank in such a run.
const RANK_MAX: u8 = 32;
/// LIMIT: the number of runs to check for equal neighbours, from before a change on.
const JOINED_RUNS_MAX: usize = 5;

const IS_EQUALS: u8 = 0x80;
const IS_LONG: u8 = 0x40;

/// A number of registers with one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub rank: u8,
    pub len: usize,
    /// Its size in bytes.
    bytes: usize,
}

impl Run {
    /// The run at `at`; a long one that is cut off ends as if zero bytes followed.
    fn at(runs: &[u8], at: usize) -> Self {
        let first = runs[at];
        if first & IS_EQUALS != 0 {
            Self { rank: (first >> 2 & 0x1F) + 1, len: usize::from(first & 3) + 1, bytes: 1 }
        } else if first & IS_LONG != 0 {
            let low = runs.get(at + 1).copied().unwrap_or(0);
            let len = (usize::from(first & 0x3F) << 8 | usize::from(low)) + 1;
            Self { rank: 0, len, bytes: 2 }
        } else {
            Self { rank: 0, len: usize::from(first) + 1, bytes: 1 }
        }
    }
}

/// In the format of PFDEBUG DECODE: `z:` and `Z:` short and long runs of zeros, `v:` others with
/// their rank.
impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rank, len, bytes } = self;
        match (rank, bytes) {
            (0, 1) => write!(f, "z:{len}"),
            (0, _) => write!(f, "Z:{len}"),
            _ => write!(f, "v:{rank},{len}"),
        }
    }
}

/// All runs, in their order.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = (at < bytes.len()).then(|| Run::at(bytes, at))?;
        at += run.bytes;
        Some(run)
    })
}

/// Appends a run of zeros; nothing if it is empty.
pub(super) fn put_zeros(len: usize, out: &mut Vec<u8>) {
    match len {
        0 => {}
        1..=ZEROS_SHORT_MAX => out.push(len as u8 - 1),
        _ => out.extend([IS_LONG | ((len - 1) >> 8) as u8, (len - 1) as u8]),
    }
}

/// Appends a run of equal registers; nothing if it is empty.
fn put_equals(rank: u8, len: usize, out: &mut Vec<u8>) {
    if len > 0 {
        out.push(equals(rank, len));
    }
}

fn equals(rank: u8, len: usize) -> u8 {
    IS_EQUALS | (rank - 1) << 2 | (len as u8 - 1)
}

/// The rank of a register; `None` if the runs end before it.
pub(super) fn rank(text: &[u8], index: usize) -> Option<u8> {
    find(text, index).map(|found| found.run.rank)
}

/// The result of raising a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was raised, or was already high enough.
    Was(bool),
    /// The sparse encoding cannot represent it.
    NeedsDense,
}

/// Raises a register of a sparse string, header included, whose size is limited to `bytes_max`.
pub(super) fn raise(
    text: &mut Vec<u8>,
    (index, rank): (usize, u8),
    bytes_max: usize,
) -> Result<Raised, CommandError> {
    if rank > RANK_MAX {
        return Ok(Raised::NeedsDense);
    }
    let Some(Found { at, before, first, run }) = find(text, index) else { return Err(CORRUPTED) };
    if run.rank >= rank {
        return Ok(Raised::Was(false));
    }
    if at + run.bytes > text.len() {
        return Err(CORRUPTED);
    }
    let mut new = Vec::with_capacity(5);
    let (head, tail) = (index - first, first + run.len - 1 - index);
    if run.rank == 0 {
        put_zeros(head, &mut new);
        put_equals(rank, 1, &mut new);
        put_zeros(tail, &mut new);
    } else {
        put_equals(run.rank, head, &mut new);
        put_equals(rank, 1, &mut new);
        put_equals(run.rank, tail, &mut new);
    }
    if new.len() > run.bytes && text.len() + new.len() - run.bytes > bytes_max {
        return Ok(Raised::NeedsDense);
    }
    text.splice(at..at + run.bytes, new);
    join_equals(text, before.unwrap_or(HEADER_BYTES));
    text[STALE_AT] |= STALE;
    Ok(Raised::Was(true))
}

/// The run that contains a register.
struct Found {
    at: usize,
    /// The offset of the run before it.
    before: Option<usize>,
    /// Its first register.
    first: usize,
    run: Run,
}

fn find(text: &[u8], index: usize) -> Option<Found> {
    let (mut at, mut before, mut first) = (HEADER_BYTES, None, 0);
    while at < text.len() {
        let run = Run::at(text, at);
        if index < first + run.len {
            return Some(Found { at, before, first, run });
        }
        before = Some(at);
        at += run.bytes;
        first += run.len;
    }
    None
}

/// Merges equal neighbours if one run can represent both, among a few runs from `at` on.
fn join_equals(text: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_RUNS_MAX {
        if at >= text.len() {
            return;
        }
        let run = Run::at(text, at);
        let next = text.get(at + 1).filter(|next| run.rank > 0 && *next & IS_EQUALS != 0);
        let next = next.map(|_| Run::at(text, at + 1));
        match next {
            Some(next) if next.rank == run.rank && run.len + next.len <= EQUALS_MAX => {
                text[at] = equals(run.rank, run.len + next.len);
                text.remove(at + 1);
            }
            _ => at += run.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::hyperloglog::registers::{self, REGISTERS};

    #[test]
    fn runs_hold_what_a_plain_list_holds() {
        let mut seed = 3_u64;
        for round in 0..30 {
            let mut text = registers::empty();
            let mut plain = vec![0_u8; REGISTERS];
            for _ in 0..400 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let span = [20, 300, REGISTERS][round % 3];
                let (index, rank) = ((seed >> 33) as usize % span, (seed >> 60) as u8 % 4 + 1);
                let raised = raise(&mut text, (index, rank), 1 << 20).unwrap();
                assert_eq!(raised, Raised::Was(plain[index] < rank));
                plain[index] = plain[index].max(rank);
            }
            let mut merged = [0; REGISTERS];
            registers::merge(&text, &mut merged).unwrap();
            assert_eq!(merged.as_slice(), plain);
        }
    }

    #[test]
    fn what_runs_cannot_hold_becomes_dense() {
        let mut text = registers::empty();
        assert_eq!(raise(&mut text, (5, 33), 3000), Ok(Raised::NeedsDense));
        assert_eq!(raise(&mut text, (5, 32), 20), Ok(Raised::Was(true)));
        assert_eq!(raise(&mut text, (9, 1), 20), Ok(Raised::NeedsDense));
        assert_eq!(raise(&mut text, (5, 31), 0), Ok(Raised::Was(false)));
    }
}
