//! Configuration files: syntax, includes, errors, warnings, and rewriting.

use super::*;
use basalt_commands::config::{Extent, Source, rewrite};

fn error(text: &str) -> String {
    load(text).expect_err("a file that is wrong").to_string()
}

fn warnings(text: &str) -> Vec<String> {
    load(text).expect("a file that is right").1.iter().map(ToString::to_string).collect()
}

#[test]
fn syntax_is_that_of_redis() {
    let config = loaded(
        "# a comment\n\n  \t\n\tPORT   7000\t\r\n\
         requirepass \"a b\\x21\\n\"\n\
         logfile ''\n\
         maxmemory 100MB\n\
         bind 127.0.0.1 10.0.0.1\n bind ::1\n\
         slave-priority 7\n\
         shutdown-on-sigterm \"now force\"",
    );
    assert_eq!(config.port, 7000);
    assert_eq!(config.requirepass.0, b"a b!\n");
    assert_eq!(config.maxmemory.of(0), 100 << 20);
    assert_eq!(config.bind.0, ["::1"]);
    assert_eq!(config.later.replica_priority, 7);
    assert!(config.shutdown_on_sigterm.now && config.shutdown_on_sigterm.force);
}

#[test]
fn saves_add_up() {
    assert_eq!(get(&loaded("save 60 1\nsave 300 10 900 1"), "save"), "60 1 300 10 900 1");
    assert_eq!(get(&loaded("save \"60 1\""), "save"), "60 1");
    assert_eq!(get(&loaded("save 60 1\nsave \"\"\nsave 5 5"), "save"), "5 5");
    assert_eq!(get(&loaded("save ''"), "save"), "");
    let (file, line) = (&b"save 60 1"[..], [b"save 1 1".to_vec()]);
    let sources = [Source::File { name: "a.conf", text: file }, Source::CommandLine(&line)];
    let (config, _) = Config::load(&sources, &mut |_| Ok(Vec::new())).used().unwrap();
    assert_eq!(get(&config, "save"), "60 1 1 1");
}

#[test]
fn errors_tell_place_line_and_remedy() {
    assert_eq!(
        error("port 1\n\nmaxmemroy 100mb  # no comment\n"),
        "a.conf:3: 'maxmemroy 100mb  # no comment'\n  \
         Bad directive or wrong number of arguments: no 'maxmemroy' is known\n  \
         did you mean 'maxmemory'?"
    );
    assert!(error("zzzzzzzz 1").ends_with("no 'zzzzzzzz' is known"));
    let not_an_integer = "a.conf:1: 'timeout x'\n  argument couldn't be parsed into an integer";
    assert_eq!(error("timeout x"), not_an_integer);
    for line in ["port", "port 1 2", "rename-command a", "user", "include", "include a b"] {
        let expected = format!("a.conf:1: '{line}'\n  wrong number of arguments");
        assert_eq!(error(line), expected);
    }
    for line in ["logfile \"a", "logfile 'a'b", "save \"60 '1\""] {
        assert!(error(line).contains("a quote is not closed"), "{line}");
    }
    assert!(error("graph.cache 5").contains("there are no modules"));
    let lines = [b"port 70000".to_vec()];
    let refused = Config::load(&[Source::CommandLine(&lines)], &mut |_| Ok(Vec::new()));
    assert_eq!(
        refused.used().unwrap_err().to_string(),
        "command line: 'port 70000'\n  argument must be between 0 and 65535 inclusive"
    );
}

#[test]
fn all_lines_that_cannot_be_used_are_told() {
    let text = "port 70000\nhz 20\ncluster-enabled yes\nnonsense 1\ninclude gone.conf\ntimeout x";
    let errors = load(text).unwrap_err();
    let places: Vec<&str> = errors.errors.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(places, ["a.conf:1", "a.conf:3", "a.conf:4", "a.conf:5", "a.conf:6"]);
    assert!(
        errors.to_string().contains("inclusive\na.conf:3: 'cluster-enabled yes'\n"),
        "{errors}"
    );
    let loaded =
        Config::load(&[Source::File { name: "a.conf", text: text.as_bytes() }], &mut |_| {
            Err("gone".into())
        });
    assert_eq!(
        loaded.config,
        Config { hz: 20, ..Config::default() },
        "the rest is read all the same"
    );
}

