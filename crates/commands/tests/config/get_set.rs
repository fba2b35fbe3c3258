//! CONFIG GET and CONFIG SET. Every text was seen on Redis 7.0, where nothing else is said.

use super::*;
use basalt_commands::config::{PARAMETERS, Standing, find};

fn refused(name: &str, value: &str, why: &str) {
    let expected = format!("CONFIG SET failed (possibly related to argument '{name}') - {why}");
    assert_eq!(set(&Config::default(), &[(name, value)]), Err(expected), "{value:?}");
}

/// By CONFIG SET; in a file where CONFIG SET refuses it, because nothing acts on it yet.
fn becomes(name: &str, value: &str, shown: &str) {
    let (parameter, _) = find(name.as_bytes()).expect("it is a parameter");
    let config = match parameter.missing() {
        None => set(&Config::default(), &[(name, value)]).unwrap_or_else(|error| panic!("{error}")),
        Some(_) => loaded(&format!("{name} \"{value}\"")),
    };
    assert_eq!(get(&config, name), shown, "{name} {value:?}");
}

#[test]
fn yes_and_no() {
    becomes("balance-slots", "YES", "yes");
    for value in ["x", "", "true", "1", "yes "] {
        refused("balance-slots", value, "argument must be 'yes' or 'no'");
    }
}

#[test]
fn integers() {
    becomes("timeout", "2147483647", "2147483647");
    for value in ["abc", "", "1.5", " 1", "01", "+1", "-0", "0x10", "1 ", "9223372036854775808"] {
        refused("timeout", value, "argument couldn't be parsed into an integer");
    }
    refused("timeout", "2147483648", "argument must be between 0 and 2147483647 inclusive");
    refused("maxclients", "0", "argument must be between 1 and 4294967295 inclusive");
    refused("active-expire-effort", "11", "argument must be between 1 and 10 inclusive");
    let all = "argument must be between 0 and 9223372036854775807 inclusive";
    refused("hash-max-listpack-entries", "-5", all);
    let int = "argument must be between -2147483648 and 2147483647 inclusive";
    refused("list-max-listpack-size", "99999999999", int);
    becomes("slowlog-log-slower-than", "-1", "-1");
}

#[test]
fn hz_is_brought_into_its_range() {
    becomes("hz", "0", "1");
    becomes("hz", "1000", "500");
    refused("hz", "-1", "argument must be between 0 and 2147483647 inclusive");
}

#[test]
fn memory() {
    for (value, bytes) in [
        ("100", "100"),
        ("1b", "1"),
        ("1k", "1000"),
        ("1kb", "1024"),
        ("3M", "3000000"),
        ("3mB", "3145728"),
        ("2g", "2000000000"),
        ("2gb", "2147483648"),
        ("", "0"),
        ("mb", "0"),
        ("007", "7"),
        ("99999999999999999999", "18446744073709551615"),
    ] {
        becomes("maxmemory", value, bytes);
    }
    for value in ["1x", "-1", "1.5gb", "1 mb", "10%", " 1", "1tb"] {
        refused("proto-max-bulk-len", value, "argument must be a memory value");
    }
    becomes("proto-max-bulk-len", "4095mb", "4293918720");
    let range = "argument must be between 1048576 and 4293918720 inclusive";
    for value in ["1", "4293918721", "8gb", "18446744073709551615"] {
        refused("proto-max-bulk-len", value, range);
    }
    let range = "argument must be between 1048576 and 9223372036854775807 inclusive";
    refused("client-query-buffer-limit", "18446744073709551615", range);
}

#[test]
fn memory_or_percent() {
    becomes("maxmemory", "80%", "80%");
    becomes("maxmemory", "0%", "0");
    for value in ["1x", "-1", "1.5gb", "1 mb", " 1", "1tb", "1.5%", "%"] {
        refused("maxmemory", value, "argument must be a memory or percent value");
    }
    becomes("maxmemory-clients", "10%", "10%");
    becomes("maxmemory-clients", "5mb", "5242880");
    becomes("maxmemory-clients", "0%", "0");
    refused("maxmemory-clients", "101%", "percentage argument must be less or equal to 100");
    for value in ["10x", "%", "-5%"] {
        refused("maxmemory-clients", value, "argument must be a memory or percent value");
    }
}

