//! Requests: finds the end of a request, and its arguments as slices of the input.
//!
//! A request is either `*N` with N bulks of `$L`, or a line of words (`inline`). Nothing is copied,
//! and lengths in the input reserve no memory: memory grows with the bytes that have arrived. The
//! parsed part of an incomplete request is kept in `Partial`, so that parsing is linear in the
//! bytes.
//!
//! The errors and their conditions are those of Redis, with Valkey's error for a length or a bulk
//! that is not followed by CR LF. One rule is stricter than both, so that the result does not
//! depend on how a request is cut: a line is too big if its end is not within `inline_bytes_max`,
//! even if it arrived whole.

use std::fmt;

use crate::inline;
use crate::number::parse_i64;

/// LIMIT: Redis' PROTO_INLINE_MAX_SIZE, for inline requests and for the lines that carry a length.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: Redis' default of proto-max-bulk-len.
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// LIMIT: arguments of one request; Redis rejects counts that do not fit its `int`.
const ARGS_MAX: usize = i32::MAX as usize;
/// LIMIT: arguments of one request of a client that is not authenticated.
const UNAUTHENTICATED_ARGS_MAX: usize = 10;
/// LIMIT: bytes of one argument of a client that is not authenticated.
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;

/// Fewer arguments than these are faster to parse again than to save.
const ARGS_WORTH_KEEPING: usize = 16;
/// A line shorter than this is faster to search again than to save.
const LINE_BYTES_WORTH_KEEPING: usize = 64;

/// The limits of a request; beyond them the client gets a `ProtocolError`.
#[derive(Clone, Debug)]
pub struct ParseLimits {
    /// `proto-max-bulk-len`.
    pub bulk_bytes_max: usize,
    pub args_max: usize,
    /// The longest inline request, and the longest line with a length in it.
    pub inline_bytes_max: usize,
    /// The client must authenticate before it may send large requests.
    pub unauthenticated: bool,
}

impl Default for ParseLimits {
    fn default() -> ParseLimits {
        ParseLimits {
            bulk_bytes_max: BULK_BYTES_MAX,
            args_max: ARGS_MAX,
            inline_bytes_max: INLINE_BYTES_MAX,
            unauthenticated: false,
        }
    }
}

/// A bulk of at least so many bytes that is incomplete may be received apart: see [`Partial::take_apart`].
pub const LARGE_BULK_BYTES: usize = 64 * 1024;

/// The parsed part of an incomplete request. Offsets count from its first byte.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The arguments that have arrived completely.
    args: Vec<Known>,
    pause: Pause,
    /// How many of them lie apart.
    apart: usize,
}

/// An argument that has arrived.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// Start and end.
    Within(usize, usize),
    /// The number of one that lies apart.
    Apart(usize),
}

/// A large bulk whose header was read.
#[derive(Clone, Copy, Debug)]
struct Large {
    start: usize,
    len: usize,
    /// Its bytes are not in the input: at `start` are those behind it.
    is_apart: bool,
}

/// The state of the parser.
#[derive(Clone, Debug)]
struct Pause {
    /// The start of the first unparsed item: a line, or the header of the next argument.
    position: usize,
    /// That line has no end before this offset.
    searched: usize,
    /// The number of arguments still to come; 0 before the end of the first line.
    args_left: usize,
    /// The argument at `position`, where it is known to be large.
    large: Option<Large>,
}

/// The result of `parse`.
#[derive(PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A complete request of `bytes` bytes; its arguments were appended to `args`.
    Request { bytes: usize },
    /// These bytes have no request (empty line, `*0`, `*-1`): skip them.
    Nothing { bytes: usize },
    /// An inline request whose arguments are not slices of it (escapes, `a"b"`): `request` is the
    /// same in RESP form, and `bytes` of the input are consumed. It is within the limits; parse it
    /// with `ParseLimits::default()`, since those of bulks do not apply to it.
    Rewritten { bytes: usize, request: Vec<u8> },
    /// The request is incomplete. Call again when the input has at least `need` bytes, counted from
    /// the request's first.
    Incomplete { need: usize },
}

/// Why a request is invalid. The client gets the error and its connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    InlineTooBig,
    UnbalancedQuotes,
    MultibulkCountTooBig,
    BulkCountTooBig,
    InvalidMultibulkLength,
    InvalidBulkLength,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    /// A `$` was expected instead of this byte.
    ExpectedBulk(u8),
    InvalidCrlf,
}

