//! Saves: the simulated disk that snapshots go to.

use std::collections::BTreeMap;

use basalt_engine::{SaveEnd, SaveProgress, SaveStart};
use basalt_rdb::Checksum;

/// Snapshot files, by path, and the one that is being written.
#[derive(Default)]
pub(super) struct Saves {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) progress: SaveProgress,
    /// Why the next save fails.
    pub(super) fault: Option<String>,
    path: String,
    bytes: Vec<u8>,
    shards_left: usize,
}

impl Saves {
    pub(super) fn begin(&mut self, start: SaveStart) {
        let SaveStart { number, head, shards, path, .. } = start;
        assert!(number > self.progress.number, "numbers grow");
        self.progress = SaveProgress { number, end: None };
        (self.path, self.bytes, self.shards_left) = (path, head, shards);
        if let Some(fault) = self.fault.take() {
            self.end(number, SaveEnd::Failed(fault));
        }
    }

    fn is_running(&self, number: u64) -> bool {
        self.progress.number == number && self.progress.end.is_none()
    }

    pub(super) fn add(&mut self, number: u64, chunk: &[u8]) {
        if self.is_running(number) {
            self.bytes.extend_from_slice(chunk);
        }
    }

    pub(super) fn finish(&mut self, number: u64) {
        if !self.is_running(number) {
            return;
        }
        self.shards_left -= 1;
        if self.shards_left == 0 {
            let mut file = std::mem::take(&mut self.bytes);
            file.push(0xFF);
            let checksum = Checksum::of(&file);
            file.extend_from_slice(&checksum.to_le_bytes());
            self.files.insert(self.path.clone(), file);
            self.end(number, SaveEnd::Saved);
        }
    }

    pub(super) fn end(&mut self, number: u64, end: SaveEnd) {
        if self.is_running(number) {
            self.progress.end = Some(end);
        }
    }
}
