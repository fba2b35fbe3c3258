//! redis-cli of Redis 7, Redis 8 and Valkey 9, as in interactive use and in scripts.

use super::{SERVERS, Said, run, trial};
use basalt_testkit::print::print;
use basalt_testkit::process::{Program, Server};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

/// LIMIT: seconds for one call.
const SECONDS_MAX: u32 = 30;

const CLIS: [Program; 3] = [Program::Redis7, Program::Redis8, Program::Valkey9];

/// A command line tool and the server that it is to talk to.
struct Cli<'a> {
    tool: PathBuf,
    server: &'a Server,
}

type Test = fn(&Cli<'_>);

const TESTS: &[(&str, Test)] = &[
    ("commands_as_arguments", commands_as_arguments),
    ("commands_from_a_pipe", commands_from_a_pipe),
    ("value_from_standard_input", value_from_standard_input),
    ("mass_insertion", mass_insertion),
    ("scan", scan),
    ("exit_code", exit_code),
    ("formats", formats),
    ("resp3", resp3),
    ("url_database_and_password", url_database_and_password),
    ("repeat", repeat),
    ("latency", latency),
    ("stat", stat),
    ("bigkeys", bigkeys),
    ("memkeys", memkeys),
    ("hotkeys", hotkeys),
    ("keystats", keystats),
    ("command_count", command_count),
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for cli in CLIS {
        let tool = cli.tool("cli");
        for program in SERVERS {
            for (test_name, test) in TESTS {
                let path = tool.clone().unwrap_or_default();
                let name = format!("cli_{}_{test_name}", cli.name());
                trials.push(trial(&name, program, tool.is_some(), move |server| {
                    test(&Cli { tool: path, server });
                }));
            }
        }
        // Compares our printer with the real one, on a server that can reply with every type.
        let path = tool.clone().unwrap_or_default();
        let name = format!("cli_{}_prints_as_we_do", cli.name());
        trials.push(trial(&name, Program::Valkey9, tool.is_some(), move |server| {
            prints_as_we_do(&Cli { tool: path, server });
        }));
    }
    trials
}

impl Cli<'_> {
    fn run(&self, args: &[&str], input: &str) -> Said {
        let port = self.server.port().to_string();
        run(&self.tool, SECONDS_MAX, &[&["-p", &port], args].concat(), input.as_bytes())
    }

    #[track_caller]
    fn expect(&self, args: &[&str], output: &str) {
        let said = self.run(args, "");
        assert_eq!(said.out.trim_end(), output, "{args:?}: {}", said.err);
    }
}

fn commands_as_arguments(cli: &Cli<'_>) {
    cli.expect(&["SET", "greeting", "hello world"], "OK");
    cli.expect(&["GET", "greeting"], "hello world");
    cli.expect(&["GET", "absent"], "");
    cli.expect(&["INCR", "n"], "1");
    cli.expect(&["MGET", "greeting", "absent", "n"], "hello world\n\n1");
    cli.expect(&["KEYS", "gree*"], "greeting");
    cli.expect(&["SET", "k", "v", "EX", "100"], "OK");
    cli.expect(&["TTL", "k"], "100");
    cli.expect(&["NOSUCH"], "ERR unknown command 'NOSUCH', with args beginning with:");
    let info = cli.run(&["INFO", "server"], "");
    assert!(info.out.contains("redis_version:") && info.out.contains("tcp_port:"), "{}", info.out);
    assert!(cli.run(&["PING"], "").out.starts_with("PONG"));
    assert!(cli.run(&["COMMAND", "DOCS", "get"], "").out.contains("summary"));
}

fn commands_from_a_pipe(cli: &Cli<'_>) {
    let said = cli.run(&[], "SET a 1\nINCR a\n\nGET \"a\"\nSELECT 1\nGET a\nPING\nQUIT\n");
    assert_eq!(said.out, "OK\n2\n2\nOK\n\nPONG\n", "{}", said.err);
}

