//! Park: where an idle shard sleeps, in glommio's hands rather than in its ring's.
//!
//! The bell is an eventfd that the kernel signals when the shard's ring completes something; glommio
//! waits for it beside all that else it may have to do. A timer of glommio's is armed as well, always:
//! its executor can go to sleep over a task that may run, and then nothing but a timer wakes it.

use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::timer::Timer;

/// Bytes of an eventfd's counter.
const COUNTER_BYTES: usize = 8;

pub(crate) struct Park {
    bell: Rc<BufferedFile>,
    /// Reads the bell's counter, which waits until it is signalled. It stays under way between parks.
    reading: Pin<Box<dyn Future<Output = ()>>>,
}

impl Park {
    pub(super) fn new(bell: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is ours alone and open, and the file closes it.
        let bell = Rc::new(unsafe { BufferedFile::from_raw_fd(bell.into_raw_fd()) });
        let reading = read(&bell);
        Ok(Self { bell, reading })
    }

    /// Waits for the bell, at most for `limit`.
    pub(crate) async fn wait(&mut self, limit: Duration) {
        let mut timer = Timer::new(limit);
        let rung = poll_fn(|context| {
            if self.reading.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            Pin::new(&mut timer).poll(context).map(|_| false)
        });
        if rung.await {
            self.reading = read(&self.bell);
        }
    }

    /// Lets glommio look after whatever else it has to do.
    pub(crate) async fn give_way(&self) {
        // Only waiting hands over: a task that merely yields is run again at once.
        Timer::new(Duration::from_micros(2)).await;
    }
}

fn read(bell: &Rc<BufferedFile>) -> Pin<Box<dyn Future<Output = ()>>> {
    let bell = Rc::clone(bell);
    Box::pin(async move {
        // An error ends a park early, and that is all it can do.
        let _ = bell.read_at(0, COUNTER_BYTES).await;
    })
}
