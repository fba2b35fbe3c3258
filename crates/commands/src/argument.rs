//! Argument: the arguments of a command for COMMAND DOCS and for redis-cli's hints.
//!
//! Not here: parsing (`args`); a test checks that both have the same words.

/// One argument, or a group of several.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub name: &'static str,
    /// The text in redis-cli's hints.
    pub display: &'static str,
    pub kind: ArgumentKind,
    /// The word before it, or the word that it is.
    pub token: &'static str,
    pub is_optional: bool,
    /// It may be repeated.
    pub is_multiple: bool,
    /// If it may be repeated: each time with its word.
    pub repeats_token: bool,
    pub arguments: &'static [Self],
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A key, of the key specification with this index.
    Key(u8),
    String,
    Integer,
    Double,
    Pattern,
    UnixTime,
    PureToken,
    /// One of `arguments`.
    OneOf,
    /// All of `arguments`, in this order.
    Block,
}

impl ArgumentKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

impl Argument {
    const fn new(name: &'static str, kind: ArgumentKind) -> Self {
        Self {
            name,
            display: name,
            kind,
            token: "",
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
            arguments: &[],
        }
    }

    /// The key of the first specification.
    pub(crate) const KEY: Self = Self::new("key", ArgumentKind::Key(0));
    /// A key, repeated.
    pub(crate) const KEYS: Self = Self::KEY.multiple();

    /// The expiry options: those of SET, and those of GETEX.
    pub(crate) const EXPIRY_OR_KEEPTTL: Self =
        Self::expiry(&Self::expiry_or(Self::word("keepttl", "KEEPTTL")));
    pub(crate) const EXPIRY_OR_PERSIST: Self =
        Self::expiry(&Self::expiry_or(Self::word("persist", "PERSIST")));

    const fn expiry(choices: &'static [Self]) -> Self {
        Self::one_of("expiration", choices).optional()
    }

    const fn expiry_or(otherwise: Self) -> [Self; 5] {
        [
            Self::integer("seconds").after("EX"),
            Self::integer("milliseconds").after("PX"),
            Self::unix_time("unix-time-seconds").after("EXAT"),
            Self::unix_time("unix-time-milliseconds").after("PXAT"),
            otherwise,
        ]
    }

    pub(crate) const fn key(name: &'static str, spec: u8) -> Self {
        Self::new(name, ArgumentKind::Key(spec))
    }

    pub(crate) const fn string(name: &'static str) -> Self {
        Self::new(name, ArgumentKind::String)
    }

    pub(crate) const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgumentKind::Integer)
    }

    pub(crate) const fn double(name: &'static str) -> Self {
        Self::new(name, ArgumentKind::Double)
    }

    pub(crate) const fn pattern(name: &'static str) -> Self {
        Self::new(name, ArgumentKind::Pattern)
    }

    pub(crate) const fn unix_time(name: &'static str) -> Self {
        Self::new(name, ArgumentKind::UnixTime)
    }

    /// A word without a value.
    pub(crate) const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgumentKind::PureToken).after(token)
    }

    pub(crate) const fn one_of(name: &'static str, arguments: &'static [Self]) -> Self {
        Self { arguments, ..Self::new(name, ArgumentKind::OneOf) }
    }

    pub(crate) const fn block(name: &'static str, arguments: &'static [Self]) -> Self {
        Self { arguments, ..Self::new(name, ArgumentKind::Block) }
    }

    /// Preceded by a word.
    pub(crate) const fn after(self, token: &'static str) -> Self {
        Self { token, ..self }
    }

    pub(crate) const fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    pub(crate) const fn multiple(self) -> Self {
        Self { is_multiple: true, ..self }
    }

    pub(crate) const fn repeating_token(self) -> Self {
        Self { is_multiple: true, repeats_token: true, ..self }
    }

    pub(crate) const fn shown_as(self, display: &'static str) -> Self {
        Self { display, ..self }
    }
}
