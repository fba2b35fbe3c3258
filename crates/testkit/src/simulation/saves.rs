//! Saves: the simulated disk that snapshots go to.

use std::collections::{BTreeMap, VecDeque};

use basalt_engine::{LoadStart, LoadStep, SaveEnd, SaveProgress, SaveStart, SaveTarget};
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
    /// Of a rewrite of the journal.
    bases: Vec<Vec<u8>>,
    shards_left: usize,
    lacks_file: bool,
    /// What each shard is still to get of a file that is being loaded.
    steps: BTreeMap<usize, VecDeque<LoadStep>>,
}

impl Saves {
    pub(super) fn begin(&mut self, start: SaveStart) {
        let SaveStart { number, shards, target } = start;
        let SaveTarget::File { path, head, .. } = target else {
            unreachable!("they are begun else")
        };
        assert!(number > self.progress.number, "numbers grow");
        self.progress = SaveProgress { number, ..SaveProgress::default() };
        (self.path, self.bytes, self.shards_left) = (path, head, shards);
        self.bases.clear();
        self.fail(number);
    }

    /// Begins bases with what they begin with.
    pub(super) fn begin_bases(&mut self, number: u64, heads: Vec<Vec<u8>>) {
        (self.shards_left, self.bases) = (heads.len(), heads);
        self.fail(number);
    }

    fn fail(&mut self, number: u64) {
        if let Some(fault) = self.fault.take() {
            self.end(number, SaveEnd::Failed(fault));
        }
    }

    fn is_running(&self, number: u64) -> bool {
        self.progress.number == number && self.progress.end.is_none()
    }

    pub(super) fn add(&mut self, number: u64, shard: usize, chunk: &[u8]) {
        if self.is_running(number) {
            self.bases.get_mut(shard).unwrap_or(&mut self.bytes).extend_from_slice(chunk);
        }
    }

    /// A shard has finished. Returns the bases once all have.
    pub(super) fn finish(&mut self, number: u64) -> Option<Vec<Vec<u8>>> {
        if !self.is_running(number) {
            return None;
        }
        self.shards_left -= 1;
        if self.shards_left > 0 {
            return None;
        }
        self.end(number, SaveEnd::Saved);
        if !self.bases.is_empty() {
            let bases = std::mem::take(&mut self.bases);
            self.progress.base_bytes = bases.iter().map(|base| base.len() as u64).collect();
            return Some(bases);
        }
        let mut file = std::mem::take(&mut self.bytes);
        file.push(0xFF);
        let checksum = Checksum::of(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        self.files.insert(self.path.clone(), file);
        None
    }

    pub(super) fn begin_load(&mut self, start: &LoadStart) {
        self.steps.clear();
        self.lacks_file = !self.files.contains_key(&start.path);
        let Some(file) = self.files.get(&start.path) else { return };
        let mut loader = (start.loader)();
        let mut taken = 0;
        while !loader.is_over() {
            let read = loader.read(&file[taken..]).expect("a file that was saved can be read");
            taken += read;
            let mut has_batch = false;
            while let Some((shard, batch)) = loader.take_batch(loader.is_over()) {
                has_batch = true;
                self.steps.entry(shard.index()).or_default().push_back(LoadStep::Batch(batch));
            }
            assert!(read > 0 || has_batch, "a file that was saved is whole");
        }
    }

    pub(super) fn next_load(&mut self, core: usize) -> LoadStep {
        if self.lacks_file {
            return LoadStep::Failed("No such file or directory (os error 2)".to_owned());
        }
        self.steps.get_mut(&core).and_then(VecDeque::pop_front).unwrap_or(LoadStep::End)
    }

    pub(super) fn end(&mut self, number: u64, end: SaveEnd) {
        if self.is_running(number) {
            self.progress.end = Some(end);
        }
    }
}
