//! Ring: the `io_uring` of one shard, on which its sockets live.
//!
//! Operations are queued and go to the kernel with the next [`Ring::enter`] or [`Ring::enter_until`]; what has
//! happened is taken out by [`Ring::drain`]. The ring owns whatever the kernel may still touch: output
//! from [`Ring::send`] to [`Event::Sent`], and the receive buffers, of which callers see chunks.
//!
//! Invariant: memory known to the kernel outlives the ring's operations, also when the ring is dropped.
//! Not here: what a connection is (`connections`), when to wait and for how long (`core_loop`).

#![expect(unsafe_code, reason = "the kernel reads and writes our memory while we go on")]

mod appending;
mod buffers;
mod guard;
mod outgoing;

use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use basalt_keyspace::LongString;
use basalt_resp::Payloads;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

use crate::gather::Batch;
use crate::limits::{COMPLETIONS, SEND_BYTES_MAX, SPARING_RECEIVE_BYTES_MAX, SUBMISSIONS};
pub(crate) use appending::{AppendError, Appended};
use appending::{Appending, Next};
use buffers::Buffers;
pub(crate) use buffers::Chunk;
use guard::{GUARD_US, Guard};
use outgoing::Outgoing;

/// How often one `enter` goes back to the kernel for work that it put off: it completes only so many
/// operations at a time, but a fuller turn is cheaper per request.
const ENTERS_MAX: usize = 16;
/// A timer that fires so much later than a wait should end is set anew rather than that each such wait gets a
/// timeout of its own.
const TIMER_LATE_MAX_US: u64 = 20_000;
/// How long a wait may last while operations found no room in the ring.
const BACKLOG_WAIT_US: u64 = 1_000;
/// How long the kernel may take to cancel what runs when the ring is dropped.
const CANCEL_TIMEOUT: Timespec = Timespec::new().sec(1);

/// Names a connection in operations and events. `generation` tells an event for a gone connection from
/// one for its successor at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) index: u32,
    /// Modulo 2^24.
    pub(crate) generation: u32,
}

