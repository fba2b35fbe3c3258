//! Types of one or two parameters: their words, errors and text form.
//!
//! Not here: numbers, yes/no and plain text (`kind`), and one of several words (`choices`).

use basalt_keyspace::EventClasses;

use super::kind::{INT, Kind, Stored, memory_bytes, only, with_unit};

/// A password: stored as bytes, never printed by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl Secret {
    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.is_set() { "\"(hidden)\"" } else { "\"\"" })
    }
}

impl Stored for Secret {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        self.0 = only(words)?.to_vec();
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        self.0.clone()
    }

    fn lines(&self, _: Kind) -> Vec<Vec<u8>> {
        vec![super::words::quoted(&self.0)]
    }
}

/// The options of the SHUTDOWN that a SIGINT or SIGTERM causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    pub save: bool,
    pub nosave: bool,
    pub now: bool,
    pub force: bool,
}

impl ShutdownOptions {
    const NAMES: &[&str] = &["default", "save", "nosave", "now", "force"];
    pub const KIND: Kind = Kind::SomeOf(Self::NAMES);
}

impl Stored for ShutdownOptions {
    fn assign(&mut self, kind: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        *self = Self::default();
        // No word at all is no valid option either; an unknown word has the same error.
        let words = if words.is_empty() { &[&b""[..]] } else { words };
        for word in words {
            match kind.choice(word)? {
                1 => self.save = true,
                2 => self.nosave = true,
                3 => self.now = true,
                4 => self.force = true,
                _ => {}
            }
        }
        if self.save && self.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        let set = [false, self.save, self.nosave, self.now, self.force];
        let names: Vec<&str> =
            Self::NAMES.iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        if names.is_empty() { b"default".to_vec() } else { names.join(" ").into_bytes() }
    }
}

/// Addresses to listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindAddresses(pub Vec<String>);

impl BindAddresses {
    pub const KIND: Kind = Kind::Form {
        form: "up to 16 addresses; `-` before one: no error if this machine does not have it",
        many: true,
    };
    const COUNT_MAX: usize = 16;

    /// Each address, with whether it is required (no `-` before it).
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|address| match address.strip_prefix('-') {
            Some(optional) => (optional, false),
            None => (address.as_str(), true),
        })
    }
}

impl Stored for BindAddresses {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        if words.len() > Self::COUNT_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        let words = if matches!(words, [[]]) { &[] } else { words };
        let addresses: Option<Vec<String>> = words.iter().map(|word| address(word)).collect();
        self.0 = addresses.ok_or("Failed to bind to specified addresses.")?;
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        self.0.join(" ").into_bytes()
    }
}

/// An address may be a name or have a zone, but no character that a configuration file would have
/// to quote.
fn address(word: &[u8]) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.:_*%/[]".contains(byte);
    let text = str::from_utf8(word).ok().filter(|_| word.iter().all(is_plain))?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Save after `seconds` when there were at least `changes` changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: u64,
    pub changes: u64,
}

/// The save points; none: saving is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl SavePoints {
    pub const KIND: Kind =
        Kind::Form { form: "pairs of `<seconds> <changes>`, or \"\" for none", many: true };
}

impl Stored for SavePoints {
    fn assign(&mut self, _: Kind, words: &[&[u8]], again: bool) -> Result<(), String> {
        let none = matches!(words, [[]]);
        if none || !again {
            self.0.clear();
        }
        let words = if none { &[] } else { words };
        let (pairs, odd) = words.as_chunks::<2>();
        let parse = |[seconds, changes]: &[&[u8]; 2]| {
            let point = SavePoint { seconds: c_integer(seconds)?, changes: c_integer(changes)? };
            (point.seconds >= 1).then_some(point)
        };
        let points: Option<Vec<SavePoint>> = pairs.iter().map(parse).collect();
        let points = points.filter(|_| odd.is_empty()).ok_or("Invalid save parameters")?;
        self.0.extend(points);
        Ok(())
    }

    fn show(&self, kind: Kind) -> Vec<u8> {
        if self.0.is_empty() { Vec::new() } else { self.lines(kind).join(&b" "[..]) }
    }

    fn lines(&self, _: Kind) -> Vec<Vec<u8>> {
        if self.0.is_empty() {
            return vec![b"\"\"".to_vec()];
        }
        self.0.iter().map(|p| format!("{} {}", p.seconds, p.changes).into_bytes()).collect()
    }
}

/// A number from 0 on as C's `strtoll` parses it: optional blanks and a plus sign before it,
/// nothing after it.
fn c_integer(word: &[u8]) -> Option<u64> {
    let text = str::from_utf8(word).ok()?.trim_ascii_start();
    let value: i64 = if word.is_empty() { 0 } else { text.parse().ok()? };
    value.try_into().ok()
}

