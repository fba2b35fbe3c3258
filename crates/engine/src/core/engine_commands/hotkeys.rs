//! EngineCommands of HOTKEYS: each shard measures what its keys cost; here that becomes one list.
//!
//! All shards have the same session: what changes that holds everything.

use std::sync::Arc;

use basalt_commands::requests::parse_hotkeys_start;
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::SLOTS;
use basalt_resp::Reply;

use super::{encode, everywhere, settings};
use crate::core::Core;
use crate::intents::Mode;
use crate::observe::hot_keys::{HotKeysReport, HotKeysSession, HotKeysStart};
use crate::observe::top_keys::TopKey;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::world::World;

const IN_PROGRESS: CommandError =
    CommandError::text("ERR hotkey tracking session already in progress");
const NOT_STOPPED: CommandError =
    CommandError::text("ERR hotkey tracking session in progress, stop tracking first");

pub(super) fn start(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    args: &[&[u8]],
) -> Outcome {
    if is_running(&mut core.shard) {
        return Err(IN_PROGRESS);
    }
    let request = Arc::new(parse_hotkeys_start(args)?);
    let (process, now_ms) = (world.process(), core.shard.now.unix_ms);
    let cpu_s = (process.cpu_user_s, process.cpu_system_s);
    let start = HotKeysStart { request, now_ms, cpu_s, seed: world.random() };
    let change = move |shard: &mut Shard| {
        shard.hot_keys.session = Some(Box::new(HotKeysSession::new(start)));
        shard.command_stats.measure(true);
    };
    change_where(core, id, false, change, |reply, is_done| match is_done {
        true => reply.ok(),
        false => reply.error_bytes(IN_PROGRESS.as_bytes()),
    })
}

pub(super) fn stop(core: &mut Core, id: SessionId) -> Outcome {
    let change = |shard: &mut Shard| {
        if let Some(session) = &mut shard.hot_keys.session {
            session.stop(shard.now.unix_ms);
        }
        shard.command_stats.measure(false);
    };
    change_where(core, id, true, change, |reply, is_done| match is_done {
        true => reply.ok(),
        false => reply.null(),
    })
}

pub(super) fn reset(core: &mut Core, id: SessionId) -> Outcome {
    let change = |shard: &mut Shard| {
        shard.hot_keys.session = None;
        shard.command_stats.measure(false);
    };
    change_where(core, id, false, change, |reply, is_done| match is_done {
        true => reply.ok(),
        false => reply.error_bytes(NOT_STOPPED.as_bytes()),
    })
}

