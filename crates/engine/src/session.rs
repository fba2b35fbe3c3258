//! Sessions: what a client has set up, its input that waits and its output that is not sent.
//!
//! Replies leave in the order of the requests. While a reply is awaited from another shard its place
//! is a *hole*; what is answered meanwhile gathers behind it.

pub(crate) mod armed;
pub(crate) mod execution;
pub(crate) mod fieldsets;
pub(crate) mod queued;
pub(crate) mod subscriptions;
mod sums;
pub(crate) mod tracking;

pub use sums::SessionSums;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::{fmt, mem};

use basalt_commands::config::{OutputLimit, OutputLimits};
use basalt_keyspace::{DatabaseId, LongString, OutOfMemory, ShardId};
use basalt_resp::{Partial, Payloads, Protocol, Reply, append_reply};

use bytes::Bytes;

use crate::limits;
use crate::session::armed::Armed;
use crate::session::execution::{Execution, PendingCall};
use crate::session::fieldsets::Fieldsets;
use crate::session::queued::{Multi, Watched};
use crate::session::subscriptions::{Subscriptions, TopicKind};
use crate::session::tracking::Tracking;

/// A session of one core. `index` is dense and reused, so that the server can keep its own table by it;
/// `generation` tells a late completion for a gone session from one for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub index: u32,
    pub generation: u32,
}

impl SessionId {
    /// For what the server does unasked.
    pub(crate) const NOBODY: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// What stands for a session of a shard where keys stand for themselves by their hashes.
    pub(crate) fn as_hash(self, shard: ShardId) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let place = u64::from(self.index) << 32 | u64::from(self.generation);
        (place.wrapping_mul(ODD) ^ u64::from(shard.0)).wrapping_mul(ODD)
    }
}

/// Where the last request went that went to several shards.
pub(crate) const NO_SHARD: ShardId = ShardId(u16::MAX);

/// Both ends of a connection, for CLIENT LIST and protected mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp { remote: SocketAddr, local: SocketAddr },
    Unix { path: String },
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { remote, .. } => write!(out, "{remote}"),
            Self::Unix { path } => write!(out, "{path}:0"),
        }
    }
}

impl Peer {
    /// The client's address, as Redis shows it.
    pub(crate) fn address(&self) -> String {
        self.to_string()
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// SKIP was just asked for: the next command's reply is dropped.
    SkipNext,
    Skip,
}

/// How a session's socket is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Not at all, because too much of what it sent waits.
    Paused,
    /// Into the server's buffers.
    Buffered,
    /// Into the memory of a large argument: see [`Core::lend_large`](crate::Core::lend_large).
    Direct,
}

/// What a client has set up, and its buffers.
pub(crate) struct Session {
    pub id: SessionId,
    /// CLIENT ID: unique in the process, growing.
    pub number: u64,
    pub peer: Peer,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub protocol: Protocol,
    pub database: DatabaseId,
    /// Which gates look at this session's commands at all.
    pub armed: Armed,
    pub reply_mode: ReplyMode,
    pub no_evict: bool,
    pub no_touch: bool,
    /// The last command, for CLIENT LIST.
    pub last_command: &'static str,
    pub created_us: u64,
    pub last_used_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub commands: u64,