/// When a client that does not read its replies is let go: at once above `hard_bytes`, after
/// `soft_seconds`, which fit C's `int`, above `soft_bytes`; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    pub const KIND: Kind = Kind::Form {
        form: "one or more of `<normal | replica | pubsub> <hard bytes> <soft bytes> \
               <soft seconds>`",
        many: true,
    };

    fn class(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"replica" | b"slave" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }

    fn named(&self, replica: &'static str) -> [(&'static str, OutputLimit); 3] {
        [("normal", self.normal), (replica, self.replica), ("pubsub", self.pubsub)]
    }
}

impl Stored for OutputLimits {
    /// Only the named classes change.
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        let (limits, odd) = words.as_chunks::<4>();
        if !odd.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for [class, hard, soft, seconds] in limits {
            let limit = self
                .class(class)
                .ok_or("Invalid client class specified in buffer limit configuration.")?;
            let parsed = || {
                Some(OutputLimit {
                    hard_bytes: memory_bytes(hard)?,
                    soft_bytes: memory_bytes(soft)?,
                    soft_seconds: c_integer(seconds).filter(|seconds| *seconds <= INT as u64)?,
                })
            };
            *limit = parsed().ok_or(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            )?;
        }
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        let classes = self.named("slave").map(|(class, limit)| {
            format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        });
        classes.join(" ").into_bytes()
    }

    fn lines(&self, _: Kind) -> Vec<Vec<u8>> {
        let classes = self.named("replica").map(|(class, limit)| {
            let (hard, soft) =
                (with_unit(limit.hard_bytes.into()), with_unit(limit.soft_bytes.into()));
            format!("{class} {hard} {soft} {}", limit.soft_seconds).into_bytes()
        });
        classes.into()
    }
}

/// The published keyspace events: one bit per character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceEvents(u16);

impl KeyspaceEvents {
    pub const KEYSPACE: Self = Self::of(b'K');
    pub const KEYEVENT: Self = Self::of(b'E');
    pub const GENERIC: Self = Self::of(b'g');
    pub const STRING: Self = Self::of(b'$');
    pub const LIST: Self = Self::of(b'l');
    pub const SET: Self = Self::of(b's');
    pub const HASH: Self = Self::of(b'h');
    pub const ZSET: Self = Self::of(b'z');
    pub const EXPIRED: Self = Self::of(b'x');
    pub const EVICTED: Self = Self::of(b'e');
    pub const STREAM: Self = Self::of(b't');
    pub const MODULE: Self = Self::of(b'd');
    pub const NEW_KEY: Self = Self::of(b'n');
    pub const KEY_MISS: Self = Self::of(b'm');
    pub const OVERWRITTEN: Self = Self::of(b'o');
    pub const TYPE_CHANGED: Self = Self::of(b'c');

    pub const KIND: Kind = Kind::Form {
        form: "characters of `Ag$lshzxeKEtmdnoc`, or \"\" for none (A is g$lshzxetd)",
        many: false,
    };

    /// In the order in which they are shown; `A` means the first `CLASS_COUNT`.
    const CHARACTERS: &[u8; 16] = b"g$lshzxetdnKEmoc";
    const CLASS_COUNT: usize = 10;
    const ALL_CLASSES: Self = Self((1 << Self::CLASS_COUNT) - 1);

    const fn of(character: u8) -> Self {
        let mut index = 0;
        while Self::CHARACTERS[index] != character {
            index += 1;
        }
        Self(1 << index)
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The classes, without the channels that they go to.
    pub fn classes(self) -> EventClasses {
        let characters: Vec<u8> =
            self.characters().filter(|character| !b"KE".contains(character)).collect();
        EventClasses::parse(&characters).expect("the keyspace knows the same characters")
    }

    /// Whether all of `others` are on.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    fn characters(self) -> impl Iterator<Item = u8> {
        Self::CHARACTERS.iter().copied().filter(move |&character| self.has(Self::of(character)))
    }
}

impl Stored for KeyspaceEvents {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        *self = Self(0);
        for &character in only(words)? {
            let flags = match character {
                b'A' => Self::ALL_CLASSES,
                _ if Self::CHARACTERS.contains(&character) => Self::of(character),
                _ => {
                    let refusal = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
                    return Err(refusal.into());
                }
            };
            self.0 |= flags.0;
        }
        Ok(())
    }

    /// As in Redis, `n` is left out next to `A` (`CONFIG SET notify-keyspace-events An`, then GET).
    fn show(&self, _: Kind) -> Vec<u8> {
        if !self.has(Self::ALL_CLASSES) {
            return self.characters().collect();
        }
        let others = Self(self.0 & !(Self::ALL_CLASSES.0 | Self::NEW_KEY.0));
        std::iter::once(b'A').chain(others.characters()).collect()
    }

    fn lines(&self, _: Kind) -> Vec<Vec<u8>> {
        let all: Vec<u8> = self.characters().collect();
        vec![super::words::quoted(&all)]
    }
}

