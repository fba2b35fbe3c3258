//! Meeting: where threads wait for each other, unless one of them has failed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) struct Meeting {
    count: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    here: usize,
    round: u64,
    failure: Option<String>,
}

impl Meeting {
    /// Of so many threads.
    pub(super) fn of(count: usize) -> Self {
        Self { count, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Nobody panics with the state in hand, so it is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all are here. Returns whether this one came last.
    ///
    /// # Errors
    /// Why one of them failed: then nobody is waited for any more.
    pub(super) fn wait(&self) -> Result<bool, String> {
        let mut state = self.state();
        state.here += 1;
        let is_last = state.here == self.count;
        if is_last {
            state.here = 0;
            state.round += 1;
            self.changed.notify_all();
        }
        let round = state.round;
        let is_waiting =
            |state: &mut State| !is_last && state.round == round && state.failure.is_none();
        let state = self.changed.wait_while(state, is_waiting);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.failure.clone().map_or(Ok(is_last), Err)
    }

    /// One of them can't go on.
    pub(super) fn fail(&self, why: String) {
        self.state().failure.get_or_insert(why);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn all_meet_again_and_again_and_one_comes_last() {
        let meeting = Meeting::of(4);
        let lasts: usize = thread::scope(|scope| {
            let meet = || (0..100).filter(|_| meeting.wait() == Ok(true)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(meet)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(lasts, 100);
    }

    #[test]
    fn nobody_waits_for_one_that_failed() {
        let meeting = Meeting::of(3);
        thread::scope(|scope| {
            let waiting = [scope.spawn(|| meeting.wait()), scope.spawn(|| meeting.wait())];
            meeting.fail("it is ill".into());
            for thread in waiting {
                assert_eq!(thread.join().unwrap(), Err("it is ill".into()));
            }
            meeting.fail("later".into());
            assert_eq!(meeting.wait(), Err("it is ill".into()));
        });
    }
}
