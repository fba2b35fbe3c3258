//! Random text: whatever is in a file, loading ends with a configuration or an error, and rewriting
//! it keeps it.

use super::*;
use basalt_commands::config::{PARAMETERS, fuzz_file};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const VALUES: &[&str] = &[
    "yes",
    "no",
    "0",
    "1",
    "5",
    "100",
    "1kb",
    "2gb",
    "10%",
    "\"\"",
    "''",
    "\"a b\"",
    "'a\\'b'",
    "\"\\xff\\x00\"",
    "60 1",
    "\"60 1\"",
    "normal 1 2 3",
    "\"pubsub 1mb 2 3\"",
    "50 99.999",
    "::1 -127.0.0.1",
    "now",
    "save force",
    "KEA",
    "g$n",
    "notice",
    "json",
    "-1",
    "\"unclosed",
    "a\"b",
    "#",
    "\\",
    "no one",
];

fn line(random: &mut Random) -> Vec<u8> {
    let row = random.one_of(PARAMETERS);
    let names: Vec<&str> = row.names().collect();
    let name = match random.below(20) {
        0 => {
            *random.one_of(&["include x", "user a", "lua-replicate-commands", "rename-command", ""])
        }
        1 => "# a comment",
        _ => random.one_of(&names),
    };
    let value = match random.below(3) {
        0 => row.default,
        _ => random.one_of(VALUES),
    };
    let blank = *random.one_of(&[" ", "\t", "  "]);
    [name, blank, value, *random.one_of(&["", "\r", " "])].concat().into_bytes()
}

#[test]
fn any_text_is_loaded_or_refused() {
    let mut random = Random(7);
    let mut loaded = 0;
    for _ in 0..4_000 {
        let line_count = random.below(4);
        let mut text = (0..line_count).map(|_| line(&mut random)).collect::<Vec<_>>().join(&b'\n');
        for _ in 0..random.below(4).saturating_sub(1) {
            let at = random.below(text.len() + 1);
            match random.below(3) {
                0 if at < text.len() => drop(text.remove(at)),
                1 => text.insert(at, *random.one_of(b"\"'\\\n\r #\0\xff-0x")),
                _ => text.insert(at, random.next() as u8),
            }
        }
        fuzz_file(&text);
        let mut nothing = |_: &str| Ok(Vec::new());
        loaded += usize::from(Config::parse_file(&text, "fuzz", &mut nothing).is_ok());
    }
    assert!(loaded > 800, "only {loaded} texts were right: the generator is of no use");
}

#[test]
fn any_bytes_are_loaded_or_refused() {
    let mut random = Random(8);
    for _ in 0..4_000 {
        let len = random.below(40);
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        fuzz_file(&bytes);
        let _ = Config::default().set(&[(&bytes, &bytes)], true);
        assert!(Config::default().get(&[&bytes]).len() <= PARAMETERS.len() * 2);
    }
}
