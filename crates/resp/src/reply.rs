//! Replies: a handler writes its reply at once, in the client's protocol.
//!
//! Each method appends one element to the output. A handler that opens an array of `len` must write
//! `len` elements (a map: twice as many), which is not checked. Types that RESP2 lacks are written
//! as the nearest one, as Redis does.
//!
//! A large output grows with allocations that may fail. Then the reply is *cut*: the rest is
//! dropped, and [`Reply::replace_cut`] replaces it by an error. Not here: which reply to write,
//! error texts of commands, decoding (`value`).

use bytes::Bytes;

use crate::number::Text;
use crate::{LongFloat, Payloads, Protocol, encoded, format_long_double_human, line};

/// Writes encoded replies into an output.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    /// Where long bulks go that are not copied; None where all is copied.
    payloads: Option<&'a mut Payloads>,
    protocol: Protocol,
    /// There was no memory for a part of it.
    is_cut: bool,
}

/// The error that replaces a reply for which there is no memory.
pub const NO_MEMORY_FOR_REPLY: &str = "OOM the reply is larger than the memory that is left";

/// Smaller outputs grow like any other buffer, since so little memory is always available.
const SURE_BYTES_MAX: usize = 1 << 20;

/// Reserves `bytes` more; returns false if the system has no memory for it.
#[cold]
#[inline(never)]
fn grow(out: &mut Vec<u8>, bytes: usize) -> bool {
    if out.len().saturating_add(bytes) <= SURE_BYTES_MAX {
        out.reserve(bytes);
        return true;
    }
    out.try_reserve(bytes).is_ok() || out.try_reserve_exact(bytes).is_ok()
}

/// Appends a complete encoded reply, or [`NO_MEMORY_FOR_REPLY`] in its place.
pub fn append_reply(out: &mut Vec<u8>, encoded: &[u8]) {
    if out.capacity() - out.len() >= encoded.len() || grow(out, encoded.len()) {
        out.extend_from_slice(encoded);
    } else {
        line::push_text(out, b'-', NO_MEMORY_FOR_REPLY.as_bytes());
    }
}

/// There is no memory for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// An array, map or set of unknown length. Those opened within must be finished first.
#[must_use = "the client waits for a header: finish it, or rewind to before it"]
#[derive(Debug)]
pub struct Deferred {
    position: usize,
}

/// The gap for a deferred header: a header for less than ten elements fits without a move.
const PLACE: &[u8] = b"*0\r\n";

