//! Startup: a shard's part of loading the data at the start, in slices between its turns, so that clients are answered
//! meanwhile.
//!
//! Not here: who reads the files (`load_file`, `journal`), and what clients are told (`engine`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Sender, TryRecvError};

use basalt_engine::{LoadStep, Loaded};

use crate::engine::Engine;
use crate::foreign_aof::Import;
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
    /// The append-only file of another program.
    Foreign(Batches, Arc<Import>),
    Journal(Box<Restore>),
}

/// How far a shard is.
pub(crate) enum Progress {
    /// There is more to do at once.
    More,
    /// Others are waited for.
    Waits,
    /// A connection is to be served that brings data.
    Client(OwnedFd),
    /// All shards have all of their data; this one's journal goes on in this file.
    Whole(Option<JournalFile>),
}

pub(crate) struct Startup {
    node: Arc<Node>,
    source: Source,
    is_first: bool,
    /// This shard has its data, and waits for the others.
    is_here: bool,
    loaded: Loaded,
    journal: Option<JournalFile>,
    /// A journal is to begin with what is loaded, before any of it is changed.
    begins_journal: bool,
    report: Sender<io::Result<Loaded>>,
}

impl Startup {
    /// `report` gets what was loaded, or why nothing can be.
    pub(crate) fn new(
        node: Arc<Node>,
        (source, is_first): (Source, bool),
        report: Sender<io::Result<Loaded>>,
    ) -> Self {
        // The first shard begins it for all.
        let begins_journal = is_first && matches!(source, Source::Foreign(..));
        Self {
            node,
            source,
            is_first,
            is_here: false,
            loaded: Loaded::default(),
            journal: None,
            begins_journal,
            report,
        }
    }

    /// Whether what is loaded are commands of another program.
    pub(crate) fn imports(&self) -> bool {
        matches!(self.source, Source::Foreign(..))
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
        self.source = Source::Nothing;
        engine.end_import();
        if self.begins_journal {
            match engine.begin_anew() {
                None => return Ok(Progress::Waits),
                Some(Ok(())) => self.begins_journal = false,
                Some(Err(words)) => {
                    self.report(Err(io::Error::other(words.clone())));
                    return Err(io::Error::other(words));
                }
            }
        }
        if !std::mem::replace(&mut self.is_here, true) {
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
            Source::Snapshot(batches) | Source::Foreign(batches, _) => {
                let mut ended = None;
                while ended.is_none() && monotonic_us() < end_us {
                    match batches.try_recv() {
                        Ok(LoadStep::Batch(batch)) => {
                            let own = engine.load(&batch).map_err(|error| {
                                io::Error::other(format!("the snapshot can't be loaded: {error}"))
                            })?;
                            self.loaded.add(own);
                        }
                        Ok(LoadStep::End) => ended = Some(Progress::Whole(None)),
                        // All of the snapshot at the head is here.
                        Ok(LoadStep::NotYet) => {
                            if let Source::Foreign(_, import) = &self.source {
                                import.arrive();
                            }
                            return Ok(Progress::More);
                        }
                        Err(TryRecvError::Empty) => ended = Some(Progress::Waits),
                        Err(TryRecvError::Disconnected) | Ok(LoadStep::Failed(_)) => {
                            return Err(io::Error::other("the file can't be loaded"));
                        }
                    }
                }
                match (&self.source, ended) {
                    (Source::Foreign(_, import), Some(Progress::Waits)) if self.is_first => {
                        Ok(import.take_client().map_or(Progress::Waits, Progress::Client))
                    }
                    (_, ended) => Ok(ended.unwrap_or(Progress::More)),
                }
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
