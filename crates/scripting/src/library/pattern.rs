//! Lua's patterns: matched here and not by Lua, so that steps are counted and depth is bounded.

use crate::limits::MATCH_DEPTH_MAX;
use crate::lua::{Raise, Stack};

/// LIMIT: captures of a pattern, as in Lua.
const CAPTURES_MAX: usize = 32;

/// Steps between two calls of [`Stack::charge`].
const STEPS: usize = 256;

#[derive(Clone, Copy)]
enum Capture {
    Open { start: usize },
    Position { start: usize },
    Closed { start: usize, end: usize },
}

/// What a capture holds.
pub(super) enum Captured<'a> {
    Text(&'a [u8]),
    /// Counted from 1.
    Position(usize),
}

pub(super) struct Matcher<'s, 'a> {
    pub(super) stack: &'s mut Stack<'a>,
    source: &'a [u8],
    pattern: &'a [u8],
    captures: [Capture; CAPTURES_MAX],
    count: usize,
    depth: u32,
    steps: usize,
}

type Matched = Result<Option<usize>, Raise>;

impl<'s, 'a> Matcher<'s, 'a> {
    /// The pattern without its anchor. It ends at a zero byte, as in Lua 5.1.
    pub(super) fn new(stack: &'s mut Stack<'a>, source: &'a [u8], pattern: &'a [u8]) -> Self {
        let end = pattern.iter().position(|&byte| byte == 0).unwrap_or(pattern.len());
        let captures = [Capture::Position { start: 0 }; CAPTURES_MAX];
        let pattern = &pattern[..end];
        Self { stack, source, pattern, captures, count: 0, depth: 0, steps: 0 }
    }

    /// Where a match that begins at `start` ends.
    pub(super) fn match_at(&mut self, start: usize) -> Matched {
        self.count = 0;
        self.depth = 0;
        self.run(start, 0)
    }

