//! Docs: the command table, told to clients.

use basalt_resp::Reply;

use crate::command::Command;

/// Answers a container's HELP: each subcommand with its summary.
pub fn write_help(container: &Command, reply: &mut Reply<'_>) {
    let name = container.name.to_uppercase();
    reply.array(1 + 2 * container.subcommands.len());
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in container.subcommands {
        let (_, own) = sub.name.split_once('|').expect("a subcommand is named container|name");
        reply.simple(&own.to_uppercase());
        reply.simple(&format!("    {}", sub.summary));
    }
}
