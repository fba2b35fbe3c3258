//! The fast path: requests with one key on one shard, which need nothing of their session but its settings.
//!
//! Nearly all of a cache's requests are such. What holds for the session holds for all of them that follow each
//! other, since a handler touches nothing but the keyspace: so it is looked at once for all. No feature of the
//! server ends this: it is done with here, or in [`Calls::call`](crate::shard::call::Calls::call).
//!
//! Not here: all other requests (`request`).

use basalt_commands::config::PipelineOrder;
use basalt_keyspace::Key;

use super::Core;
use super::input::{Staged, What};
use super::monitor::write_line;
use crate::gates;
use crate::input::keys::KeyHash;
use crate::input::resolve::{has_one_key, mode_of};
use crate::intents::Intent;
use crate::session::armed::Armed;
use crate::session::{ReplyMode, SessionId};
use crate::shard::call::{CallContext, ReadMode, calls_of};
use crate::world::World;

impl Core {
    /// Works the requests of one session that stand first, or sends them to their shards, until one needs
    /// more than the fast path. Returns how many it worked.
    pub(super) fn work_plain(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        staged: &[Staged],
        args: &[&[u8]],
    ) -> usize {
        let Self { shard, outboxes, keys, turn_output_left, .. } = self;
        let replies_wait = shard.replies_wait();
        let Some(mut session) = shard.sessions.get_mut(id) else { return 0 };
        let armed = session.armed.or(shard.armed);
        let is_plain = session.may_run()
            && !armed.has(gates::ENDS_FAST_PATH)
            && session.may_answer()
            && session.reply_mode == ReplyMode::On
            && shard.config.pipeline_order != PipelineOrder::Strict;
        if !is_plain {
            return 0;
        }
        let pipelined = session.pipelined;
        let is_free = shard.intents.is_idle() && pipelined == 0;
        // The reply to what feeds such a client is put off until the client is served.
        let may_feed = shard.waiting.has_distant();
        let What::Plain(command, run) = staged[0].what else { return 0 };
        // Of all that follow only these two differ.
        let mut context = CallContext::of(shard.id, session, command, run);
        let (source, mut reads) = (staged[0].source, ReadMode::of_session(session));
        let (room, written) = (session.output_room(), session.written_bytes());
        let (mut worked, mut lines, mut last_start) = (0, Vec::new(), 0);
        for request in staged {
            let What::Plain(command, run) = request.what else { break };
            if request.source != source || session.written_bytes() > room {
                break;
            }
            let args = &args[request.args.0..request.args.1];
            let KeyHash { hash, slot, shard: to, .. } = keys[request.keys.0];
            let key_at = command.keys[0].first as u16;
            if to == shard.id {
                if !is_free {
                    let intent = Intent { hash, mode: mode_of(command) };
                    let is_admitted = shard.intents.admits_key_behind(pipelined, to, intent);
                    if !is_admitted || !has_one_key(command) {
                        break;
                    }
                }
                let key = Key { bytes: args[usize::from(key_at)], hash, slot };
                (context.command, context.run) = (command, run);
                context.reads = reads.of(command);
                if may_feed {
                    last_start = session.output().len();
                }
                let reply = session.reply();
                let clock_ns = &mut || world.monotonic_ns();
                let ns = calls_of!(shard).call_and_count(clock_ns, &context, args, key, reply);
                if let Some(ns) = ns {
                    shard.settle_call(id, command, (Some(slot), args), ns);
                    session = shard.sessions.get_mut(id).expect("a call ends no session");
                }
                if replies_wait {
                    let is_uncommitted = shard.is_uncommitted(command, hash);
                    session = shard.sessions.get_mut(id).expect("a call ends no session");
                    session.waits |= is_uncommitted;
                }
            } else {
                let outbox = &mut outboxes[to.index()];
                if session.queue.len() >= session.hole_limit || !outbox.has_room() {
                    break;
                }
                outbox.add(session, (command, run), (args, &[]), (hash, slot, key_at));
            }
            worked += 1;
            if armed.has(Armed::TRACKING) {
                session.last_command = command.name;
                session.end_caching();
                reads = ReadMode::of_session(session);
            }
            if armed.has(Armed::OBSERVED) {
                write_line(
                    &mut lines,
                    shard.now.unix_us(world.monotonic_us()),
                    session,
                    command,
                    args,
                );
            }
            if shard.keyspace.has_ready() {
                break;
            }
        }
        if let Some(last) = staged[..worked].last()
            && let What::Plain(command, _) = last.what
        {
            session.last_command = command.name;
            session.last_shard = keys[last.keys.0].shard;
        }
        session.commands += worked as u64;
        let output = session.written_bytes().saturating_sub(written);
        *turn_output_left = turn_output_left.saturating_sub(output);
        shard.stats.fast_path += worked as u64;
        if may_feed && self.shard.keyspace.has_ready() {
            self.put_off_reply(id, last_start);
        }
        if !lines.is_empty() {
            self.show_to_all(&lines);
        }
        if self.shard.keyspace.has_ready() {
            self.settle();
        }
        worked
    }
}