impl Token {
    pub(crate) const GENERATION_MASK: u32 = 0x00ff_ffff;
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum Event {
    Received {
        token: Token,
        chunk: Chunk,
    },
    /// A direct receive is over: the string with what it brought.
    ReceivedDirectly {
        token: Token,
        string: LongString,
    },
    /// The receiving that was armed is over; nothing more comes before it is armed again.
    ReceiveEnded {
        token: Token,
        why: ReceiveEnd,
    },
    /// All of it was sent, or an error ended it.
    Sent {
        token: Token,
        /// The buffer of its bytes, to be used again.
        spare: Vec<u8>,
        /// How much it was, with its payloads.
        len: usize,
        error: Option<i32>,
    },
    Accepted {
        listener: u32,
        socket: OwnedFd,
    },
    /// The accepting that was armed is over, with an error or (0) without.
    AcceptEnded {
        listener: u32,
        error: i32,
    },
    /// A frame was written to the journal's file, and synced if that was wanted; or not.
    Appended(Appended),
    /// The journal's file was synced, or not.
    Synced(Option<io::Error>),
    /// Another thread rang the eventfd.
    Eventfd,
    /// A sleeping shard could not be woken.
    WakeFailed {
        shard: usize,
        error: i32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveEnd {
    /// The client sends no more.
    EndOfInput,
    /// All buffers are in use.
    NoBuffers,
    /// The kernel stopped for reasons of its own, or because it was asked to.
    Stopped,
    Failed(i32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Receive = 1,
    Send,
    Accept,
    Eventfd,
    Wake,
    Timer,
    Guard,
    Append,
    AppendSync,
    Sync,
    /// Ends a wait and means nothing more: wakes from others, failed cancels and closes.
    Silent,
}

fn user_data(kind: Kind, index: u32, generation: u32) -> u64 {
    (kind as u64) << 56 | u64::from(generation & Token::GENERATION_MASK) << 32 | u64::from(index)
}

fn token_data(kind: Kind, token: Token) -> u64 {
    user_data(kind, token.index, token.generation)
}

pub(crate) struct Ring {
    uring: IoUring,
    /// Whether the kernel can wait for several completions and then for one.
    can_gather: bool,
    /// How to enter the kernel to wait: where it can, without being counted as waiting for I/O.
    wait_flags: EnterFlags,
    buffers: Buffers,
    /// Output that the kernel reads, at the index of its connection.
    sends: Vec<Option<Sending>>,
    /// Strings into which the kernel receives, at the index of their connections.
    direct: Vec<Option<LongString>>,
    /// A frame that the kernel writes.
    appending: Option<Appending>,
    /// Operations that found no room; they go first.
    backlog: VecDeque<Entry>,
    timer: Box<Timespec>,
    /// When the timer that is armed will fire.
    timer_at_us: Option<u64>,
    /// The number of the timer that is armed; those before it have others.
    timer_generation: u32,
    guard: Guard,
    /// Of a wait for a batch: whether a timer has fired since.
    gathered: Option<bool>,
    /// Sends that are queued and not handed over.
    sends_queued: usize,
    /// Operations that were queued, and system calls that handed them over.
    submissions: u64,
    enters: u64,
}

struct Sending {
    output: Outgoing,
    fd: RawFd,
    /// What is not sent shall not be: the kernel shows a cancelled send that got somewhere as a short
    /// one.
    stopped: bool,
}

impl Ring {
    /// Opens a ring, which belongs to the calling thread from then on.
    pub(crate) fn open() -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = Buffers::register(&uring.submitter())?;
        let can_gather = uring.params().is_feature_min_timeout();
        let mut wait_flags = EnterFlags::GETEVENTS;
        wait_flags.set(EnterFlags::NO_IOWAIT, uring.params().is_feature_no_iowait());
        Ok(Self {
            uring,
            can_gather,
            wait_flags,
            buffers,
            sends: Vec::new(),
            direct: Vec::new(),
            appending: None,
            backlog: VecDeque::new(),
            timer: Box::new(Timespec::new()),
            timer_at_us: None,
            timer_generation: 0,
            guard: Guard::Off,
            gathered: None,
            sends_queued: 0,
            submissions: 0,
            enters: 0,
        })
    }

    /// Whether receive buffers are consumed piece by piece, which newer kernels can.
    pub(crate) fn is_incremental(&self) -> bool {
        self.buffers.is_incremental()
    }

    /// The number by which other shards' rings wake this one.
    pub(crate) fn number(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// How many operations were handed to the kernel.
    pub(crate) fn submissions(&self) -> u64 {
        self.submissions
    }

    /// How many system calls did it, or waited for what came of it.
    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    /// Receives from the socket until [`Event::ReceiveEnded`].
    pub(crate) fn receive(&mut self, token: Token, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), buffers::GROUP).build();
        self.push(entry.user_data(token_data(Kind::Receive, token)));
    }

    /// Receives once from the socket into the ring's buffers, no more than where memory is short.
    pub(crate) fn receive_once(&mut self, token: Token, socket: BorrowedFd<'_>) {
        let fd = Fd(socket.as_raw_fd());
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), SPARING_RECEIVE_BYTES_MAX)
            .buf_group(buffers::GROUP)
            .build()
            .flags(Flags::BUFFER_SELECT);
        self.push(entry.user_data(token_data(Kind::Receive, token)));
    }

