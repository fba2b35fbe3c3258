//! Fuzz targets: each takes any bytes and panics if an invariant is broken.
//!
//! A libFuzzer target is one line, `fuzz_target!(|data: &[u8]|
//! basalt_resp::fuzz::fuzz_parse(data))`; `tests/fuzz.rs` runs mutations of a seed. Not here: how
//! inputs are generated.

use crate::{
    ParseLimits, Parsed, Protocol, ProtocolError, decode, encode, encode_request, inline, parse,
};

/// The parsed requests do not depend on how the stream is cut.
pub fn fuzz_parse(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    let limits = ParseLimits {
        bulk_bytes_max: if choice & 1 == 0 { 40 } else { 1 << 40 },
        args_max: if choice & 2 == 0 { 12 } else { usize::MAX },
        inline_bytes_max: if choice & 4 == 0 { 80 } else { 64 * 1024 },
        unauthenticated: choice & 8 == 0,
    };
    let whole = read(stream, &limits, &mut all);
    let mut state = stream.len() as u64 ^ u64::from(choice) << 32;
    let pieces = read(stream, &limits, &mut || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        1 + (state >> 33) as usize % 24
    });
    assert_eq!(whole, pieces, "the same bytes, but in pieces, came to something else");
    if choice & 16 == 0 {
        assert_eq!(
            whole,
            read(stream, &limits, &mut || 1),
            "byte by byte they came to something else"
        );
    }
    for event in whole {
        if let Event::Request(args) = event {
            let mut request = Vec::new();
            encode_request(&args, &mut request);
            let again = read(&request, &ParseLimits::default(), &mut all);
            assert_eq!(again, [Event::Request(args)], "a request encoded again differs");
        }
    }
}

/// A line has the same words as by the rules applied one byte at a time.
pub fn fuzz_inline(data: &[u8]) {
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut args: Vec<&[u8]> = vec![b"before"];
    let outcome = inline::split(line, &mut args);
    let expected = split_plainly(line);
    match outcome {
        Ok(None) => assert_eq!(Some(args[1..].iter().map(|arg| arg.to_vec()).collect()), expected),
        Ok(Some(request)) => {
            assert_eq!(args, [b"before"], "a rewritten request left arguments behind");
            let again = read(&request, &ParseLimits::default(), &mut all);
            assert_eq!(again, [Event::Request(expected.expect("because quotes were balanced"))]);
        }
        Err(inline::Unbalanced) => assert_eq!(expected, None),
    }
}

/// A decoded value survives encoding and decoding, and no proper prefix of its bytes is complete.
pub fn fuzz_decode(data: &[u8]) {
    let Ok(Some((value, bytes))) = decode(data) else { return };
    assert!((1..=data.len()).contains(&bytes));
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut encoded = Vec::new();
        encode(&value, protocol, &mut encoded);
        let (again, again_bytes) = decode(&encoded)
            .expect("because encode writes what decode reads")
            .expect("because encode writes all of it");
        assert_eq!(again_bytes, encoded.len());
        if protocol == Protocol::Resp3 {
            assert_eq!(value, again);
        }
    }
    for cut in [bytes / 3, bytes / 2, bytes - 1] {
        assert_eq!(decode(&data[..cut]), Ok(None), "the first {cut} bytes of {bytes} seem whole");
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Event {
    Request(Vec<Vec<u8>>),
    Nothing,
    Error(ProtocolError),
}

/// The whole input arrives at once.
fn all() -> usize {
    usize::MAX
}

/// Reads as a connection does: pieces of `piece()` bytes arrive, and unread bytes move in memory.
fn read(stream: &[u8], limits: &ParseLimits, piece: &mut dyn FnMut() -> usize) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut start, mut arrived, mut need) = (0, 0, 1);
    let mut partial = None;
    loop {
        while arrived - start < need {
            if arrived == stream.len() {
                return events;
            }
            arrived = stream.len().min(arrived.saturating_add(piece()));
        }
        let input = stream[start..arrived].to_vec();
        let mut args: Vec<&[u8]> = vec![b"before"];
        let parsed = parse(&input, &mut partial, &mut args, limits);
        assert_eq!(args[0], b"before", "arguments of an earlier request were touched");
        if !matches!(parsed, Ok(Parsed::Request { .. })) {
            assert_eq!(args.len(), 1, "{parsed:?} left arguments behind");
        }
        if !matches!(parsed, Ok(Parsed::Incomplete { .. })) {
            assert!(partial.is_none(), "{parsed:?} left a partial request behind");
        }
        need = 1;
        let bytes = match parsed {
            Ok(Parsed::Request { bytes }) => {
                let args = args[1..].iter().map(|arg| arg.to_vec()).collect();
                events.push(Event::Request(args));
                bytes
            }
            Ok(Parsed::Nothing { bytes }) => {
                events.push(Event::Nothing);
                bytes
            }
            Ok(Parsed::Rewritten { bytes, request }) => {
                events.extend(read(&request, &ParseLimits::default(), &mut all));
                bytes
            }
            Ok(Parsed::Incomplete { need: more }) => {
                assert!(more > input.len(), "{more} bytes needed, {} are here", input.len());
                need = more;
                continue;
            }
            Err(error) => {
                events.push(Event::Error(error));
                return events;
            }
        };
        assert!((1..=input.len()).contains(&bytes));
        start += bytes;
    }
}

/// The rules of an inline request, in their simplest form: one decision per byte.
fn split_plainly(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let blank = |byte: Option<&u8>| byte.is_none_or(|byte| b" \t\n\x0b\x0c\r".contains(byte));
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && blank(line.get(at)) {
            at += 1;
        }
        if at == line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        loop {
            let byte = line.get(at).copied();
            let next = line.get(at + 1).copied();
            at += 1;
            match (quote, byte) {
                (Some(_), None) => return None,
                (Some(open), Some(byte)) if byte == open => {
                    if !blank(line.get(at)) {
                        return None;
                    }
                    break;
                }
                (Some(b'"'), Some(b'\\')) if next.is_some() => {
                    let hex =
                        line.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
                    let hex = hex.filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
                    let hex = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
                    match (next, hex) {
                        (Some(b'x'), Some(byte)) => {
                            word.push(byte);
                            at += 2;
                        }
                        (Some(b'n'), _) => word.push(b'\n'),
                        (Some(b'r'), _) => word.push(b'\r'),
                        (Some(b't'), _) => word.push(b'\t'),
                        (Some(b'b'), _) => word.push(8),
                        (Some(b'a'), _) => word.push(7),
                        (other, _) => word.extend(other),
                    }
                    at += 1;
                }
                (Some(b'\''), Some(b'\\')) if next == Some(b'\'') => {
                    word.push(b'\'');
                    at += 1;
                }
                (None, None | Some(b' ' | b'\n' | b'\r' | b'\t')) => break,
                (None, Some(open @ (b'"' | b'\''))) => quote = Some(open),
                (_, Some(byte)) => word.push(byte),
            }
        }
        at = at.min(line.len());
        words.push(word);
    }
}
