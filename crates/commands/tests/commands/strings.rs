//! Handlers of strings: what their transcripts don't show.

use basalt_keyspace::DatabaseId;

use crate::shard::{NOW_MS, Shard};

const DB: DatabaseId = DatabaseId(0);

#[test]
fn set_reads_its_options_as_redis_does() {
    Shard::new().check(
        r"
        SET k v NX XX -> !ERR syntax error
        SET k v NX NX -> OK
        SET k v IFEQ v XX -> !ERR syntax error
        SET k v IFEQ v IFEQ v -> !ERR syntax error
        GETEX none EX 0 -> !ERR invalid expire time in 'getex' command
        GETEX none EX x -> !ERR value is not an integer or out of range
        GETEX none EX 5 -> (nil)
        SET k v EX 10 EX 20 -> OK
        TTL k -> 20
        SET k v KEEPTTL EX 5 -> !ERR syntax error
        SET k v EX -> !ERR syntax error
        SET k v EX 1.5 -> !ERR value is not an integer or out of range
        SET k v EX 9223372036854775807 -> !ERR invalid expire time in 'set' command
        SET k v PX 9223372036854775807 -> !ERR invalid expire time in 'set' command
        SET k v EXAT -1 -> !ERR invalid expire time in 'set' command
        SET k v XX GET px 5000 -> v
        PTTL k -> 5000
        SET k w IFEQ other -> (nil)
        SET k w IFEQ v GET -> v
        SET k 10 IFNE w -> (nil)
        SET k 10 IFNE v -> OK
        SET k x IFEQ 10 -> OK
        SET none x IFEQ x -> (nil)
        SET none x IFNE x GET -> (nil)
        GET none -> x
        DIGEST none -> eaf06c6480b2cd11
        SET none y IFDNE EAF06C6480B2CD11 -> (nil)
        SET none y IFDEQ EAF06C6480B2CD11 GET -> x
        SET absent y IFDEQ EAF06C6480B2CD11 -> (nil)
        SET absent y IFDNE EAF06C6480B2CD11 -> OK
        SET absent y IFDNE 3C2B -> !ERR must be exactly 16 hexadecimal characters
        SET absent y IFDNE EAF06C6480B2CD11 NX -> !ERR syntax error
        ",
    );
}

#[test]
fn a_moment_that_is_past_leaves_no_key() {
    let mut shard = Shard::new();
    let past = NOW_MS / 1000;
    shard.check(&format!(
        "SET k v -> OK
         SET k w EXAT {past} GET -> v
         EXISTS k -> 0
         SET k v PXAT {NOW_MS} -> OK
         EXISTS k -> 0
         SET k v -> OK
         GETEX k PXAT {NOW_MS} -> v
         EXISTS k -> 0"
    ));
    assert_eq!(shard.keyspace.stats.expired, 0, "they were removed, not expired");
}

#[test]
fn expiry_comes_with_time() {
    Shard::new().check(
        "SET k v PX 100 -> OK
         APPEND k w -> 2
         INCRBYFLOAT n 1.5 -> 1.5
         PEXPIRE n 50 -> 1
         INCRBYFLOAT n 1 -> 2.5
         PTTL n -> 50
         SETRANGE k 0 V -> 2
         +ms 99
         GET k -> Vw
         PTTL k -> 1
         EXISTS n -> 0
         +ms 1
         GET k -> (nil)
         TTL k -> -2",
    );
}

#[test]
fn encodings_are_redis() {
    let long = "x".repeat(45);
    Shard::new().check(&format!(
        "SET k 9223372036854775807 -> OK
         OBJECT ENCODING k -> int
         SET k 9223372036854775808 -> OK
         OBJECT ENCODING k -> embstr
         SET k 007 -> OK
         OBJECT ENCODING k -> embstr
         SET k {long} -> OK
         OBJECT ENCODING k -> raw
         APPEND new 12 -> 2
         OBJECT ENCODING new -> int
         APPEND new 3 -> 3
         OBJECT ENCODING new -> raw
         INCR new -> 124
         OBJECT ENCODING new -> int
         SETRANGE r 0 ab -> 2
         OBJECT ENCODING r -> raw
         INCRBYFLOAT f 3 -> 3
         OBJECT ENCODING f -> embstr
         GETSET f 4 -> 3
         OBJECT ENCODING f -> int
         MSET f five -> OK
         OBJECT ENCODING f -> embstr"
    ));
}

