//! The first line of scripts and libraries: `#!lua name=… flags=…`.

use std::fmt;

use basalt_resp::split_words;

/// What a script or function declares of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    /// `no-writes`: it only reads.
    pub no_writes: bool,
    /// `allow-oom`: it may run when memory is short.
    pub allow_oom: bool,
    /// `allow-stale`: it may run on a replica that lost its master.
    pub allow_stale: bool,
    /// `no-cluster`: it may not run in a cluster.
    pub no_cluster: bool,
    /// `allow-cross-slot-keys`.
    pub allow_cross_slot_keys: bool,
    /// There was no shebang: an old script, about which nothing is known.
    pub is_undeclared: bool,
}

impl ScriptFlags {
    /// Sets the flag with this name; false if there is none.
    pub fn set(&mut self, name: &[u8]) -> bool {
        let flag = match name {
            b"no-writes" => &mut self.no_writes,
            b"allow-oom" => &mut self.allow_oom,
            b"allow-stale" => &mut self.allow_stale,
            b"no-cluster" => &mut self.no_cluster,
            b"allow-cross-slot-keys" => &mut self.allow_cross_slot_keys,
            _ => return false,
        };
        *flag = true;
        true
    }

    /// The names of the flags that are set, as FUNCTION LIST shows them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        [
            (self.no_writes, "no-writes"),
            (self.allow_oom, "allow-oom"),
            (self.allow_stale, "allow-stale"),
            (self.no_cluster, "no-cluster"),
            (self.allow_cross_slot_keys, "allow-cross-slot-keys"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// A parsed first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shebang {
    /// `name=` of a library.
    pub name: Option<Vec<u8>>,
    pub flags: ScriptFlags,
    /// Bytes of the source that are not Lua: the line without its end.
    pub len: usize,
}

/// What a library's or function's name may be.
pub(crate) const NAME_RULE: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one \
     character long";

pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The first line of a library of functions: `#!lua name=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryLine {
    pub name: Vec<u8>,
    /// Bytes of the source that are not Lua: the line without its end.
    pub len: usize,
}

impl LibraryLine {
    /// # Errors
    /// The text of the error, without its code, as in Redis' `functions.c`.
    pub fn parse(source: &[u8]) -> Result<Self, String> {
        if !source.starts_with(b"#!") {
            return Err("Missing library metadata".to_owned());
        }
        let invalid = || "Invalid library metadata".to_owned();
        let len = source.iter().position(|&byte| byte == b'\n').ok_or_else(invalid)?;
        let words = split_words(&source[..len]).ok_or_else(invalid)?;
        let mut name = None;
        for word in words.iter().skip(1) {
            let Some(value) = word.strip_prefix(b"name=") else {
                let word = String::from_utf8_lossy(word);
                return Err(format!("Invalid metadata value given: {word}"));
            };
            if name.replace(value.to_vec()).is_some() {
                return Err(ShebangError::RepeatedName.to_string());
            }
        }
        let name = name.ok_or("Library name was not given")?;
        if !is_name(&name) {
            return Err(NAME_RULE.to_owned());
        }
        let engine = words.first().map_or(b"".as_slice(), |word| &word[2..]);
        if !engine.eq_ignore_ascii_case(b"lua") {
            return Err(format!("Engine '{}' not found", String::from_utf8_lossy(engine)));
        }
        Ok(Self { name, len })
    }
}

/// Why a first line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShebangError {
    /// `#!` without an end of the line.
    Unfinished,
    Engine(Vec<u8>),
    Flag(Vec<u8>),
    Option(Vec<u8>),
    RepeatedName,
}

impl fmt::Display for ShebangError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match self {
            Self::Unfinished => write!(f, "Invalid script shebang"),
            Self::Engine(name) => {
                write!(f, "Unexpected engine in script shebang: #!{}", quoted(name))
            }
            Self::Flag(name) => write!(f, "Unexpected flag in script shebang: {}", quoted(name)),
            Self::Option(text) => write!(f, "Unknown lua shebang option: {}", quoted(text)),
            Self::RepeatedName => {
                write!(f, "Invalid metadata value, name argument was given multiple times")
            }
        }
    }
}

impl Shebang {
    /// The shebang of a source, or `None` if it has none.
    ///
    /// # Errors
    /// If there is one that is not as it must be.
    pub fn parse(source: &[u8]) -> Result<Option<Self>, ShebangError> {
        let Some(rest) = source.strip_prefix(b"#!") else { return Ok(None) };
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(ShebangError::Unfinished)?;
        let mut words =
            rest[..end].split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let engine = words.next().unwrap_or_default();
        if !engine.eq_ignore_ascii_case(b"lua") {
            return Err(ShebangError::Engine(engine.to_vec()));
        }
        let mut shebang = Self { name: None, flags: ScriptFlags::default(), len: end + 2 };
        for word in words {
            if let Some(flags) = word.strip_prefix(b"flags=") {
                for flag in flags.split(|&byte| byte == b',').filter(|flag| !flag.is_empty()) {
                    if !shebang.flags.set(flag) {
                        return Err(ShebangError::Flag(flag.to_vec()));
                    }
                }
            } else if let Some(name) = word.strip_prefix(b"name=") {
                if shebang.name.replace(name.to_vec()).is_some() {
                    return Err(ShebangError::RepeatedName);
                }
            } else {
                return Err(ShebangError::Option(word.to_vec()));
            }
        }
        Ok(Some(shebang))
    }
}

#[cfg(test)]
mod tests {
    use super::{LibraryLine, Shebang, ShebangError};

    #[test]
    fn a_library_has_a_name_and_an_engine() {
        let line = LibraryLine::parse(b"#!LUA name=\"a_1\"\ncode").expect("because it is right");
        assert_eq!((line.name.as_slice(), line.len), (b"a_1".as_slice(), 16));
        for (source, text) in [
            ("code", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua name=\"a\n", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!lua flags=no-writes name=a\n", "Invalid metadata value given: flags=no-writes"),
            ("#!js name=a\n", "Engine 'js' not found"),
            ("#! name=a\n", "Engine '' not found"),
        ] {
            assert_eq!(LibraryLine::parse(source.as_bytes()), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_line_says_flags_and_name() {
        assert_eq!(Shebang::parse(b"return 1"), Ok(None));
        let shebang = Shebang::parse(b"#!lua name=mylib flags=no-writes,allow-oom\nreturn 1");
        let shebang = shebang.expect("because it is right").expect("because there is one");
        assert_eq!(shebang.name.as_deref(), Some(b"mylib".as_slice()));
        assert_eq!(shebang.flags.names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!(shebang.len, 42);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        assert_eq!(Shebang::parse(b"#!lua"), Err(ShebangError::Unfinished));
        assert_eq!(Shebang::parse(b"#!js\n"), Err(ShebangError::Engine(b"js".to_vec())));
        assert_eq!(Shebang::parse(b"#!lua flags=x\n"), Err(ShebangError::Flag(b"x".to_vec())));
        assert_eq!(Shebang::parse(b"#!lua y\n"), Err(ShebangError::Option(b"y".to_vec())));
    }
}
