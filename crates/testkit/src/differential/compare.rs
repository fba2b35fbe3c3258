//! Compares two replies to the same request, as far as the command guarantees equality.

use super::allowed::{ALLOWED, Allowed, PARTING};
use super::play::Answer;
use super::table::{Comparison, comparison};
use crate::client::Request;
use crate::print::print_sorted;
use crate::process::Program;
use basalt_resp::Value;
use std::time::Duration;

pub(super) enum Verdict {
    Equal,
    Allowed(&'static str),
    /// Allowed, but from here on the servers hold different data.
    Parting(&'static str),
    Different,
}

/// Moments that requests contain themselves, in the year 3021, in seconds or in milliseconds: both
/// servers must keep them exactly, while other times are relative to each server's own clock.
const NAMED_SECONDS: std::ops::Range<i64> = 33_177_000_000..33_178_000_000;

/// How much times may differ without any delay, in milliseconds: each is rounded.
const ROUNDING_MS: u64 = 2000;

/// `lag` is how much later than the other a server may have processed a request: a delay on a busy
/// machine is no difference.
pub(super) fn compare(
    request: &Request,
    (ours, oracle): (&Answer, &Answer),
    (our_program, oracle_program): (Program, Program),
    lag: Duration,
) -> Verdict {
    let (ours, oracle) = match (ours, oracle) {
        (Ok(ours), Ok(oracle)) => (ours, oracle),
        (Err(_), Err(_)) => return Verdict::Equal,
        _ => return Verdict::Different,
    };
    let apart_ms = ROUNDING_MS + u64::try_from(lag.as_millis()).unwrap_or(u64::MAX / 2);
    if equal(comparison(request), ours, oracle, apart_ms) {
        return Verdict::Equal;
    }
    let excuse = |among: &[Allowed]| {
        let covering = among.iter().find(|allowed| {
            (allowed.program == oracle_program && allowed.covers(request, oracle, ours))
                || (allowed.program == our_program && allowed.covers(request, ours, oracle))
        });
        covering.map(|allowed| allowed.why)
    };
    if let Some(why) = excuse(PARTING) {
        return Verdict::Parting(why);
    }
    excuse(ALLOWED).map_or(Verdict::Different, Verdict::Allowed)
}

fn equal(by: Comparison, one: &Value, other: &Value, apart_ms: u64) -> bool {
    if same(one, other) {
        return true;
    }
    match by {
        Comparison::Exact => false,
        Comparison::Seconds => are_near(one, other, apart_ms.div_ceil(1000)),
        Comparison::Milliseconds => are_near(one, other, apart_ms),
        Comparison::AnyOrder => {
            std::mem::discriminant(one) == std::mem::discriminant(other)
                && print_sorted(one) == print_sorted(other)
        }
        Comparison::SameKind => {
            std::mem::discriminant(one) == std::mem::discriminant(other)
                && !matches!(one, Value::Error(_))
        }
    }
}

/// Whether all is equal except for integers that differ by at most `apart`.
fn are_near(one: &Value, other: &Value, apart: u64) -> bool {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) if one != other => {
            // -1 and -2 have special meanings.
            !is_named(*one)
                && !is_named(*other)
                && *one >= 0
                && *other >= 0
                && one.abs_diff(*other) <= apart
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| are_near(one, other, apart))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((key, one), (other_key, other))| {
                    same(key, other_key) && are_near(one, other, apart)
                })
        }
        (one, other) => same(one, other),
    }
}

fn is_named(moment: i64) -> bool {
    NAMED_SECONDS.contains(&moment) || NAMED_SECONDS.contains(&(moment / 1000))
}

