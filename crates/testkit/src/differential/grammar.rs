//! The grammar of random requests: one line per command in the notation of Redis' own command
//! pages.
//!
//! ```text
//! SET key value [NX|XX] [GET]     capitals are literal, small words a kind of argument,
//! MSET (key value)...             [ ] is optional, ( | ) is a choice, ... repeats
//! ```
//!
//! Some of the requests are then broken on purpose: an argument too few or too many, a wrong one,
//! an option twice.
//!
//! Not here: the list of commands (`table`), the values of the kinds (`kinds`).

use super::kinds::Kind;
use crate::client::Request;
use crate::random::Random;

#[derive(Debug)]
enum Item {
    Word(String),
    Argument(Kind),
    /// One of the alternatives; optional ones may be left out.
    Choice {
        optional: bool,
        arms: Vec<Vec<Item>>,
    },
    Repeated(Box<Item>),
}

/// LIMIT: the number of repetitions of `...`.
const REPEATS_MAX: usize = 4;

/// One request in this many is broken.
const SPOILED: usize = 12;

/// A parsed line of the table.
#[derive(Debug)]
pub struct Grammar {
    items: Vec<Item>,
}

impl Grammar {
    /// Panics if the line is invalid: the table is part of the program.
    pub fn parse(line: &str) -> Self {
        let tokens = tokens(line);
        let mut at = 0;
        let mut arms = arms(&tokens, &mut at, line);
        assert!(at == tokens.len() && arms.len() == 1, "unbalanced grammar: {line}");
        Self { items: arms.remove(0) }
    }

    pub fn request(&self, random: &mut Random) -> Request {
        // Options may come in any order: each optional part is a piece of its own.
        let mut needed = Vec::new();
        let mut optional = Vec::new();
        for item in &self.items {
            match item {
                Item::Choice { optional: true, .. } => {
                    let mut piece = Vec::new();
                    generate(item, random, &mut piece);
                    optional.push(piece);
                }
                _ => generate(item, random, &mut needed),
            }
        }
        if random.one_in(3) {
            random.shuffle(&mut optional);
        }
        if random.one_in(40)
            && let Some(piece) = optional.last().cloned()
        {
            optional.push(piece);
        }
        needed.extend(optional.into_iter().flatten());
        if random.one_in(SPOILED) {
            spoil(&mut needed, random);
            lengthen_times(&mut needed);
        }
        keep_together(&mut needed);
        needed
    }
}

fn tokens(line: &str) -> Vec<String> {
    let spaced = ["[", "]", "(", ")", "|", "..."]
        .iter()
        .fold(line.to_owned(), |line, mark| line.replace(mark, &format!(" {mark} ")));
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn arms(tokens: &[String], at: &mut usize, line: &str) -> Vec<Vec<Item>> {
    let mut arms = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        let arm = arms.last_mut().expect("because there is one from the start");
        *at += 1;
        match token.as_str() {
            "[" | "(" => {
                let inner = self::arms(tokens, at, line);
                *at += 1;
                arm.push(Item::Choice { optional: token == "[", arms: inner });
            }
            "]" | ")" => {
                *at -= 1;
                return arms;
            }
            "|" => arms.push(Vec::new()),
            "..." => {
                let last = arm.pop().unwrap_or_else(|| panic!("nothing to repeat: {line}"));
                arm.push(Item::Repeated(Box::new(last)));
            }
            word if word.starts_with(|first: char| first.is_ascii_lowercase()) => {
                let kind = Kind::named(word);
                arm.push(Item::Argument(kind.unwrap_or_else(|| panic!("no kind {word}: {line}"))));
            }
            word => arm.push(Item::Word(word.to_owned())),
        }
    }
    arms
}

fn generate(item: &Item, random: &mut Random, request: &mut Request) {
    match item {
        Item::Word(word) => request.push(any_case(word, random)),
        Item::Argument(kind) => request.push(kind.generate(random)),
        Item::Choice { optional, arms } => {
            if !(*optional && random.one_in(2)) {
                random.pick(arms).iter().for_each(|item| generate(item, random, request));
            }
        }
        Item::Repeated(item) => {
            (0..=random.below(REPEATS_MAX)).for_each(|_| generate(item, random, request));
        }
    }
}

