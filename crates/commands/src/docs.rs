//! Docs: the command table as replies: COMMAND and its subcommands, HELP.
//!
//! Everything is written from the rows, in the shapes of Valkey 9, in which RESP3 has maps and
//! sets. Not here: the reference pages.

use basalt_resp::Reply;

use crate::argument::{Argument, ArgumentKind};
use crate::call::Outcome;
use crate::command::{Access, Categories, Command, Flags, KeySpec, NOT_KEY};
use crate::error::CommandError;
use crate::{glob, table};

/// The flags of COMMAND INFO, in its order.
const FLAGS: [(Flags, &str); 19] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLE_KEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// COMMAND COUNT.
pub fn write_count(reply: &mut Reply<'_>) {
    reply.integer(table::commands().count() as i64);
}

/// COMMAND, and COMMAND INFO with its arguments: the properties of the named commands, or of all.
pub fn write_infos(names: &[&[u8]], reply: &mut Reply<'_>) {
    if names.is_empty() {
        reply.array(table::commands().count());
        table::commands().for_each(|command| write_info(command, reply));
        return;
    }
    reply.array(names.len());
    for name in names {
        match table::find_full(name) {
            Some(command) => write_info(command, reply),
            None => reply.null(),
        }
    }
}

fn write_info(command: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    let flags = || FLAGS.iter().filter(|(flag, _)| command.flags.has(*flag));
    reply.set(flags().count());
    flags().for_each(|(_, name)| reply.simple(name));
    let (first, last, step) = key_range(command.keys);
    [first, last, step].into_iter().for_each(|number| reply.integer(i64::from(number)));
    let categories = || command.categories().names();
    reply.set(categories().count());
    categories().for_each(|name| reply.simple(&format!("@{name}")));
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.keys.len());
    command.keys.iter().for_each(|spec| write_key_spec(spec, reply));
    reply.array(command.subcommands.len());
    command.subcommands.iter().for_each(|sub| write_info(sub, reply));
}

/// First key, last key and step over all specifications; zeros without a key.
fn key_range(keys: &[KeySpec]) -> (i16, i16, i16) {
    let keys: Vec<_> = keys.iter().filter(|spec| has_place(spec)).collect();
    let Some(first) = keys.iter().map(|spec| spec.first).min() else { return (0, 0, 0) };
    let open_end = keys.iter().map(|spec| spec.last).find(|last| *last < 0);
    let last = open_end.or(keys.iter().map(|spec| spec.last).max()).unwrap_or(first);
    (first, last, keys[0].step)
}

/// Whether the first key of a specification is always at the same index.
fn has_place(spec: &KeySpec) -> bool {
    !spec.is_counted && spec.behind_word.is_empty() && !spec.is_unknown()
}

fn write_key_spec(spec: &KeySpec, reply: &mut Reply<'_>) {
    let text = |reply: &mut Reply<'_>, text: &str| reply.bulk(text.as_bytes());
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        text(reply, "notes");
        text(reply, spec.notes);
    }
    text(reply, "flags");
    write_access(spec.access, reply);
    if spec.is_unknown() {
        for part in ["begin_search", "find_keys"] {
            text(reply, part);
            reply.map(2);
            text(reply, "type");
            text(reply, "unknown");
            text(reply, "spec");
            reply.map(0);
        }
        return;
    }
    text(reply, "begin_search");
    reply.map(2);
    text(reply, "type");
    if spec.behind_word.is_empty() {
        text(reply, "index");
        text(reply, "spec");
        reply.map(1);
        text(reply, "index");
    } else {
        text(reply, "keyword");
        text(reply, "spec");
        reply.map(2);
        text(reply, "keyword");
        text(reply, spec.behind_word);
        text(reply, "startfrom");
    }
    reply.integer(i64::from(spec.first));
    text(reply, "find_keys");
    reply.map(2);
    text(reply, "type");
    if spec.is_counted {
        text(reply, "keynum");
        text(reply, "spec");
        reply.map(3);
        for (name, value) in [("keynumidx", 0), ("firstkey", 1), ("keystep", spec.step)] {
            text(reply, name);
            reply.integer(i64::from(value));
        }
        return;
    }
    text(reply, "range");
    text(reply, "spec");
    reply.map(3);
    text(reply, "lastkey");
    // Relative to the first key, unless it is counted from the end.
    reply.integer(i64::from(if spec.last < 0 { spec.last } else { spec.last - spec.first }));
    text(reply, "keystep");
    reply.integer(i64::from(spec.step));
    text(reply, "limit");
    reply.integer(if spec.behind_word.is_empty() || spec.finder.is_some() { 0 } else { 2 });
}