fn value_from_standard_input(cli: &Cli<'_>) {
    let value = "line 1\nline 2 \"quoted\"\n".repeat(1000);
    assert_eq!(cli.run(&["-x", "SET", "file"], &value).out, "OK\n");
    assert_eq!(cli.run(&["GET", "file"], "").out, value + "\n");
}

fn mass_insertion(cli: &Cli<'_>) {
    let requests: String = (0..50_000).fold(String::new(), |all, index| {
        let key = format!("key:{index}");
        all + &format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\nv\r\n", key.len())
    });
    let said = cli.run(&["--pipe"], &requests);
    assert!(said.success, "{}{}", said.out, said.err);
    assert!(said.out.contains("errors: 0, replies: 50000"), "{}{}", said.out, said.err);
    cli.expect(&["DBSIZE"], "50000");
}

fn scan(cli: &Cli<'_>) {
    cli.run(&["DEBUG", "POPULATE", "5000"], "");
    let said = cli.run(&["--scan"], "");
    let mut keys: Vec<&str> = said.out.lines().collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 5000, "{}", said.err);
    let said = cli.run(&["--scan", "--pattern", "key:12?"], "");
    assert_eq!(said.out.lines().count(), 10, "{}", said.out);
}

fn exit_code(cli: &Cli<'_>) {
    assert!(cli.run(&["-e", "SET", "k", "v"], "").success);
    assert!(!cli.run(&["-e", "INCR", "k"], "").success);
}

fn formats(cli: &Cli<'_>) {
    cli.run(&["MSET", "a", "1", "b", "two words"], "");
    cli.expect(&["--csv", "MGET", "a", "b", "c"], "\"1\",\"two words\",NULL");
    cli.expect(&["--no-raw", "MGET", "a", "c"], "1) \"1\"\n2) (nil)");
    cli.expect(&["--json", "MGET", "a", "b", "c"], "[\"1\",\"two words\",null]");
    cli.expect(&["-d", ";", "MGET", "a", "b"], "1;two words");
}

fn resp3(cli: &Cli<'_>) {
    cli.expect(&["-3", "SET", "k", "v"], "OK");
    cli.expect(&["-3", "--no-raw", "GET", "absent"], "(nil)");
    cli.expect(
        &["-3", "--no-raw", "CONFIG", "GET", "port"],
        &format!("1# \"port\" => \"{}\"", cli.server.port()),
    );
    let info = cli.run(&["-3", "--no-raw", "INFO", "keyspace"], "");
    assert!(info.out.starts_with("# Keyspace\r\n"), "{}", info.out);
}

fn url_database_and_password(cli: &Cli<'_>) {
    cli.expect(&["-n", "3", "SET", "k", "three"], "OK");
    let url = format!("redis://127.0.0.1:{}/3", cli.server.port());
    cli.expect(&["-u", &url, "GET", "k"], "three");
    cli.expect(&["CONFIG", "SET", "requirepass", "secret"], "OK");
    cli.expect(&["GET", "k"], "NOAUTH Authentication required.");
    cli.expect(&["--no-auth-warning", "-a", "secret", "-n", "3", "GET", "k"], "three");
    let url = format!("redis://default:secret@127.0.0.1:{}/3", cli.server.port());
    cli.expect(&["--no-auth-warning", "-u", &url, "GET", "k"], "three");
}

fn repeat(cli: &Cli<'_>) {
    cli.expect(&["-r", "3", "-i", "0.01", "INCR", "n"], "1\n2\n3");
}

fn latency(cli: &Cli<'_>) {
    // Without a terminal it prints one line after a second: minimum, maximum and mean latency, and
    // the number of samples.
    let said = cli.run(&["--latency"], "");
    let numbers: Vec<f64> =
        said.out.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    assert!(numbers.len() >= 4 && numbers[3] >= 10.0, "{}{}", said.out, said.err);
}