    pub(super) fn capture_whole(&self, (start, end): (usize, usize)) -> &'a [u8] {
        &self.source[start..end]
    }

    /// A capture counted from 0; the whole match if the pattern has none.
    pub(super) fn capture(
        &self,
        index: usize,
        (start, end): (usize, usize),
    ) -> Result<Captured<'a>, Raise> {
        if index >= self.count {
            if index == 0 {
                return Ok(Captured::Text(&self.source[start..end]));
            }
            return Err(Raise::text("invalid capture index"));
        }
        match self.captures[index] {
            Capture::Closed { start, end } => Ok(Captured::Text(&self.source[start..end])),
            Capture::Position { start } => Ok(Captured::Position(start + 1)),
            Capture::Open { .. } => Err(Raise::text("unfinished capture")),
        }
    }

    /// Pushes all captures, or the whole match if there are none and it is wanted; returns how many.
    pub(super) fn push_captures(&mut self, whole: Option<(usize, usize)>) -> Result<usize, Raise> {
        let count = if self.count == 0 { usize::from(whole.is_some()) } else { self.count };
        for index in 0..count {
            match self.capture(index, whole.unwrap_or_default())? {
                Captured::Text(text) => self.stack.push_bytes(text)?,
                Captured::Position(position) => self.stack.push_number(position as f64)?,
            }
        }
        Ok(count)
    }

    fn count_step(&mut self) -> Result<(), Raise> {
        self.steps += 1;
        if self.steps < STEPS {
            return Ok(());
        }
        self.stack.charge(std::mem::take(&mut self.steps))
    }

    /// A part of the match within another.
    fn deeper(&mut self, at: usize, pattern_at: usize) -> Matched {
        if self.depth >= MATCH_DEPTH_MAX {
            return Err(Raise::text("pattern too complex"));
        }
        self.depth += 1;
        let matched = self.run(at, pattern_at);
        self.depth -= 1;
        matched
    }

    fn run(&mut self, mut at: usize, mut pattern_at: usize) -> Matched {
        loop {
            self.count_step()?;
            let Some(&byte) = self.pattern.get(pattern_at) else { return Ok(Some(at)) };
            let next = self.pattern.get(pattern_at + 1).copied();
            match (byte, next) {
                (b'(', Some(b')')) => {
                    let capture = Capture::Position { start: at };
                    return self.open_capture(capture, at, pattern_at + 2);
                }
                (b'(', _) => {
                    let capture = Capture::Open { start: at };
                    return self.open_capture(capture, at, pattern_at + 1);
                }
                (b')', _) => return self.close_capture(at, pattern_at + 1),
                (b'%', Some(b'b')) => {
                    let Some(end) = self.balanced(at, pattern_at + 2)? else { return Ok(None) };
                    (at, pattern_at) = (end, pattern_at + 4);
                    continue;
                }
                (b'%', Some(b'f')) => {
                    let set_at = pattern_at + 2;
                    if self.pattern.get(set_at) != Some(&b'[') {
                        return Err(Raise::text("missing '[' after '%f' in pattern"));
                    }
                    let set_end = self.class_end(set_at)?;
                    let before = at.checked_sub(1).map_or(0, |before| self.source[before]);
                    let here = self.source.get(at).copied().unwrap_or(0);
                    if self.in_set(before, set_at, set_end - 1)
                        || !self.in_set(here, set_at, set_end - 1)
                    {
                        return Ok(None);
                    }
                    pattern_at = set_end;
                    continue;
                }
                (b'%', Some(digit)) if digit.is_ascii_digit() => {
                    let Some(end) = self.back_reference(at, digit)? else { return Ok(None) };
                    (at, pattern_at) = (end, pattern_at + 2);
                    continue;
                }
                (b'$', None) => return Ok((at == self.source.len()).then_some(at)),
                _ => {}
            }
            let end = self.class_end(pattern_at)?;
            let matches = self.matches_one(at, pattern_at, end);
            match self.pattern.get(end) {
                Some(b'?') => {
                    if matches && let Some(found) = self.deeper(at + 1, end + 1)? {
                        return Ok(Some(found));
                    }
                    pattern_at = end + 1;
                }
                Some(b'*') => return self.expand(at, pattern_at, end),
                Some(b'+') if matches => return self.expand(at + 1, pattern_at, end),
                Some(b'+') => return Ok(None),
                Some(b'-') => return self.expand_least(at, pattern_at, end),
                _ if matches => (at, pattern_at) = (at + 1, end),
                _ => return Ok(None),
            }
        }
    }

    fn expand(&mut self, at: usize, class: usize, end: usize) -> Matched {
        let mut count = 0;
        while self.matches_one(at + count, class, end) {
            count += 1;
            self.count_step()?;
        }
        loop {
            if let Some(found) = self.deeper(at + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn expand_least(&mut self, mut at: usize, class: usize, end: usize) -> Matched {
        loop {
            if let Some(found) = self.deeper(at, end + 1)? {
                return Ok(Some(found));
            }
            if !self.matches_one(at, class, end) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn open_capture(&mut self, capture: Capture, at: usize, pattern_at: usize) -> Matched {
        if self.count >= CAPTURES_MAX {
            return Err(Raise::text("too many captures"));
        }
        self.captures[self.count] = capture;
        self.count += 1;
        let matched = self.deeper(at, pattern_at)?;
        if matched.is_none() {
            self.count -= 1;
        }
        Ok(matched)
    }

    fn close_capture(&mut self, at: usize, pattern_at: usize) -> Matched {
        let open =
            self.captures[..self.count].iter().rposition(|c| matches!(c, Capture::Open { .. }));
        let Some(index) = open else { return Err(Raise::text("invalid pattern capture")) };
        let Capture::Open { start } = self.captures[index] else { return Ok(None) };
        self.captures[index] = Capture::Closed { start, end: at };
        let matched = self.deeper(at, pattern_at)?;
        if matched.is_none() {
            self.captures[index] = Capture::Open { start };
        }
        Ok(matched)
    }

    fn balanced(&mut self, at: usize, pattern_at: usize) -> Matched {
        let (Some(&open), Some(&close)) =
            (self.pattern.get(pattern_at), self.pattern.get(pattern_at + 1))
        else {
            return Err(Raise::text("unbalanced pattern"));
        };
        if self.source.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for index in at + 1..self.source.len() {
            self.count_step()?;
            let byte = self.source[index];
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(index + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    fn back_reference(&mut self, at: usize, digit: u8) -> Matched {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let Some(Capture::Closed { start, end }) = self.captures[..self.count].get(index).copied()
        else {
            return Err(Raise::text("invalid capture index"));
        };
        let text = &self.source[start..end];
        self.stack.charge(text.len() / STEPS)?;
        Ok(self.source[at..].starts_with(text).then_some(at + text.len()))
    }

    /// The end of the class that begins here.
    fn class_end(&self, at: usize) -> Result<usize, Raise> {
        match self.pattern[at] {
            b'%' => {
                if at + 1 >= self.pattern.len() {
                    return Err(Raise::text("malformed pattern (ends with '%')"));
                }
                Ok(at + 2)
            }
            b'[' => {
                let mut end = at + 1;
                if self.pattern.get(end) == Some(&b'^') {
                    end += 1;
                }
                // The first bracket is a member.
                loop {
                    let Some(&byte) = self.pattern.get(end) else {
                        return Err(Raise::text("malformed pattern (missing ']')"));
                    };
                    end += 1;
                    if byte == b'%' && end < self.pattern.len() {
                        end += 1;
                    }
                    if self.pattern.get(end) == Some(&b']') {
                        return Ok(end + 1);
                    }
                }
            }
            _ => Ok(at + 1),
        }
    }

    fn matches_one(&self, at: usize, class: usize, end: usize) -> bool {
        let Some(&byte) = self.source.get(at) else { return false };
        match self.pattern[class] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[class + 1]),
            b'[' => self.in_set(byte, class, end - 1),
            other => other == byte,
        }
    }

    /// `at` is the opening bracket, `end` the closing one.
    fn in_set(&self, byte: u8, mut at: usize, end: usize) -> bool {
        let mut found = true;
        if self.pattern[at + 1] == b'^' {
            found = false;
            at += 1;
        }
        at += 1;
        while at < end {
            let member = self.pattern[at];
            if member == b'%' {
                at += 1;
                if in_class(byte, self.pattern[at]) {
                    return found;
                }
            } else if self.pattern[at + 1] == b'-' && at + 2 < end {
                if (member..=self.pattern[at + 2]).contains(&byte) {
                    return found;
                }
                at += 2;
            } else if member == byte {
                return found;
            }
            at += 1;
        }
        !found
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}
