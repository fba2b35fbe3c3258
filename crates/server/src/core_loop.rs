//! Core loop: the one task of a shard's executor. A turn of it:
//!
//!   ring and mesh ──what came in──► engine ──outputs──► ring ──one enter: submit and wait──► again
//!
//! All that came in is worked together, and all answers go out with one submission. The loop waits in its
//! own ring, also when nothing is to be done for long; glommio never puts the thread to sleep.
//!
//! LIMIT: a turn works at most `EVENTS_PER_TURN_MAX` completions and a ring's length from each neighbour.
//! Not here: what requests mean (`engine`), how memory and kernel are kept apart (`ring`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use basalt_commands::config::Config;
use basalt_engine::{JournalDone, Now, Reading, SessionId, Turn};
use basalt_keyspace::ShardId;
use basalt_resp::Payloads;
use glommio::timer::Timer;

use crate::acceptor::Acceptor;
use crate::clock;
use crate::connections::{Closing, Connection, Connections};
use crate::engine::Engine;
use crate::gather::Gather;
use crate::journal::JournalFile;
use crate::limits::{
    DIRECT_RECEIVES_MAX, EVENTS_PER_TURN_MAX, SPARE_OUTPUT_BYTES_MAX, SPARE_OUTPUTS_BYTES_MAX,
    SPARE_OUTPUTS_MAX,
};
use crate::loop_stats::LoopStats;
use crate::node::{Node, Post, Stage};
use crate::observe::{Mailbox, Report};
use crate::outside::{Outside, Packet, SocketKind};
use crate::ring::{AppendError, Appended, Chunk, Event, ReceiveEnd, Ring, Token};
use crate::spin::Spin;
use crate::startup::{self, Progress, Startup};
use crate::starved::Starved;
use crate::{listen, logging, memory, memory_bounds, title};

/// How long a loop waits at most that has worked lately.
const WAIT_MAX_US: u64 = 10_000;
/// An idle loop waits as long as it was idle before, within these bounds. Were a wake-up ever lost, that is
/// how late it would be noticed.
const IDLE_WAIT_MIN_US: u64 = 100_000;
const IDLE_WAIT_MAX_US: u64 = 1_000_000;
/// How often a loop lets glommio look after its own.
const GIVE_WAY_EVERY_US: u64 = 100_000;
/// How often a loop gives memory of buffers that are gone back to the system, where little is left.
const GIVE_BACK_EVERY_US: u64 = 1_000_000;
/// How often to look whether all shards are through with what they had to do before the end.
const DRAIN_LOOK_US: u64 = 2_000;
/// How long the end of the process waits for clients that don't read their last replies.
const DRAIN_MAX_US: u64 = 2_000_000;