/// Percentiles from 0 to 100.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Percentiles {
    pub const KIND: Kind =
        Kind::Form { form: "numbers from 0 to 100, or \"\" for none", many: true };
}

impl Stored for Percentiles {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        self.0.clear();
        let words = if matches!(words, [[]]) { &[] } else { words };
        for word in words {
            let parsed = str::from_utf8(word).ok().and_then(|text| text.parse::<f64>().ok());
            let percentile = parsed
                .filter(|value| !value.is_nan())
                .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&percentile) {
                return Err("latency-tracking-info-percentiles parameters should sit between \
                            [0.0,100.0]"
                    .into());
            }
            // Stored as it is shown: six digits, and no minus sign before zero.
            self.0.push((percentile.abs() * 1e6).round() / 1e6);
        }
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        let shown = self.0.iter().map(|percentile| {
            let digits = format!("{percentile:.6}");
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        });
        shown.collect::<Vec<_>>().join(" ").into_bytes()
    }
}

/// `oom_score_adj` of a primary, a replica and a saving process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomScores(pub [i32; 3]);

impl OomScores {
    pub const KIND: Kind = Kind::Form { form: "three integers, -2000 to 2000", many: true };
}

impl Stored for OomScores {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        let words: &[&[u8]; 3] = words.try_into().map_err(|_| "wrong number of arguments")?;
        for (score, word) in self.0.iter_mut().zip(words) {
            let parsed = str::from_utf8(word).ok().and_then(|text| text.parse::<i32>().ok());
            *score = parsed
                .filter(|value| (-2000..=2000).contains(value))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        self.0.map(|score| score.to_string()).join(" ").into_bytes()
    }
}

/// The primary to replicate from; `None`: this is a primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primary(pub Option<(String, u16)>);

impl Primary {
    pub const KIND: Kind = Kind::Form { form: "`<host> <port>`, or `no one`", many: true };
}

impl Stored for Primary {
    fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        let [host, port] = words else {
            return Err("wrong number of arguments".into());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.0 = None;
            return Ok(());
        }
        let host = str::from_utf8(host).map_err(|_| "Invalid master host")?;
        let port = c_integer(port).and_then(|port| port.try_into().ok());
        self.0 = Some((host.into(), port.ok_or("Invalid master port")?));
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        match &self.0 {
            Some((host, port)) => format!("{host} {port}").into_bytes(),
            None => Vec::new(),
        }
    }

    fn lines(&self, kind: Kind) -> Vec<Vec<u8>> {
        vec![if self.0.is_some() { self.show(kind) } else { b"no one".to_vec() }]
    }
}

/// An amount of memory: bytes, or a share of another amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    Bytes(u64),
    Percent(u8),
}

impl Default for MemoryShare {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl MemoryShare {
    /// The bytes where 100 % are `whole`.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (u128::from(whole) * u128::from(percent) / 100) as u64,
        }
    }

    /// Whether it is a limit at all.
    pub fn is_set(self) -> bool {
        self != Self::Bytes(0)
    }
}

impl Stored for MemoryShare {
    fn assign(&mut self, kind: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
        let Kind::MemoryOrPercent { max, .. } = kind else {
            panic!("a field that holds a share of memory stands in a row of kind {kind:?}");
        };
        let word = only(words)?;
        if let Some(bytes) = memory_bytes(word) {
            if bytes > max {
                return Err(format!("argument must be between -100 and {max} inclusive"));
            }
            *self = Self::Bytes(bytes);
            return Ok(());
        }
        let percent: u64 = word
            .strip_suffix(b"%")
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| str::from_utf8(digits).ok()?.parse().ok())
            .ok_or("argument must be a memory or percent value")?;
        match percent {
            // As in Redis, 0 percent is 0 bytes.
            0 => *self = Self::Bytes(0),
            1..=100 => *self = Self::Percent(percent as u8),
            _ => return Err("percentage argument must be less or equal to 100".into()),
        }
        Ok(())
    }

    fn show(&self, _: Kind) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_string().into_bytes(),
            Self::Percent(percent) => format!("{percent}%").into_bytes(),
        }
    }

    fn lines(&self, kind: Kind) -> Vec<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => vec![with_unit((*bytes).into()).into_bytes()],
            Self::Percent(_) => vec![self.show(kind)],
        }
    }
}
