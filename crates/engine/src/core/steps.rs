//! Steps: commands of an EXEC within a transaction that holds what they touch.
//!
//! Calls need nothing of each other but their order on each shard, so those in a row go to their shards at once. A
//! command over keys of several shards reads behind them, and what comes after it runs behind its writes.

use std::sync::Arc;

use basalt_commands::{Command, Run};
use basalt_keyspace::ShardId;
use basalt_resp::append_reply;

use super::Core;
use super::many::{Request, run_inside};
use crate::completion::Answer;
use crate::input::keys::DeclaredKey;
use crate::session::SessionId;
use crate::session::queued::Queued;
use crate::shard::Shard;
use crate::shard::call::{AtMoment, calls_of};
use crate::shard::part::{TxnPart, TxnParts};
use crate::slots::routes::Routes;
use crate::transaction::coordinator::{Awaited, Hops, all};
use crate::transaction::plan::Plan;

/// Commands that need nothing of their session any more.
pub(super) struct Steps {
    session: SessionId,
    home: ShardId,
    /// The moment (milliseconds since 1970) that the transaction takes for now.
    moment_ms: u64,
    routes: Arc<Routes>,
    steps: Vec<Step>,
}

enum Step {
    Calls(Plan, TxnParts),
    Many { request: Arc<Request>, keys: Vec<DeclaredKey>, is_timed: bool },
}

/// What a step gave, or is about to.
enum Outcome {
    Calls(Plan, Vec<Awaited<Box<TxnPart>>>),
    Many(Ended),
}

/// A command over several shards that is over.
struct Ended {
    command: &'static Command,
    answer: Answer,
    /// Nanoseconds, if its time was taken.
    ns: Option<u64>,
    /// For the slow log.
    args: Vec<u8>,
}

impl Core {
    /// Makes steps of commands that a session queued, none of which is an engine command.
    pub(super) fn steps(
        &mut self,
        id: SessionId,
        commands: &[Queued],
        moment_ms: u64,
    ) -> Option<Steps> {
        for queued in commands {
            if matches!(queued.run, Run::Many(_)) && !queued.is_calls(&self.shard.routes) {
                self.track_keys(id, queued.command, &queued.args());
            }
        }
        let session = self.shard.sessions.get(id)?;
        let mut steps: Vec<Step> = Vec::new();
        for queued in commands {
            if let Run::Many(many) = queued.run
                && !queued.is_calls(&self.shard.routes)
            {
                let row = (queued.command, many);
                let request = Request::new(&self.shard, session, row, &queued.args());
                let keys = match request.check() {
                    Ok(()) => request.declare_keys(&self.shard),
                    Err(_) => Vec::new(),
                };
                let is_timed = self.shard.command_stats.is_next_timed(queued.command.number);
                steps.push(Step::Many { request: Arc::new(request), keys, is_timed });
                continue;
            }
            if !matches!(steps.last(), Some(Step::Calls(..))) {
                steps.push(Step::Calls(Plan::new(session.protocol, true), TxnParts::default()));
            }
            if let Some(Step::Calls(plan, txn_parts)) = steps.last_mut() {
                let into = (txn_parts, &mut self.txn_part_pool);
                plan.add(queued, (&self.shard, session), into);
            }
        }
        let (home, routes) = (self.shard.id, Arc::clone(&self.shard.routes));
        Some(Steps { session: id, home, moment_ms, routes, steps })
    }
}

impl Steps {
    /// How many replies may come of them, as far as can be known: keys or calls, whichever are more.
    pub(super) fn weight(&self) -> usize {
        let weight = |step: &Step| match step {
            Step::Calls(_, txn_parts) => txn_parts.weight(),
            Step::Many { keys, .. } => keys.len().max(1),
        };
        self.steps.iter().map(weight).sum()
    }

    /// Runs them inside what is held. Returns their replies, one behind the other.
    pub(super) async fn run(self, hops: &Hops) -> Answer {
        let Self { session, home, moment_ms, routes, steps } = self;
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            outcomes.push(match step {
                Step::Calls(plan, txn_parts) => {
                    let parts = txn_parts.0.into_iter();
                    let parts =
                        parts.map(|(shard, txn_part)| (shard, run_part(txn_part, moment_ms, home)));
                    Outcome::Calls(plan, hops.begin_each(parts))
                }
                Step::Many { request, keys, is_timed } => {
                    Outcome::Many(run_many(hops, home, (request, keys, &routes), is_timed).await)
                }
            });
        }
        let (mut answer, mut counts) = (Vec::new(), Vec::<Count>::new());
        for outcome in outcomes {
            match outcome {
                Outcome::Calls(plan, ran) => {
                    let mut parts = all(ran).await;
                    let replies: Vec<_> = parts.iter().map(|part| &part.replies).collect();
                    plan.write_each(&replies, &mut answer);
                    counts.push(Box::new(move |shard| {
                        let parts = parts.iter_mut().map(|part| &mut part.replies);
                        shard.count_calls(session, plan.untimed(), parts);
                    }));
                }
                Outcome::Many(ended) => {
                    append_reply(&mut answer, &ended.answer);
                    counts.push(Box::new(move |shard| ended.count(session, shard)));
                }
            }
        }
        hops.on(home, |shard| counts.into_iter().for_each(|count| count(shard))).await;
        answer
    }
}

/// Counts what ran, at home.
type Count = Box<dyn FnOnce(&mut Shard) + Send>;

/// Runs calls on their shard, as a part of the transaction that the hop belongs to.
fn run_part(
    mut txn_part: Box<TxnPart>,
    moment_ms: u64,
    home: ShardId,
) -> impl FnOnce(&mut Shard) -> Box<TxnPart> + Send + 'static {
    move |shard| {
        let tag = shard.keyspace.origin().transaction.expect("an EXEC of steps holds its keys");
        txn_part.transaction = Some(AtMoment { tag, moment_ms });
        txn_part.step(shard);
        if home != shard.id {
            shard.stats.commands_from_others += txn_part.call_count() as u64;
        }
        txn_part
    }
}

async fn run_many(
    hops: &Hops,
    home: ShardId,
    (request, keys, routes): (Arc<Request>, Vec<DeclaredKey>, &Routes),
    is_timed: bool,
) -> Ended {
    let command = request.command;
    let clock_ns = |shard: &mut Shard| (shard.stopwatch)();
    let begun_ns = if is_timed { Some(hops.on(home, clock_ns).await) } else { None };
    let answer = run_inside(hops, &request, keys, routes).await;
    let Some(begun_ns) = begun_ns else {
        return Ended { command, answer, ns: None, args: Vec::new() };
    };
    let reply_bytes = answer.len();
    let ended = move |shard: &mut Shard| {
        let ns = (shard.stopwatch)().saturating_sub(begun_ns);
        let args = if shard.is_slow(command, ns) { request.logged_args() } else { Vec::new() };
        if shard.hot_keys.is_measuring() {
            calls_of!(shard).note_cost(&request.measured(), ns, reply_bytes);
        }
        (ns, args)
    };
    let (ns, args) = hops.on(home, ended).await;
    Ended { command, answer, ns: Some(ns), args }
}

impl Ended {
    fn count(self, session: SessionId, shard: &mut Shard) {
        let error = self.answer.strip_prefix(b"-");
        if let Some(text) = error {
            shard.stats.count_error(text.trim_ascii_end());
        }
        shard.end_call(self.command, error.is_some());
        if let Some(ns) = self.ns
            && shard.took(self.command, None, ns)
            && !self.args.is_empty()
        {
            shard.log_slow(session, ns / 1000, self.args);
        }
    }
}