    pub input: Backlog,
    pub out: Vec<u8>,
    /// Long parts of that.
    pub payloads: Payloads,
    pub queue: ReplyQueue,
    /// How many holes it may have, by the size of the replies that it gets from others.
    pub hole_limit: usize,
    /// Bytes taken by the server and not sent yet.
    pub unsent: usize,
    /// With more output than this its next request stays in the backlog.
    pub output_bound: usize,
    /// How its socket is read, as the server last heard.
    pub reading: Reading,
    /// The coordination that is under way: nothing else of this session is worked.
    pub coordination: Option<u64>,
    /// Transactions of its pipeline that are under way; what follows goes on.
    pub pipelined: u32,
    /// The keys or calls of these together.
    pub pipelined_weight: usize,
    /// The call that is coordinated, for the books.
    pub pending_call: Option<Box<PendingCall>>,
    /// MULTI was said.
    pub multi: Option<Box<Multi>>,
    pub watched: Watched,
    /// HIMPORT PREPARE was said.
    pub fieldsets: Fieldsets,
    /// The coordination is an EXEC.
    pub is_executing: bool,
    /// What monitors are shown of its EXEC.
    pub execution: Option<Box<Execution>>,
    /// MONITOR was said.
    pub is_monitor: bool,
    /// What it is subscribed to; None where it never was.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING is on.
    pub tracking: Option<Box<Tracking>>,
    /// Where its output ended when it heard last that all keys are gone.
    told_all_at: Option<u64>,
    /// Pushes that came while a reply was worked out: they go behind that.
    held_pushes: Vec<u8>,
    /// The first hole of the last PUBLISHes in a row, and the hole behind them.
    pub publishes: (u32, u32),
    /// The client is gone, but its EXEC is not over.
    pub is_gone: bool,
    /// Its next request waits for the end of a CLIENT PAUSE.
    pub is_held: bool,
    /// Its command waits for a key.
    pub is_waiting: bool,
    /// Where the last request went, for `pipeline-order strict`.
    pub last_shard: ShardId,
    /// Its next request found no room in an outbox.
    pub waits_for_room: bool,
    pub input_ended: bool,
    /// No more requests; close when everything is sent.
    pub is_closing: bool,
    /// Since when the output is above its soft limit.
    pub soft_limit_since_us: Option<u64>,
    /// Something of its output since the last look is of what is not on disk.
    pub waits: bool,
    /// Output that waits for the disk, or is behind such, the oldest first.
    held: VecDeque<HeldOutput>,
    held_bytes: usize,
    is_dirty: bool,
    is_ready: bool,
    /// Already worked in this turn: further input waits for the next pass.
    pub pass: u64,
}

/// Output that waits for the disk.
struct HeldOutput {
    /// The turn that must be released first.
    turn: u64,
    bytes: Vec<u8>,
    payloads: Payloads,
}

/// Input that could not be worked yet.
#[derive(Default)]
pub(crate) struct Backlog {
    pub bytes: Vec<u8>,
    /// Where the first request that is not worked starts.
    pub start: usize,
    /// How many bytes must be there before it is worth looking again.
    pub need: usize,
    pub partial: Option<Box<Partial>>,
    /// Large arguments of the first request: they lie apart, so that they can become values as they are.
    pub large: Vec<LongString>,
    /// How much of the last of these has still to come.
    pub large_left: usize,
    /// The length of the last one when it was lent to the server, which receives into it.
    lent: Option<usize>,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        let large: usize = self.large.iter().map(|large| large.len()).sum();
        self.bytes.len() - self.start + large + self.lent.unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == self.start && self.large.is_empty() && self.lent.is_none()
    }

    /// Whether a whole request may be there.
    pub(crate) fn may_have_request(&self) -> bool {
        !self.is_empty() && self.large_left == 0 && self.bytes.len() - self.start >= self.need
    }

    /// Adds what has arrived. Errs where there is no memory for it.
    pub(crate) fn append(&mut self, mut more: &[u8]) -> Result<(), OutOfMemory> {
        if self.large_left > 0
            && let Some(large) = self.large.last_mut()
        {
            let part;
            (part, more) = more.split_at(self.large_left.min(more.len()));
            large.try_reserve(part.len(), large.len() + self.large_left)?;
            large.push(part);
            self.large_left -= part.len();
        }
        if self.start > 0 && self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// Has a large argument that is arriving lie apart from now on, if there is one.
    pub(crate) fn take_apart(&mut self) -> Result<(), OutOfMemory> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let Some((start, len)) = partial.large_bulk() else { return Ok(()) };
        let start = self.start + start;
        let arrived = start..start + len.min(self.bytes.len() - start);
        let mut large = LongString::default();
        large.try_reserve(arrived.len(), len)?;
        large.push(&self.bytes[arrived.clone()]);
        self.large_left = len - arrived.len();
        self.large.push(large);
        self.bytes.drain(arrived);
        self.bytes.shrink_to(limits::BUFFER_KEPT_BYTES);
        self.need = partial.take_apart();
        Ok(())
    }

    /// Takes the large argument that is arriving out, with room for what comes next; None if there is none. Errs
    /// where there is no memory for it.
    pub(crate) fn lend_large(&mut self) -> Result<Option<LongString>, OutOfMemory> {
        if self.large_left == 0 || self.lent.is_some() {
            return Ok(None);
        }
        let Some(mut large) = self.large.pop() else { return Ok(None) };
        let (left, len) = (self.large_left, large.len());
        let reserved = large.try_reserve(left.min(limits::DIRECT_RECEIVE_BYTES_MAX), len + left);
        if reserved.is_err() {
            self.large.push(large);
            return reserved.map(|()| None);
        }
        self.lent = Some(len);
        Ok(Some(large))
    }

    /// Takes back what [`Self::lend_large`] lent. Returns by how much it has grown.
    pub(crate) fn take_back_large(&mut self, large: LongString) -> usize {
        let Some(len) = self.lent.take() else { return 0 };
        let grown = large.len() - len;
        self.large_left = self.large_left.checked_sub(grown).expect("no more than was asked for");
        self.large.push(large);
        grown
    }

    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > limits::BUFFER_KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.large.clear();
        (self.start, self.need, self.large_left) = (0, 0, 0);
        (self.partial, self.lent) = (None, None);
    }

    /// The bytes of its buffers.
    fn heap_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(LongString::heap_bytes).sum();
        self.bytes.capacity() + large + self.lent.unwrap_or(0)
    }
}

