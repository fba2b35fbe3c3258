//! Shard: the part of all data that one core owns alone, with the sessions pinned beside it.
//!
//! What a hop gets: it may use everything here, and cannot wait.

pub(crate) mod blocking;
pub(crate) mod call;
pub(crate) mod libraries;
mod loading;
pub(crate) mod memory;
mod monitors;
pub(crate) mod part;
pub(crate) mod pubsub;
mod saving;
pub(crate) mod scripting;
mod slot_moves;
pub(crate) mod timing;

use std::sync::Arc;

use basalt_commands::config::{Config, LogLevel};
use basalt_commands::{Command, CommandError, Flags};
use basalt_keyspace::{DatabaseId, Keyspace, ShardId};
use basalt_resp::ParseLimits;

use crate::completion::Ticket;
use crate::intents::{Intents, Number, Scope};
use crate::journal::{CutId, Journal};
use crate::loading::Loading;
use crate::now::{Now, Stopwatch};
use crate::observe::command_stats::CommandStats;
use crate::observe::hot_keys::HotKeys;
use crate::observe::latency::LatencyEvents;
use crate::observe::monitor::Monitors;
use crate::observe::rates::Rates;
use crate::observe::slowlog::SlowLog;
use crate::observe::stats::ShardStats;
use crate::saving::{SAVING_SHARD, SaveKind, Saving};
use crate::session::SessionSums;
use crate::session::armed::Armed;
use crate::session::{Peer, Session, Sessions};
use crate::shard::blocking::Waiting;
use crate::shard::memory::{
    MemoryBounds, MemoryLimit, Pressure, PressureChange, Published, RoomMaker, Shortage,
};
use crate::shard::pubsub::PubSub;
use crate::shard::scripting::Scripting;
use crate::slots::balance::{Balancer, Loads};
use crate::slots::quiet::Still;
use crate::slots::routes::Routes;

/// Acts on new settings where that may fail, given those that hold. Called on the first shard before any
/// shard takes them over; what is refused has changed nothing.
pub type ApplySettings = Box<dyn FnMut(&Config, &Config) -> Result<(), CommandError>>;

/// The part of all data that one core owns alone, with the sessions pinned beside it.
pub(crate) struct Shard {
    pub id: ShardId,
    pub keyspace: Keyspace,
    pub sessions: Sessions,
    pub config: Arc<Config>,
    pub routes: Arc<Routes>,
    /// What slots cost, and who compares that.
    pub loads: Loads,
    pub balancer: Balancer,
    /// Slots are being moved: nothing new is begun.
    pub still: Option<Still>,
    pub stats: ShardStats,
    pub command_stats: CommandStats,
    pub hot_keys: HotKeys,
    pub slowlog: SlowLog,
    pub latency: LatencyEvents,
    pub now: Now,
    pub stopwatch: Stopwatch,
    /// How much more data may come, of this turn.
    pub memory: MemoryLimit,
    /// What the process may use of the machine, as of this turn; kept only where `maxmemory` is set.
    pub memory_bounds: MemoryBounds,
    /// Where memory runs out before `maxmemory` is reached.
    pub pressure: Pressure,
    /// What the other shards held when this turn began.
    pub used_by_others: Published,
    /// What this one held when the last turn ended; kept only where `maxmemory` is set.
    pub used_bytes: usize,
    /// Since when all shards together exceed `maxmemory` (monotonic µs).
    pub exceeded_since_us: Option<u64>,
    /// Gates that look at every session's commands.
    pub armed: Armed,
    pub limits: ParseLimits,
    pub limits_before_auth: ParseLimits,
    /// How fast the counters grow.
    pub rates: Rates,
    /// The most bytes that data and sessions took at a time, as far as it was seen.
    pub used_bytes_peak: usize,
    /// What the last round over all sessions saw of them, a slice at a time.
    pub sessions_seen: SessionSums,
    /// Which transactions mean to touch what.
    pub intents: Intents,
    /// The waiters, by what they wait for.
    pub waiting: Waiting,
    /// The monitors.
    pub monitors: Monitors,
    /// The subscriptions.
    pub pubsub: PubSub,
    /// Where every change is written to a file.
    pub journal: Option<Box<Journal>>,
    /// Where the last one ended that was turned off, and what the world still does for it.
    journal_ended: u64,
    pub journal_leftover: usize,
    /// The waits for the journals to be committed up to a position of this one's.
    pub journal_waits: Vec<(u64, Ticket)>,
    /// Some shard's disk refuses what is written to its journal.
    pub journal_faults: bool,
    /// Cuts that others took while there was none here.
    pub cuts_without_journal: Vec<CutId>,
    /// DEBUG SLEEP: until when the core is to stall.
    pub stall_until_us: Option<u64>,
    /// On the first shard: acts on new settings where that may fail.
    apply: Option<ApplySettings>,
    /// What is known of snapshots.
    pub saving: Saving,
    /// A file that is being loaded.
    pub loading: Loading,
    /// CLIENT PAUSE.
    pause: Option<Pause>,
    /// Reads remove nothing that expires, for a transaction that goes on.
    keeps_expired: bool,
    /// The number of the last change of settings; the first shard counts them.
    config_version: u64,
    /// The settings changed, and [`World`](crate::World) has not heard of it yet.
    config_is_new: bool,
    sessions_opened: u64,
    /// Scripts, and the interpreter that runs them.
    pub scripting: Scripting,
    /// Lines for the log, written when the turn ends.
    pub notes: Vec<(LogLevel, String)>,
}

