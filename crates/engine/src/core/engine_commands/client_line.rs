//! A connection as CLIENT LIST shows it, and whether a filter chooses it.

use std::fmt::Write as _;

use basalt_commands::requests::{ClientFilter, ClientProperty, ClientType};
use basalt_resp::Protocol;

use crate::session::subscriptions::TopicKind;
use crate::session::{Peer, Session};

/// Both ends as texts.
fn addresses(peer: &Peer) -> (String, String) {
    let local = match peer {
        Peer::Tcp { local, .. } => local.to_string(),
        Peer::Unix { .. } => peer.address(),
    };
    (peer.address(), local)
}

/// The class of clients that it is counted among.
fn type_of(session: &Session) -> ClientType {
    if session.is_subscribed() { ClientType::PubSub } else { ClientType::Normal }
}

/// Redis' flags for a connection's state.
fn flags(session: &Session) -> String {
    let flags = [
        (session.is_monitor, 'O'),
        (session.is_subscribed(), 'P'),
        (session.multi.is_some() || session.is_executing, 'x'),
        (session.is_held || session.is_waiting, 'b'),
        (session.tracking.is_some(), 't'),
        (session.tracking.as_ref().is_some_and(|own| own.is_redirect_broken), 'R'),
        (session.tracking.as_ref().is_some_and(|own| own.broadcast), 'B'),
        (session.is_closing, 'c'),
        (matches!(session.peer, Peer::Unix { .. }), 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    let set: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, it)| *it).collect();
    if set.is_empty() { "N".into() } else { set }
}

fn seconds_since(then_us: u64, now_us: u64) -> u64 {
    now_us.saturating_sub(then_us) / 1_000_000
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The line of one connection, for the log.
pub(crate) fn describe(session: &Session, now_us: u64) -> String {
    let mut line = line(session, now_us);
    line.truncate(line.trim_end().len());
    line
}

/// The line of one connection, with its end of line. The kernel's number of its socket is not known
/// here: `fd` is the place that the core keeps for it.
pub(super) fn line(session: &Session, now_us: u64) -> String {
    let (address, local_address) = addresses(&session.peer);
    let output = session.output_bytes();
    let mut line = String::new();
    let _ = write!(
        line,
        "id={} addr={address} laddr={local_address} fd={} name={} age={} idle={} flags={} capa= \
         db={} sub={} psub={} ssub={} multi={} watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} ",
        session.number,
        session.id.index,
        text(&session.name),
        seconds_since(session.created_us, now_us),
        seconds_since(session.last_used_us, now_us),
        flags(session),
        session.database.0,
        session.subscription_count(TopicKind::Channel),
        session.subscription_count(TopicKind::Pattern),
        session.subscription_count(TopicKind::ShardChannel),
        session.multi.as_ref().map_or(-1, |multi| multi.commands.len() as i64),
        session.watched.keys.len(),
        session.input.len(),
        session.input.bytes.capacity() - session.input.bytes.len(),
        session.multi.as_ref().map_or(0, |multi| multi.bytes),
    );
    // The first send of a client's output is what Redis has in a buffer of its own, the rest in a list.
    let first = session.out.len().min(output);
    let rest = output - first;
    let _ = writeln!(
        line,
        "rbs={} rbp={} obl={first} oll={} omem={rest} tot-mem={} events={} cmd={} user=default redir={} \
         resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
        session.out.capacity(),
        session.out.capacity(),
        usize::from(rest > 0),
        session.heap_bytes(),
        if output > 0 { "rw" } else { "r" },
        session.last_command,
        super::tracking::redirect_of(session.tracking.as_deref()),
        if session.protocol == Protocol::Resp3 { 3 } else { 2 },
        text(&session.library_name),
        text(&session.library_version),
        session.bytes_in,
        session.bytes_out,
        session.commands,
    );
    line
}

/// Whether a connection passes every condition; whether it may be the one that asks is not looked at.
pub(super) fn passes(session: &Session, filter: &ClientFilter<'_>, now_us: u64) -> bool {
    filter
        .conditions
        .iter()
        .all(|condition| has(session, &condition.property, now_us) != condition.is_negated)
}

fn has(session: &Session, property: &ClientProperty<'_>, now_us: u64) -> bool {
    let is_at = |address: String, wanted: &[u8]| address.as_bytes() == wanted;
    let (address, local_address) = addresses(&session.peer);
    match property {
        ClientProperty::Ids(ids) => ids.contains(&session.number),
        ClientProperty::Type(kind) => *kind == type_of(session),
        // There is no other.
        ClientProperty::User(user) => *user == b"default",
        ClientProperty::Address(wanted) => is_at(address, wanted),
        ClientProperty::LocalAddress(wanted) => is_at(local_address, wanted),
        ClientProperty::AgeSeconds(least) => seconds_since(session.created_us, now_us) >= *least,
        ClientProperty::IdleSeconds(least) => seconds_since(session.last_used_us, now_us) >= *least,
        // As in Valkey, those without a name are not found by the empty one.
        ClientProperty::Name(name) => !session.name.is_empty() && session.name == *name,
        ClientProperty::Flags(wanted) => {
            let own = flags(session);
            wanted.iter().all(|flag| own.as_bytes().contains(flag))
        }
        ClientProperty::LibraryName(name) => {
            !session.library_name.is_empty() && session.library_name == *name
        }
        ClientProperty::LibraryVersion(version) => {
            !session.library_version.is_empty() && session.library_version == *version
        }
        ClientProperty::Database(database) => session.database == *database,
        ClientProperty::Capabilities(flags) => flags.is_empty(),
        ClientProperty::Ip(ip) => match &session.peer {
            Peer::Tcp { remote, .. } => is_at(remote.ip().to_string(), ip),
            Peer::Unix { path } => path.as_bytes() == *ip,
        },
    }
}
