//! Signals: what a user says to the process from outside, heard by a thread of its own.
//!
//! SIGTERM and SIGINT end the server gracefully, a second one at once. SIGHUP, SIGUSR1 and SIGUSR2 mean nothing:
//! a server outlives the terminal that it was started from, and is not ended by mistake. SIGPIPE is ignored
//! since before `main`. SIGQUIT ends the process with a core dump, for those who debug.

use std::io;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};

use crate::clock::Clock;
use crate::node::Node;

/// The exit code of one who could not wait for the graceful end.
const INSISTED: i32 = 1;

/// Some send the same signal to the process and to its group: that is one wish.
const SAME_WISH_S: f64 = 0.1;

/// Signals kept from all threads that are started after.
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Must be called before any thread is started.
    pub fn hold() -> io::Result<Self> {
        let held =
            [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
        let set: SigSet = held.into_iter().collect();
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Acts on signals from now on.
    pub fn obey(self, node: Arc<Node>) -> io::Result<()> {
        let listen = move || {
            let mut asked_at = None;
            while let Ok(signal) = self.set.wait() {
                match signal {
                    Signal::SIGHUP | Signal::SIGUSR1 | Signal::SIGUSR2 => {}
                    _ if asked_at.is_some_and(|at| Clock::seconds_since(at) < SAME_WISH_S) => {}
                    _ if asked_at.is_some() => {
                        tracing::warn!("You insist... exiting now.");
                        std::process::exit(INSISTED);
                    }
                    signal => {
                        tracing::warn!("Received {signal} scheduling shutdown...");
                        asked_at = Some(Clock::origin_now());
                        node.ask_to_stop();
                    }
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen)?;
        Ok(())
    }
}
