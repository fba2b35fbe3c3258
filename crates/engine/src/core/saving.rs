//! Saving: a snapshot is begun on all shards at one moment, walked in slices, and handed to the World chunk by chunk.
//!
//! A rewrite of the journal is one whose bytes are the bases of the shards' journals. Before its moment each shard's
//! journal goes on in a new file; once the bases are on the disk, all that is older is not needed any more.

use std::sync::Arc;

use basalt_commands::config::LogLevel;
use basalt_journal::FileHeader;
use basalt_keyspace::ShardId;

use super::Core;
use crate::export::FileHead;
use crate::intents::Mode;
use crate::limits;
use crate::saving::{
    RewritePlan, RunningSave, SAVING_SHARD, SaveEnd, SaveKind, SaveProgress, SaveStart, SaveTarget,
    SaveWait, chunk_sink,
};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;
use crate::world::World;

/// The head of a file, with the size of each database.
fn head(shard: &Shard, found: &[Vec<(u64, u64)>]) -> Vec<u8> {
    let add = |sum: (u64, u64), own: (u64, u64)| (sum.0 + own.0, sum.1 + own.1);
    let size = |database| found.iter().map(|sizes: &Vec<_>| sizes[database]).fold((0, 0), add);
    let libraries = shard.scripting.libraries.all();
    let head = FileHead {
        config: &shard.config,
        now_ms: shard.now.unix_ms,
        used_bytes: shard.keyspace.used_bytes(),
        is_base: false,
        functions: libraries.map(|library| library.code.text.as_slice()).collect(),
        sizes: (0..shard.keyspace.database_count()).map(size).collect(),
    };
    head.encode()
}

/// Begins a save on all shards, which are held.
pub(super) async fn begin_held_save(hops: &Hops, routes: &Routes, home: ShardId, number: u64) {
    let begin = move |shard: &mut Shard| shard.begin_save(number);
    let found = hops.on_each(routes.shards().map(|shard| (shard, begin))).await;
    let hand = move |shard: &mut Shard| {
        let config = &shard.config;
        let target = SaveTarget::File {
            path: format!("{}/{}", config.dir.trim_end_matches('/'), config.dbfilename),
            head: head(shard, &found),
            has_checksum: config.rdbchecksum,
        };
        shard.saving.head = Some((number, target));
        shard.saving.record.is_beginning = false;
    };
    hops.on(home, hand).await;
    let send = move |shard: &mut Shard| shard.send_save(number);
    hops.on_each(routes.shards().map(|shard| (shard, send))).await;
}

impl Core {
    /// What a turn does for saves; returns whether more is to be done at once.
    pub(super) fn save(&mut self, world: &mut dyn World) -> bool {
        self.look_at_save_points();
        if self.shard.saving.is_idle() {
            return false;
        }
        let waits = self.shard.is_loading() && !self.shard.loading.begins_journal;
        let may_begin = self.nested.is_none() && !waits;
        if may_begin && !self.shard.saving.record.is_beginning {
            self.begin_wanted(world);
        }
        self.hand_head(world);
        let is_left = self.write_save(world);
        self.hear_of_save(world);
        if let Some(request) = self.shard.saving.shuts_down.take() {
            world.shutdown(request);
        }
        is_left
    }

    /// When to look again at what is saved.
    pub(super) fn save_due_us(&self) -> Option<u64> {
        let now_us = self.shard.now.monotonic_us;
        if !self.shard.saving.is_idle() {
            return Some(now_us + limits::SAVE_LOOK_US);
        }
        self.save_points_due_us()
    }