/// Changes the session on all shards at one moment, if it runs or not as is wanted, and answers with whether that was
/// so.
fn change_where(
    core: &mut Core,
    id: SessionId,
    wanted: bool,
    change: impl FnOnce(&mut Shard) + Clone + Send + 'static,
    answer: fn(&mut Reply<'_>, bool),
) -> Outcome {
    let (_, protocol) = settings(core, id);
    let routes = Arc::clone(&core.shard.routes);
    core.coordinate(id, |hops| async move {
        let found = hops.hold_everything(&routes, Mode::Write, is_running).await;
        // By the clock of the first shard.
        let is_done = found.first() == Some(&wanted);
        if is_done {
            hops.release_with(routes.shards().map(|shard| (shard, change.clone()))).await;
        } else {
            hops.release_all();
        }
        encode(protocol, |reply| answer(reply, is_done))
    });
    Ok(())
}

fn is_running(shard: &mut Shard) -> bool {
    let now_ms = shard.now.unix_ms;
    shard.hot_keys.session.as_mut().is_some_and(|session| session.is_running(now_ms))
}

pub(super) fn get(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    let routes = Arc::clone(&core.shard.routes);
    let (process, now_ms) = (world.process(), core.shard.now.unix_ms);
    core.coordinate(id, |hops| async move {
        let report = move |shard: &mut Shard| {
            shard.hot_keys.session.as_mut().map(|session| session.report(now_ms))
        };
        let mut reports = everywhere(&hops, &routes, report).await.into_iter().flatten();
        let whole = reports.next().map(|first| {
            reports.fold(first, |mut all, more| {
                all.absorb(more);
                all
            })
        });
        encode(protocol, |reply| match &whole {
            Some(report) => {
                let (user_s, system_s) = report.start.cpu_s;
                let ms = |now_s: f64, then_s: f64| ((now_s - then_s) * 1000.0).max(0.0) as i64;
                let cpu_ms = (ms(process.cpu_user_s, user_s), ms(process.cpu_system_s, system_s));
                write(reply, report, cpu_ms);
            }
            None => reply.null(),
        })
    });
    Ok(())
}

/// Writes a map in an array, as Redis does; `cpu_ms` is of the process since the start, in user and in kernel mode.
fn write(reply: &mut Reply<'_>, report: &HotKeysReport, cpu_ms: (i64, i64)) {
    let request = &report.start.request;
    let [all, chosen, picked] = &report.costs;
    let (has_slots, has_sample) = (!request.slots.is_empty(), request.sample_ratio > 1);
    let us = |ns: u64| ns.div_ceil(1000) as i64;
    reply.array(1);
    let fields = reply.deferred_array();
    let mut count = 0;
    let mut add = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(value);
        count += 1;
    };
    add(reply, "tracking-active", i64::from(report.is_running));
    add(reply, "sample-ratio", i64::from(request.sample_ratio));
    reply.bulk(b"selected-slots");
    write_ranges(reply, &request.slots);
    if has_slots && has_sample {
        add(reply, "sampled-commands-selected-slots-us", us(picked.ns));
    }
    if has_slots {
        add(reply, "all-commands-selected-slots-us", us(chosen.ns));
    }
    add(reply, "all-commands-all-slots-us", us(all.ns));
    if has_slots && has_sample {
        add(reply, "net-bytes-sampled-commands-selected-slots", picked.bytes as i64);
    }
    if has_slots {
        add(reply, "net-bytes-all-commands-selected-slots", chosen.bytes as i64);
    }
    add(reply, "net-bytes-all-commands-all-slots", all.bytes as i64);
    add(reply, "collection-start-time-unix-ms", report.start.now_ms as i64);
    add(reply, "collection-duration-ms", report.duration_ms as i64);
    if request.cpu {
        add(reply, "total-cpu-time-user-ms", cpu_ms.0);
        add(reply, "total-cpu-time-sys-ms", cpu_ms.1);
    }
    if request.net {
        add(reply, "total-net-bytes", report.total_bytes as i64);
    }
    // The slots.
    count += 1;
    if request.cpu {
        reply.bulk(b"by-cpu-time-us");
        write_keys(reply, &report.by_time, request.count, us);
        count += 1;
    }
    if request.net {
        reply.bulk(b"by-net-bytes");
        write_keys(reply, &report.by_bytes, request.count, |bytes| bytes as i64);
        count += 1;
    }
    reply.finish_map(fields, count);
}

/// Names and sums in turn.
fn write_keys(reply: &mut Reply<'_>, keys: &[TopKey], count: usize, unit: fn(u64) -> i64) {
    let keys = &keys[..keys.len().min(count)];
    reply.array(keys.len() * 2);
    for key in keys {
        reply.bulk(&key.name);
        reply.integer(unit(key.sum));
    }
}

/// Slots in order as ranges: first and last, or one alone. None are all.
fn write_ranges(reply: &mut Reply<'_>, slots: &[u16]) {
    let all = [0, SLOTS as u16 - 1];
    let ranges: Vec<[u16; 2]> = match slots {
        [] => vec![all],
        _ => slots
            .chunk_by(|one, next| one + 1 == *next)
            .map(|range| [range[0], range[range.len() - 1]])
            .collect(),
    };
    reply.array(ranges.len());
    for [first, last] in ranges {
        reply.array(if first == last { 1 } else { 2 });
        reply.integer(i64::from(first));
        if first != last {
            reply.integer(i64::from(last));
        }
    }
}
