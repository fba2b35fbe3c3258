//! Startup: a shard's part of loading the data at the start, in slices between its turns, so that clients are answered
//! meanwhile.
//!
//! Not here: who reads the files (`load_file`, `journal`), and what clients are told (`engine`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, TryRecvError};

use basalt_engine::{LoadStep, Loaded};

use crate::engine::Engine;
use crate::journal::{JournalFile, Restore, Restored};
use crate::load_file::Batches;
use crate::node::Node;

/// LIMIT: microseconds of a turn that go to loading.
const SLICE_US: u64 = 5_000;
/// How often a shard looks that waits for others; they ring as well.
pub(crate) const LOOK_US: u64 = 2_000;

/// Where the data comes from.
pub(crate) enum Source {
    Nothing,
    Snapshot(Batches),
    Journal(Box<Restore>),
}

/// How far a shard is.
pub(crate) enum Progress {
    /// There is more to do at once.
    More,
    /// Others are waited for.
    Waits,
    /// All shards have all of their data; this one's journal goes on in this file.
    Whole(Option<JournalFile>),
}

pub(crate) struct Startup {
    node: Arc<Node>,
    source: Source,
    /// This shard has its data, and waits for the others.
    is_here: bool,
    loaded: Loaded,
    journal: Option<JournalFile>,
    report: Sender<io::Result<Loaded>>,
}

impl Startup {
    /// `report` gets what was loaded, or why nothing can be.
    pub(crate) fn new(node: Arc<Node>, source: Source, report: Sender<io::Result<Loaded>>) -> Self {
        Self { node, source, is_here: false, loaded: Loaded::default(), journal: None, report }
    }

    /// Loads a slice.
    ///
    /// # Errors
    /// Where a file is refused; who waits for the report has heard of it.
    pub(crate) fn step<E: Engine>(
        &mut self,
        engine: &mut E,
        monotonic_us: impl Fn() -> u64,
    ) -> io::Result<Progress> {
        let progress = self.load(engine, monotonic_us).inspect_err(|error| {
            if let Source::Journal(restore) = &self.source {
                restore.fail(error);
            }
            self.report(Err(io::Error::new(error.kind(), error.to_string())));
        })?;
        if !matches!(progress, Progress::Whole(_)) {
            return Ok(progress);
        }
        if !std::mem::replace(&mut self.is_here, true) {
            self.source = Source::Nothing;
            self.node.note_loaded();
        }
        if !self.node.is_loaded() {
            return Ok(Progress::Waits);
        }
        engine.end_loading();
        self.report(Ok(self.loaded));
        Ok(Progress::Whole(self.journal.take()))
    }

    /// The one who started us waits for it; where it has gone, the node has failed already.
    fn report(&self, result: io::Result<Loaded>) {
        let _ = self.report.send(result);
    }

    fn load<E: Engine>(
        &mut self,
        engine: &mut E,
        monotonic_us: impl Fn() -> u64,
    ) -> io::Result<Progress> {
        let end_us = monotonic_us() + SLICE_US;
        match &mut self.source {
            Source::Nothing => Ok(Progress::Whole(None)),
            Source::Snapshot(batches) => {
                while monotonic_us() < end_us {
                    let batch = match batches.try_recv() {
                        Ok(LoadStep::Batch(batch)) => batch,
                        Ok(LoadStep::End) => return Ok(Progress::Whole(None)),
                        Err(TryRecvError::Empty) | Ok(LoadStep::NotYet) => {
                            return Ok(Progress::Waits);
                        }
                        Err(TryRecvError::Disconnected) | Ok(LoadStep::Failed(_)) => {
                            return Err(io::Error::other("the snapshot can't be loaded"));
                        }
                    };
                    let own = engine.load(&batch).map_err(|error| {
                        io::Error::other(format!("the snapshot can't be loaded: {error}"))
                    })?;
                    self.loaded.add(own);
                }
                Ok(Progress::More)
            }
            Source::Journal(restore) => {
                let restored = engine.restore(restore, &mut || monotonic_us() < end_us)?;
                Ok(match restored {
                    Restored::More => Progress::More,
                    Restored::Waits => Progress::Waits,
                    Restored::Whole(journal) => {
                        self.journal = journal;
                        Progress::Whole(None)
                    }
                })
            }
        }
    }
}