pub(crate) struct CoreLoop<E: Engine> {
    engine: E,
    outside: Outside<E::Message>,
    node: Arc<Node>,
    ring: Ring,
    spin: Spin,
    gather: Gather,
    connections: Connections,
    acceptor: Option<Acceptor>,
    /// What others want to know.
    asked: Mailbox,
    /// The eventfd rang: somebody may have asked.
    is_asked: bool,
    statistics: LoopStats,
    journal: Option<JournalFile>,
    /// What is left of loading data at the start.
    startup: Option<Startup>,
    /// What came in since the last turn, in order.
    received: Vec<(SessionId, Chunk)>,
    messages: Vec<(ShardId, E::Message)>,
    /// Ends of connections, to be told after their last bytes were worked.
    ends: Vec<(Token, End)>,
    /// Sessions that had something to say while their last output was being sent.
    again: Vec<SessionId>,
    starved: Starved,
    /// Chunks of connections that are being closed.
    unwanted: Vec<Chunk>,
    spares: Vec<Vec<u8>>,
    /// All their bytes.
    spare_bytes: usize,
    events: Vec<Event>,
    slices: Vec<(SessionId, &'static [u8])>,
    /// When something last came in.
    active_at_us: u64,
    gave_way_at_us: u64,
    gave_back_at_us: u64,
    /// Since when the process is ending, as this shard saw it.
    draining_since_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    OfInput,
    Broken,
}

/// What a loop is made from, on the thread where it will run.
pub(crate) struct Parts<E: Engine> {
    pub(crate) engine: E,
    pub(crate) outside: Outside<E::Message>,
    pub(crate) ring: Ring,
    pub(crate) acceptor: Option<Acceptor>,
    pub(crate) asked: Mailbox,
    pub(crate) startup: Startup,
}

impl<E: Engine> CoreLoop<E> {
    pub(crate) fn new(parts: Parts<E>) -> io::Result<Self> {
        let Parts { mut engine, outside, mut ring, acceptor, asked, startup } = parts;
        engine.begin_loading(startup.imports());
        let node = Arc::clone(&outside.node);
        let post = &node.posts[outside.shard()];
        post.ring.store(ring.number(), Ordering::Release);
        ring.watch(post.eventfd());
        if let Some(acceptor) = &acceptor {
            acceptor.start(&mut ring);
        }
        Ok(Self {
            spin: Spin::new(engine.config().spin_us),
            gather: Gather::new(engine.config().gather_us, node.posts.len()),
            engine,
            outside,
            node,
            ring,
            connections: Connections::default(),
            acceptor,
            asked,
            is_asked: false,
            statistics: LoopStats::default(),
            journal: None,
            startup: Some(startup),
            received: Vec::new(),
            messages: Vec::new(),
            ends: Vec::new(),
            again: Vec::new(),
            starved: Starved::default(),
            unwanted: Vec::new(),
            spares: Vec::new(),
            spare_bytes: 0,
            events: Vec::new(),
            slices: Vec::new(),
            active_at_us: 0,
            gave_way_at_us: 0,
            gave_back_at_us: 0,
            draining_since_us: None,
        })
    }

