//! Kinds of parameters: valid values, errors, and text form.
//!
//! A `Kind` is the rule of one row of the table (a range, the allowed words, a described format);
//! the types of `Config`'s fields implement `Stored`, which converts words to the value and the
//! value to text. The texts of errors are Redis', since clients and its own tests read them.
//!
//! Not here: the types of single parameters (`types`), quoting (`words`).

/// The rule for a parameter's value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    YesNo,
    Integer {
        min: i64,
        max: i64,
    },
    /// Any integer from 0 on is accepted and clamped to the range, as Redis does with `hz`.
    Clamped {
        min: i64,
        max: i64,
    },
    Octal {
        max: u32,
    },
    /// Bytes, with an optional unit.
    Memory {
        min: u64,
        max: u64,
    },
    /// Bytes, or a share of something such as `5%`.
    MemoryOrPercent {
        max: u64,
        /// What 100 % are.
        of: &'static str,
    },
    OneOf(&'static [&'static str]),
    /// One or more of these words.
    SomeOf(&'static [&'static str]),
    Text(TextRule),
    Password,
    /// A format of its own, described in words; `many` if it has several words.
    Form {
        form: &'static str,
        many: bool,
    },
}

/// A check of a text: `Err` has the reason.
pub(super) type TextRule = fn(&str) -> Result<(), &'static str>;

/// C's `INT_MAX`, the maximum of most of Redis' parameters.
pub(super) const INT: i64 = i32::MAX as i64;
/// C's `UINT_MAX`.
pub(super) const UINT: i64 = u32::MAX as i64;
/// C's `LONG_MAX`.
pub(super) const LONG: i64 = i64::MAX;
/// `LONG_MAX` as a number of bytes.
pub(super) const LONG_BYTES: u64 = i64::MAX as u64;

pub(super) const ANY_TEXT: Kind = Kind::Text(|_| Ok(()));
pub(super) const TCP_PORT: Kind = integer(0, 65535);

pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

pub(super) const fn memory(min: u64, max: u64) -> Kind {
    Kind::Memory { min, max }
}

impl Kind {
    /// Whether a line of a file may have several words for it; the others have exactly one.
    pub(super) fn takes_many(self) -> bool {
        matches!(self, Kind::SomeOf(_) | Kind::Form { many: true, .. })
    }

    /// The valid values, for the reference and the comments of the configuration file.
    pub fn describe(self) -> String {
        match self {
            Kind::YesNo => "yes or no".into(),
            Kind::Integer { min, max } if max >= INT => match min {
                i64::MIN..-1 => "an integer".into(),
                _ => format!("an integer, {min} or more"),
            },
            Kind::Integer { min, max } | Kind::Clamped { min, max } => {
                format!("an integer, {min} to {max}")
            }
            Kind::Octal { max } => format!("an octal number, 0 to {max:o}"),
            Kind::Memory { min: 0, .. } => "bytes, or with a unit (k, kb, m, mb, g, gb)".into(),
            Kind::Memory { min, max } => {
                let least = with_unit(min.into());
                let range = match max {
                    LONG_BYTES.. => format!("{least} or more"),
                    _ => format!("{least} to {}", with_unit(max.into())),
                };
                format!("bytes, or with a unit (k, kb, m, mb, g, gb), {range}")
            }
            Kind::MemoryOrPercent { of, .. } => {
                format!("bytes, or with a unit (k, kb, m, mb, g, gb), or a percentage of {of}")
            }
            Kind::OneOf(names) => format!("one of {}", names.join(", ")),
            Kind::SomeOf(names) => format!("one or more of {}", names.join(", ")),
            Kind::Text(_) => "text".into(),
            Kind::Password => "a password".into(),
            Kind::Form { form, .. } => form.into(),
        }
    }

    /// The number of a word.
    fn number(self, word: &[u8]) -> Result<i128, String> {
        match self {
            Kind::Integer { min, max } => within(strict_integer(word)?.into(), min, max),
            Kind::Clamped { min, max } => {
                let value = within(strict_integer(word)?.into(), 0, INT)?;
                Ok(value.clamp(min.into(), max.into()))
            }
            Kind::Memory { min, max } => {
                let bytes = memory_bytes(word).ok_or("argument must be a memory value")?;
                within(bytes.into(), min, max)
            }
            Kind::Octal { max } => {
                let value = octal(word).ok_or("argument couldn't be parsed as an octal number")?;
                if value < 0 || value > max.into() {
                    return Err(format!("argument must be between 0 and {max:o} inclusive"));
                }
                Ok(value.into())
            }
            _ => panic!("a field that holds a number stands in a row of kind {self:?}"),
        }
    }