impl<'a> Reply<'a> {
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Reply { out, payloads: None, protocol, is_cut: false }
    }

    /// Into an output of which long parts may be shared.
    #[inline]
    pub fn sharing(out: &'a mut Vec<u8>, payloads: &'a mut Payloads, protocol: Protocol) -> Self {
        Reply { out, payloads: Some(payloads), protocol, is_cut: false }
    }

    /// The same reply, for a function that finishes it.
    #[inline]
    pub fn reborrow(&mut self) -> Reply<'_> {
        Reply {
            out: self.out,
            payloads: self.payloads.as_deref_mut(),
            protocol: self.protocol,
            is_cut: self.is_cut,
        }
    }

    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Reserves `bytes` more. Returns false, and cuts the reply, if there is no memory.
    #[inline]
    fn has_room(&mut self, bytes: usize) -> bool {
        self.out.capacity() - self.out.len() >= bytes || self.make_room(bytes)
    }

    #[cold]
    fn make_room(&mut self, bytes: usize) -> bool {
        self.is_cut |= !grow(self.out, bytes);
        !self.is_cut
    }

    /// Whether a part of it was dropped for lack of memory.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Fails if the reply is cut. To be called before data is removed that the reply contains.
    #[inline]
    pub fn whole(&self) -> Result<(), NoMemory> {
        if self.is_cut { Err(NoMemory) } else { Ok(()) }
    }

    /// Replaces everything written since `position` by an error if the reply is cut.
    #[inline]
    pub fn replace_cut(&mut self, position: usize) {
        if self.is_cut {
            self.is_cut = false;
            self.rewind(position);
            self.error(NO_MEMORY_FOR_REPLY);
        }
    }

    /// Text that we wrote ourselves, without CR or LF.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a simple reply is one line: use bulk");
        if !self.has_room(text.len() + 3) {
            return;
        }
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn ok(&mut self) {
        self.raw(encoded::OK);
    }

    /// The whole text with its code, without the minus sign: `ERR syntax error`.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// As `error`, for texts that quote a client's bytes: CR and LF become spaces.
    #[cold]
    pub fn error_bytes(&mut self, text: &[u8]) {
        if !self.has_room(text.len() + 3) {
            return;
        }
        line::push_text(self.out, b'-', text);
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        if !self.has_room(line::LINE_BYTES_MAX) {
            return;
        }
        line::push_i64(self.out, b':', value);
    }

    #[inline]
    pub fn bulk(&mut self, text: &[u8]) {
        if !self.has_room(text.len() + line::LINE_BYTES_MAX + 2) {
            return;
        }
        line::push(self.out, b'$', text.len());
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The header of a bulk, whose text and end of line are written by others.
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len);
    }

    /// A bulk that is not copied, where the output has room for such.
    #[cold]
    pub fn shared_bulk(&mut self, text: Bytes) {
        let Some(payloads) = &mut self.payloads else { return self.bulk(&text) };
        line::push(self.out, b'$', text.len());
        payloads.push(self.out.len(), text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => encoded::NULL_RESP2,
            Protocol::Resp3 => encoded::NULL_RESP3,
        });
    }

    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => encoded::NULL_ARRAY_RESP2,
            Protocol::Resp3 => encoded::NULL_RESP3,
        });
    }

    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    #[inline]
    fn header(&mut self, kind: u8, len: usize) {
        if self.has_room(line::LINE_BYTES_MAX) {
            line::push(self.out, kind, len);
        }
    }

    /// A map of `len` pairs.
    pub fn map(&mut self, len: usize) {
        let (kind, len) = self.map_header(len);
        self.header(kind, len);
    }

    pub fn set(&mut self, len: usize) {
        self.header(self.kind(b'~'), len);
    }

    /// Data that the client did not request: messages, invalidations.
    pub fn push(&mut self, len: usize) {
        self.header(self.kind(b'>'), len);
    }

    /// `len` pairs that describe the element that follows them. For RESP3 only.
    pub fn attribute(&mut self, len: usize) {
        debug_assert_eq!(self.protocol, Protocol::Resp3, "RESP2 has no attributes: leave it out");
        self.header(b'|', len);
    }

    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, true) => encoded::ONE,
            (Protocol::Resp2, false) => encoded::ZERO,
            (Protocol::Resp3, true) => encoded::TRUE_RESP3,
            (Protocol::Resp3, false) => encoded::FALSE_RESP3,
        });
    }

    /// In the format of `format_f64`: scores.
    pub fn double(&mut self, value: f64) {
        self.scalar(b',', Text::from(value).as_bytes());
    }

    /// With up to 17 decimals and without an exponent: coordinates.
    pub fn human_double(&mut self, value: f64) {
        self.scalar(b',', format_long_double_human(value).as_bytes());
    }

    /// Digits that are already formatted, which no double holds.
    pub fn long_float(&mut self, value: LongFloat) {
        self.scalar(b',', value.to_string().as_bytes());
    }

    /// Decimal digits, maybe after a minus sign.
    pub fn big_number(&mut self, digits: &str) {
        self.scalar(b'(', digits.as_bytes());
    }

    /// A text with its format of three bytes: `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3, "a verbatim's format has three bytes");
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        let len = format.len() + 1 + text.len();
        if !self.has_room(len + line::LINE_BYTES_MAX + 2) {
            return;
        }
        line::push(self.out, b'=', len);
        self.out.extend_from_slice(format.as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Bytes that are already encoded for this protocol.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        if self.has_room(encoded.len()) {
            self.out.extend_from_slice(encoded);
        }
    }

    /// Opens an array, map or set of unknown length: write its elements, then finish it.
    pub fn deferred_array(&mut self) -> Deferred {
        let position = self.position();
        self.raw(PLACE);
        Deferred { position }
    }

    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, b'*', len);
    }

    /// `len` pairs.
    pub fn finish_map(&mut self, deferred: Deferred, len: usize) {
        let (kind, len) = self.map_header(len);
        self.finish(deferred, kind, len);
    }

    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        let kind = self.kind(b'~');
        self.finish(deferred, kind, len);
    }

    /// Bytes in the output, other replies' included.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// As [`Reply::position`], with the payloads that are shared.
    pub fn written_bytes(&self) -> usize {
        self.out.len() + self.payloads.as_ref().map_or(0, |payloads| payloads.bytes())
    }

    /// Removes everything written since `position`, to write another reply instead.
    pub fn rewind(&mut self, position: usize) {
        self.out.truncate(position);
        if let Some(payloads) = &mut self.payloads {
            payloads.truncate(position);
        }
    }

    /// Writes the header into its gap. If the gap is too small, the elements move up: a copy within
    /// the output, which costs less than a second buffer would.
    #[expect(clippy::needless_pass_by_value, reason = "it is used up: one header, one finish")]
    fn finish(&mut self, deferred: Deferred, kind: u8, len: usize) {
        // A cut reply may lack the gap itself.
        if !self.has_room(line::LINE_BYTES_MAX) || self.is_cut {
            return;
        }
        let end = self.out.len();
        line::push(self.out, kind, len);
        let header_bytes = self.out.len() - end;
        let mut header = [0; line::LINE_BYTES_MAX];
        header[..header_bytes].copy_from_slice(&self.out[end..]);
        // The output has grown by a whole header, but only the part that does not fit the gap is
        // needed.
        self.out.truncate(end + header_bytes - PLACE.len());
        let elements = deferred.position + PLACE.len()..end;
        let header_end = deferred.position + header_bytes;
        if header_end != elements.start {
            if let Some(payloads) = &mut self.payloads {
                payloads.shift(elements.start, header_end - elements.start);
            }
            self.out.copy_within(elements, header_end);
        }
        self.out[deferred.position..header_end].copy_from_slice(&header[..header_bytes]);
    }

    fn map_header(&self, len: usize) -> (u8, usize) {
        match self.protocol {
            Protocol::Resp2 => (b'*', 2 * len),
            Protocol::Resp3 => (b'%', len),
        }
    }

    /// The type byte of a list of elements: RESP2 has arrays only.
    fn kind(&self, resp3: u8) -> u8 {
        match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => resp3,
        }
    }

    /// A simple line in RESP3, a bulk in RESP2.
    fn scalar(&mut self, resp3: u8, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                if !self.has_room(text.len() + 3) {
                    return;
                }
                self.out.push(resp3);
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the same in RESP2 and in RESP3, after bytes that must not change.
    #[track_caller]
    fn assert_replies(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut out = b"before".to_vec();
            write(&mut Reply::new(&mut out, protocol));
            let expected = format!("before{expected}").into_bytes();
            assert!(
                out == expected,
                "{} instead of {}",
                out.escape_ascii(),
                expected.escape_ascii()
            );
        }
    }

    #[test]
    fn the_same_in_both_protocols() {
        let same = |write: fn(&mut Reply<'_>), text| assert_replies(write, text, text);
        same(|reply| reply.ok(), "+OK\r\n");
        same(|reply| reply.simple("QUEUED"), "+QUEUED\r\n");
        same(|reply| reply.error("ERR no\r\nway"), "-ERR no  way\r\n");
        same(|reply| reply.integer(-5), ":-5\r\n");
        same(|reply| reply.bulk(b""), "$0\r\n\r\n");
        same(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
        same(|reply| reply.bulk_integer(-120), "$4\r\n-120\r\n");
        same(|reply| reply.array(12), "*12\r\n");
        same(|reply| reply.raw(b"anything"), "anything");
        let long = "x".repeat(70_000);
        assert_replies(
            |reply| reply.bulk(long.as_bytes()),
            &format!("$70000\r\n{long}\r\n"),
            &format!("$70000\r\n{long}\r\n"),
        );
    }

    #[test]
    fn the_nearest_in_resp2() {
        assert_replies(|reply| reply.null(), "$-1\r\n", "_\r\n");
        assert_replies(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        assert_replies(|reply| reply.map(3), "*6\r\n", "%3\r\n");
        assert_replies(|reply| reply.set(3), "*3\r\n", "~3\r\n");
        assert_replies(|reply| reply.push(3), "*3\r\n", ">3\r\n");
        assert_replies(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        assert_replies(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        assert_replies(|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        assert_replies(|reply| reply.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
        let human = "13.36138933897018433";
        let (resp2, resp3) = (format!("$20\r\n{human}\r\n"), format!(",{human}\r\n"));
        assert_replies(|reply| reply.human_double(13.361389338970184), &resp2, &resp3);
        assert_replies(|reply| reply.big_number("-12"), "$3\r\n-12\r\n", "(-12\r\n");
        assert_replies(|reply| reply.verbatim("txt", b"ab"), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n");
        let mut out = Vec::new();
        Reply::new(&mut out, Protocol::Resp3).attribute(1);
        assert_eq!(out, b"|1\r\n");
    }

    #[test]
    fn headers_that_come_last() {
        for len in [0, 1, 9, 10, 99, 100, if cfg!(miri) { 1000 } else { 12345 }] {
            let elements = ":7\r\n".repeat(len);
            let header_then_elements = |kind, count| format!("{kind}{count}\r\n{elements}");
            let write = |reply: &mut Reply<'_>| {
                let deferred = reply.deferred_array();
                (0..len).for_each(|_| reply.integer(7));
                deferred
            };
            let array = header_then_elements('*', len);
            assert_replies(
                |reply| {
                    let deferred = write(reply);
                    reply.finish_array(deferred, len);
                },
                &array,
                &array,
            );
            assert_replies(
                |reply| {
                    let deferred = write(reply);
                    reply.finish_set(deferred, len);
                },
                &array,
                &header_then_elements('~', len),
            );
            assert_replies(
                |reply| {
                    let deferred = write(reply);
                    reply.finish_map(deferred, len);
                },
                &header_then_elements('*', 2 * len),
                &header_then_elements('%', len),
            );
        }
    }

    #[test]
    fn headers_within_headers_and_back() {
        let write = |reply: &mut Reply<'_>| {
            let outer = reply.deferred_array();
            let inner = reply.deferred_array();
            (0..10).for_each(|_| reply.null());
            reply.finish_array(inner, 10);
            let here = reply.position();
            reply.bulk(b"not after all");
            reply.rewind(here);
            reply.finish_array(outer, 1);
        };
        let expected = |null: &str| format!("*1\r\n*10\r\n{}", null.repeat(10));
        assert_replies(write, &expected("$-1\r\n"), &expected("_\r\n"));
    }

    /// No machine has memory for 2^62 bytes, so reserving them simulates a lack of memory.
    #[test]
    fn what_there_is_no_memory_for_becomes_an_error() {
        let mut out = b"before".to_vec();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let start = reply.position();
        assert!(reply.has_room(100) && reply.whole().is_ok());
        let outer = reply.deferred_array();
        reply.bulk(b"an element");
        assert!(!reply.has_room(1 << 62) && reply.is_cut());
        reply.bulk(b"another");
        let inner = reply.deferred_array();
        reply.finish_array(inner, 0);
        reply.finish_array(outer, 1000);
        assert_eq!(reply.whole(), Err(NoMemory));
        reply.replace_cut(start);
        assert!(!reply.is_cut());
        reply.integer(1);
        assert_eq!(out, format!("before-{NO_MEMORY_FOR_REPLY}\r\n:1\r\n").as_bytes());
    }

    #[test]
    fn whole_replies_are_appended() {
        let mut out = b"before".to_vec();
        append_reply(&mut out, b":1\r\n");
        let long = vec![b'x'; 2 * SURE_BYTES_MAX];
        append_reply(&mut out, &long);
        assert_eq!(out.len(), 10 + long.len());
    }
}