    /// Runs until the process ends.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            let now = self.outside.clock.now();
            let something = self.collect(now.monotonic_us);
            if self.outside.shard() == 0 && self.node.take_stop_asked() {
                self.engine.stop(&mut self.outside);
            }
            let mut turn = self.work(now);
            if self.startup.is_some() {
                self.load(&mut turn, now.monotonic_us)?;
            }
            self.write_journal();
            self.answer();
            if let Some(config) = self.outside.new_config.take() {
                self.follow(&config);
            }
            if self.outside.stall_until_us.is_some() {
                // The other shards are to stall, too.
                self.wake_sleepers();
                self.ring.enter()?;
                self.outside.stall();
            }
            let due_us = self.acceptor.as_mut().and_then(|acceptor| {
                acceptor.look_after(now.monotonic_us, &mut self.ring, &mut self.outside)
            });
            // Behind all that may have sent something.
            self.wake_sleepers();
            // One a turn: deletions can empty hundreds of them together.
            turn.busy |= basalt_structures::give_back_chunk();
            turn.wake_at_us = turn.wake_at_us.into_iter().chain(due_us).min();
            if something || turn.busy {
                self.active_at_us = now.monotonic_us;
            }
            // What that takes counts as a part of the turn.
            if std::mem::take(&mut self.is_asked) {
                self.tell();
            }
            let end_us = self.outside.clock.monotonic_us();
            self.note_turn(end_us - now.monotonic_us);
            match self.node.stage() {
                Stage::Serving => self.rest(turn, end_us).await?,
                Stage::Draining => self.drain(turn, end_us)?,
                Stage::Ended => return Ok(()),
            }
        }
    }

    /// Loads a slice of the data; the process may be ending, which needs none.
    #[cold]
    fn load(&mut self, turn: &mut Turn, now_us: u64) -> io::Result<()> {
        let Self { startup, engine, outside, .. } = self;
        let Some(loading) = startup.as_mut().filter(|_| self.node.stage() == Stage::Serving) else {
            *startup = None;
            return Ok(());
        };
        match loading.step(engine, || outside.clock.monotonic_us())? {
            Progress::More => turn.busy = true,
            Progress::Waits => {
                let look_us = now_us + startup::LOOK_US;
                turn.wake_at_us =
                    Some(turn.wake_at_us.map_or(look_us, |due_us| due_us.min(look_us)));
            }
            Progress::Client(socket) => {
                self.post().connections.fetch_add(1, Ordering::Relaxed);
                let token = self.connections.add(Connection::new(socket));
                let session = self.engine.connect_loader();
                self.connections.bind(token, session);
                self.set_reading(token, Reading::Buffered);
                turn.busy = true;
            }
            Progress::Whole(journal) => {
                // One that began while all was loaded has its file already.
                self.journal = journal.or(self.journal.take());
                self.startup = None;
                turn.busy = true;
            }
        }
        Ok(())
    }

    /// Takes in what the ring and the mesh have. False where that is nothing.
    fn collect(&mut self, now_us: u64) -> bool {
        self.gather.begin(now_us, clock::thread_cpu_us);
        let mut events = std::mem::take(&mut self.events);
        self.ring.drain(&mut events, EVENTS_PER_TURN_MAX);
        if let Some(was_cut) = self.ring.take_gathered() {
            self.gather.judge(now_us, was_cut);
        }
        let mut something = !events.is_empty();
        for event in events.drain(..) {
            self.take_in(event, now_us);
        }
        self.events = events;
        if self.outside.port.is_empty() {
            return something;
        }
        let mut sockets = Vec::new();
        let messages = &mut self.messages;
        let mut packets = 0;
        self.outside.port.drain(|from, packet| {
            packets += 1;
            match packet {
                // A node has at most SHARDS_MAX shards, which fit.
                Packet::Engine(message) => messages.push((ShardId(from as u16), message)),
                Packet::Socket { socket, kind } => sockets.push((socket, kind)),
            }
        });
        self.outside.received += packets;
        something |= packets > 0;
        for (socket, kind) in sockets {
            self.connect(socket, &kind);
        }
        something
    }

    fn take_in(&mut self, event: Event, now_us: u64) {
        match event {
            Event::Received { token, chunk } => {
                let open = self.connections.get(token).filter(|one| one.closing == Closing::No);
                match open.and_then(|connection| Some((connection.session?, connection))) {
                    Some((session, connection)) => {
                        self.gather.note(&mut connection.mark);
                        self.received.push((session, chunk));
                    }
                    None => self.unwanted.push(chunk),
                }
            }
            Event::ReceivedDirectly { token, string } => {
                let session = self.connections.get(token).and_then(|connection| connection.session);
                if let Some(session) = session {
                    self.engine.take_back_large(session, string);
                }
            }
            Event::ReceiveEnded { token, why } => self.receive_ended(token, why),
            Event::Sent { token, spare, len, error } => {
                self.keep_spare(spare);
                self.sent(token, len, error);
            }
            Event::Accepted { listener, socket } => {
                let Some(acceptor) = &mut self.acceptor else { return };
                let own = acceptor.accepted(listener, socket, &mut self.outside);
                if let Some((socket, kind)) = own {
                    self.connect(socket, &kind);
                }
            }
            Event::AcceptEnded { listener, error } => {
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.ended(listener, error, now_us, &mut self.ring);
                }
            }
            Event::Appended(appended) => self.appended(appended),
            Event::Synced(error) => self.engine.journal_done(match error {
                None => JournalDone::Synced,
                Some(error) => JournalDone::NotSynced { frame: None, error: error.to_string() },
            }),
            Event::Eventfd => {
                let post = &self.node.posts[self.outside.shard()];
                post.clear_eventfd();
                self.ring.watch(post.eventfd());
                self.is_asked = true;
            }
            Event::WakeFailed { shard, error } => {
                // Its ring is gone where the process is ending; else it must hear of it.
                if error != libc::EBADF && error != libc::EBADFD {
                    self.wake(shard);
                }
            }
        }
    }

    fn connect(&mut self, socket: OwnedFd, kind: &SocketKind) {
        use std::os::fd::AsFd;
        let Ok(peer) = listen::peer(socket.as_fd(), kind) else {
            // It has gone already.
            self.post().connections.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        tracing::debug!("Accepted {peer}");
        let token = self.connections.add(Connection::new(socket));
        match self.engine.connect(peer) {
            Ok(session) => {
                self.connections.bind(token, session);
                self.set_reading(token, Reading::Buffered);
            }
            Err(words) => {
                let Some(connection) = self.connections.get(token) else { return };
                connection.closing = Closing::AfterOutput;
                if words.is_empty() {
                    self.close(token);
                } else {
                    connection.sending = true;
                    self.ring.send(token, connection.socket(), (words, Payloads::default()));
                }
            }
        }
    }

    fn receive_ended(&mut self, token: Token, why: ReceiveEnd) {
        let Some(connection) = self.connections.get(token) else { return };
        connection.receiving = false;
        match why {
            ReceiveEnd::NoBuffers => self.starved.push(token),
            // Its argument may be complete with what is worked next, or its backlog full.
            ReceiveEnd::Stopped
                if matches!(connection.reading, Reading::Direct | Reading::Sparing) =>
            {
                self.starved.push(token);
            }
            ReceiveEnd::Stopped => self.receive(token),
            ReceiveEnd::EndOfInput => {
                connection.input_ended = true;
                self.ends.push((token, End::OfInput));
            }
            ReceiveEnd::Failed(error) => {
                self.log_broken(token, "Reading from client", error);
                self.ends.push((token, End::Broken));
            }
        }
        self.finish_closing(token);
    }

    fn sent(&mut self, token: Token, len: usize, error: Option<i32>) {
        let Some(connection) = self.connections.get(token) else { return };
        connection.sending = false;
        match (connection.closing, connection.session) {
            (Closing::Now, _) => self.finish_closing(token),
            (_, _) if error.is_some() => {
                self.log_broken(token, "Error writing to client", error.unwrap_or_default());
                self.ends.push((token, End::Broken));
            }
            (Closing::AfterOutput, _) => self.close(token),
            (Closing::No, Some(session)) => {
                if std::mem::take(&mut connection.dirty) {
                    self.again.push(session);
                }
                self.engine.sent(session, len);
            }
            (Closing::No, None) => {}
        }
    }

    /// Logs that a connection ended, with what the engine knows of its session.
    fn log_end(&self, session: SessionId, words: &str) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(line) = self.engine.describe(session)
        {
            tracing::debug!("{words}: {line}");
        }
    }

    fn log_broken(&mut self, token: Token, words: &str, error: i32) {
        let session = self.connections.get(token).and_then(|connection| connection.session);
        if let Some(session) = session {
            self.log_end(session, &format!("{words}: {}", io::Error::from_raw_os_error(error)));
        }
    }

    /// Has the engine work what came in.
    fn work(&mut self, now: Now) -> Turn {
        if !self.starved.is_empty() {
            self.starved.order(&mut self.connections, &self.received);
        }
        let mut slices = recycle(std::mem::take(&mut self.slices));
        let received = &self.received;
        slices.extend(received.iter().map(|(session, chunk)| (*session, self.ring.bytes(chunk))));
        let mut turn = self.engine.turn(&mut self.outside, now, &slices, &mut self.messages);
        self.slices = recycle(slices);
        let chunks = self.received.drain(..).map(|(_, chunk)| chunk);
        self.ring.release(chunks.chain(self.unwanted.drain(..)));
        if !self.ends.is_empty() {
            for (token, end) in std::mem::take(&mut self.ends) {
                let Some(connection) = self.connections.get(token) else { continue };
                match (end, connection.session) {
                    (End::OfInput, Some(session)) => {
                        self.engine.end_of_input(session);
                        self.log_end(session, "Client closed connection");
                    }
                    (End::OfInput, None) => {}
                    (End::Broken, _) => self.close(token),
                }
            }
        }
        if !self.starved.is_empty() {
            self.receive_again();
            turn.busy |= !self.starved.is_empty();
        }
        turn
    }

    /// Has those receive again that waited for the end of the turn; some directly, the rest of these in the next.
    #[cold]
    fn receive_again(&mut self) {
        let mut direct = 0;
        for token in self.starved.take() {
            let Some(connection) = self.connections.get(token) else { continue };
            direct += usize::from(connection.reading == Reading::Direct);
            if connection.reading == Reading::Direct && direct > DIRECT_RECEIVES_MAX {
                self.starved.push(token);
            } else {
                self.receive(token);
            }
        }
    }

    /// Hands what the engine wants written to the ring.
    fn write_journal(&mut self) {
        if let Some(file) = self.outside.next_file.take() {
            self.journal = Some(file);
        }
        let Some(journal) = &mut self.journal else { return };
        if let Some(frame) = self.outside.to_append.take() {
            self.ring.append(journal.file(), journal.len, frame);
        }
        if let Some(frames) = self.outside.to_rewrite.take() {
            journal.is_rewriting = true;
            let offset = journal.len - frames.len() as u64;
            self.ring.append(journal.file(), offset, (frames, true));
        }
        if std::mem::take(&mut self.outside.to_sync) {
            self.ring.sync(journal.file());
        }
    }

    fn appended(&mut self, Appended { frame, synced, result }: Appended) {
        let Some(journal) = &mut self.journal else { return };
        let is_written = !matches!(result, Err(AppendError::Write(_)));
        if !std::mem::take(&mut journal.is_rewriting) && is_written {
            journal.len += frame.len() as u64;
        }
        self.engine.journal_done(match result {
            Ok(()) => JournalDone::Appended { frame, synced },
            Err(AppendError::Write(error)) => {
                JournalDone::NotAppended { frame, error: error.to_string() }
            }
            Err(AppendError::Sync(error)) => {
                JournalDone::NotSynced { frame: Some(frame), error: error.to_string() }
            }
        });
    }

    /// Does what the engine wants of its sessions' sockets.
    fn answer(&mut self) {
        if !self.again.is_empty() {
            for session in std::mem::take(&mut self.again) {
                self.flush(session);
            }
        }
        while let Some(session) = self.engine.next_dirty() {
            self.flush(session);
        }
        while let Some((session, reading)) = self.engine.next_reading() {
            if let Some((token, _)) = self.connections.of_session(session) {
                self.set_reading(token, reading);
            }
        }
        while let Some(session) = self.engine.next_aborted() {
            if let Some((token, _)) = self.connections.of_session(session) {
                self.close(token);
            }
        }
    }

    fn flush(&mut self, session: SessionId) {
        let Some((token, connection)) = self.connections.of_session(session) else { return };
        if connection.sending {
            connection.dirty = true;
            return;
        }
        let spare = self.spares.pop().unwrap_or_default();
        self.spare_bytes -= spare.capacity();
        let output = self.engine.take_output(session, spare);
        if output.bytes.is_empty() {
            self.spare_bytes += output.bytes.capacity();
            self.spares.push(output.bytes);
        } else {
            connection.sending = true;
            self.gather.answered(&mut connection.mark);
            self.ring.send(token, connection.socket(), (output.bytes, output.payloads));
        }
        match (output.close, connection.sending) {
            (false, _) => {}
            (true, true) => connection.closing = Closing::AfterOutput,
            (true, false) => self.close(token),
        }
    }

    fn set_reading(&mut self, token: Token, reading: Reading) {
        let Some(connection) = self.connections.get(token) else { return };
        let before = std::mem::replace(&mut connection.reading, reading);
        if !connection.receiving {
            self.receive(token);
        } else if reading != Reading::Buffered && before != reading {
            // A direct receive ends by itself.
            self.ring.stop_receiving(token);
        }
    }

    /// Receives from a connection, if it should.
    fn receive(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token) else { return };
        if !connection.lacks_receive() || self.draining_since_us.is_some() {
            return;
        }
        connection.receiving = true;
        let session = connection.session.filter(|_| connection.reading == Reading::Direct);
        let is_sparing = connection.reading == Reading::Sparing;
        match session.and_then(|session| self.engine.lend_large(session)) {
            Some(large) => self.ring.receive_directly(token, connection.socket(), large),
            None if is_sparing => self.ring.receive_once(token, connection.socket()),
            None => self.ring.receive(token, connection.socket()),
        }
    }

    /// Ends a session and its connection.
    fn close(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token) else { return };
        connection.closing = Closing::Now;
        let session = connection.session.take();
        if connection.receiving {
            self.ring.stop_receiving(token);
        }
        if connection.sending {
            self.ring.stop_sending(token);
        }
        if let Some(session) = session {
            self.engine.disconnect(session);
        }
        self.finish_closing(token);
    }

    /// Closes the socket once the kernel does nothing with it any more.
    fn finish_closing(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token) else { return };
        if connection.closing == Closing::Now && connection.is_idle() {
            let socket = self.connections.remove(token);
            self.ring.close(socket);
            self.post().connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn keep_spare(&mut self, mut bytes: Vec<u8>) {
        let capacity = bytes.capacity();
        if capacity <= SPARE_OUTPUT_BYTES_MAX
            && self.spares.len() < SPARE_OUTPUTS_MAX
            && self.spare_bytes + capacity <= SPARE_OUTPUTS_BYTES_MAX
        {
            self.spare_bytes += capacity;
            bytes.clear();
            self.spares.push(bytes);
        }
    }

    fn wake_sleepers(&mut self) {
        let Self { outside, ring, node, .. } = self;
        outside.port.sleepers(|shard| {
            if let Some(number) = node.ring_of(shard) {
                ring.wake(shard, number);
            }
        });
    }

    fn wake(&mut self, shard: usize) {
        if let Some(number) = self.node.ring_of(shard) {
            self.ring.wake(shard, number);
        }
    }

    fn post(&self) -> &Post {
        &self.node.posts[self.outside.shard()]
    }

    fn note_turn(&mut self, turn_us: u64) {
        self.statistics.count_turn(turn_us);
        let post = &self.node.posts[self.outside.shard()];
        post.turns.store(self.statistics.turns, Ordering::Relaxed);
        post.turns_us.store(self.statistics.turns_us, Ordering::Relaxed);
        if turn_us > post.turn_max_us.load(Ordering::Relaxed) {
            post.turn_max_us.store(turn_us, Ordering::Relaxed);
        }
    }

    /// Answers those who asked.
    #[cold]
    fn tell(&mut self) {
        let Self { asked, engine, outside, ring, statistics, node, .. } = self;
        let shard = outside.shard();
        asked.answer(shard, || Report {
            engine: engine.snapshot(),
            core: LoopStats {
                turn_max_us: node.posts[shard].turn_max_us.load(Ordering::Relaxed),
                submissions: ring.submissions(),
                enters: ring.enters(),
                mesh_depth: outside.port.waiting(),
                packets_sent: outside.sent,
                packets_received: outside.received,
                ..statistics.clone()
            },
        });
    }

    /// Hands over what this turn queued, and waits for what comes next, if nothing has to be done now.
    async fn rest(&mut self, turn: Turn, now_us: u64) -> io::Result<()> {
        if now_us - self.gave_way_at_us >= GIVE_WAY_EVERY_US {
            self.ring.enter()?;
            give_way().await;
            self.gave_way_at_us = now_us;
            if now_us - self.gave_back_at_us >= GIVE_BACK_EVERY_US
                && memory_bounds::latest().excess_bytes > 0
            {
                memory::give_back_own();
                self.gave_back_at_us = now_us;
            }
        }
        let due_us = turn.wake_at_us.unwrap_or(u64::MAX);
        if turn.busy || due_us <= now_us || !self.again.is_empty() {
            return self.ring.enter();
        }
        let idle_us = now_us - self.active_at_us;
        let wait_us = match idle_us {
            ..WAIT_MAX_US => WAIT_MAX_US,
            _ => idle_us.clamp(IDLE_WAIT_MIN_US, IDLE_WAIT_MAX_US),
        };
        self.sleep(due_us.min(now_us + wait_us), now_us)
    }

    /// Acts on settings that CONFIG SET changed.
    fn follow(&mut self, config: &Arc<Config>) {
        self.spin = Spin::new(config.spin_us);
        self.gather = Gather::new(config.gather_us, self.node.posts.len());
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.follow(config, &mut self.ring);
            logging::follow(config);
            title::follow(config, self.node.statistics.config_file.as_deref());
        }
    }

    fn sleep(&mut self, until_us: u64, now_us: u64) -> io::Result<()> {
        if self.spin.is_worth_it() {
            self.ring.enter()?;
            let Self { spin, ring, outside, .. } = self;
            let clock = &outside.clock;
            let port = &mut outside.port;
            if spin.until(clock, || ring.has_news() || !port.is_empty()) {
                return self.ring.enter();
            }
        }
        if !self.outside.port.prepare_sleep() {
            return self.ring.enter();
        }
        let batch = self.gather.batch(now_us);
        let result = self.ring.enter_until(until_us, now_us, batch);
        self.outside.port.end_sleep();
        result
    }

    /// The end of the process: finishes what was begun, then goes.
    fn drain(&mut self, turn: Turn, now_us: u64) -> io::Result<()> {
        let since_us = match self.draining_since_us {
            Some(since_us) => since_us,
            None => {
                self.begin_draining(now_us);
                now_us
            }
        };
        let is_closed = self.engine.close_journal();
        let quiet =
            is_closed && !turn.busy && self.again.is_empty() && !self.connections.is_sending();
        let post = self.post();
        post.packets_sent.store(self.outside.sent, Ordering::Release);
        post.packets_received.store(self.outside.received, Ordering::Release);
        post.quiet.store(quiet, Ordering::Release);
        if self.node.is_quiet() || now_us - since_us >= DRAIN_MAX_US {
            self.node.advance(Stage::Ended);
        }
        if turn.busy {
            self.ring.enter()
        } else {
            self.ring.enter_until(now_us + DRAIN_LOOK_US, now_us, None)
        }
    }

    fn begin_draining(&mut self, now_us: u64) {
        self.draining_since_us = Some(now_us);
        if let Some(mut acceptor) = self.acceptor.take() {
            acceptor.stop(&mut self.ring);
        }
        for token in self.connections.tokens() {
            self.set_reading(token, Reading::Paused);
        }
        for shard in 0..self.node.posts.len() {
            if shard != self.outside.shard() {
                self.wake(shard);
            }
        }
    }
}

/// Lets glommio's executor poll its rings and run its other tasks. It does that only when no task may run, so a
/// mere yield would not do; and it polls before it sleeps, when this timer is due already.
async fn give_way() {
    Timer::new(Duration::from_micros(2)).await;
}

/// An empty vector of another lifetime with the memory of this one.
fn recycle<'to>(mut slices: Vec<(SessionId, &[u8])>) -> Vec<(SessionId, &'to [u8])> {
    slices.clear();
    slices.into_iter().map(|_| unreachable!("it was cleared")).collect()
}
