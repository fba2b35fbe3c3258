//! FUNCTION: libraries, which change on all shards at one moment.

use std::sync::Arc;

use basalt_commands::requests::{
    ListRequest, RestorePolicy, parse_function_flush, parse_function_list, parse_function_load,
    parse_function_restore,
};
use basalt_commands::{CommandError, Outcome, glob};
use basalt_keyspace::ShardId;
use basalt_resp::Reply;

use super::{encode, everywhere, settings};
use crate::core::Core;
use crate::intents::Mode;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::shard::libraries::{Libraries, Library, note_line};
use crate::shard::scripting::{BusyScript, Shown};

/// Changes the libraries: `decide` gets those that are there and gives others, or the error.
fn change(
    core: &mut Core,
    id: SessionId,
    decide: impl FnOnce(&Libraries) -> Result<Libraries, CommandError> + 'static,
    answer: impl FnOnce(&mut Reply<'_>) + 'static,
) {
    let (_, protocol) = settings(core, id);
    let routes = Arc::clone(&core.shard.routes);
    core.coordinate(id, |hops| async move {
        let look = |shard: &mut Shard| Arc::clone(&shard.scripting.libraries);
        let found = hops.hold_everything(&routes, Mode::Write, look).await;
        let libraries = match decide(&found[0]) {
            Ok(libraries) => Arc::new(libraries),
            Err(error) => {
                hops.release_all();
                return encode(protocol, |reply| reply.error_bytes(error.as_bytes()));
            }
        };
        let set = move |shard: &mut Shard| shard.change_libraries(&libraries);
        hops.release_with(routes.shards().map(|shard| (shard, set.clone()))).await;
        encode(protocol, answer)
    });
}

pub(super) fn load(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_function_load(args)?;
    let notes = &mut core.shard.notes;
    let library = Library::load(request.code, &mut |level, text| note_line(notes, level, text))?;
    let (name, replaces) = (library.code.name.clone(), request.replaces);
    let decide = move |libraries: &Libraries| libraries.with(library, replaces);
    change(core, id, decide, move |reply| reply.bulk(&name));
    Ok(())
}

pub(super) fn delete(core: &mut Core, id: SessionId, name: &[u8]) -> Outcome {
    let name = name.to_vec();
    let decide = move |libraries: &Libraries| {
        libraries.without(&name).ok_or(CommandError::text("ERR Library not found"))
    };
    change(core, id, decide, |reply| reply.ok());
    Ok(())
}

pub(super) fn flush(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    parse_function_flush(args)?;
    change(core, id, |_| Ok(Libraries::default()), |reply| reply.ok());
    Ok(())
}

pub(super) fn restore(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let policy: RestorePolicy = parse_function_restore(args)?;
    let restored = Libraries::read(args[2])?;
    let decide = move |libraries: &Libraries| libraries.restored(&restored, policy);
    change(core, id, decide, |reply| reply.ok());
    Ok(())
}

pub(super) fn dump(core: &mut Core, id: SessionId) -> Outcome {
    let payload = core.shard.scripting.libraries.dump(core.shard.config.rdbcompression);
    core.answer(id, |reply| reply.bulk(&payload));
    Ok(())
}

pub(super) fn list(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let ListRequest { pattern, with_code } = parse_function_list(args)?;
    let libraries = Arc::clone(&core.shard.scripting.libraries);
    let is_shown = |library: &&Library| {
        let name = &library.code.name;
        pattern.as_ref().is_none_or(|pattern| glob::matches_nocase(pattern, name))
    };
    let shown: Vec<&Library> = libraries.all().filter(is_shown).collect();
    core.answer(id, |reply| {
        reply.array(shown.len());
        shown.iter().for_each(|library| write_library(library, with_code, reply));
    });
    Ok(())
}

fn write_library(library: &Library, with_code: bool, reply: &mut Reply<'_>) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(&library.code.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for own in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(own.callable.name.as_bytes());
        reply.bulk(b"description");
        match &own.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        let flags = own.callable.flags.names();
        reply.set(flags.clone().count());
        flags.for_each(|name| reply.simple(name));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code.text);
    }
}

pub(super) fn stats(core: &mut Core, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    let routes = Arc::clone(&core.shard.routes);
    let libraries = Arc::clone(&core.shard.scripting.libraries);
    core.coordinate(id, |hops| async move {
        let look = |shard: &mut Shard| shard.scripting.shown(shard.now.monotonic_us);
        let found = everywhere(&hops, &routes, look).await;
        let running = found.into_iter().flatten().max_by_key(|own| (own.is_function, own.is_busy));
        encode(protocol, |reply| match running {
            Some(Shown { is_function: false, is_busy: true, .. }) => {
                let (home, is_function) = (ShardId(0), false);
                let busy = BusyScript { home, holds_all: false, is_function };
                reply.error_bytes(busy.refusal().as_bytes());
            }
            running => write_stats(running.filter(|own| own.is_function), &libraries, reply),
        })
    });
    Ok(())
}

fn write_stats(running: Option<Shown>, libraries: &Libraries, reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"running_script");
    match running {
        None => reply.null(),
        Some(Shown { name, args, ran_ms, .. }) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(name.as_bytes());
            reply.bulk(b"command");
            reply.array(args.len());
            args.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(b"duration_ms");
            reply.integer(ran_ms as i64);
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries.len() as i64);
    reply.bulk(b"functions_count");
    reply.integer(libraries.function_count() as i64);
}
