//! Random requests: nothing panics, errors change nothing, and replays give the same data.

use basalt_commands::{Argument, Command, CommandError, Run, requests, table};
use basalt_keyspace::{DatabaseId, KeyHasher, Keyspace};
use basalt_resp::Value;

use crate::shard::{NOW_MS, Shard};

const WORDS: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"007",
    b"1.5",
    b"nan",
    b"a",
    b"b",
    b"c",
    b"k{a}",
    b"\0\xff\r\n",
    b"*",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1700000000",
    b"100000",
    b"default",
    b"yes",
    b"no",
    b"on",
    b"off",
    b"|",
    b"get",
];

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn tokens(arguments: &'static [Argument], found: &mut Vec<&'static [u8]>) {
    for argument in arguments {
        if !argument.token.is_empty() {
            found.push(argument.token.as_bytes());
        }
        tokens(argument.arguments, found);
    }
}

/// A request for the row: at least its minimum number of arguments, some of them its keywords.
fn request(row: &'static Command, random: &mut Random) -> Vec<&'static [u8]> {
    let mut known = Vec::new();
    tokens(row.arguments, &mut known);
    let mut args: Vec<&[u8]> = row.name.split('|').map(str::as_bytes).collect();
    let mut wanted = usize::from(row.arity.unsigned_abs());
    if row.arity < 0 {
        wanted += random.below(6);
    }
    while args.len() < wanted || !row.takes(args.len()) {
        let is_known = !known.is_empty() && random.below(2) == 0;
        args.push(if is_known { random.pick(&known) } else { random.pick(WORDS) });
    }
    args
}

fn rows() -> Vec<&'static Command> {
    table::commands()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .collect()
}

#[test]
fn handlers_keep_their_word() {
    let rows: Vec<_> = rows()
        .into_iter()
        .filter(|row| matches!(row.run, Run::Shard(_) | Run::Split(..) | Run::Many(_)))
        .collect();
    let mut random = Random(0x5EED);
    for _ in 0..40 {
        let mut shard = Shard::new();
        // A string of half a gigabyte for each SETRANGE would only be slow.
        shard.config.proto_max_bulk_len = 1 << 20;
        for _ in 0..500 {
            let args = request(random.pick(&rows), &mut random);
            let changes = shard.keyspace.stats.changes;
            let reply = shard.ask_args(&args);
            if matches!(reply, Value::Error(_)) {
                assert_eq!(
                    shard.keyspace.stats.changes, changes,
                    "{args:?} was refused and changed"
                );
            }
            if random.below(20) == 0 {
                shard.wait_ms(random.next() % 100_000);
                shard.database = DatabaseId(random.below(3) as u16);
            }
        }
        let mut replayed = Keyspace::new(16, KeyHasher::new(3), NOW_MS);
        replayed.replay(shard.records()).expect("records are what was recorded");
        replayed.set_now(shard.keyspace.now_ms());
        assert_eq!(shard.keyspace.digests(), replayed.digests());
    }
}

/// Parses a request as the engine would, and drops the result.
fn read(row: &Command, args: &[&[u8]]) -> Result<(), CommandError> {
    match row.name {
        "ping" => requests::parse_ping(args).map(drop),
        "hello" => requests::parse_hello(args).map(drop),
        "auth" => requests::parse_auth(args).map(drop),
        "select" => requests::parse_select(args, 16).map(drop),
        "client|caching" => requests::parse_client_caching(args).map(drop),
        "client|kill" => requests::parse_client_kill(args, 16).map(drop),
        "client|list" => requests::parse_client_list(args, 16).map(drop),
        "client|no-evict" | "client|no-touch" => requests::parse_client_switch(args).map(drop),
        "client|pause" => requests::parse_client_pause(args).map(drop),
        "client|reply" => requests::parse_client_reply(args).map(drop),
        "client|setinfo" => requests::parse_client_setinfo(args).map(drop),
        "client|setname" => requests::parse_client_setname(args).map(drop),
        "client|tracking" => requests::parse_client_tracking(args).map(drop),
        "client|unblock" => requests::parse_client_unblock(args).map(drop),
        "scan" => requests::parse_scan(args).map(drop),
        "flushall" | "flushdb" => requests::parse_flush(args).map(drop),
        "swapdb" => requests::parse_swapdb(args, 16).map(drop),
        "config|set" => requests::parse_config_set(args).map(drop),
        "shutdown" => requests::parse_shutdown(args).map(drop),
        "debug" => requests::parse_debug(args).map(drop),
        "himport|prepare" => requests::parse_himport_prepare(args).map(drop),
        "lolwut" => requests::lolwut(args, "0", &mut || 1).map(drop),
        _ => Ok(()),
    }
}

#[test]
fn requests_are_read_or_refused() {
    let mut random = Random(0xBA5A17);
    let rows: Vec<_> = rows().into_iter().filter(|row| matches!(row.run, Run::Engine(_))).collect();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let row = random.pick(&rows);
        match read(row, &request(row, &mut random)) {
            Ok(()) => accepted += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(text.starts_with("ERR ") || text.starts_with("NOPROTO "), "{text}");
                refused += 1;
            }
        }
    }
    assert!(accepted > 2_000 && refused > 2_000, "{accepted} and {refused}: this tests little");
}
