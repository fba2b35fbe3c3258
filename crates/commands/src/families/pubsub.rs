//! Pub/Sub: rows of the commands by which clients send messages to each other.
//!
//! Not here: subscriptions and delivery, which are the engine's.

use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Group, KeySpec, NOT_KEY, Run};

pub(crate) const COMMANDS: &[Command] = &[
    PSUBSCRIBE,
    PUBLISH,
    PUBSUB,
    PUNSUBSCRIBE,
    SPUBLISH,
    SSUBSCRIBE,
    SUBSCRIBE,
    SUNSUBSCRIBE,
    UNSUBSCRIBE,
];

const FLAGS: Flags = Flags::PUBSUB.or(Flags::LOADING).or(Flags::STALE);

const ROW: Command = Command { group: Group::PubSub, since: "2.0.0", ..Command::ROW };
/// Those that change what a session is subscribed to.
const OWN_ROW: Command = Command { flags: FLAGS.or(Flags::NOSCRIPT), ..ROW };
const PUBSUB_ROW: Command = Command { since: "2.8.0", flags: FLAGS, ..ROW };

const CHANNEL: Argument = Argument::string("channel");
const SHARD_CHANNEL: Argument = Argument::string("shardchannel");
const PATTERN: Argument = Argument::pattern("pattern");

const SUBSCRIBE: Command = Command {
    name: "subscribe",
    summary: "Subscribes the connection to channels: from now on it gets the messages that are published to them.",
    complexity: "O(N) for N channels",
    arity: -2,
    arguments: &[CHANNEL.multiple()],
    run: Run::Engine(EngineCommand::Subscribe),
    shows: r#"> SUBSCRIBE news
1) "subscribe"
2) "news"
3) (integer) 1
@client other
> PUBLISH news "it rains"
(integer) 1
@client main
<
1) "message"
2) "news"
3) "it rains"
"#,
    ..OWN_ROW
};

const UNSUBSCRIBE: Command = Command {
    name: "unsubscribe",
    summary: "Unsubscribes the connection from channels, or from all.",
    complexity: "O(N) for N channels",
    arity: -1,
    arguments: &[CHANNEL.optional().multiple()],
    run: Run::Engine(EngineCommand::Unsubscribe),
    shows: r#"> SUBSCRIBE news
1) "subscribe"
2) "news"
3) (integer) 1
> UNSUBSCRIBE news
1) "unsubscribe"
2) "news"
3) (integer) 0
> UNSUBSCRIBE
1) "unsubscribe"
2) (nil)
3) (integer) 0
> PUBLISH news "it rains"
(integer) 0
"#,
    ..OWN_ROW
};

const PSUBSCRIBE: Command = Command {
    name: "psubscribe",
    summary: "Subscribes the connection to all channels whose names match patterns.",
    complexity: "O(N) for N patterns",
    arity: -2,
    arguments: &[PATTERN.multiple()],
    run: Run::Engine(EngineCommand::PSubscribe),
    shows: r#"> PSUBSCRIBE news.*
1) "psubscribe"
2) "news.*"
3) (integer) 1
@client other
> PUBLISH news.sports 2:1
(integer) 1
> PUBLISH weather rain
(integer) 0
@client main
<
1) "pmessage"
2) "news.*"
3) "news.sports"
4) "2:1"
"#,
    ..OWN_ROW
};

const PUNSUBSCRIBE: Command = Command {
    name: "punsubscribe",
    summary: "Unsubscribes the connection from patterns, or from all.",
    complexity: "O(N) for N patterns",
    arity: -1,
    arguments: &[PATTERN.optional().multiple()],
    run: Run::Engine(EngineCommand::PUnsubscribe),
    shows: r#"> PSUBSCRIBE news.*
1) "psubscribe"
2) "news.*"
3) (integer) 1
> PUNSUBSCRIBE
1) "punsubscribe"
2) "news.*"
3) (integer) 0
"#,
    ..OWN_ROW
};

const PUBLISH: Command = Command {
    name: "publish",
    summary: "Sends a message to all that are subscribed to a channel or to a pattern that matches it; returns how many that are.",
    complexity: "O(N) for N subscribers; patterns are found by an index",
    arity: 3,
    flags: FLAGS.or(Flags::FAST),
    arguments: &[CHANNEL, Argument::string("message")],
    run: Run::Engine(EngineCommand::Publish),
    shows: r#"> PUBLISH news "it rains"
(integer) 0
"#,
    ..ROW
};

const SSUBSCRIBE: Command = Command {
    name: "ssubscribe",
    since: "7.0.0",
    summary: "Subscribes the connection to shard channels.",
    complexity: "O(N) for N shard channels",
    arity: -2,
    keys: &[KeySpec::all(1, NOT_KEY)],
    arguments: &[SHARD_CHANNEL.multiple()],
    run: Run::Engine(EngineCommand::SSubscribe),
    shows: r#"> SSUBSCRIBE {room}:1
1) "ssubscribe"
2) "{room}:1"
3) (integer) 1
@client other
> SPUBLISH {room}:1 hello
(integer) 1
> PUBLISH {room}:1 hello
(integer) 0
@client main
<
1) "smessage"
2) "{room}:1"
3) "hello"
"#,
    ..OWN_ROW
};