fn write_access(access: &[&str], reply: &mut Reply<'_>) {
    reply.set(access.len());
    access.iter().for_each(|word| reply.simple(word));
}

/// COMMAND DOCS with its arguments: the documentation of the named commands, or of all.
pub fn write_docs(names: &[&[u8]], reply: &mut Reply<'_>) {
    let commands: Vec<&Command> = match names {
        [] => table::commands().collect(),
        names => names.iter().filter_map(|name| table::find_full(name)).collect(),
    };
    reply.map(commands.len());
    for command in commands {
        write_doc(command, reply);
    }
}

fn write_doc(command: &Command, reply: &mut Reply<'_>) {
    reply.bulk(command.name.as_bytes());
    let deprecated = command.deprecated.as_ref();
    let properties = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ];
    let properties = || properties.iter().filter(|(_, property)| !property.is_empty());
    reply.map(
        properties().count()
            + deprecated.map_or(0, |_| 3)
            + usize::from(!command.arguments.is_empty())
            + usize::from(!command.subcommands.is_empty()),
    );
    properties().for_each(|(name, property)| write_pair(name, property, reply));
    if let Some(deprecated) = deprecated {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        write_pair("deprecated_since", deprecated.since, reply);
        write_pair("replaced_by", deprecated.replaced_by, reply);
    }
    if !command.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(command.arguments, reply);
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| write_doc(sub, reply));
    }
}

fn write_pair(name: &str, value: &str, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn write_arguments(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        let flags = [
            (argument.is_optional, "optional"),
            (argument.is_multiple, "multiple"),
            (argument.repeats_token, "multiple_token"),
        ];
        let flags = || flags.iter().filter(|(is_set, _)| *is_set);
        let is_single = argument.arguments.is_empty();
        let is_key = matches!(argument.kind, ArgumentKind::Key(_));
        reply.map(
            2 + usize::from(is_single)
                + usize::from(is_key)
                + usize::from(!argument.token.is_empty())
                + usize::from(flags().count() > 0)
                + usize::from(!is_single),
        );
        write_pair("name", argument.name, reply);
        write_pair("type", argument.kind.name(), reply);
        if is_single {
            write_pair("display_text", argument.display, reply);
        }
        if let ArgumentKind::Key(spec) = argument.kind {
            reply.bulk(b"key_spec_index");
            reply.integer(i64::from(spec));
        }
        if !argument.token.is_empty() {
            write_pair("token", argument.token, reply);
        }
        if flags().count() > 0 {
            reply.bulk(b"flags");
            reply.set(flags().count());
            flags().for_each(|(_, name)| reply.simple(name));
        }
        if !is_single {
            reply.bulk(b"arguments");
            write_arguments(argument.arguments, reply);
        }
    }
}

/// The filter of COMMAND LIST.
#[derive(Clone, Copy, Debug)]
enum ListFilter<'a> {
    All,
    Module,
    Category(Option<Categories>),
    Pattern(&'a [u8]),
}

impl ListFilter<'_> {
    fn passes(self, command: &Command) -> bool {
        match self {
            Self::All => true,
            // There are no modules.
            Self::Module => false,
            Self::Category(category) => {
                category.is_some_and(|category| command.categories().has(category))
            }
            Self::Pattern(pattern) => glob::matches_nocase(pattern, command.name.as_bytes()),
        }
    }
}

