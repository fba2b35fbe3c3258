//! Complete replies as values: for clients, tests and tools. Not for the hot path: it allocates.
//!
//! Both protocols are decoded without a setting; `encode` writes either. Lengths from the peer
//! reserve no memory, and LIMITs keep a hostile peer from filling ours. Not here: RESP3's streamed
//! types (`$?`, `*?`), which Redis never sends.

use std::fmt;

use crate::number::{parse_f64, parse_i64};
use crate::{Protocol, Reply, line};

/// LIMIT: the depth of nested arrays.
const DEPTH_MAX: usize = 128;
/// LIMIT: bytes of a bulk: the default of proto-max-bulk-len.
const BULK_BYTES_MAX: i64 = 512 * 1024 * 1024;
/// LIMIT: elements of an array; pairs of a map.
const LEN_MAX: i64 = i32::MAX as i64;
/// LIMIT: bytes of any line.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A reply. Two are equal if their RESP3 forms are: so nan equals itself, and 0 differs from -0.
#[derive(Clone)]
pub enum Value {
    Simple(Vec<u8>),
    /// With its code: `ERR syntax error`.
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1` or `_`.
    Null,
    /// `*-1`; in RESP3 it is `Null`.
    NullArray,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Double(f64),
    Boolean(bool),
    BigNumber(String),
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
    /// Attributes of the value, and the value.
    Attribute(Vec<(Value, Value)>, Box<Value>),
    BulkError(Vec<u8>),
}

/// Why a reply is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    UnknownType(u8),
    InvalidLength,
    /// An invalid number, boolean or verbatim string.
    InvalidText,
    InvalidCrlf,
    TooDeep,
    TooLong,
}

/// Decodes the reply at the start of `input`. Returns it with its size in bytes; `None` if it is
/// incomplete.
pub fn decode(input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
    let mut decoder = Decoder { input, position: 0 };
    Ok(decoder.value(DEPTH_MAX)?.map(|value| (value, decoder.position)))
}

/// Encodes a value. In RESP2 attributes are left out, and types that it lacks become the nearest
/// one.
pub fn encode(value: &Value, protocol: Protocol, out: &mut Vec<u8>) {
    let mut reply = Reply::new(out, protocol);
    match value {
        Value::Simple(text) => line::push_text(out, b'+', text),
        Value::Error(text) => reply.error_bytes(text),
        Value::Integer(value) => reply.integer(*value),
        Value::Bulk(text) => reply.bulk(text),
        Value::Null => reply.null(),
        Value::NullArray => reply.null_array(),
        Value::Array(elements) => {
            reply.array(elements.len());
            encode_all(elements, protocol, out);
        }
        Value::Set(elements) => {
            reply.set(elements.len());
            encode_all(elements, protocol, out);
        }
        Value::Push(elements) => {
            reply.push(elements.len());
            encode_all(elements, protocol, out);
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            encode_pairs(pairs, protocol, out);
        }
        Value::Double(value) => reply.double(*value),
        Value::Boolean(value) => reply.boolean(*value),
        Value::BigNumber(digits) => reply.big_number(digits),
        Value::Verbatim { format, text } => encode_verbatim(*format, text, protocol, out),
        Value::Attribute(pairs, value) => {
            if protocol == Protocol::Resp3 {
                reply.attribute(pairs.len());
                encode_pairs(pairs, protocol, out);
            }
            encode(value, protocol, out);
        }
        Value::BulkError(text) => match protocol {
            Protocol::Resp2 => reply.error_bytes(text),
            Protocol::Resp3 => push_bulk(b'!', text, out),
        },
    }
}

/// Encodes a request: what a client sends.
pub fn encode_request(args: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    line::push(out, b'*', args.len());
    for arg in args {
        push_bulk(b'$', arg.as_ref(), out);
    }
}

fn encode_all(elements: &[Value], protocol: Protocol, out: &mut Vec<u8>) {
    elements.iter().for_each(|element| encode(element, protocol, out));
}

fn encode_pairs(pairs: &[(Value, Value)], protocol: Protocol, out: &mut Vec<u8>) {
    for (key, value) in pairs {
        encode(key, protocol, out);
        encode(value, protocol, out);
    }
}

fn encode_verbatim(format: [u8; 3], text: &[u8], protocol: Protocol, out: &mut Vec<u8>) {
    match protocol {
        Protocol::Resp2 => push_bulk(b'$', text, out),
        Protocol::Resp3 => push_bulk(b'=', &[&format, b":".as_slice(), text].concat(), out),
    }
}

fn push_bulk(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + line::LINE_BYTES_MAX + 2);
    line::push(out, kind, text.len());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

struct Decoder<'a> {
    input: &'a [u8],
    position: usize,
}

/// Returns from the function if more bytes are needed.
macro_rules! arrived {
    ($step:expr) => {
        match $step? {
            Some(found) => found,
            None => return Ok(None),
        }
    };
}

type Step<T> = Result<Option<T>, DecodeError>;

impl<'a> Decoder<'a> {
    fn value(&mut self, depth_left: usize) -> Step<Value> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(DecodeError::TooDeep);
        };
        let Some(&kind) = self.input.get(self.position) else { return Ok(None) };
        if !b"+-:$*%~>,#(=|!_".contains(&kind) {
            return Err(DecodeError::UnknownType(kind));
        }
        self.position += 1;
        let line = arrived!(self.line());
        let value = match kind {
            b'+' => Value::Simple(line.to_vec()),
            b'-' => Value::Error(line.to_vec()),
            b':' => Value::Integer(parse_i64(line).ok_or(DecodeError::InvalidText)?),
            b',' => Value::Double(double(line)?),
            b'#' => Value::Boolean(boolean(line)?),
            b'(' => Value::BigNumber(big_number(line)?),
            b'_' if line.is_empty() => Value::Null,
            b'_' => return Err(DecodeError::InvalidText),
            b'$' if line == b"-1" => Value::Null,
            b'*' if line == b"-1" => Value::NullArray,
            b'$' => Value::Bulk(arrived!(self.bulk(line)).to_vec()),
            b'!' => Value::BulkError(arrived!(self.bulk(line)).to_vec()),
            b'=' => match arrived!(self.bulk(line)) {
                &[a, b, c, b':', ref text @ ..] => {
                    Value::Verbatim { format: [a, b, c], text: text.to_vec() }
                }
                _ => return Err(DecodeError::InvalidText),
            },
            b'*' => Value::Array(arrived!(self.elements(line, depth_left))),
            b'~' => Value::Set(arrived!(self.elements(line, depth_left))),
            b'>' => Value::Push(arrived!(self.elements(line, depth_left))),
            b'%' => Value::Map(arrived!(self.pairs(line, depth_left))),
            _ => {
                let pairs = arrived!(self.pairs(line, depth_left));
                Value::Attribute(pairs, Box::new(arrived!(self.value(depth_left))))
            }
        };
        Ok(Some(value))
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.input[self.position..];
        let window = &rest[..rest.len().min(LINE_BYTES_MAX + 2)];
        let Some(end) = memchr::memchr2(b'\r', b'\n', window) else {
            return if window.len() < LINE_BYTES_MAX + 2 {
                Ok(None)
            } else {
                Err(DecodeError::TooLong)
            };
        };
        match &rest[end..] {
            [b'\r', b'\n', ..] => {
                self.position += end + 2;
                Ok(Some(&rest[..end]))
            }
            [b'\r'] => Ok(None),
            _ => Err(DecodeError::InvalidCrlf),
        }
    }

    fn bulk(&mut self, len: &[u8]) -> Step<&'a [u8]> {
        let len = length(len, BULK_BYTES_MAX)?;
        let rest = &self.input[self.position..];
        let Some(end) = rest.get(len..len + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(DecodeError::InvalidCrlf);
        }
        self.position += len + 2;
        Ok(Some(&rest[..len]))
    }

    fn elements(&mut self, len: &[u8], depth_left: usize) -> Step<Vec<Value>> {
        let mut elements = Vec::new();
        for _ in 0..length(len, LEN_MAX)? {
            elements.push(arrived!(self.value(depth_left)));
        }
        Ok(Some(elements))
    }

    fn pairs(&mut self, len: &[u8], depth_left: usize) -> Step<Vec<(Value, Value)>> {
        let mut pairs = Vec::new();
        for _ in 0..length(len, LEN_MAX)? {
            let key = arrived!(self.value(depth_left));
            pairs.push((key, arrived!(self.value(depth_left))));
        }
        Ok(Some(pairs))
    }
}

/// How many bytes the reply at the start of `input` has, if all of it is there: one that we wrote ourselves, of
/// any length, and no aggregate.
pub fn scalar_bytes(input: &[u8]) -> Option<usize> {
    let line_end = memchr::memchr(b'\n', input)? + 1;
    let bytes = match input.first()? {
        b'*' | b'~' | b'>' | b'%' | b'|' => return None,
        b'$' | b'!' | b'=' => match parse_i64(input[1..line_end].strip_suffix(b"\r\n")?)? {
            -1 => line_end,
            len => usize::try_from(len).ok()?.checked_add(line_end + 2)?,
        },
        _ => line_end,
    };
    (bytes <= input.len()).then_some(bytes)
}

fn length(text: &[u8], max: i64) -> Result<usize, DecodeError> {
    match parse_i64(text) {
        Some(len @ 0..) if len <= max => Ok(len as usize),
        Some(0..) => Err(DecodeError::TooLong),
        _ => Err(DecodeError::InvalidLength),
    }
}

fn double(text: &[u8]) -> Result<f64, DecodeError> {
    match text {
        b"nan" | b"-nan" => Ok(f64::NAN),
        _ => parse_f64(text).ok_or(DecodeError::InvalidText),
    }
}

fn boolean(text: &[u8]) -> Result<bool, DecodeError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(DecodeError::InvalidText),
    }
}

fn big_number(text: &[u8]) -> Result<String, DecodeError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::InvalidText);
    }
    Ok(text.iter().copied().map(char::from).collect())
}

impl Value {
    /// A simple string.
    pub fn simple(text: &str) -> Value {
        Value::Simple(text.into())
    }

    /// An error: its whole text with the code.
    pub fn error(text: &str) -> Value {
        Value::Error(text.into())
    }

    /// A bulk string.
    pub fn bulk(text: impl AsRef<[u8]>) -> Value {
        Value::Bulk(text.as_ref().to_vec())
    }

    /// The bytes of a text or an error; `None` for other types.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text)
            | Value::Error(text)
            | Value::Bulk(text)
            | Value::BulkError(text)
            | Value::Verbatim { text, .. } => Some(text),
            Value::BigNumber(digits) => Some(digits.as_bytes()),
            _ => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        let mut forms = [Vec::new(), Vec::new()];
        encode(self, Protocol::Resp3, &mut forms[0]);
        encode(other, Protocol::Resp3, &mut forms[1]);
        let [one, another] = forms;
        one == another
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    /// Texts in readable form: `Bulk("a\x00b")`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |f: &mut fmt::Formatter<'_>, name: &str, text: &[u8]| {
            write!(f, "{name}(\"{}\")", text.escape_ascii())
        };
        match self {
            Value::Simple(bytes) => text(f, "Simple", bytes),
            Value::Error(bytes) => text(f, "Error", bytes),
            Value::Bulk(bytes) => text(f, "Bulk", bytes),
            Value::BulkError(bytes) => text(f, "BulkError", bytes),
            Value::BigNumber(digits) => text(f, "BigNumber", digits.as_bytes()),
            Value::Verbatim { format, text: bytes } => {
                write!(f, "Verbatim({}, \"{}\")", format.escape_ascii(), bytes.escape_ascii())
            }
            Value::Integer(value) => f.debug_tuple("Integer").field(value).finish(),
            Value::Null => f.write_str("Null"),
            Value::NullArray => f.write_str("NullArray"),
            Value::Array(elements) => f.debug_tuple("Array").field(elements).finish(),
            Value::Map(pairs) => f.debug_tuple("Map").field(pairs).finish(),
            Value::Set(elements) => f.debug_tuple("Set").field(elements).finish(),
            Value::Push(elements) => f.debug_tuple("Push").field(elements).finish(),
            Value::Double(value) => f.debug_tuple("Double").field(value).finish(),
            Value::Boolean(value) => f.debug_tuple("Boolean").field(value).finish(),
            Value::Attribute(pairs, value) => {
                f.debug_tuple("Attribute").field(pairs).field(value).finish()
            }
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownType(kind) => {
                write!(f, "no reply begins with '{}'", kind.escape_ascii())
            }
            DecodeError::InvalidLength => f.write_str("invalid length"),
            DecodeError::InvalidText => f.write_str("invalid number, boolean or verbatim"),
            DecodeError::InvalidCrlf => f.write_str("a line or text doesn't end in CR LF"),
            DecodeError::TooDeep => f.write_str("too many arrays within arrays"),
            DecodeError::TooLong => f.write_str("too long"),
        }
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_decodes(input: &[u8], expected: &Value) {
        for cut in 0..input.len() {
            assert_eq!(decode(&input[..cut]), Ok(None), "{}", input[..cut].escape_ascii());
        }
        let followed = [input, b"+next\r\n"].concat();
        assert_eq!(decode(&followed), Ok(Some((expected.clone(), input.len()))));
    }

    #[test]
    fn every_type() {
        let text = |text: &str| Value::bulk(text);
        assert_decodes(b"+OK\r\n", &Value::simple("OK"));
        assert_decodes(b"-ERR a \xff\r\n", &Value::Error(b"ERR a \xff".to_vec()));
        assert_decodes(b":-12\r\n", &Value::Integer(-12));
        assert_decodes(b"$4\r\na\r\nb\r\n", &text("a\r\nb"));
        assert_decodes(b"$0\r\n\r\n", &text(""));
        assert_decodes(b"$-1\r\n", &Value::Null);
        assert_decodes(b"_\r\n", &Value::Null);
        assert_eq!(format!("{:?}", decode(b"*-1\r\n").unwrap().unwrap().0), "NullArray");
        assert_decodes(b"*0\r\n", &Value::Array(vec![]));
        let nested = Value::Array(vec![Value::Integer(1), Value::Array(vec![text("x")])]);
        assert_decodes(b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", &nested);
        assert_decodes(
            b"%1\r\n+a\r\n:1\r\n",
            &Value::Map(vec![(Value::simple("a"), Value::Integer(1))]),
        );
        assert_decodes(b"~1\r\n#t\r\n", &Value::Set(vec![Value::Boolean(true)]));
        assert_decodes(b">1\r\n#f\r\n", &Value::Push(vec![Value::Boolean(false)]));
        assert_decodes(b",1.5\r\n", &Value::Double(1.5));
        assert_decodes(b",-inf\r\n", &Value::Double(f64::NEG_INFINITY));
        assert_decodes(b",nan\r\n", &Value::Double(f64::NAN));
        assert_decodes(
            b"(-12345678901234567890\r\n",
            &Value::BigNumber("-12345678901234567890".into()),
        );
        let verbatim = Value::Verbatim { format: *b"txt", text: b"a:b".to_vec() };
        assert_decodes(b"=7\r\ntxt:a:b\r\n", &verbatim);
        assert_decodes(b"!5\r\nERR x\r\n", &Value::BulkError(b"ERR x".to_vec()));
        let about = vec![(Value::simple("ttl"), Value::Integer(3))];
        let attribute = Value::Attribute(about, Box::new(Value::Integer(7)));
        assert_decodes(b"|1\r\n+ttl\r\n:3\r\n:7\r\n", &attribute);
    }

    #[test]
    fn wrong_replies() {
        use DecodeError::*;
        for (input, error) in [
            ("?\r\n", UnknownType(b'?')),
            ("\r\n", UnknownType(b'\r')),
            ("$-2\r\n", InvalidLength),
            ("$+1\r\n", InvalidLength),
            ("$?\r\n", InvalidLength),
            ("*-2\r\n", InvalidLength),
            ("%-1\r\n", InvalidLength),
            ("!-1\r\n", InvalidLength),
            ("$536870913\r\n", TooLong),
            ("*2147483648\r\n", TooLong),
            (":\r\n", InvalidText),
            (":1.0\r\n", InvalidText),
            (",x\r\n", InvalidText),
            ("#T\r\n", InvalidText),
            ("(\r\n", InvalidText),
            ("(-\r\n", InvalidText),
            ("(1x\r\n", InvalidText),
            ("_x\r\n", InvalidText),
            ("=3\r\ntxt\r\n", InvalidText),
            ("=4\r\ntxt-\r\n", InvalidText),
            ("+a\rb", InvalidCrlf),
            ("+a\n", InvalidCrlf),
            ("$1\r\nabc", InvalidCrlf),
        ] {
            assert_eq!(decode(input.as_bytes()), Err(error), "{input:?}");
            let within = format!("*2\r\n:1\r\n{input}");
            assert_eq!(decode(within.as_bytes()), Err(error), "{within:?}");
        }
        assert_eq!(UnknownType(0xff).to_string(), "no reply begins with '\\xff'");
    }

    #[test]
    fn limits() {
        let deep = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
        assert!(decode(deep(DEPTH_MAX - 1).as_bytes()).unwrap().is_some());
        assert_eq!(decode(deep(DEPTH_MAX).as_bytes()), Err(DecodeError::TooDeep));
        for greatest in ["$536870912\r\n", "*2147483647\r\n", "%2147483647\r\n"] {
            assert_eq!(decode(greatest.as_bytes()), Ok(None), "{greatest}");
        }
        assert_eq!(decode("|0\r\n".repeat(DEPTH_MAX).as_bytes()), Err(DecodeError::TooDeep));
        if cfg!(miri) {
            return; // A long line takes minutes.
        }
        let line = |bytes: usize| [b"+", &vec![b'x'; bytes][..]].concat();
        assert_eq!(decode(&line(LINE_BYTES_MAX + 1)), Ok(None));
        assert_eq!(decode(&line(LINE_BYTES_MAX + 2)), Err(DecodeError::TooLong));
        let mut longest = line(LINE_BYTES_MAX);
        longest.extend(b"\r\n");
        assert!(decode(&longest).unwrap().is_some());
    }

    #[test]
    fn resp2_gets_the_nearest() {
        let value = Value::Attribute(
            vec![(Value::Null, Value::Null)],
            Box::new(Value::Array(vec![
                Value::Map(vec![(Value::simple("a"), Value::Boolean(true))]),
                Value::Set(vec![Value::Null, Value::NullArray]),
                Value::Push(vec![Value::Double(0.5)]),
                Value::BigNumber("12".into()),
                Value::Verbatim { format: *b"txt", text: b"v".to_vec() },
                Value::BulkError(b"ERR two\r\nlines".to_vec()),
                Value::Simple(b"two\nlines".to_vec()),
            ])),
        );
        let mut out = Vec::new();
        encode(&value, Protocol::Resp2, &mut out);
        let expected = "*7\r\n*2\r\n+a\r\n:1\r\n*2\r\n$-1\r\n*-1\r\n*1\r\n$3\r\n0.5\r\n$2\r\n12\r\n$1\r\nv\r\n\
                        -ERR two  lines\r\n+two lines\r\n";
        assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
    }

    #[test]
    fn equality_and_looks() {
        assert_eq!(Value::Double(f64::NAN), Value::Double(f64::NAN));
        assert_ne!(Value::Double(0.0), Value::Double(-0.0));
        assert_ne!(Value::simple("a"), Value::bulk("a"));
        assert_ne!(Value::Array(vec![Value::Integer(1)]), Value::Array(vec![]));
        let value = Value::Array(vec![Value::bulk(b"a\0"), Value::error("ERR x"), Value::Null]);
        assert_eq!(format!("{value:?}"), r#"Array([Bulk("a\x00"), Error("ERR x"), Null])"#);
        assert_eq!(value.as_bytes(), None);
        assert_eq!(Value::bulk("x").as_bytes(), Some(b"x".as_slice()));
    }

    #[test]
    fn requests_of_a_client() {
        let mut out = Vec::new();
        encode_request(&["SET", "k", ""], &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }

    #[test]
    fn scalars_are_measured_at_any_length() {
        for (input, bytes) in [
            (&b"$3\r\nabc\r\n:1\r\n"[..], Some(9)),
            (b"$-1\r\n$-1\r\n", Some(5)),
            (b"_\r\n", Some(3)),
            (b":12\r\n+OK\r\n", Some(5)),
            (b",1.5\r\n", Some(6)),
            (b"=5\r\ntxt:a\r\n", Some(11)),
            (b"$3\r\nabc\r", None),
            (b"$-2\r\n", None),
            (b"$18446744073709551615\r\n", None),
            (b"$9223372036854775807\r\n", None),
            (b"$3", None),
            (b"", None),
            (b"*1\r\n:1\r\n", None),
        ] {
            assert_eq!(scalar_bytes(input), bytes, "{}", input.escape_ascii());
        }
    }

    /// Values may be longer than what a client's reader takes: MGET over shards met its end there. The zeros
    /// are never touched, so the system gives them no memory.
    #[test]
    #[cfg(not(miri))]
    fn scalars_may_be_longer_than_clients_read() {
        let header = b"$600000000\r\n";
        let mut input = vec![0; header.len() + 600_000_002];
        input[..header.len()].copy_from_slice(header);
        assert_eq!(scalar_bytes(&input), Some(input.len()));
        assert_eq!(decode(&input), Err(DecodeError::TooLong));
    }
}
