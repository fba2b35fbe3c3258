//! Seeds: the corpora of the fuzz targets, valid and invalid inputs.

use basalt_commands::config::configuration_file;

fn owned(inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    inputs.iter().map(|input| input.to_vec()).collect()
}

pub(super) fn requests() -> Vec<Vec<u8>> {
    owned(&[
        b"\x07*1\r\n$4\r\nPING\r\n",
        b"\x0f*3\r\n$3\r\nSET\r\n$16\r\nkey:000000001234\r\n$3\r\nxyz\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"\x07*2\r\n$4\r\nECHO\r\n$0\r\n\r\n\r\n*0\r\n*-1\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        b"\x0fSET k \"a b\\x41\\n\" 'it\\'s' a\"b c\" \t \"\"\r\n\n\r\nGET k\n",
        b"\x07*20\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n\
          $1\r\nj\r\n$1\r\nk\r\n$1\r\nl\r\n$1\r\nm\r\n$1\r\nn\r\n$1\r\no\r\n$1\r\np\r\n$1\r\nq\r\n$1\r\nr\r\n$1\r\ns\r\n\
          $1\r\nt\r\nPING\r\n",
        b"\x07*1\r\n$1000000000000\r\nx*2147483647\r\n$9223372036854775807\r\n",
    ])
}

pub(super) const REQUEST_WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"*",
    b"$",
    b"*1\r\n",
    b"*2\r\n",
    b"*17\r\n",
    b"$0\r\n\r\n",
    b"$1\r\n",
    b"$12\r\n",
    b"$100\r\n",
    b"-1",
    b"+1",
    b"0",
    b"9999999999999999999",
    b"18446744073709551616",
    b"\"",
    b"'",
    b"\\",
    b"\\x",
    b"PING",
    b"*1\r\n$4\r\nPING\r\n",
    b"\0",
    b" ",
    b"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
];

pub(super) fn inline() -> Vec<Vec<u8>> {
    owned(&[
        b"PING",
        b"SET key \"some value\" EX 10",
        b"  a\"b c\" 'd e' \"\" '' \"\\x41\\xZZ\\n\\r\\t\\b\\a\\\\\\\"\" 'it\\'s'\x0b\x0c x\r",
        b"'a\\b' \"a'b\" 'a\"b' \xff\xfe",
    ])
}

pub(super) const INLINE_WORDS: &[&[u8]] = &[
    b"\"", b"'", b"\\", b"\\\"", b"\\'", b"\\x", b"\\x4", b"\\xfF", b"\\n", b" ", b"\t", b"\r",
    b"\x0b", b"\x0c", b"\0", b"\" ", b"' ", b"a",
];

pub(super) fn replies() -> Vec<Vec<u8>> {
    owned(&[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-42\r\n",
        b"$5\r\nhello\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*3\r\n:1\r\n*2\r\n+a\r\n_\r\n$1\r\nx\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n#t\r\n#f\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n=5\r\ntxt:x\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*4\r\n,1.5e-10\r\n,inf\r\n(-123456789012345678901234567890\r\n!5\r\nERR x\r\n",
        b",nan\r\n",
    ])
}

pub(super) const REPLY_WORDS: &[&[u8]] = &[
    b"\r\n", b"*1\r\n", b"*2\r\n", b"%1\r\n", b"~1\r\n", b">1\r\n", b"|1\r\n", b"$1\r\n",
    b"=4\r\n", b"!1\r\n", b",", b"(", b"#t\r\n", b"_\r\n", b"-", b"1", b"0", b"e", b".", b"inf",
    b"nan", b":", b"+\r\n", b"txt:",
];

pub(super) fn config_files() -> Vec<Vec<u8>> {
    let whole = configuration_file().into_bytes();
    let plain: Vec<u8> = whole
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"#"))
        .flatten()
        .copied()
        .collect();
    let mut all = owned(&[
        b"port 7000\nbind 127.0.0.1 -::1\nsave 60 1\nsave \"\"\n",
        b"requirepass \"a\\x41\\n\"\nclient-output-buffer-limit normal 1mb 2kb 3 pubsub 1 2 3\n",
        b"# a comment\n\ninclude other.conf\nuser default on\n",
        b"maxmemory 10gb\nnotify-keyspace-events KEA\nlatency-tracking-info-percentiles 50 99.9",
    ]);
    all.push(plain);
    all
}

pub(super) const CONFIG_WORDS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b" ",
    b"\"",
    b"'",
    b"\\",
    b"\\x",
    b"#",
    b"yes",
    b"no",
    b"-1",
    b"0",
    b"1kb",
    b"99999999999999999999",
    b"10%",
    b"\"\"",
    b"save ",
    b"bind ",
    b"include ",
    b"loadmodule ",
    b"rename-command a b\n",
    b"user x\n",
    b"\0",
    b"\xff",
];

pub(super) fn globs() -> Vec<Vec<u8>> {
    owned(&[
        b"h?llo*\nhello world",
        b"[a-c]*[^x]\nbcd",
        b"\\*\\?\\[\n*?[",
        b"a*b*c*d\naxbxcxd",
        b"*\n",
        b"[a-\n-",
        b"*a*a*b\naaaaaaaaaaaa",
    ])
}

pub(super) const GLOB_WORDS: &[&[u8]] = &[
    b"*", b"**", b"?", b"[", b"]", b"[^", b"-", b"\\", b"a", b"A", b"\n", b"[a-z]", b"[z-a]",
    b"[^]", b"\xff", b"\0", b"\\]",
];

pub(super) const SKETCH_WORDS: &[&[u8]] = &[
    b"HYLL",
    b"\0",
    b"\x01",
    b"\x02",
    b"\x03",
    b"\x3f",
    b"\x40",
    b"\x7f\xff",
    b"\x80",
    b"\xff",
    b"\x00\x00\x00\x00\x00\x00\x00\x80",
];

/// For targets that draw choices: any bytes.
pub(super) fn choices() -> Vec<Vec<u8>> {
    let counting = |step: u8| (0..200u8).map(|at| at.wrapping_mul(step)).collect::<Vec<u8>>();
    vec![
        Vec::new(),
        counting(1),
        counting(7),
        counting(31),
        counting(97),
        vec![0; 40],
        vec![255; 40],
    ]
}

pub(super) const CHOICES: &[&[u8]] = &[
    b"\0",
    b"\x01",
    b"\x02",
    b"\x03",
    b"\x07",
    b"\x0f",
    b"\x1f",
    b"\x7f",
    b"\x80",
    b"\xfe",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"a",
    b"0",
    b"-1",
    b"1.5",
];
