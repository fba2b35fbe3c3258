//! Kinds of arguments and their values: few keys, so that requests collide; ordinary values mixed
//! with edge cases.
//!
//! Times are either past or far away, so that two servers cannot disagree by being a moment apart.

use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Key,
    Value,
    /// Of a hash.
    Field,
    /// Of a set.
    Member,
    StreamId,
    Group,
    Consumer,
    /// The minimum idle time of a pending entry: zero, or longer than any.
    Idle,
    Integer,
    Float,
    Seconds,
    Ms,
    UnixSeconds,
    UnixMs,
    Index,
    Offset,
    Pattern,
    Database,
    TypeName,
    Name,
    Count,
    /// The offset of a bit in a string.
    Bit,
    /// Of a bit field.
    Width,
    /// The key of a HyperLogLog.
    Sketch,
    /// Of a HyperLogLog.
    Element,
    /// The key of a geo set.
    Map,
    /// A member of a geo set.
    Spot,
    Longitude,
    Latitude,
    /// A length in any unit.
    Radius,
    /// A COUNT.
    Few,
    /// The key of a list or sorted set that is sorted.
    Roll,
    /// The key of a set that is sorted.
    Pool,
    /// An element that is sorted.
    Ident,
    /// A key whose name contains an element, with a number or a hash.
    Weight,
    Fruit,
    /// The pattern of such keys.
    ByPattern,
    GetPattern,
    /// Any value, mostly an invalid one.
    Odd,
}

const KINDS: &[(&str, Kind)] = &[
    ("key", Kind::Key),
    ("value", Kind::Value),
    ("field", Kind::Field),
    ("member", Kind::Member),
    ("stream-id", Kind::StreamId),
    ("group", Kind::Group),
    ("consumer", Kind::Consumer),
    ("idle", Kind::Idle),
    ("integer", Kind::Integer),
    ("float", Kind::Float),
    ("seconds", Kind::Seconds),
    ("ms", Kind::Ms),
    ("unix-seconds", Kind::UnixSeconds),
    ("unix-ms", Kind::UnixMs),
    ("index", Kind::Index),
    ("offset", Kind::Offset),
    ("pattern", Kind::Pattern),
    ("database", Kind::Database),
    ("type", Kind::TypeName),
    ("name", Kind::Name),
    ("count", Kind::Count),
    ("bit", Kind::Bit),
    ("width", Kind::Width),
    ("sketch", Kind::Sketch),
    ("element", Kind::Element),
    ("map", Kind::Map),
    ("spot", Kind::Spot),
    ("longitude", Kind::Longitude),
    ("latitude", Kind::Latitude),
    ("radius", Kind::Radius),
    ("few", Kind::Few),
    ("roll", Kind::Roll),
    ("pool", Kind::Pool),
    ("ident", Kind::Ident),
    ("weight", Kind::Weight),
    ("fruit", Kind::Fruit),
    ("by-pattern", Kind::ByPattern),
    ("get-pattern", Kind::GetPattern),
    ("odd", Kind::Odd),
];

const KEYS: &[&[u8]] = &[
    b"a", b"b", b"c", b"key:1", b"key:2", b"key:3", b"{tag}1", b"{tag}2", b"number", b"float", b"",
    b"\x00\xff\r\n", b"a rather long key that does not fit into any small block of memory, 100 bytes and more, to be sure",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "-10",
    "42",
    "100",
    "12345",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "4294967296",
    "2147483648",
    "99999999999999999999999",
    "007",
    "+5",
    "-0",
    " 1",
    "1 ",
    "",
    "1.0",
    "1e3",
    "0x10",
    "abc",
    "nan",
    "inf",
    "1\0",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "-0.5",
    "3.14159265358979323846",
    "1.5",
    "1e10",
    "1e-10",
    "1E5",
    "5.",
    ".5",
    "-.5",
    "+1.25",
    "1e17",
    "1e18",
    "1e20",
    "1e-17",
    "1e-18",
    "1e300",
    "1e308",
    "1e400",
    "-1e400",
    "1e4000",
    "1e5000",
    "-1e5000",
    "1e-5000",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "nan",
    "-nan",
    "NaN",
    "Inf",
    "0x10",
    "0x1p4",
    "1e",
    "e5",
    "",
    " 1",
    "1 ",
    "1,5",
    "--1",
    "abc",
    "100.0",
    "0.30000000000000004",
    "17179869184.5",
    "9007199254740993",
    "9223372036854775807",
    "1.7976931348623157e308",
    "4.9e-324",
    "0.1e-1",
    "123456789.123456789",
    "00012.50",
    "-0",
    "-0.0",
];

const NO_DURATIONS: &[&str] = &[
    "0",
    "-1",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "9223372036854776",
    "9223370000000000",
    "9223372036854775808",
    "",
    "abc",
    "1.5",
    "+100000",
    "100000 ",
    "1e9",
    "0100000",
];

/// All numbers that could be a time in milliseconds are at least this.
const SHORTEST_MS: i64 = 100_000_000;

