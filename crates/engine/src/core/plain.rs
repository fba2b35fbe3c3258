//! Plain requests: one key, one shard, nothing about the session that needs a closer look.
//!
//! Nearly all of a cache's requests are. What holds for a session holds for all of them that follow each
//! other, since a handler touches nothing but the keyspace: so it is looked at once for all.
//!
//! Not here: whatever is not plain (`request`).

use basalt_commands::config::PipelineOrder;
use basalt_keyspace::Key;
use basalt_resp::Reply;

use super::input::{Staged, What};
use super::{Core, KeyHash};
use crate::limits;
use crate::perform::{Task, counted, has_one_key, mode_of, perform};
use crate::session::{ReplyMode, SessionId};
use crate::transaction::Intent;

impl Core {
    /// Works the plain requests of one session that stand first, or sends them to their shards, until one
    /// needs more than that; says how many.
    pub(super) fn work_plain(&mut self, id: SessionId, staged: &[Staged], args: &[&[u8]]) -> usize {
        let Self { shard, outboxes, keys, .. } = self;
        let Some(session) = shard.sessions.get_mut(id) else { return 0 };
        let is_plain = session.may_run()
            && session.armed.0 | shard.armed.0 == 0
            && session.reply_mode == ReplyMode::On
            && shard.config.pipeline_order != PipelineOrder::Strict;
        if !is_plain {
            return 0;
        }
        let pipelined = session.pipelined;
        let is_free = shard.intents.is_idle() && pipelined == 0;
        let (database, protocol) = (session.database, session.protocol);
        let source = staged[0].source;
        let mut worked = 0;
        for request in staged {
            let What::Plain(command, run) = request.what else { break };
            if request.source != source || session.output_bytes() > limits::OUTPUT_PAUSE_BYTES {
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
                if !shard.meter.count_untimed(command.number) {
                    break;
                }
                let key = Key { bytes: args[usize::from(key_at)], hash, slot };
                let task = Task { run, args, key, database };
                let reply = Reply::new(session.output(), protocol);
                let refused = counted(&mut shard.stats, &mut shard.meter, command);
                perform(&mut shard.keyspace, &shard.config, task, reply, refused);
            } else {
                let outbox = &mut outboxes[to.index()];
                if session.queue.len() >= session.hole_limit || !outbox.has_room() {
                    break;
                }
                outbox.add(session, (command, run), args, (hash, slot, key_at));
            }
            session.last_command = command.name;
            session.last_shard = to;
            worked += 1;
            if shard.keyspace.has_ready() {
                break;
            }
        }
        session.commands += worked as u64;
        if shard.keyspace.has_ready() {
            self.settle();
        }
        worked
    }
}
