//! First: a command that takes something from the first of its keys that has any.

use std::marker::PhantomData;

use basalt_keyspace::{DatabaseId, Entry, Key, Keyspace};
use basalt_resp::Reply;

use super::{Decision, InRounds, KeyRead, KeysHere, Request, Round, RoundKey, Settings};
use crate::call::Outcome;
use crate::error::CommandError;

/// What such a command takes.
pub(crate) trait TakesFirst: 'static {
    /// A copy of what is taken, and what is needed to remove it.
    type Taken: Send + 'static;

    fn check(args: &[&[u8]]) -> Outcome;

    /// How much a key holds; an error if it is of another type.
    fn len(entry: &Entry) -> Result<usize, CommandError>;

    /// What is taken of a key that holds something.
    fn copy(entry: &Entry, args: &[&[u8]]) -> Result<Self::Taken, CommandError>;

    fn reply(taken: &Self::Taken, key: &[u8], reply: &mut Reply<'_>);

    fn remove(taken: &Self::Taken, place: (&mut Keyspace, DatabaseId, &Key<'_>));
}

/// The command: only what is taken is copied, and an array is null if there is nothing.
pub(crate) struct First<T>(PhantomData<T>);

pub(crate) struct Taking<T: TakesFirst> {
    /// The first key that holds something.
    index: usize,
    round: Option<Round>,
    taken: Option<T::Taken>,
}

impl<T: TakesFirst> InRounds for First<T> {
    type Found = Result<usize, CommandError>;
    type State = Taking<T>;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        T::check(args)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        key.peek().map_or(Ok(0), |entry| T::len(&entry))
    }

    fn begin(found: Vec<Self::Found>, _: Request<'_>) -> Result<Taking<T>, CommandError> {
        for (index, len) in found.into_iter().enumerate() {
            if len? > 0 {
                let round = Round { keys: vec![RoundKey::Own(index)], is_ordered: true };
                return Ok(Taking { index, round: Some(round), taken: None });
            }
        }
        Ok(Taking { index: 0, round: None, taken: None })
    }

    fn next(state: &mut Taking<T>, _: Request<'_>) -> Result<Option<Round>, CommandError> {
        Ok(state.round.take())
    }

    fn visit(state: &mut Taking<T>, here: KeysHere<'_>) -> Result<bool, CommandError> {
        for entry in here.peek().iter().flatten() {
            state.taken = Some(T::copy(entry, here.request.args)?);
        }
        Ok(true)
    }

    fn decide(state: Taking<T>, decision: &mut Decision<'_, '_>) -> Outcome {
        let Taking { index, taken: Some(taken), .. } = state else {
            decision.reply.null_array();
            return Ok(());
        };
        T::reply(&taken, decision.keys[index], decision.reply);
        decision.write(index, move |keyspace, id, key| T::remove(&taken, (keyspace, id, key)));
        Ok(())
    }
}