/// Replies that wait for earlier ones.
#[derive(Default)]
pub(crate) struct ReplyQueue {
    holes: VecDeque<Hole>,
    /// The number of the first hole.
    first: u32,
    /// What was answered behind the first hole; each hole knows where in it its reply belongs.
    tail: Vec<u8>,
    tail_payloads: Payloads,
    /// How much of it is in the output already.
    moved: usize,
    /// Replies that came before those of earlier holes.
    early: Vec<u8>,
    early_payloads: Payloads,
}

/// A reply in the output of another: some of its bytes, with the payloads among them.
#[derive(Clone, Copy)]
pub(crate) struct ReplyAt<'a> {
    pub output: &'a [u8],
    pub payloads: &'a Payloads,
    pub start: usize,
    pub end: usize,
}

impl ReplyAt<'_> {
    #[inline]
    fn copy_to(self, out: &mut Vec<u8>, payloads: &mut Payloads) {
        let bytes = &self.output[self.start..self.end];
        if self.payloads.is_empty() && out.capacity() - out.len() >= bytes.len() {
            out.extend_from_slice(bytes);
        } else {
            self.copy_growing(out, payloads);
        }
    }

    #[cold]
    #[inline(never)]
    fn copy_growing(self, out: &mut Vec<u8>, payloads: &mut Payloads) {
        let (at, bytes) = (out.len(), &self.output[self.start..self.end]);
        append_reply(out, bytes);
        // Unless an error stands in its place.
        if out.len() - at == bytes.len() {
            payloads.share(self.payloads, self.start..self.end, at);
        }
    }
}

struct Hole {
    at: usize,
    /// Where its reply lies in `early`, once it is there.
    filled: Option<(usize, usize)>,
}

