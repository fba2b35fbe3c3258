//! Whether two replies to the same request are equal, as far as that command promises.

use super::allowed::ALLOWED;
use super::play::Answer;
use super::table::{Comparison, comparison};
use crate::client::Request;
use crate::print::print_sorted;
use crate::process::Program;
use basalt_resp::Value;

pub(super) enum Verdict {
    Equal,
    Allowed(&'static str),
    Different,
}

/// Moments that requests name themselves, in the year 3021, in seconds or in milliseconds: both servers must keep them
/// exactly, while other times are counted from each server's own now.
const NAMED_SECONDS: std::ops::Range<i64> = 33_177_000_000..33_178_000_000;

pub(super) fn compare(
    request: &Request,
    (ours, oracle): (&Answer, &Answer),
    (our_program, oracle_program): (Program, Program),
) -> Verdict {
    let (ours, oracle) = match (ours, oracle) {
        (Ok(ours), Ok(oracle)) => (ours, oracle),
        (Err(_), Err(_)) => return Verdict::Equal,
        _ => return Verdict::Different,
    };
    if equal(comparison(request), ours, oracle) {
        return Verdict::Equal;
    }
    let excuse = ALLOWED.iter().find(|allowed| {
        (allowed.program == oracle_program && allowed.covers(request, oracle, ours))
            || (allowed.program == our_program && allowed.covers(request, ours, oracle))
    });
    excuse.map_or(Verdict::Different, |allowed| Verdict::Allowed(allowed.why))
}

fn equal(by: Comparison, one: &Value, other: &Value) -> bool {
    if same(one, other) {
        return true;
    }
    match by {
        Comparison::Exact => false,
        Comparison::Within(tolerance) => match (one, other) {
            (Value::Integer(one), Value::Integer(other)) => {
                // -1 and -2 have a meaning of their own.
                !is_named(*one)
                    && !is_named(*other)
                    && *one >= 0
                    && *other >= 0
                    && one.abs_diff(*other) <= tolerance.unsigned_abs()
            }
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|(one, other)| equal(by, one, other))
            }
            (Value::Map(one), Value::Map(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|((key, one), (other_key, other))| {
                        same(key, other_key) && equal(by, one, other)
                    })
            }
            (one, other) => same(one, other),
        },
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

fn is_named(moment: i64) -> bool {
    NAMED_SECONDS.contains(&moment) || NAMED_SECONDS.contains(&(moment / 1000))
}

/// Equal in every byte: `Value`'s own equality takes RESP2's two null shapes for one.
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
        let answers = (&Ok(ours), &Ok(oracle));
        let verdict = compare(&request(command), answers, (Program::Ours, Program::Valkey9));
        matches!(verdict, Verdict::Equal)
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
