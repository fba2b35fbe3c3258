//! Args: the parsing of options and numbers.
//!
//! A command declares its options in a [`Grammar`], and parses all of them before it acts:
//!
//! ```text
//! SET k v  EX 10 NX     Grammar::parse ──► (Ex, [10]) (Nx, []) ──► handler
//! ```
//!
//! A word that is not in the grammar, one without its values, and two words of one exclusive group
//! are a syntax error. The same word twice is allowed unless it is declared unique: as in Redis,
//! the last one counts.
//!
//! Not here: the meaning of options, and the few commands whose errors differ.

use basalt_keyspace::DatabaseId;
use basalt_resp::{LongFloat, parse_i64};

use crate::error::CommandError;

/// An option: its word in lower case, its meaning, the number of its values, and its exclusive
/// group. Of a group only one word may be given; group 0 is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<T> {
    text: &'static str,
    option: T,
    value_count: usize,
    choice: usize,
    is_once: bool,
}

/// A word without a value.
pub(crate) const fn flag<T>(text: &'static str, option: T) -> Word<T> {
    Word { text, option, value_count: 0, choice: 0, is_once: false }
}

/// A word with a value.
pub(crate) const fn value<T>(text: &'static str, option: T) -> Word<T> {
    Word { text, option, value_count: 1, choice: 0, is_once: false }
}

/// A word with two values.
pub(crate) const fn two_values<T>(text: &'static str, option: T) -> Word<T> {
    Word { text, option, value_count: 2, choice: 0, is_once: false }
}

/// A word with three values.
pub(crate) const fn three_values<T>(text: &'static str, option: T) -> Word<T> {
    Word { text, option, value_count: 3, choice: 0, is_once: false }
}

impl<T: Copy> Word<T> {
    /// Adds it to an exclusive group: 1, 2 …
    pub(crate) const fn of_choice(self, choice: usize) -> Self {
        assert!(choice > 0 && choice < CHOICES, "few choices are told apart");
        Self { choice, ..self }
    }

    /// Makes it a syntax error to give it, or another word of its group, twice.
    pub(crate) const fn once(self) -> Self {
        assert!(self.choice > 0, "only what is of a choice is remembered");
        Self { is_once: true, ..self }
    }
}

const CHOICES: usize = 7;

/// The options of a command.
#[derive(Debug)]
pub(crate) struct Grammar<T: 'static>(pub &'static [Word<T>]);

impl<T: Copy> Grammar<T> {
    /// Parses `args`: the options, each with its values, or a syntax error.
    #[inline]
    pub(crate) fn parse<'a>(&self, args: &'a [&'a [u8]]) -> Options<'a, T> {
        Options { words: self.0, args, seen: [None; CHOICES] }
    }
}

/// The given options, in their order.
#[derive(Debug)]
pub(crate) struct Options<'a, T: 'static> {
    words: &'static [Word<T>],
    args: &'a [&'a [u8]],
    /// The given word of each group.
    seen: [Option<&'static str>; CHOICES],
}

impl<'a, T: Copy> Iterator for Options<'a, T> {
    type Item = Result<(T, &'a [&'a [u8]]), CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (given, rest) = self.args.split_first()?;
        let found = self.words.iter().find(|word| given.eq_ignore_ascii_case(word.text.as_bytes()));
        let Some(word) = found.filter(|word| rest.len() >= word.value_count) else {
            self.args = &[];
            return Some(Err(CommandError::SYNTAX));
        };
        let (values, rest) = rest.split_at(word.value_count);
        self.args = rest;
        if word.choice > 0 {
            let earlier = self.seen[word.choice].replace(word.text);
            if earlier.is_some_and(|earlier| earlier != word.text || word.is_once) {
                self.args = &[];
                return Some(Err(CommandError::SYNTAX));
            }
        }
        Some(Ok((word.option, values)))
    }
}

/// An integer of 64 bits.
#[inline]
pub(crate) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NOT_INTEGER)
}

/// A number of elements.
pub(crate) fn positive(text: &[u8]) -> Result<u64, CommandError> {
    let number = integer(text).ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::text("ERR value is out of range, must be positive"))
}

/// A timeout in seconds as milliseconds; `None` for 0, which means no timeout.
pub(crate) fn timeout_ms(text: &[u8]) -> Result<Option<u64>, CommandError> {
    /// The largest timeout that does not overflow when it is added to the current time, for times
    /// up to 2039.
    const MS_MAX: i64 = i64::MAX - (1 << 41);
    let no_float = CommandError::text("ERR timeout is not a float or out of range");
    let seconds = LongFloat::parse(text).ok_or(no_float)?;
    match seconds.thousandfold_ceil() {
        Some(0) => Ok(None),
        Some(ms @ 1..=MS_MAX) => Ok(Some(ms.unsigned_abs())),
        _ if seconds.is_negative() => Err(CommandError::text("ERR timeout is negative")),
        _ => Err(CommandError::text("ERR timeout is out of range")),
    }
}

/// An integer of 32 bits.
pub(crate) fn small_integer(text: &[u8]) -> Result<i32, CommandError> {
    integer(text)?.try_into().map_err(|_| {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        CommandError::text(text)
    })
}

/// A SELECT number below `count`.
pub(crate) fn database(text: &[u8], count: usize) -> Result<DatabaseId, CommandError> {
    let index = small_integer(text)?;
    u16::try_from(index)
        .ok()
        .filter(|index| usize::from(*index) < count)
        .map(DatabaseId)
        .ok_or(CommandError::DATABASE_OUT_OF_RANGE)
}

/// The form of an expiry argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
}

