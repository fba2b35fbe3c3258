//! PFCOUNT and PFMERGE: estimates and unions of sketches.

use basalt_keyspace::{DatabaseId, Effect, Entry, Key, Keyspace, event};

use super::estimate::cardinality;
use super::registers::{
    self, CORRUPTED, Encoding, Plain, REGISTERS, STALE, STALE_AT, cached_cardinality,
    cardinality_bytes,
};
use super::{ROW, whole};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::{text_of, with_text};
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys};
use crate::memory::copied;

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
    run: Run::Many(&const { ManyKeys::of::<Count>().with_whole(pfcount) }),
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
    run: Run::Many(&const { ManyKeys::of::<MergeSketches>().with_whole(pfmerge) }),
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
pub(super) struct Union {
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
    pub(super) fn add(&mut self, text: &[u8]) -> Result<(), CommandError> {
        self.has_dense |= registers::encoding(text)? == Encoding::Dense;
        registers::merge(text, &mut self.registers)
    }

    /// Adds another union.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.has_dense |= other.has_dense;
        for (own, other) in self.registers.iter_mut().zip(other.registers.iter()) {
            *own = (*own).max(*other);
        }
    }

    /// The estimate for the union.
    pub(super) fn cardinality(&self) -> u64 {
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

/// Adds what a key holds to a union. Returns whether it holds anything.
fn add_sketch(union: &mut Union, entry: Option<&Entry>) -> Result<bool, CommandError> {
    if entry.is_some() {
        with_text(entry, |text| union.add(text))?;
    }
    Ok(entry.is_some())
}

/// What reading a sketch finds; `None` where there is none.
type Sketch = Result<Option<Union>, CommandError>;

fn read_sketch(key: &mut KeyRead<'_>) -> Sketch {
    let entry = key.keyspace.read(key.database, &key.key);
    let mut union = Union::default();
    Ok(add_sketch(&mut union, entry.as_deref())?.then_some(union))
}

fn union_of(found: Vec<Sketch>) -> Result<Union, CommandError> {
    let mut union: Option<Union> = None;
    for sketch in found {
        match (&mut union, sketch?) {
            (Some(union), Some(sketch)) => union.absorb(&sketch),
            (first @ None, sketch) => *first = sketch,
            (Some(_), None) => {}
        }
    }
    Ok(union.unwrap_or_default())
}

/// The union of the sketches of a call's arguments, all of which are here.
fn union_here(call: &mut Call<'_>) -> Result<Union, CommandError> {
    let mut union = Union::default();
    for name in &call.args[1..] {
        let key = call.keyspace.key(name);
        let entry = call.keyspace.read(call.database, &key);
        add_sketch(&mut union, entry.as_deref())?;
    }
    Ok(union)
}

struct Count;

impl OverKeys for Count {
    type Found = Sketch;

    fn read(mut key: KeyRead<'_>) -> Sketch {
        read_sketch(&mut key)
    }

    fn decide(found: Vec<Sketch>, decision: &mut Decision<'_, '_>) -> Outcome {
        decision.reply.integer(union_of(found)?.cardinality() as i64);
        Ok(())
    }
}

fn pfcount(call: &mut Call<'_>) -> Outcome {
    if let [_, _] = call.args {
        return pfcount_one(call);
    }
    let cardinality = union_here(call)?.cardinality();
    call.reply.integer(cardinality as i64);
    Ok(())
}

struct MergeSketches;

impl OverKeys for MergeSketches {
    /// The registers, and of the destination the sketch as it is.
    type Found = (Sketch, Option<Vec<u8>>);

    fn read(mut key: KeyRead<'_>) -> Self::Found {
        let sketch = read_sketch(&mut key);
        if key.index > 0 || !matches!(sketch, Ok(Some(_))) {
            return (sketch, None);
        }
        match with_text(key.peek().as_deref(), copied) {
            Ok(text) => (sketch, Some(text)),
            Err(error) => (Err(error), None),
        }
    }

    fn decide(mut found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        let there = found[0].1.take();
        let union = union_of(found.into_iter().map(|(sketch, _)| sketch).collect())?;
        let sparse_bytes_max = decision.settings.config.hll_sparse_max_bytes as usize;
        let sketch = union.merged_into(there.as_deref(), sparse_bytes_max)?;
        decision.reply.ok();
        decision.write(0, move |keyspace, id, key| {
            let edit = keyspace.edit(id, key);
            let expire_at_ms = edit.entry().and_then(|entry| entry.expire_at_ms());
            edit.as_event(event::PFADD).commit(whole(&sketch, expire_at_ms));
        });
        Ok(())
    }
}

fn pfmerge(call: &mut Call<'_>) -> Outcome {
    let union = union_here(call)?;
    let sparse_bytes_max = call.config.hll_sparse_max_bytes as usize;
    merge_into((call.keyspace, call.database, &call.key), &union, sparse_bytes_max)?;
    call.reply.ok();
    Ok(())
}

/// Has a key, whose registers are among those of the union, hold all of them.
fn merge_into(
    (keyspace, id, key): (&mut Keyspace, DatabaseId, &Key<'_>),
    union: &Union,
    sparse_bytes_max: usize,
) -> Outcome {
    let edit = keyspace.edit(id, key);
    let (sketch, expire_at_ms) = {
        let entry = edit.entry();
        let mut digits = itoa::Buffer::new();
        let there = entry.as_ref().map(|entry| text_of(Some(entry), &mut digits)).transpose()?;
        let sketch = union.merged_into(there, sparse_bytes_max)?;
        (sketch, entry.and_then(|entry| entry.expire_at_ms()))
    };
    edit.as_event(event::PFADD).commit(whole(&sketch, expire_at_ms));
    Ok(())
}