/// COMMAND LIST with its arguments.
pub fn write_list(args: &[&[u8]], reply: &mut Reply<'_>) -> Outcome {
    let filter = match args {
        [] => ListFilter::All,
        [by, kind, value] if by.eq_ignore_ascii_case(b"filterby") => match *kind {
            kind if kind.eq_ignore_ascii_case(b"module") => ListFilter::Module,
            kind if kind.eq_ignore_ascii_case(b"aclcat") => {
                ListFilter::Category(Categories::named(value))
            }
            kind if kind.eq_ignore_ascii_case(b"pattern") => ListFilter::Pattern(value),
            _ => return Err(CommandError::SYNTAX),
        },
        _ => return Err(CommandError::SYNTAX),
    };
    let all = table::rows().iter().copied();
    let passing: Vec<&Command> = all.filter(|command| filter.passes(command)).collect();
    reply.array(passing.len());
    passing.iter().for_each(|command| reply.bulk(command.name.as_bytes()));
    Ok(())
}

/// The keys among a command's arguments, with the access to each.
///
/// The number of arguments must be valid for the command.
pub fn keys_of<'a>(
    command: &'static Command,
    args: &'a [&'a [u8]],
) -> impl Iterator<Item = (usize, Access)> + 'a {
    // A shard channel has the slot of a key, but is none.
    let specs = command.keys.iter().filter(|spec| spec.access != NOT_KEY);
    specs.flat_map(move |spec| {
        let access = spec.access_with(args);
        spec.positions(args).map(move |position| (position, access))
    })
}

/// COMMAND GETKEYS for a complete request.
pub fn write_keys(request: &[&[u8]], reply: &mut Reply<'_>) -> Outcome {
    let keys = asked_keys(request)?;
    reply.array(keys.len());
    keys.iter().for_each(|(position, _)| reply.bulk(request[*position]));
    Ok(())
}

/// COMMAND GETKEYSANDFLAGS for a complete request.
pub fn write_keys_and_flags(request: &[&[u8]], reply: &mut Reply<'_>) -> Outcome {
    let keys = asked_keys(request)?;
    reply.array(keys.len());
    for (position, access) in keys {
        reply.array(2);
        reply.bulk(request[position]);
        write_access(access, reply);
    }
    Ok(())
}

fn asked_keys(request: &[&[u8]]) -> Result<Vec<(usize, Access)>, CommandError> {
    let mut command =
        table::find(request[0]).ok_or(CommandError::text("ERR Invalid command specified"))?;
    if let (Some(name), false) = (request.get(1), command.subcommands.is_empty()) {
        command = table::find_subcommand(command, name)
            .ok_or(CommandError::text("ERR Invalid command specified"))?;
    }
    if command.keys.iter().all(|spec| spec.access == NOT_KEY) {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !command.arity_fits(request.len()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let keys: Vec<_> = keys_of(command, request).collect();
    if keys.is_empty() {
        return Err(CommandError::text("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// A container's HELP: the arguments of each subcommand, and its summary.
pub fn write_help(container: &Command, reply: &mut Reply<'_>) {
    let name = container.name.to_uppercase();
    reply.array(1 + 2 * container.subcommands.len());
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in container.subcommands {
        let mut usage = sub.own_name().to_uppercase();
        for argument in sub.arguments {
            usage.push(' ');
            push_usage(argument, &mut usage);
        }
        reply.simple(&usage);
        reply.simple(&format!("    {}", sub.summary));
    }
}

/// Writes an argument in the notation of the reference: `[PREFIX <prefix> ...]`.
pub(crate) fn push_usage(argument: &Argument, usage: &mut String) {
    let (open, close) = if argument.is_optional { ("[", "]") } else { ("", "") };
    usage.push_str(open);
    usage.push_str(argument.token);
    let push_all = |usage: &mut String, between: &str| {
        for (index, inner) in argument.arguments.iter().enumerate() {
            if index > 0 {
                usage.push_str(between);
            }
            push_usage(inner, usage);
        }
    };
    if argument.kind != ArgumentKind::PureToken && !argument.token.is_empty() {
        usage.push(' ');
    }
    match argument.kind {
        ArgumentKind::PureToken => {}
        ArgumentKind::Block => push_all(usage, " "),
        ArgumentKind::OneOf if argument.is_optional => push_all(usage, "|"),
        ArgumentKind::OneOf => {
            usage.push('<');
            push_all(usage, "|");
            usage.push('>');
        }
        _ => usage.push_str(&format!("<{}>", argument.display)),
    }
    if argument.is_multiple {
        usage.push_str(" ...");
    }
    usage.push_str(close);
}
