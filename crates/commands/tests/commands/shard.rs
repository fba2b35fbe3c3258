//! A shard alone: enough of an engine to run the handlers of the table.

use basalt_commands::config::Config;
use basalt_commands::{Call, Command, ManyKeys, Run, key_positions, table};
use basalt_keyspace::{DatabaseId, KeyHasher, Keyspace, ReaderId};
use basalt_resp::{ParseLimits, Parsed, Protocol, Reply, Value, decode, parse};

/// Some moment, in milliseconds since 1970.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) struct Shard {
    pub(crate) keyspace: Keyspace,
    reader: ReaderId,
    pub(crate) database: DatabaseId,
    pub(crate) config: Config,
    pub(crate) protocol: Protocol,
}

/// The words of a line as redis-cli splits them.
pub(crate) fn split(line: &str) -> Vec<Vec<u8>> {
    let input = [line.as_bytes(), b"\r\n"].concat();
    let words = |input: &[u8]| {
        let mut args = Vec::new();
        let parsed = parse(input, &mut None, &mut args, &ParseLimits::default());
        (parsed, args.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>())
    };
    match words(&input) {
        (Ok(Parsed::Request { .. }), words) => words,
        (Ok(Parsed::Rewritten { request, .. }), _) => words(&request).1,
        (parsed, _) => panic!("{line} is no request: {parsed:?}"),
    }
}

/// The row of a request.
pub(crate) fn row_of(args: &[&[u8]]) -> &'static Command {
    let command = table::find(args[0]).expect("because tests name commands that exist");
    match args.get(1) {
        Some(name) if matches!(command.run, Run::Container) => {
            table::find_subcommand(command, name)
                .expect("because tests name subcommands that exist")
        }
        _ => command,
    }
}

impl Shard {
    pub(crate) fn new() -> Self {
        let mut keyspace = Keyspace::new(16, KeyHasher::new(7), NOW_MS);
        let reader = keyspace.add_reader();
        let (database, protocol) = (DatabaseId(0), Protocol::Resp2);
        Self { keyspace, reader, database, config: Config::default(), protocol }
    }

    /// All records since the start.
    pub(crate) fn records(&self) -> &[u8] {
        self.keyspace.unread_records(self.reader).expect("the reader keeps up")
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.keyspace.set_now(self.keyspace.now_ms() + ms);
    }

    /// What a request is answered with, if a shard runs it.
    pub(crate) fn try_ask(&mut self, args: &[&[u8]]) -> Option<Value> {
        let row = row_of(args);
        let run = match row.run {
            Run::Shard(run) | Run::Split(run, _) => run,
            Run::Many(many) => many.whole,
            _ => return None,
        };
        let mut out = Vec::new();
        if !row.takes(args.len()) {
            let error = basalt_commands::CommandError::wrong_arity(row.name);
            return Some(Value::Error(error.as_bytes().to_vec()));
        }
        let key_at = key_positions(row, args).first().copied().unwrap_or(0);
        let key = self.keyspace.key(args[key_at]);
        let mut call = Call {
            command: row,
            keyspace: &mut self.keyspace,
            database: self.database,
            args,
            key,
            config: &self.config,
            reply: Reply::new(&mut out, self.protocol),
        };
        if let Err(error) = run(&mut call) {
            assert_eq!(call.reply.position(), 0, "{} refused behind a reply", row.name);
            call.reply.error_bytes(error.as_bytes());
        }
        self.keyspace.verify();
        if let (Run::Many(ManyKeys { blocking: Some(blocking), .. }), true) =
            (row.run, out.is_empty())
        {
            (blocking.nothing)(&mut Reply::new(&mut out, self.protocol));
        }
        let (value, len) = decode(&out).expect("a reply").expect("a whole reply");
        assert_eq!(len, out.len(), "{} replied twice", row.name);
        Some(value)
    }

    pub(crate) fn ask_args(&mut self, args: &[&[u8]]) -> Value {
        self.try_ask(args).expect("because tests here ask what a shard runs")
    }

    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let words = split(line);
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.ask_args(&args)
    }

    /// Asks and compares line by line: `SET k v -> OK`. A reply stands as in redis-cli, but texts without
    /// quotes and elements of arrays between brackets.
    pub(crate) fn check(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(ms) = line.strip_prefix("+ms ") {
                self.wait_ms(ms.parse().expect("because it is a number"));
                continue;
            }
            let (request, expected) = line.split_once(" -> ").expect("a request and its reply");
            assert_eq!(show(&self.ask(request)), expected, "{request}");
        }
    }
}

fn escaped(text: &[u8]) -> String {
    text.escape_ascii().to_string().replace("\\'", "'")
}

fn show(value: &Value) -> String {
    match value {
        Value::Null | Value::NullArray => "(nil)".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Array(elements) => {
            let shown: Vec<String> = elements.iter().map(show).collect();
            format!("[{}]", shown.join(" "))
        }
        Value::Simple(text) | Value::Bulk(text) => escaped(text),
        Value::Error(text) => format!("!{}", escaped(text)),
        other => panic!("RESP2 has no {other:?}"),
    }
}