    /// Receives once from the socket, at most `bytes` or what the string has room for, and behind what it holds.
    /// [`Event::ReceivedDirectly`] and [`Event::ReceiveEnded`] follow.
    pub(crate) fn receive_directly(
        &mut self,
        token: Token,
        socket: BorrowedFd<'_>,
        (mut string, bytes): (LongString, usize),
    ) {
        let index = token.index as usize;
        if self.direct.len() <= index {
            self.direct.resize_with(index + 1, || None);
        }
        assert!(self.direct[index].is_none(), "a connection receives one at a time");
        let room = string.room();
        let len = u32::try_from(room.len().min(bytes)).unwrap_or(u32::MAX);
        assert!(len > 0, "there is room to receive into");
        let entry =
            opcode::Recv::new(Fd(socket.as_raw_fd()), room.as_mut_ptr().cast(), len).build();
        self.direct[index] = Some(string);
        self.push(entry.user_data(token_data(Kind::Receive, token)));
    }

    /// Ends the receiving, if it runs.
    pub(crate) fn stop_receiving(&mut self, token: Token) {
        self.cancel(token_data(Kind::Receive, token));
    }

    /// Sends the bytes with the payloads that belong between them; [`Event::Sent`] follows. One at a time for
    /// each connection.
    pub(crate) fn send(
        &mut self,
        token: Token,
        socket: BorrowedFd<'_>,
        (bytes, payloads): (Vec<u8>, Payloads),
    ) {
        let index = token.index as usize;
        if self.sends.len() <= index {
            self.sends.resize_with(index + 1, || None);
        }
        assert!(self.sends[index].is_none(), "a connection sends one output after the other");
        self.sends[index] = Some(Sending {
            output: Outgoing::new(bytes, payloads),
            fd: socket.as_raw_fd(),
            stopped: false,
        });
        self.send_rest(token_data(Kind::Send, token));
    }

    /// Ends the sending, if it runs; [`Event::Sent`] tells, with an error unless all was sent.
    pub(crate) fn stop_sending(&mut self, token: Token) {
        if let Some(Some(sending)) = self.sends.get_mut(token.index as usize) {
            sending.stopped = true;
        }
        self.cancel(token_data(Kind::Send, token));
    }

    /// Writes a frame into a file, which stays open until [`Event::Appended`] follows; one at a time.
    pub(crate) fn append(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        (frame, sync): (Vec<u8>, bool),
    ) {
        assert!(self.appending.is_none(), "one frame at a time");
        let appending = self.appending.insert(Appending::new(file, offset, frame, sync));
        let entry = appending.write().user_data(user_data(Kind::Append, 0, 0));
        self.push(entry);
    }

    /// Has all that was written to a file on disk; [`Event::Synced`] follows.
    pub(crate) fn sync(&mut self, file: BorrowedFd<'_>) {
        let entry = appending::sync(file.as_raw_fd());
        self.push(entry.user_data(user_data(Kind::Sync, 0, 0)));
    }

    /// What the kernel did with a frame.
    fn append_done(&mut self, kind: Kind, result: i32, events: &mut Vec<Event>) {
        let appending = self.appending.take().expect("a frame is on its way");
        if kind == Kind::AppendSync {
            events.push(Event::Appended(appending.synced(result)));
            return;
        }
        let next;
        (self.appending, next) = appending.wrote(result);
        match next {
            Next::Write(entry) => self.push(entry.user_data(user_data(Kind::Append, 0, 0))),
            Next::Sync(entry) => self.push(entry.user_data(user_data(Kind::AppendSync, 0, 0))),
            Next::Over(appended) => events.push(Event::Appended(appended)),
        }
    }

    pub(crate) fn close(&mut self, socket: OwnedFd) {
        let entry = opcode::Close::new(Fd(socket.into_raw_fd())).build();
        self.push_silent(entry);
    }

