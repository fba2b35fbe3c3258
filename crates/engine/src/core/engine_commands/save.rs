//! SAVE, BGSAVE, LASTSAVE and SHUTDOWN.

use std::future::poll_fn;
use std::task::Poll;

use basalt_commands::config::LogLevel;
use basalt_commands::requests::{self, BgSaveRequest, parse_bgsave, parse_shutdown};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::ShardId;

use super::{encode, session, settings};
use crate::completion::Ticket;
use crate::core::Core;
use crate::saving::{SAVING_SHARD, SaveEnd, SaveWait, ShutdownRequest};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::coordinator::Hops;
use crate::world::World;

const IN_PROGRESS: &str = "ERR Background save already in progress";

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
    poll_fn(|_| hops.take_at(index).map_or(Poll::Pending, Poll::Ready)).await
}

/// Asks the first shard for a save; `None` while one is running.
async fn asked(hops: &Hops) -> Option<u64> {
    let ask = |shard: &mut Shard| shard.saving.record.begin(shard.now.monotonic_us);
    hops.on(SAVING_SHARD, ask).await
}

/// SAVE: answered once all is on the disk; other clients go on meanwhile.
pub(super) fn save(core: &mut Core, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    let me = (core.shard.id, core.next_coordination());
    core.coordinate(id, |hops| async move {
        let Some(number) = asked(&hops).await else {
            return encode(protocol, |reply| reply.error(IN_PROGRESS));
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
            let was_running = hops.on(SAVING_SHARD, Shard::cancel_save).await;
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
                let record = &mut shard.saving.record;
                let is_new = record.running.is_none();
                if is_new {
                    record.begin(shard.now.monotonic_us);
                }
                is_new
            };
            let is_new = hops.on(SAVING_SHARD, schedule).await;
            return encode(protocol, |reply| match is_new {
                true => reply.simple("Background saving scheduled"),
                false => reply.error(IN_PROGRESS),
            });
        }
        let Some(number) = asked(&hops).await else {
            return encode(protocol, |reply| reply.error(IN_PROGRESS));
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
        let saves = request.save.unwrap_or(!self.shard.config.save.0.is_empty());
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
                    let running = shard.saving.record.running.map(|running| running.number);
                    shard.cancel_save();
                    running
                };
                if let Some(number) = hops.on(SAVING_SHARD, cancel).await {
                    awaited(&hops, me, number, true).await;
                    continue;
                }
                if let Some(number) = asked(&hops).await {
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