/// The year 3021, to the second; far beyond every test.
const FAR_UNIX_SECONDS: i64 = 33_177_117_420;

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(of, _)| *of == name).map(|(_, kind)| *kind)
    }

    pub fn generate(self, random: &mut Random) -> Vec<u8> {
        match self {
            Kind::Key => random.pick(KEYS).to_vec(),
            Kind::Value => value(random),
            Kind::Member => text(
                random,
                &["1", "2", "3", "-7", "70000", "a", "b", "c", "", "01", "5000000000", "a member"],
            ),
            Kind::Field => text(random, &["f", "g", "h", "name", "7", "-1", "", "a field"]),
            Kind::StreamId => stream_id(random),
            Kind::Group => text(random, &["readers", "readers", "others", ""]),
            Kind::Consumer => text(random, &["ann", "bob", ""]),
            Kind::Idle => text(random, &["0", "0", "-1", "100000000", "abc"]),
            Kind::Integer => integer(random),
            Kind::Float => float(random),
            Kind::Seconds => duration(random, 1),
            Kind::Ms => duration(random, 1000),
            Kind::UnixSeconds => moment(random, FAR_UNIX_SECONDS),
            Kind::UnixMs => moment(random, FAR_UNIX_SECONDS * 1000),
            Kind::Index => index(random),
            Kind::Offset => offset(random),
            Kind::Pattern => text(
                random,
                &[
                    "*", "a", "key:*", "k?y:1", "[ab]", "[^a]", "[a-c]", "\\a", "*1", "{tag}*", "",
                    "[", "*\\", "**2",
                ],
            ),
            Kind::Database => {
                if random.one_in(5) {
                    return text(
                        random,
                        &["15", "16", "-1", "x", "", "99999999999999999999", "1.0", "+1", "01"],
                    );
                }
                text(random, &["0", "1", "2"])
            }
            Kind::TypeName => text(
                random,
                &["string", "STRING", "list", "hash", "set", "zset", "stream", "bogus", ""],
            ),
            Kind::Name => {
                text(random, &["worker", "worker-2", "", "two words", "new\nline", "caf\u{e9}"])
            }
            Kind::Count => text(random, &["100000", "99999"]),
            Kind::Bit => bit(random),
            Kind::Width => text(
                random,
                &[
                    "u1", "u2", "u5", "u8", "u16", "u31", "u32", "u63", "i1", "i2", "i7", "i8",
                    "i16", "i33", "i63", "i64", "u64", "i65", "u0", "8", "I8",
                ],
            ),
            Kind::Sketch => text(random, &["hll:1", "hll:2", "{tag}hll"]),
            Kind::Element => random.below(3000).to_string().into_bytes(),
            Kind::Map => text(random, &["map:1", "map:2", "{tag}map"]),
            Kind::Spot => format!("spot:{}", random.below(200)).into_bytes(),
            Kind::Longitude => degrees(random, 180.0, &["180", "-180", "179.9999999", "180.0001"]),
            Kind::Latitude => {
                degrees(random, 85.0, &["85.05112878", "-85.05112878", "85.0512", "-90"])
            }
            Kind::Radius => text(
                random,
                &[
                    "0", "0.5", "10", "500", "2000", "3000.25", "70000", "250000", "900000", "3e6",
                    "1e7", "3e7", "inf", "-1", "nan", "far",
                ],
            ),
            Kind::Few => text(random, &["1", "2", "3", "7", "50", "1000000", "0", "-1", "x"]),
            Kind::Roll => text(random, &["roll:1", "roll:2", "{tag}roll"]),
            Kind::Pool => text(random, &["pool:1", "pool:2"]),
            Kind::Ident => match random.below(12) {
                0 => text(random, &["1.5", "-2", "1e3", "inf", "", "x", "0x10", " 1"]),
                _ => random.below(20).to_string().into_bytes(),
            },
            Kind::Weight => format!("w_{}", random.below(20)).into_bytes(),
            Kind::Fruit => format!("{{fruit}}{}", random.below(20)).into_bytes(),
            Kind::ByPattern => {
                text(random, &["w_*", "w_*", "{fruit}*->1", "{fruit}*->2", "no*", "{fruit}*"])
            }
            Kind::GetPattern => text(
                random,
                &["#", "w_*", "{fruit}*->1", "{fruit}*->2", "{fruit}*->", "no*", "*", "x", ""],
            ),
            Kind::Odd => odd(random),
        }
    }
}

/// Degrees: mostly near a place, sometimes anywhere, sometimes at the edges of the map.
fn degrees(random: &mut Random, max: f64, ends: &[&str]) -> Vec<u8> {
    let share = |random: &mut Random| random.below(2_000_001) as f64 / 1_000_000.0 - 1.0;
    let degrees = match random.below(24) {
        0 => return text(random, ends),
        1 => return text(random, &["0", "abc", "nan", "1e400", "", "45"]),
        2..6 => share(random) * max,
        6..9 => (max - share(random).abs() / 2.0) * share(random).signum(),
        9..12 => 15.0 + share(random) / 1000.0,
        _ => 15.0 + share(random) * 4.0,
    };
    format!("{degrees:.6}").into_bytes()
}