/// Parses the request at the start of `input`.
///
/// Arguments are appended to `args`, which may hold those of earlier requests; unless a request is
/// returned, `args` is unchanged. `partial` is `None` at a request's start. After `Incomplete` the
/// same bytes must be passed again, with more after them (they may have moved), together with the
/// same `partial`.
#[inline]
pub fn parse<'a>(
    input: &'a [u8],
    partial: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    if partial.is_some() {
        return resume(input, &[], partial, args, limits);
    }
    if let Some(bytes) = short_request(input, args, limits) {
        return Ok(Parsed::Request { bytes });
    }
    unusual(input, partial, args, limits)
}

/// As [`parse`], for a request some of whose arguments lie `apart`, in their order.
pub fn parse_apart<'a>(
    input: &'a [u8],
    apart: &[&'a [u8]],
    partial: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    match partial {
        Some(_) => resume(input, apart, partial, args, limits),
        None => parse(input, partial, args, limits),
    }
}

/// The fast path: a complete request of at most nine arguments, each shorter than a hundred bytes.
/// `unusual` handles everything else, and all errors.
#[inline]
fn short_request<'a>(
    input: &'a [u8],
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Option<usize> {
    const ONE_DIGIT: u32 = u32::from_le_bytes([0xFF, 0, 0xFF, 0xFF]);
    const COUNT: u32 = u32::from_le_bytes([b'*', 0, b'\r', b'\n']);
    const LEN: u32 = u32::from_le_bytes([b'$', 0, b'\r', b'\n']);
    const SHORT_LEN_MAX: usize = 99;

    let (header, mut rest) = input.split_first_chunk::<4>()?;
    let count = usize::from(header[1].wrapping_sub(b'0'));
    let is_count = u32::from_le_bytes(*header) & ONE_DIGIT == COUNT && (1..=9).contains(&count);
    if !is_count || count > limits.args_max || limits.bulk_bytes_max < SHORT_LEN_MAX {
        return None;
    }
    let args_before = args.len();
    let mut short = |rest: &mut &'a [u8]| -> Option<()> {
        let (header, mut tail) = rest.split_first_chunk::<4>()?;
        let mut len = usize::from(header[1].wrapping_sub(b'0'));
        if len > 9 {
            return None;
        }
        if u32::from_le_bytes(*header) & ONE_DIGIT != LEN {
            // Two digits then: the second one is where CR was expected.
            let second = usize::from(header[2].wrapping_sub(b'0'));
            let (&line_feed, after) = tail.split_first()?;
            let is_len = header[0] == b'$' && header[3] == b'\r' && line_feed == b'\n';
            if !is_len || len == 0 || second > 9 {
                return None;
            }
            (len, tail) = (len * 10 + second, after);
        }
        let (arg, tail) = tail.split_at_checked(len)?;
        let (end, tail) = tail.split_first_chunk::<2>()?;
        if end != b"\r\n" {
            return None;
        }
        args.push(arg);
        *rest = tail;
        Some(())
    };
    for _ in 0..count {
        if short(&mut rest).is_none() {
            args.truncate(args_before);
            return None;
        }
    }
    Some(input.len() - rest.len())
}

#[inline(never)]
fn unusual<'a>(
    input: &'a [u8],
    partial: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    match input.first() {
        Some(b'*') => multibulk(input, 0, partial, args, limits),
        Some(_) => inline(input, 0, partial, args, limits),
        None => Ok(Parsed::Incomplete { need: 1 }),
    }
}