/// A CLIENT PAUSE under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub until_us: u64,
    pub writes_only: bool,
}

/// Settings on their way to every shard.
#[derive(Clone)]
pub(crate) struct ConfigChange {
    version: u64,
    config: Arc<Config>,
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        keyspace: Keyspace,
        config: Arc<Config>,
        routes: Arc<Routes>,
        now: Now,
    ) -> Self {
        let mut shard = Self {
            id,
            keyspace,
            sessions: Sessions::default(),
            config: Arc::clone(&config),
            routes,
            loads: Loads::default(),
            balancer: Balancer::default(),
            still: None,
            stats: ShardStats::default(),
            command_stats: CommandStats::new(&config),
            hot_keys: HotKeys::new(now.unix_ms),
            slowlog: SlowLog::default(),
            latency: LatencyEvents::default(),
            now,
            stopwatch: Box::new(|| 0),
            memory: MemoryLimit::default(),
            memory_bounds: MemoryBounds::default(),
            pressure: Pressure::default(),
            used_by_others: Published::default(),
            used_bytes: 0,
            exceeded_since_us: None,
            armed: Armed::default(),
            limits: ParseLimits::default(),
            limits_before_auth: ParseLimits { unauthenticated: true, ..ParseLimits::default() },
            rates: Rates::default(),
            used_bytes_peak: 0,
            sessions_seen: SessionSums::default(),
            intents: Intents::default(),
            waiting: Waiting::default(),
            monitors: Monitors::default(),
            pubsub: PubSub::default(),
            journal: None,
            journal_ended: 0,
            journal_leftover: 0,
            journal_waits: Vec::new(),
            journal_faults: false,
            cuts_without_journal: Vec::new(),
            stall_until_us: None,
            apply: None,
            saving: Saving::new(now.unix_ms / 1000),
            loading: Loading::default(),
            pause: None,
            keeps_expired: false,
            config_version: 0,
            config_is_new: false,
            sessions_opened: 0,
            scripting: Scripting::default(),
            notes: Vec::new(),
        };
        shard.set_config(config);
        shard.config_is_new = false;
        shard
    }

    /// `maxmemory` in bytes; 0 is no limit.
    pub(crate) fn maxmemory(&self) -> u64 {
        // As in Redis nothing is refused or evicted while data is loaded.
        if self.is_loading() { 0 } else { self.config.maxmemory.of(self.memory_bounds.limit_bytes) }
    }

    /// The limit of this turn, as the settings and the use of the other shards are known now.
    pub(crate) fn renew_memory_limit(&mut self) {
        let others = (self.used_by_others, self.routes.shard_count() - 1);
        let totals = self.sessions.totals();
        let own = (self.used_bytes, totals.bytes - totals.unfit_bytes);
        let maxmemory = self.pressure.lowered(self.maxmemory());
        self.memory = MemoryLimit::new(maxmemory, others, own);
        if self.pressure.is_exhausted() {
            self.memory = self.memory.exhausted();
        }
        self.sessions.set_bounds(self.used_by_others.client_bytes + totals.bytes, maxmemory);
        self.keyspace.value_bytes_max = match usize::try_from(maxmemory) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(bytes) => bytes,
        };
    }

    /// Keeps less than `maxmemory` where the process runs out of memory before that.
    pub(crate) fn follow_pressure(&mut self) {
        let (bounds, maxmemory) = (self.memory_bounds, self.maxmemory());
        let counted = self.used_by_others.and(self.published()).counted_bytes() as u64;
        let change = self.pressure.follow(&bounds, counted, maxmemory);
        if self.id != ShardId(0) {
            return;
        }
        match change {
            Some(PressureChange::Begun) => self.note(
                LogLevel::Warning,
                format!(
                    "Memory runs out before maxmemory is reached: data and clients take {counted} of {maxmemory} \
                     bytes, and of the {} bytes that the process may use too few are left. No more than {} bytes \
                     are kept until there is room: keys are evicted, or writes refused. Lower maxmemory, or give \
                     the process more memory",
                    bounds.limit_bytes,
                    self.pressure.lowered(maxmemory)
                ),
            ),
            Some(PressureChange::Ended) => self.note(
                LogLevel::Notice,
                format!("There is enough memory again: {maxmemory} bytes (maxmemory) may be used"),
            ),
            None => {}
        }
    }

    /// What this shard holds now; the books of its sessions are settled.
    pub(crate) fn published(&mut self) -> Published {
        let totals = self.sessions.settle_books(match self.pressure.lowered(self.maxmemory()) {
            0 => u64::MAX,
            maxmemory => maxmemory,
        });
        let eviction = self.config.eviction();
        let has_evictable =
            eviction.is_some_and(|own| self.keyspace.has_evictable(own.volatile_only));
        let largest_client = match self.sessions.largest_class() {
            0 => 0,
            class => u32::from(class) << u16::BITS | u32::from(self.id.0),
        };
        Published {
            used_bytes: self.keyspace.held_bytes(),
            client_bytes: totals.bytes,
            unfit_bytes: totals.unfit_bytes,
            largest_client,
            has_evictable,
        }
    }

    /// Whether a setting bounds memory, so that shards show each other what they hold.
    pub(crate) fn is_memory_bounded(&self) -> bool {
        self.config.maxmemory.is_set() || self.config.maxmemory_clients.is_set()
    }

    /// `maxmemory-clients` in bytes; 0 is no limit.
    pub(crate) fn maxmemory_clients(&self) -> u64 {
        self.config.maxmemory_clients.of(self.maxmemory())
    }

    /// What all clients together may take before the largest are cut off; 0 is no limit. Where memory runs out they
    /// may not take it from all data.
    pub(crate) fn clients_bytes_max(&self) -> u64 {
        const SHORT_PART: u64 = 2;
        let own = self.maxmemory_clients();
        match self.pressure.cap_bytes() / SHORT_PART {
            0 => own,
            short if own == 0 => short,
            short => own.min(short),
        }
    }

    /// From now on changes of settings are acted on before they are taken over.
    pub(crate) fn apply_with(&mut self, apply: ApplySettings) {
        self.apply = Some(apply);
    }

    /// Takes over new settings.
    fn set_config(&mut self, config: Arc<Config>) {
        self.keyspace.set_reads_touch(config.reads_touch());
        self.keyspace.thresholds = config.thresholds();
        self.keyspace.set_uses(config.uses());
        let bulk_bytes_max = usize::try_from(config.proto_max_bulk_len).unwrap_or(usize::MAX);
        self.limits.bulk_bytes_max = bulk_bytes_max;
        self.limits_before_auth.bulk_bytes_max = bulk_bytes_max;
        if self.config.requirepass.is_set() && !config.requirepass.is_set() {
            for session in self.sessions.iter_mut() {
                session.armed.set(Armed::AUTH, false);
            }
        }
        self.command_stats.follow(&config);
        if let Some(journal) = &mut self.journal {
            journal.follow(config.appendfsync, &mut self.keyspace, self.now);
        }
        self.follow_appendonly(config.appendonly);
        self.loads.keep(config.balance_slots && self.routes.shard_count() > 1);
        self.publish_events();
        self.config = config;
        self.used_bytes = self.keyspace.used_bytes();
        self.sessions.keep_books(self.is_memory_bounded());
        if !self.config.maxmemory.is_set() {
            self.pressure = Pressure::default();
        }
        self.renew_memory_limit();
        self.arm_disk();
        self.settle_events();
        let keys_max =
            self.config.tracking_table_max_keys.div_ceil(self.routes.shard_count() as u64);
        self.keyspace.set_tracked_keys_max(usize::try_from(keys_max).unwrap_or(usize::MAX));
        self.config_is_new = true;
    }

    /// CONFIG SET on the first shard, through which all changes go, so that none is lost to another one
    /// at the same time.
    pub(crate) fn change_config(
        &mut self,
        pairs: &[(Vec<u8>, Vec<u8>)],
        client_is_local: bool,
    ) -> Result<ConfigChange, CommandError> {
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let config = Arc::new(self.config.set(&pairs, client_is_local)?);
        if self.is_loading() && config.appendonly != self.config.appendonly {
            return Err(CommandError::text(
                "ERR CONFIG SET failed (possibly related to argument 'appendonly') - it can't be changed while \
                 data is loaded",
            ));
        }
        if let Some(apply) = &mut self.apply {
            apply(&self.config, &config)?;
        }
        let change = ConfigChange { version: self.config_version + 1, config };
        self.take_config(change.clone());
        Ok(change)
    }

    /// Takes over a change, unless it was overtaken by a later one.
    pub(crate) fn take_config(&mut self, change: ConfigChange) {
        if change.version > self.config_version {
            self.config_version = change.version;
            self.set_config(change.config);
        }
    }

    pub(crate) fn config_is_new(&self) -> bool {
        self.config_is_new
    }

    /// The settings, if they changed since this was last asked.
    pub(crate) fn take_new_config(&mut self) -> Option<Arc<Config>> {
        std::mem::take(&mut self.config_is_new).then(|| Arc::clone(&self.config))
    }

    /// Begins a pause; where one is under way, the longer time and the stricter mode hold.
    pub(crate) fn begin_pause(&mut self, pause: Pause) {
        let merged = self.pause.map_or(pause, |other| Pause {
            until_us: other.until_us.max(pause.until_us),
            writes_only: other.writes_only && pause.writes_only,
        });
        self.pause = Some(merged);
        self.settle_reads_remove();
        self.armed.set(Armed::PAUSE, true);
    }

    /// Ends the pause: what was held back goes on.
    pub(crate) fn end_pause(&mut self) {
        if self.pause.take().is_some() {
            self.armed.set(Armed::PAUSE, false);
            self.settle_reads_remove();
            self.sessions.release_held();
        }
    }

    /// While a transaction goes on here, what expires stays, so that it finds what it found before.
    pub(crate) fn keep_expired(&mut self, keeps_expired: bool) {
        self.keeps_expired = keeps_expired;
        self.settle_reads_remove();
    }

    fn settle_reads_remove(&mut self) {
        self.keyspace.set_reads_remove(self.pause.is_none() && !self.keeps_expired);
    }

    pub(crate) fn pause(&self) -> Option<Pause> {
        self.pause
    }

    /// Whether the pause keeps a command from running now.
    pub(crate) fn holds_back(&self, command: &Command) -> bool {
        let writes = Flags::WRITE.or(Flags::MAY_REPLICATE);
        self.pause.is_some_and(|pause| !pause.writes_only || command.flags.has(writes))
    }

    /// Keeps what INFO shows of a course of time.
    pub(crate) fn sample(&mut self) {
        self.rates.mark(&self.stats, self.command_stats.calls(), self.now.monotonic_us);
        self.used_bytes_peak = self.used_bytes_peak.max(self.keyspace.used_bytes());
    }

    /// Schedules a visit; returns whether it is granted at once.
    pub(crate) fn schedule(&mut self, number: Number, scope: Scope) -> bool {
        let is_granted = self.intents.schedule(number, scope);
        self.stats.transactions.waits += u64::from(!is_granted);
        is_granted
    }

    /// Runs what is a part of something that concerns other shards, too.
    pub(crate) fn tied<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        if self.journal.is_none() {
            return run(self);
        }
        self.take_in_records(false);
        let result = run(self);
        self.take_in_records(true);
        result
    }

    /// Acts on a change of `appendonly`: what is there becomes the base of a journal, or nothing more is journaled.
    fn follow_appendonly(&mut self, appendonly: bool) {
        if appendonly == self.config.appendonly {
            return;
        }
        let record = &mut self.saving.record;
        let is_first = self.id == SAVING_SHARD;
        record.rewrites.needs_base = appendonly && is_first;
        if appendonly && is_first {
            record.begin_rewrite(self.now.monotonic_us);
        } else if !appendonly {
            record.rewrites.is_scheduled = false;
            if record.runs(SaveKind::Rewrite) {
                self.cancel_save();
            }
            if let Some(journal) = &mut self.journal {
                journal.turn_off(&mut self.keyspace, self.now);
            }
        }
    }

    /// Has writes refused while the disk refuses, or not any more.
    pub(crate) fn arm_disk(&mut self) {
        let config = &self.config;
        let save_failed = self.saving.has_failed
            && config.stop_writes_on_bgsave_error
            && !config.save.0.is_empty();
        self.armed.set(Armed::DISK, self.journal_faults || save_failed);
    }

    /// Why writes are refused, if they are.
    pub(crate) fn disk_refusal(&self) -> Option<CommandError> {
        if !self.armed.has(Armed::DISK) {
            return None;
        }
        Some(CommandError::text(match self.journal_faults {
            true => {
                "MISCONF Errors writing to the AOF file: the disk refuses, so writes do, too. See the log."
            }
            false => {
                "MISCONF Basalt is configured to save RDB snapshots, but it's currently unable to persist to \
                 disk. Commands that may modify the data set are disabled, because this instance is configured \
                 to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). \
                 Please check the Basalt logs for details about the RDB error."
            }
        }))
    }

    /// Ends a journal that was turned off, whatever of it is on the disk.
    pub(crate) fn drop_journal(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        self.journal_ended = journal.end();
        self.journal_leftover += journal.operations();
        self.keyspace.track_changes(false);
    }

    /// Behind all that was journaled.
    pub(crate) fn journal_end(&self) -> u64 {
        self.journal.as_ref().map_or(self.journal_ended, |journal| journal.end())
    }

    /// Has the journal take in what changed since it last did.
    pub(crate) fn take_in_records(&mut self, is_tied: bool) {
        if let Some(journal) = &mut self.journal {
            journal.take_in(&mut self.keyspace, is_tied, self.now);
        }
    }

    /// Has all that was done before brought to the disks, and a coordination told then. Returns whether it is there as far
    /// as is known here.
    pub(crate) fn await_disks(&mut self, wait: Option<Ticket>) -> bool {
        self.take_in_records(false);
        let now = self.now;
        let is_live = |journal: &&mut Box<Journal>| !journal.is_turned_off() && journal.has_base();
        match (self.journal.as_mut().filter(is_live), wait) {
            (None, None) => false,
            // It waits for the journal that is being begun.
            (None, Some(ticket)) => {
                self.journal_waits.push((u64::MAX, ticket));
                false
            }
            (Some(journal), None) => journal.committed() >= journal.end(),
            (Some(journal), Some(ticket)) => {
                let position = journal.await_disks(now);
                self.journal_waits.push((position, ticket));
                false
            }
        }
    }

    /// Forgets a coordination that waits no more.
    pub(crate) fn forget_wait_for_disks(&mut self, coordination: u64) {
        self.journal_waits.retain(|(_, ticket)| ticket.coordination != coordination);
    }

    /// Whether replies wait for the disk.
    #[inline]
    pub(crate) fn replies_wait(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_always())
    }

    /// Whether what a command just replied of a key is not on disk yet.
    #[inline]
    pub(crate) fn is_uncommitted(&self, command: &Command, hash: u64) -> bool {
        let Some(journal) = &self.journal else { return false };
        journal.is_always()
            && (command.flags.has(Flags::WRITE)
                || self.keyspace.changed_at(hash) > journal.committed_records)
    }

    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
        if self.loading.imports {
            self.now.unix_ms = 0;
        }
        self.keyspace.set_now(self.now.unix_ms);
        if self.pause.is_some_and(|pause| pause.until_us <= now.monotonic_us) {
            self.end_pause();
        }
    }

    pub(crate) fn open_session(&mut self, peer: Peer) -> &mut Session {
        self.sessions_opened += 1;
        self.stats.connections += 1;
        // Numbers of different shards never meet, so a client's number is of one shard only.
        let number = (self.sessions_opened - 1) * self.routes.shard_count() as u64
            + u64::from(self.id.0)
            + 1;
        let session = self.sessions.open(number, peer, self.now.monotonic_us);
        session.armed.set(Armed::AUTH, self.config.requirepass.is_set());
        session.last_shard = self.id;
        session
    }

    /// Refuses a command that may need more memory than is left, whichever shards its keys are on.
    pub(crate) fn check_memory(
        &mut self,
        flags: Flags,
        database: DatabaseId,
    ) -> Result<(), CommandError> {
        if self.memory.is_short(flags, &self.keyspace, database) {
            self.room_maker().make_room(0, 0)?;
        }
        Ok(())
    }

    /// As [`Shard::check_memory`], for a command that runs later: room is made then.
    ///
    /// # Errors
    /// -OOM where no room can be made on any shard.
    pub(crate) fn check_memory_ahead(
        &mut self,
        flags: Flags,
        database: DatabaseId,
    ) -> Result<(), CommandError> {
        let is_short = self.memory.is_short(flags, &self.keyspace, database);
        if is_short && !self.room_maker().can_make_room() {
            return Err(CommandError::OVER_MAXMEMORY);
        }
        Ok(())
    }

    /// Makes room for a command that stores large values of about so many bytes, of which some are counted already, as
    /// a client's.
    pub(crate) fn make_room_for(
        &mut self,
        flags: Flags,
        bytes: usize,
        counted_bytes: usize,
    ) -> Result<(), Shortage> {
        if self.maxmemory() == 0 || !flags.has(Flags::DENYOOM) {
            return Ok(());
        }
        self.room_maker().make_room(bytes, counted_bytes)
    }

    fn room_maker(&mut self) -> RoomMaker<'_> {
        RoomMaker {
            keyspace: &mut self.keyspace,
            config: &self.config,
            memory: &mut self.memory,
            intents: &self.intents,
        }
    }

    /// Has a line logged when the turn ends.
    pub(crate) fn note(&mut self, level: LogLevel, line: String) {
        self.notes.push((level, line));
    }

    pub(crate) fn take_notes(&mut self) -> Vec<(LogLevel, String)> {
        std::mem::take(&mut self.notes)
    }
}
