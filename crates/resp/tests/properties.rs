//! What holds for all requests and all replies.

use basalt_resp::{
    ParseLimits, Parsed, Protocol, Value, add_long_double, decode, encode, encode_request,
    format_f64, format_i64, parse, parse_f64, parse_i64,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 4 } else { cases },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let arg = prop_oneof![
        vec(any::<u8>(), 0..12),
        vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'$'), Just(b'*')], 0..6),
        (0..2000usize).prop_map(|len| vec![b'x'; len]),
    ];
    vec(arg, 1..40)
}

/// Reads a stream that arrives in the given pieces (the last one brings the rest).
fn read_in_pieces(stream: &[u8], pieces: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    let (mut start, mut arrived, mut partial, mut need) = (0, 0, None, 1);
    let mut pieces = pieces.iter();
    while arrived < stream.len() {
        let piece = pieces.next().copied().unwrap_or(stream.len());
        arrived = stream.len().min(arrived + piece);
        while arrived - start >= need {
            let mut args = Vec::new();
            let (input, limits) = (&stream[start..arrived], ParseLimits::default());
            match parse(input, &mut partial, &mut args, &limits).expect("because they are encoded")
            {
                Parsed::Request { bytes } => {
                    requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                    start += bytes;
                    need = 1;
                }
                Parsed::Incomplete { need: more } => need = more,
                other => panic!("{other:?} in a stream of plain requests"),
            }
        }
    }
    assert_eq!(start, stream.len(), "bytes were left over");
    requests
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[^\r\n]{0,12}".prop_map(|text| Value::simple(&text)),
        "[^\r\n]{0,12}".prop_map(|text| Value::error(&text)),
        any::<i64>().prop_map(Value::Integer),
        vec(any::<u8>(), 0..20).prop_map(Value::Bulk),
        Just(Value::Null),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        any::<i128>().prop_map(|value| Value::BigNumber(value.to_string())),
        (any::<[u8; 3]>(), vec(any::<u8>(), 0..20))
            .prop_map(|(format, text)| Value::Verbatim { format, text }),
        vec(any::<u8>(), 0..20).prop_map(Value::BulkError),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 60, 8, |inner| {
        let pairs = || vec((inner.clone(), inner.clone()), 0..5);
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::Array),
            vec(inner.clone(), 0..8).prop_map(Value::Set),
            vec(inner.clone(), 0..8).prop_map(Value::Push),
            pairs().prop_map(Value::Map),
            (pairs(), inner.clone())
                .prop_map(|(pairs, value)| Value::Attribute(pairs, Box::new(value))),
        ]
    })
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn pipelines_in_pieces(
        requests in vec(request(), 1..5),
        pieces in vec(1..60usize, 0..300),
    ) {
        let mut stream = Vec::new();
        requests.iter().for_each(|args| encode_request(args, &mut stream));
        prop_assert_eq!(&read_in_pieces(&stream, &pieces), &requests);
        prop_assert_eq!(&read_in_pieces(&stream, &[]), &requests);
    }

    #[test]
    fn requests_cut_at_every_byte(args in vec(vec(any::<u8>(), 0..12), 1..24)) {
        let mut stream = Vec::new();
        encode_request(&args, &mut stream);
        let expected = [args];
        for cut in 1..stream.len() {
            prop_assert_eq!(&read_in_pieces(&stream, &[cut])[..], &expected);
        }
        prop_assert_eq!(&read_in_pieces(&stream, &vec![1; stream.len()])[..], &expected);
    }

    #[test]
    fn words_without_quotes_are_slices(words in vec("[!#-&(-~]{1,9}", 1..9), end in "\r?\n") {
        prop_assume!(!words[0].starts_with('*'));
        let line = words.join(" ") + &end;
        let mut args = Vec::new();
        let parsed = parse(line.as_bytes(), &mut None, &mut args, &ParseLimits::default());
        prop_assert_eq!(parsed, Ok(Parsed::Request { bytes: line.len() }));
        prop_assert_eq!(args, words.iter().map(String::as_bytes).collect::<Vec<_>>());
    }

    #[test]
    fn values_come_back(value in value()) {
        let mut encoded = Vec::new();
        encode(&value, Protocol::Resp3, &mut encoded);
        prop_assert_eq!(decode(&encoded), Ok(Some((value.clone(), encoded.len()))));
        for cut in 0..encoded.len() {
            prop_assert_eq!(decode(&encoded[..cut]), Ok(None));
        }
        encoded.clear();
        encode(&value, Protocol::Resp2, &mut encoded);
        let (_, bytes) = decode(&encoded).unwrap().unwrap();
        prop_assert_eq!(bytes, encoded.len());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in vec(any::<u8>(), 0..200)) {
        let mut args = Vec::new();
        let _ = parse(&bytes, &mut None, &mut args, &ParseLimits::default());
        let _ = (decode(&bytes), parse_i64(&bytes), parse_f64(&bytes));
        let _ = add_long_double(&bytes, b"1");
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn integers_come_back(value: i64) {
        let mut text = Vec::new();
        format_i64(value, &mut text);
        prop_assert_eq!(parse_i64(&text), Some(value));
    }

    #[test]
    fn only_one_text_per_integer(text in "[-+ 0]?[0-9]{0,20}") {
        if let Some(value) = parse_i64(text.as_bytes()) {
            prop_assert_eq!(value.to_string(), text);
        } else {
            prop_assert!(text.parse::<i64>().map_or(true, |value| value.to_string() != text));
        }
    }

    #[test]
    fn doubles_come_back(value: f64) {
        let mut text = Vec::new();
        format_f64(value, &mut text);
        prop_assert_eq!(parse_f64(&text).map(f64::to_bits), Some(value.to_bits()));
    }

    #[test]
    fn sums_of_integers_are_exact(a: i32, b: i32) {
        let sum = add_long_double(a.to_string().as_bytes(), b.to_string().as_bytes());
        prop_assert_eq!(sum, Ok((i64::from(a) + i64::from(b)).to_string()));
    }

    /// Above 16, the 64 bits don't reach the 17th decimal: 537.3 - 0.1 is 537.20000000000000001, as in Redis.
    #[test]
    fn sums_of_few_cents_are_exact(a in -799..800i64, b in -799..800i64) {
        let text = |cents: i64| {
            let sign = if cents < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let sum = add_long_double(text(a).as_bytes(), text(b).as_bytes());
        prop_assert_eq!(sum, Ok(text(a + b)));
    }
}
