//! Verbs: what the engine runs itself, because it concerns the session, several shards or the whole
//! server.
//!
//! Arguments are read by `commands`; what is done with them is here, a file for each concern.

mod client;
mod client_line;
mod command;
mod config;
mod data;
mod debug;
mod hashes;
mod info;
mod keys;
mod latency;
mod memory;
mod multi;
mod process;
mod pubsub;
mod save;
mod scripting;
mod session;
mod slowlog;
mod strings;
mod tracking;

use std::any::Any;

use basalt_commands::config::Extent;
use basalt_commands::{CommandError, Outcome, Verb, docs};
use basalt_keyspace::DatabaseId;
use basalt_resp::{Protocol, Reply};

use crate::completion::Answer;
use crate::core::Core;
use crate::input::keys::DeclaredKey;
use crate::session::subscriptions::TopicKind;
use crate::session::{Session, SessionId};
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;
use crate::world::World;
pub(crate) use client_line::describe;

/// The version of Redis whose behaviour this follows, as clients ask for it.
pub const REDIS_VERSION: &str = "7.2.4";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What clients of a cluster are told that ask a server outside of one.
const CLUSTER_IS_OFF: CommandError =
    CommandError::text("ERR This instance has cluster support disabled");

/// Whether a verb concerns nothing but the session itself, so that it need not wait for replies of
/// other shards to requests before it.
pub(crate) fn is_immediate(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Ping
            | Verb::Echo
            | Verb::Select
            | Verb::ClientId
            | Verb::ClientGetName
            | Verb::ClientSetName
            | Verb::ClientSetInfo
            | Verb::Time
            | Verb::Multi
    )
}

