//! Handlers of keys: cases that transcripts do not show.

use basalt_commands::config::EvictionPolicy;
use basalt_keyspace::DatabaseId;

use crate::shard::{NOW_MS, Shard};

#[test]
fn expiry_follows_its_conditions() {
    Shard::new().check(
        "EXPIRE none 10 -> 0
         SET k v -> OK
         EXPIRE k 100 XX -> 0
         EXPIRE k 100 GT -> 0
         EXPIRE k 100 LT -> 1
         EXPIRE k 100 GT -> 0
         EXPIRE k 101 GT XX -> 1
         EXPIRE k 50 NX -> 0
         EXPIRE k 50 LT XX -> 1
         TTL k -> 50
         EXPIRE k 9223372036854775807 -> !ERR invalid expire time in 'expire' command
         EXPIRE k 9223372036854774 -> !ERR invalid expire time in 'expire' command
         PEXPIRE none 9223372036854775807 -> !ERR invalid expire time in 'pexpire' command
         EXPIRE none x NX GT -> !ERR NX and XX, GT or LT options at the same time are not compatible
         EXPIRE none x -> !ERR value is not an integer or out of range
         PERSIST k -> 1
         TTL k -> -1",
    );
}

#[test]
fn a_moment_that_is_past_removes() {
    let mut shard = Shard::new();
    shard.check(&format!(
        "MSET a 1 b 2 c 3 d 4 -> OK
         EXPIRE a 0 -> 1
         EXPIREAT b -9223372036854775 -> 1
         PEXPIREAT c {NOW_MS} -> 1
         PEXPIREAT d -9223372036854775808 LT -> 1
         EXISTS a b c d -> 0"
    ));
    assert_eq!(shard.keyspace.stats.expired, 0, "they were removed, not expired");
}

#[test]
fn times_are_told_to_the_nearest_second() {
    Shard::new().check(&format!(
        "SET k v PX 1499 -> OK
         TTL k -> 1
         PEXPIRE k 1500 -> 1
         TTL k -> 2
         PEXPIRETIME k -> {}
         EXPIRETIME k -> {}",
        NOW_MS + 1500,
        (NOW_MS + 2000) / 1000
    ));
}

#[test]
fn a_key_moves_with_all_it_has() {
    let mut shard = Shard::new();
    shard.check(
        "SET k value PX 5000 -> OK
         APPEND k s -> 6
         MOVE k 3 -> 1
         MOVE k 3 -> 0
         SET k other -> OK
         MOVE k 3 -> 0
         MOVE k 0 -> !ERR source and destination objects are the same
         MOVE k 16 -> !ERR DB index is out of range
         MOVE k x -> !ERR value is not an integer or out of range",
    );
    shard.database = DatabaseId(3);
    shard.check(
        "GET k -> values
         PTTL k -> 5000
         OBJECT ENCODING k -> raw
         +ms 5000
         MOVE k 0 -> 0",
    );
}

#[test]
fn frequency_and_idleness_exclude_each_other() {
    let mut shard = Shard::new();
    shard.config.maxmemory_policy = EvictionPolicy::AllkeysLfu;
    shard.check(
        "SET k v -> OK
         OBJECT IDLETIME none -> (nil)
         OBJECT IDLETIME k -> !ERR An LFU maxmemory policy is selected, idle time not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
    );
}
