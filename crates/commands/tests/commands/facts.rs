//! Compares the properties of the rows with those of Valkey 9.1, in a golden file.
//!
//! `golden/commands-valkey-9.1.tsv` has the replies of COMMAND and COMMAND DOCS there, for the
//! commands that we have or will have next; summaries are left out, because ours are our own.

use std::collections::BTreeMap;

use basalt_commands::{docs, table};
use basalt_resp::{Protocol, Reply, Value, decode};

const GOLDEN: &str = include_str!("../golden/commands-valkey-9.1.tsv");

/// Rows of the golden file that we do not have yet.
#[rustfmt::skip]
const ABSENT: &[&str] = &["client|capa", "client|import-source"];

/// Rows of ours that Valkey does not have.
const ALONE: &[(&str, &str)] = &[
    ("blmovem", "of Redis 8.10"),
    ("cl.throttle", "of redis-cell and Dragonfly"),
    ("delex", "of Redis 8.4"),
    ("digest", "of Redis 8.4"),
    ("himport", "of Redis 8.10"),
    ("himport|discard", "of Redis 8.10"),
    ("himport|discardall", "of Redis 8.10"),
    ("himport|prepare", "of Redis 8.10"),
    ("himport|set", "of Redis 8.10"),
    ("hotkeys", "of Redis 8.6"),
    ("hotkeys|get", "of Redis 8.6"),
    ("hotkeys|help", "of Redis 8.6"),
    ("hotkeys|reset", "of Redis 8.6"),
    ("hotkeys|start", "of Redis 8.6"),
    ("hotkeys|stop", "of Redis 8.6"),
    ("increx", "of Redis 8.8"),
    ("lmovem", "of Redis 8.10"),
    ("sdiffcard", "of Redis 8.10"),
    ("sunioncard", "of Redis 8.10"),
    ("xackdel", "of Redis 8.2"),
    ("xcfgset", "of Redis 8.6"),
    ("xdelex", "of Redis 8.2"),
    ("xidmprecord", "of Redis 8.6"),
    ("xnack", "of Redis 8.8"),
];

/// Rows of ours that have more arguments than Valkey's, or more exact ones.
const OTHER_ARGUMENTS: &[(&str, &str)] = &[
    ("client|list", "its filters are those of CLIENT KILL"),
    ("bitop", "DIFF, DIFF1, ANDOR and ONE, as in Redis 8.2"),
    ("xadd", "KEEPREF, DELREF and ACKED, as in Redis 8.2, IDMP and IDMPAUTO, as in Redis 8.6"),
    ("xtrim", "KEEPREF, DELREF and ACKED, as in Redis 8.2"),
    ("xread", "MAXCOUNT and MAXSIZE, as in Redis 8.10"),
    ("xreadgroup", "MAXCOUNT and MAXSIZE, as in Redis 8.10, CLAIM, as in Redis 8.4"),
    ("zinter", "AGGREGATE COUNT, as in Redis 8.8"),
    ("zinterstore", "AGGREGATE COUNT, as in Redis 8.8"),
    ("zunion", "AGGREGATE COUNT, as in Redis 8.8"),
    ("zunionstore", "AGGREGATE COUNT, as in Redis 8.8"),
    ("set", "IFNE, IFDEQ and IFDNE, as in Redis 8.4"),
];

fn whole(bytes: &[u8]) -> (Value, usize) {
    decode(bytes).expect("a reply").expect("a whole reply")
}

fn texts(value: &Value) -> Vec<String> {
    let (Value::Array(elements) | Value::Set(elements)) = value else { panic!("{value:?}") };
    elements.iter().map(text).collect()
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().expect("a text")).into_owned()
}

fn sorted(value: &Value) -> String {
    let mut all = texts(value);
    all.sort();
    all.join(" ")
}

fn find<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Map(pairs) = map else { panic!("{map:?} is no map") };
    pairs.iter().find(|(key, _)| text(key) == name).map(|(_, value)| value)
}

fn field<'a>(map: &'a Value, name: &str) -> &'a Value {
    find(map, name).unwrap_or_else(|| panic!("{name} is not in {map:?}"))
}

fn integer(value: &Value) -> i64 {
    let Value::Integer(value) = value else { panic!("{value:?} is no integer") };
    *value
}

