//! Exchange: requests of other shards worked, answers put into their places, notifications written and read.

use basalt_keyspace::ShardId;
use basalt_resp::{Payloads, Protocol, Reply, append_reply};

use super::Core;
use super::deferred::HeldRequest;
use super::dispatch::Flow;
use crate::input::args::OwnedArgs;
use crate::input::resolve::{has_one_key, mode_of, scope_of};
use crate::intents::{Intent, Mode, Number, Scope};
use crate::limits;
use crate::mesh::message::{Ask, Batch, Envelope, Message, Notification, Request};
use crate::observe::command_stats::LARGE_REQUEST_BYTES;
use crate::session::{ReplyAt, SessionId};
use crate::shard::call::calls_of;
use crate::world::World;

impl Core {
    /// Whether the session's next request may follow.
    pub(super) fn flow_after(&self, id: SessionId) -> Flow {
        match self.shard.sessions.get(id) {
            Some(session) if session.may_run() => Flow::On,
            _ => Flow::LastOne,
        }
    }

    /// Puts an encoded reply out.
    pub(crate) fn put_answer(&mut self, id: SessionId, answer: &[u8]) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        if let Some(text) = answer.strip_prefix(b"-") {
            self.shard.stats.count_error(text.trim_ascii_end());
        }
        let start = session.output().len();
        session.waits = true;
        append_reply(session.output(), answer);
        self.settle_reply_mode(id, Some(start));
        self.shard.sessions.mark_dirty(id);
    }

    pub(super) fn receive(&mut self, world: &mut dyn World, from: ShardId, message: Message) {
        let Message(mut envelope) = message;
        self.note_dependence(from, &envelope);
        if !envelope.observed.is_empty() {
            self.show_observed(&std::mem::take(&mut envelope.observed));
        }
        self.read_notifications(from, &mut envelope.notifications);
        if envelope.answered {
            for (_, ask) in envelope.asks.drain(..) {
                self.do_ask(from, ask);
            }
            self.settle();
            let Batch { requests, reply_bytes, .. } = &envelope.batch;
            self.outboxes[from.index()].returned(requests.len(), reply_bytes.len());
            self.take_answers(&envelope);
            envelope.clear();
            const SPARE_ENVELOPES_MAX: usize = 16;
            if self.spare_envelopes.len() < SPARE_ENVELOPES_MAX {
                self.spare_envelopes.push(envelope);
            }
            return;
        }
        self.work_batch(world, from, &mut envelope);
        self.settle();
        envelope.answered = true;
        // What goes to the other anyway goes along.
        let next = || self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
        self.outboxes[from.index()].send_along(&mut envelope, next);
        self.stamp(from, &mut envelope);
        world.send(from, Message(envelope));
    }

    /// Acts on notifications, in their order.
    fn read_notifications(&mut self, from: ShardId, notifications: &mut Vec<Notification>) {
        if notifications.is_empty() {
            return;
        }
        for notification in notifications.drain(..) {
            match notification {
                Notification::Done { ticket, result } => self.take_result(ticket, result),
                Notification::Granted { number, found, feeds } => {
                    self.granted(number, from, Some(found), feeds);
                }
                Notification::Waits(number) => self.not_decided_there(number),
                Notification::Ran { number, txn_part, feeds } => {
                    self.ran(number, from, txn_part, feeds);
                }
                Notification::Served(part) => self.served(part),
                Notification::Inquire(number) => self.inquired(number, from),
                Notification::Turn { ticket, woken } => self.turn_comes(from, ticket, woken),
                Notification::Notice(notice) => self.take_notice(from, notice),
                Notification::Published { session, hole, receivers } => {
                    let mut reply = Vec::new();
                    // An integer is the same in both protocols.
                    Reply::new(&mut reply, Protocol::Resp2).integer(receivers as i64);
                    self.fill_hole(session, hole, &reply);
                }
                Notification::Reply { session, hole, reply } => {
                    self.fill_hole(session, hole, &reply);
                }
                Notification::Journal(news) => self.hear_of_journal(from, news),
                Notification::Busy(busy) => self.hear_of_busy(from, busy),
            }
        }
        self.cut_off_overdue();
        self.pass_notices();
        self.settle();
    }

    /// Does what another shard asks.
    fn do_ask(&mut self, from: ShardId, ask: Ask) {
        match ask {
            Ask::Hop { ticket, scope, hop } => self.hop_for(from, ticket, scope, hop),
            Ask::Schedule { number, scope, look } => self.visit(number, scope, look),
            Ask::Bring { number, txn_part, look } => self.bring(number, txn_part, look),
            Ask::Entrust { number, txn_part, look } => self.entrusted(number, txn_part, look),
            Ask::GiveBack(number) => self.given_back(number),
            Ask::Run { number, is_wanted } => self.run_txn_part(number, is_wanted),
            Ask::Decline(number) => self.declined(number),
            Ask::Release { number, part, last, feeding } => {
                self.end_visit(number, from, (part, last, feeding));
            }
            Ask::Publish(request) => self.publish_for(from, request),
            Ask::IsQuiet { ticket } => self.quiescence.ask(from, ticket),
            Ask::Evict { bytes } => self.asked_to_evict(bytes),
            // They go at the end of this turn.
            Ask::EvictClients => {}
            Ask::OrphanTimers(items) => self.hand_on(&items),
        }
    }

    /// Writes a notification; it leaves with the turn.
    pub(super) fn notify(&mut self, to: ShardId, notification: Notification) {
        self.outboxes[to.index()].gathering.notifications.push(notification);
    }

    /// Asks another shard for something, behind what it was asked before.
    pub(super) fn ask(&mut self, to: ShardId, ask: Ask) {
        self.outboxes[to.index()].ask(ask);
    }

    /// Does what another shard asks, in its order, the requests' memory fetched in stages.
    pub(super) fn work_batch(
        &mut self,
        world: &mut dyn World,
        from: ShardId,
        envelope: &mut Envelope,
    ) {
        let Envelope { number, batch, asks, slow, .. } = envelope;
        self.numbers.saw(*number);
        let mut asks = asks.drain(..);
        let mut reply_bytes = std::mem::take(&mut batch.reply_bytes);
        let mut payloads = std::mem::take(&mut batch.reply_payloads);
        let mut args: Vec<&[u8]> = Vec::new();
        let long_args = std::mem::take(&mut batch.long_args);
        let (has_long, mut long_args) = (!long_args.is_empty(), long_args.iter().peekable());
        let (mut index, mut arg_at, mut arg_start) = (0, 0, 0);
        let mut replies_wait = false;
        // Where a request that has to wait stands among transactions: behind those that its home sent before it.
        let (mut place, mut behind) = (*number, 0);
        for group in batch.requests.chunks_mut(limits::STAGE_REQUESTS_MAX) {
            let memory = |request: &Request| (request.database, request.slot, request.hash);
            self.shard.keyspace.prefetch(group.iter().map(memory));
            for request in group {
                // Looked at where they lie: a peekable iterator would move a large `None` for each request.
                while asks.as_slice().first().is_some_and(|(after, _)| *after <= index)
                    && let Some((_, ask)) = asks.next()
                {
                    if let Some(number) = ask.transaction() {
                        place = place.max(number);
                    }
                    self.do_ask(from, ask);
                }
                index += 1;
                args.clear();
                let request_start = arg_start;
                for &end in &batch.arg_ends[arg_at..arg_at + request.arg_count as usize] {
                    args.push(&batch.arg_bytes[arg_start..end]);
                    arg_start = end;
                }
                if has_long {
                    self.shard.keyspace.end_received();
                    while let Some((at, long)) =
                        long_args.next_if(|(at, _)| *at < arg_at + request.arg_count as usize)
                    {
                        args[at - arg_at] = long;
                        self.shard.keyspace.lend_received(std::slice::from_ref(long));
                    }
                }
                arg_at += request.arg_count as usize;
                let is_free = self.shard.intents.is_empty() && self.held.is_empty();
                if !is_free && self.has_to_wait(from, request, &args) {
                    if let Some(error) = self.shard.busy_refusal() {
                        let reply = Reply::new(&mut reply_bytes, request.protocol);
                        self.shard.refuse_request_of_other(request.command, &error, reply);
                        batch.reply_ends.push(reply_bytes.len());
                        continue;
                    }
                    request.is_held = true;
                    batch.reply_ends.push(reply_bytes.len());
                    behind += 1;
                    self.hold(place.behind(behind), from, *request, &args);
                    continue;
                }
                let shard = &mut self.shard;
                let command = request.command;
                if arg_start - request_start >= LARGE_REQUEST_BYTES {
                    shard.command_stats.time_next(command.number);
                }
                let (context, key) = (request.context(from), request.key(&args));
                let reply = Reply::sharing(&mut reply_bytes, &mut payloads, request.protocol);
                let clock_ns = &mut || world.monotonic_ns();
                let ns = calls_of!(shard).call_and_count(clock_ns, &context, &args, key, reply);
                if let Some(ns) = ns
                    && shard.took(command, Some(request.slot), ns)
                {
                    slow.push((batch.reply_ends.len(), ns / 1000));
                }
                replies_wait = replies_wait || shard.is_uncommitted(command, request.hash);
                let start = batch.reply_ends.last().copied().unwrap_or(0);
                batch.reply_ends.push(reply_bytes.len());
                // Before the next request, which may be for the same key.
                if self.shard.keyspace.has_ready() {
                    let mut shared = Payloads::default();
                    shared.share(&payloads, start..reply_bytes.len(), 0);
                    let reply = || shared.join(&reply_bytes[start..]);
                    request.is_held = self.put_off_reply_to(from, request, reply);
                }
            }
            self.publish_events();
        }
        self.shard.keyspace.end_received();
        for (_, ask) in asks {
            self.do_ask(from, ask);
        }
        self.shard.stats.commands_from_others += batch.requests.len() as u64;
        self.turn_output_left = self.turn_output_left.saturating_sub(reply_bytes.len());
        (batch.reply_bytes, batch.reply_payloads) = (reply_bytes, payloads);
        envelope.replies_wait = replies_wait;
        let batch = &envelope.batch;
        if !batch.requests.is_empty() {
            self.quiescence.disturb();
        }
    }

    /// Whether a request of another shard meets a transaction, or one of its session that waits.
    fn has_to_wait(&self, from: ShardId, request: &Request, args: &[&[u8]]) -> bool {
        let intents = &self.shard.intents;
        let pipelined = u32::from(request.is_behind);
        let meets = |intent| !intents.admits_key_behind(pipelined, from, intent);
        if !self.held.is_empty() && self.held.has(from, request.session) {
            return true;
        }
        match has_one_key(request.command) {
            true => meets(Intent { hash: request.hash, mode: mode_of(request.command) }),
            false => match scope_of(request.command, args, &self.shard.keyspace) {
                Scope::Keys(intents) => intents.into_iter().any(meets),
                Scope::Everything(_) => unreachable!("a request has keys"),
            },
        }
    }

    /// Keeps a request of another shard until its turn comes.
    fn hold(&mut self, number: Number, from: ShardId, request: Request, args: &[&[u8]]) {
        let Scope::Keys(mut intents) = scope_of(request.command, args, &self.shard.keyspace) else {
            unreachable!("a request has keys");
        };
        // Those of its session run in their order.
        intents.push(Intent { hash: request.session.as_hash(from), mode: Mode::Write });
        let args = OwnedArgs::sharing(args, self.shard.keyspace.received());
        self.held.keep(number, (from, request), args);
        self.shard.schedule(number, Scope::keys(intents));
    }

    /// Works a request that waited, now that it is granted its visit.
    pub(super) fn work_held(&mut self, number: Number, held: &HeldRequest) {
        let HeldRequest { from, request, .. } = held;
        let shard = &mut self.shard;
        let (mut reply, args) = (Vec::new(), held.args().all());
        let outer = shard.keyspace.swap_received(held.args().long());
        let (context, key) = (request.context(*from), request.key(&args));
        let out = Reply::new(&mut reply, request.protocol);
        let stopwatch = &shard.stopwatch;
        let ns = calls_of!(shard).call_and_count(&mut || stopwatch(), &context, &args, key, out);
        shard.keyspace.swap_received(outer);
        if let Some(ns) = ns {
            shard.took(request.command, Some(request.slot), ns);
        }
        let is_put_off = self.put_off_reply_to(*from, request, || reply.clone());
        self.shard.intents.release(number);
        if !is_put_off {
            let (session, hole) = (request.session, request.hole);
            self.notify(*from, Notification::Reply { session, hole, reply });
        }
    }

    /// Puts what another shard answered into its places.
    pub(super) fn take_answers(&mut self, envelope: &Envelope) {
        if !envelope.slow.is_empty() {
            self.log_slow_answers(envelope);
        }
        let Batch { requests, reply_bytes, reply_payloads, reply_ends, .. } = &envelope.batch;
        let (mut start, mut first) = (0, 0);
        // Requests of one session stand together for the most part.
        for group in requests.chunk_by(|one, next| one.session == next.session) {
            let ends = &reply_ends[first..first + group.len()];
            first += group.len();
            let replies = group.iter().zip(ends).map(|(request, &end)| {
                let reply = ReplyAt { output: reply_bytes, payloads: reply_payloads, start, end };
                start = end;
                (request, reply)
            });
            let id = group[0].session;
            match self.shard.sessions.get_mut(id) {
                Some(session) => {
                    session.waits |= envelope.replies_wait;
                    for (request, reply) in replies {
                        if !request.is_held {
                            session.fill_hole(request.hole, reply);
                        }
                    }
                    self.settle_holes(id);
                }
                // It is gone.
                None => replies.for_each(drop),
            }
        }
    }

    /// Puts what was answered late into its place.
    pub(super) fn fill_hole(&mut self, id: SessionId, hole: u32, reply: &[u8]) {
        if let Some(session) = self.shard.sessions.get_mut(id) {
            let payloads = &Payloads::default();
            let reply = ReplyAt { output: reply, payloads, start: 0, end: reply.len() };
            session.waits = true;
            session.fill_hole(hole, reply);
            self.settle_holes(id);
        }
    }

    /// Sends and goes on, if that is possible after holes were filled.
    fn settle_holes(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        if session.queue.is_empty() {
            self.shard.sessions.mark_dirty(id);
            self.shard.sessions.mark_ready(id);
        } else if session.out.len() >= limits::SEND_EARLY_BYTES {
            self.shard.sessions.mark_dirty(id);
        }
    }

    pub(super) fn send_messages(&mut self, world: &mut dyn World) {
        for index in 0..self.outboxes.len() {
            let outbox = &mut self.outboxes[index];
            let spare = || self.spare_envelopes.pop().unwrap_or_default();
            let next = || self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
            if let Some(mut envelope) = outbox.take(spare, next) {
                self.shard.stats.messages_out += 1;
                self.stamp(ShardId(index as u16), &mut envelope);
                world.send(ShardId(index as u16), Message(envelope));
            }
            for id in self.outboxes[index].take_waiting() {
                if let Some(session) = self.shard.sessions.get_mut(id) {
                    session.waits_for_room = false;
                }
                self.shard.sessions.mark_ready(id);
            }
        }
    }
}