#[test]
fn octal_numbers() {
    assert_eq!(get(&loaded("unixsocketperm 0777"), "unixsocketperm"), "777");
    assert_eq!(loaded("unixsocketperm 700").unixsocketperm, 0o700);
    for (value, why) in [
        ("8", "argument couldn't be parsed as an octal number"),
        ("1000", "argument must be between 0 and 777 inclusive"),
        ("-1", "argument must be between 0 and 777 inclusive"),
    ] {
        assert_eq!(load(&format!("unixsocketperm {value}")).unwrap_err().errors[0].message, why);
    }
}

#[test]
fn one_of_several_words() {
    becomes("maxmemory-policy", "ALLKEYS-lru", "allkeys-lru");
    becomes("oom-score-adj", "relative", "yes");
    let names = "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, \
                 volatile-ttl, volatile-lrm, allkeys-lru, allkeys-lfu, allkeys-random, \
                 allkeys-lrm, allkeys-lrfu, volatile-lrfu, noeviction";
    refused("maxmemory-policy", "", names);
    refused("maxmemory-policy", "lru", names);
    // `nothing` is known since Redis 7.2.
    let levels =
        "argument(s) must be one of the following: debug, verbose, notice, warning, nothing";
    refused("loglevel", "warning ", levels);
}

#[test]
fn several_words_of_several() {
    becomes("shutdown-on-sigterm", "now save", "save now");
    becomes("shutdown-on-sigterm", "now default", "now");
    becomes("shutdown-on-sigterm", "default", "default");
    let both = "shutdown options SAVE and NOSAVE can't be used simultaneously";
    refused("shutdown-on-sigterm", "save nosave", both);
    let names = "argument(s) must be one of the following: default, save, nosave, now, force";
    for value in ["foo", "", "save  now"] {
        refused("shutdown-on-sigterm", value, names);
    }
}

#[test]
fn save_points() {
    becomes("save", "900 1 300 10", "900 1 300 10");
    becomes("save", "", "");
    for value in ["a", "1 2  3 4", "10 20 30", " ", "0 1", "60 -1", "60"] {
        refused("save", value, "Invalid save parameters");
    }
}

#[test]
fn output_buffer_limits() {
    let name = "client-output-buffer-limit";
    becomes(
        name,
        "normal 1mb 2k 3 slave 1 2 3",
        "normal 1048576 2000 3 slave 1 2 3 pubsub 33554432 8388608 60",
    );
    becomes(name, "replica 5 1 1", "normal 0 0 0 slave 5 1 1 pubsub 33554432 8388608 60");
    refused(name, "normal 1 2", "Wrong number of arguments in buffer limit configuration.");
    for class in ["foo", "master"] {
        let why = "Invalid client class specified in buffer limit configuration.";
        refused(name, &format!("{class} 1 2 3"), why);
    }
    for limit in ["x 1 1", "1 x 1", "1 1 x", "1 1 -1"] {
        let why = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        refused(name, &format!("pubsub {limit}"), why);
    }
}