/// Runs a verb: it answers at once, or begins a coordination that will.
#[expect(clippy::too_many_lines, reason = "one line for each verb")]
pub(crate) fn run(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    verb: Verb,
    args: &[&[u8]],
) -> Outcome {
    match verb {
        Verb::BgSave => save::bgsave(core, id, args),
        Verb::AclHelp => command::help(core, id, "acl"),
        Verb::AclWhoami => session::whoami(core, id),
        Verb::Auth => session::auth(core, id, args),
        Verb::ClientCaching => tracking::caching(core, id, args),
        Verb::ClientGetName => client::getname(core, id),
        Verb::ClientGetRedir => tracking::getredir(core, id),
        Verb::ClientHelp => command::help(core, id, "client"),
        Verb::ClientId => client::client_id(core, id),
        Verb::ClientInfo => client::info(core, id),
        Verb::ClientKill => client::kill(core, id, args),
        Verb::ClientList => client::list(core, id, args),
        Verb::ClientNoEvict => client::no_evict(core, id, args),
        Verb::ClientNoTouch => client::no_touch(core, id, args),
        Verb::ClientPause => client::pause(core, id, args),
        Verb::ClientReply => client::reply(core, id, args),
        Verb::ClientSetInfo => client::setinfo(core, id, args),
        Verb::ClientSetName => client::setname(core, id, args),
        Verb::ClientTracking => tracking::tracking(core, id, args),
        Verb::ClientTrackingInfo => tracking::trackinginfo(core, id),
        Verb::ClientUnblock => client::unblock(core, id, args),
        Verb::ClientUnpause => client::unpause(core, id),
        Verb::Command => command::show(core, id, |reply| docs::write_infos(&[], reply)),
        Verb::CommandCount => command::show(core, id, docs::write_count),
        Verb::CommandDocs => command::show(core, id, |reply| docs::write_docs(&args[2..], reply)),
        Verb::CommandGetKeys => {
            command::tell(core, id, |reply| docs::write_keys(&args[2..], reply))
        }
        Verb::CommandGetKeysAndFlags => {
            command::tell(core, id, |reply| docs::write_keys_and_flags(&args[2..], reply))
        }
        Verb::CommandHelp => command::help(core, id, "command"),
        Verb::CommandInfo => command::show(core, id, |reply| docs::write_infos(&args[2..], reply)),
        Verb::CommandList => command::tell(core, id, |reply| docs::write_list(&args[2..], reply)),
        Verb::ConfigGet => config::get(core, id, &args[2..]),
        Verb::ConfigHelp => command::help(core, id, "config"),
        Verb::ConfigResetStat => config::resetstat(core, world, id),
        Verb::ConfigRewrite => config::rewrite(core, world, id, Extent::Changed),
        Verb::ConfigSet => config::set(core, id, args),
        Verb::Asking | Verb::ReadOnly | Verb::ReadWrite => Err(CLUSTER_IS_OFF),
        Verb::Dbsize => data::dbsize(core, id),
        Verb::Debug => debug::debug(core, world, id, args),
        Verb::Discard => multi::discard(core, id),
        Verb::Echo => session::echo(core, id, args),
        Verb::Eval => scripting::eval(core, id, args, false),
        Verb::EvalRo => scripting::eval(core, id, args, true),
        Verb::EvalSha => scripting::evalsha(core, id, args, false),
        Verb::EvalShaRo => scripting::evalsha(core, id, args, true),
        Verb::ScriptDebug => scripting::debug(core, id, args),
        Verb::ScriptExists => scripting::exists(core, id, &args[2..]),
        Verb::ScriptFlush => scripting::flush(core, id, args),
        Verb::ScriptHelp => command::help(core, id, "script"),
        Verb::ScriptKill => Err(scripting::NOT_BUSY),
        Verb::ScriptLoad => scripting::load(core, id, args[2]),
        Verb::ScriptShow => scripting::show(core, id, args[2]),
        Verb::Exec => multi::exec(core, id),
        Verb::FlushAll => data::flush(core, id, args, true),
        Verb::FlushDb => data::flush(core, id, args, false),
        Verb::HImportDiscard => hashes::discard(core, id, args),
        Verb::HImportDiscardAll => hashes::discard_all(core, id),
        Verb::HImportPrepare => hashes::prepare(core, id, args),
        Verb::HImportSet => hashes::set(core, id, args),
        Verb::Hello => session::hello(core, id, args),
        Verb::Info => info::info(core, world, id, args),
        Verb::Keys => keys::keys(core, id, args),
        Verb::LastSave => save::lastsave(core, id),
        Verb::LatencyDoctor => latency::doctor(core, id),
        Verb::LatencyGraph => latency::graph(core, id, args[2]),
        Verb::LatencyHelp => command::help(core, id, "latency"),
        Verb::LatencyHistogram => latency::histogram(core, id, &args[2..]),
        Verb::LatencyHistory => latency::history(core, id, args[2]),
        Verb::LatencyLatest => latency::latest(core, id),
        Verb::LatencyReset => latency::reset(core, id, &args[2..]),
        Verb::Lolwut => process::lolwut(core, world, id, args),
        Verb::MemoryDoctor => memory::doctor(core, world, id),
        Verb::MemoryHelp => command::help(core, id, "memory"),
        Verb::MemoryMallocStats => process::malloc_stats(core, id),
        Verb::MemoryPurge => process::purge(core, id),
        Verb::MemoryStats => memory::stats(core, world, id),
        Verb::ModuleHelp => command::help(core, id, "module"),
        Verb::ModuleList => process::module_list(core, id),
        Verb::ModuleLoad | Verb::ModuleLoadEx => Err(process::MODULE_NOT_LOADED),
        Verb::ModuleUnload => Err(process::MODULE_UNKNOWN),
        Verb::Monitor => process::monitor(core, id),
        Verb::Multi => multi::multi(core, id),
        Verb::ObjectHelp => command::help(core, id, "object"),
        Verb::PfSelfTest => strings::pfselftest(core, id),
        Verb::Ping => session::ping(core, id, args),
        Verb::PubSubChannels => pubsub::channels(core, id, TopicKind::Channel, args),
        Verb::PubSubHelp => command::help(core, id, "pubsub"),
        Verb::PubSubNumPat => pubsub::pattern_count(core, id),
        Verb::PubSubNumSub => pubsub::counts(core, id, TopicKind::Channel, args),
        Verb::PubSubShardChannels => pubsub::channels(core, id, TopicKind::ShardChannel, args),
        Verb::PubSubShardNumSub => pubsub::counts(core, id, TopicKind::ShardChannel, args),
        Verb::Publish => pubsub::publish(core, id, TopicKind::Channel, args),
        Verb::PSubscribe => pubsub::subscribe(core, id, TopicKind::Pattern, args),
        Verb::PUnsubscribe => pubsub::unsubscribe(core, id, TopicKind::Pattern, args),
        Verb::SPublish => pubsub::publish(core, id, TopicKind::ShardChannel, args),
        Verb::SSubscribe => pubsub::subscribe(core, id, TopicKind::ShardChannel, args),
        Verb::Subscribe => pubsub::subscribe(core, id, TopicKind::Channel, args),
        Verb::SUnsubscribe => pubsub::unsubscribe(core, id, TopicKind::ShardChannel, args),
        Verb::Unsubscribe => pubsub::unsubscribe(core, id, TopicKind::Channel, args),
        Verb::Quit => session::quit(core, id),
        Verb::RandomKey => keys::randomkey(core, world.random(), id),
        Verb::Reset => session::reset(core, id),
        Verb::Role => process::role(core, id),
        Verb::Scan => keys::scan(core, id, args),
        Verb::Select => session::select(core, id, args),
        Verb::Save => save::save(core, id),
        Verb::Shutdown => save::shutdown(core, world, id, args),
        Verb::SlowlogGet => slowlog::get(core, id, args),
        Verb::SlowlogHelp => command::help(core, id, "slowlog"),
        Verb::SlowlogLen => slowlog::len(core, id),
        Verb::SlowlogReset => slowlog::reset(core, id),
        Verb::SwapDb => data::swapdb(core, id, args),
        Verb::Time => process::time(core, world, id),
        Verb::Unwatch => multi::unwatch(core, id),
        Verb::Wait => keys::wait(core, id, args),
        Verb::WaitAof => keys::waitaof(core, id, args),
        Verb::Watch => multi::watch(core, id, args),
        Verb::XGroupHelp => command::help(core, id, "xgroup"),
        Verb::XInfoHelp => command::help(core, id, "xinfo"),
    }
}