impl ReplyQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.holes.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let payloads = self.tail_payloads.bytes() + self.early_payloads.bytes();
        self.tail.len() - self.moved + self.early.len() + payloads
    }

    /// The number of the hole that is opened next.
    pub(crate) fn next_hole(&self) -> u32 {
        self.first.wrapping_add(self.holes.len() as u32)
    }

    /// Whether no hole from before this one is open.
    pub(crate) fn holes_since(&self, hole: u32) -> bool {
        self.first.wrapping_sub(hole) < u32::MAX / 2
    }

    /// Keeps a place for a reply that another shard will give.
    pub(crate) fn open_hole(&mut self) -> u32 {
        self.holes.push_back(Hole { at: self.tail.len(), filled: None });
        self.first.wrapping_add(self.holes.len() as u32 - 1)
    }

    /// Puts a reply into its place, and into `out` with its payloads all that is in order now.
    pub(crate) fn fill(
        &mut self,
        hole: u32,
        reply: ReplyAt<'_>,
        (out, payloads): (&mut Vec<u8>, &mut Payloads),
    ) {
        let index = hole.wrapping_sub(self.first) as usize;
        if index > 0 {
            let start = self.early.len();
            reply.copy_to(&mut self.early, &mut self.early_payloads);
            self.holes[index].filled = Some((start, self.early.len()));
            return;
        }
        let Self { tail, tail_payloads, early, early_payloads, .. } = self;
        let of_tail = |start, end| ReplyAt { output: tail, payloads: tail_payloads, start, end };
        let of_early = |start, end| ReplyAt { output: early, payloads: early_payloads, start, end };
        let mut reply = Some(reply);
        while let Some(first) = self.holes.front() {
            if self.moved < first.at {
                of_tail(self.moved, first.at).copy_to(out, payloads);
                self.moved = first.at;
            }
            match (reply.take(), first.filled) {
                (Some(reply), _) => reply.copy_to(out, payloads),
                (None, Some((start, end))) => of_early(start, end).copy_to(out, payloads),
                (None, None) => break,
            }
            self.holes.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.holes.is_empty() {
            of_tail(self.moved, tail.len()).copy_to(out, payloads);
            self.tail.clear();
            self.early.clear();
            self.tail_payloads.clear();
            self.early_payloads.clear();
            self.moved = 0;
        } else if self.moved >= limits::BUFFER_KEPT_BYTES && self.moved * 2 >= self.tail.len()
            || !self.tail_payloads.is_empty()
        {
            self.tail.drain(..self.moved);
            self.tail_payloads.drop_before(self.moved);
            for hole in &mut self.holes {
                hole.at -= self.moved;
            }
            self.moved = 0;
        }
    }
}

