//! Sessions: what a client has set up, its input that waits and its output that is not sent.

use std::net::SocketAddr;

/// A session of one core. `index` is dense and reused, so that the server can keep its own table by it;
/// `generation` tells a late completion for a gone session from one for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub index: u32,
    pub generation: u32,
}

/// Both ends of a connection, for CLIENT LIST and protected mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp { remote: SocketAddr, local: SocketAddr },
    Unix { path: String },
}
