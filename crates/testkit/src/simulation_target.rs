//! A transcript's target inside this process: the real engine on N shards, in simulated time.

use std::collections::{HashMap, VecDeque};
use std::io;

use basalt_commands::config::Config;
use basalt_resp::{Value, decode, encode_request};

use crate::client::Request;
use crate::simulation::{ClientId, Simulation};
use crate::transcript::{Profile, Target};

/// LIMIT: how often a reply that is missing is waited for, 2 ms each.
const DISK_WAITS_MAX: usize = 100;

/// A simulated server and its clients by name.
pub struct SimulationTarget {
    profile: Profile,
    simulation: Simulation,
    clients: HashMap<String, ClientId>,
    /// Replies and pushes that came and were not taken yet.
    received: HashMap<ClientId, VecDeque<Value>>,
}

impl SimulationTarget {
    pub fn new(shard_count: usize, resp: u8, config: Config, seed: u64) -> Self {
        let mut simulation = Simulation::new(shard_count, config, seed);
        // Clients must not notice.
        simulation.move_slots(&[]);
        let profile = Self::profile_of(shard_count, resp);
        Self { profile, simulation, clients: HashMap::new(), received: HashMap::new() }
    }

    /// The capabilities of such a target.
    pub fn profile_of(shard_count: usize, resp: u8) -> Profile {
        Profile { program: "ours", resp, shard_count: Some(shard_count), wait_ms_max: u64::MAX }
    }

    fn client(&mut self, name: &str) -> io::Result<ClientId> {
        if let Some(&client) = self.clients.get(name) {
            return Ok(client);
        }
        let client = self.simulation.connect(self.clients.len());
        self.clients.insert(name.into(), client);
        if self.profile.resp == 3 {
            self.ask(client, &[b"HELLO".to_vec(), b"3".to_vec()])?;
        }
        Ok(client)
    }

    fn ask(&mut self, client: ClientId, args: &[Vec<u8>]) -> io::Result<Value> {
        self.send(client, args);
        // What waits for the disk (SAVE) is answered in time.
        for _ in 0..DISK_WAITS_MAX {
            self.take_in(client)?;
            let has_reply = self.received.get(&client).is_some_and(|replies| !replies.is_empty());
            if has_reply || !self.simulation.is_connected(client) {
                break;
            }
            self.simulation.advance_ms(2);
            self.simulation.settle();
        }
        self.reply_to(client)
    }

    fn send(&mut self, client: ClientId, args: &[Vec<u8>]) {
        let mut request = Vec::new();
        encode_request(args, &mut request);
        self.simulation.send(client, &request);
        self.simulation.settle();
    }

    /// The first reply that has come and was not taken.
    fn reply_to(&mut self, client: ClientId) -> io::Result<Value> {
        self.take_in(client)?;
        match self.received.entry(client).or_default().pop_front() {
            Some(value) => Ok(value),
            None if self.simulation.is_connected(client) => {
                Err(io::Error::other("a reply was expected"))
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Takes in all that has come.
    fn take_in(&mut self, client: ClientId) -> io::Result<()> {
        let bytes = self.simulation.take_received(client);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match decode(rest) {
                Ok(Some((value, len))) => {
                    self.received.entry(client).or_default().push_back(value);
                    rest = &rest[len..];
                }
                other => {
                    let text = String::from_utf8_lossy(&bytes);
                    return Err(io::Error::other(format!("{text:?} is not replies: {other:?}")));
                }
            }
        }
        Ok(())
    }
}

impl Target for SimulationTarget {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn execute(&mut self, client: &str, args: &Request) -> io::Result<Value> {
        let client = self.client(client)?;
        self.ask(client, args)
    }

    fn begin_wait(&mut self, client: &str, args: &Request) -> io::Result<Option<Value>> {
        let client = self.client(client)?;
        self.send(client, args);
        self.take_in(client)?;
        let has_reply = self.received.get(&client).is_some_and(|replies| !replies.is_empty());
        if !has_reply && self.simulation.is_connected(client) {
            return Ok(None);
        }
        self.reply_to(client).map(Some)
    }

    fn end_wait(&mut self, client: &str) -> io::Result<Value> {
        let client = self.client(client)?;
        self.reply_to(client)
    }

    fn advance_clock(&mut self, ms: u64) {
        self.simulation.advance_ms(ms);
        self.simulation.settle();
    }
}
