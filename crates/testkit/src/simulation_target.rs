//! A transcript's target inside this process: the real engine on N shards, in simulated time.

use std::collections::HashMap;
use std::io;

use basalt_commands::config::Config;
use basalt_resp::{Value, decode, encode_request};

use crate::client::Request;
use crate::simulation::{ClientId, Simulation};
use crate::transcript::{Profile, Target};

/// A simulated server and its clients by name.
pub struct SimulationTarget {
    profile: Profile,
    simulation: Simulation,
    clients: HashMap<String, ClientId>,
}

impl SimulationTarget {
    pub fn new(shard_count: usize, resp: u8, config: Config, seed: u64) -> Self {
        let mut simulation = Simulation::new(shard_count, config, seed);
        // Clients must not notice.
        simulation.move_slots(&[]);
        Self { profile: Self::profile_of(shard_count, resp), simulation, clients: HashMap::new() }
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
        self.reply_to(client)
    }

    fn send(&mut self, client: ClientId, args: &[Vec<u8>]) {
        let mut request = Vec::new();
        encode_request(args, &mut request);
        self.simulation.send(client, &request);
        self.simulation.settle();
    }

    /// The one reply that has come.
    fn reply_to(&mut self, client: ClientId) -> io::Result<Value> {
        let reply = self.simulation.take_received(client);
        if reply.is_empty() && !self.simulation.is_connected(client) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match decode(&reply) {
            Ok(Some((value, len))) if len == reply.len() => Ok(value),
            other => Err(io::Error::other(format!(
                "one reply was expected, not {:?} ({other:?})",
                String::from_utf8_lossy(&reply)
            ))),
        }
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
        if !self.simulation.has_received(client) && self.simulation.is_connected(client) {
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
