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

/// Returns what is kept of the files of a generation, in the order of its shards. All are there: a cut names one
/// position for each.
pub fn keep(scans: &[Scan]) -> Vec<Kept> {
    let reached = |cut: &&Vec<u64>| {
        cut.len() == scans.len()
            && cut.iter().zip(scans).all(|(at, scan)| *at <= scan.open_from.unwrap_or(scan.end))
    };
    // Cuts of one generation follow each other in all positions, so their sums are in their order.
    let sum = |cut: &&Vec<u64>| cut.iter().map(|at| u128::from(*at)).sum::<u128>();
    let newest = scans.iter().flat_map(|scan| &scan.cuts).filter(reached).max_by_key(sum);
    let cut = |shard: usize| newest.map_or(0, |cut| cut[shard]);
    let kept = scans.iter().enumerate().map(|(shard, scan)| {
        let cut = cut(shard);
        let tie = scan.ties.iter().find(|tie| tie.end > cut);
        let whole = scan.open_from.unwrap_or(scan.end);
        let to = tie.map_or(whole, |tie| tie.start.max(cut)).min(whole);
        Kept { to, dropped: scan.end - to }
    });
    kept.collect()
}