const SUNSUBSCRIBE: Command = Command {
    name: "sunsubscribe",
    since: "7.0.0",
    summary: "Unsubscribes the connection from shard channels, or from all.",
    complexity: "O(N) for N shard channels",
    arity: -1,
    keys: &[KeySpec::all(1, NOT_KEY)],
    arguments: &[SHARD_CHANNEL.optional().multiple()],
    run: Run::Engine(EngineCommand::SUnsubscribe),
    shows: r#"> SSUBSCRIBE {room}:1
1) "ssubscribe"
2) "{room}:1"
3) (integer) 1
> SUNSUBSCRIBE
1) "sunsubscribe"
2) "{room}:1"
3) (integer) 0
"#,
    ..OWN_ROW
};

const SPUBLISH: Command = Command {
    name: "spublish",
    since: "7.0.0",
    summary: "Sends a message to all that are subscribed to a shard channel; returns how many that are.",
    complexity: "O(N) for N subscribers",
    arity: 3,
    flags: FLAGS.or(Flags::FAST),
    keys: &[KeySpec::at(1, NOT_KEY)],
    arguments: &[SHARD_CHANNEL, Argument::string("message")],
    run: Run::Engine(EngineCommand::SPublish),
    shows: r#"> SPUBLISH {room}:1 hello
(integer) 0
"#,
    ..ROW
};

const PUBSUB: Command = Command {
    name: "pubsub",
    since: "2.8.0",
    summary: "A container for commands about channels and their subscribers.",
    complexity: "That of the subcommand",
    arity: -2,
    also: Categories::NONE,
    subcommands: &[CHANNELS, HELP, NUMPAT, NUMSUB, SHARDCHANNELS, SHARDNUMSUB],
    shows: r#"> PUBSUB NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try PUBSUB HELP.
> PUBSUB
(error) ERR wrong number of arguments for 'pubsub' command
"#,
    ..ROW
};

const CHANNELS: Command = Command {
    name: "pubsub|channels",
    summary: "Lists the channels that have subscribers; with a pattern, those that match it.",
    complexity: "O(N) for N channels with subscribers",
    arity: -2,
    arguments: &[PATTERN.optional()],
    run: Run::Engine(EngineCommand::PubSubChannels),
    shows: r#"> PUBSUB CHANNELS
(empty array)
@client other
> SUBSCRIBE news
1) "subscribe"
2) "news"
3) (integer) 1
@client main
> PUBSUB CHANNELS
1) "news"
> PUBSUB CHANNELS w*
(empty array)
"#,
    ..PUBSUB_ROW
};

const HELP: Command = Command {
    name: "pubsub|help",
    since: "6.2.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    run: Run::Engine(EngineCommand::PubSubHelp),
    shows: r#"> PUBSUB HELP
<any text>1) PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

const NUMPAT: Command = Command {
    name: "pubsub|numpat",
    summary: "Returns how many different patterns have subscribers.",
    arity: 2,
    run: Run::Engine(EngineCommand::PubSubNumPat),
    shows: r#"> PUBSUB NUMPAT
(integer) 0
@client other
> PSUBSCRIBE news.*
1) "psubscribe"
2) "news.*"
3) (integer) 1
@client main
> PUBSUB NUMPAT
(integer) 1
"#,
    ..PUBSUB_ROW
};

const NUMSUB: Command = Command {
    name: "pubsub|numsub",
    summary: "Returns how many connections are subscribed to each of some channels, without those of patterns.",
    complexity: "O(N) for N channels",
    arity: -2,
    arguments: &[CHANNEL.optional().multiple()],
    run: Run::Engine(EngineCommand::PubSubNumSub),
    shows: r#"@client other
> SUBSCRIBE news
1) "subscribe"
2) "news"
3) (integer) 1
@client main
> PUBSUB NUMSUB news weather
1) "news"
2) (integer) 1
3) "weather"
4) (integer) 0
> PUBSUB NUMSUB
(empty array)
"#,
    ..PUBSUB_ROW
};

const SHARDCHANNELS: Command = Command {
    name: "pubsub|shardchannels",
    since: "7.0.0",
    summary: "Lists the shard channels that have subscribers; with a pattern, those that match it.",
    complexity: "O(N) for N shard channels with subscribers",
    arity: -2,
    arguments: &[PATTERN.optional()],
    run: Run::Engine(EngineCommand::PubSubShardChannels),
    shows: r#"@client other
> SSUBSCRIBE {room}:1
1) "ssubscribe"
2) "{room}:1"
3) (integer) 1
@client main
> PUBSUB SHARDCHANNELS
1) "{room}:1"
> PUBSUB CHANNELS
(empty array)
"#,
    ..PUBSUB_ROW
};

const SHARDNUMSUB: Command = Command {
    name: "pubsub|shardnumsub",
    since: "7.0.0",
    summary: "Returns how many connections are subscribed to each of some shard channels.",
    complexity: "O(N) for N shard channels",
    arity: -2,
    arguments: &[SHARD_CHANNEL.optional().multiple()],
    run: Run::Engine(EngineCommand::PubSubShardNumSub),
    shows: r#"> PUBSUB SHARDNUMSUB {room}:1
1) "{room}:1"
2) (integer) 0
"#,
    ..PUBSUB_ROW
};
