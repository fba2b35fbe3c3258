//! Listeners: the sockets on which clients arrive, as CONFIG SET changes them.
//!
//! A change is all or nothing: new addresses are listened on before old ones are given up, and a refusal
//! leaves everything as it was. Only where an old address stands in a new one's way (127.0.0.1 in that of
//! 0.0.0.0) it rests for the moment in which the new one is tried.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;

use basalt_commands::CommandError;
use basalt_commands::config::{Config, set_error};
use basalt_engine::ApplySettings;
use nix::errno::Errno;

use crate::checks;
use crate::listen::{self, ListenError, Listener};
use crate::oom_score;
use crate::ring::Ring;

/// The sockets on which clients arrive.
pub(crate) struct Listeners {
    /// Each under a number that is never given again.
    open: Vec<OpenListener>,
    numbers: u32,
}

struct OpenListener {
    number: u32,
    listener: Listener,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It listens, and nobody accepts yet.
    New,
    Open,
    /// It is to be closed.
    Leaving,
}

/// What the acceptor and the settings share: one thread has both.
pub(crate) type SharedListeners = Rc<RefCell<Listeners>>;

impl Listeners {
    pub(crate) fn new(listeners: Vec<Listener>) -> Self {
        let mut open = Self { open: Vec::new(), numbers: 0 };
        open.add(listeners);
        open
    }

    fn add(&mut self, listeners: Vec<Listener>) {
        for listener in listeners {
            self.open.push(OpenListener { number: self.numbers, listener, state: State::New });
            self.numbers += 1;
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Listener> {
        let found = self.open.iter().find(|entry| entry.number == number);
        found.map(|entry| &entry.listener)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Listener> {
        self.open.iter().map(|entry| &entry.listener)
    }

    /// Accepts at the new ones, and closes those that leave.
    pub(crate) fn settle(&mut self, ring: &mut Ring) {
        for entry in &mut self.open {
            match entry.state {
                State::New => {
                    entry.state = State::Open;
                    ring.accept(entry.number, entry.listener.socket());
                }
                State::Leaving => ring.stop_accepting(entry.number),
                State::Open => {}
            }
        }
        self.open.retain(|entry| entry.state != State::Leaving);
    }

    /// Closes all: new clients are refused by the kernel.
    pub(crate) fn close(&mut self, ring: &mut Ring) {
        self.open.iter_mut().for_each(|entry| entry.state = State::Leaving);
        self.settle(ring);
    }

    /// Listens on the TCP addresses that the settings name, and on no other.
    fn change(&mut self, next: &Config) -> Result<(), ListenError> {
        // Another change in the same turn may have closed some for good.
        let is_there = |entry: &&OpenListener| entry.state != State::Leaving;
        let open = self.open.iter().filter(is_there).filter_map(|entry| entry.listener.address());
        let open: Vec<SocketAddr> = open.collect();
        let wanted = listen::wanted(next)?;
        let stays = |entry: &OpenListener| {
            entry.listener.address().is_none_or(|own| wanted.iter().any(|one| one.names(own)))
        };
        let leaving: Vec<usize> = (0..self.open.len())
            .filter(|at| is_there(&&self.open[*at]) && !stays(&self.open[*at]))
            .collect();
        let opened = listen::open_missing(next, &wanted, &open).or_else(|error| {
            // Only who has the wanted port can be in its way; the others go on, lest it be in vain.
            let in_the_way = |at: &&usize| {
                let address = self.open[**at].listener.address();
                address.is_some_and(|address| address.port() == next.port)
            };
            let in_the_way: Vec<usize> = leaving.iter().filter(in_the_way).copied().collect();
            if !error.is_address_in_use || in_the_way.is_empty() {
                return Err(error);
            }
            let set_resting = |rests: bool| {
                for &at in &in_the_way {
                    self.open[at].listener.rest(rests, next);
                }
            };
            set_resting(true);
            listen::open_missing(next, &wanted, &open).inspect_err(|_| set_resting(false))
        })?;
        for at in leaving {
            self.open[at].listener.rest(true, next);
            self.open[at].state = State::Leaving;
        }
        self.add(opened);
        Ok(())
    }
}

/// What of new settings can fail, as CONFIG SET tells it.
pub(crate) fn apply_settings(open: SharedListeners, shard_count: usize) -> ApplySettings {
    Box::new(move |now, next| {
        if next.maxclients > now.maxclients
            && let Err(possible) = checks::make_room(next, shard_count)
        {
            return Err(set_error(
                b"maxclients",
                &format!(
                    "The operating system is not able to handle the specified number of clients, try \
                     with {possible}"
                ),
            ));
        }
        if now.dir != next.dir
            && let Err(error) = fs::read_dir(&next.dir)
        {
            let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
            return Err(set_error(b"dir", errno.desc()));
        }
        if oom_score::differs(now, next) && oom_score::apply(next).is_err() {
            let name = match now.oom_score_adj == next.oom_score_adj {
                true => "oom-score-adj-values",
                false => "oom-score-adj",
            };
            let words = "Failed to set current oom_score_adj. Check server logs.";
            return Err(set_error(name.as_bytes(), words));
        }
        if now.port == next.port && now.bind == next.bind {
            return Ok(());
        }
        open.borrow_mut().change(next).map_err(|error| {
            if oom_score::differs(now, next) {
                // Where it can't be set back it is logged.
                _ = oom_score::apply(now);
            }
            refusal(now, next, &error)
        })
    })
}

fn refusal(now: &Config, next: &Config, error: &ListenError) -> CommandError {
    tracing::warn!("{error}");
    if now.port == next.port {
        set_error(b"bind", "Failed to bind to specified addresses.")
    } else {
        set_error(b"port", "Unable to listen on this port. Check server logs.")
    }
}