#[test]
fn what_is_no_configuration_does_not_flood() {
    let errors = load(&"nonsense\n".repeat(1000)).unwrap_err();
    assert_eq!((errors.errors.len(), errors.omitted), (100, 900));
    assert!(errors.to_string().ends_with("\nand 900 more"));
}

#[test]
fn errors_keep_secrets() {
    for line in [
        "requirepass swordfish 2",
        "requirepas swordfish",
        "masterauth \"swordfish",
        "primaryauth a swordfish",
        "user default on >swordfish",
    ] {
        let shown = error(line);
        assert!(shown.contains("(hidden)") && !shown.contains("swordfish"), "{shown}");
    }
}

#[test]
fn what_silence_would_falsify_is_refused() {
    for line in [
        "rename-command FLUSHALL \"\"",
        "user alice on",
        "aclfile users.acl",
        "loadmodule m.so",
        "replicaof 10.0.0.1 6379",
        "slaveof 10.0.0.1 6379",
        "min-replicas-to-write 1",
        "cluster-enabled yes",
        "tls-port 6380",
        "sentinel monitor a 10.0.0.1 6379 2",
    ] {
        let shown = error(line);
        assert!(shown.contains("built yet") || shown.contains("cannot be loaded"), "{shown}");
    }
    let harmless = "aclfile \"\"\nreplicaof no one\ncluster-enabled no\ntls-port 0\nappendonly no";
    assert_eq!(loaded(harmless), Config::default());
}

#[test]
fn what_has_no_effect_is_said() {
    assert_eq!(
        warnings(
            "io-threads 4\nport 6379\nrepl-timeout 30\nrepl-timeout 60\nlua-replicate-commands yes"
        ),
        [
            "a.conf:1: 'io-threads' is accepted but has no effect: Every shard does its own I/O; see \
             `shards`.",
            "a.conf:3: 'repl-timeout' has no effect: replication is not built yet",
            "a.conf:5: 'lua-replicate-commands' is accepted but has no effect: effects are always \
             replicated",
        ]
    );
    assert_eq!(
        warnings("activerehashing yes\nio-threads 1\nactiverehashing yes"),
        ["accepted but without effect, with their default values: activerehashing, io-threads"]
    );
    assert!(warnings("save \"\"").is_empty(), "saving never is what it does");
    assert!(warnings("save 60 1").is_empty());
    assert!(warnings("maxmemory-policy allkeys-lru").is_empty());
    assert!(warnings("port 7000\nmaxmemory 1gb\nrequirepass x").is_empty());
}

fn with_files(files: &[(&str, &str)], text: &str) -> Result<Config, String> {
    let mut include = |pattern: &str| {
        let found = files.iter().filter(|(name, _)| {
            basalt_commands::glob::matches(pattern.as_bytes(), name.as_bytes())
        });
        let found: Vec<_> =
            found.map(|(name, text)| (String::from(*name), text.as_bytes().to_vec())).collect();
        match found.is_empty() && !pattern.contains('*') {
            true => Err(format!("cannot read '{pattern}': it is not there")),
            false => Ok(found),
        }
    };
    let loaded = Config::parse_file(text.as_bytes(), "a.conf", &mut include);
    loaded.map(|(config, _)| config).map_err(|error| error.to_string())
}

