//! EngineCommands: what the engine runs itself, because it concerns the session, several shards or the whole
//! server.
//!
//! Arguments are read by `commands`; what is done with them is here, a file for each concern.

mod client;
mod client_line;
mod command;
mod config;
mod data;
mod debug;
mod functions;
mod hashes;
mod hotkeys;
mod info;
mod keys;
mod latency;
mod memory;
mod multi;
mod process;
mod pubsub;
mod reload;
mod save;
mod scripting;
mod session;
mod slowlog;
mod strings;
mod tracking;

use std::any::Any;

use basalt_commands::config::Extent;
use basalt_commands::{CommandError, EngineCommand, Outcome, docs};
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

/// The version of Redis whose commands clients may expect: several ask for 7.4 before they use client-side caching.
pub const REDIS_VERSION: &str = "7.4.0";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The refusal for clients of a cluster that ask a server outside of one.
const CLUSTER_IS_OFF: CommandError =
    CommandError::text("ERR This instance has cluster support disabled");

/// Whether an engine command concerns nothing but the session itself, so that it need not wait for replies of
/// other shards to requests before it.
pub(crate) fn is_immediate(engine_command: EngineCommand) -> bool {
    matches!(
        engine_command,
        EngineCommand::Ping
            | EngineCommand::Echo
            | EngineCommand::Select
            | EngineCommand::ClientId
            | EngineCommand::ClientGetName
            | EngineCommand::ClientSetName
            | EngineCommand::ClientSetInfo
            | EngineCommand::Time
            | EngineCommand::Multi
    )
}