#[test]
fn keyspace_events() {
    let name = "notify-keyspace-events";
    becomes(name, "KEA", "AKE");
    becomes(name, "gxEmn", "gxnEm");
    becomes(name, "KEg$lshzxetdmn", "AKEm");
    becomes(name, "Koc", "Koc");
    becomes(name, "", "");
    refused(name, "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
}

#[test]
fn percentiles() {
    let name = "latency-tracking-info-percentiles";
    becomes(name, "1 2.5 100 0.123456789", "1 2.5 100 0.123457");
    becomes(name, "", "");
    let range = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
    refused(name, "50 101", range);
    for value in ["x", "50  99", "nan"] {
        refused(name, value, "Invalid latency-tracking-info-percentiles parameters");
    }
}

#[test]
fn other_forms() {
    refused("oom-score-adj-values", "1 2", "wrong number of arguments");
    let range = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
    refused("oom-score-adj-values", "1 2 30000", range);
    refused("bind", &"1 ".repeat(16), "Too many bind addresses specified.");
    becomes("bind", "* -::*", "* -::*");
    becomes("bind", "", "");
    let template = "template format is invalid or contains unknown variables";
    for value in ["{foo}", "", "{title", "{}"] {
        refused("proc-title-template", value, template);
    }
    becomes("proc-title-template", "{{ {title}}", "{{ {title}}");
    let characters = "Hostnames may only contain alphanumeric characters, hyphens or dots";
    refused("cluster-announce-hostname", "a_b", characters);
    let length = "Hostnames must be less than 256 characters";
    refused("cluster-announce-hostname", &"a".repeat(256), length);
    let node = "Announced human node name contained invalid character";
    refused("cluster-announce-human-nodename", "a#b", node);
    // As Valkey 9.
    refused("cluster-announce-client-ipv4", "1.2.3", "Invalid IPv4 address");
    refused("cluster-announce-client-ipv6", "1.2.3.4", "Invalid IPv6 address");
}

#[test]
fn file_names_are_no_paths() {
    let config = loaded("enable-protected-configs yes");
    let error = set(&config, &[("dbfilename", "a/b")]).unwrap_err();
    assert!(error.ends_with(" - dbfilename can't be a path, just a filename"), "{error}");
    for (line, why) in [
        ("appendfilename \"\"", "appendfilename can't be empty"),
        ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
        ("appenddirname a\\b", "appenddirname can't be a path, just a dirname"),
    ] {
        assert_eq!(load(line).unwrap_err().errors[0].message, why);
    }
}

#[test]
fn what_may_not_be_set() {
    let config = Config::default();
    let failed = |name: &str, why: &str| {
        format!("CONFIG SET failed (possibly related to argument '{name}') - {why}")
    };
    for (pairs, error) in [
        (&[("DaemonIze", "yes")][..], failed("DaemonIze", "can't set immutable config")),
        (&[("dir", "/")], failed("dir", "can't set protected config")),
        (&[("HZ", "1"), ("hz", "2")], failed("hz", "duplicate parameter")),
        (
            &[("foo", "1"), ("daemonize", "yes")],
            "Unknown option or number of arguments for CONFIG SET - 'foo'".into(),
        ),
        (&[("daemonize", "yes"), ("foo", "1")], failed("daemonize", "can't set immutable config")),
        // Ours: silence would be a lie.
        (&[("tls-port", "1")], failed("tls-port", "TLS is not built yet")),
    ] {
        assert_eq!(set(&config, pairs).unwrap_err(), error);
    }
    assert!(set(&config, &[("tls-port", "0")]).is_ok());
}

#[test]
fn what_nothing_acts_on_yet_is_refused() {
    let failed = |name: &str, why: &str| {
        format!("CONFIG SET failed (possibly related to argument '{name}') - {why}")
    };
    let config = Config::default();
    for (name, value, why) in [
        ("repl-timeout", "5", "replication is not built yet"),
        ("tls-protocols", "TLSv1.2", "TLS is not built yet"),
    ] {
        assert_eq!(set(&config, &[(name, value)]).unwrap_err(), failed(name, why));
    }
    // A tool that sets what is in force, or takes it back, promises nothing.
    let config = loaded("repl-timeout 5\ntls-protocols TLSv1.2");
    let same = [("repl-timeout", "5"), ("tls-protocols", "TLSv1.2")];
    assert_eq!(set(&config, &same), Ok(config.clone()));
    let back = set(&config, &[("repl-timeout", "60"), ("tls-protocols", "")]);
    assert_eq!(back, Ok(Config::default()));
}

#[test]
fn every_row_that_waits_says_for_what() {
    for row in PARAMETERS {
        let waits = row.standing == Standing::Later;
        assert_eq!(row.missing().is_some(), waits, "{}", row.name);
        let generic = row.missing().is_some_and(|why| why.starts_with("its feature"));
        assert!(!generic, "{} needs a reason", row.name);
    }
}

#[test]
fn protected_parameters_open_by_degrees() {
    let pairs: &[(&[u8], &[u8])] = &[(b"dir", b"/tmp")];
    for (allowed, from_here, from_afar) in
        [("no", false, false), ("local", true, false), ("yes", true, true)]
    {
        let config = loaded(&format!("enable-protected-configs {allowed}"));
        assert_eq!(config.set(pairs, true).is_ok(), from_here, "{allowed}");
        assert_eq!(config.set(pairs, false).is_ok(), from_afar, "{allowed}");
    }
}

#[test]
fn all_or_nothing() {
    let config = Config::default();
    let error = set(&config, &[("hz", "12"), ("LFU-log-factor", "-1")]).unwrap_err();
    assert!(error.contains("'lfu-log-factor'"), "{error}");
    assert_eq!(config, Config::default());
    let after = set(&config, &[("hz", "12"), ("lfu-log-factor", "3")]).unwrap();
    assert_eq!((after.hz, after.lfu_log_factor), (12, 3));
    assert_eq!(
        after.changed(&config).map(|row| row.name).collect::<Vec<_>>(),
        ["hz", "lfu-log-factor"]
    );
}

#[test]
fn aliases_are_parameters_of_their_own_to_set() {
    let pairs = [("hash-max-listpack-value", "1"), ("hash-max-ziplist-value", "2")];
    let config = set(&Config::default(), &pairs).unwrap();
    assert_eq!(get(&config, "hash-max-listpack-value"), "2");
    let error = set(&config, &[("HASH-max-ziplist-value", "x")]).unwrap_err();
    assert!(error.contains("'hash-max-ziplist-value'"), "{error}");
}

fn names(patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
    let found = Config::default().get(&patterns);
    found.into_iter().map(|(name, _)| String::from_utf8_lossy(&name).into()).collect()
}

#[test]
fn names_and_globs_are_got() {
    assert_eq!(names(&["MaxMemory", "hz", "HZ"]), ["MaxMemory", "hz"]);
    assert_eq!(names(&["*-priority"]), ["replica-priority", "slave-priority"]);
    assert_eq!(names(&["slave-priority"]), ["slave-priority"]);
    assert_eq!(names(&["maxmemory-p*", "MAXMEMORY-[pq]*"]), ["maxmemory-policy"]);
    assert_eq!(names(&["nothing", "", "no-such*"]), Vec::<String>::new());
    assert_eq!(names(&["\\maxmemory"]), Vec::<String>::new());
    assert_eq!(names(&["maxmemor\\y"]), Vec::<String>::new());
}

#[test]
fn hidden_parameters_want_their_whole_name() {
    assert_eq!(names(&["key-load-delay"]), ["key-load-delay"]);
    assert_eq!(names(&["key-load-dela?"]), Vec::<String>::new());
}

#[test]
fn passwords_are_served_but_never_logged() {
    let config = set(&Config::default(), &[("requirepass", "swordfish")]).unwrap();
    assert_eq!(get(&config, "requirepass"), "swordfish");
    assert!(config.requirepass.is_set());
    assert!(!format!("{config:?}").contains("swordfish"));
    let binary: &[(&[u8], &[u8])] = &[(b"requirepass", b"\xff\0\"")];
    let config = config.set(binary, false).unwrap();
    assert_eq!(config.requirepass.0, b"\xff\0\"");
    let error = config.set(&[(b"masteruser", b"ok"), (b"logfile", b"\xff")], false).unwrap_err();
    assert!(error.to_string().contains("immutable"), "{error}");
}
