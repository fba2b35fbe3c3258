//! Start and end: listening, settings, signals, SHUTDOWN.

use super::{Test, eventually, launch, start, text};
use basalt_resp::Value;
use basalt_testkit::client::{Address, Connection};
use basalt_testkit::process::{Program, Scratch, Server, free_port};
use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::{Command, Output};
use std::time::Duration;

pub(super) const TESTS: &[(&str, Test)] = &[
    ("unix_socket", unix_socket),
    ("several_binds", several_binds),
    ("sigterm_ends_it", sigterm_ends_it),
    ("sigint_ends_it", sigint_ends_it),
    ("shutdown_ends_it", shutdown_ends_it),
    ("settings_from_file_and_command_line", settings_from_file_and_command_line),
    ("bad_setting_is_refused", bad_setting_is_refused),
    ("taken_port_is_refused", taken_port_is_refused),
    ("config_rewrite", config_rewrite),
    ("version", version),
    ("harmless_signals_are_ignored", harmless_signals_are_ignored),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("second_signal_ends_it_at_once", second_signal_ends_it_at_once),
    ("check_config", check_config),
    ("systemd_is_notified", systemd_is_notified),
    ("a_missing_supervisor_is_named", a_missing_supervisor_is_named),
    ("a_file_in_the_sockets_place_stays", a_file_in_the_sockets_place_stays),
    ("a_socket_that_was_left_is_replaced", a_socket_that_was_left_is_replaced),
    ("settings_without_effect_are_named", settings_without_effect_are_named),
    ("shipped_config_is_valid", shipped_config_is_valid),
    ("ready_line", ready_line),
    ("json_log", json_log),
    ("the_memory_thread_keeps_off_the_shards", the_memory_thread_keeps_off_the_shards),
    ("cursors_are_good_on_a_twin", cursors_are_good_on_a_twin),
];

/// LIMIT: how long a server may take to end when nothing holds it.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The line that scripts and foreign test suites wait for.
const READY: &str = "Ready to accept connections";

fn unix_socket(program: Program) {
    let scratch = Scratch::create().unwrap();
    let path = scratch.path().join("socket");
    let arg = path.to_string_lossy().into_owned();
    let server = start(program, &["--unixsocket", &arg, "--unixsocketperm", "700"]);
    let mut connection = Connection::open(&Address::Unix(path.clone())).unwrap();
    assert_eq!(text(&mut connection, &["SET", "k", "v"]), "OK");
    assert_eq!(text(&mut server.connect(), &["GET", "k"]), "\"v\"");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Two servers with the same `hash-seed` and the same data, filled in another order and over another number of
/// shards: a scan that asks now one and now the other meets everything. (In Valkey 9.1 it misses a quarter of a hash.)
fn cursors_are_good_on_a_twin(program: Program) {
    const COUNT: usize = 3000;
    let fill = |order: &mut dyn Iterator<Item = usize>, server: &Server| {
        let requests: Vec<Vec<String>> = order
            .flat_map(|number| {
                let name = format!("name:{number}");
                let words = [
                    vec!["SET", &name, "v"],
                    vec!["HSET", "hash", &name, "v"],
                    vec!["SADD", "set", &name],
                    vec!["ZADD", "zset", "1", &name],
                ];
                words.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>())
            })
            .collect();
        let mut client = server.connect();
        let is_new = |reply: &Value| *reply == Value::simple("OK") || *reply == Value::Integer(1);
        assert!(client.pipeline(&requests).unwrap().iter().all(is_new), "each is taken");
        client
    };
    let twin = |shards| start(program, &["--hash-seed", "of this test", "--shards", shards]);
    let servers = ["2", "3"].map(twin);
    let mut clients =
        [fill(&mut (0..COUNT), &servers[0]), fill(&mut (0..COUNT).rev(), &servers[1])];
    for command in [&["SCAN"][..], &["HSCAN", "hash"], &["SSCAN", "set"], &["ZSCAN", "zset"]] {
        let mut found = BTreeSet::new();
        let mut cursor = b"0".to_vec();
        for turn in 0.. {
            let page = [b"COUNT".to_vec(), b"20".to_vec()];
            let words = command.iter().map(|word| word.as_bytes().to_vec());
            let request: Vec<Vec<u8>> = words.chain([cursor]).chain(page).collect();
            let reply = clients[turn % 2].execute(&request);
            let Value::Array(parts) = reply else { panic!("{command:?} gives {reply:?}") };
            let [Value::Bulk(next), Value::Array(items)] = &parts[..] else { panic!("{parts:?}") };
            found.extend(items.iter().filter_map(|item| match item {
                Value::Bulk(name) if name.starts_with(b"name:") => Some(name.clone()),
                _ => None,
            }));
            cursor = next.to_vec();
            if cursor == b"0" {
                break;
            }
        }
        assert_eq!(found.len(), COUNT, "{command:?} misses some");
    }
}

