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
    /// Without anything to take it leaves no reply, for it waits; otherwise the reply is a null array.
    const WAITS: bool;

    fn check(args: &[&[u8]]) -> Outcome;

    /// How much a key holds; an error if it is of another type.
    fn len(entry: &Entry) -> Result<usize, CommandError>;

    /// What is taken of a key that holds something; `None` if it takes more than so many bytes.
    fn copy(
        entry: &Entry,
        args: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Option<Self::Taken>, CommandError>;

    fn reply(taken: &Self::Taken, key: &[u8], reply: &mut Reply<'_>);

    fn remove(taken: &Self::Taken, place: (&mut Keyspace, DatabaseId, &Key<'_>));
}

/// LIMIT: what is no larger is copied of each key at the first look, which saves a second look at the key that it is
/// taken from.
const COPIED_AHEAD_BYTES: usize = 256;

/// The command: over shards no more is copied than what is taken, and small things of other keys.
pub(crate) struct First<T>(PhantomData<T>);

/// What a key has to be taken.
pub(crate) enum Offer<T> {
    Nothing,
    Small(T),
    Large,
}

pub(crate) struct Taking<T: TakesFirst> {
    /// The first key that holds something.
    index: usize,
    round: Option<Round>,
    taken: Option<T::Taken>,
}

impl<T: TakesFirst> InRounds for First<T> {
    type Found = Result<Offer<T::Taken>, CommandError>;
    type State = Taking<T>;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        T::check(args)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        let Some(entry) = key.peek() else { return Ok(Offer::Nothing) };
        if T::len(&entry)? == 0 {
            return Ok(Offer::Nothing);
        }
        Ok(match T::copy(&entry, key.args, COPIED_AHEAD_BYTES)? {
            Some(taken) => Offer::Small(taken),
            None => Offer::Large,
        })
    }

    fn begin(found: Vec<Self::Found>, _: Request<'_>) -> Result<Taking<T>, CommandError> {
        for (index, offer) in found.into_iter().enumerate() {
            match offer? {
                Offer::Nothing => {}
                Offer::Small(taken) => {
                    return Ok(Taking { index, round: None, taken: Some(taken) });
                }
                Offer::Large => {
                    let round = Round { keys: vec![RoundKey::Own(index)], is_ordered: true };
                    return Ok(Taking { index, round: Some(round), taken: None });
                }
            }
        }
        Ok(Taking { index: 0, round: None, taken: None })
    }

    fn next(state: &mut Taking<T>, _: Request<'_>) -> Result<Option<Round>, CommandError> {
        Ok(state.round.take())
    }

    fn visit(state: &mut Taking<T>, here: KeysHere<'_>) -> Result<bool, CommandError> {
        for entry in here.peek().iter().flatten() {
            state.taken = T::copy(entry, here.request.args, usize::MAX)?;
        }
        Ok(true)
    }

    fn decide(state: Taking<T>, decision: &mut Decision<'_, '_>) -> Outcome {
        let Taking { index, taken: Some(taken), .. } = state else {
            if !T::WAITS {
                decision.reply.null_array();
            }
            return Ok(());
        };
        T::reply(&taken, decision.keys[index], decision.reply);
        decision.write(index, move |keyspace, id, key| T::remove(&taken, (keyspace, id, key)));
        Ok(())
    }
}
