//! Timing on a shard: what calls took, for command statistics, slot loads, latency events and the slow log.

use basalt_commands::config::LogLevel;
use basalt_commands::requests::write_logged_args;
use basalt_commands::{Command, Flags};
use basalt_keyspace::SlotId;
use basalt_resp::{Protocol, Reply};

use super::Shard;
use super::part::{Replies, TimedCall};
use crate::limits::LONG_VISITS_MAX;
use crate::observe::hop_name::HopName;
use crate::observe::latency::{self, Sample};
use crate::observe::slowlog::SlowRequest;
use crate::session::SessionId;

/// Arguments as the slow log keeps them.
pub(crate) fn logged_args(command: &Command, args: &[&[u8]]) -> Vec<u8> {
    let mut encoded = Vec::new();
    write_logged_args(command, args, &mut Reply::new(&mut encoded, Protocol::Resp2));
    encoded
}

impl Shard {
    /// A call that was counted took so long, in this slot if it was in one. Returns whether that is for the slow
    /// log.
    #[cold]
    pub(crate) fn took(&mut self, command: &Command, slot: Option<SlotId>, ns: u64) -> bool {
        let ns_of_all = self.command_stats.took(command, ns);
        if let Some(slot) = slot {
            self.loads.note(slot, ns_of_all);
        }
        let is_fast = command.flags.has(Flags::FAST);
        let event = if is_fast { latency::FAST_COMMAND } else { latency::COMMAND };
        self.note_latency(event, ns / 1000);
        self.is_slow(command, ns)
    }

    /// Whether a call that took so long is for the slow log.
    pub(crate) fn is_slow(&self, command: &Command, ns: u64) -> bool {
        let least_us = u64::try_from(self.config.slowlog_log_slower_than);
        least_us.is_ok_and(|least_us| ns / 1000 >= least_us)
            && !command.flags.has(Flags::SKIP_SLOWLOG)
    }

    /// Keeps a latency event that took long enough.
    pub(crate) fn note_latency(&mut self, event: &'static str, us: u64) {
        let threshold_ms = self.config.latency_monitor_threshold;
        if threshold_ms > 0 && us / 1000 >= threshold_ms {
            let sample = Sample { at_s: self.now.unix_ms / 1000, ms: us / 1000 };
            self.latency.add(event, sample);
        }
    }

    /// A hop took so long: a latency event, and a line of the log where a transaction that holds its keys for so long
    /// is logged.
    pub(crate) fn took_hop(&mut self, name: HopName, ns: u64) {
        let (us, ms) = (ns / 1000, ns / 1_000_000);
        if ms == 0 {
            return;
        }
        self.note_latency(latency::HOP, us);
        let least_ms = u64::try_from(self.config.transaction_log_slower_than);
        if least_ms.is_ok_and(|least_ms| ms >= least_ms) && self.notes.len() < LONG_VISITS_MAX {
            let line = format!("Hop ({name}) ran for {ms} ms on shard {}", self.id.0);
            self.note(LogLevel::Notice, line);
        }
    }

    pub(crate) fn log_slow(&mut self, id: SessionId, us: u64, args: Vec<u8>) {
        let Some(session) = self.sessions.get(id) else { return };
        let request = SlowRequest {
            number: self.slowlog.next_number(self.id.0, self.routes.shard_count()),
            at_s: self.now.unix_ms / 1000,
            logged_at_us: self.now.monotonic_us,
            us,
            args,
            address: session.peer.address(),
            client_name: session.name.clone(),
        };
        self.slowlog.add(request, self.config.slowlog_max_len);
    }

    /// A session's call that was counted took so long.
    #[cold]
    pub(crate) fn settle_call(
        &mut self,
        id: SessionId,
        command: &Command,
        (slot, args): (Option<SlotId>, &[&[u8]]),
        ns: u64,
    ) {
        if self.took(command, slot, ns) {
            self.log_slow(id, ns / 1000, logged_args(command, args));
        }
    }

    /// The commands of a transaction have run: counts them, each under its own name. `untimed` are those whose
    /// time was not taken.
    pub(crate) fn count_calls<'a>(
        &mut self,
        id: SessionId,
        untimed: &[u16],
        parts: impl Iterator<Item = &'a mut Replies>,
    ) {
        untimed.iter().for_each(|number| _ = self.command_stats.count(*number));
        for replies in parts {
            replies.failed.drain(..).for_each(|number| self.command_stats.failed(number));
            for TimedCall { command, ns, is_counted, args } in replies.timed.drain(..) {
                if is_counted {
                    self.command_stats.count(command.number);
                }
                // A command that was taken apart is logged once, with the keys of its first part.
                if self.took(command, None, ns) && is_counted && !args.is_empty() {
                    self.log_slow(id, ns / 1000, args);
                }
            }
        }
    }

    /// A call is over; its time, if it was taken, is counted next.
    pub(crate) fn end_call(&mut self, command: &Command, failed: bool) {
        self.command_stats.count(command.number);
        if failed {
            self.command_stats.failed(command.number);
        }
    }
}
