//! Recovery: which part of each shard's file is kept, so that all of them together are one moment.
//!
//! A file alone is a prefix of its shard's history, but two of them may end at different moments. So the newest
//! cut whose positions are reached in *every* file is taken. Behind it a file is kept up to its first entry that is
//! tied: what one shard did alone, and acknowledged only once it was on disk, needs nothing of others. Records whose
//! last part is not there are dropped.

use crate::Scan;

/// What is kept of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// All entries before this position.
    pub to: u64,
    /// How many bytes of entries behind it are dropped.
    pub dropped: u64,
}

/// Returns what is kept of the journals of a generation, in the order of its shards. All are there: a cut names one
/// position for each. `from` is what the bases hold, which is a cut itself.
pub fn keep(scans: &[Scan], from: &[u64]) -> Vec<Kept> {
    // What a base holds need not be in the journal.
    let ends = scans.iter().zip(from).map(|(scan, from)| scan.whole_to().max(*from));
    let ends: Vec<u64> = ends.collect();
    let reached =
        |cut: &&[u64]| cut.len() == ends.len() && cut.iter().zip(&ends).all(|(at, end)| at <= end);
    // Cuts of one generation follow each other in all positions, so their sums are in their order.
    let sum = |cut: &&[u64]| cut.iter().map(|at| u128::from(*at)).sum::<u128>();
    let cuts = scans.iter().flat_map(|scan| &scan.cuts).map(Vec::as_slice);
    let newest = cuts.filter(reached).chain([from]).max_by_key(sum).unwrap_or(from);
    let kept = scans.iter().zip(ends).zip(newest).map(|((scan, end), cut)| {
        let tie = scan.ties.iter().find(|tie| tie.end > *cut);
        let to = tie.map_or(end, |tie| tie.start.max(*cut)).min(end);
        Kept { to, dropped: scan.end.saturating_sub(to) }
    });
    kept.collect()
}