impl Expiry {
    /// The moment in milliseconds, which may be in the past; `None` if it overflows 64 bits.
    #[inline]
    pub(crate) fn moment(self, value: i64, now_ms: u64) -> Option<i64> {
        let ms = match self {
            Self::Seconds | Self::AtSeconds => value.checked_mul(1000)?,
            Self::Milliseconds | Self::AtMilliseconds => value,
        };
        match self {
            Self::Seconds | Self::Milliseconds => ms.checked_add_unsigned(now_ms),
            Self::AtSeconds | Self::AtMilliseconds => Some(ms),
        }
    }

    /// As [`Expiry::moment`], for commands that reject moments before 1970 and times to live of 0
    /// or less.
    pub(crate) fn positive_moment(
        self,
        text: &[u8],
        now_ms: u64,
        command: &str,
    ) -> Result<u64, CommandError> {
        let value = integer(text)?;
        let moment = (value > 0).then(|| self.moment(value, now_ms)).flatten();
        moment
            .and_then(|moment| u64::try_from(moment).ok())
            .ok_or_else(|| invalid_expire_time(command))
    }
}

pub(crate) fn invalid_expire_time(command: &str) -> CommandError {
    CommandError::new(format!("ERR invalid expire time in '{command}' command"))
}

/// For tests: COMMAND DOCS has exactly the words of a grammar.
#[cfg(test)]
pub(crate) fn assert_documented<T: Copy>(grammar: &Grammar<T>, row: &crate::Command) {
    fn tokens(arguments: &[crate::Argument], found: &mut Vec<String>) {
        for argument in arguments {
            if !argument.token.is_empty() {
                found.push(argument.token.to_lowercase());
            }
            // The alternatives after a word are its values.
            if argument.token.is_empty() {
                tokens(argument.arguments, found);
            }
        }
    }
    let mut documented = Vec::new();
    for option in row.arguments.iter().filter(|argument| argument.is_optional) {
        tokens(std::slice::from_ref(option), &mut documented);
    }
    let mut read: Vec<String> = grammar.0.iter().map(|word| word.text.to_owned()).collect();
    documented.sort();
    read.sort();
    assert_eq!(read, documented, "{}", row.name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fruit {
        Red,
        Green,
        Weight,
        Pair,
    }

    const FRUIT: Grammar<Fruit> = Grammar(&[
        flag("red", Fruit::Red).of_choice(1),
        flag("green", Fruit::Green).of_choice(1).once(),
        value("weight", Fruit::Weight),
        two_values("pair", Fruit::Pair),
    ]);

    fn parse(line: &str) -> Result<Vec<(Fruit, String)>, CommandError> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let found: Result<Vec<_>, _> = FRUIT.parse(&args).collect();
        Ok(found?
            .into_iter()
            .map(|(fruit, values)| (fruit, String::from_utf8(values.join(&b'+')).unwrap()))
            .collect())
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(
            parse("WEIGHT 5 rEd pair red green Weight 6"),
            Ok(vec![
                (Fruit::Weight, "5".into()),
                (Fruit::Red, String::new()),
                (Fruit::Pair, "red+green".into()),
                (Fruit::Weight, "6".into()),
            ])
        );
        assert!(parse("red red").is_ok());
    }

    #[test]
    fn what_does_not_fit_is_a_syntax_error() {
        for line in
            ["blue", "red green", "green green", "weight", "red weight", "pair one", "re", "reds"]
        {
            assert_eq!(parse(line), Err(CommandError::SYNTAX), "{line}");
        }
    }

    #[test]
    fn timeouts_are_rounded_up_and_bounded() {
        let refusal = |text: &[u8]| timeout_ms(text).expect_err("it is refused").to_string();
        assert_eq!(timeout_ms(b"0"), Ok(None));
        assert_eq!(timeout_ms(b"0.0001"), Ok(Some(1)));
        assert_eq!(timeout_ms(b"1.5"), Ok(Some(1500)));
        assert_eq!(timeout_ms(b"0x10"), Ok(Some(16_000)));
        assert_eq!(timeout_ms(b"1909269881950774"), Ok(Some(1_909_269_881_950_774_000)));
        for text in
            ["1e500", "inf", "9223372036854774", "99999999999999999999", "9223372036854775807"]
        {
            assert_eq!(refusal(text.as_bytes()), "ERR timeout is out of range", "{text}");
        }
        assert_eq!(refusal(b"-0.01"), "ERR timeout is negative");
        for text in ["nan", "x", "", " 1"] {
            assert_eq!(refusal(text.as_bytes()), "ERR timeout is not a float or out of range");
        }
    }

    #[test]
    fn moments_overflow_where_redis_says() {
        let now_ms = 1_000_000;
        assert_eq!(Expiry::Seconds.moment(10, now_ms), Some(1_010_000));
        assert_eq!(Expiry::Seconds.moment(-2000, now_ms), Some(-1_000_000));
        assert_eq!(Expiry::AtSeconds.moment(i64::MAX / 1000, now_ms), Some(i64::MAX / 1000 * 1000));
        assert_eq!(Expiry::AtSeconds.moment(i64::MAX / 1000 + 1, now_ms), None);
        assert_eq!(Expiry::Seconds.moment(i64::MAX / 1000, now_ms), None);
        assert_eq!(Expiry::Milliseconds.moment(i64::MAX - 1_000_000, now_ms), Some(i64::MAX));
        assert_eq!(Expiry::Milliseconds.moment(i64::MAX - 999_999, now_ms), None);
        let positive = |text: &[u8]| Expiry::Seconds.positive_moment(text, now_ms, "set");
        assert_eq!(positive(b"1"), Ok(1_001_000));
        assert_eq!(positive(b"0"), Err(invalid_expire_time("set")));
        assert_eq!(positive(b"1.5"), Err(CommandError::NOT_INTEGER));
    }
}
