//! Exchange: coordinators driven on, requests of other shards worked, answers put into their places.

use std::task::Poll;

use basalt_commands::Call;
use basalt_keyspace::{Key, ShardId};
use basalt_resp::Reply;

use super::Core;
use super::request::Flow;
use crate::coordinate::{Answer, Coordination, Hops};
use crate::limits;
use crate::message::{Envelope, Hop, HopState, Message};
use crate::session::SessionId;
use crate::world::World;

impl Core {
    /// Whether the session's next request may follow.
    pub(super) fn flow_after(&self, id: SessionId) -> Flow {
        match self.shard.sessions.get(id) {
            Some(session) if session.may_run() => Flow::On,
            _ => Flow::LastOne,
        }
    }

    /// Begins a coordination for a session.
    pub(crate) fn coordinate<F>(&mut self, id: SessionId, start: impl FnOnce(Hops) -> F)
    where
        F: Future<Output = Answer> + 'static,
    {
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.is_coordinating = true;
        }
        self.coordinations_begun += 1;
        let number = self.coordinations_begun;
        self.coordinations.insert(number, Coordination::new(id, start));
        self.drive(number);
    }

    /// Goes on with a coordination until it ends or waits for another shard.
    pub(super) fn drive(&mut self, number: u64) {
        let Some(coordination) = self.coordinations.get_mut(&number) else { return };
        loop {
            if let Poll::Ready(answer) = coordination.poll() {
                let id = coordination.session;
                self.coordinations.remove(&number);
                self.end_coordination(id, &answer);
                return;
            }
            let mut went_on = false;
            for (index, shard, run) in coordination.take_wanted() {
                if shard == self.shard.id {
                    coordination.put_result(index, run(&mut self.shard));
                    went_on = true;
                } else {
                    let state = HopState::Asked(run);
                    let hop = Hop { coordination: number, index, state };
                    self.outboxes[shard.index()].gathering.hops.push(hop);
                }
            }
            if !went_on {
                return;
            }
        }
    }

    pub(super) fn end_coordination(&mut self, id: SessionId, answer: &[u8]) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.is_coordinating = false;
        if let Some(text) = answer.strip_prefix(b"-") {
            self.shard.stats.count_error(text.trim_ascii_end());
        }
        let start = session.output().len();
        session.output().extend_from_slice(answer);
        self.settle_reply_mode(id, Some(start));
        self.shard.sessions.mark_dirty(id);
        self.shard.sessions.mark_ready(id);
    }

    pub(super) fn receive(&mut self, world: &mut dyn World, from: ShardId, message: Message) {
        let Message(mut envelope) = message;
        if envelope.answered {
            self.outboxes[from.index()].returned();
            self.take_answers(&mut envelope);
            envelope.clear();
            const SPARE_ENVELOPES_MAX: usize = 16;
            if self.spare_envelopes.len() < SPARE_ENVELOPES_MAX {
                self.spare_envelopes.push(envelope);
            }
            return;
        }
        self.work_batch(&mut envelope);
        for hop in &mut envelope.hops {
            hop.run(&mut self.shard);
        }
        envelope.answered = true;
        world.send(from, Message(envelope));
    }

    /// Works the requests that another shard gathered, their memory fetched in stages.
    pub(super) fn work_batch(&mut self, envelope: &mut Envelope) {
        let batch = &mut envelope.batch;
        let shard = &mut self.shard;
        let mut reply_bytes = std::mem::take(&mut batch.reply_bytes);
        let mut args: Vec<&[u8]> = Vec::new();
        let (mut arg_at, mut arg_start) = (0, 0);
        for group in batch.requests.chunks(limits::STAGE_REQUESTS_MAX) {
            for request in group {
                shard.keyspace.prefetch_table(request.database, request.slot);
            }
            for request in group {
                shard.keyspace.prefetch_bucket(request.database, request.slot, request.hash);
            }
            for request in group {
                shard.keyspace.prefetch_entry(request.database, request.slot, request.hash);
            }
            for request in group {
                args.clear();
                for &end in &batch.arg_ends[arg_at..arg_at + request.arg_count as usize] {
                    args.push(&batch.arg_bytes[arg_start..end]);
                    arg_start = end;
                }
                arg_at += request.arg_count as usize;
                let key = Key {
                    bytes: args[usize::from(request.key_at)],
                    hash: request.hash,
                    slot: request.slot,
                };
                let mut call = Call {
                    keyspace: &mut shard.keyspace,
                    database: request.database,
                    args: &args,
                    key,
                    config: &shard.config,
                    reply: Reply::new(&mut reply_bytes, request.protocol),
                };
                if let Err(error) = (request.run)(&mut call) {
                    call.reply.error_bytes(error.as_bytes());
                    shard.stats.count_error(error.as_bytes());
                }
                batch.reply_ends.push(reply_bytes.len());
            }
        }
        shard.stats.commands += batch.requests.len() as u64;
        shard.stats.commands_from_others += batch.requests.len() as u64;
        batch.reply_bytes = reply_bytes;
    }

    /// Puts what another shard answered into its places.
    pub(super) fn take_answers(&mut self, envelope: &mut Envelope) {
        let batch = &envelope.batch;
        let mut start = 0;
        for (request, &end) in batch.requests.iter().zip(&batch.reply_ends) {
            let reply = &batch.reply_bytes[start..end];
            start = end;
            let Some(session) = self.shard.sessions.get_mut(request.session) else { continue };
            session.queue.fill(request.hole, reply, &mut session.out);
            session.adjust_hole_limit(reply.len());
            let is_drained = session.queue.is_empty();
            self.shard.sessions.mark_dirty(request.session);
            if is_drained {
                self.shard.sessions.mark_ready(request.session);
            }
        }
        for hop in envelope.hops.drain(..) {
            let HopState::Done(result) = hop.state else { continue };
            if let Some(coordination) = self.coordinations.get_mut(&hop.coordination) {
                coordination.put_result(hop.index, result);
                self.drive(hop.coordination);
            }
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