#[cold]
fn resume<'a>(
    input: &'a [u8],
    apart: &[&'a [u8]],
    slot: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    let mut partial = slot.take().expect("because parse looked");
    let Pause { mut position, searched, mut args_left, large } = partial.pause;
    if args_left == 0 {
        return match input.first() {
            Some(b'*') => multibulk(input, searched, slot, args, limits),
            _ => inline(input, searched, slot, args, limits),
        };
    }
    if large.is_some_and(|large| large.is_apart) {
        match input.get(position..position + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(ProtocolError::InvalidCrlf),
            None => {
                *slot = Some(partial);
                return Ok(Parsed::Incomplete { need: position + 2 });
            }
        }
        partial.args.push(Known::Apart(partial.apart));
        partial.apart += 1;
        (position, args_left) = (position + 2, args_left - 1);
    }
    let args_before = args.len();
    match bulks(input, position, searched, args_left, args, limits) {
        Ok(Step::Done(bytes)) => {
            let last = args.split_off(args_before);
            args.reserve(partial.args.len() + last.len());
            args.extend(partial.args.iter().map(|known| match *known {
                Known::Within(start, end) => &input[start..end],
                Known::Apart(number) => apart[number],
            }));
            args.extend(last);
            Ok(Parsed::Request { bytes })
        }
        Ok(Step::Paused(pause, need)) => {
            partial.keep(input, args, args_before);
            partial.pause = pause;
            *slot = Some(partial);
            Ok(Parsed::Incomplete { need })
        }
        Err(error) => {
            args.truncate(args_before);
            Err(error)
        }
    }
}

#[inline]
fn multibulk<'a>(
    input: &'a [u8],
    searched: usize,
    slot: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    let (count, first) = match short_number(input, 0, b'*') {
        Some((count, first)) if count <= limits.short_count_max() => (count, first),
        _ => match multibulk_count(input, searched, limits)? {
            Step::Done(found) => found,
            Step::Paused(pause, need) => return Ok(incomplete_line(pause, need, slot)),
        },
    };
    if count == 0 {
        return Ok(Parsed::Nothing { bytes: first });
    }
    let args_before = args.len();
    match bulks(input, first, 0, count, args, limits) {
        Ok(Step::Done(bytes)) => Ok(Parsed::Request { bytes }),
        Ok(Step::Paused(pause, need)) => {
            let line_bytes = pause.searched.saturating_sub(pause.position);
            if args.len() - args_before >= ARGS_WORTH_KEEPING
                || line_bytes >= LINE_BYTES_WORTH_KEEPING
                || pause.large.is_some()
            {
                let mut partial = Box::new(Partial { args: Vec::new(), pause, apart: 0 });
                partial.keep(input, args, args_before);
                *slot = Some(partial);
            } else {
                args.truncate(args_before);
            }
            Ok(Parsed::Incomplete { need })
        }
        Err(error) => {
            args.truncate(args_before);
            Err(error)
        }
    }
}

/// Parses bulks from `position` on until none is left, and returns the end of the last, or until
/// one is incomplete. The parsed ones are in `args` in either case.
#[inline]
fn bulks<'a>(
    input: &'a [u8],
    mut position: usize,
    searched: usize,
    mut args_left: usize,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Step<usize>, ProtocolError> {
    let short_len_max = limits.short_len_max();
    while args_left > 0 {
        let (len, start) = match short_number(input, position, b'$') {
            Some((len, start)) if len <= short_len_max => (len, start),
            _ => match bulk_len(input, position, searched, limits)? {
                Step::Done(found) => found,
                Step::Paused(pause, need) => {
                    return Ok(Step::Paused(Pause { args_left, ..pause }, need));
                }
            },
        };
        // No overflow: a length has at most 63 bits, and a position is one in memory.
        let end = start + len;
        match input.get(end..end + 2) {
            Some(crlf) if crlf == b"\r\n" => {}
            Some(_) => return Err(ProtocolError::InvalidCrlf),
            None => {
                let is_large = len >= LARGE_BULK_BYTES;
                let large = is_large.then_some(Large { start, len, is_apart: false });
                let pause = Pause { position, searched, args_left, large };
                return Ok(Step::Paused(pause, end + 2));
            }
        }
        args.push(&input[start..end]);
        position = end + 2;
        args_left -= 1;
    }
    Ok(Step::Done(position))
}

