//! Reply scanner: counts complete RESP2 and RESP3 replies in a stream that may be cut anywhere.
//!
//! It reads no more than necessary: headers byte by byte, while payloads are skipped. Errors are
//! counted and the first one is kept, so that a refused load does not look like a fast one; empty
//! replies (null, 0, an empty string or array) are counted too, since it is fast to find nothing.
//! Attributes (`|`) and streamed aggregates are not expected from a server under load and count as
//! invalid.

use std::mem;

/// The state of a connection's reply stream.
pub(crate) struct ReplyScanner {
    state: State,
    /// The number of missing elements of the current reply; 0 between replies.
    open: u64,
    /// Whether the current element is itself a reply.
    is_whole: bool,
    empty: u64,
    errors: u64,
    first_error: Option<String>,
    error_text: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Kind,
    /// Within a line without a payload.
    Line {
        is_error: bool,
        /// In a number of which only zeros were read so far.
        is_zero: bool,
    },
    /// In the number that is the length of the rest.
    Length {
        kind: u8,
        value: u64,
        is_negative: bool,
    },
    /// Within a payload and its line end, this many bytes before its end.
    Payload {
        left: usize,
    },
}

/// The stream is not RESP.
#[derive(Debug, PartialEq)]
pub(crate) struct Broken;

impl ReplyScanner {
    pub(crate) fn new() -> ReplyScanner {
        ReplyScanner {
            state: State::Kind,
            open: 0,
            is_whole: true,
            empty: 0,
            errors: 0,
            first_error: None,
            error_text: Vec::new(),
        }
    }

