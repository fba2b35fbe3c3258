//! Kernel: the few calls that the standard library lacks, wrapped safely.
//!
//! Readiness of many sockets (`Epoll`) and where the calling thread runs (`run_here`). The only home of `unsafe`
//! in this package.

#![expect(unsafe_code, reason = "epoll and the scheduler's calls are C functions")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How many ready sockets one wait may report; more are reported by the next.
const EVENTS_MAX: usize = 1024;

/// The sockets that a thread waits for, each under a token of the caller's choice.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// What to be told about a socket.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Interest {
    Read,
    ReadAndWrite,
}

/// A socket that can go on.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    pub(crate) can_read: bool,
    pub(crate) can_write: bool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just gave us this descriptor and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, events: Vec::with_capacity(EVENTS_MAX) })
    }

    pub(crate) fn add(&self, socket: &impl AsRawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, token, Interest::Read)
    }

    pub(crate) fn change(
        &self,
        socket: &impl AsRawFd,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, token, interest)
    }

    fn control(
        &self,
        action: i32,
        socket: &impl AsRawFd,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let events = match interest {
            Interest::Read => libc::EPOLLIN,
            Interest::ReadAndWrite => libc::EPOLLIN | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event { events: events as u32, u64: token as u64 };
        // SAFETY: the event lives through the call and the kernel only reads it.
        let outcome = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), action, socket.as_raw_fd(), &raw mut event)
        };
        check(outcome).map(drop)
    }

    /// Waits until a socket can go on, at most `timeout_ms`, and returns how many can.
    pub(crate) fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        let (fd, places) = (self.fd.as_raw_fd(), self.events.as_mut_ptr());
        // SAFETY: `places` has room for EVENTS_MAX events.
        let count = unsafe { libc::epoll_wait(fd, places, EVENTS_MAX as i32, timeout_ms) };
        let count = match check(count) {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel has written that many events.
        unsafe { self.events.set_len(count) };
        Ok(count)
    }

    /// The `index`th socket that the last wait reported.
    pub(crate) fn ready(&self, index: usize) -> Ready {
        let event = self.events[index];
        let readable = libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR;
        Ready {
            token: event.u64 as usize,
            can_read: event.events & readable as u32 != 0,
            can_write: event.events & libc::EPOLLOUT as u32 != 0,
        }
    }
}

/// Keeps the calling thread on one core; as a `batch` thread it wakes up without pushing others aside.
pub(crate) fn run_here(core: usize, batch: bool) -> io::Result<()> {
    // SAFETY: an empty set is all zeroes.
    let mut cores: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the macro asserts that `core` lies within the set.
    unsafe { libc::CPU_SET(core, &mut cores) };
    // SAFETY: the set lives through the call; 0 means the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cores) })?;
    if batch {
        let no_priority = libc::sched_param { sched_priority: 0 };
        // SAFETY: the parameter lives through the call.
        check(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const no_priority) })?;
    }
    Ok(())
}

/// Turns C's −1 into the error it stands for.
fn check(outcome: i32) -> io::Result<i32> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}