    /// Begins the save that is wanted, or the rewrite whose files are there by now.
    fn begin_wanted(&mut self, world: &mut dyn World) {
        let record = &mut self.shard.saving.record;
        match record.wanted.take() {
            Some((number, SaveKind::Snapshot)) => self.begin_save(world, number),
            Some((number, SaveKind::Rewrite)) => {
                record.preparing = Some(number);
                let journal = self.shard.journal.as_ref();
                let begins = record.rewrites.needs_base
                    || journal.is_none_or(|journal| journal.is_turned_off());
                record.rewrites.begins = begins;
                let (shard, salt) = (&self.shard, world.random());
                world.prepare_rewrite(RewritePlan {
                    number,
                    shards: shard.routes.shard_count(),
                    begins,
                    last_taken: self.shard.saving.record.rewrites.last_taken,
                    config: Arc::clone(&shard.config),
                    now_ms: shard.now.unix_ms,
                    salt,
                });
            }
            None => {}
        }
        let Some(number) = self.shard.saving.record.preparing else { return };
        match world.save_progress() {
            SaveProgress { number: last, prepared: Some(headers), end: None, .. }
                if last == number =>
            {
                self.shard.saving.record.preparing = None;
                self.begin_rewrite(world, number, headers);
            }
            SaveProgress { number: last, end: Some(_), .. } if last == number => {
                self.shard.saving.record.preparing = None;
            }
            _ => {}
        }
    }

    /// Has every shard's journal go on in its new file, and begins the bases at one moment after that.
    fn begin_rewrite(&mut self, world: &mut dyn World, number: u64, headers: Arc<[FileHeader]>) {
        world.log(LogLevel::Notice, "Background append only file rewriting started");
        self.shard.saving.record.is_beginning = true;
        let routes = Arc::clone(&self.shard.routes);
        let home = self.shard.id;
        let rewrites = &mut self.shard.saving.record.rewrites;
        let begins = rewrites.begins;
        let is_journaled = self.shard.config.appendonly;
        if is_journaled {
            rewrites.last_taken = number;
        }
        self.coordinate(SessionId::NOBODY, |hops| async move {
            let go_on = |shard: ShardId| {
                let header = headers[shard.index()];
                (shard, move |own: &mut Shard| {
                    if is_journaled {
                        own.begin_journal_file(number, header, begins);
                    }
                })
            };
            hops.on_each(routes.shards().map(go_on).collect::<Vec<_>>()).await;
            let begin = move |shard: &mut Shard| {
                let header = headers[shard.id.index()];
                shard.begin_base(number, header)
            };
            hops.hold_everything(&routes, Mode::Read, |_| ()).await;
            let begin = routes.shards().map(|shard| (shard, begin.clone()));
            let positions = hops.on_each(begin.collect::<Vec<_>>()).await;
            let hand = move |shard: &mut Shard| {
                shard.saving.head = Some((number, SaveTarget::Bases { positions }));
                shard.saving.record.is_beginning = false;
            };
            hops.on(home, hand).await;
            let send = move |shard: &mut Shard| shard.send_save(number);
            hops.on_each(routes.shards().map(|shard| (shard, send))).await;
            hops.release_all();
            Vec::new()
        });
    }

    /// Begins a save on all shards at one moment. Only the first shard does that, and for no session: so none that
    /// goes can leave it half begun.
    fn begin_save(&mut self, world: &mut dyn World, number: u64) {
        world.log(LogLevel::Notice, "Background saving started");
        self.shard.saving.record.is_beginning = true;
        let routes = Arc::clone(&self.shard.routes);
        let home = self.shard.id;
        self.coordinate(SessionId::NOBODY, |hops| async move {
            hops.hold_everything(&routes, Mode::Read, |_| ()).await;
            begin_held_save(&hops, &routes, home, number).await;
            hops.release_all();
            Vec::new()
        });
    }

    /// Hands the head of a file to the World: before any shard is asked to send more, which is in a message of this
    /// turn or a later one.
    pub(super) fn hand_head(&mut self, world: &mut dyn World) {
        if let Some((number, target)) = self.shard.saving.head.take() {
            let shards = self.shard.routes.shard_count();
            world.begin_save(SaveStart { number, shards, target });
        }
    }

