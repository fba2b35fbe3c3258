//! PFCOUNT and PFMERGE: estimates and unions of sketches.

use basalt_keyspace::{Effect, event};

use super::estimate::cardinality;
use super::registers::{
    self, CORRUPTED, Encoding, Plain, REGISTERS, STALE, STALE_AT, cached_cardinality,
    cardinality_bytes,
};
use super::{ROW, whole};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run, Verb};
use crate::error::CommandError;
use crate::families::string::text_of;

pub(super) const PFCOUNT: Command = Command {
    name: "pfcount",
    since: "2.8.9",
    summary: "Estimates the number of different elements in one HyperLogLog, or in the union of several.",
    complexity: "O(1) for a key whose estimate is known, else O(N) for N keys, with a large constant",
    arity: -2,
    flags: Flags::READONLY.or(Flags::MAY_REPLICATE),
    keys: &[KeySpec::all(1, &["RW", "access"]).because(
        "RW because it may change the internal representation of the key, and propagate to replicas",
    )],
    arguments: &[Argument::KEYS],
    run: Run::Alone(pfcount_one, Verb::PfCount),
    shows: r#"> PFADD monday ann bob
(integer) 1
> PFADD tuesday bob cy
(integer) 1
> PFCOUNT monday
(integer) 2
> PFCOUNT monday tuesday absent
(integer) 3
> PFCOUNT absent
(integer) 0
"#,
    ..ROW
};

/// With one key, whose value caches the estimate.
fn pfcount_one(call: &mut Call<'_>) -> Outcome {
    let Some(entry) = call.keyspace.read(call.database, &call.key) else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let text = text_of(Some(&entry), &mut digits)?;
    registers::encoding(text)?;
    if let Some(known) = cached_cardinality(text) {
        call.reply.integer(known as i64);
        return Ok(());
    }
    let estimate = cardinality(&registers::histogram(text)?);
    let (offset, bytes) = cardinality_bytes(estimate);
    let edit = call.keyspace.edit(call.database, &call.key);
    edit.as_event(event::NONE).commit(Effect::SetRange { offset, bytes: &bytes });
    call.reply.integer(estimate as i64);
    Ok(())
}

pub(super) const PFMERGE: Command = Command {
    name: "pfmerge",
    since: "2.8.9",
    summary: "Merges HyperLogLogs into one that counts the elements of all.",
    complexity: "O(N) for N keys, with a large constant",
    arity: -2,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[
        KeySpec::at(1, &["RW", "access", "insert"]),
        KeySpec { first: 2, ..KeySpec::all(1, &["RO", "access"]) },
    ],
    arguments: &[Argument::key("destkey", 0), Argument::key("sourcekey", 1).multiple().optional()],
    run: Run::Engine(Verb::PfMerge),
    shows: r#"> PFADD monday ann bob
(integer) 1
> PFADD tuesday bob cy
(integer) 1
> PFMERGE week monday tuesday
OK
> PFCOUNT week
(integer) 3
> SET text hello
OK
> PFMERGE week text
(error) WRONGTYPE Key is not a valid HyperLogLog string value.
"#,
    ..ROW
};

/// A union of sketches: each register is the maximum of theirs.
#[derive(Clone)]
pub struct Union {
    registers: Box<Plain>,
    has_dense: bool,
}

impl Default for Union {
    fn default() -> Self {
        Self { registers: Box::new([0; REGISTERS]), has_dense: false }
    }
}

impl Union {
    /// Adds a string's sketch; an error if it is invalid.
    pub fn add(&mut self, text: &[u8]) -> Result<(), CommandError> {
        self.has_dense |= registers::encoding(text)? == Encoding::Dense;
        registers::merge(text, &mut self.registers)
    }

    /// Adds another union.
    pub fn absorb(&mut self, other: &Self) {
        self.has_dense |= other.has_dense;
        for (own, other) in self.registers.iter_mut().zip(other.registers.iter()) {
            *own = (*own).max(*other);
        }
    }

    /// The estimate for the union.
    pub fn cardinality(&self) -> u64 {
        cardinality(&registers::histogram_of(&self.registers))
    }

    /// Whether these are the registers.
    pub(super) fn holds(&self, plain: &Plain) -> bool {
        *self.registers == *plain
    }

    /// The result of PFMERGE for the value `there`, whose registers are among these.
    fn merged_into(
        &self,
        there: Option<&[u8]>,
        sparse_bytes_max: usize,
    ) -> Result<Vec<u8>, CommandError> {
        let mut sketch = there.map_or_else(registers::empty, <[u8]>::to_vec);
        let is_sparse = registers::encoding(&sketch)? == Encoding::Sparse;
        if is_sparse && !self.has_dense {
            for (index, &rank) in self.registers.iter().enumerate().filter(|(_, rank)| **rank > 0) {
                registers::raise(&mut sketch, (index, rank), sparse_bytes_max)?;
            }
        } else {
            if is_sparse && registers::histogram(&sketch).is_err() {
                return Err(CORRUPTED);
            }
            sketch = registers::dense_of(&sketch, &self.registers);
        }
        sketch[STALE_AT] |= STALE;
        Ok(sketch)
    }
}

/// Sets the call's key, whose registers are among those of the union, to the union.
pub fn pfmerge_into(call: &mut Call<'_>, union: &Union) -> Outcome {
    let sparse_bytes_max = call.config.hll_sparse_max_bytes as usize;
    let edit = call.keyspace.edit(call.database, &call.key);
    let (sketch, expire_at_ms) = {
        let entry = edit.entry();
        let mut digits = itoa::Buffer::new();
        let there = entry.as_ref().map(|entry| text_of(Some(entry), &mut digits)).transpose()?;
        let sketch = union.merged_into(there, sparse_bytes_max)?;
        (sketch, entry.and_then(|entry| entry.expire_at_ms()))
    };
    edit.as_event(event::PFADD).commit(whole(&sketch, expire_at_ms));
    call.reply.ok();
    Ok(())
}