fn text(random: &mut Random, from: &[&str]) -> Vec<u8> {
    random.pick(from).as_bytes().to_vec()
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0..=2 => integer(random),
        3 | 4 => float(random),
        5 => Vec::new(),
        6 => {
            // Around the limits of short strings: 44 bytes in Redis, others elsewhere.
            let len = *random
                .pick(&[1, 7, 8, 15, 16, 31, 32, 43, 44, 45, 46, 63, 64, 65, 127, 128, 255, 256]);
            vec![b'x'; len]
        }
        7 => {
            let len = *random.pick(&[100, 1000, 4095, 4096, 10_000, 20_000]);
            (0..len).map(|_| random.number().to_le_bytes()[0]).collect()
        }
        8 => (0..random.below(20)).map(|_| random.number().to_le_bytes()[0]).collect(),
        _ => {
            text(random, &["hello", "Hello World", "v", "OK", "QUEUED", "*3\r\n", "$-1\r\n", "\0"])
        }
    }
}

fn integer(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => text(random, INTEGERS),
        1 => (random.number().cast_signed() >> random.below(64)).to_string().into_bytes(),
        _ => random.below(1000).to_string().into_bytes(),
    }
}

/// IDs that grow with the run would be best for XADD; they are spread over a wide range, so that
/// many fit.
fn stream_id(random: &mut Random) -> Vec<u8> {
    let ms = random.below(60);
    match random.below(16) {
        0 => text(
            random,
            &[
                "0",
                "0-0",
                "-",
                "+",
                "(",
                "5-",
                "-5",
                "5-*",
                "(7-1",
                "+9-01",
                "18446744073709551615",
                "18446744073709551615-18446744073709551615",
                "18446744073709551616",
                "abc",
            ],
        ),
        1 => format!("{ms}-*").into_bytes(),
        2..=5 => ms.to_string().into_bytes(),
        _ => format!("{ms}-{}", random.below(4)).into_bytes(),
    }
}

fn float(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 | 1 => text(random, FLOATS),
        2 => {
            let digits = random.number().cast_signed() >> (16 + random.below(48));
            let point = random.below(12);
            format!("{digits}e-{point}").into_bytes()
        }
        _ => format!("{}.{:02}", random.below(1000), random.below(100)).into_bytes(),
    }
}

fn duration(random: &mut Random, units_per_second: i64) -> Vec<u8> {
    match random.below(4) {
        0 => text(random, NO_DURATIONS),
        _ => {
            // Never the same or nearly the same twice: the result of GT and LT must not depend on a
            // millisecond.
            let seconds = 100_000
                + 10 * i64::try_from(random.below(30_000_000)).expect("because it is small");
            (seconds * units_per_second).to_string().into_bytes()
        }
    }
}

fn moment(random: &mut Random, far: i64) -> Vec<u8> {
    match random.below(6) {
        0 => text(random, NO_DURATIONS),
        1 => text(random, &["1", "0", "1000000000"]),
        _ => (far + i64::try_from(random.below(100_000)).expect("because it is small"))
            .to_string()
            .into_bytes(),
    }
}

fn index(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => integer(random),
        _ => (i64::try_from(random.below(60)).expect("because it is small") - 20)
            .to_string()
            .into_bytes(),
    }
}

/// Either small or beyond the maximum length of a string: values in between would cost half a
/// gigabyte.
fn offset(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => text(
            random,
            &[
                "536870912",
                "-1",
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775808",
                "abc",
                "",
                "1.0",
                "5000",
            ],
        ),
        _ => random.below(64).to_string().into_bytes(),
    }
}

/// Either small or beyond the maximum length of a string.
fn bit(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => text(
            random,
            &["4294967296", "-1", "9223372036854775807", "#-1", "#9223372036854775807", "#", "#1x"],
        ),
        1 => format!("#{}", random.below(20)).into_bytes(),
        _ => random.below(700).to_string().into_bytes(),
    }
}

fn odd(random: &mut Random) -> Vec<u8> {
    let word = any_word(random);
    // In place of a time, a small number would expire within the run, at a different moment on each
    // server.
    let number = std::str::from_utf8(&word).ok().and_then(|word| word.parse::<i64>().ok());
    if number.is_some_and(|number| (1..SHORTEST_MS).contains(&number)) {
        b"abc".to_vec()
    } else {
        word
    }
}

fn any_word(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => value(random),
        1 => text(random, INTEGERS),
        2 => text(
            random,
            &[
                "NX", "XX", "GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST", "GT", "LT",
                "REPLACE", "DB", "MATCH", "COUNT", "TYPE",
            ],
        ),
        3 => text(random, &["syntax", "\r\n", "\0\0", "%s%n", "\\x00", "'", "\""]),
        _ => Vec::new(),
    }
}
