//! IDs in arguments: `5-1`, `5` with a default sequence, `-`, `+`, `(5-1`.

use basalt_keyspace::StreamId;
use basalt_resp::Reply;

use crate::error::CommandError;

pub(super) const INVALID: CommandError =
    CommandError::text("ERR Invalid stream ID specified as stream command argument");

/// LIMIT: the longest text that may be an ID.
const TEXT_BYTES_MAX: usize = 127;

/// An ID of XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenId {
    Whole(StreamId),
    /// `5-*`: the next sequence number of this millisecond.
    Milliseconds(u64),
}

/// Parses an ID; one without a sequence gets `missing_seq`.
pub(super) fn parse(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match read(text, missing_seq, false)? {
        GivenId::Whole(id) => Ok(id),
        GivenId::Milliseconds(_) => Err(INVALID),
    }
}

/// As [`parse`], also for `-` and `+`.
pub(super) fn parse_or_end(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse(text, missing_seq),
    }
}

/// Parses an ID that XADD accepts.
pub(super) fn parse_given(text: &[u8]) -> Result<GivenId, CommandError> {
    read(text, 0, true)
}

/// Parses the start of a range, which may be exclusive.
pub(super) fn parse_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match text.strip_prefix(b"(").filter(|id| !id.is_empty()) {
        None => parse_or_end(text, 0),
        Some(id) => {
            parse(id, 0)?.next().ok_or(CommandError::text("ERR invalid start ID for the interval"))
        }
    }
}

/// Parses the end of a range, which may be exclusive.
pub(super) fn parse_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match text.strip_prefix(b"(").filter(|id| !id.is_empty()) {
        None => parse_or_end(text, u64::MAX),
        Some(id) => parse(id, u64::MAX)?
            .previous()
            .ok_or(CommandError::text("ERR invalid end ID for the interval")),
    }
}

fn read(text: &[u8], missing_seq: u64, may_be_open: bool) -> Result<GivenId, CommandError> {
    if text.len() > TEXT_BYTES_MAX || text == b"-" || text == b"+" {
        return Err(INVALID);
    }
    // As in Redis, a text ends at its first NUL.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let Some(dash) = text.iter().position(|&byte| byte == b'-') else {
        let ms = number(text).ok_or(INVALID)?;
        return Ok(GivenId::Whole(StreamId { ms, seq: missing_seq }));
    };
    let ms = number(&text[..dash]).ok_or(INVALID)?;
    let rest = &text[dash + 1..];
    if may_be_open && rest == b"*" {
        return Ok(GivenId::Milliseconds(ms));
    }
    Ok(GivenId::Whole(StreamId { ms, seq: number(rest).ok_or(INVALID)? }))
}

/// A number as the C library parses it: `XADD s +5-007 …` adds 5-7.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = basalt_resp::parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !blank(byte))?;
    let (digits, is_negative) = match &text[start..] {
        [b'+', digits @ ..] => (digits, false),
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

/// Writes an ID as a bulk string.
pub(super) fn write(id: StreamId, reply: &mut Reply<'_>) {
    let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (ms, seq) = (ms.format(id.ms).as_bytes(), seq.format(id.seq).as_bytes());
    let mut text = [b'-'; 41];
    text[..ms.len()].copy_from_slice(ms);
    text[ms.len() + 1..][..seq.len()].copy_from_slice(seq);
    reply.bulk(&text[..ms.len() + 1 + seq.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        assert_eq!(parse(b"5-1", 9), Ok(id(5, 1)));
        assert_eq!(parse(b"5", 9), Ok(id(5, 9)));
        assert_eq!(parse(b"18446744073709551615-18446744073709551615", 0), Ok(StreamId::MAX));
        assert_eq!(parse(b"+5-007", 0), Ok(id(5, 7)));
        assert_eq!(parse(b"5-1\0x", 0), Ok(id(5, 1)));
        for text in ["", "-", "+", "x", "5-", "-5", "5-1-1", "5--1", "5-*", "18446744073709551616"]
        {
            assert_eq!(parse(text.as_bytes(), 0), Err(INVALID), "{text}");
        }
        assert_eq!(parse(&[b'1'; 128], 0), Err(INVALID));
        assert_eq!(parse_given(b"5-*"), Ok(GivenId::Milliseconds(5)));
        assert_eq!(parse_or_end(b"+", 0), Ok(StreamId::MAX));
    }

    #[test]
    fn intervals_may_be_exclusive() {
        assert_eq!(parse_start(b"(5"), Ok(id(5, 1)));
        assert_eq!(parse_start(b"5"), Ok(id(5, 0)));
        assert_eq!(parse_end(b"(5"), Ok(id(5, u64::MAX - 1)));
        assert_eq!(parse_end(b"(5-0"), Ok(id(4, u64::MAX)));
        assert!(parse_end(b"(0-0").unwrap_err().to_string().contains("invalid end ID"));
        let last = b"(18446744073709551615-18446744073709551615";
        assert!(parse_start(last).unwrap_err().to_string().contains("invalid start ID"));
        assert_eq!(parse_start(b"(-"), Err(INVALID));
        assert_eq!(parse_start(b"("), Err(INVALID));
    }
}
