//! COMMAND and its subcommands, through the table.

use basalt_commands::{CommandError, Outcome, docs, table};
use basalt_resp::{Protocol, Reply, Value, decode};

fn write(write: impl FnOnce(&mut Reply<'_>) -> Outcome) -> Result<Value, String> {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, Protocol::Resp3)).map_err(|error| error.to_string())?;
    let (value, len) = decode(&out).expect("a reply").expect("a whole reply");
    assert_eq!(len, out.len(), "more than one reply");
    Ok(value)
}

fn words(line: &str) -> Vec<&[u8]> {
    line.split_whitespace().map(str::as_bytes).collect()
}

fn names(value: &Value) -> Vec<String> {
    let Value::Array(elements) = value else { panic!("{value:?} is no array") };
    let text =
        |element: &Value| String::from_utf8_lossy(element.as_bytes().expect("a text")).into_owned();
    elements.iter().map(text).collect()
}

fn list(line: &str) -> Result<Vec<String>, String> {
    let mut listed = names(&write(|reply| docs::write_list(&words(line), reply))?);
    listed.sort();
    Ok(listed)
}

#[test]
fn lists_are_filtered() {
    let all = list("").unwrap();
    assert!(all.contains(&"client|id".to_owned()) && all.len() > table::commands().count());
    assert_eq!(list("filterby pattern GETD*").unwrap(), ["getdel"]);
    assert_eq!(list("FILTERBY PATTERN client|*d").unwrap(), ["client|id"]);
    assert!(list("filterby aclcat STRING").unwrap().contains(&"getex".to_owned()));
    assert!(!list("filterby aclcat string").unwrap().contains(&"del".to_owned()));
    assert_eq!(list("filterby aclcat nonsense").unwrap(), [""; 0]);
    assert_eq!(list("filterby module any").unwrap(), [""; 0]);
    for line in
        ["filterby", "filterby pattern", "filterby name x", "by pattern x", "filterby pattern x y"]
    {
        assert_eq!(list(line), Err("ERR syntax error".to_owned()), "{line}");
    }
}

#[test]
fn keys_are_found() {
    let keys = |line: &str| {
        write(|reply| docs::write_keys(&words(line), reply)).map(|value| names(&value).join(" "))
    };
    assert_eq!(keys("GET k"), Ok("k".into()));
    assert_eq!(keys("mset a 1 b 2"), Ok("a b".into()));
    assert_eq!(keys("mset a 1 b"), Ok("a b".into()));
    assert_eq!(keys("rename a b"), Ok("a b".into()));
    assert_eq!(keys("object encoding k"), Ok("k".into()));
    assert_eq!(keys("msetex 2 a 1 b 2 EX 5"), Ok("a b".into()));
    assert_eq!(keys("msetex 2 a 1 b"), Ok("a b".into()), "values are not looked for");
    for number in ["0", "-1", "3", "x", "9223372036854775807"] {
        assert_eq!(
            keys(&format!("msetex {number} a 1 b 2")),
            Err("ERR Invalid arguments specified for command".into())
        );
    }
    assert_eq!(keys("del a b c"), Ok("a b c".into()));
    assert_eq!(keys("nonsense a"), Err("ERR Invalid command specified".into()));
    assert_eq!(keys("client nonsense"), Err("ERR Invalid command specified".into()));
    assert_eq!(keys("object"), Err("ERR The command has no key arguments".into()));
    assert_eq!(keys("client list"), Err("ERR The command has no key arguments".into()));
    assert_eq!(
        keys("get a b"),
        Err("ERR Invalid number of arguments specified for command".into())
    );
}

#[test]
fn access_may_depend_on_arguments() {
    let access = |line: &str| {
        let args = words(line);
        let row = table::find(args[0]).unwrap();
        docs::keys_of(row, &args)
            .map(|(at, access)| format!("{at}:{}", access.join("+")))
            .collect::<Vec<_>>()
    };
    assert_eq!(access("set k v"), ["1:OW+update"]);
    assert_eq!(access("set k v nx GET"), ["1:RW+access+update"]);
    assert_eq!(access("copy a b db 1"), ["1:RO+access", "2:OW+update"]);
    assert_eq!(access("mset a 1 b 2"), ["1:OW+update", "3:OW+update"]);
}

#[test]
fn names_that_are_none_are_passed_over() {
    let infos = write(|reply| {
        docs::write_infos(&words("get nonsense client|id client|x get|x client|id|x"), reply);
        Ok(())
    });
    let Ok(Value::Array(infos)) = infos else { panic!("{infos:?}") };
    let is_null: Vec<bool> = infos.iter().map(|info| *info == Value::Null).collect();
    assert_eq!(is_null, [false, true, false, true, true, true]);
    let told = write(|reply| {
        docs::write_docs(&words("nonsense PING client|id"), reply);
        Ok(())
    });
    let Ok(Value::Map(told)) = told else { panic!("{told:?}") };
    assert_eq!(told.len(), 2);
}

#[test]
fn help_says_what_each_subcommand_takes() {
    let container = table::find(b"client").unwrap();
    let help = write(|reply| {
        docs::write_help(container, reply);
        Ok(())
    });
    let lines = names(&help.unwrap());
    assert_eq!(lines[0], "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for line in [
        "PAUSE <timeout> [WRITE|ALL]",
        "REPLY <ON|OFF|SKIP>",
        "TRACKING <ON|OFF> [REDIRECT <client-id>] [PREFIX <prefix> ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} is not in {lines:#?}");
    }
}

#[test]
fn unknown_names_are_quoted_as_redis_quotes() {
    let unknown = |args: &[&[u8]]| table::unknown(args).to_string();
    assert_eq!(unknown(&[b"foo"]), "ERR unknown command 'foo', with args beginning with: ");
    assert_eq!(
        unknown(&[b"foo", b"a b", b"1\x002", b""]),
        "ERR unknown command 'foo', with args beginning with: 'a b' '1' '' "
    );
    let long = [b'x'; 200];
    let shown = "x".repeat(128);
    assert_eq!(
        unknown(&[&long, &long, b"more"]),
        format!("ERR unknown command '{shown}', with args beginning with: '{shown}' ")
    );
    let client = table::find(b"CLIENT").unwrap();
    assert_eq!(
        table::unknown_subcommand(client, b"\xff\r\n"),
        CommandError::new(b"ERR unknown subcommand '\xff\r\n'. Try CLIENT HELP.".to_vec())
    );
}