impl Session {
    /// Where the next reply is written.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        if self.queue.is_empty() { &mut self.out } else { &mut self.queue.tail }
    }

    /// The next reply, of which long parts may be shared.
    #[inline]
    pub(crate) fn reply(&mut self) -> Reply<'_> {
        if self.queue.is_empty() {
            Reply::sharing(&mut self.out, &mut self.payloads, self.protocol)
        } else {
            let ReplyQueue { tail, tail_payloads, .. } = &mut self.queue;
            Reply::sharing(tail, tail_payloads, self.protocol)
        }
    }

    /// A command is worked: CLIENT CACHING was for it, unless it is one of CLIENT's, or a transaction goes on.
    pub(crate) fn end_caching(&mut self) {
        if self.multi.is_none()
            && !self.last_command.starts_with("client|")
            && let Some(tracking) = &mut self.tracking
        {
            tracking.caching = false;
        }
    }

    /// Writes a push, encoded for RESP3 as far as its payload: behind all that is answered, and behind what is being
    /// answered, so that a client never sees a change before a reply that does not know of it.
    pub(crate) fn push(&mut self, encoded: &[u8], payload: Option<&Bytes>) {
        let is_held = self.coordination.is_some() && !self.is_waiting;
        let ReplyQueue { holes, tail, tail_payloads, .. } = &mut self.queue;
        let (out, payloads) = match holes.is_empty() {
            _ if is_held => (&mut self.held_pushes, None),
            true => (&mut self.out, Some(&mut self.payloads)),
            false => (tail, Some(tail_payloads)),
        };
        let at = out.len();
        out.extend_from_slice(encoded);
        if self.protocol == Protocol::Resp2 {
            out[at] = b'*';
        }
        if let Some(payload) = payload {
            match payloads {
                Some(payloads) => payloads.push(out.len(), payload.clone()),
                None => out.extend_from_slice(payload),
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What was answered is written: pushes that came meanwhile follow. Says whether there were some.
    pub(crate) fn release_pushes(&mut self) -> bool {
        let held = mem::take(&mut self.held_pushes);
        self.output().extend_from_slice(&held);
        !held.is_empty()
    }

    /// All that was ever written for it, in bytes.
    fn written_ever(&self) -> u64 {
        self.bytes_out + (self.written_bytes() + self.held_pushes.len()) as u64
    }

    /// Whether it heard that all keys are gone, and nothing after that.
    pub(crate) fn was_told_all(&self) -> bool {
        self.told_all_at == Some(self.written_ever())
    }

    /// It heard of keys just now, of all or of some.
    pub(crate) fn note_told_all(&mut self, of_all: bool) {
        self.told_all_at = of_all.then(|| self.written_ever());
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|own| !own.is_empty())
    }

    /// How many topics of a kind it is subscribed to.
    pub(crate) fn subscription_count(&self, kind: TopicKind) -> u32 {
        self.subscriptions.as_ref().map_or(0, |own| own.count(kind))
    }

    /// To be called when its subscriptions or its protocol changed: in RESP2 it may do nothing else than change
    /// them.
    pub(crate) fn settle_subscriptions(&mut self) {
        let is_subscribed = self.is_subscribed();
        self.armed.set(Armed::SUBSCRIBED, is_subscribed && self.protocol == Protocol::Resp2);
        if !is_subscribed {
            self.subscriptions = None;
        }
    }

    /// How much output may wait for it.
    pub(crate) fn output_limit<'a>(&self, limits: &'a OutputLimits) -> &'a OutputLimit {
        if self.subscriptions.is_some() { &limits.pubsub } else { &limits.normal }
    }

    /// Takes back the last replies: what was written since the output was so long.
    pub(crate) fn take_back(&mut self, len: usize) {
        self.reply().rewind(len);
    }

    /// Takes the last reply out, whole: what was written since the output was so long. None if that is nothing.
    pub(crate) fn cut_reply(&mut self, start: usize) -> Option<Vec<u8>> {
        let ReplyQueue { tail, tail_payloads, .. } = &self.queue;
        let (out, payloads) = match self.queue.is_empty() {
            true => (&self.out, &self.payloads),
            false => (tail, tail_payloads),
        };
        let bytes = out.get(start..).filter(|bytes| !bytes.is_empty())?;
        let mut own = Payloads::default();
        own.share(payloads, start..out.len(), 0);
        let reply = own.join(bytes);
        self.take_back(start);
        Some(reply)
    }

    /// Whether the client is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match &self.peer {
            Peer::Tcp { remote, .. } => remote.ip().to_canonical().is_loopback(),
            Peer::Unix { .. } => true,
        }
    }

    /// All output that is not sent.
    pub(crate) fn output_bytes(&self) -> usize {
        let held = self.held_bytes + self.held_pushes.len() + self.unsent;
        self.out.len() + self.payloads.bytes() + held + self.queue.bytes()
    }

    /// The bytes of itself and its buffers.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.input.heap_bytes()
            + self.out.capacity()
            + self.queue.bytes()
            + self.held_pushes.capacity()
            + self.subscriptions.as_ref().map_or(0, |own| own.heap_bytes())
            + self.unsent
            + self.held_bytes
            + self.multi.as_ref().map_or(0, |multi| multi.bytes)
            + self.fieldsets.bytes()
    }

    /// Puts a reply of another shard into its place.
    #[inline]
    pub(crate) fn fill_hole(&mut self, hole: u32, reply: ReplyAt<'_>) {
        self.queue.fill(hole, reply, (&mut self.out, &mut self.payloads));
        self.adjust_hole_limit(reply.end - reply.start);
    }

    /// Lets it have more holes while replies from others are small, and fewer as soon as one is large.
    #[inline]
    fn adjust_hole_limit(&mut self, reply_bytes: usize) {
        let fitting = limits::OUTPUT_PAUSE_BYTES / reply_bytes.max(1);
        let next = fitting.min(self.hole_limit + 1);
        self.hole_limit = next.clamp(limits::HOLES_MIN, limits::HOLES_MAX);
    }

    /// Puts its output aside until a turn is released.
    pub(crate) fn hold(&mut self, turn: u64) {
        let (bytes, payloads) = (mem::take(&mut self.out), mem::take(&mut self.payloads));
        self.held_bytes += bytes.len() + payloads.bytes();
        self.held.push_back(HeldOutput { turn, bytes, payloads });
    }

    /// Whether output of it was put aside.
    pub(crate) fn is_held_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The turn that the first output which was put aside waits for.
    pub(crate) fn first_held(&self) -> Option<u64> {
        self.held.front().map(|held| held.turn)
    }

    /// What was put aside and may leave, as much as goes into one send.
    pub(crate) fn take_held(&mut self, released: u64) -> Option<(Vec<u8>, Payloads)> {
        let HeldOutput { mut bytes, payloads, .. } = self.held.pop_front()?;
        while payloads.is_empty()
            && let Some(next) = self.held.front()
            && next.turn <= released
            && next.payloads.is_empty()
        {
            append_reply(&mut bytes, &next.bytes);
            self.held.pop_front();
        }
        self.held_bytes -= bytes.len() + payloads.bytes();
        Some((bytes, payloads))
    }

    /// Whether its next request may be worked.
    #[inline]
    pub(crate) fn may_run(&self) -> bool {
        self.coordination.is_none() && !self.is_closing && !self.is_held
    }

    /// Whether it could end: nothing is under way and nothing waits that could still be worked.
    pub(crate) fn is_answered(&self) -> bool {
        self.queue.is_empty()
            && self.held.is_empty()
            && self.coordination.is_none()
            && (self.is_closing || !self.has_work())
    }

    /// How its socket should be read.
    fn wanted_reading(&self) -> Reading {
        let input = &self.input;
        let is_full = input.len() >= limits::BACKLOG_BYTES_MAX && input.may_have_request();
        if self.is_closing || self.input_ended || is_full {
            return Reading::Paused;
        }
        // One that is received directly stays so to its end.
        let direct_min = if self.reading == Reading::Direct { 1 } else { limits::DIRECT_BYTES_MIN };
        if input.large_left >= direct_min { Reading::Direct } else { Reading::Buffered }
    }

    /// Whether its output leaves room for the reply of another request.
    #[inline]
    pub(crate) fn may_answer(&self) -> bool {
        self.output_bytes() <= self.output_bound
    }

    /// The output that requests of its own shard add to.
    #[inline]
    pub(crate) fn written_bytes(&self) -> usize {
        let payloads = self.payloads.bytes() + self.queue.tail_payloads.bytes();
        self.out.len() + self.queue.tail.len() + payloads
    }

    /// How much [`Session::written_bytes`] may be before the next request has to wait; it stays so as long as
    /// nothing is sent and no hole is filled. Only where it [may answer](Session::may_answer).
    pub(crate) fn output_room(&self) -> usize {
        self.output_bound + self.written_bytes() - self.output_bytes()
    }

    /// Sets how much output the requests of its backlog may make before they have to wait: where the backlog is
    /// full, some more than there is.
    pub(crate) fn set_output_bound(&mut self) {
        let pause = limits::OUTPUT_PAUSE_BYTES;
        let is_full = self.input.len() >= limits::BACKLOG_BYTES_MAX;
        self.output_bound = if is_full { self.output_bytes() + pause } else { pause };
    }

    /// Whether the request that has begun to arrive, with those that MULTI keeps, takes more than this.
    pub(crate) fn is_request_over(&self, bytes: u64) -> bool {
        let queued = self.multi.as_ref().map_or(0, |multi| multi.bytes);
        !self.input.may_have_request() && (self.input.len() + queued) as u64 > bytes
    }

    /// Whether its backlog may hold a whole request.
    pub(crate) fn has_work(&self) -> bool {
        self.input.may_have_request()
    }
}