#[test]
fn includes_are_read_at_their_place() {
    let files = [("b.conf", "port 2\nhz 20\nsave 2 2"), ("c1.conf", "hz 30"), ("c2.conf", "hz 40")];
    let config =
        with_files(&files, "save 1 1\nport 1\ninclude b.conf\nport 3\ninclude \"c*.conf\"");
    let config = config.unwrap();
    assert_eq!((config.port, config.hz), (3, 40));
    assert_eq!(get(&config, "save"), "1 1 2 2");
    assert_eq!(with_files(&files, "include none*.conf"), Ok(Config::default()));
}

#[test]
fn includes_that_fail_tell_the_way() {
    let files = [
        ("b.conf", "\ninclude c.conf"),
        ("c.conf", "port x"),
        ("d.conf", "include a.conf"),
        ("a.conf", ""),
    ];
    assert_eq!(
        with_files(&files, "port 1\ninclude b.conf").unwrap_err(),
        "c.conf:1: 'port x'\n  argument couldn't be parsed into an integer\n  included at b.conf:2\n  \
         included at a.conf:2"
    );
    assert_eq!(
        with_files(&files, "include none.conf").unwrap_err(),
        "a.conf:1: 'include none.conf'\n  cannot read 'none.conf': it is not there"
    );
    assert_eq!(
        with_files(&files, "include d.conf").unwrap_err(),
        "d.conf:1: 'include a.conf'\n  'a.conf' includes itself\n  included at a.conf:1"
    );
}

#[test]
fn includes_have_an_end() {
    let mut count = 0;
    let mut include = |_: &str| {
        count += 1;
        Ok(vec![(format!("{count}.conf"), b"include next".to_vec())])
    };
    let errors = Config::parse_file(b"include next", "a.conf", &mut include).unwrap_err();
    let [error] = &errors.errors[..] else { panic!("one line is refused: {errors}") };
    assert!(error.message.contains("more than 16 deep"), "{error}");
    assert_eq!(error.included_at.len(), 16);
}

/// What the test suite of Redis gives every server that it starts.
#[test]
fn the_base_configuration_of_redis_tests_is_accepted() {
    let (config, warnings) = load(
        "always-show-logo yes\nnotify-keyspace-events KEA\ndaemonize no\npidfile /var/run/redis.pid\n\
         port 21111\ntimeout 0\nbind 127.0.0.1 -::1\nloglevel verbose\nlogfile ''\ndatabases 16\n\
         latency-monitor-threshold 1\nrepl-diskless-sync-delay 0\nsave 900 1\nsave 300 10\n\
         save 60 10000\nrdbcompression yes\ndbfilename dump.rdb\ndir ./tests/tmp\n\
         slave-serve-stale-data yes\nappendonly no\nappendfsync everysec\n\
         no-appendfsync-on-rewrite no\nactiverehashing yes\nenable-protected-configs yes\n\
         enable-debug-command yes\nenable-module-command yes\npropagation-error-behavior panic\n\
         unixsocket /tmp/socket\ncrash-memcheck-enabled no\nuse-exit-on-panic yes\n\
         aof-use-rdb-preamble yes\nkey-load-delay 50\nsanitize-dump-payload no\n\
         lua-enable-deprecated-api yes\nlatency-tracking-info-percentiles \"50 99\"\n\
         loading-process-events-interval-bytes 1024\nappenddirname d\nappendfilename a.aof",
    )
    .unwrap();
    assert_eq!(get(&config, "save"), "900 1 300 10 60 10000");
    assert!(!warnings.is_empty());
}

fn rewritten(text: &str, pairs: &[(&str, &str)]) -> String {
    let config = set(&loaded(text), pairs).expect("changes that are right");
    let rewritten = rewrite(text.as_bytes(), &config, Extent::Changed);
    let rewritten = String::from_utf8(rewritten).expect("plain text");
    assert_eq!(loaded(&rewritten), config, "{rewritten}");
    assert_eq!(
        rewrite(rewritten.as_bytes(), &config, Extent::Changed),
        rewritten.as_bytes(),
        "it is stable"
    );
    rewritten
}

