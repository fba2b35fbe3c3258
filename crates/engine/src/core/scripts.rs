//! Scripts: those that are paused go on, a slice a turn; those that take long have others answered -BUSY.

use basalt_commands::config::LogLevel;
use basalt_keyspace::ShardId;
use basalt_resp::Reply;

use super::Core;
use crate::mesh::message::Notification;
use crate::shard::scripting::{BusyScript, Ran};

impl Core {
    /// Goes on with the script that is paused here. Returns whether it is to go on in the next turn.
    pub(super) fn go_on_with_script(&mut self) -> bool {
        let Some((settings, ran)) = self.shard.go_on_with_script() else { return false };
        let (home, ticket) = (settings.client.home, Some(settings.ticket));
        match ran {
            Ran::Paused => self.look_whether_busy(),
            Ran::Asks(_) => self.tell(home, ticket, Box::new(ran)),
            Ran::Whole(_) | Ran::Wide => {
                self.end_busy();
                if settings.holds_all {
                    self.tell(home, ticket, Box::new(ran));
                } else {
                    self.leave(settings.number, None);
                    self.tell_when_served(home, ticket, (Box::new(ran), true));
                }
            }
        }
        self.settle();
        self.shard.scripting.may_go_on()
    }

    /// Has others know of a script that just became busy, and answers who waits for it.
    fn look_whether_busy(&mut self) {
        let (here, now_us) = (self.shard.id, self.shard.now.monotonic_us);
        let threshold_ms = self.shard.config.busy_reply_threshold;
        let turned = self.shard.scripting.turns_busy((here, now_us, threshold_ms));
        let Some((busy, ran_ms)) = turned else { return };
        let kind = if busy.is_function { "FUNCTION" } else { "SCRIPT" };
        let name = self.shard.scripting.running_name().to_owned();
        self.shard.note(
            LogLevel::Warning,
            format!(
                "Slow script detected: still in execution after {ran_ms} milliseconds. You can try killing the \
                 script using the {kind} KILL command. Script name is: {name}."
            ),
        );
        self.tell_of_busy(Some(busy));
    }

    fn end_busy(&mut self) {
        let here = self.shard.id;
        if self.shard.scripting.busy().iter().any(|busy| busy.home == here) {
            self.tell_of_busy(None);
        }
    }

    fn tell_of_busy(&mut self, busy: Option<BusyScript>) {
        let here = self.shard.id;
        for to in self.shard.routes.shards() {
            if to == here {
                self.hear_of_busy(here, busy);
            } else {
                self.notify(to, Notification::Busy(busy));
            }
        }
    }

    /// A core's script became busy, or is so no more.
    pub(super) fn hear_of_busy(&mut self, home: ShardId, busy: Option<BusyScript>) {
        self.shard.note_busy(home, busy);
        let Some(error) = self.shard.busy_refusal() else { return };
        for number in self.held.numbers() {
            let Some(held) = self.held.granted(number) else { continue };
            self.shard.intents.release(number);
            let request = held.request;
            let mut answer = Vec::new();
            let reply = Reply::new(&mut answer, request.protocol);
            self.shard.refuse_request_of_other(request.command, &error, reply);
            let (session, hole) = (request.session, request.hole);
            self.notify(held.from, Notification::Reply { session, hole, reply: answer });
        }
    }
}
