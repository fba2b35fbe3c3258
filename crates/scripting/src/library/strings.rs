//! `string`: what runs without instructions of the interpreter counts its steps.

use super::add;
use super::arguments::{bad, integer, integer_or, text};
use super::pattern::{Captured, Matcher};
use crate::limits::BYTES_PER_STEP;
use crate::lua::{Kind, Raise, Returned, Stack};

pub(super) const REPLACED: &[&str] = &["find", "match", "gmatch", "gfind", "gsub", "rep"];

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(
        stack,
        library,
        &[
            ("find", |stack| find(stack, true)),
            ("match", |stack| find(stack, false)),
            ("gmatch", all_matches),
            ("gfind", all_matches),
            ("gsub", substitute),
            ("rep", repeat),
        ],
    )
}

fn repeat(stack: &mut Stack<'_>) -> Returned {
    let piece = text(stack, 1)?;
    let count = usize::try_from(integer(stack, 2)?).unwrap_or(0);
    let Some(bytes) = piece.len().checked_mul(count) else {
        return Err(Raise::text("resulting string too large"));
    };
    stack.check_room(bytes.saturating_mul(2))?;
    stack.charge(bytes / BYTES_PER_STEP)?;
    stack.push_bytes(&piece.repeat(if piece.is_empty() { 0 } else { count }))?;
    Ok(1)
}

/// The index, from 0, of the argument that says where to begin.
fn start_of(stack: &Stack<'_>, at: usize, len: usize) -> Result<usize, Raise> {
    let start = integer_or(stack, at, 1)?;
    let len_signed = i64::try_from(len).unwrap_or(i64::MAX);
    let start = if start < 0 { start.saturating_add(len_signed).saturating_add(1) } else { start };
    Ok(usize::try_from(start.saturating_sub(1).clamp(0, len_signed)).unwrap_or(0))
}

fn find(stack: &mut Stack<'_>, is_find: bool) -> Returned {
    let (source, pattern) = (text(stack, 1)?, text(stack, 2)?);
    let start = start_of(stack, 3, source.len())?;
    let is_special = |byte: &u8| b"^$*+?.([%-".contains(byte);
    let until_zero = pattern.split(|&byte| byte == 0).next().unwrap_or_default();
    if is_find && (stack.boolean(4) || !until_zero.iter().any(is_special)) {
        stack.charge(source.len().saturating_sub(start) / 8)?;
        let found = if pattern.is_empty() {
            Some(0)
        } else {
            position_of(stack, &source[start..], pattern)?
        };
        match found {
            Some(at) => {
                stack.push_number((start + at + 1) as f64)?;
                stack.push_number((start + at + pattern.len()) as f64)?;
                return Ok(2);
            }
            None => {
                stack.push_nil()?;
                return Ok(1);
            }
        }
    }
    let (is_anchored, pattern) = anchored(pattern);
    let mut matcher = Matcher::new(stack, source, pattern);
    for at in start..=source.len() {
        if let Some(end) = matcher.match_at(at)? {
            if !is_find {
                return matcher.push_captures(Some((at, end)));
            }
            matcher.stack.push_number((at + 1) as f64)?;
            matcher.stack.push_number(end as f64)?;
            return Ok(matcher.push_captures(None)? + 2);
        }
        if is_anchored {
            break;
        }
    }
    stack.push_nil()?;
    Ok(1)
}

/// Where the text first contains a piece, which is not empty.
fn position_of(stack: &mut Stack<'_>, text: &[u8], piece: &[u8]) -> Result<Option<usize>, Raise> {
    let mut from = 0;
    while let Some(step) = text[from..].iter().position(|&byte| byte == piece[0]) {
        let at = from + step;
        stack.charge(1 + piece.len() / BYTES_PER_STEP)?;
        if text[at..].starts_with(piece) {
            return Ok(Some(at));
        }
        from = at + 1;
    }
    Ok(None)
}

fn anchored(pattern: &[u8]) -> (bool, &[u8]) {
    pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest))
}

fn all_matches(stack: &mut Stack<'_>) -> Returned {
    text(stack, 1)?;
    text(stack, 2)?;
    stack.copy(1)?;
    stack.copy(2)?;
    stack.push_number(0.0)?;
    stack.push_closure(next_match, 3)?;
    Ok(1)
}