#[test]
fn numbers_stop_at_their_ends() {
    Shard::new().check(
        "SET k -9223372036854775808 -> OK
         DECR k -> !ERR increment or decrement would overflow
         DECRBY k -1 -> -9223372036854775807
         INCRBY k 9223372036854775808 -> !ERR value is not an integer or out of range
         SET k 1.5 -> OK
         INCR k -> !ERR value is not an integer or out of range
         SET s text -> OK
         INCRBYFLOAT s nope -> !ERR value is not a valid float",
    );
}

#[test]
fn lengths_stop_at_the_limit() {
    let mut shard = Shard::new();
    shard.config.proto_max_bulk_len = 10;
    shard.check(
        "SET k 12345678 -> OK
         APPEND k 9a -> 10
         APPEND k b -> !ERR string exceeds maximum allowed size (proto-max-bulk-len)
         SETRANGE k 9 X -> 10
         SETRANGE k 10 X -> !ERR string exceeds maximum allowed size (proto-max-bulk-len)
         SETRANGE none 9223372036854775807 X -> !ERR string exceeds maximum allowed size (proto-max-bulk-len)
         SETRANGE none 100 '' -> 0
         GET k -> 123456789X",
    );
}

#[test]
fn looks_are_counted_as_redis_counts_them() {
    let mut shard = Shard::new();
    shard.check("SET k v -> OK");
    for (request, hits, misses) in [
        ("GET k", 1, 0),
        ("GET none", 0, 1),
        ("MGET k none k", 2, 1),
        ("EXISTS k none", 1, 1),
        ("TTL k", 1, 0),
        ("STRLEN none", 0, 1),
        ("OBJECT ENCODING k", 1, 0),
        ("TYPE none", 0, 1),
        ("SET k v", 0, 0),
        ("SET k v GET", 1, 0),
        ("SET k v NX", 0, 0),
        ("GETSET k v", 1, 0),
        ("GETEX none", 0, 1),
        ("GETDEL none", 0, 1),
        ("SETNX k v", 0, 0),
        ("INCR n", 0, 0),
        ("APPEND k v", 0, 0),
        ("EXPIRE k 100", 0, 0),
        ("DEL none", 0, 0),
    ] {
        let before = shard.keyspace.stats;
        shard.ask(request);
        let after = shard.keyspace.stats;
        assert_eq!(
            (after.hits - before.hits, after.misses - before.misses),
            (hits, misses),
            "{request}"
        );
    }
}

#[test]
fn asking_about_a_key_is_no_use_of_it() {
    let mut shard = Shard::new();
    shard.check("SET k v -> OK");
    shard.wait_ms(5_000);
    shard.check(
        "TTL k -> -1
         EXISTS k -> 1
         TYPE k -> string
         OBJECT IDLETIME k -> 5
         TOUCH k none -> 1
         OBJECT IDLETIME k -> 0",
    );
    shard.wait_ms(7_000);
    shard.check(
        "GET k -> v
         OBJECT IDLETIME k -> 0",
    );
}

#[test]
fn many_keys_may_be_one() {
    let mut shard = Shard::new();
    shard.check(
        "MSET a 1 a 2 b 3 -> OK
         MGET a b a c -> [2 3 2 (nil)]
         MSET a -> !ERR wrong number of arguments for 'mset' command
         MSET a 1 b -> !ERR wrong number of arguments for 'mset' command
         DEL a a b c -> 2",
    );
    assert_eq!(shard.keyspace.len(DB), 0);
}

#[test]
fn bytes_are_bytes() {
    let mut shard = Shard::new();
    let (key, value): (&[u8], &[u8]) = (b"\0\xff\r\n", b"\r\n\0\xfe");
    shard.ask_args(&[b"SET", key, value]);
    assert_eq!(shard.ask_args(&[b"GET", key]).as_bytes(), Some(value));
    let empty: &[u8] = b"";
    shard.ask_args(&[b"SET", empty, empty]);
    assert_eq!(shard.ask_args(&[b"GET", empty]).as_bytes(), Some(empty));
    assert_eq!(shard.ask_args(&[b"APPEND", empty, empty]), basalt_resp::Value::Integer(0));
}
