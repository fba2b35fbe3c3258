//! Meeting: where shards wait for each other, unless one of them has failed. Nobody blocks: who is here asks again
//! later.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Meeting {
    count: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    here: usize,
    round: u64,
    failure: Option<String>,
}

impl Meeting {
    /// Of so many shards.
    pub(super) fn of(count: usize) -> Self {
        Self { count, state: Mutex::default() }
    }

    /// Nobody panics with the state in hand, so it is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard is here. Returns the number of the round that it waits for the end of.
    pub(super) fn arrive(&self) -> u64 {
        let mut state = self.state();
        let round = state.round;
        state.here += 1;
        if state.here == self.count {
            state.here = 0;
            state.round += 1;
        }
        round
    }

    /// Whether all have come to this round.
    ///
    /// # Errors
    /// Why one of them failed: then nobody is waited for any more.
    pub(super) fn is_over(&self, round: u64) -> Result<bool, String> {
        let state = self.state();
        state.failure.clone().map_or(Ok(state.round > round), Err)
    }

    /// One of them can't go on.
    pub(super) fn fail(&self, why: String) {
        self.state().failure.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_over_when_all_have_come() {
        let meeting = Meeting::of(3);
        for _ in 0..5 {
            let rounds = [meeting.arrive(), meeting.arrive()];
            assert_eq!(meeting.is_over(rounds[0]), Ok(false));
            let last = meeting.arrive();
            assert!(
                [rounds[0], rounds[1], last].iter().all(|own| meeting.is_over(*own) == Ok(true))
            );
        }
    }

    #[test]
    fn nobody_waits_for_one_that_failed() {
        let meeting = Meeting::of(3);
        let round = meeting.arrive();
        meeting.fail("it is ill".into());
        meeting.fail("later".into());
        assert_eq!(meeting.is_over(round), Err("it is ill".into()));
        assert_eq!(meeting.is_over(meeting.arrive()), Err("it is ill".into()));
    }
}