    /// Accepts connections until [`Event::AcceptEnded`].
    pub(crate) fn accept(&mut self, listener: u32, socket: BorrowedFd<'_>) {
        let entry =
            opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry.user_data(user_data(Kind::Accept, listener, 0)));
    }

    pub(crate) fn stop_accepting(&mut self, listener: u32) {
        self.cancel(user_data(Kind::Accept, listener, 0));
    }

    /// Watches an eventfd once.
    pub(crate) fn watch(&mut self, eventfd: BorrowedFd<'_>) {
        let events = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(Fd(eventfd.as_raw_fd()), events).build();
        self.push(entry.user_data(user_data(Kind::Eventfd, 0, 0)));
    }

    /// Wakes the shard whose ring has this number.
    pub(crate) fn wake(&mut self, shard: usize, number: RawFd) {
        let silent = user_data(Kind::Silent, 0, 0);
        let entry = opcode::MsgRingData::new(Fd(number), 0, silent, None).build();
        let own = user_data(Kind::Wake, shard as u32, 0);
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(own));
    }

    /// Has a completion come at a moment on the monotonic clock; the last call counts.
    pub(crate) fn set_timer(&mut self, at_us: u64, now_us: u64) {
        self.clear_timer();
        *self.timer = Timespec::from(Duration::from_micros(at_us.saturating_sub(now_us)));
        let entry = opcode::Timeout::new(&raw const *self.timer).build();
        self.timer_generation = (self.timer_generation + 1) & Token::GENERATION_MASK;
        self.push(entry.user_data(user_data(Kind::Timer, 0, self.timer_generation)));
        self.timer_at_us = Some(at_us);
    }

    pub(crate) fn clear_timer(&mut self) {
        if self.timer_at_us.take().is_some() {
            let timer = user_data(Kind::Timer, 0, self.timer_generation);
            let entry = opcode::TimeoutRemove::new(timer).build();
            self.push_silent(entry);
            // The kernel reads the time of a timer when it takes the entry: before it is set again.
            self.submit();
        }
    }

    fn cancel(&mut self, target: u64) {
        let entry = opcode::AsyncCancel::new(target).build();
        self.push_silent(entry);
    }

    fn push_silent(&mut self, entry: Entry) {
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(user_data(Kind::Silent, 0, 0)));
    }

    fn push(&mut self, entry: Entry) {
        self.submissions += 1;
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            self.submit();
            if !self.backlog.is_empty() || !self.try_push(&entry) {
                self.backlog.push_back(entry);
            }
        }
    }

    fn try_push(&mut self, entry: &Entry) -> bool {
        // SAFETY: what entries point to is owned by this ring and kept until their completion: `sends`,
        // `direct`, `appending`, `timer`, and the registered buffers; a guard's time is static. All other operations point to nothing.
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }

    fn push_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    /// Hands the queued operations to the kernel. What it can't take now stays queued.
    fn submit(&mut self) {
        self.enters += 1;
        self.sends_queued = 0;
        let _ = self.uring.submit();
        self.push_backlog();
    }

    /// Hands the queued operations to the kernel, without waiting.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        if !self.needs_kernel() {
            return Ok(());
        }
        let result = self.uring.submit();
        self.entered(result)
    }

    /// Hands the queued operations to the kernel and waits for a completion, about until a moment.
    ///
    /// A timeout of the wait itself would have the kernel program its timer for every single wait, at
    /// 1 to 8 µs on a virtual machine. So one timer stays armed over many waits, as long as it does not
    /// fire too late for this one; it ends a wait for nothing now and then.
    ///
    /// With a batch to wait for, one completion doesn't end the wait before the batch's time is over, or
    /// for a trusted one before the guard fires.
    pub(crate) fn enter_until(
        &mut self,
        at_us: u64,
        now_us: u64,
        batch: Option<Batch>,
    ) -> io::Result<()> {
        let bound_us = at_us.saturating_sub(now_us);
        // What has come already is not left lying for others.
        let can_gather = self.can_gather && self.uring.completion().is_empty();
        let batch = batch.filter(|batch| bound_us > batch.us.into() && can_gather);
        let late_us = self.timer_at_us.map_or(u64::MAX, |timer_us| timer_us.saturating_sub(at_us));
        if late_us > TIMER_LATE_MAX_US {
            self.set_timer(at_us, now_us);
        }
        // What found no room is tried again soon; the timer may be among it.
        let has_backlog = !self.backlog.is_empty();
        let result = if has_backlog || (1..=TIMER_LATE_MAX_US).contains(&late_us) {
            let us = if has_backlog { bound_us.min(BACKLOG_WAIT_US) } else { bound_us };
            let time = Timespec::from(Duration::from_micros(us));
            self.wait(1, Some(&SubmitArgs::new().timespec(&time)))
        } else {
            match batch {
                Some(batch) => self.gather(batch, bound_us),
                None => self.wait(1, None),
            }
        };
        self.entered(result)
    }

    fn gather(
        &mut self,
        Batch { count, us, is_trusted }: Batch,
        bound_us: u64,
    ) -> io::Result<usize> {
        self.gathered = Some(false);
        // It may fire just before the wait, and then one more has to.
        let is_guarded = is_trusted && bound_us >= 2 * GUARD_US && self.demand_guard();
        // What is handed over now completes at once for the most part: that is not the batch.
        let count = count + self.sends_queued;
        if is_guarded {
            return self.wait(count, None);
        }
        self.wait(count, Some(&SubmitArgs::new().min_wait_usec(us)))
    }

    /// Hands over what is queued and waits for so many completions.
    fn wait(&mut self, count: usize, args: Option<&SubmitArgs<'_, '_>>) -> io::Result<usize> {
        let queued = self.uring.submission().len() as u32;
        let mut flags = self.wait_flags;
        flags.set(EnterFlags::EXT_ARG, args.is_some());
        // SAFETY: EXT_ARG says that the kernel gets a `SubmitArgs`, which is laid out as it wants it; what
        // that points to outlives the call.
        unsafe { self.uring.submitter().enter(queued, count as u32, flags.bits(), args) }
    }

    /// Where the last wait was for a batch, whether a timer may have cut it short. To be asked after a drain.
    pub(crate) fn take_gathered(&mut self) -> Option<bool> {
        self.gathered.take()
    }

    /// Has the guard watch over the next wait. False where it can't.
    fn demand_guard(&mut self) -> bool {
        let (is_on, entry) = self.guard.demand(user_data(Kind::Guard, 0, 0));
        if let Some(entry) = entry {
            self.push(entry);
        }
        // An entry that the kernel has not taken guards nothing.
        is_on && self.backlog.is_empty()
    }

    fn entered(&mut self, mut result: io::Result<usize>) -> io::Result<()> {
        self.enters += 1;
        self.sends_queued = 0;
        self.push_backlog();
        for _ in 1..ENTERS_MAX {
            match result {
                Ok(_) if self.needs_kernel() => {}
                Ok(_) => break,
                Err(error) => match error.raw_os_error() {
                    // Time is up, or a signal came, or the kernel wants us to drain first.
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => break,
                    _ => return Err(error),
                },
            }
            result = self.uring.submit();
            self.enters += 1;
            self.push_backlog();
        }
        Ok(())
    }

    /// Whether there is something that only an enter brings about.
    fn needs_kernel(&mut self) -> bool {
        let queue = self.uring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Whether an enter or a drain would find something; needs no system call.
    pub(crate) fn has_news(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.uring.submission().taskrun()
    }

    pub(crate) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.buffers.bytes(chunk)
    }

    /// Gives back the chunks of worked events.
    pub(crate) fn release(&mut self, chunks: impl Iterator<Item = Chunk>) {
        self.buffers.release(chunks);
    }

    /// Takes out what has happened, about `count_max` events at most.
    pub(crate) fn drain(&mut self, events: &mut Vec<Event>, count_max: usize) {
        let mut unfinished = 0;
        loop {
            if events.len() + 1 >= count_max {
                break;
            }
            let Some(completion) = self.uring.completion().next() else { break };
            let data = completion.user_data();
            let token = Token {
                index: data as u32,
                generation: (data >> 32) as u32 & Token::GENERATION_MASK,
            };
            let result = completion.result();
            match (data >> 56) as u8 {
                kind if kind == Kind::Receive as u8 => {
                    self.received(token, result, completion.flags(), events);
                }
                kind if kind == Kind::Send as u8 => {
                    if let Some(event) = self.sent(token, result) {
                        events.push(event);
                    } else {
                        unfinished += 1;
                    }
                }
                kind if kind == Kind::Accept as u8 => {
                    accepted(token.index, result, completion.flags(), events);
                }
                kind if kind == Kind::Append as u8 => {
                    self.append_done(Kind::Append, result, events);
                }
                kind if kind == Kind::AppendSync as u8 => {
                    self.append_done(Kind::AppendSync, result, events);
                }
                kind if kind == Kind::Sync as u8 => {
                    let error = (result < 0).then(|| appending::error_of(-result));
                    events.push(Event::Synced(error));
                }
                kind if kind == Kind::Eventfd as u8 => events.push(Event::Eventfd),
                kind if kind == Kind::Wake as u8 => {
                    let shard = token.index as usize;
                    events.push(Event::WakeFailed { shard, error: -result });
                }
                kind if kind == Kind::Timer as u8 && token.generation == self.timer_generation => {
                    self.timer_at_us = None;
                    self.gathered = self.gathered.map(|_| true);
                }
                kind if kind == Kind::Guard as u8 => {
                    self.gathered = self.gathered.map(|_| true);
                    let is_last = !cqueue::more(completion.flags());
                    if let Some(entry) = self.guard.fired(data, is_last) {
                        self.push_silent(entry);
                    }
                }
                _ => {}
            }
        }
        if unfinished > 0 {
            self.push_backlog();
        }
    }

    fn received(&mut self, token: Token, result: i32, flags: u32, events: &mut Vec<Event>) {
        if let Some(string) = self.direct.get_mut(token.index as usize).and_then(take) {
            events.push(received_directly(token, string, result));
        }
        if let Some(buffer) = cqueue::buffer_select(flags) {
            let len = u32::try_from(result).unwrap_or(0);
            let chunk = self.buffers.filled(buffer, len, cqueue::buffer_more(flags));
            if len > 0 {
                events.push(Event::Received { token, chunk });
            } else {
                self.buffers.release(std::iter::once(chunk));
            }
        }
        if !cqueue::more(flags) {
            let why = match -result {
                0 => ReceiveEnd::EndOfInput,
                libc::ENOBUFS => ReceiveEnd::NoBuffers,
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => ReceiveEnd::Stopped,
                error if error > 0 => ReceiveEnd::Failed(error),
                _ => ReceiveEnd::Stopped,
            };
            events.push(Event::ReceiveEnded { token, why });
        }
    }

    /// Notes a send's completion; the kernel may have sent less than all.
    fn sent(&mut self, token: Token, result: i32) -> Option<Event> {
        let cell = &mut self.sends[token.index as usize];
        let sending = cell.as_mut().expect("because a send ends once");
        sending.output.advance(usize::try_from(result).unwrap_or(0));
        let is_short = result >= 0 && !sending.output.piece().is_empty();
        if result > 0 && is_short && !sending.stopped {
            self.send_rest(token_data(Kind::Send, token));
            return None;
        }
        let error = if is_short { Some(libc::ECANCELED) } else { (result < 0).then_some(-result) };
        let (spare, len) =
            cell.take().map(|sending| sending.output.into_spare()).unwrap_or_default();
        Some(Event::Sent { token, spare, len, error })
    }

    fn send_rest(&mut self, data: u64) {
        let sending = self.sends[data as u32 as usize].as_ref().expect("because it is being sent");
        let piece = sending.output.piece();
        let len = piece.len().min(SEND_BYTES_MAX);
        let is_last = sending.output.is_last() && len == piece.len();
        let more = if is_last { 0 } else { libc::MSG_MORE };
        let entry = opcode::Send::new(Fd(sending.fd), piece.as_ptr(), len as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL | more)
            .build();
        self.push(entry.user_data(data));
        self.sends_queued += 1;
    }
}

