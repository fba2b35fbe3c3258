//! Filters: the connections that CLIENT LIST and CLIENT KILL select.

use basalt_keyspace::DatabaseId;

use super::client::{NO, YES};
use crate::args::{Grammar, Word, integer, value};
use crate::argument::Argument;
use crate::error::CommandError;

/// Conditions that connections must meet, or must not meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter<'a> {
    pub conditions: Vec<ClientCondition<'a>>,
    /// Whether the client's own connection is left out; `None` if not given.
    pub skip_me: Option<bool>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCondition<'a> {
    /// Whether it is negated.
    pub is_negated: bool,
    pub property: ClientProperty<'a>,
}

/// A property of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProperty<'a> {
    /// One of these.
    Ids(Vec<u64>),
    Type(ClientType),
    User(&'a [u8]),
    Address(&'a [u8]),
    LocalAddress(&'a [u8]),
    /// At least this many seconds old.
    AgeSeconds(u64),
    /// Idle for at least this many seconds.
    IdleSeconds(u64),
    Name(&'a [u8]),
    /// Its flags contain all of these characters.
    Flags(&'a [u8]),
    LibraryName(&'a [u8]),
    LibraryVersion(&'a [u8]),
    Database(DatabaseId),
    /// Its capabilities contain all of these characters.
    Capabilities(&'a [u8]),
    /// Its address without the port.
    Ip(&'a [u8]),
}

/// The types of connections, as clients see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    Normal,
    Primary,
    Replica,
    PubSub,
}

impl ClientType {
    fn named(name: &[u8]) -> Result<Self, CommandError> {
        let names: [(&[u8], Self); 6] = [
            (b"normal", Self::Normal),
            (b"slave", Self::Replica),
            (b"replica", Self::Replica),
            (b"pubsub", Self::PubSub),
            (b"master", Self::Primary),
            (b"primary", Self::Primary),
        ];
        let found = names.iter().find(|(own, _)| name.eq_ignore_ascii_case(own));
        let found = found.map(|(_, kind)| *kind);
        found.ok_or_else(|| CommandError::quoting("ERR Unknown client type '", name, "'"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterWord {
    Ids,
    SkipMe,
    Type,
    User,
    Address,
    LocalAddress,
    Age,
    Idle,
    Name,
    Flags,
    LibraryName,
    LibraryVersion,
    Database,
    Capabilities,
    Ip,
}

const WORDS: &[Word<(bool, FilterWord)>] = &[
    value("id", (false, FilterWord::Ids)),
    value("not-id", (true, FilterWord::Ids)),
    value("skipme", (false, FilterWord::SkipMe)),
    value("type", (false, FilterWord::Type)),
    value("not-type", (true, FilterWord::Type)),
    value("user", (false, FilterWord::User)),
    value("not-user", (true, FilterWord::User)),
    value("addr", (false, FilterWord::Address)),
    value("not-addr", (true, FilterWord::Address)),
    value("laddr", (false, FilterWord::LocalAddress)),
    value("not-laddr", (true, FilterWord::LocalAddress)),
    value("maxage", (false, FilterWord::Age)),
    value("idle", (false, FilterWord::Idle)),
    value("name", (false, FilterWord::Name)),
    value("not-name", (true, FilterWord::Name)),
    value("flags", (false, FilterWord::Flags)),
    value("not-flags", (true, FilterWord::Flags)),
    value("lib-name", (false, FilterWord::LibraryName)),
    value("not-lib-name", (true, FilterWord::LibraryName)),
    value("lib-ver", (false, FilterWord::LibraryVersion)),
    value("not-lib-ver", (true, FilterWord::LibraryVersion)),
    value("db", (false, FilterWord::Database)),
    value("not-db", (true, FilterWord::Database)),
    value("capa", (false, FilterWord::Capabilities)),
    value("not-capa", (true, FilterWord::Capabilities)),
    value("ip", (false, FilterWord::Ip)),
    value("not-ip", (true, FilterWord::Ip)),
];

pub(super) const FILTER_OPTIONS: Grammar<(bool, FilterWord)> = Grammar(WORDS);

const TYPES: &[Argument] = &[
    Argument::word("normal", "NORMAL"),
    Argument::word("master", "MASTER"),
    Argument::word("primary", "PRIMARY"),
    Argument::word("slave", "SLAVE"),
    Argument::word("replica", "REPLICA"),
    Argument::word("pubsub", "PUBSUB"),
];

/// The filters in COMMAND DOCS.
pub(super) const FILTERS: &[Argument] = &[
    Argument::integer("client-id").after("ID").multiple().optional(),
    Argument::one_of("client-type", TYPES).after("TYPE").optional(),
    Argument::string("username").after("USER").optional(),
    Argument::string("addr").after("ADDR").shown_as("ip:port").optional(),
    Argument::string("laddr").after("LADDR").shown_as("ip:port").optional(),
    Argument::one_of("skipme", &[YES, NO]).after("SKIPME").optional(),
    Argument::integer("maxage").after("MAXAGE").optional(),
    Argument::string("name").after("NAME").optional(),
    Argument::integer("idle").after("IDLE").optional(),
    Argument::string("flags").after("FLAGS").optional(),
    Argument::string("lib-name").after("LIB-NAME").optional(),
    Argument::string("lib-ver").after("LIB-VER").optional(),
    Argument::integer("db").after("DB").optional(),
    Argument::string("capa").after("CAPA").optional(),
    Argument::string("ip").after("IP").optional(),
    Argument::one_of("not-client-type", TYPES).after("NOT-TYPE").optional(),
    Argument::integer("not-client-id").after("NOT-ID").multiple().optional(),
    Argument::string("not-username").after("NOT-USER").optional(),
    Argument::string("not-addr").after("NOT-ADDR").shown_as("ip:port").optional(),
    Argument::string("not-laddr").after("NOT-LADDR").shown_as("ip:port").optional(),
    Argument::string("not-name").after("NOT-NAME").optional(),
    Argument::string("not-flags").after("NOT-FLAGS").optional(),
    Argument::string("not-lib-name").after("NOT-LIB-NAME").optional(),
    Argument::string("not-lib-ver").after("NOT-LIB-VER").optional(),
    Argument::integer("not-db").after("NOT-DB").optional(),
    Argument::string("not-capa").after("NOT-CAPA").optional(),
    Argument::string("not-ip").after("NOT-IP").optional(),
];

/// The characters of CLIENT LIST's `flags=`.
const FLAGS: &[u8] = b"ABEIMNOPRSTUbcdeirtux";
const CAPABILITIES: &[u8] = b"r";

/// The only user.
const DEFAULT_USER: &[u8] = b"default";

/// Parses the filters in `args` from `from` on.
pub(super) fn parse<'a>(
    args: &'a [&'a [u8]],
    database_count: usize,
) -> Result<ClientFilter<'a>, CommandError> {
    let mut filter = ClientFilter::default();
    let mut rest = args;
    while !rest.is_empty() {
        let option = FILTER_OPTIONS.parse(rest).next().expect("because something is left");
        let ((is_negated, word), values) = option?;
        let value = values[0];
        rest = &rest[2..];
        let property = match word {
            FilterWord::Ids => {
                let (ids, left) = leading_ids(&args[args.len() - rest.len() - 1..])?;
                rest = left;
                filter.add_ids(is_negated, ids);
                continue;
            }
            FilterWord::SkipMe => {
                filter.skip_me = Some(yes_or_no(value)?);
                continue;
            }
            FilterWord::Type => ClientProperty::Type(ClientType::named(value)?),
            FilterWord::User if value == DEFAULT_USER => ClientProperty::User(value),
            FilterWord::User => {
                return Err(CommandError::quoting("ERR No such user '", value, "'"));
            }
            FilterWord::Address => ClientProperty::Address(value),
            FilterWord::LocalAddress => ClientProperty::LocalAddress(value),
            FilterWord::Age => ClientProperty::AgeSeconds(seconds(value, "maxage")?),
            FilterWord::Idle => ClientProperty::IdleSeconds(seconds(value, "idle")?),
            FilterWord::Name => ClientProperty::Name(value),
            FilterWord::Flags => ClientProperty::Flags(characters(value, FLAGS, "flags")?),
            FilterWord::LibraryName => ClientProperty::LibraryName(value),
            FilterWord::LibraryVersion => ClientProperty::LibraryVersion(value),
            FilterWord::Database => ClientProperty::Database(database(value, database_count)?),
            FilterWord::Capabilities => {
                ClientProperty::Capabilities(characters(value, CAPABILITIES, "capa")?)
            }
            FilterWord::Ip => ClientProperty::Ip(value),
        };
        filter.put(ClientCondition { is_negated, property });
    }
    Ok(filter)
}

impl<'a> ClientFilter<'a> {
    /// Of several conditions on one property the last one counts.
    fn put(&mut self, condition: ClientCondition<'a>) {
        let of_property = |other: &ClientCondition<'a>| {
            std::mem::discriminant(&other.property) == std::mem::discriminant(&condition.property)
                && other.is_negated == condition.is_negated
        };
        match self.conditions.iter().position(of_property) {
            Some(at) => self.conditions[at] = condition,
            None => self.conditions.push(condition),
        }
    }

    /// Several lists of ids are combined.
    fn add_ids(&mut self, is_negated: bool, ids: Vec<u64>) {
        for condition in &mut self.conditions {
            if let ClientProperty::Ids(known) = &mut condition.property
                && condition.is_negated == is_negated
            {
                known.extend(ids);
                return;
            }
        }
        self.conditions.push(ClientCondition { is_negated, property: ClientProperty::Ids(ids) });
    }
}

/// The ids at the start, at least one, and the rest.
fn leading_ids<'a>(args: &'a [&'a [u8]]) -> Result<(Vec<u64>, &'a [&'a [u8]]), CommandError> {
    let mut ids = Vec::new();
    for arg in args {
        let Ok(id) = integer(arg) else { break };
        let id = u64::try_from(id).ok().filter(|id| *id > 0);
        ids.push(id.ok_or(CommandError::text("ERR client-id should be greater than 0"))?);
    }
    if ids.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    let rest = &args[ids.len()..];
    Ok((ids, rest))
}

fn yes_or_no(text: &[u8]) -> Result<bool, CommandError> {
    match text {
        yes if yes.eq_ignore_ascii_case(b"yes") => Ok(true),
        no if no.eq_ignore_ascii_case(b"no") => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

fn seconds(text: &[u8], name: &str) -> Result<u64, CommandError> {
    let value = integer(text)
        .map_err(|_| CommandError::new(format!("ERR {name} is not an integer or out of range")))?;
    u64::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| CommandError::new(format!("ERR {name} should be greater than 0")))
}

fn characters<'a>(text: &'a [u8], known: &[u8], name: &str) -> Result<&'a [u8], CommandError> {
    if text.iter().all(|character| known.contains(character)) {
        return Ok(text);
    }
    let before = format!("ERR Unknown {name} found in the provided filter: ");
    Err(CommandError::quoting(&before, text, ""))
}

fn database(text: &[u8], count: usize) -> Result<DatabaseId, CommandError> {
    let index = integer(text).ok().and_then(|index| i32::try_from(index).ok());
    let index = index.ok_or(CommandError::text("ERR DB is not an integer or out of range"))?;
    let known = u16::try_from(index).ok().filter(|index| usize::from(*index) < count);
    known.map(DatabaseId).ok_or_else(|| {
        CommandError::new(format!("ERR DB number should be between 0 and {}", count - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<ClientFilter<'_>, &str>) {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let parsed = parse(&args, 16).map_err(|error| error.to_string());
        assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
    }

    fn condition(is_negated: bool, property: ClientProperty<'_>) -> ClientCondition<'_> {
        ClientCondition { is_negated, property }
    }

    #[test]
    fn filters_are_read() {
        check("", Ok(ClientFilter::default()));
        let conditions = vec![
            condition(false, ClientProperty::Ids(vec![1, 2, 3])),
            condition(false, ClientProperty::Name(b"b")),
            condition(true, ClientProperty::Ids(vec![4])),
            condition(true, ClientProperty::Name(b"a")),
        ];
        check(
            "id 1 2 name a NOT-ID 4 not-name a ID 3 name b skipme no",
            Ok(ClientFilter { conditions, skip_me: Some(false) }),
        );
        let conditions = vec![
            condition(false, ClientProperty::Type(ClientType::Replica)),
            condition(true, ClientProperty::Database(DatabaseId(15))),
            condition(false, ClientProperty::Flags(b"Nb")),
        ];
        check("type SLAVE not-db 15 flags Nb", Ok(ClientFilter { conditions, skip_me: None }));
    }

    #[test]
    fn refusals_are_valkeys() {
        check("id 0", Err("ERR client-id should be greater than 0"));
        check("id x", Err("ERR syntax error"));
        check("name", Err("ERR syntax error"));
        check("skipme maybe", Err("ERR syntax error"));
        check("type x", Err("ERR Unknown client type 'x'"));
        check("user x", Err("ERR No such user 'x'"));
        check("maxage x", Err("ERR maxage is not an integer or out of range"));
        check("idle 0", Err("ERR idle should be greater than 0"));
        check("db x", Err("ERR DB is not an integer or out of range"));
        check("db 16", Err("ERR DB number should be between 0 and 15"));
        check("flags Nz", Err("ERR Unknown flags found in the provided filter: Nz"));
        check("capa x", Err("ERR Unknown capa found in the provided filter: x"));
    }
}
