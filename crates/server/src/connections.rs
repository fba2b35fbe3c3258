//! Connections: the sockets pinned to one shard, each at a place of its own until the kernel has let go
//! of it.
//!
//! Invariant: a place is free again only when no operation of its connection is under way, so that an
//! event never meets another connection than its own; the generation in its token checks that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use basalt_engine::{Reading, SessionId};

use crate::gather::Mark;
use crate::ring::Token;

#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// None for one that the engine refused, and for one that is being closed.
    pub(crate) session: Option<SessionId>,
    /// A receive is under way.
    pub(crate) receiving: bool,
    /// How the engine wants it to be read.
    pub(crate) reading: Reading,
    /// The client sends no more.
    pub(crate) input_ended: bool,
    /// A send is under way.
    pub(crate) sending: bool,
    /// The engine has something to say about it, which waits for the send to end.
    pub(crate) dirty: bool,
    pub(crate) closing: Closing,
    /// How many bytes it received when it found no buffer for more: see `starved`.
    pub(crate) share: u32,
    pub(crate) mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    /// When everything is sent.
    AfterOutput,
    /// As soon as the kernel lets go.
    Now,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            session: None,
            receiving: false,
            reading: Reading::Paused,
            input_ended: false,
            sending: false,
            dirty: false,
            closing: Closing::No,
            share: 0,
            mark: Mark::default(),
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether a receive should be started.
    pub(crate) fn lacks_receive(&self) -> bool {
        self.reading != Reading::Paused
            && !self.receiving
            && !self.input_ended
            && self.closing == Closing::No
    }

    /// Whether nothing of it is in the kernel's hands.
    pub(crate) fn is_idle(&self) -> bool {
        !self.receiving && !self.sending
    }
}

#[derive(Default)]
pub(crate) struct Connections {
    places: Vec<Place>,
    free: Vec<u32>,
    /// The place of a session's connection, at the session's index.
    by_session: Vec<u32>,
}

struct Place {
    generation: u32,
    connection: Option<Connection>,
}

impl Connections {
    pub(crate) fn add(&mut self, connection: Connection) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, connection: None });
            u32::try_from(self.places.len() - 1).expect("because there are fewer descriptors")
        });
        let place = &mut self.places[index as usize];
        place.connection = Some(connection);
        Token { index, generation: place.generation }
    }

    /// Takes the connection out; its token names nothing from now on.
    pub(crate) fn remove(&mut self, token: Token) -> OwnedFd {
        let place = &mut self.places[token.index as usize];
        let connection = place.connection.take().expect("because it is removed once");
        assert!(connection.is_idle(), "the kernel still uses the connection that is removed");
        place.generation = (place.generation + 1) & Token::GENERATION_MASK;
        self.free.push(token.index);
        connection.socket
    }

    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Connection> {
        let place = self.places.get_mut(token.index as usize)?;
        if place.generation == token.generation { place.connection.as_mut() } else { None }
    }

    /// Notes which session speaks through the connection.
    pub(crate) fn bind(&mut self, token: Token, session: SessionId) {
        let index = session.index as usize;
        if self.by_session.len() <= index {
            self.by_session.resize(index + 1, u32::MAX);
        }
        self.by_session[index] = token.index;
        if let Some(connection) = self.get(token) {
            connection.session = Some(session);
        }
    }

    pub(crate) fn of_session(&mut self, session: SessionId) -> Option<(Token, &mut Connection)> {
        let index = *self.by_session.get(session.index as usize)?;
        let place = self.places.get_mut(index as usize)?;
        let token = Token { index, generation: place.generation };
        let connection = place.connection.as_mut()?;
        (connection.session == Some(session)).then_some((token, connection))
    }

    /// The connections there are.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let places = (0..).zip(&self.places);
        places
            .filter(|(_, place)| place.connection.is_some())
            .map(|(index, place)| Token { index, generation: place.generation })
            .collect()
    }

    /// Whether some output is being sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.places.iter().filter_map(|place| place.connection.as_ref()).any(|one| one.sending)
    }
}
