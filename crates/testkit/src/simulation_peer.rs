//! The simulated server as a peer of the differential driver: its requests travel between shards in
//! random order, and in pieces.

use crate::client::Request;
use crate::differential::{Link, Peer};
use crate::process::Program;
use crate::simulation::{ClientId, Simulation};
use basalt_commands::config::Config;
use basalt_resp::{Value, decode, encode_request};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::SystemTime;

/// A simulation that follows the clock of a real oracle.
pub struct SimulationPeer {
    simulation: Rc<RefCell<Simulation>>,
    connected: Cell<usize>,
}

impl SimulationPeer {
    pub fn new(shard_count: usize, config: Config, seed: u64) -> Self {
        let mut simulation = Simulation::new(shard_count, config, seed);
        simulation.fragments = true;
        // Clients must not notice.
        simulation.move_slots(&[]);
        Self { simulation: Rc::new(RefCell::new(simulation)), connected: Cell::new(0) }
    }
}

impl Peer for SimulationPeer {
    fn program(&self) -> Program {
        Program::Ours
    }

    fn connect(&self, resp: u8) -> io::Result<Box<dyn Link>> {
        // Clients are assigned to all cores in turn.
        self.connected.set(self.connected.get() + 1);
        let client = self.simulation.borrow_mut().connect(self.connected.get());
        let simulation = Rc::clone(&self.simulation);
        let mut link = SimulationLink { simulation, client, received: Vec::new(), read_from: 0 };
        if resp == 3 {
            link.send(&[&vec![b"HELLO".to_vec(), b"3".to_vec()]])?;
            link.receive()?;
        }
        Ok(Box::new(link))
    }
}

struct SimulationLink {
    simulation: Rc<RefCell<Simulation>>,
    client: ClientId,
    received: Vec<u8>,
    read_from: usize,
}

impl Link for SimulationLink {
    fn send(&mut self, requests: &[&Request]) -> io::Result<()> {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| encode_request(request, &mut bytes));
        let mut simulation = self.simulation.borrow_mut();
        let behind_ms = wall_clock_ms().saturating_sub(simulation.now_ms());
        simulation.advance_ms(behind_ms);
        simulation.send(self.client, &bytes);
        simulation.settle();
        self.received.drain(..self.read_from);
        self.read_from = 0;
        self.received.extend(simulation.take_received(self.client));
        Ok(())
    }

    fn has_reply(&mut self) -> io::Result<bool> {
        let mut simulation = self.simulation.borrow_mut();
        self.received.extend(simulation.take_received(self.client));
        Ok(self.read_from < self.received.len())
    }

    fn receive(&mut self) -> io::Result<Value> {
        self.has_reply()?;
        match decode(&self.received[self.read_from..]) {
            Ok(Some((value, used))) => {
                self.read_from += used;
                Ok(value)
            }
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{error:?}"))),
        }
    }
}

/// The oracle's time, which the simulation follows.
#[expect(clippy::disallowed_methods, reason = "the oracle is a process and lives in real time")]
fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Drop for SimulationLink {
    fn drop(&mut self) {
        self.simulation.borrow_mut().disconnect(self.client);
    }
}