fn any_case(word: &str, random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => word.to_ascii_lowercase().into_bytes(),
        1 => {
            let mix =
                |byte: u8| if byte.is_multiple_of(2) { byte.to_ascii_lowercase() } else { byte };
            word.bytes().map(mix).collect()
        }
        _ => word.as_bytes().to_vec(),
    }
}

/// Breaks a request in one place; the command's name stays.
fn spoil(request: &mut Request, random: &mut Random) {
    let at = 1 + random.below(request.len());
    let odd = Kind::Odd.generate(random);
    match random.below(4) {
        0 if at < request.len() => {
            request.remove(at);
        }
        1 if at < request.len() => request[at] = odd,
        2 if at < request.len() => {
            let again = request[at].clone();
            request.push(again);
        }
        _ => request.insert(at, odd),
    }
}

/// Replaces requests that would make the data of the two servers differ without a difference in
/// replies, because of randomness or because of a known bug of an oracle, by similar ones.
fn keep_together(request: &mut Request) {
    let name = request[0].to_ascii_uppercase();
    match name.as_slice() {
        // Valkey takes such a key for the keyword, and the field after the keyword for the key.
        _ if request.get(1).is_some_and(|key| key.eq_ignore_ascii_case(b"fields")) => {
            request[1] = b"key:1".to_vec();
        }
        // Valkey checks a client's name for forbidden bytes only up to the first zero byte, and
        // from then on its connection is in another state than that of a server which rejects the
        // name.
        b"HELLO" | b"CLIENT" => {
            request.iter_mut().for_each(|word| word.retain(|byte| *byte != 0));
        }
        // One member of many is chosen at random.
        b"SPOP" if request.len() == 2 => request.push(b"1000000".to_vec()),
        // Valkey uses the smallest number instead of one that is too large.
        b"BITFIELD" => request.retain(|word| word != b"-9223372036854775808"),
        _ => {}
    }
}

/// A number in place of a time may expire within the run, on one server sooner than on the other:
/// such a time becomes a long one.
fn lengthen_times(request: &mut Request) {
    const LONGER: i64 = 100_000_000;
    let is_any =
        |word: &[u8], of: &[&str]| of.iter().any(|it| word.eq_ignore_ascii_case(it.as_bytes()));
    let begins_with_time =
        ["EXPIRE", "PEXPIRE", "SETEX", "PSETEX", "HEXPIRE", "HPEXPIRE", "RESTORE"];
    for at in 1..request.len() {
        let is_time = is_any(&request[at - 1], &["EX", "PX"])
            || (at == 2 && is_any(&request[0], &begins_with_time));
        let number = std::str::from_utf8(&request[at]).ok().and_then(|text| text.parse().ok());
        if let Some(number) = number.filter(|number| is_time && (1..LONGER).contains(number)) {
            request[at] = (number + LONGER).to_string().into_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_arm_is_reached_and_the_needed_ones_always() {
        let grammar = Grammar::parse("CMD (A|B X) [C|D] (E)...");
        let mut random = Random::from_seed(1);
        let made: BTreeSet<String> = (0..2000)
            .map(|_| {
                let words = grammar.request(&mut random);
                words
                    .iter()
                    .map(|word| String::from_utf8_lossy(word).to_uppercase() + " ")
                    .collect()
            })
            .collect();
        for whole in ["CMD A E ", "CMD B X E ", "CMD A E C ", "CMD B X E E D ", "CMD A E E E E "] {
            assert!(made.contains(whole), "{whole} is never made");
        }
    }

    #[test]
    fn no_time_ends_within_a_run() {
        for (spoiled, lengthened) in [
            ("GETEX k PX 1", "GETEX k PX 100000001"),
            ("set k ex px 7", "set k ex px 100000007"),
            ("PSETEX k 5 v", "PSETEX k 100000005 v"),
            ("SET k 1 PX 0", "SET k 1 PX 0"),
            ("GETEX k PXAT 1", "GETEX k PXAT 1"),
        ] {
            let words = |line: &str| -> Request {
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
            };
            let mut request = words(spoiled);
            lengthen_times(&mut request);
            assert_eq!(request, words(lengthened));
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let grammar = Grammar::parse("SET key value [EX seconds]");
        let many = |seed| {
            let mut random = Random::from_seed(seed);
            (0..50).map(|_| grammar.request(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(many(7), many(7));
        assert_ne!(many(7), many(8));
    }
}
