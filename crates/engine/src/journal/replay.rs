//! Replay: a journal's file done again, into a keyspace that held nothing or what the files before it left.

use std::ops::Range;

use basalt_journal::{Blob, Damage, Entries, Entry, Frames, ScanError};
use basalt_keyspace::{DatabaseId, Keyspace, SLOTS, ShardId, SlotBundle, SlotId};

use crate::slots::routes::Routes;

/// What a replayed file came to.
#[derive(Debug)]
pub struct Replayed {
    /// Where the file ends, or a position that is not before the end of what was wanted of it.
    pub position: u64,
    /// What the server held last beside keys, if the file has that; see
    /// [`Core::restore_state`](crate::Core::restore_state).
    pub state: Option<Vec<u8>>,
}

/// A file that is done again, frame by frame; `scan` has found all of it whole.
#[derive(Debug)]
pub struct Replay<B: Blob> {
    frames: Frames<B>,
    kept: Range<u64>,
    /// Records that are longer than a frame, as far as they came.
    open: Vec<u8>,
    state: Option<Vec<u8>>,
}

impl<B: Blob> Replay<B> {
    /// Of a file whose first entry is at `start`: what it holds of the positions `kept`.
    ///
    /// # Errors
    /// Where its header can't be read, or is refused.
    pub fn of(blob: B, start: u64, kept: &Range<u64>) -> Result<Self, ScanError<B::Error>> {
        let frames = Frames::of(blob, start)?;
        Ok(Self { frames, kept: kept.clone(), open: Vec::new(), state: None })
    }

    /// How many of the file's bytes are done.
    pub fn offset(&self) -> u64 {
        self.frames.offset
    }

    /// Does one frame again; false where nothing is left.
    ///
    /// # Errors
    /// Where the file can't be read, or holds a record that can't follow on those before it.
    pub fn step(&mut self, keyspace: &mut Keyspace) -> Result<bool, ScanError<B::Error>> {
        let Self { frames, kept, open, state } = self;
        if frames.position >= kept.end {
            return Ok(false);
        }
        let offset = frames.offset;
        let Some(frame) = frames.next_frame().map_err(ScanError::Read)? else { return Ok(false) };
        let at = |position: u64| {
            position.saturating_sub(frame.position).min(frame.body.len() as u64) as usize
        };
        let (from, to) = (at(kept.start), at(kept.end));
        for entry in Entries::of(&frame.body[from.min(to)..to]) {
            let replayed = match entry {
                Ok(Entry::Records { bytes, is_open: true, .. }) => {
                    open.extend_from_slice(bytes);
                    true
                }
                Ok(Entry::Records { bytes, .. }) if open.is_empty() => {
                    keyspace.replay(bytes).is_ok()
                }
                Ok(Entry::Records { bytes, .. }) => {
                    open.extend_from_slice(bytes);
                    keyspace.replay(&std::mem::take(open)).is_ok()
                }
                Ok(Entry::State(bytes)) => {
                    *state = Some(bytes.to_vec());
                    true
                }
                Err(_) => false,
                Ok(Entry::Tie) => true,
            };
            if !replayed {
                return Err(ScanError::Damage(Damage { offset }));
            }
        }
        Ok(true)
    }

    pub fn end(self) -> Replayed {
        Replayed { position: self.frames.position, state: self.state }
    }
}

/// Does all of a file again; see [`Replay`].
///
/// # Errors
/// See [`Replay::of`] and [`Replay::step`].
pub fn replay<B: Blob>(
    keyspace: &mut Keyspace,
    blob: B,
    start: u64,
    kept: &Range<u64>,
) -> Result<Replayed, ScanError<B::Error>> {
    let mut replay = Replay::of(blob, start, kept)?;
    while replay.step(keyspace)? {}
    Ok(replay.end())
}

/// Takes out of a keyspace all slots with keys that belong to another shard than `stays`, of so many shards, each
/// bundle with its shard. They are put in with [`Keyspace::attach_with_expiry`].
pub fn give_out_foreign(
    keyspace: &mut Keyspace,
    stays: Option<ShardId>,
    shards: usize,
) -> Vec<(ShardId, SlotBundle)> {
    let routes = Routes::in_blocks(shards);
    let databases: Vec<DatabaseId> =
        (0..keyspace.database_count()).map(|index| DatabaseId(index as u16)).collect();
    let others = routes.shards().filter(|shard| Some(*shard) != stays);
    let bundles = others.map(|shard| {
        let has_keys = |slot: &SlotId| databases.iter().any(|id| keyspace.slot_len(*id, *slot) > 0);
        let slots = (0..SLOTS as u16).map(SlotId);
        let slots = slots.filter(|slot| routes.shard(*slot) == shard).filter(has_keys);
        let slots: Vec<SlotId> = slots.collect();
        (shard, (!slots.is_empty()).then(|| keyspace.detach(&slots)))
    });
    bundles.filter_map(|(shard, bundle)| Some((shard, bundle?))).collect()
}