/// Equal in every byte: `Value`'s own equality equates RESP2's two forms of null.
fn same(one: &Value, other: &Value) -> bool {
    let all = |one: &[Value], other: &[Value]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
    };
    match (one, other) {
        (Value::Array(one), Value::Array(other))
        | (Value::Set(one), Value::Set(other))
        | (Value::Push(one), Value::Push(other)) => all(one, other),
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((key, value), (other_key, other_value))| {
                    same(key, other_key) && same(value, other_value)
                })
        }
        _ => std::mem::discriminant(one) == std::mem::discriminant(other) && one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::request;

    fn verdict(command: &[&str], ours: Value, oracle: Value) -> bool {
        verdict_after(Duration::ZERO, command, ours, oracle)
    }

    fn verdict_after(lag: Duration, command: &[&str], ours: Value, oracle: Value) -> bool {
        let answers = (&Ok(ours), &Ok(oracle));
        let programs = (Program::Ours, Program::Valkey9);
        matches!(compare(&request(command), answers, programs, lag), Verdict::Equal)
    }

    #[test]
    fn null_shapes_and_types_are_told_apart() {
        assert!(verdict(&["GET"], Value::Null, Value::Null));
        assert!(!verdict(&["GET"], Value::Null, Value::NullArray));
        assert!(!verdict(&["GET"], Value::bulk("OK"), Value::simple("OK")));
        let nested = |null| Value::Array(vec![null]);
        assert!(!verdict(&["GET"], nested(Value::Null), nested(Value::NullArray)));
    }

    #[test]
    fn times_are_equal_within_their_tolerance_unless_they_were_named() {
        assert!(verdict(&["pttl", "k"], Value::Integer(99_000), Value::Integer(100_000)));
        assert!(!verdict(&["pttl", "k"], Value::Integer(90_000), Value::Integer(100_000)));
        assert!(!verdict(&["pttl", "k"], Value::Integer(-1), Value::Integer(0)));
        let far = 33_177_117_420_000;
        assert!(!verdict(&["PEXPIRETIME", "k"], Value::Integer(far), Value::Integer(far + 1)));
    }

    #[test]
    fn a_server_that_was_late_counts_its_times_later() {
        let after = |lag, ours, oracle| {
            let lag = Duration::from_secs(lag);
            let (ours, oracle) = (Value::Integer(ours), Value::Integer(oracle));
            verdict_after(lag, &["TTL", "k"], ours, oracle)
        };
        assert!(after(0, 98, 100));
        assert!(!after(0, 97, 100));
        assert!(after(1, 97, 100));
        assert!(!after(1, 96, 100));
        assert!(!after(60, -1, 0));
    }

    #[test]
    fn redis_7_counts_how_long_a_shared_number_was_idle() {
        let idle = request(&["object", "IDLETIME", "k"]);
        let answers = |value| (Ok(Value::bulk(value)), Ok(Value::Integer(0)));
        let number = (Ok(Value::Integer(9)), Ok(Value::Integer(0)));
        let between = |one: &(Answer, Answer), program| {
            let programs = (program, Program::Valkey9);
            compare(&idle, (&one.0, &one.1), programs, Duration::ZERO)
        };
        assert!(matches!(between(&number, Program::Redis7), Verdict::Allowed(_)));
        assert!(matches!(between(&number, Program::Ours), Verdict::Different));
        assert!(matches!(between(&answers("9"), Program::Redis7), Verdict::Different));
    }

    #[test]
    fn order_is_free_only_where_it_is() {
        let one = Value::Array(vec![Value::bulk("a"), Value::bulk("b")]);
        let other = Value::Array(vec![Value::bulk("b"), Value::bulk("a")]);
        assert!(verdict(&["KEYS", "*"], one.clone(), other.clone()));
        assert!(!verdict(&["MGET", "a", "b"], one, other));
    }

    #[test]
    fn of_random_replies_only_the_kind_counts() {
        assert!(verdict(&["RANDOMKEY"], Value::bulk("a"), Value::bulk("b")));
        assert!(!verdict(&["RANDOMKEY"], Value::bulk("a"), Value::Null));
        assert!(!verdict(&["RANDOMKEY"], Value::error("ERR a"), Value::error("ERR b")));
    }
}
