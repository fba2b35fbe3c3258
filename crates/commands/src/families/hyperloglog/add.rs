//! PFADD: adds elements.

use basalt_keyspace::{Effect, event};

use super::registers::{
    self, Encoding, HEADER_BYTES, STALE, STALE_AT, dense_get, dense_written, place_of,
};
use super::{ROW, whole};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::text_of;

pub(super) const PFADD: Command = Command {
    name: "pfadd",
    since: "2.8.9",
    summary: "Adds elements to a HyperLogLog and returns whether it changed.",
    complexity: "O(1) for each element",
    arity: -2,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[Argument::KEY, Argument::string("element").multiple().optional()],
    run: Run::Shard(pfadd),
    shows: r#"> PFADD visitors ann bob cy
(integer) 1
> PFADD visitors bob
(integer) 0
> PFCOUNT visitors
(integer) 3
> PFADD nobody
(integer) 1
> PFCOUNT nobody
(integer) 0
> SET text hello
OK
> PFADD text x
(error) WRONGTYPE Key is not a valid HyperLogLog string value.
"#,
    ..ROW
};

fn pfadd(call: &mut Call<'_>) -> Outcome {
    let sparse_bytes_max = call.config.hll_sparse_max_bytes as usize;
    let edit = call.keyspace.edit(call.database, &call.key);
    let Some(entry) = edit.entry() else {
        let mut sketch = registers::empty();
        for element in &call.args[2..] {
            registers::raise(&mut sketch, place_of(element), sparse_bytes_max)?;
        }
        sketch[STALE_AT] |= STALE;
        edit.as_event(event::PFADD).commit(whole(&sketch, None));
        call.reply.integer(1);
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let is_changed = match registers::encoding(text_of(Some(&entry), &mut digits)?)? {
        Encoding::Dense => add_dense(call)?,
        Encoding::Sparse => add_sparse(call, sparse_bytes_max)?,
    };
    call.reply.integer(i64::from(is_changed));
    Ok(())
}

/// Changes every register in place.
fn add_dense(call: &mut Call<'_>) -> Result<bool, CommandError> {
    let mut is_changed = false;
    for element in &call.args[2..] {
        let (index, rank) = place_of(element);
        let edit = call.keyspace.edit(call.database, &call.key);
        let written = {
            let entry = edit.entry();
            let mut digits = itoa::Buffer::new();
            let text = text_of(entry.as_deref(), &mut digits)?;
            (dense_get(text, index) < rank).then(|| dense_written(text, index, rank))
        };
        if let Some((offset, bytes, len)) = written {
            let events = if is_changed { event::NONE } else { event::PFADD };
            edit.as_event(events).commit(Effect::SetRange { offset, bytes: &bytes[..len] });
            is_changed = true;
        }
    }
    if is_changed {
        mark_stale(call)?;
    }
    Ok(is_changed)
}

/// Marks the cached estimate of the sketch as out of date.
fn mark_stale(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let byte = {
        let entry = edit.entry();
        text_of(entry.as_deref(), &mut itoa::Buffer::new())?[STALE_AT]
    };
    if byte & STALE == 0 {
        let edit = edit.as_event(event::NONE);
        edit.commit(Effect::SetRange { offset: STALE_AT, bytes: &[byte | STALE] });
    }
    Ok(())
}

/// Changes a copy, and then replaces the part that differs.
fn add_sparse(call: &mut Call<'_>, sparse_bytes_max: usize) -> Result<bool, CommandError> {
    let edit = call.keyspace.edit(call.database, &call.key);
    let Some(entry) = edit.entry() else { return Ok(false) };
    let mut digits = itoa::Buffer::new();
    let old = text_of(Some(&entry), &mut digits)?;
    let mut changed: Option<Vec<u8>> = None;
    for element in &call.args[2..] {
        let place = place_of(element);
        if registers::would_raise(changed.as_deref().unwrap_or(old), place)? {
            let copy = changed.get_or_insert_with(|| old.to_vec());
            registers::raise(copy, place, sparse_bytes_max)?;
        }
    }
    let Some(mut new) = changed else { return Ok(false) };
    new[STALE_AT] |= STALE;
    if registers::encoding(&new)? == Encoding::Dense {
        let expire_at_ms = entry.expire_at_ms();
        edit.as_event(event::PFADD).commit(whole(&new, expire_at_ms));
        return Ok(true);
    }
    let (old_runs, new_runs) = (&old[HEADER_BYTES..], &new[HEADER_BYTES..]);
    let same = |pair: &(&u8, &u8)| pair.0 == pair.1;
    let before = old_runs.iter().zip(new_runs).take_while(same).count();
    let behind = old_runs[before..].iter().rev().zip(new_runs[before..].iter().rev());
    let behind = behind.take_while(same).count();
    let splice = Effect::Splice {
        offset: HEADER_BYTES + before,
        removed: old_runs.len() - before - behind,
        bytes: &new_runs[before..new_runs.len() - behind],
    };
    edit.commit(splice);
    mark_stale(call)?;
    Ok(true)
}
