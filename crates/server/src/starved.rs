//! Starved: connections that wait for the end of the turn to receive again, and the order in which they do.
//!
//! One that always has more to send takes all buffers of a turn. So those that received least the last time go first:
//! one that sends little waits for one turn, however many send without end, and none of these is left out.

use crate::connections::Connections;
use crate::limits::BUFFER_BYTES;
use crate::ring::{Chunk, Token};
use basalt_engine::SessionId;

/// Connections that receive again after the turn. At most all there are.
#[derive(Default)]
pub(crate) struct Starved {
    tokens: Vec<Token>,
}

impl Starved {
    pub(crate) fn push(&mut self, token: Token) {
        self.tokens.push(token);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.tokens)
    }

    /// Orders them by the bytes that they received in this turn, or half of what counted the last time if those are
    /// none, but not less than a buffer. `received` is what the turn brought in.
    #[cold]
    pub(crate) fn order(&mut self, connections: &mut Connections, received: &[(SessionId, Chunk)]) {
        let mut chunks: Vec<(SessionId, u32)> =
            received.iter().map(|(session, chunk)| (*session, chunk.len())).collect();
        chunks.sort_unstable();
        self.tokens.sort_by_cached_key(|token| {
            let Some(connection) = connections.get(*token) else { return 0 };
            let bytes = connection.session.map_or(0, |session| bytes_of(&chunks, session));
            let before = connection.share;
            let share = if bytes > 0 { bytes } else { (before / 2).max(before.min(BUFFER_BYTES)) };
            connection.share = share;
            share
        });
    }
}

/// The bytes of a session's chunks, which are sorted.
fn bytes_of(chunks: &[(SessionId, u32)], session: SessionId) -> u32 {
    let start = chunks.partition_point(|(other, _)| *other < session);
    let own = chunks[start..].iter().take_while(|(other, _)| *other == session);
    own.map(|(_, bytes)| bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Connection;
    use crate::ring::{Event, ReceiveEnd, Ring};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// Connections of a real ring, of which some always have more to send.
    struct Clients {
        ring: Ring,
        connections: Connections,
        tokens: Vec<Token>,
        peers: Vec<UnixStream>,
        starved: Starved,
    }

    impl Clients {
        fn open(count: u32) -> Self {
            let mut clients = Self {
                ring: Ring::open().expect("a ring"),
                connections: Connections::default(),
                tokens: Vec::new(),
                peers: Vec::new(),
                starved: Starved::default(),
            };
            for index in 0..count {
                let (peer, socket) = UnixStream::pair().expect("two ends");
                peer.set_nonblocking(true).expect("a socket can be");
                let token = clients.connections.add(Connection::new(socket.into()));
                clients.connections.bind(token, SessionId { index, generation: 0 });
                clients.tokens.push(token);
                clients.peers.push(peer);
                clients.arm(token);
            }
            clients
        }

        fn arm(&mut self, token: Token) {
            let connection = self.connections.get(token).expect("it is open");
            self.ring.receive(token, connection.socket());
        }

        /// Writes as much as the socket takes.
        fn fill(&mut self, client: usize) {
            while self.peers[client].write(&[b'x'; 16 << 10]).is_ok() {}
        }

        /// A turn. Returns how many bytes each client sent.
        fn turn(&mut self) -> Vec<u32> {
            self.ring.enter().expect("the ring is entered");
            let mut events = Vec::new();
            self.ring.drain(&mut events, 1000);
            let (mut received, mut bytes) = (Vec::new(), vec![0; self.tokens.len()]);
            for event in events {
                match event {
                    Event::Received { token, chunk } => {
                        bytes[token.index as usize] += chunk.len();
                        received.push((SessionId { index: token.index, generation: 0 }, chunk));
                    }
                    Event::ReceiveEnded { token, why: ReceiveEnd::NoBuffers } => {
                        self.starved.push(token);
                    }
                    Event::ReceiveEnded { token, .. } => self.arm(token),
                    event => panic!("{event:?}"),
                }
            }
            self.starved.order(&mut self.connections, &received);
            self.ring.release(received.into_iter().map(|(_, chunk)| chunk));
            for token in self.starved.take() {
                self.arm(token);
            }
            bytes
        }
    }

    #[test]
    fn one_that_sends_little_waits_for_one_turn_at_most() {
        const GREEDY: usize = 24;
        let mut clients = Clients::open(GREEDY as u32 + 1);
        let mut sent = vec![0_u64; GREEDY];
        // At first nothing is known of them.
        let mut served = vec![false; GREEDY];
        for _ in 0..GREEDY {
            (0..GREEDY).for_each(|client| clients.fill(client));
            let bytes = clients.turn();
            served.iter_mut().zip(bytes).for_each(|(served, bytes)| *served |= bytes > 0);
        }
        assert!(served.iter().all(|served| *served), "{served:?}");
        for round in 0..50 {
            (0..GREEDY).for_each(|client| clients.fill(client));
            clients.peers[GREEDY].write_all(b"PING").expect("there is room");
            let mut turns = 0;
            loop {
                (0..GREEDY).for_each(|client| clients.fill(client));
                let bytes = clients.turn();
                sent.iter_mut().zip(&bytes).for_each(|(sum, bytes)| *sum += u64::from(*bytes));
                turns += 1;
                if bytes[GREEDY] > 0 {
                    break;
                }
                assert!(turns < 2, "round {round}: nothing arrived in {turns} turns");
            }
        }
        // None of those that send without end is left out.
        assert!(sent.iter().all(|bytes| *bytes > u64::from(BUFFER_BYTES)), "{sent:?}");
    }
}