/// The iterator of `gmatch`, which keeps text, pattern and position.
fn next_match(stack: &mut Stack<'_>) -> Returned {
    let first = stack.top() + 1;
    for kept in 1..=3 {
        stack.push_kept(kept)?;
    }
    stack.pin();
    let start = stack.number(first + 2).unwrap_or(0.0) as usize;
    let (source, pattern) = (text(stack, first as usize)?, text(stack, first as usize + 1)?);
    let mut matcher = Matcher::new(stack, source, pattern);
    for at in start..=source.len() {
        if let Some(end) = matcher.match_at(at)? {
            let next = if end == at { end + 1 } else { end };
            matcher.stack.push_number(next as f64)?;
            matcher.stack.keep_instead(3);
            return matcher.push_captures(Some((at, end)));
        }
    }
    Ok(0)
}

fn substitute(stack: &mut Stack<'_>) -> Returned {
    let (source, pattern) = (text(stack, 1)?, text(stack, 2)?);
    let replacement = stack.kind(3);
    if !matches!(replacement, Kind::Number | Kind::String | Kind::Table | Kind::Function) {
        return Err(bad(3, "string/function/table expected"));
    }
    let by_text = stack.arg_text(3);
    let max = integer_or(stack, 4, i64::try_from(source.len()).unwrap_or(i64::MAX - 1) + 1)?;
    let (is_anchored, pattern) = anchored(pattern);
    let mut matcher = Matcher::new(stack, source, pattern);
    let mut out = Vec::new();
    let (mut at, mut count) = (0, 0);
    while count < max {
        let matched = matcher.match_at(at)?;
        if let Some(end) = matched {
            count += 1;
            match by_text {
                Some(template) => fill(&matcher, template, (at, end), &mut out)?,
                None => replace(&mut matcher, replacement, (at, end), &mut out)?,
            }
            matcher.stack.check_room(out.len())?;
        }
        match matched {
            Some(end) if end > at => at = end,
            _ if at < source.len() => {
                out.push(source[at]);
                at += 1;
            }
            _ => break,
        }
        if is_anchored {
            break;
        }
    }
    out.extend_from_slice(&source[at.min(source.len())..]);
    stack.charge(out.len() / BYTES_PER_STEP)?;
    stack.push_bytes(&out)?;
    stack.push_number(count as f64)?;
    Ok(2)
}

/// Appends a template in which `%1` stands for a capture.
fn fill(
    matcher: &Matcher<'_, '_>,
    template: &[u8],
    whole: (usize, usize),
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    let mut bytes = template.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let index = match bytes.next() {
            Some(b'0') => {
                let text = matcher.capture_whole(whole);
                out.extend_from_slice(text);
                continue;
            }
            Some(&digit) if digit.is_ascii_digit() => usize::from(digit - b'1'),
            Some(&other) => {
                out.push(other);
                continue;
            }
            // The byte behind the end is read, as in Lua.
            None => {
                out.push(0);
                continue;
            }
        };
        match matcher.capture(index, whole)? {
            Captured::Text(text) => out.extend_from_slice(text),
            Captured::Position(position) => {
                out.extend_from_slice(position.to_string().as_bytes());
            }
        }
    }
    Ok(())
}

/// Appends what a function or a table gives for the match.
fn replace(
    matcher: &mut Matcher<'_, '_>,
    replacement: Kind,
    whole: (usize, usize),
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    if replacement == Kind::Function {
        matcher.stack.copy(3)?;
        let count = matcher.push_captures(Some(whole))?;
        matcher.stack.call(count, 1)?;
    } else {
        match matcher.capture(0, whole)? {
            Captured::Text(text) => matcher.stack.push_bytes(text)?,
            Captured::Position(position) => matcher.stack.push_number(position as f64)?,
        }
        matcher.stack.index(3)?;
    }
    let stack = &mut *matcher.stack;
    match stack.kind(-1) {
        Kind::Nil => out.extend_from_slice(matcher.capture_whole(whole)),
        Kind::Boolean if !stack.boolean(-1) => {
            out.extend_from_slice(matcher.capture_whole(whole));
        }
        Kind::String | Kind::Number => {
            let text = stack.text(-1).unwrap_or_default();
            out.extend_from_slice(&text);
        }
        other => {
            let text = format!("invalid replacement value (a {})", other.name());
            return Err(Raise::Text(text.into()));
        }
    }
    matcher.stack.pop(1);
    Ok(())
}