/// All sessions of a core.
#[derive(Default)]
pub(crate) struct Sessions {
    places: Vec<Place>,
    free: Vec<u32>,
    count: usize,
    /// Sessions whose output, reading or closing changed.
    dirty: VecDeque<SessionId>,
    /// Sessions whose backlog can be worked.
    ready: VecDeque<SessionId>,
    /// Sessions whose sockets are to be read from now on, or no more.
    reading: Vec<SessionId>,
    /// Sessions to be cut off at once, sent or not.
    aborted: Vec<SessionId>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    session: Option<Box<Session>>,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn open(&mut self, number: u64, peer: Peer, now_us: u64) -> &mut Session {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        self.count += 1;
        let place = &mut self.places[index as usize];
        let id = SessionId { index, generation: place.generation };
        place.session.insert(Box::new(Session {
            id,
            number,
            peer,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            protocol: Protocol::Resp2,
            database: DatabaseId(0),
            armed: Armed::default(),
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            last_command: "NULL",
            created_us: now_us,
            last_used_us: now_us,
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
            input: Backlog::default(),
            out: Vec::new(),
            payloads: Payloads::default(),
            queue: ReplyQueue::default(),
            hole_limit: limits::HOLES_MIN,
            unsent: 0,
            output_bound: limits::OUTPUT_PAUSE_BYTES,
            reading: Reading::Buffered,
            coordination: None,
            pipelined: 0,
            pipelined_weight: 0,
            pending_call: None,
            multi: None,
            watched: Watched::default(),
            fieldsets: Fieldsets::default(),
            is_executing: false,
            execution: None,
            is_monitor: false,
            subscriptions: None,
            tracking: None,
            told_all_at: None,
            held_pushes: Vec::new(),
            publishes: (0, 0),
            is_gone: false,
            is_held: false,
            is_waiting: false,
            last_shard: ShardId(0),
            waits_for_room: false,
            input_ended: false,
            is_closing: false,
            soft_limit_since_us: None,
            waits: false,
            held: VecDeque::new(),
            held_bytes: 0,
            is_dirty: false,
            is_ready: false,
            pass: 0,
        }))
    }