/// The fast path: `kind`, one to five digits, CR LF, all within eight bytes that are examined
/// together. Returns the number and the end of the line. `number_line` handles everything else.
#[inline(always)]
fn short_number(input: &[u8], position: usize, kind: u8) -> Option<(usize, usize)> {
    let rest = input.get(position..)?;
    let last;
    let bytes: &[u8; 8] = match rest.first_chunk() {
        Some(bytes) => bytes,
        None => {
            last = padded(rest);
            &last
        }
    };
    if bytes[0] != kind {
        return None;
    }
    // Nearly every line is one of these two.
    let digit = |at: usize| usize::from(bytes[at].wrapping_sub(b'0'));
    let (first, second) = (digit(1), digit(2));
    if bytes[2..4] == *b"\r\n" && first <= 9 {
        return Some((first, position + 4));
    }
    if bytes[3..5] == *b"\r\n" && (1..=9).contains(&first) && second <= 9 {
        return Some((first * 10 + second, position + 5));
    }
    let mut number = 0;
    for end in 1..7 {
        let digit = bytes[end].wrapping_sub(b'0');
        if digit > 9 {
            let strict = end == 2 || (end > 2 && bytes[1] != b'0');
            let whole = bytes[end..end + 2] == *b"\r\n";
            return (strict && whole).then_some((number, position + end + 2));
        }
        number = number * 10 + usize::from(digit);
    }
    None
}

