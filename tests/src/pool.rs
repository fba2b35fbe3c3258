//! A pool of servers for transcripts: starting one for each of hundreds would take most of the
//! time.
//!
//! A trial takes a server and returns it without keys and clients; after a failure it does not
//! return it, so that a broken server cannot affect the next trial.

use basalt_testkit::socket_target::{SocketPlace, SocketTarget};
use std::sync::Mutex;

static IDLE: Mutex<Vec<(SocketPlace, SocketTarget)>> = Mutex::new(Vec::new());

/// A server without data for this target, from the pool or newly started.
pub(crate) fn take(place: &SocketPlace) -> Result<SocketTarget, String> {
    let idle = {
        let mut servers = IDLE.lock().expect("because no trial panics while holding the pool");
        let found = servers.iter().position(|(of, _)| of == place);
        found.map(|index| servers.swap_remove(index).1)
    };
    let mut target = match idle {
        Some(target) => target,
        None => SocketTarget::start(place).map_err(|error| error.to_string())?,
    };
    target.reset().map_err(|error| format!("it can't be emptied: {error}\n{}", target.log()))?;
    Ok(target)
}

pub(crate) fn give_back(place: &SocketPlace, target: SocketTarget) {
    IDLE.lock().expect("because no trial panics while holding the pool").push((*place, target));
}

/// Stops all of them.
pub(crate) fn shut_down() {
    IDLE.lock().expect("because no trial panics while holding the pool").clear();
}