fn several_binds(program: Program) {
    let server = start(program, &["--bind", "127.0.0.1 127.0.0.2 -::1"]);
    for host in ["127.0.0.1", "127.0.0.2"] {
        let address = format!("{host}:{}", server.port()).parse().unwrap();
        let mut connection = Connection::open(&Address::Tcp(address)).unwrap();
        assert_eq!(text(&mut connection, &["PING"]), "PONG", "{host}");
    }
    let elsewhere = format!("127.0.0.3:{}", server.port()).parse().unwrap();
    assert!(Connection::open(&Address::Tcp(elsewhere)).is_err(), "it listens where it should not");
}

fn assert_ends_well(mut server: Server) {
    let status = server.wait(ENDS_WITHIN).unwrap_or_else(|| panic!("it still runs"));
    assert!(status.success(), "it ended with {status}: {}", server.log());
}

/// Where there is a CPU without a shard, that is.
fn the_memory_thread_keeps_off_the_shards(program: Program) {
    let server = start(program, &["--shards", "1", "--pin-threads", "yes"]);
    let folder = format!("/proc/{}/task", server.pid());
    let (mut of_memory, mut of_shards) = (BTreeSet::new(), BTreeSet::new());
    for thread in fs::read_dir(&folder).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let name = line_of(&status, "Name:");
        match name.split('-').next() {
            Some("memory") => of_memory.extend(cpus(&status)),
            Some("shard") => of_shards.extend(cpus(&status)),
            _ => {}
        }
    }
    let all = cpus(&fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap());
    let others: BTreeSet<usize> = all.difference(&of_shards).copied().collect();
    assert_eq!(of_shards.len(), 1, "a shard has a CPU of its own");
    assert_eq!(of_memory, if others.is_empty() { all } else { others });
}

fn line_of<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

/// The CPUs that a thread may use, from `0-2,5`.
fn cpus(status: &str) -> BTreeSet<usize> {
    let number = |text: &str| text.parse::<usize>().expect("a CPU's number");
    let ranges = line_of(status, "Cpus_allowed_list:").split(',');
    let ends = ranges.map(|range| range.split_once('-').unwrap_or((range, range)));
    ends.flat_map(|(first, last)| number(first)..=number(last)).collect()
}

fn sigterm_ends_it(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    connection.execute(&["SET", "k", "v"]);
    server.signal("TERM");
    assert!(connection.is_closed());
    assert_ends_well(server);
}

fn sigint_ends_it(program: Program) {
    let server = start(program, &[]);
    server.signal("INT");
    assert_ends_well(server);
}

/// While one core is stalled the first signal can't be obeyed there; the next one doesn't ask.
fn second_signal_ends_it_at_once(program: Program) {
    let mut server = start(program, &[]);
    let mut connection = server.connect();
    connection.send(&["DEBUG", "SLEEP", "30"]).unwrap();
    server.signal("TERM");
    eventually("it has seen the first signal", || server.log().contains("SIGTERM"));
    // Signals that come together may count as one, so more are sent until it ends.
    let ended = (0..30).any(|_| {
        server.signal("TERM");
        server.wait(Duration::from_millis(100)).is_some()
    });
    assert!(ended, "signal after signal did not end it: {}", server.log());
}

fn shutdown_ends_it(program: Program) {
    for variant in [
        &["SHUTDOWN"][..],
        &["SHUTDOWN", "NOSAVE"],
        &["shutdown", "now"],
        &["SHUTDOWN", "NOSAVE", "NOW", "FORCE"],
    ] {
        let server = start(program, &[]);
        let mut connection = server.connect();
        assert_eq!(text(&mut connection, &["SHUTDOWN", "BOGUS"]), "(error) ERR syntax error");
        connection.send(variant).unwrap();
        assert!(connection.is_closed(), "{variant:?} was answered");
        assert_ends_well(server);
    }
}

fn settings_from_file_and_command_line(program: Program) {
    let scratch = Scratch::create().unwrap();
    let included = scratch.path().join("included.conf");
    fs::write(&included, "timeout 77\nmaxclients 50\n").unwrap();
    let config = scratch.path().join("test.conf");
    let text_of_config = format!(
        "# A comment\n\n  tcp-keepalive \"120\"\nmaxclients 40\ninclude {}\nproto-max-bulk-len 2mb\n\
         requirepass \"a \\x41\\\"\"\nsave \"\"\n",
        included.display()
    );
    fs::write(&config, text_of_config).unwrap();
    let server = match launch(program)
        .config_file(&config)
        .args(["--timeout", "88", "--requirepass", "other"])
        .start()
    {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    };
    let mut connection = server.connect();
    assert_eq!(text(&mut connection, &["PING"]), "(error) NOAUTH Authentication required.");
    assert_eq!(text(&mut connection, &["AUTH", "other"]), "OK");
    for (name, value) in [
        ("timeout", "88"),
        ("tcp-keepalive", "120"),
        ("maxclients", "50"),
        ("proto-max-bulk-len", "2097152"),
    ] {
        let shown = text(&mut connection, &["CONFIG", "GET", name]);
        assert_eq!(shown, format!("1) \"{name}\"\n2) \"{value}\""));
    }
}