#[test]
fn rewriting_keeps_what_is_right() {
    let text = "# hello\n\n  maxmemory 2147483648\r\nport 7000\n# bye\ninclude b*.conf\nslave-priority 5\n";
    let config = with_files(&[], text).unwrap();
    assert_eq!(rewrite(text.as_bytes(), &config, Extent::Changed), text.as_bytes());
    assert_eq!(rewrite(b"", &Config::default(), Extent::Changed), b"");
    assert_eq!(rewrite(b"\n", &Config::default(), Extent::Changed), b"\n");
    assert_eq!(rewrite(b"port 6379", &Config::default(), Extent::Changed), b"port 6379\n");
}

#[test]
fn rewriting_replaces_and_appends() {
    assert_eq!(
        rewritten(
            "# memory\nmaxmemory 1gb\nhz 10\nhz 20\n",
            &[("maxmemory", "3145728"), ("hz", "30"), ("requirepass", "a \"b\""), ("bind", "::1")],
        ),
        "# memory\nmaxmemory 3mb\nhz 30\n# Generated by CONFIG REWRITE\nbind ::1\n\
         requirepass \"a \\\"b\\\"\"\n"
    );
    assert_eq!(
        rewritten("# Generated by CONFIG REWRITE\nport 1\n", &[("timeout", "5")]),
        "# Generated by CONFIG REWRITE\nport 1\ntimeout 5\n",
        "one signature is enough"
    );
}

#[test]
fn rewriting_several_lines_of_one_parameter() {
    assert_eq!(
        rewritten(
            "client-output-buffer-limit normal 1 1 1\nport 5\nclient-output-buffer-limit pubsub 2 2 2\n",
            &[("client-output-buffer-limit", "pubsub 3 3 3")]
        ),
        "client-output-buffer-limit normal 1 1 1\nport 5\nclient-output-buffer-limit replica 256mb 64mb 60\n\
         # Generated by CONFIG REWRITE\nclient-output-buffer-limit pubsub 3 3 3\n"
    );
    assert_eq!(rewritten("save 1 1\nport 5\n", &[("save", "")]), "save \"\"\nport 5\n");
    assert_eq!(
        rewritten("save 1 1 2 2\nport 5\n", &[]),
        "save 1 1\nport 5\n# Generated by CONFIG REWRITE\nsave 2 2\n"
    );
    assert_eq!(
        rewritten("port 5\n", &[("client-output-buffer-limit", "pubsub 1kb 0 0")]),
        "port 5\n# Generated by CONFIG REWRITE\nclient-output-buffer-limit normal 0 0 0\n\
         client-output-buffer-limit replica 256mb 64mb 60\nclient-output-buffer-limit pubsub 1kb 0 0\n"
    );
    assert_eq!(
        rewrite(b"", &loaded("notify-keyspace-events An"), Extent::Changed),
        b"# Generated by CONFIG REWRITE\nnotify-keyspace-events \"g$lshzxetdn\"\n"
    );
}

#[test]
fn rewriting_keeps_what_it_does_not_understand_as_comments() {
    assert_eq!(
        rewrite(
            b"  gone 1\nport \"1\nrename-command a b\nlua-replicate-commands yes\n",
            &Config::default(),
            Extent::Changed
        ),
        b"# ??? gone 1\n# ??? port \"1\nrename-command a b\nlua-replicate-commands yes\n"
    );
}

#[test]
fn a_full_rewrite_tells_every_parameter_and_is_read_again() {
    let config = Config { port: 7000, ..Config::default() };
    let text = rewrite(b"# mine\nport 1\n", &config, Extent::All);
    let text = String::from_utf8(text).expect("all values are text");
    assert!(text.starts_with("# mine\nport 7000\n"), "{text}");
    for line in ["maxclients 10000", "lfu-decay-time 1", "shards 0"] {
        assert!(text.lines().any(|own| own == line), "{line} is missing in {text}");
    }
    assert!(loaded(&text) == config, "{text}");
}