    pub(crate) fn close(&mut self, id: SessionId) -> Option<Box<Session>> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let session = place.session.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.count -= 1;
        Some(session)
    }

    #[inline]
    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        let place = self.places.get(id.index as usize)?;
        if place.generation == id.generation { place.session.as_deref() } else { None }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.session.as_deref_mut() } else { None }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().filter_map(|place| place.session.as_deref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.places.iter_mut().filter_map(|place| place.session.as_deref_mut())
    }

    /// How many places there are, free ones too.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// The session at a place, if there is one.
    pub(crate) fn at(&self, place: usize) -> Option<SessionId> {
        Some(self.places.get(place)?.session.as_ref()?.id)
    }

    /// The server should look at the session. While replies of other shards are awaited it need not yet:
    /// one send with all of them costs half of two, and their coming marks the session again.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && (session.queue.is_empty()
                || session.out.len() >= limits::SEND_EARLY_BYTES
                || session.is_held_back())
            && !session.is_gone
            && !mem::replace(&mut session.is_dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    pub(crate) fn next_dirty(&mut self) -> Option<SessionId> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(session) = self.get_mut(id) {
                session.is_dirty = false;
                return Some(id);
            }
        }
        None
    }

    /// Has the server begin or stop to read the session's socket, where its backlog asks for that.
    #[inline]
    pub(crate) fn settle_reading(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && session.reading != session.wanted_reading()
        {
            session.reading = session.wanted_reading();
            self.reading.push(id);
        }
    }

    /// The next session whose socket is to be read in another way.
    pub(crate) fn next_reading(&mut self) -> Option<(SessionId, Reading)> {
        while let Some(id) = self.reading.pop() {
            if let Some(session) = self.get(id) {
                return Some((id, session.reading));
            }
        }
        None
    }

    /// The session's backlog should be worked, if there is something in it.
    pub(crate) fn mark_ready(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && session.may_run()
            && session.has_work()
            && !mem::replace(&mut session.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    pub(crate) fn next_ready(&mut self) -> Option<SessionId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(session) = self.get_mut(id) {
                session.is_ready = false;
                if session.may_run() && session.input.lent.is_none() {
                    return Some(id);
                }
            }
        }
        None
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// A pause holds the session back.
    pub(crate) fn hold(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id) {
            session.is_held = true;
        }
    }

    /// Lets all sessions go on that a pause held back.
    pub(crate) fn release_held(&mut self) {
        for index in 0..self.places.len() {
            let held = self.places[index].session.as_mut().filter(|session| session.is_held);
            if let Some(session) = held {
                session.is_held = false;
                let id = session.id;
                self.mark_ready(id);
            }
        }
    }

    /// The session is to be cut off, whatever is not sent.
    pub(crate) fn abort(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && !session.is_gone
        {
            session.is_closing = true;
            self.aborted.push(id);
        }
    }

    pub(crate) fn next_aborted(&mut self) -> Option<SessionId> {
        self.aborted.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a hole with bytes alone.
    fn fill(queue: &mut ReplyQueue, hole: u32, reply: &[u8], out: &mut Vec<u8>) {
        let payloads = &Payloads::default();
        let reply = ReplyAt { output: reply, payloads, start: 0, end: reply.len() };
        queue.fill(hole, reply, (out, &mut Payloads::default()));
    }

    #[test]
    fn payloads_leave_with_their_replies() {
        let (mut queue, mut out, mut payloads) = <(ReplyQueue, Vec<u8>, Payloads)>::default();
        let bulk = |text: &'static str| {
            let (mut output, mut payloads) = (b"other".to_vec(), Payloads::default());
            let mut reply = Reply::sharing(&mut output, &mut payloads, Protocol::Resp2);
            reply.shared_bulk(text.into());
            (output, payloads)
        };
        let holes = [queue.open_hole(), queue.open_hole(), queue.open_hole()];
        let ReplyQueue { tail, tail_payloads, .. } = &mut queue;
        Reply::sharing(tail, tail_payloads, Protocol::Resp2).shared_bulk("fourth".into());
        let last = queue.open_hole();
        for (hole, text) in
            [(holes[2], "third"), (last, "fifth"), (holes[0], "first"), (holes[1], "second")]
        {
            let (output, among) = bulk(text);
            let reply = ReplyAt { output: &output, payloads: &among, start: 5, end: output.len() };
            queue.fill(hole, reply, (&mut out, &mut payloads));
        }
        assert!(queue.is_empty() && queue.bytes() == 0);
        let expected = ["first", "second", "third", "fourth", "fifth"]
            .map(|text| format!("${}\r\n{text}\r\n", text.len()));
        assert_eq!(payloads.join(&out), expected.concat().into_bytes());
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut queue = ReplyQueue::default();
        let mut out = Vec::new();
        let first = queue.open_hole();
        queue.tail.extend_from_slice(b"b");
        let second = queue.open_hole();
        let third = queue.open_hole();
        queue.tail.extend_from_slice(b"e");
        fill(&mut queue, third, b"d", &mut out);
        assert!(out.is_empty());
        fill(&mut queue, first, b"a", &mut out);
        assert_eq!(out, b"ab");
        let fourth = queue.open_hole();
        fill(&mut queue, second, b"c", &mut out);
        assert_eq!(out, b"abcde");
        fill(&mut queue, fourth, b"f", &mut out);
        assert_eq!(out, b"abcdef");
        assert!(queue.is_empty() && queue.bytes() == 0);
        let again = queue.open_hole();
        fill(&mut queue, again, b"g", &mut out);
        assert_eq!(out, b"abcdefg");
    }

    #[test]
    fn a_queue_that_never_runs_empty_stays_small() {
        let mut queue = ReplyQueue::default();
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        let mut open = VecDeque::new();
        for number in 0..100_000_u32 {
            let hole = queue.open_hole();
            open.push_back((number, hole));
            queue.tail.extend_from_slice(format!("own {number}\n").as_bytes());
            if open.len() > 3 {
                let (filled, hole) = open.pop_front().expect("there are four");
                fill(&mut queue, hole, format!("other {filled}\n").as_bytes(), &mut out);
                expected.extend_from_slice(format!("other {filled}\nown {filled}\n").as_bytes());
                assert!(out == expected, "after {filled} holes");
                out.clear();
                expected.clear();
            }
            assert!(queue.bytes() < 100 && queue.tail.len() <= 3 * limits::BUFFER_KEPT_BYTES);
        }
    }

    #[test]
    fn a_place_used_again_is_another_session() {
        let mut sessions = Sessions::default();
        let peer = Peer::Unix { path: String::new() };
        let first = sessions.open(1, peer.clone(), 0).id;
        assert!(sessions.close(first).is_some());
        let second = sessions.open(2, peer, 0).id;
        assert_eq!(first.index, second.index);
        assert!(sessions.get(first).is_none() && sessions.close(first).is_none());
        assert_eq!(sessions.get(second).expect("it is open").number, 2);
    }
}