/// Runs an engine command: it answers at once, or begins a coordination that will.
#[expect(clippy::too_many_lines, reason = "one line for each engine_command")]
pub(crate) fn run(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    engine_command: EngineCommand,
    args: &[&[u8]],
) -> Outcome {
    match engine_command {
        EngineCommand::BgRewriteAof => save::bgrewriteaof(core, id),
        EngineCommand::BgSave => save::bgsave(core, id, args),
        EngineCommand::AclHelp => command::help(core, id, "acl"),
        EngineCommand::AclWhoami => session::whoami(core, id),
        EngineCommand::Auth => session::auth(core, id, args),
        EngineCommand::ClientCaching => tracking::caching(core, id, args),
        EngineCommand::ClientGetName => client::getname(core, id),
        EngineCommand::ClientGetRedir => tracking::getredir(core, id),
        EngineCommand::ClientHelp => command::help(core, id, "client"),
        EngineCommand::ClientId => client::client_id(core, id),
        EngineCommand::ClientInfo => client::info(core, id),
        EngineCommand::ClientKill => client::kill(core, id, args),
        EngineCommand::ClientList => client::list(core, id, args),
        EngineCommand::ClientNoEvict => client::no_evict(core, id, args),
        EngineCommand::ClientNoTouch => client::no_touch(core, id, args),
        EngineCommand::ClientPause => client::pause(core, id, args),
        EngineCommand::ClientReply => client::reply(core, id, args),
        EngineCommand::ClientSetInfo => client::setinfo(core, id, args),
        EngineCommand::ClientSetName => client::setname(core, id, args),
        EngineCommand::ClientTracking => tracking::tracking(core, id, args),
        EngineCommand::ClientTrackingInfo => tracking::trackinginfo(core, id),
        EngineCommand::ClientUnblock => client::unblock(core, id, args),
        EngineCommand::ClientUnpause => client::unpause(core, id),
        EngineCommand::Command => command::show(core, id, |reply| docs::write_infos(&[], reply)),
        EngineCommand::CommandCount => command::show(core, id, docs::write_count),
        EngineCommand::CommandDocs => {
            command::show(core, id, |reply| docs::write_docs(&args[2..], reply))
        }
        EngineCommand::CommandGetKeys => {
            command::tell(core, id, |reply| docs::write_keys(&args[2..], reply))
        }
        EngineCommand::CommandGetKeysAndFlags => {
            command::tell(core, id, |reply| docs::write_keys_and_flags(&args[2..], reply))
        }
        EngineCommand::CommandHelp => command::help(core, id, "command"),
        EngineCommand::CommandInfo => {
            command::show(core, id, |reply| docs::write_infos(&args[2..], reply))
        }
        EngineCommand::CommandList => {
            command::tell(core, id, |reply| docs::write_list(&args[2..], reply))
        }
        EngineCommand::ConfigGet => config::get(core, id, &args[2..]),
        EngineCommand::ConfigHelp => command::help(core, id, "config"),
        EngineCommand::ConfigResetStat => config::resetstat(core, world, id),
        EngineCommand::ConfigRewrite => config::rewrite(core, world, id, Extent::Changed),
        EngineCommand::ConfigSet => config::set(core, id, args),
        EngineCommand::Asking | EngineCommand::ReadOnly | EngineCommand::ReadWrite => {
            Err(CLUSTER_IS_OFF)
        }
        EngineCommand::Dbsize => data::dbsize(core, id),
        EngineCommand::Debug => debug::debug(core, world, id, args),
        EngineCommand::Discard => multi::discard(core, id),
        EngineCommand::Echo => session::echo(core, id, args),
        EngineCommand::Eval => scripting::eval(core, id, args, false),
        EngineCommand::EvalRo => scripting::eval(core, id, args, true),
        EngineCommand::EvalSha => scripting::evalsha(core, id, args, false),
        EngineCommand::EvalShaRo => scripting::evalsha(core, id, args, true),
        EngineCommand::ScriptDebug => scripting::debug(core, id, args),
        EngineCommand::ScriptExists => scripting::exists(core, id, &args[2..]),
        EngineCommand::ScriptFlush => scripting::flush(core, id, args),
        EngineCommand::ScriptHelp => command::help(core, id, "script"),
        EngineCommand::ScriptKill => scripting::kill(core, id, false),
        EngineCommand::ScriptLoad => scripting::load(core, id, args[2]),
        EngineCommand::ScriptShow => scripting::show(core, id, args[2]),
        EngineCommand::Exec => multi::exec(core, id),
        EngineCommand::Fcall => scripting::fcall(core, id, args, false),
        EngineCommand::FcallRo => scripting::fcall(core, id, args, true),
        EngineCommand::FunctionDelete => functions::delete(core, id, args[2]),
        EngineCommand::FunctionDump => functions::dump(core, id),
        EngineCommand::FunctionFlush => functions::flush(core, id, args),
        EngineCommand::FunctionHelp => command::help(core, id, "function"),
        EngineCommand::FunctionKill => scripting::kill(core, id, true),
        EngineCommand::FunctionList => functions::list(core, id, args),
        EngineCommand::FunctionLoad => functions::load(core, id, args),
        EngineCommand::FunctionRestore => functions::restore(core, id, args),
        EngineCommand::FunctionStats => functions::stats(core, id),
        EngineCommand::FlushAll => data::flush(core, id, args, true),
        EngineCommand::FlushDb => data::flush(core, id, args, false),
        EngineCommand::HImportDiscard => hashes::discard(core, id, args),
        EngineCommand::HImportDiscardAll => hashes::discard_all(core, id),
        EngineCommand::HImportPrepare => hashes::prepare(core, id, args),
        EngineCommand::HImportSet => hashes::set(core, id, args),
        EngineCommand::Hello => session::hello(core, id, args),
        EngineCommand::HotKeysGet => hotkeys::get(core, world, id),
        EngineCommand::HotKeysHelp => command::help(core, id, "hotkeys"),
        EngineCommand::HotKeysReset => hotkeys::reset(core, id),
        EngineCommand::HotKeysStart => hotkeys::start(core, world, id, args),
        EngineCommand::HotKeysStop => hotkeys::stop(core, id),
        EngineCommand::Info => info::info(core, world, id, args),
        EngineCommand::Keys => keys::keys(core, id, args),
        EngineCommand::LastSave => save::lastsave(core, id),
        EngineCommand::LatencyDoctor => latency::doctor(core, id),
        EngineCommand::LatencyGraph => latency::graph(core, id, args[2]),
        EngineCommand::LatencyHelp => command::help(core, id, "latency"),
        EngineCommand::LatencyHistogram => latency::histogram(core, id, &args[2..]),
        EngineCommand::LatencyHistory => latency::history(core, id, args[2]),
        EngineCommand::LatencyLatest => latency::latest(core, id),
        EngineCommand::LatencyReset => latency::reset(core, id, &args[2..]),
        EngineCommand::Lolwut => process::lolwut(core, world, id, args),
        EngineCommand::MemoryDoctor => memory::doctor(core, world, id),
        EngineCommand::MemoryHelp => command::help(core, id, "memory"),
        EngineCommand::MemoryMallocStats => process::malloc_stats(core, id),
        EngineCommand::MemoryPurge => process::purge(core, id),
        EngineCommand::MemoryStats => memory::stats(core, world, id),
        EngineCommand::ModuleHelp => command::help(core, id, "module"),
        EngineCommand::ModuleList => process::module_list(core, id),
        EngineCommand::ModuleLoad | EngineCommand::ModuleLoadEx => Err(process::MODULE_NOT_LOADED),
        EngineCommand::ModuleUnload => Err(process::MODULE_UNKNOWN),
        EngineCommand::Monitor => process::monitor(core, id),
        EngineCommand::Multi => multi::multi(core, id),
        EngineCommand::ObjectHelp => command::help(core, id, "object"),
        EngineCommand::PfSelfTest => strings::pfselftest(core, id),
        EngineCommand::Ping => session::ping(core, id, args),
        EngineCommand::PubSubChannels => pubsub::channels(core, id, TopicKind::Channel, args),
        EngineCommand::PubSubHelp => command::help(core, id, "pubsub"),
        EngineCommand::PubSubNumPat => pubsub::pattern_count(core, id),
        EngineCommand::PubSubNumSub => pubsub::counts(core, id, TopicKind::Channel, args),
        EngineCommand::PubSubShardChannels => {
            pubsub::channels(core, id, TopicKind::ShardChannel, args)
        }
        EngineCommand::PubSubShardNumSub => pubsub::counts(core, id, TopicKind::ShardChannel, args),
        EngineCommand::Publish => pubsub::publish(core, id, TopicKind::Channel, args),
        EngineCommand::PSubscribe => pubsub::subscribe(core, id, TopicKind::Pattern, args),
        EngineCommand::PUnsubscribe => pubsub::unsubscribe(core, id, TopicKind::Pattern, args),
        EngineCommand::SPublish => pubsub::publish(core, id, TopicKind::ShardChannel, args),
        EngineCommand::SSubscribe => pubsub::subscribe(core, id, TopicKind::ShardChannel, args),
        EngineCommand::Subscribe => pubsub::subscribe(core, id, TopicKind::Channel, args),
        EngineCommand::SUnsubscribe => pubsub::unsubscribe(core, id, TopicKind::ShardChannel, args),
        EngineCommand::Unsubscribe => pubsub::unsubscribe(core, id, TopicKind::Channel, args),
        EngineCommand::Quit => session::quit(core, id),
        EngineCommand::RandomKey => keys::randomkey(core, world.random(), id),
        EngineCommand::Reset => session::reset(core, id),
        EngineCommand::Role => process::role(core, id),
        EngineCommand::Scan => keys::scan(core, id, args),
        EngineCommand::Select => session::select(core, id, args),
        EngineCommand::Save => save::save(core, id),
        EngineCommand::Shutdown => save::shutdown(core, world, id, args),
        EngineCommand::SlowlogGet => slowlog::get(core, id, args),
        EngineCommand::SlowlogHelp => command::help(core, id, "slowlog"),
        EngineCommand::SlowlogLen => slowlog::len(core, id),
        EngineCommand::SlowlogReset => slowlog::reset(core, id),
        EngineCommand::SwapDb => data::swapdb(core, id, args),
        EngineCommand::Time => process::time(core, world, id),
        EngineCommand::Unwatch => multi::unwatch(core, id),
        EngineCommand::Wait => keys::wait(core, id, args),
        EngineCommand::WaitAof => keys::waitaof(core, id, args),
        EngineCommand::Watch => multi::watch(core, id, args),
        EngineCommand::XGroupHelp => command::help(core, id, "xgroup"),
        EngineCommand::XInfoHelp => command::help(core, id, "xinfo"),
    }
}

/// The session that asks; it is there while its engine command runs.
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
