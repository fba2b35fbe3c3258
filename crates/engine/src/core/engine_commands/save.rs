//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE and SHUTDOWN.

use std::future::poll_fn;
use std::task::Poll;

use basalt_commands::config::LogLevel;
use basalt_commands::requests::{self, BgSaveRequest, parse_bgsave, parse_shutdown};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::ShardId;

use super::{encode, session, settings};
use crate::completion::Ticket;
use crate::core::Core;
use crate::saving::{SAVING_SHARD, SaveEnd, SaveKind, SaveWait, ShutdownRequest};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::coordinator::Hops;
use crate::world::World;

const IN_PROGRESS: &str = "ERR Background save already in progress";
const REWRITE_IN_PROGRESS: &str = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a \
     BGSAVE whenever possible.";

pub(super) fn lastsave(core: &mut Core, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    core.coordinate(id, |hops| async move {
        let saved_s = hops.on(SAVING_SHARD, |shard| shard.saving.record.last_saved_s).await;
        encode(protocol, |reply| reply.integer(saved_s as i64))
    });
    Ok(())
}

/// Waits until a save has begun, or ended.
pub(super) async fn awaited(
    hops: &Hops,
    (home, coordination): (ShardId, u64),
    number: u64,
    until_end: bool,
) -> SaveEnd {
    let index = hops.place();
    let ticket = Ticket { coordination, index };
    let wait = SaveWait { number, ticket, until_end };
    hops.on(home, move |shard| shard.saving.waits.push(wait)).await;
    let end = poll_fn(|_| hops.take_at(index).map_or(Poll::Pending, Poll::Ready)).await;
    // The first shard keeps the books: what INFO shows next must be true.
    let is_running = move |shard: &mut Shard| {
        shard.saving.record.running.is_some_and(|running| running.number == number)
    };
    while until_end && hops.on(SAVING_SHARD, is_running).await {}
    end
}

/// Asks the first shard for a save, which is one in the background or has its error replied.
///
/// # Errors
/// What is running instead, and its number.
async fn asked(hops: &Hops, is_background: bool) -> Result<u64, (SaveKind, u64)> {
    let ask = move |shard: &mut Shard| {
        let record = &mut shard.saving.record;
        if let Some(running) = record.running {
            return Err((running.kind, running.number));
        }
        let number = record.begin(SaveKind::Snapshot, shard.now.monotonic_us);
        if let Some(running) = &mut record.running {
            running.is_background = is_background;
        }
        Ok(number.expect("none is running"))
    };
    hops.on(SAVING_SHARD, ask).await
}

/// SAVE: answered once all is on the disk; other clients go on meanwhile.
pub(super) fn save(core: &mut Core, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    let me = (core.shard.id, core.next_coordination());
    core.coordinate(id, |hops| async move {
        let number = loop {
            match asked(&hops, false).await {
                Ok(number) => break number,
                Err((SaveKind::Snapshot, _)) => {
                    return encode(protocol, |reply| reply.error(IN_PROGRESS));
                }
                // One walk at a time.
                Err((SaveKind::Rewrite, number)) => {
                    awaited(&hops, me, number, true).await;
                }
            }
        };
        match awaited(&hops, me, number, true).await {
            SaveEnd::Saved => encode(protocol, |reply| reply.ok()),
            SaveEnd::Failed(error) => {
                encode(protocol, |reply| reply.error(&format!("ERR the save failed: {error}")))
            }
            SaveEnd::Cancelled => {
                encode(protocol, |reply| reply.error("ERR the save was cancelled"))
            }
        }
    });
    Ok(())
}

/// BGSAVE: answered once the moment is fixed that is saved.
pub(super) fn bgsave(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_bgsave(args)?;
    let (_, protocol) = settings(core, id);
    let me = (core.shard.id, core.next_coordination());
    core.coordinate(id, |hops| async move {
        if request == BgSaveRequest::Cancel {
            let cancel = |shard: &mut Shard| {
                let was_scheduled = std::mem::take(&mut shard.saving.record.is_scheduled);
                let runs = shard.saving.record.runs(SaveKind::Snapshot);
                runs && shard.cancel_save() || was_scheduled
            };
            let was_running = hops.on(SAVING_SHARD, cancel).await;
            return encode(protocol, |reply| match was_running {
                true => reply.simple("Background saving cancelled"),
                false => {
                    reply.error("ERR Background saving is currently not in progress or scheduled");
                }
            });
        }
        if hops.is_inside() {
            // Its moment is behind the transaction.
            let schedule = |shard: &mut Shard| {
                let now_us = shard.now.monotonic_us;
                let record = &mut shard.saving.record;
                record.is_scheduled |= record.runs(SaveKind::Rewrite);
                record.is_scheduled || record.begin(SaveKind::Snapshot, now_us).is_some()
            };
            let is_new = hops.on(SAVING_SHARD, schedule).await;
            return encode(protocol, |reply| match is_new {
                true => reply.simple("Background saving scheduled"),
                false => reply.error(IN_PROGRESS),
            });
        }
        let number = match asked(&hops, true).await {
            Ok(number) => number,
            Err((SaveKind::Rewrite, _)) if request == BgSaveRequest::Schedule => {
                hops.on(SAVING_SHARD, |shard| shard.saving.record.is_scheduled = true).await;
                return encode(protocol, |reply| reply.simple("Background saving scheduled"));
            }
            Err((kind, _)) => {
                return encode(protocol, |reply| match kind {
                    SaveKind::Snapshot => reply.error(IN_PROGRESS),
                    SaveKind::Rewrite => reply.error(REWRITE_IN_PROGRESS),
                });
            }
        };
        match awaited(&hops, me, number, false).await {
            SaveEnd::Failed(error) => {
                encode(protocol, |reply| reply.error(&format!("ERR the save failed: {error}")))
            }
            _ => encode(protocol, |reply| reply.simple("Background saving started")),
        }
    });
    Ok(())
}