fn run(program: Program, args: &[&str]) -> Output {
    let path = program.server().expect("because the trial is ignored without it");
    Command::new(path).args(args).output().unwrap()
}

fn all_output(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn bad_setting_is_refused(program: Program) {
    let scratch = Scratch::create().unwrap();
    let config = scratch.path().join("bad.conf");
    for line in
        ["no-such-directive 1", "maxclients many", "maxclients", "port 70000", "bind \"unbalanced"]
    {
        fs::write(&config, format!("# one\ntimeout 1\n{line}\n")).unwrap();
        let output = run(program, &[&config.to_string_lossy()]);
        let said = all_output(&output);
        assert!(!output.status.success(), "{line} was taken");
        assert!(
            said.contains('3') && said.contains(line.split(' ').next().unwrap()),
            "{line}: {said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    }
}

fn taken_port_is_refused(program: Program) {
    let server = start(program, &[]);
    let port = server.port().to_string();
    let output = run(program, &["--port", &port, "--bind", "127.0.0.1"]);
    let said = all_output(&output);
    assert!(!output.status.success());
    assert!(said.contains("ddress already in use") && !said.contains("panicked"), "{said}");
    assert_eq!(text(&mut server.connect(), &["PING"]), "PONG");
}

fn config_rewrite(program: Program) {
    let scratch = Scratch::create().unwrap();
    let config = scratch.path().join("rewritten.conf");
    fs::write(&config, "# kept\ntimeout 5\n").unwrap();
    let server = match launch(program).config_file(&config).start() {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    };
    let mut connection = server.connect();
    assert_eq!(
        text(&mut connection, &["CONFIG", "SET", "timeout", "6", "maxclients", "123"]),
        "OK"
    );
    assert_eq!(text(&mut connection, &["CONFIG", "REWRITE"]), "OK");
    let text_now = fs::read_to_string(&config).unwrap();
    for line in ["# kept", "timeout 6", "maxclients 123"] {
        assert!(text_now.lines().any(|has| has == line), "{line} is missing in:\n{text_now}");
    }
    let again = launch(program).config_file(&config).start();
    let again = again.expect("because the first one wrote the file itself");
    let mut connection = again.connect();
    assert_eq!(
        text(&mut connection, &["CONFIG", "GET", "maxclients"]),
        "1) \"maxclients\"\n2) \"123\""
    );
}

fn version(program: Program) {
    let output = run(program, &["--version"]);
    assert!(output.status.success());
    assert!(all_output(&output).chars().any(|letter| letter.is_ascii_digit()));
    assert!(run(program, &["--help"]).status.code().is_some());
}

fn check_config(program: Program) {
    let scratch = Scratch::create().unwrap();
    let config = scratch.path().join("test.conf");
    let path = config.to_string_lossy().into_owned();
    fs::write(&config, "timeout 5\nmaxmemory 1gb\n").unwrap();
    let port = free_port().unwrap().to_string();
    let output = run(program, &[&path, "--port", &port, "--check-config"]);
    assert!(output.status.success(), "{}", all_output(&output));
    fs::write(&config, "timeout 5\nno-such-directive 1\n").unwrap();
    let output = run(program, &[&path, "--check-config"]);
    let said = all_output(&output);
    assert!(!output.status.success() && said.contains("no-such-directive"), "{said}");
    // The flag may come first, and all that is wrong is said at once, also what no line shows.
    let gone = scratch.path().join("gone/log");
    fs::write(
        &config,
        format!(
            "timeout x\nport 1\nno-such-directive 1\ncluster-enabled yes\nlogfile {}\n",
            gone.display()
        ),
    )
    .unwrap();
    let output = run(program, &["--check-config", &path, "--bind", "300.1.1.1"]);
    let said = all_output(&output);
    assert!(!output.status.success());
    for part in ["test.conf:1: ", "test.conf:3: ", "test.conf:4: ", "logfile ", "bind 300.1.1.1: "]
    {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
}

fn harmless_signals_are_ignored(program: Program) {
    let server = start(program, &[]);
    let signals: &[&str] =
        if program == Program::Ours { &["HUP", "PIPE", "USR1", "USR2"] } else { &["HUP", "PIPE"] };
    for signal in signals {
        server.signal(signal);
        assert_eq!(text(&mut server.connect(), &["PING"]), "PONG", "after SIG{signal}");
    }
}

/// What arrives at the socket of a supervisor, as lines.
fn notified(socket: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).expect("a datagram comes in time");
    String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned).collect()
}

fn systemd_is_notified(program: Program) {
    let scratch = Scratch::create().unwrap();
    let path = scratch.path().join("notify");
    let name = format!("basalt-test-{}", std::process::id());
    let by_name = SocketAddr::from_abstract_name(&name).unwrap();
    for (variable, socket, supervised) in [
        (path.to_string_lossy().into_owned(), UnixDatagram::bind(&path).unwrap(), "systemd"),
        (format!("@{name}"), UnixDatagram::bind_addr(&by_name).unwrap(), "auto"),
    ] {
        socket.set_read_timeout(Some(ENDS_WITHIN)).unwrap();
        let server = launch(program)
            .env("NOTIFY_SOCKET", variable)
            .args(["--supervised", supervised, "--daemonize", "yes"])
            .start();
        let server = server.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(notified(&socket), ["STATUS=Basalt is starting"]);
        let ready = ["STATUS=Ready to accept connections", "READY=1"];
        assert_eq!(
            notified(&socket),
            [&ready[..], &[&format!("MAINPID={}", server.pid())]].concat()
        );
        let mut client = server.connect();
        let shown = super::limits::info_field(&mut client, "server", "process_supervised");
        assert_eq!(shown, "systemd");
        match supervised {
            "auto" => server.signal("TERM"),
            _ => client.send(&["SHUTDOWN"]).unwrap(),
        }
        assert_eq!(notified(&socket), ["STOPPING=1", "STATUS=Shutting down"]);
        assert_ends_well(server);
    }
}

fn a_missing_supervisor_is_named(program: Program) {
    let server = start(program, &["--supervised", "systemd"]);
    assert!(server.log().contains("$NOTIFY_SOCKET is not set"), "{}", server.log());
}

fn a_file_in_the_sockets_place_stays(program: Program) {
    let scratch = Scratch::create().unwrap();
    let path = scratch.path().join("precious");
    fs::write(&path, "data").unwrap();
    let path_text = path.to_string_lossy().into_owned();
    let output = run(program, &["--port", "0", "--unixsocket", &path_text]);
    let said = all_output(&output);
    assert!(!output.status.success() && said.contains("it is no socket"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

fn a_socket_that_was_left_is_replaced(program: Program) {
    let scratch = Scratch::create().unwrap();
    let path = scratch.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let group = Command::new("id").arg("-gn").output().unwrap();
    let group = String::from_utf8_lossy(&group.stdout).trim().to_owned();
    let path_text = path.to_string_lossy().into_owned();
    let server = start(program, &["--unixsocket", &path_text, "--unixsocketgroup", &group]);
    let mut connection = Connection::open(&Address::Unix(path)).unwrap();
    assert_eq!(text(&mut connection, &["PING"]), "PONG");
    // While something listens there, another server doesn't take it.
    let output = run(program, &["--port", "0", "--unixsocket", &path_text]);
    assert!(!output.status.success(), "{}", all_output(&output));
    drop(server);
}

fn settings_without_effect_are_named(program: Program) {
    let server = start(program, &["--repl-timeout", "5", "--save", "60 1"]);
    let log = server.log();
    let (name, why) = ("repl-timeout", "replication is not built yet");
    let line = log.lines().find(|line| line.contains(&format!("'{name}' has no effect")));
    assert!(line.is_some_and(|line| line.contains("WARN") && line.contains(why)), "{log}");
    let help = run(program, &["--help"]);
    let help = all_output(&help);
    assert!(help.contains("--maxmemory ") && !help.contains("repl-timeout"), "{help}");
}

fn shipped_config_is_valid(program: Program) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/basalt.conf");
    let output = run(program, &[path, "--check-config"]);
    assert!(output.status.success(), "{}", all_output(&output));
}

fn ready_line(program: Program) {
    let server = start(program, &[]);
    eventually("it says that it is ready", || server.log().contains(READY));
    let log = server.log();
    assert!(log.contains(&server.pid().to_string()), "the log does not tell the process id: {log}");
}

fn json_log(program: Program) {
    let server = start(program, &["--log-format", "json"]);
    eventually("it says that it is ready", || server.log().contains(READY));
    let log = server.log();
    let line = log.lines().find(|line| line.contains(READY)).unwrap_or_default();
    assert!(line.starts_with('{') && line.ends_with('}'), "{log}");
}
