//! The fuzzers' doors, knocked at with seeded mutations of good and bad input.

use basalt_resp::fuzz::{fuzz_decode, fuzz_inline, fuzz_parse};

const SEED: u64 = 8812;

/// Inputs per door: some seconds' worth at most. Under miri each takes a thousand times as long.
fn rounds(count: usize) -> usize {
    if cfg!(miri) { count / 2000 } else { count }
}

#[test]
fn requests_in_pieces() {
    let corpus: &[&[u8]] = &[
        b"\x07*1\r\n$4\r\nPING\r\n",
        b"\x0f*3\r\n$3\r\nSET\r\n$16\r\nkey:000000001234\r\n$3\r\nxyz\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"\x07*2\r\n$4\r\nECHO\r\n$0\r\n\r\n\r\n*0\r\n*-1\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        b"\x0fSET k \"a b\\x41\\n\" 'it\\'s' a\"b c\" \t \"\"\r\n\n\r\nGET k\n",
        b"\x07*20\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n\
          $1\r\nj\r\n$1\r\nk\r\n$1\r\nl\r\n$1\r\nm\r\n$1\r\nn\r\n$1\r\no\r\n$1\r\np\r\n$1\r\nq\r\n$1\r\nr\r\n$1\r\ns\r\n\
          $1\r\nt\r\nPING\r\n",
        b"\x07*1\r\n$1000000000000\r\nx*2147483647\r\n$9223372036854775807\r\n",
    ];
    let dictionary: &[&[u8]] = &[
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
    knock(fuzz_parse, corpus, dictionary, rounds(120_000));
}

#[test]
fn inline_requests_by_the_letter() {
    let corpus: &[&[u8]] = &[
        b"PING",
        b"SET key \"some value\" EX 10",
        b"  a\"b c\" 'd e' \"\" '' \"\\x41\\xZZ\\n\\r\\t\\b\\a\\\\\\\"\" 'it\\'s'\x0b\x0c x\r",
        b"'a\\b' \"a'b\" 'a\"b' \xff\xfe",
    ];
    let dictionary: &[&[u8]] = &[
        b"\"", b"'", b"\\", b"\\\"", b"\\'", b"\\x", b"\\x4", b"\\xfF", b"\\n", b" ", b"\t", b"\r",
        b"\x0b", b"\x0c", b"\0", b"\" ", b"' ", b"a",
    ];
    knock(fuzz_inline, corpus, dictionary, rounds(200_000));
}

#[test]
fn replies_again_and_again() {
    let corpus: &[&[u8]] = &[
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
    ];
    let dictionary: &[&[u8]] = &[
        b"\r\n", b"*1\r\n", b"*2\r\n", b"%1\r\n", b"~1\r\n", b">1\r\n", b"|1\r\n", b"$1\r\n",
        b"=4\r\n", b"!1\r\n", b",", b"(", b"#t\r\n", b"_\r\n", b"-", b"1", b"0", b"e", b".",
        b"inf", b"nan", b":", b"+\r\n", b"txt:",
    ];
    knock(fuzz_decode, corpus, dictionary, rounds(200_000));
}

/// Each input is one of the corpus with a few changes.
fn knock(door: fn(&[u8]), corpus: &[&[u8]], dictionary: &[&[u8]], rounds: usize) {
    corpus.iter().for_each(|input| door(input));
    let mut chance = Chance(SEED);
    for _ in 0..rounds {
        let mut input = corpus[chance.below(corpus.len())].to_vec();
        for _ in 0..=chance.below(4) {
            change(&mut input, corpus, dictionary, &mut chance);
        }
        door(&input);
    }
}

fn change(input: &mut Vec<u8>, corpus: &[&[u8]], dictionary: &[&[u8]], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let to = (at + chance.below(12)).min(input.len());
    match chance.below(7) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..to)),
        2 => drop(input.splice(at..at, dictionary[chance.below(dictionary.len())].iter().copied())),
        3 => drop(input.splice(at..to, dictionary[chance.below(dictionary.len())].iter().copied())),
        4 => input.insert(at, chance.below(256) as u8),
        5 if at < input.len() => input[at] ^= 1 << chance.below(8),
        _ => {
            let other = corpus[chance.below(corpus.len())];
            let from = chance.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}