/// The session that asks; it is there while its verb runs.
fn session(core: &mut Core, id: SessionId) -> &mut Session {
    core.shard.sessions.get_mut(id).expect("the session asks just now")
}

/// Arguments that travel.
fn owned(args: &[&[u8]]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.to_vec()).collect()
}

/// The session's database and protocol.
fn settings(core: &Core, id: SessionId) -> (DatabaseId, Protocol) {
    core.shard
        .sessions
        .get(id)
        .map_or((DatabaseId(0), Protocol::Resp2), |session| (session.database, session.protocol))
}

/// All keys, which may be written, in the session's database.
fn declare_all(core: &Core, id: SessionId, keys: &[&[u8]]) -> Vec<DeclaredKey> {
    let (database, _) = settings(core, id);
    let keys = keys.iter().enumerate();
    keys.map(|(index, key)| core.declare(index, database, key, true)).collect()
}

/// An encoded reply.
fn encode(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> Answer {
    let mut answer = Vec::new();
    let mut reply = Reply::new(&mut answer, protocol);
    write(&mut reply);
    reply.replace_cut(0);
    answer
}

/// Runs a hop on every shard at once.
async fn everywhere<T: Any + Send>(
    hops: &Hops,
    routes: &Routes,
    hop: impl FnOnce(&mut Shard) -> T + Clone + Send + 'static,
) -> Vec<T> {
    hops.on_each(routes.shards().map(|shard| (shard, hop.clone()))).await
}
