//! PFDEBUG and PFSELFTEST: the internals of a sketch, and a self test.

use super::count::Union;
use super::registers::{self, Encoding, HEADER_BYTES, Plain, REGISTERS};
use super::{ROW, sparse, whole};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, EngineCommand, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::string::text_of;
use basalt_keyspace::event;

pub(super) const PFDEBUG: Command = Command {
    name: "pfdebug",
    since: "2.8.9",
    summary: "Shows the internals of a HyperLogLog, or converts it to the dense encoding.",
    complexity: "O(N) for the N registers",
    arity: 3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::ADMIN),
    keys: &[KeySpec::at(2, &["RW", "access"])],
    arguments: &[Argument::string("subcommand"), Argument::KEY],
    run: Run::Shard(pfdebug),
    shows: r#"> PFADD visitors ann bob
(integer) 1
> PFDEBUG ENCODING visitors
sparse
> PFDEBUG DECODE visitors
"<any text>"
> PFDEBUG TODENSE visitors
(integer) 1
> PFDEBUG ENCODING visitors
dense
> PFDEBUG DECODE visitors
(error) ERR HLL encoding is not sparse
> PFDEBUG ENCODING absent
(error) ERR The specified key does not exist
> PFDEBUG NONSENSE visitors
(error) ERR Unknown PFDEBUG subcommand 'NONSENSE'
"#,
    ..ROW
};

fn pfdebug(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let Some(there) = &entry else {
        return Err(CommandError::text("ERR The specified key does not exist"));
    };
    let mut digits = itoa::Buffer::new();
    let text = text_of(Some(there), &mut digits)?;
    let encoding = registers::encoding(text)?;
    let is_sparse = encoding == Encoding::Sparse;
    let expire_at_ms = there.expire_at_ms();
    match call.args[1].to_ascii_lowercase().as_slice() {
        b"encoding" => call.reply.simple(if is_sparse { "sparse" } else { "dense" }),
        b"decode" if is_sparse => call.reply.bulk(decoded(text).as_bytes()),
        b"decode" => return Err(CommandError::text("ERR HLL encoding is not sparse")),
        b"todense" => {
            let dense = is_sparse.then(|| registers::to_dense(text)).transpose()?;
            if let Some(dense) = dense {
                edit.as_event(event::NONE).commit(whole(&dense, expire_at_ms));
            }
            call.reply.integer(i64::from(is_sparse));
        }
        b"getreg" => {
            let mut plain: Plain = [0; REGISTERS];
            registers::merge(text, &mut plain)?;
            let dense = is_sparse.then(|| registers::dense_of(text, &plain));
            if let Some(dense) = dense {
                edit.as_event(event::NONE).commit(whole(&dense, expire_at_ms));
            }
            call.reply.array(REGISTERS);
            plain.iter().for_each(|rank| call.reply.integer(i64::from(*rank)));
        }
        _ => {
            let before = "ERR Unknown PFDEBUG subcommand '";
            return Err(CommandError::quoting(before, call.args[1], "'"));
        }
    }
    Ok(())
}

/// The runs of a sparse sketch.
fn decoded(text: &[u8]) -> String {
    let runs = sparse::runs(&text[HEADER_BYTES..]).map(|run| run.to_string());
    runs.collect::<Vec<_>>().join(" ")
}

pub(super) const PFSELFTEST: Command = Command {
    name: "pfselftest",
    since: "2.8.9",
    summary: "Tests the encodings and the estimates of HyperLogLogs.",
    complexity: "O(N) with a large constant",
    arity: 1,
    flags: Flags::ADMIN,
    run: Run::Engine(EngineCommand::PfSelfTest),
    shows: "> PFSELFTEST\nOK\n",
    ..ROW
};

/// The number of elements in the self test: enough to leave the sparse encoding, few enough not to
/// stall.
const TEST_ELEMENTS: u64 = 50_000;

/// Adds elements to a sketch and compares it with plain registers, and its estimates with the exact
/// numbers.
pub fn self_test() -> Result<(), CommandError> {
    let mut sketch = registers::empty();
    let mut plain: Plain = [0; REGISTERS];
    let mut checked_at = 10;
    for number in 1..=TEST_ELEMENTS {
        let (index, rank) = registers::place_of(&number.to_le_bytes());
        registers::raise(&mut sketch, (index, rank), 3000)?;
        plain[index] = plain[index].max(rank);
        if number == checked_at {
            checked_at *= 2;
            let mut union = Union::default();
            union.add(&sketch)?;
            if !union.holds(&plain) {
                return Err(failed(&format!("registers differ after {number} elements")));
            }
            let estimate = union.cardinality();
            // Four times the standard error of 1.04 / sqrt(16384), plus one for small numbers.
            let allowed = number * 4 * 81 / 10_000 + 1;
            if estimate.abs_diff(number) > allowed {
                return Err(failed(&format!("{number} elements were estimated as {estimate}")));
            }
        }
    }
    Ok(())
}

fn failed(why: &str) -> CommandError {
    CommandError::new(format!("ERR TESTFAILED {why}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_self_test_passes() {
        assert_eq!(super::self_test(), Ok(()));
    }
}