/// The end of a direct receive of `result` bytes, or of none if that is an error.
fn received_directly(token: Token, mut string: LongString, result: i32) -> Event {
    // SAFETY: the kernel wrote so many bytes at the start of the string's room.
    unsafe { string.extend_written(usize::try_from(result).unwrap_or(0)) };
    Event::ReceivedDirectly { token, string }
}

fn accepted(listener: u32, result: i32, flags: u32, events: &mut Vec<Event>) {
    if result >= 0 {
        // SAFETY: the kernel made this descriptor for this completion; nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        events.push(Event::Accepted { listener, socket });
    }
    if !cqueue::more(flags) {
        events.push(Event::AcceptEnded { listener, error: (-result).max(0) });
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What was never submitted must not be while we wait.
        let cancelled =
            self.uring.submitter().register_sync_cancel(Some(CANCEL_TIMEOUT), CancelBuilder::any());
        let quiet = match cancelled {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        };
        if !quiet {
            // The kernel may still read or write: rather lose the memory than have it reused.
            std::mem::forget(take(&mut self.sends));
            std::mem::forget(take(&mut self.direct));
            std::mem::forget(self.appending.take());
            self.buffers.forget();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test looks how long a wait takes")]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use std::os::fd::AsFd;
    use std::time::Instant;

    const FAR_US: u64 = 60_000_000;

    /// A wait for so many.
    fn wait(ring: &mut Ring, count: usize) -> Duration {
        let batch = Batch { count, us: 300, is_trusted: true };
        let start = Instant::now();
        // The timer that bounds all waits is armed for long already.
        ring.enter_until(FAR_US, 0, Some(batch)).expect("the ring waits");
        start.elapsed()
    }

    fn drain(ring: &mut Ring) -> usize {
        let mut events = Vec::new();
        ring.drain(&mut events, 100);
        events.len()
    }

    #[test]
    fn a_wait_for_a_batch_ends_though_none_comes() {
        let mut ring = Ring::open().expect("a ring");
        if !ring.can_gather {
            return;
        }
        let eventfd = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC).expect("an eventfd");
        let mut guarded = 0;
        for round in 0..200 {
            // A batch of one comes, and leaves the guard running.
            ring.watch(eventfd.as_fd());
            wait(&mut ring, 1);
            assert_eq!(drain(&mut ring), 1);
            // Many a guard fires before the next wait, and some are told by then: none may leave it alone.
            if round % 2 == 0 {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(GUARD_US + 10 * round) {}
            }
            if round % 4 == 0 {
                ring.enter().expect("the ring is entered");
            }
            // Nothing else ends it within the minute.
            let waited = wait(&mut ring, 1_000);
            guarded += usize::from(matches!(ring.guard, Guard::On { .. }));
            assert!(waited < Duration::from_micros(FAR_US) / 6, "{waited:?}");
            assert_eq!(drain(&mut ring), 0);
        }
        assert!(guarded > 50, "{guarded} of 200");
    }

    #[test]
    fn a_guard_that_nobody_needs_goes() {
        let mut ring = Ring::open().expect("a ring");
        if !ring.can_gather {
            return;
        }
        for _ in 0..50 {
            wait(&mut ring, 1_000);
            let mut waits = 0;
            while !matches!(ring.guard, Guard::Off) {
                ring.enter_until(FAR_US, 0, None).expect("the ring waits");
                drain(&mut ring);
                waits += 1;
                assert!(waits < 20, "{waits} waits");
            }
        }
    }
}
