//! Engine commands of tracking: CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR.

use basalt_commands::requests::{parse_client_caching, parse_client_tracking};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{ClientId, ShardId};

use super::{encode, everywhere, session, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::session::tracking::Tracking;
use crate::shard::Shard;
use crate::shard::pubsub::invalidation::client_of;

const NO_CLIENT: &str = "ERR The client ID you want redirect to does not exist";

/// Whether a prefix of the request overlaps with one that the session has.
fn overlap(own: &Tracking, prefixes: &[Vec<u8>]) -> Option<CommandError> {
    for prefix in prefixes {
        for other in &own.prefixes {
            if prefix.starts_with(other) || other.starts_with(prefix) {
                let before =
                    [b"ERR Prefix '", &prefix[..], b"' overlaps with an existing prefix '"];
                let after = b"'. Prefixes for a single client must not overlap.";
                return Some(CommandError::new([&before.concat(), &other[..], after].concat()));
            }
        }
    }
    None
}

pub(super) fn tracking(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_client_tracking(args)?;
    if !request.on {
        core.set_tracking(id, None);
        core.answer(id, |reply| reply.ok());
        return Ok(());
    }
    let own = session(core, id).tracking.as_deref().cloned();
    if let Some(own) = &own {
        if own.broadcast != request.broadcast {
            return Err(CommandError::text(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and \
                 then re-enabling it with a different mode.",
            ));
        }
        if (own.opt_in && request.opt_out) || (own.opt_out && request.opt_in) {
            return Err(CommandError::text(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
                 then re-enabling it with a different mode.",
            ));
        }
    }
    let mut added: Vec<Vec<u8>> = request.prefixes.iter().map(|prefix| prefix.to_vec()).collect();
    if request.broadcast
        && added.is_empty()
        && own.as_ref().is_none_or(|own| own.prefixes.is_empty())
    {
        // All keys.
        added.push(Vec::new());
    }
    if let Some(error) = own.as_ref().and_then(|own| overlap(own, &added)) {
        return Err(error);
    }
    let mut next = own.unwrap_or_default();
    next.broadcast = request.broadcast;
    next.opt_in = request.opt_in;
    next.opt_out = request.opt_out;
    next.no_loop = request.no_loop;
    next.is_redirect_broken = false;
    next.prefixes.extend(added.iter().cloned());
    let redirect = request.redirect.filter(|number| *number != 0);
    let (_, protocol) = settings(core, id);
    let (routes, here) = (core.shard.routes.clone(), core.shard.id);
    let client = client_of(here, id);
    let begins = session(core, id).tracking.is_none();
    core.coordinate(id, |hops| async move {
        next.redirect = None;
        if let Some(number) = redirect {
            let number = u64::try_from(number).unwrap_or(0);
            let found = everywhere(&hops, &routes, move |shard| find(shard, number)).await;
            let Some(target) = found.into_iter().flatten().next() else {
                return encode(protocol, |reply| reply.error(NO_CLIENT));
            };
            next.redirect = Some((target, number));
        }
        everywhere(&hops, &routes, move |shard| {
            if begins {
                shard.count_trackers(true);
            }
            shard.add_prefixes(client, &added);
        })
        .await;
        let is_there = hops.on(here, move |shard| shard.begin_tracking(id, next)).await;
        if !is_there {
            everywhere(&hops, &routes, move |shard| {
                if begins {
                    shard.count_trackers(false);
                }
                shard.remove_prefixes(client);
            })
            .await;
        }
        encode(protocol, |reply| reply.ok())
    });
    Ok(())
}

/// The session with this CLIENT ID.
fn find(shard: &mut Shard, number: u64) -> Option<ClientId> {
    let mine = (number.wrapping_sub(1) % shard.routes.shard_count() as u64) as u16;
    if number == 0 || ShardId(mine) != shard.id {
        return None;
    }
    let found = shard.sessions.iter().find(|session| session.number == number)?;
    Some(client_of(shard.id, found.id))
}

pub(super) fn caching(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let Some(own) = session(core, id).tracking.as_mut().filter(|own| own.opt_in || own.opt_out)
    else {
        return Err(CommandError::text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
             OPTOUT mode enabled",
        ));
    };
    let is_yes = parse_client_caching(args)?;
    if is_yes && !own.opt_in {
        return Err(CommandError::text(
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ));
    }
    if !is_yes && !own.opt_out {
        return Err(CommandError::text(
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ));
    }
    own.caching = true;
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn getredir(core: &mut Core, id: SessionId) -> Outcome {
    let redirect = redirect_of(session(core, id).tracking.as_deref());
    core.answer(id, |reply| reply.integer(redirect));
    Ok(())
}

/// The CLIENT ID that messages go to: 0 for the session itself, -1 where it does not track.
pub(super) fn redirect_of(tracking: Option<&Tracking>) -> i64 {
    tracking.map_or(-1, |own| own.redirect.map_or(0, |(_, number)| number as i64))
}

pub(super) fn trackinginfo(core: &mut Core, id: SessionId) -> Outcome {
    let own = session(core, id).tracking.as_deref().cloned();
    let redirect = redirect_of(own.as_ref());
    let is_on = own.is_some();
    let own = own.unwrap_or_default();
    let flags = [
        (!is_on, "off"),
        (is_on, "on"),
        (own.broadcast, "bcast"),
        (own.opt_in, "optin"),
        (own.opt_in && own.caching, "caching-yes"),
        (own.opt_out, "optout"),
        (own.opt_out && own.caching, "caching-no"),
        (own.no_loop, "noloop"),
        (own.is_redirect_broken, "broken_redirect"),
    ];
    let flags: Vec<&str> =
        flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
    core.answer(id, |reply| {
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
        reply.bulk(b"redirect");
        reply.integer(redirect);
        reply.bulk(b"prefixes");
        reply.array(own.prefixes.len());
        own.prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    });
    Ok(())
}