    /// Walks on within the time of a turn, and hands over what has come of it.
    fn write_save(&mut self, world: &mut dyn World) -> bool {
        let shard = &mut self.shard;
        let Some(active) = &mut shard.saving.active else { return false };
        if !active.may_send || active.is_handed_over {
            return false;
        }
        let number = active.number;
        let end_us = world.monotonic_us() + limits::MAINTENANCE_TURN_US;
        loop {
            let Some(sink) = chunk_sink(&mut shard.keyspace) else { return false };
            if let Some(refusal) = sink.refusal.take() {
                shard.keyspace.end_snapshot();
                active.is_handed_over = true;
                world.cancel_save(number, SaveEnd::Failed(refusal));
                return false;
            }
            while let Some(chunk) = sink.take_chunk(false) {
                if let Err(chunk) = world.save_chunk(number, chunk) {
                    sink.put_back(chunk);
                    return false;
                }
            }
            let is_left = shard.keyspace.write_snapshot(&mut || world.monotonic_us() < end_us);
            if !is_left {
                let sink = chunk_sink(&mut shard.keyspace).expect("the snapshot was not ended");
                if sink.refusal.is_some() {
                    continue;
                }
                while let Some(chunk) = sink.take_chunk(true) {
                    if let Err(chunk) = world.save_chunk(number, chunk) {
                        sink.put_back(chunk);
                        return false;
                    }
                }
                if !world.finish_save(number) {
                    return false;
                }
                if let Some((what, keys)) = sink.left_out.take() {
                    let line = format!("{what} were left out of the snapshot, of {keys} keys");
                    world.log(LogLevel::Warning, &line);
                }
                shard.keyspace.end_snapshot();
                active.is_handed_over = true;
                return false;
            }
            if world.monotonic_us() >= end_us {
                return true;
            }
        }
    }

    /// Acts on how a save goes: the first shard keeps the books, each forgets its part, and those that wait hear so.
    fn hear_of_save(&mut self, world: &mut dyn World) {
        if let Some((number, end)) = self.shard.saving.cancelled.take() {
            world.cancel_save(number, end);
        }
        let progress = world.save_progress();
        let now_us = self.shard.now.monotonic_us;
        let has_begun = |number: u64| number <= progress.number;
        let end_of = |number: u64| match &progress.end {
            Some(end) if number == progress.number => Some(end.clone()),
            // A later one has begun, so this one is over.
            _ if number < progress.number => Some(SaveEnd::Cancelled),
            _ => None,
        };
        let saving = &mut self.shard.saving;
        if let Some(active) = &saving.active
            && let Some(end) = end_of(active.number)
        {
            match active.kind {
                SaveKind::Snapshot if end == SaveEnd::Saved => {
                    saving.saved_changes = active.changes;
                }
                SaveKind::Rewrite if end == SaveEnd::Saved => {
                    let own = self.shard.id.index();
                    let bytes = progress.base_bytes.get(own).copied().unwrap_or_default();
                    if let Some(journal) = &mut self.shard.journal {
                        journal.note_rewritten(bytes);
                        // Those that waited for a journal to begin.
                        let waits = self.shard.journal_waits.iter_mut();
                        for (position, _) in waits.filter(|(position, _)| *position == u64::MAX) {
                            *position = journal.await_disks(self.shard.now);
                        }
                    }
                }
                _ => {}
            }
            saving.active = None;
            self.shard.keyspace.end_snapshot();
        }
        let saving = &mut self.shard.saving;
        if let Some(running) = saving.record.running
            && let Some(end) = end_of(running.number)
        {
            saving.record.running = None;
            match running.kind {
                SaveKind::Snapshot => self.note_snapshot(world, running, &end),
                SaveKind::Rewrite => self.note_rewrite(world, running, &end),
            }
            let record = &mut self.shard.saving.record;
            if record.rewrites.is_scheduled {
                record.begin(SaveKind::Rewrite, now_us);
            } else if record.is_scheduled {
                record.begin(SaveKind::Snapshot, now_us);
            }
        }
        let waits = std::mem::take(&mut self.shard.saving.waits);
        for wait in waits {
            let SaveWait { number, ticket, until_end } = wait;
            match end_of(number) {
                Some(end) => self.take_result(ticket, Box::new(end)),
                None if !until_end && has_begun(number) => {
                    self.take_result(ticket, Box::new(SaveEnd::Saved));
                }
                None => self.shard.saving.waits.push(wait),
            }
        }
        self.settle();
    }