/// BGREWRITEAOF: answered at once, as in Redis.
pub(super) fn bgrewriteaof(core: &mut Core, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    core.coordinate(id, |hops| async move {
        let is_inside = hops.is_inside();
        let ask = move |shard: &mut Shard| {
            let now_us = shard.now.monotonic_us;
            let record = &mut shard.saving.record;
            if record.runs(SaveKind::Rewrite) {
                return None;
            }
            shard.saving.record.rewrites.failures = 0;
            let has_begun = shard.saving.record.begin_rewrite(now_us);
            Some(has_begun && !is_inside)
        };
        let answer = match hops.on(SAVING_SHARD, ask).await {
            None => Err("ERR Background append only file rewriting already in progress"),
            Some(true) => Ok("Background append only file rewriting started"),
            Some(false) => Ok("Background append only file rewriting scheduled"),
        };
        encode(protocol, |reply| match answer {
            Ok(words) => reply.simple(words),
            Err(words) => reply.error(words),
        })
    });
    Ok(())
}

/// A shutdown is not answered: the connection ends with the process. One that is to save does so first; if that
/// fails the server goes on, unless FORCE has it end all the same.
pub(super) fn shutdown(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    args: &[&[u8]],
) -> Outcome {
    match parse_shutdown(args)? {
        requests::ShutdownRequest::End { save, now, force } => {
            // What a script that runs for long has half written is not to be saved.
            if save != Some(false)
                && let Some(busy) = core.shard.scripting.any_busy()
            {
                return Err(busy.refusal());
            }
            core.shut_down(id, ShutdownRequest { save, now, force });
        }
        requests::ShutdownRequest::Abort if world.abort_shutdown() => {
            core.answer(id, |reply| reply.ok());
        }
        requests::ShutdownRequest::Abort => {
            return Err(CommandError::text("ERR No shutdown in progress."));
        }
    }
    Ok(())
}

impl Core {
    /// Ends the process as SHUTDOWN does: with save points all is saved first, and if that fails the server goes on.
    pub fn stop(&mut self) {
        self.shut_down(SessionId::NOBODY, ShutdownRequest::default());
    }

    /// Saves, if that is wanted, and ends the process.
    pub(crate) fn shut_down(&mut self, id: SessionId, request: ShutdownRequest) {
        let is_wanted = request.save.unwrap_or(!self.shard.config.save.0.is_empty());
        // What is not wholly loaded must not take the place of what is.
        let saves = is_wanted && !self.shard.is_loading();
        if !saves {
            if id != SessionId::NOBODY {
                session(self, id).is_closing = true;
            }
            self.shard.saving.shuts_down = Some(request);
            return;
        }
        let protocol = self.shard.sessions.get(id).map(|session| session.protocol);
        let me = (self.shard.id, self.next_coordination());
        self.coordinate(id, |hops| async move {
            // One that is running began before: what came since is to be saved, too.
            let end = loop {
                let cancel = |shard: &mut Shard| {
                    let record = &mut shard.saving.record;
                    (record.is_scheduled, record.rewrites.is_scheduled) = (false, false);
                    let running = record.running.map(|running| running.number);
                    shard.cancel_save();
                    running
                };
                if let Some(number) = hops.on(SAVING_SHARD, cancel).await {
                    awaited(&hops, me, number, true).await;
                    continue;
                }
                if let Ok(number) = asked(&hops, false).await {
                    break awaited(&hops, me, number, true).await;
                }
            };
            let ends = end == SaveEnd::Saved || request.force;
            hops.on(me.0, move |shard| {
                if ends {
                    shard.saving.shuts_down = Some(request);
                } else {
                    let line = "Error trying to save the DB, can't exit.".to_owned();
                    shard.notes.push((LogLevel::Warning, line));
                }
            })
            .await;
            match protocol {
                Some(protocol) if !ends => encode(protocol, |reply| {
                    reply.error("ERR Errors trying to SHUTDOWN. Check logs.");
                }),
                _ => Vec::new(),
            }
        });
    }
}