fn stat(cli: &Cli<'_>) {
    cli.run(&["MSET", "a", "1", "b", "2"], "");
    // It flushes its rows only to a terminal.
    let tool = cli.tool.to_string_lossy();
    let command = format!("{tool} -p {} --stat -i 0.1", cli.server.port());
    let said = run(Path::new("script"), 2, &["-qec", &command, "/dev/null"], b"");
    let rows: Vec<&str> =
        said.out.lines().filter(|line| line.trim_start().starts_with("2 ")).collect();
    assert!(rows.len() >= 2, "{}{}", said.out, said.err);
}

fn bigkeys(cli: &Cli<'_>) {
    cli.run(&["MSET", "small", "1", "large", "a longer value"], "");
    let said = cli.run(&["--bigkeys"], "");
    let found = said.out.lines().find(|line| line.starts_with("Biggest string found"));
    assert!(
        found.is_some_and(|line| line.contains("large") && line.ends_with("has 14 bytes")),
        "{}{}",
        said.out,
        said.err
    );
}

fn memkeys(cli: &Cli<'_>) {
    cli.run(&["MSET", "small", "1", "large", &"v".repeat(4000)], "");
    let said = cli.run(&["--memkeys"], "");
    let found = said.out.lines().find(|line| line.starts_with("Biggest string found"));
    assert!(found.is_some_and(|line| line.contains("large")), "{}{}", said.out, said.err);
}

fn hotkeys(cli: &Cli<'_>) {
    // Each policy that counts uses; the last one is ours.
    for policy in ["allkeys-lfu", "allkeys-lrfu"] {
        if cli.run(&["CONFIG", "SET", "maxmemory-policy", policy], "").out.trim_end() != "OK" {
            continue;
        }
        cli.run(&["FLUSHALL"], "");
        cli.run(&["MSET", "cold", "1", "hot", "2"], "");
        cli.run(&["-r", "40", "GET", "hot"], "");
        let said = cli.run(&["--hotkeys"], "");
        let hottest = said.out.lines().find(|line| line.starts_with("hot key found"));
        assert!(hottest.is_some_and(|line| line.contains("hot\"")), "{}{}", said.out, said.err);
    }
}

fn keystats(cli: &Cli<'_>) {
    cli.run(&["MSET", "small", "1", "large", &"v".repeat(4000)], "");
    cli.run(&["RPUSH", "list", "a", "b", "c"], "");
    let said = cli.run(&["--keystats"], "");
    // Only the newest redis-cli has it.
    if said.err.contains("Unrecognized option") {
        return;
    }
    let has = |start: &str, text: &str| {
        said.out.lines().any(|line| line.starts_with(start) && line.contains(text))
    };
    assert!(has("list", "list has 3 items"), "{}{}", said.out, said.err);
    assert!(has("string", "large"), "{}{}", said.out, said.err);
}

fn command_count(cli: &Cli<'_>) {
    let said = cli.run(&["--no-raw", "COMMAND", "COUNT"], "");
    let count = said.out.trim_start_matches("(integer) ").trim().parse::<usize>();
    assert!(count.is_ok_and(|count| count > 50), "{}", said.out);
}

fn prints_as_we_do(cli: &Cli<'_>) {
    let types =
        ["string", "integer", "double", "null", "array", "set", "map", "verbatim", "true", "false"];
    for resp in ["2", "3"] {
        let mut connection = cli.server.connect();
        connection.execute(&["HELLO", resp]);
        for name in types {
            let ours = print(&connection.execute(&["DEBUG", "PROTOCOL", name]));
            let flag = format!("-{resp}");
            let theirs = cli.run(&[&flag, "--no-raw", "DEBUG", "PROTOCOL", name], "");
            assert_eq!(ours, theirs.out, "{name} in RESP{resp}");
        }
        let request = ["COMMAND", "INFO", "set", "nosuch", "get"];
        let ours = print(&connection.execute(&request));
        let flag = format!("-{resp}");
        let theirs = cli.run(&[&[flag.as_str(), "--no-raw"], &request[..]].concat(), "");
        assert_eq!(ours, theirs.out, "COMMAND INFO in RESP{resp}");
    }
}