    /// Reads the next bytes of the stream; returns how many replies they completed.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<u64, Broken> {
        let (mut at, mut completed) = (0, 0);
        while at < bytes.len() {
            let element_ended = match self.state {
                State::Kind => self.start(bytes[at], &mut at)?,
                State::Line { is_error, is_zero } => self.line(is_error, is_zero, bytes, &mut at),
                State::Length { kind, value, is_negative } => {
                    self.length(kind, value, is_negative, bytes, &mut at)?
                }
                State::Payload { left } => self.payload(left, bytes, &mut at),
            };
            if element_ended {
                self.state = State::Kind;
                self.open -= 1;
                completed += u64::from(self.open == 0);
            }
        }
        Ok(completed)
    }

    /// The number of errors since the last call, and the first error of all.
    pub(crate) fn take_errors(&mut self) -> (u64, Option<String>) {
        (mem::take(&mut self.errors), self.first_error.take())
    }

    /// The number of empty replies since the last call.
    pub(crate) fn take_empty(&mut self) -> u64 {
        mem::take(&mut self.empty)
    }

    fn start(&mut self, kind: u8, at: &mut usize) -> Result<bool, Broken> {
        self.is_whole = self.open == 0;
        self.open = self.open.max(1);
        self.state = match kind {
            b'+' | b'#' | b',' | b'(' => State::Line { is_error: false, is_zero: false },
            b':' | b'_' => State::Line { is_error: false, is_zero: true },
            b'-' => State::Line { is_error: true, is_zero: false },
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' => {
                State::Length { kind, value: 0, is_negative: false }
            }
            _ => return Err(Broken),
        };
        *at += 1;
        Ok(false)
    }

    fn line(&mut self, is_error: bool, is_zero: bool, bytes: &[u8], at: &mut usize) -> bool {
        let rest = &bytes[*at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let text = &rest[..end.unwrap_or(rest.len())];
        *at += text.len() + usize::from(end.is_some());
        if is_zero {
            let is_zero = text.iter().all(|byte| matches!(byte, b'0' | b'\r'));
            self.state = State::Line { is_error, is_zero };
            self.empty += u64::from(is_zero && self.is_whole && end.is_some());
        }
        if is_error {
            self.error_text.extend_from_slice(text);
            if end.is_some() {
                let text = mem::take(&mut self.error_text);
                self.errors += 1;
                self.first_error
                    .get_or_insert_with(|| String::from_utf8_lossy(&text).trim_end().to_owned());
            }
        }
        end.is_some()
    }

    fn length(
        &mut self,
        kind: u8,
        mut value: u64,
        mut is_negative: bool,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, Broken> {
        while *at < bytes.len() {
            let byte = bytes[*at];
            *at += 1;
            match byte {
                b'0'..=b'9' => {
                    value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                }
                b'-' => is_negative = true,
                b'\r' => {}
                b'\n' => {
                    return Ok(
                        self.length_known(kind, if is_negative { None } else { Some(value) })
                    );
                }
                _ => return Err(Broken),
            }
        }
        self.state = State::Length { kind, value, is_negative };
        Ok(false)
    }

    /// Continues after the number; `None` is RESP2's null.
    fn length_known(&mut self, kind: u8, length: Option<u64>) -> bool {
        self.empty += u64::from(self.is_whole && length.is_none_or(|length| length == 0));
        let Some(length) = length else { return true };
        match kind {
            b'*' | b'~' | b'>' => self.open += length,
            b'%' => self.open += 2 * length,
            _ => {
                self.errors += u64::from(kind == b'!');
                self.state = State::Payload { left: length as usize + 2 };
                return false;
            }
        }
        true
    }

    fn payload(&mut self, left: usize, bytes: &[u8], at: &mut usize) -> bool {
        let here = left.min(bytes.len() - *at);
        *at += here;
        self.state = State::Payload { left: left - here };
        here == left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[(&[u8], u64)] = &[
        (b"+OK\r\n", 1),
        (b":12\r\n:-3\r\n", 2),
        (b"$3\r\nfoo\r\n$0\r\n\r\n$-1\r\n", 3),
        (b"$7\r\na\r\n$9\r\n\r\n", 1),
        (b"*0\r\n*-1\r\n_\r\n", 3),
        (b"*2\r\n*2\r\n:1\r\n$1\r\nx\r\n+a\r\n+OK\r\n", 2),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#t\r\n,1.5\r\n(123\r\n", 3),
    ];

    #[test]
    fn counts_the_same_however_the_stream_is_cut() {
        for &(stream, expected) in REPLIES {
            for step in 1..=stream.len() {
                let mut scanner = ReplyScanner::new();
                let counted: u64 =
                    stream.chunks(step).map(|part| scanner.scan(part).unwrap()).sum();
                assert_eq!(counted, expected, "{} in steps of {step}", stream.escape_ascii());
                assert_eq!(scanner.open, 0);
            }
        }
    }

    #[test]
    fn keeps_the_first_error_also_when_it_comes_in_pieces() {
        let mut scanner = ReplyScanner::new();
        assert_eq!(scanner.scan(b"-ERR one"), Ok(0));
        assert_eq!(scanner.scan(b" two\r"), Ok(0));
        assert_eq!(scanner.scan(b"\n+OK\r\n-ERR later\r\n"), Ok(3));
        assert_eq!(scanner.take_errors(), (2, Some("ERR one two".to_owned())));
        assert_eq!(scanner.take_errors(), (0, None));
    }

    #[test]
    fn replies_that_bring_nothing_are_counted() {
        let nothing: &[u8] = b"$-1\r\n*-1\r\n_\r\n:0\r\n$0\r\n\r\n*0\r\n";
        let something: &[u8] = b"+OK\r\n:10\r\n$1\r\n0\r\n*2\r\n:0\r\n$-1\r\n:-1\r\n#f\r\n";
        for step in [1, 3, 100] {
            for (stream, expected) in [(nothing, 6), (something, 0)] {
                let mut scanner = ReplyScanner::new();
                stream.chunks(step).for_each(|part| assert!(scanner.scan(part).is_ok()));
                assert_eq!(scanner.take_empty(), expected, "in steps of {step}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_resp() {
        assert_eq!(ReplyScanner::new().scan(b"HTTP/1.1 400 Bad Request\r\n"), Err(Broken));
        assert_eq!(ReplyScanner::new().scan(b"$x\r\n"), Err(Broken));
    }
}
