//! Ask: how a thread that is no shard learns what the shards know.
//!
//! An ask goes into the shard's letter box and its eventfd is rung. The shard answers between two turns, so
//! nothing that it counts needs a lock or an atomic, and nobody who does not ask costs it anything.
//!
//! LIMIT: a letter box holds [`ASKS_MAX`] asks; where it is full, the shard counts as not answering.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TryRecvError};
use std::time::Duration;

use basalt_engine::ShardSnapshot;

use crate::clock::Clock;
use crate::limits::ASKS_MAX;
use crate::loop_stats::LoopStats;
use crate::node::Node;

/// How long shards have to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What is wanted of a shard, and where.
pub(crate) struct Ask {
    wants_report: bool,
    to: Sender<(usize, Option<Arc<Report>>)>,
}

/// What one shard knows of itself, on both sides of the engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) engine: ShardSnapshot,
    pub(crate) core: LoopStats,
}

/// A shard's end.
pub(crate) struct Mailbox(Receiver<Ask>);

/// The end of those who ask.
pub(crate) struct Askers {
    boxes: Vec<SyncSender<Ask>>,
}

/// A letter box for each shard.
pub(crate) fn mailboxes(shard_count: usize) -> (Askers, Vec<Mailbox>) {
    let both = (0..shard_count).map(|_| {
        let (ask, asked) = mpsc::sync_channel(ASKS_MAX);
        (ask, Mailbox(asked))
    });
    let (boxes, mailboxes) = both.unzip();
    (Askers { boxes }, mailboxes)
}

impl Mailbox {
    /// Answers all who asked; the report is made once, if somebody wants one.
    pub(crate) fn answer(&self, shard: usize, report: impl FnOnce() -> Report) {
        let mut make = Some(report);
        let mut made = None;
        loop {
            match self.0.try_recv() {
                Ok(Ask { wants_report, to }) => {
                    if wants_report && let Some(make) = make.take() {
                        made = Some(Arc::new(make()));
                    }
                    // Who asked may have lost patience.
                    let _ = to.send((shard, made.clone().filter(|_| wants_report)));
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }
}

impl Askers {
    /// What each shard reports, as far as it does in time.
    pub(super) fn reports(&self, node: &Node) -> Vec<Option<Arc<Report>>> {
        self.ask(node, true).into_iter().map(Option::flatten).collect()
    }

    /// Whether each shard answers in time.
    pub(super) fn pulse(&self, node: &Node) -> Vec<bool> {
        self.ask(node, false).iter().map(Option::is_some).collect()
    }

    fn ask(&self, node: &Node, wants_report: bool) -> Vec<Option<Option<Arc<Report>>>> {
        let (to, answers) = mpsc::channel();
        for (shard, mailbox) in self.boxes.iter().enumerate() {
            let ask = Ask { wants_report, to: to.clone() };
            if mailbox.try_send(ask).is_ok() {
                node.wake(shard);
            }
        }
        // So that the wait is over when all have answered.
        drop(to);
        let clock = Clock::since(node.started);
        let end_us = clock.monotonic_us() + ANSWER_WITHIN.as_micros() as u64;
        let mut found: Vec<_> = self.boxes.iter().map(|_| None).collect();
        loop {
            let left_us = end_us.saturating_sub(clock.monotonic_us());
            match answers.recv_timeout(Duration::from_micros(left_us)) {
                Ok((shard, report)) => found[shard] = Some(report),
                Err(_) => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Statistics;

    #[test]
    fn who_does_not_answer_is_not_waited_for_for_ever() {
        let node = Node::new(Statistics::default(), 2).unwrap();
        let (askers, boxes) = mailboxes(2);
        let mut made = 0;
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| askers.reports(&node));
            // The first shard answers as soon as it is asked, the second never does.
            while made == 0 {
                boxes[0].answer(0, || {
                    made += 1;
                    Report::default()
                });
            }
            let reports = asking.join().unwrap();
            assert!(reports[0].is_some() && reports[1].is_none());
        });
    }

    #[test]
    fn a_full_mailbox_takes_no_more() {
        let node = Node::new(Statistics::default(), 1).unwrap();
        let (askers, boxes) = mailboxes(1);
        let (to, answers) = mpsc::channel();
        for _ in 0..ASKS_MAX {
            let ask = Ask { wants_report: true, to: to.clone() };
            assert!(askers.boxes[0].try_send(ask).is_ok());
        }
        assert_eq!(askers.pulse(&node), [false]);
        let mut made = 0;
        boxes[0].answer(0, || {
            made += 1;
            Report::default()
        });
        assert_eq!((answers.try_iter().count(), made), (ASKS_MAX, 1));
    }

    #[test]
    fn a_shard_that_is_gone_does_not_answer() {
        let node = Node::new(Statistics::default(), 1).unwrap();
        let (askers, boxes) = mailboxes(1);
        drop(boxes);
        assert_eq!(askers.pulse(&node), [false]);
    }
}