#[cold]
fn multibulk_count(
    input: &[u8],
    searched: usize,
    limits: &ParseLimits,
) -> Result<Step<(usize, usize)>, ProtocolError> {
    let invalid = ProtocolError::InvalidMultibulkLength;
    let too_big = ProtocolError::MultibulkCountTooBig;
    let (count, end) = match number_line(input, 0, searched, limits, b'*', too_big)? {
        // All negative counts mean "no arguments".
        Step::Done((count, end)) => (count.ok_or(invalid)?.max(0) as u64, end),
        Step::Paused(pause, need) => return Ok(Step::Paused(pause, need)),
    };
    if count > limits.args_max as u64 {
        return Err(invalid);
    }
    if limits.unauthenticated && count > UNAUTHENTICATED_ARGS_MAX as u64 {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    Ok(Step::Done((count as usize, end)))
}

#[cold]
fn bulk_len(
    input: &[u8],
    position: usize,
    searched: usize,
    limits: &ParseLimits,
) -> Result<Step<(usize, usize)>, ProtocolError> {
    let invalid = ProtocolError::InvalidBulkLength;
    let too_big = ProtocolError::BulkCountTooBig;
    let (len, end) = match number_line(input, position, searched, limits, b'$', too_big)? {
        Step::Done((len, end)) => (len.and_then(|len| u64::try_from(len).ok()), end),
        Step::Paused(pause, need) => return Ok(Step::Paused(pause, need)),
    };
    let len = len.filter(|&len| len <= limits.bulk_bytes_max as u64).ok_or(invalid)?;
    if limits.unauthenticated && len > UNAUTHENTICATED_BULK_BYTES_MAX as u64 {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(Step::Done((len as usize, end)))
}

/// A type byte, a number, CR LF: returns the number, or `None` if Redis would reject it, and the
/// end of the line.
fn number_line(
    input: &[u8],
    position: usize,
    searched: usize,
    limits: &ParseLimits,
    kind: u8,
    too_big: ProtocolError,
) -> Result<Step<(Option<i64>, usize)>, ProtocolError> {
    let end = match find_in_line(input, position, searched, b'\r', limits) {
        Search::At(end) => end,
        Search::NotYet(pause) => return Ok(Step::Paused(pause, input.len() + 1)),
        Search::TooBig => return Err(too_big),
    };
    let Some(&after) = input.get(end + 1) else {
        let pause = Pause { position, searched: end, args_left: 0, large: None };
        return Ok(Step::Paused(pause, end + 2));
    };
    match (input[position], after) {
        (got, _) if got != kind => Err(ProtocolError::ExpectedBulk(got)),
        (_, b'\n') => Ok(Step::Done((parse_i64(&input[position + 1..end]), end + 2))),
        _ => Err(ProtocolError::InvalidCrlf),
    }
}

#[cold]
fn inline<'a>(
    input: &'a [u8],
    searched: usize,
    slot: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    let end = match find_in_line(input, 0, searched, b'\n', limits) {
        Search::At(end) => end,
        Search::NotYet(pause) => return Ok(incomplete_line(pause, input.len() + 1, slot)),
        Search::TooBig => return Err(ProtocolError::InlineTooBig),
    };
    let line = &input[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let bytes = end + 1;
    let args_before = args.len();
    match inline::split(line, args) {
        Ok(None) if args.len() == args_before => Ok(Parsed::Nothing { bytes }),
        Ok(None) => Ok(Parsed::Request { bytes }),
        Ok(Some(request)) => Ok(Parsed::Rewritten { bytes, request }),
        Err(inline::Unbalanced) => {
            args.truncate(args_before);
            Err(ProtocolError::UnbalancedQuotes)
        }
    }
}

/// Searches for the byte that ends the line at `position`, from where the last search stopped.
fn find_in_line(
    input: &[u8],
    position: usize,
    searched: usize,
    end: u8,
    limits: &ParseLimits,
) -> Search {
    let from = searched.max(position);
    let line_bytes_max = limits.inline_bytes_max;
    let window_end = input.len().min(position.saturating_add(line_bytes_max).saturating_add(1));
    match memchr::memchr(end, &input[from..window_end]) {
        Some(index) => Search::At(from + index),
        None if window_end - position > line_bytes_max => Search::TooBig,
        None => Search::NotYet(Pause { position, searched: window_end, args_left: 0, large: None }),
    }
}

/// The first line has not ended.
fn incomplete_line(pause: Pause, need: usize, slot: &mut Option<Box<Partial>>) -> Parsed {
    if pause.searched >= LINE_BYTES_WORTH_KEEPING {
        *slot = Some(Box::new(Partial { args: Vec::new(), pause, apart: 0 }));
    }
    Parsed::Incomplete { need }
}

/// The result of a parser step without an error.
enum Step<T> {
    Done(T),
    /// The input must first have this many bytes.
    Paused(Pause, usize),
}

/// The end of a line.
enum Search {
    At(usize),
    NotYet(Pause),
    TooBig,
}

impl ParseLimits {
    /// The largest count that needs no further check.
    fn short_count_max(&self) -> usize {
        if self.unauthenticated {
            UNAUTHENTICATED_ARGS_MAX.min(self.args_max)
        } else {
            self.args_max
        }
    }

    /// The largest length that needs no further check.
    fn short_len_max(&self) -> usize {
        let max = self.bulk_bytes_max;
        if self.unauthenticated { UNAUTHENTICATED_BULK_BYTES_MAX.min(max) } else { max }
    }
}

impl Partial {
    /// The large bulk that is arriving: where in the request it starts, and how long it is.
    pub fn large_bulk(&self) -> Option<(usize, usize)> {
        let large = self.pause.large.filter(|large| !large.is_apart)?;
        Some((large.start, large.len))
    }

    /// Leaves the bytes of [`Self::large_bulk`] to the caller: the input continues at its start with what follows it,
    /// and [`parse_apart`] is given the bulk. Returns how many bytes the input must have, counted from the
    /// request's first, before it is worth reading on.
    pub fn take_apart(&mut self) -> usize {
        let large = self.pause.large.as_mut().expect("there is a large bulk");
        large.is_apart = true;
        self.pause.position = large.start;
        large.start + 2
    }

    /// Saves the arguments parsed since `args_before`, as offsets that stay valid when the input
    /// moves.
    fn keep(&mut self, input: &[u8], args: &mut Vec<&[u8]>, args_before: usize) {
        let origin = input.as_ptr().addr();
        self.args.extend(args.drain(args_before..).map(|arg| {
            let start = arg.as_ptr().addr() - origin;
            Known::Within(start, start + arg.len())
        }));
    }
}

/// The last bytes of an input as a word.
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; 8] {
    std::array::from_fn(|index| rest.get(index).copied().unwrap_or(0))
}

impl ProtocolError {
    /// Writes the complete error, as the client gets it.
    pub fn reply(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        match *self {
            // The byte is sent back unchanged, unless it would break the line.
            ProtocolError::ExpectedBulk(got) => {
                out.extend_from_slice(b"expected '$', got '");
                out.push(if matches!(got, b'\r' | b'\n') { b' ' } else { got });
                out.push(b'\'');
            }
            _ => out.extend_from_slice(self.text().as_bytes()),
        }
        out.extend_from_slice(b"\r\n");
    }

    fn text(&self) -> &'static str {
        match self {
            ProtocolError::InlineTooBig => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::MultibulkCountTooBig => "too big mbulk count string",
            ProtocolError::BulkCountTooBig => "too big bulk count string",
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::InvalidCrlf => "invalid CRLF in request",
            ProtocolError::ExpectedBulk(_) => "expected '$'",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ProtocolError::ExpectedBulk(got) => {
                let got = if matches!(got, b'\r' | b'\n') { ' ' } else { char::from(got) };
                write!(f, "expected '$', got '{got}'")
            }
            _ => f.write_str(self.text()),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(input: &[u8], limits: &ParseLimits) -> Result<(Parsed, Vec<Vec<u8>>), String> {
        let (mut partial, mut args) = (None, Vec::new());
        match parse(input, &mut partial, &mut args, limits) {
            Ok(parsed) => Ok((parsed, args.iter().map(|arg| arg.to_vec()).collect())),
            Err(error) => {
                let mut reply = Vec::new();
                error.reply(&mut reply);
                let reply = String::from_utf8_lossy(&reply);
                let text = reply.strip_prefix("-ERR Protocol error: ").unwrap();
                Err(text.strip_suffix("\r\n").unwrap().to_owned())
            }
        }
    }

    #[track_caller]
    fn assert_request(input: &[u8], args: &[&[u8]]) {
        let expected = (Parsed::Request { bytes: input.len() }, args.to_vec());
        let (parsed, args) = outcome(input, &ParseLimits::default()).unwrap();
        let args = args.iter().map(Vec::as_slice).collect::<Vec<_>>();
        assert_eq!((parsed, args), expected, "{}", input.escape_ascii());
    }

    #[track_caller]
    fn assert_refused(input: &[u8], text: &str) {
        assert_eq!(
            outcome(input, &ParseLimits::default()),
            Err(text.to_owned()),
            "{}",
            input.escape_ascii()
        );
    }

    #[track_caller]
    fn assert_needs(input: &[u8], need: usize) {
        let expected = Ok((Parsed::Incomplete { need }, vec![]));
        let found = outcome(input, &ParseLimits::default());
        assert_eq!(found, expected, "{}", input.escape_ascii());
    }

    #[test]
    fn requests() {
        assert_request(b"*1\r\n$4\r\nPING\r\n", &[b"PING"]);
        assert_request(b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[b"ECHO", b""]);
        assert_request(b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", &[b"ECHO", b"\r\n\r\n"]);
        let long = [b'x'; 12345];
        for len in [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 12345] {
            let header = format!("*2\r\n$3\r\nGET\r\n${len}\r\n");
            let request = [header.as_bytes(), &long[..len], b"\r\n"].concat();
            assert_request(&request, &[b"GET", &long[..len]]);
        }
        for count in [1, 9, 10, 99, 100, 999, 1000, 1001] {
            let request = format!("*{count}\r\n{}", "$1\r\na\r\n".repeat(count));
            assert_request(request.as_bytes(), &vec![b"a".as_slice(); count]);
        }
        assert_request(b"PING\r\n", &[b"PING"]);
        assert_request(b"PING\n", &[b"PING"]);
        assert_request(b"\rPING\n", &[b"PING"]);
        assert_request(b" SET  k\t\"a b\" 'c' \"\" \r\n", &[b"SET", b"k", b"a b", b"c", b""]);
        assert_request(b"$4\r\n", &[b"$4"]);
        assert_request(b"a\0b c\n", &[b"a\0b", b"c"]);
    }

    #[test]
    fn nothing_to_do() {
        for input in ["\r\n", "\n", " \t \r\n", "*0\r\n", "*-1\r\n", "*-9223372036854775808\r\n"] {
            let followed = format!("{input}PING\r\n");
            let expected = Ok((Parsed::Nothing { bytes: input.len() }, vec![]));
            assert_eq!(
                outcome(followed.as_bytes(), &ParseLimits::default()),
                expected,
                "{input:?}"
            );
        }
    }

    /// As Valkey 9 replies, or Redis if they agree.
    #[test]
    fn refusals() {
        for count in ["+1", "01", " 1", "1 ", "", "00", "-0", "-", "x", "1.0", "\0", "1\0"] {
            assert_refused(format!("*{count}\r\n").as_bytes(), "invalid multibulk length");
            assert_refused(format!("*1\r\n${count}\r\n").as_bytes(), "invalid bulk length");
        }
        assert_refused(b"*2147483648\r\n", "invalid multibulk length");
        assert_refused(b"*9223372036854775808\r\n", "invalid multibulk length");
        assert_refused(b"*99999999999999999999\r\n", "invalid multibulk length");
        assert_refused(b"*1\r\n$-1\r\n", "invalid bulk length");
        assert_refused(b"*1\r\n$536870913\r\n", "invalid bulk length");
        assert_refused(b"*1\r\n$18446744073709551615\r\n", "invalid bulk length");
        assert_refused(b"*1\r\nfoo\r\n", "expected '$', got 'f'");
        assert_refused(b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'");
        assert_refused(b"*1\r\n\0oo\r\n", "expected '$', got '\0'");
        assert_refused(b"*1\r\n\r\n", "expected '$', got ' '");
        assert_refused(b"*1\r\n\noo\r\n", "expected '$', got ' '");
        assert_refused(b"*1\r\nfoo\rX", "expected '$', got 'f'");
        assert_refused(b"*x\rX", "invalid CRLF in request");
        assert_refused(b"*1\rX", "invalid CRLF in request");
        assert_refused(b"*1\rX$4\r\nPING\r\n", "invalid CRLF in request");
        assert_refused(b"*1\r\n$x\rX", "invalid CRLF in request");
        assert_refused(b"*1\r\n$4\rXPING\r\n", "invalid CRLF in request");
        assert_refused(b"*1\r\n$4\r\nPINGXX", "invalid CRLF in request");
        assert_refused(b"*1\r\n$4\r\nPING\n\r", "invalid CRLF in request");
        assert_refused(b"PING \"a\r\n", "unbalanced quotes in request");
        assert_refused(b"PING 'a\r\n", "unbalanced quotes in request");
        assert_refused(b"PING \"a\"b\r\n", "unbalanced quotes in request");
        let mut reply = Vec::new();
        ProtocolError::ExpectedBulk(0xff).reply(&mut reply);
        assert_eq!(reply, b"-ERR Protocol error: expected '$', got '\xff'\r\n");
        assert_eq!(ProtocolError::InlineTooBig.to_string(), "too big inline request");
        assert_eq!(ProtocolError::ExpectedBulk(b'\n').to_string(), "expected '$', got ' '");
    }

    #[test]
    fn before_login() {
        let limits = ParseLimits { unauthenticated: true, ..ParseLimits::default() };
        let refused = |input: &[u8], text: &str| {
            assert_eq!(outcome(input, &limits), Err(text.to_owned()), "{}", input.escape_ascii());
        };
        refused(b"*11\r\n", "unauthenticated multibulk length");
        refused(b"*2147483648\r\n", "invalid multibulk length");
        refused(b"*1\r\n$16385\r\n", "unauthenticated bulk length");
        refused(b"*1\r\n$536870913\r\n", "invalid bulk length");
        let incomplete = |input: &[u8], need| {
            assert_eq!(outcome(input, &limits), Ok((Parsed::Incomplete { need }, vec![])));
        };
        incomplete(b"*10\r\n", 6);
        incomplete(b"*1\r\n$16384\r\n", 12 + 16384 + 2);
        let (parsed, args) = outcome(b"a b c d e f g h i j k l\n", &limits).unwrap();
        assert_eq!((parsed, args.len()), (Parsed::Request { bytes: 24 }, 12));
    }

    #[test]
    #[cfg_attr(miri, ignore = "64 KiB take minutes")]
    fn lines_without_an_end() {
        let max = INLINE_BYTES_MAX;
        let line = |start: &str, bytes: usize| [start.as_bytes(), &vec![b'1'; bytes][..]].concat();
        assert_needs(&line("", max), max + 1);
        assert_refused(&line("", max + 1), "too big inline request");
        assert_needs(&line("*", max - 1), max + 1);
        assert_refused(&line("*", max), "too big mbulk count string");
        assert_needs(&line("*1\r\n$", max - 1), 4 + max + 1);
        assert_refused(&line("*1\r\n$", max), "too big bulk count string");
        assert_refused(&line("*1\r\nx", max), "too big bulk count string");
        // It makes no difference that the end has arrived with the rest.
        let mut long = line("", max + 1);
        long.extend(b"\r\n");
        assert_refused(&long, "too big inline request");
        let mut longest = line("", max - 1);
        longest.extend(b"\r\n");
        assert_request(&longest, &[&longest[..max - 1]]);
    }

    #[test]
    fn needs() {
        assert_needs(b"", 1);
        assert_needs(b"PING", 5);
        assert_needs(b"*", 2);
        assert_needs(b"*1\r", 4);
        assert_needs(b"*1\r\n", 5);
        assert_needs(b"*1\r\n$4", 7);
        assert_needs(b"*1\r\n$4\r", 8);
        assert_needs(b"*1\r\n$4\r\n", 14);
        assert_needs(b"*1\r\n$4\r\nPING\r", 14);
        assert_needs(b"*1\r\n$536870912\r\n", 16 + 536870912 + 2);
        assert_needs(b"*2\r\n$1\r\na\r\n$100\r\n", 17 + 102);
        // A wrong byte is an error before all arguments have arrived.
        assert_needs(b"*3\r\nfoo", 8);
    }

    #[test]
    fn a_header_reserves_nothing() {
        let (mut partial, mut args) = (None, Vec::new());
        let mut input = b"*1000000\r\n".to_vec();
        input.extend(b"$1\r\na\r\n".repeat(20));
        parse(&input, &mut partial, &mut args, &ParseLimits::default()).unwrap();
        assert!(args.capacity() <= 64);
        assert!(partial.unwrap().args.capacity() <= 64);
    }

    /// If any work were repeated for each piece, this would take hours.
    #[test]
    fn many_arguments_in_tiny_pieces() {
        let count = if cfg!(miri) { 1000 } else { 1_000_000 };
        let input = format!("*{count}\r\n{}", "$3\r\nabc\r\n".repeat(count));
        let (mut partial, mut need, mut calls) = (None, 1, 0);
        for arrived in (0..input.len()).step_by(5).chain([input.len()]) {
            if arrived < need {
                continue;
            }
            calls += 1;
            let mut args = Vec::new();
            let input = &input.as_bytes()[..arrived];
            match parse(input, &mut partial, &mut args, &ParseLimits::default()).unwrap() {
                Parsed::Incomplete { need: more } => need = more,
                parsed => {
                    assert_eq!(parsed, Parsed::Request { bytes: arrived });
                    assert_eq!(arrived, input.len());
                    assert_eq!(args.len(), count);
                    assert!(args.iter().all(|arg| *arg == b"abc"));
                    need = usize::MAX;
                }
            }
        }
        assert_eq!(need, usize::MAX, "the request was never whole");
        assert!(calls > count);
    }

    #[test]
    fn a_long_line_in_tiny_pieces() {
        let bytes = if cfg!(miri) { 200 } else { INLINE_BYTES_MAX };
        let line = [&vec![b'x'; bytes - 2][..], b"\r\n"].concat();
        let mut partial = None;
        for arrived in 0..line.len() {
            let mut args = Vec::new();
            let parsed = parse(&line[..arrived], &mut partial, &mut args, &ParseLimits::default());
            assert_eq!(parsed, Ok(Parsed::Incomplete { need: arrived + 1 }));
            assert_eq!(partial.is_some(), arrived >= LINE_BYTES_WORTH_KEEPING);
        }
        let mut args = Vec::new();
        let parsed = parse(&line, &mut partial, &mut args, &ParseLimits::default());
        assert_eq!(parsed, Ok(Parsed::Request { bytes: line.len() }));
        assert!(partial.is_none());
    }

    #[test]
    fn earlier_arguments_stay() {
        let input = [&b"*20\r\n"[..], &b"$1\r\na\r\n".repeat(20)].concat();
        for cut in (0..=input.len()).step_by(if cfg!(miri) { 9 } else { 1 }) {
            let (mut partial, mut args): (_, Vec<&[u8]>) = (None, vec![b"earlier"]);
            let limits = ParseLimits::default();
            for arrived in [&input[..cut], &input] {
                let parsed = parse(arrived, &mut partial, &mut args, &limits).unwrap();
                let count = if parsed == (Parsed::Request { bytes: input.len() }) { 21 } else { 1 };
                assert_eq!(args.len(), count, "{parsed:?} after {cut}");
                args.truncate(1);
            }
            // The same with an error at the end, in one piece and in two.
            let wrong = [&input[..input.len() - 2], b"xx"].concat();
            for first in [&wrong[..0], &wrong[..cut.min(wrong.len() - 1)]] {
                let (mut partial, mut args): (_, Vec<&[u8]>) = (None, vec![b"earlier"]);
                parse(first, &mut partial, &mut args, &limits).unwrap();
                let error = parse(&wrong, &mut partial, &mut args, &limits);
                assert_eq!(error, Err(ProtocolError::InvalidCrlf));
                assert_eq!(args, [b"earlier"]);
            }
        }
    }
}