    fn note_snapshot(&mut self, world: &mut dyn World, running: RunningSave, end: &SaveEnd) {
        let now = self.shard.now;
        let record = &mut self.shard.saving.record;
        record.last_tried_us = now.monotonic_us;
        record.last_took_s = Some(now.monotonic_us.saturating_sub(running.begun_us) / 1_000_000);
        match end {
            SaveEnd::Saved => {
                record.last_saved_s = now.unix_ms / 1000;
                record.last_failed = false;
                record.saves += 1;
                world.log(LogLevel::Notice, "DB saved on disk");
            }
            SaveEnd::Failed(error) => {
                record.last_failed |= running.is_background;
                world.log(LogLevel::Warning, &format!("Background saving error: {error}"));
            }
            SaveEnd::Cancelled => world.log(LogLevel::Notice, "Background saving cancelled"),
        }
        let has_failed = record.last_failed;
        if has_failed != self.shard.saving.has_failed {
            let shards = self.shard.routes.shards();
            self.coordinate(SessionId::NOBODY, |hops| async move {
                let note = move |shard: &mut Shard| {
                    shard.saving.has_failed = has_failed;
                    shard.arm_disk();
                };
                hops.on_each(shards.map(|shard| (shard, note))).await;
                Vec::new()
            });
        }
    }

    fn note_rewrite(&mut self, world: &mut dyn World, running: RunningSave, end: &SaveEnd) {
        let now_us = self.shard.now.monotonic_us;
        let rewrites = &mut self.shard.saving.record.rewrites;
        rewrites.last_tried_us = now_us;
        rewrites.last_took_s = Some(now_us.saturating_sub(running.begun_us) / 1_000_000);
        match end {
            SaveEnd::Saved => {
                (rewrites.last_failed, rewrites.failures) = (false, 0);
                let has_begun = rewrites.begins && rewrites.last_taken == running.number;
                rewrites.needs_base &= !has_begun;
                rewrites.rewrites += 1;
                world.log(LogLevel::Notice, "Background AOF rewrite finished successfully");
            }
            SaveEnd::Failed(error) => {
                rewrites.last_failed = true;
                rewrites.failures = rewrites.failures.saturating_add(1);
                let line = format!("Background AOF rewrite terminated with error: {error}");
                world.log(LogLevel::Warning, &line);
            }
            SaveEnd::Cancelled => world.log(LogLevel::Notice, "Background AOF rewrite given up"),
        }
    }

    fn save_points_due_us(&self) -> Option<u64> {
        let config = &self.shard.config;
        let looks = !config.save.0.is_empty() || config.appendonly;
        let watches = self.shard.id == SAVING_SHARD && looks && !self.shard.is_loading();
        watches.then_some(self.shard.saving.record.looked_us + limits::SAVE_POINTS_US)
    }

    /// Looks at the save points, if it is time to: the first shard asks the others how much has changed.
    fn look_at_save_points(&mut self) {
        let now_us = self.shard.now.monotonic_us;
        let is_due = self.save_points_due_us().is_some_and(|due_us| now_us >= due_us);
        let record = &mut self.shard.saving.record;
        if !is_due || record.running.is_some() || self.shard.still.is_some() {
            return;
        }
        record.looked_us = now_us;
        let shards = self.shard.routes.shards();
        self.coordinate(SessionId::NOBODY, |hops| async move {
            let count = |shard: &mut Shard| {
                let journal = shard.journal.as_ref().map(|journal| journal.statistics());
                let bytes = journal.map_or((0, 0), |own| (own.disk_bytes, own.rewritten_bytes));
                let has_base = shard.journal.as_ref().is_none_or(|journal| journal.has_base());
                let changes = shard.keyspace.stats.changes;
                (changes.saturating_sub(shard.saving.saved_changes), bytes, has_base)
            };
            let found = hops.on_each(shards.map(|shard| (shard, count))).await;
            let changes = found.iter().map(|(changes, ..)| changes).sum();
            let add = |sum: (u64, u64), own: &(u64, u64)| (sum.0 + own.0, sum.1 + own.1);
            let bytes = found.iter().map(|(_, bytes, _)| bytes).fold((0, 0), add);
            let have_bases = found.iter().all(|(.., has_base)| *has_base);
            let consider = move |shard: &mut Shard| {
                shard.consider_rewrite(bytes, have_bases);
                shard.consider_save_points(changes);
            };
            hops.on(SAVING_SHARD, consider).await;
            Vec::new()
        });
    }
}
