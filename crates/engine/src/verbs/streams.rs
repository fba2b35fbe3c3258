//! XREAD and XREADGROUP: what is new in streams, wherever they are.

use basalt_commands::Outcome;
use basalt_commands::requests::{apply_part, look, parse_read};
use basalt_resp::{Protocol, Reply};

use super::settings;
use crate::core::Core;
use crate::session::SessionId;

/// XREAD, and XREADGROUP with `is_group`.
pub(super) fn read(core: &mut Core, id: SessionId, args: &[&[u8]], is_group: bool) -> Outcome {
    let (database, protocol) = settings(core, id);
    let request = parse_read(args, is_group)?;
    let keys = &args[request.keys.clone()];
    let ids: Vec<Vec<u8>> = args[request.keys.end..].iter().map(|text| text.to_vec()).collect();
    let declared = keys.iter().enumerate();
    let declared = declared.map(|(index, key)| core.declare(index, database, key, is_group));
    let declared = declared.collect();
    let looked_for = request.clone();
    core.transact(
        id,
        declared,
        move |shard, key| {
            look(key.peek(shard).as_deref(), &key.bytes, &ids[key.index], &looked_for, protocol)
        },
        move |found, decision| {
            let found: Vec<_> = found.into_iter().collect::<Result<_, _>>()?;
            let answers = found.iter().filter_map(|found| found.answer.as_ref());
            match answers.clone().count() {
                0 => decision.reply.null_array(),
                count => {
                    write_header(count, &mut decision.reply);
                    answers.for_each(|answer| decision.reply.raw(answer));
                }
            }
            for (index, found) in found.into_iter().enumerate() {
                let (Some(part), request) = (found.part, request.clone()) else { continue };
                decision.write(index, move |shard, key| {
                    apply_part(&mut shard.keyspace, key.database, &key.key(), &request, &part);
                });
            }
            Ok(())
        },
    );
    Ok(())
}

/// Pairs of keys and entries: in RESP2 an element for each, in RESP3 a map.
fn write_header(count: usize, reply: &mut Reply<'_>) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
}