fn key_spec(spec: &Value) -> String {
    let part = |name| field(field(spec, name), "spec");
    let (begin, rest) = (part("begin_search"), part("find_keys"));
    let flags = texts(field(spec, "flags")).join("+");
    if text(field(field(spec, "begin_search"), "type")) == "unknown" {
        return format!("{flags}@unknown");
    }
    let first = match find(begin, "keyword") {
        Some(word) => format!("{},{}", text(word), integer(field(begin, "startfrom"))),
        None => integer(field(begin, "index")).to_string(),
    };
    let kind = text(field(field(spec, "find_keys"), "type"));
    if kind != "range" {
        return format!("{flags}@{first}:{kind}");
    }
    let last = integer(field(rest, "lastkey"));
    format!("{flags}@{first}:{last}:{}", integer(field(rest, "keystep")))
}

fn arguments(list: Option<&Value>) -> String {
    let Some(Value::Array(list)) = list else { return String::new() };
    let shown: Vec<String> = list.iter().map(argument).collect();
    shown.join(" ")
}

fn argument(argument: &Value) -> String {
    let own = |name| text(field(argument, name));
    let mut shown = format!("{}:{}", own("name"), own("type"));
    if find(argument, "token").is_some() {
        shown.push_str(&format!("={}", own("token")));
    }
    for flag in find(argument, "flags").map(texts).unwrap_or_default() {
        shown.push(match flag.as_str() {
            "optional" => '?',
            "multiple" => '*',
            _ => '!',
        });
    }
    if let inner @ Some(_) = find(argument, "arguments") {
        shown.push_str(&format!("({})", arguments(inner)));
    }
    shown
}

fn add_row(info: &Value, told: &Value, rows: &mut BTreeMap<String, Vec<String>>) {
    let Value::Array(facts) = info else { panic!("{info:?} is no array") };
    let name = text(&facts[0]);
    let range: Vec<String> = facts[3..6].iter().map(|fact| integer(fact).to_string()).collect();
    let categories = sorted(&facts[6]).replace('@', "");
    let Value::Set(specs) = &facts[8] else { panic!("{:?} is no set", facts[8]) };
    let specs: Vec<String> = specs.iter().map(key_spec).collect();
    let of_docs = |fact| text(field(told, fact));
    let row = vec![
        integer(&facts[1]).to_string(),
        sorted(&facts[2]),
        range.join(" "),
        categories,
        sorted(&facts[7]),
        specs.join(" "),
        of_docs("since"),
        of_docs("group"),
        arguments(find(told, "arguments")),
    ];
    let Value::Array(subcommands) = &facts[9] else { panic!("{:?} is no array", facts[9]) };
    for sub in subcommands {
        let Value::Array(facts) = sub else { panic!("{sub:?} is no array") };
        let told = field(field(told, "subcommands"), &text(&facts[0]));
        add_row(sub, told, rows);
    }
    rows.insert(name, row);
}

/// The properties of our rows in COMMAND and COMMAND DOCS, in the columns of the golden file.
fn our_rows() -> BTreeMap<String, Vec<String>> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Protocol::Resp3);
    docs::write_infos(&[], &mut reply);
    docs::write_docs(&[], &mut reply);
    let (infos, len) = whole(&out);
    let (told, rest) = whole(&out[len..]);
    assert_eq!(len + rest, out.len());
    let Value::Array(infos) = infos else { panic!("{infos:?} is no array") };
    let mut rows = BTreeMap::new();
    for (info, row) in infos.iter().zip(table::commands()) {
        add_row(info, field(&told, row.name), &mut rows);
    }
    rows
}

#[test]
fn rows_are_valkeys() {
    let ours = our_rows();
    // Valkey's later word for a flag of Redis.
    let golden = GOLDEN.replace("skip_commandlog", "skip_slowlog");
    let mut lines = golden.lines();
    let columns: Vec<&str> = lines.next().expect("a head line").split('\t').skip(1).collect();
    let mut differences = String::new();
    let mut known = 0;
    for line in lines {
        let (name, facts) = line.split_once('\t').expect("columns");
        let Some(row) = ours.get(name) else {
            assert!(ABSENT.contains(&name), "{name} has no row");
            continue;
        };
        known += 1;
        assert!(!ABSENT.contains(&name), "{name} has a row: strike it out");
        let differs = OTHER_ARGUMENTS.iter().any(|(other, _)| *other == name);
        for ((column, theirs), own) in columns.iter().zip(facts.split('\t')).zip(row) {
            if own == theirs {
                assert!(
                    *column != "arguments" || !differs,
                    "{name} differs no more: strike it out"
                );
            } else if *column != "arguments" || !differs {
                differences
                    .push_str(&format!("{name} {column}\n  ours   {own}\n  theirs {theirs}\n"));
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
    assert!(ALONE.iter().all(|(name, _)| ours.contains_key(*name)));
    assert_eq!(known + ALONE.len(), ours.len(), "rows that Valkey does not have");
}