    /// The index of a word among its names.
    pub(super) fn choice(self, word: &[u8]) -> Result<usize, String> {
        let (Kind::OneOf(names) | Kind::SomeOf(names)) = self else {
            panic!("a field that holds a choice stands in a row of kind {self:?}");
        };
        names.iter().position(|name| word.eq_ignore_ascii_case(name.as_bytes())).ok_or_else(|| {
            format!("argument(s) must be one of the following: {}", names.join(", "))
        })
    }
}

/// The type of a field of `Config`.
pub(super) trait Stored: Default {
    /// Parses the words of a user, or returns the reason why they are invalid (then the value must
    /// not be used).
    ///
    /// `again` is true if the same file has named the parameter before: some add up.
    fn assign(&mut self, kind: Kind, words: &[&[u8]], again: bool) -> Result<(), String>;

    /// The value as CONFIG GET prints it.
    fn show(&self, kind: Kind) -> Vec<u8>;

    /// The value as lines of a configuration file, without the parameter's name.
    fn lines(&self, kind: Kind) -> Vec<Vec<u8>> {
        let shown = self.show(kind);
        vec![if shown.is_empty() { b"\"\"".to_vec() } else { shown }]
    }
}

/// The only word of a parameter with one word.
pub(super) fn only<'a>(words: &[&'a [u8]]) -> Result<&'a [u8], String> {
    match words {
        [word] => Ok(word),
        _ => Err("wrong number of arguments".into()),
    }
}

impl Stored for bool {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        let word = only(words)?;
        *self = if word.eq_ignore_ascii_case(b"yes") {
            true
        } else if word.eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

macro_rules! stored_numbers {
    ($($number:ty)*) => { $(
        impl Stored for $number {
            fn assign(&mut self, kind: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
                let value = kind.number(only(words)?)?;
                *self = value.try_into().expect("because the row's range fits the field's type");
                Ok(())
            }

            fn show(&self, kind: Kind) -> Vec<u8> {
                match kind {
                    Kind::Octal { .. } => format!("{self:o}").into_bytes(),
                    _ => self.to_string().into_bytes(),
                }
            }

            fn lines(&self, kind: Kind) -> Vec<Vec<u8>> {
                match kind {
                    Kind::Memory { .. } => vec![with_unit((*self).into()).into_bytes()],
                    _ => vec![self.show(kind)],
                }
            }
        }
    )* };
}

stored_numbers!(u8 u16 u32 u64 i32 i64);

impl Stored for String {
    fn assign(&mut self, kind: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        let Kind::Text(rule) = kind else {
            panic!("a field that holds text stands in a row of kind {kind:?}");
        };
        let word = only(words)?;
        let text = str::from_utf8(word).map_err(|_| "argument must be valid UTF-8")?;
        if text.contains('\0') {
            return Err("argument must not contain a NUL byte".into());
        }
        rule(text)?;
        *self = text.into();
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        self.clone().into_bytes()
    }

    fn lines(&self, _: Kind) -> Vec<Vec<u8>> {
        vec![super::words::quoted(self.as_bytes())]
    }
}

fn within(
    value: i128,
    min: impl Into<i128> + Copy,
    max: impl Into<i128> + Copy,
) -> Result<i128, String> {
    let (min, max) = (min.into(), max.into());
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

/// An integer in canonical form: no plus sign, no leading zero, no blank.
fn strict_integer(word: &[u8]) -> Result<i64, String> {
    let refusal = || String::from("argument couldn't be parsed into an integer");
    let value: i64 = str::from_utf8(word).ok().and_then(|w| w.parse().ok()).ok_or_else(refusal)?;
    if value.to_string().as_bytes() == word { Ok(value) } else { Err(refusal()) }
}

/// Digits and an optional unit; no digit at all counts as 0, as in Redis.
///
/// A number that is too large is clamped; Redis does that too, but lets the multiplication by the
/// unit wrap.
pub(super) fn memory_bytes(word: &[u8]) -> Option<u64> {
    let digit_count = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = word.split_at(digit_count);
    let factor = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = digits.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(number.saturating_mul(factor))
}

/// C's `strtoll` in base 8 over the whole word, so an empty word is 0.
fn octal(word: &[u8]) -> Option<i64> {
    let text = str::from_utf8(word).ok()?.trim_ascii_start();
    if word.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok() }
}

/// Bytes in the largest unit that divides them.
pub(super) fn with_unit(bytes: i128) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes % (1 << shift) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
