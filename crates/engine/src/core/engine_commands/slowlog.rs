//! EngineCommands of SLOWLOG. Each shard keeps the slow requests of its own sessions; here they become one log.

use basalt_commands::Outcome;
use basalt_commands::requests::parse_slowlog_get;

use super::data::everywhere_ok;
use super::{encode, everywhere, settings};
use crate::core::Core;
use crate::session::SessionId;

pub(super) fn get(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let wanted = parse_slowlog_get(args)?;
    let count = wanted.min(len_max(core));
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let logs = everywhere(&hops, &routes, move |shard| shard.slowlog.newest(count)).await;
        let mut requests: Vec<_> = logs.into_iter().flatten().collect();
        requests.sort_by_key(|request| std::cmp::Reverse((request.logged_at_us, request.number)));
        requests.truncate(count);
        encode(protocol, |reply| {
            reply.array(requests.len());
            for request in &requests {
                reply.array(6);
                for number in [request.number, request.at_s, request.us] {
                    reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
                }
                reply.raw(&request.args);
                reply.bulk(request.address.as_bytes());
                reply.bulk(&request.client_name);
            }
        })
    });
    Ok(())
}

pub(super) fn len(core: &mut Core, id: SessionId) -> Outcome {
    let len_max = len_max(core);
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let lens = everywhere(&hops, &routes, |shard| shard.slowlog.len()).await;
        let len = lens.into_iter().sum::<usize>().min(len_max);
        encode(protocol, |reply| reply.integer(len as i64))
    });
    Ok(())
}

pub(super) fn reset(core: &mut Core, id: SessionId) -> Outcome {
    everywhere_ok(core, id, |shard| shard.slowlog.reset());
    Ok(())
}

fn len_max(core: &Core) -> usize {
    usize::try_from(core.shard.config.slowlog_max_len).unwrap_or(usize::MAX)
}
