//! `table`: the functions that move many elements count their steps, and leave protected tables alone.

use super::add;
use super::arguments::{integer, integer_or, table};
use crate::lua::{Kind, Raise, Returned, Stack};

pub(super) const REPLACED: &[&str] = &["insert", "remove", "sort"];

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(stack, library, &[("insert", insert), ("remove", remove), ("sort", sort)])
}

fn insert(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    if stack.is_protected(target)? {
        return Err(Raise::bare("Attempt to modify a readonly table"));
    }
    let mut end = len(stack, target) + 1;
    let at = match stack.arg_count() {
        2 => end,
        3 => integer(stack, 2)?,
        _ => return Err(Raise::text("wrong number of arguments to 'insert'")),
    };
    end = end.max(at);
    while end > at {
        stack.charge(1)?;
        stack.get_item(target, end - 1)?;
        stack.set_item(target, end)?;
        end -= 1;
    }
    stack.copy(i32::try_from(stack.arg_count()).unwrap_or(2))?;
    stack.set_item(target, at)?;
    Ok(0)
}

fn remove(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    let end = len(stack, target);
    let at = integer_or(stack, 2, end)?;
    if !(1..=end).contains(&at) {
        return Ok(0);
    }
    stack.get_item(target, at)?;
    for index in at..end {
        stack.charge(1)?;
        stack.get_item(target, index + 1)?;
        stack.set_item(target, index)?;
    }
    stack.push_nil()?;
    stack.set_item(target, end)?;
    Ok(1)
}

fn len(stack: &Stack<'_>, target: i32) -> i64 {
    i64::try_from(stack.len(target)).unwrap_or(i64::MAX)
}

/// Quicksort as Lua 5.1 has it (median of three, the larger part by the loop), so that elements that are
/// equal for a function keep the order that they have in Redis.
fn sort(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    let by_function = match stack.kind(2) {
        Kind::None | Kind::Nil => false,
        Kind::Function => true,
        _ => {
            super::arguments::function(stack, 2)?;
            false
        }
    };
    let len = len(stack, target);
    // LIMIT: ranges that wait: the larger part always waits, so the others at least halve.
    let mut waiting: Vec<(i64, i64)> = vec![(1, len)];
    while let Some((mut low, mut high)) = waiting.pop() {
        while low < high {
            order(stack, target, low, high, by_function)?;
            if high - low == 1 {
                break;
            }
            let middle = low.midpoint(high);
            if !order(stack, target, low, middle, by_function)? {
                order(stack, target, middle, high, by_function)?;
            }
            if high - low == 2 {
                break;
            }
            let cut = partition(stack, target, (low, high), middle, by_function)?;
            let (small, large) = if cut - low < high - cut {
                ((low, cut - 1), (cut + 1, high))
            } else {
                ((cut + 1, high), (low, cut - 1))
            };
            waiting.push(large);
            (low, high) = small;
        }
    }
    Ok(0)
}

/// Exchanges two elements if the second is less than the first.
fn order(
    stack: &mut Stack<'_>,
    target: i32,
    low: i64,
    high: i64,
    by_function: bool,
) -> Result<bool, Raise> {
    stack.get_item(target, low)?;
    stack.get_item(target, high)?;
    let swaps = is_less(stack, -1, -2, by_function)?;
    if swaps {
        stack.set_item(target, low)?;
        stack.set_item(target, high)?;
    } else {
        stack.pop(2);
    }
    Ok(swaps)
}

/// Divides a range whose ends and middle are in order; returns where the pivot lies.
fn partition(
    stack: &mut Stack<'_>,
    target: i32,
    (low, high): (i64, i64),
    middle: i64,
    by_function: bool,
) -> Result<i64, Raise> {
    stack.get_item(target, middle)?;
    let pivot = stack.top();
    stack.copy(pivot)?;
    stack.get_item(target, high - 1)?;
    stack.set_item(target, middle)?;
    stack.set_item(target, high - 1)?;
    let (mut up, mut down) = (low, high - 1);
    loop {
        loop {
            up += 1;
            stack.get_item(target, up)?;
            if !is_less(stack, -1, pivot, by_function)? {
                break;
            }
            if up > high {
                return Err(Raise::text("invalid order function for sorting"));
            }
            stack.pop(1);
        }
        loop {
            down -= 1;
            stack.get_item(target, down)?;
            if !is_less(stack, pivot, -1, by_function)? {
                break;
            }
            if down < low {
                return Err(Raise::text("invalid order function for sorting"));
            }
            stack.pop(1);
        }
        if down < up {
            stack.pop(3);
            stack.get_item(target, high - 1)?;
            stack.get_item(target, up)?;
            stack.set_item(target, high - 1)?;
            stack.set_item(target, up)?;
            return Ok(up);
        }
        stack.set_item(target, up)?;
        stack.set_item(target, down)?;
    }
}

fn is_less(stack: &mut Stack<'_>, one: i32, other: i32, by_function: bool) -> Result<bool, Raise> {
    stack.charge(1)?;
    if by_function {
        let top = stack.top();
        let absolute = |at: i32| if at < 0 { top + 1 + at } else { at };
        let (one, other) = (absolute(one), absolute(other));
        stack.copy(2)?;
        stack.copy(one)?;
        stack.copy(other)?;
        stack.call(2, 1)?;
        let less = stack.boolean(-1);
        stack.pop(1);
        return Ok(less);
    }
    if let (Some(one), Some(other)) = (stack.number(one), stack.number(other)) {
        return Ok(one < other);
    }
    match (stack.bytes(one), stack.bytes(other)) {
        (Some(one), Some(other)) => Ok(one < other),
        _ => stack.less(one, other),
    }
}
