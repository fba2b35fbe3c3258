//! Exchange: requests of other shards worked, answers put into their places, letters written and read.

use basalt_keyspace::{Key, ShardId};
use basalt_resp::Reply;

use super::Core;
use super::held::HeldRequest;
use super::request::Flow;
use super::timing::timed;
use crate::limits;
use crate::message::{Envelope, Letter, Message, Request};
use crate::meter::LARGE_REQUEST_BYTES;
use crate::perform::{Task, counted, mode_of, perform, scope_of};
use crate::session::SessionId;
use crate::transaction::{Intent, Number};
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
        session.output().extend_from_slice(answer);
        self.settle_reply_mode(id, Some(start));
        self.shard.sessions.mark_dirty(id);
    }

    pub(super) fn receive(&mut self, world: &mut dyn World, from: ShardId, message: Message) {
        let Message(mut envelope) = message;
        if !envelope.observed.is_empty() {
            self.show_observed(&std::mem::take(&mut envelope.observed));
        }
        self.read_letters(from, &mut envelope.letters);
        if envelope.answered {
            self.outboxes[from.index()].returned();
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
        // What is to be said to the other anyway goes along.
        envelope.letters.append(&mut self.outboxes[from.index()].gathering.letters);
        world.send(from, Message(envelope));
    }

    /// Does what letters say, in their order.
    fn read_letters(&mut self, from: ShardId, letters: &mut Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        for letter in letters.drain(..) {
            match letter {
                Letter::Hop { ticket, scope, run } => self.hop_for(from, ticket, scope, run),
                Letter::Done { ticket, result } => self.take_result(ticket, result),
                Letter::Schedule { number, scope, look } => self.visit(number, scope, look),
                Letter::Granted { number, found } => self.granted(number, from, found),
                Letter::Inquire(number) => self.inquired(number, from),
                Letter::GiveBack(number) => self.given_back(number),
                Letter::Release { number, last } => self.end_visit(number, from, last),
                Letter::IsQuiet { ticket } => self.stillness.ask(from, ticket),
                Letter::Strays(items) => self.hand_on(&items),
                Letter::Reply { session, hole, reply } => self.fill_hole(session, hole, &reply),
            }
        }
        self.settle();
    }

    /// Writes a letter; it leaves with the turn.
    pub(super) fn write_letter(&mut self, to: ShardId, letter: Letter) {
        self.outboxes[to.index()].gathering.letters.push(letter);
    }

    /// Works the requests that another shard gathered, their memory fetched in stages.
    pub(super) fn work_batch(
        &mut self,
        world: &mut dyn World,
        from: ShardId,
        envelope: &mut Envelope,
    ) {
        let Envelope { batch, slow, .. } = envelope;
        let shard = &mut self.shard;
        let mut reply_bytes = std::mem::take(&mut batch.reply_bytes);
        let mut args: Vec<&[u8]> = Vec::new();
        let (mut arg_at, mut arg_start) = (0, 0);
        for group in batch.requests.chunks_mut(limits::STAGE_REQUESTS_MAX) {
            let place = |request: &Request| (request.database, request.slot, request.hash);
            shard.keyspace.prefetch(group.iter().map(place));
            for request in group {
                args.clear();
                let request_start = arg_start;
                for &end in &batch.arg_ends[arg_at..arg_at + request.arg_count as usize] {
                    args.push(&batch.arg_bytes[arg_start..end]);
                    arg_start = end;
                }
                arg_at += request.arg_count as usize;
                if !shard.intents.is_idle() || !self.held.is_empty() {
                    let intent = Intent { hash: request.hash, mode: mode_of(request.command) };
                    let scope = || scope_of(request.command, &args, &shard.keyspace);
                    let is_behind = self.held.has(from, request.session);
                    let meets = is_behind
                        || !shard.intents.admits_key(intent)
                        || (args.len() > 2 && !shard.intents.admits(&scope()));
                    if meets {
                        request.is_held = true;
                        batch.reply_ends.push(reply_bytes.len());
                        let held = HeldRequest::new(*request, &args, scope());
                        let first = self.held.push(from, request.session, held);
                        if let Some(scope) = first {
                            let number = self.numbers.next(shard.id, shard.now.monotonic_us);
                            self.held.wait(number, (from, request.session));
                            shard.schedule(number, scope);
                        }
                        continue;
                    }
                }
                let key = Key {
                    bytes: args[usize::from(request.key_at)],
                    hash: request.hash,
                    slot: request.slot,
                };
                let task = Task { run: request.run, args: &args, key, database: request.database };
                let reply = Reply::new(&mut reply_bytes, request.protocol);
                let command = request.command;
                if arg_start - request_start >= LARGE_REQUEST_BYTES {
                    shard.meter.time_next(command.number);
                }
                let is_timed = shard.meter.count(command.number);
                let refused = counted(&mut shard.stats, &mut shard.meter, command);
                let run = || perform(&mut shard.keyspace, &shard.config, task, reply, refused);
                if is_timed {
                    let ns = timed(world, run);
                    if shard.took(command, Some(request.slot), ns) {
                        slow.push((batch.reply_ends.len(), ns / 1000));
                    }
                } else {
                    run();
                }
                batch.reply_ends.push(reply_bytes.len());
                // Before the next request, which may be for the same key.
                if shard.keyspace.has_fed() {
                    shard.serve_fed();
                }
            }
        }
        shard.stats.commands_from_others += batch.requests.len() as u64;
        batch.reply_bytes = reply_bytes;
        if !batch.requests.is_empty() {
            self.stillness.disturb();
        }
    }

    /// Works the requests of one session that waited, now that the first of them is granted its visit: that
    /// one, and those behind it as far as they meet nobody.
    pub(super) fn work_held(&mut self, number: Number, asker: (ShardId, SessionId)) {
        let mut visit = Some(number);
        while let Some(held) = self.held.next(asker) {
            let shard = &mut self.shard;
            if visit.is_none() && !shard.intents.admits(held.scope()) {
                let scope = held.scope().clone();
                self.held.put_back(asker, held);
                let number = self.numbers.next(shard.id, shard.now.monotonic_us);
                self.held.wait(number, asker);
                shard.schedule(number, scope);
                return;
            }
            let request = *held.request();
            let args: Vec<&[u8]> = held.args().collect();
            let key = Key {
                bytes: args[usize::from(request.key_at)],
                hash: request.hash,
                slot: request.slot,
            };
            let task = Task { run: request.run, args: &args, key, database: request.database };
            let mut answer = Vec::new();
            let reply = Reply::new(&mut answer, request.protocol);
            // Its time is not taken; those that are stand for it.
            shard.meter.count(request.command.number);
            let refused = counted(&mut shard.stats, &mut shard.meter, request.command);
            perform(&mut shard.keyspace, &shard.config, task, reply, refused);
            if let Some(number) = visit.take() {
                shard.intents.release(number);
            }
            if shard.keyspace.has_fed() {
                shard.serve_fed();
            }
            let (session, hole) = (request.session, request.hole);
            self.write_letter(asker.0, Letter::Reply { session, hole, reply: answer });
        }
    }

    /// Puts what another shard answered into its places.
    pub(super) fn take_answers(&mut self, envelope: &Envelope) {
        if !envelope.slow.is_empty() {
            self.log_slow_answers(envelope);
        }
        let batch = &envelope.batch;
        let mut start = 0;
        for (request, &end) in batch.requests.iter().zip(&batch.reply_ends) {
            let reply = &batch.reply_bytes[start..end];
            start = end;
            if !request.is_held {
                self.fill_hole(request.session, request.hole, reply);
            }
        }
    }

    fn fill_hole(&mut self, id: SessionId, hole: u32, reply: &[u8]) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.queue.fill(hole, reply, &mut session.out);
        session.adjust_hole_limit(reply.len());
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
            if let Some(envelope) = outbox.take(spare) {
                self.shard.stats.messages_out += 1;
                world.send(ShardId(index as u16), Message(envelope));
            }
            for id in outbox.take_waiting() {
                if let Some(session) = self.shard.sessions.get_mut(id) {
                    session.waits_for_room = false;
                }
                self.shard.sessions.mark_ready(id);
            }
        }
    }
}
