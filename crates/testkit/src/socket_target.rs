//! The transcripts' target over a socket: a server process, ours or an oracle.
//!
//! Its clock is the wall clock, so to advance it is to wait; long waits are refused.

use crate::client::{Connection, Request, request};
use crate::process::{Launch, NotStarted, Program, Server};
use crate::transcript::{Profile, Target};
use basalt_resp::Value;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// LIMIT: the longest wait of a transcript in real time; longer ones are for the simulated target.
const WAIT_MS_MAX: u64 = 1500;

/// Which server and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketPlace {
    pub program: Program,
    pub resp: u8,
    pub shard_count: Option<usize>,
}

impl SocketPlace {
    /// Its name in test names.
    pub fn name(&self) -> String {
        let program = self.program.name();
        match self.shard_count {
            Some(count) => format!("{count}-shards-resp{}", self.resp),
            None => format!("{program}-resp{}", self.resp),
        }
    }

    pub fn profile(&self) -> Profile {
        Profile {
            program: self.program.name(),
            resp: self.resp,
            shard_count: self.shard_count,
            wait_ms_max: WAIT_MS_MAX,
        }
    }

    fn launch(&self) -> Launch {
        let shards = self.shard_count.map(|count| ["--shards".to_owned(), count.to_string()]);
        Launch::new(self.program).args(shards.into_iter().flatten())
    }
}

/// A running server with the connections of the transcript's clients.
pub struct SocketTarget {
    profile: Profile,
    server: Server,
    connections: BTreeMap<String, Connection>,
}

impl SocketTarget {
    pub fn start(place: &SocketPlace) -> Result<Self, NotStarted> {
        let server = place.launch().start()?;
        Ok(Self { profile: place.profile(), server, connections: BTreeMap::new() })
    }

    /// Resets it: no keys, and no client but the new `main`.
    pub fn reset(&mut self) -> io::Result<()> {
        self.connections.clear();
        match self.execute("main", &request(&["FLUSHALL"]))? {
            Value::Simple(_) => {}
            other => return Err(io::Error::other(format!("FLUSHALL said {other:?}"))),
        }
        // Closed clients and their subscriptions may still be counted for a moment, by another shard as well.
        for _ in 0..1000 {
            let info = self.execute("main", &request(&["INFO"]))?;
            let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
            let is_none = |field| info.contains(&format!("\r\n{field}:0\r\n"));
            if info.contains("connected_clients:1\r\n")
                && is_none("pubsub_channels")
                && is_none("pubsub_patterns")
                && (is_none("pubsubshard_channels") || !info.contains("pubsubshard_channels"))
            {
                return Ok(());
            }
        }
        Err(io::Error::other("clients that have left are still counted"))
    }

    /// The server's output so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    fn connection(&mut self, client: &str) -> io::Result<&mut Connection> {
        if !self.connections.contains_key(client) {
            let mut connection = Connection::open(&self.server.address())?;
            if self.profile.resp == 3 {
                connection.ask(&request(&["HELLO", "3"]))?;
            }
            self.connections.insert(client.to_owned(), connection);
        }
        Ok(self.connections.get_mut(client).expect("because it was put there when it was missing"))
    }
}

impl Target for SocketTarget {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn execute(&mut self, client: &str, args: &Request) -> io::Result<Value> {
        self.connection(client)?.ask(args)
    }

    fn begin_wait(&mut self, client: &str, args: &Request) -> io::Result<Option<Value>> {
        let Value::Integer(id) = self.connection(client)?.ask(&request(&["CLIENT", "ID"]))? else {
            return Err(io::Error::other("CLIENT ID told no number"));
        };
        let mut other = Connection::open(&self.server.address())?;
        self.connection(client)?.begin_wait(args, id, &mut other)
    }

    fn end_wait(&mut self, client: &str) -> io::Result<Value> {
        self.connection(client)?.receive()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of a server process is the wall clock"
    )]
    fn advance_clock(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }
}
