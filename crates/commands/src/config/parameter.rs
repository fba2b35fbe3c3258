//! A row of the parameter table, and the macro that generates rows and fields from one text.

use super::Config;
use super::kind::Kind;

/// A parameter: its name, its rule, its documentation, and the field of its value.
#[derive(Clone, Copy)]
pub struct Parameter {
    pub name: &'static str,
    /// Other names, which CONFIG GET returns as well.
    pub aliases: &'static [&'static str],
    pub section: Section,
    /// In the form that users write.
    pub default: &'static str,
    pub kind: Kind,
    /// Its meaning; for an inert one, the reason why it has no effect.
    pub doc: &'static str,
    pub standing: Standing,
    /// Whether CONFIG SET may change it while the server runs.
    pub is_mutable: bool,
    /// CONFIG SET may change it only if `enable-protected-configs` allows.
    pub is_protected: bool,
    /// CONFIG GET returns it only for its exact name.
    pub is_hidden: bool,
    /// Its value must not be logged.
    pub is_secret: bool,
    /// Why any value but the default is refused.
    pub refusal: Option<&'static str>,
    /// Why it has no effect yet, if the reason differs from the section's.
    pub(super) missing: Option<&'static str>,
    /// The value in `config/basalt.conf`, if it is not the default.
    pub(super) shipped: Option<&'static str>,
    pub(super) value: Access,
}

/// The status of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has an effect.
    Used,
    /// Its feature is not built yet: a value other than the default causes a warning at start, and
    /// CONFIG SET refuses it.
    Later,
    /// It has no use in this design.
    Inert,
}

/// `Stored::assign` of a field.
type Assign = fn(&mut Config, Kind, &[&[u8]], again: bool) -> Result<(), String>;

/// The access to a parameter's value in a `Config`.
#[derive(Clone, Copy)]
pub(super) struct Access {
    pub assign: Assign,
    pub show: fn(&Config, Kind) -> Vec<u8>,
    pub lines: fn(&Config, Kind) -> Vec<Vec<u8>>,
}

/// The sections of the reference and of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Network,
    Server,
    Cores,
    Log,
    Security,
    Clients,
    Memory,
    Encodings,
    Persistence,
    Observing,
    Scripting,
    Replication,
    Cluster,
    Tls,
}

impl Section {
    pub const ALL: &[Section] = &[
        Section::Network,
        Section::Server,
        Section::Cores,
        Section::Log,
        Section::Security,
        Section::Clients,
        Section::Memory,
        Section::Encodings,
        Section::Persistence,
        Section::Observing,
        Section::Scripting,
        Section::Replication,
        Section::Cluster,
        Section::Tls,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Section::Network => "Network",
            Section::Server => "Server",
            Section::Cores => "Cores",
            Section::Log => "Log",
            Section::Security => "Security",
            Section::Clients => "Clients",
            Section::Memory => "Memory",
            Section::Encodings => "Encodings",
            Section::Persistence => "Persistence",
            Section::Observing => "Observing",
            Section::Scripting => "Scripting",
            Section::Replication => "Replication",
            Section::Cluster => "Cluster",
            Section::Tls => "TLS",
        }
    }

    /// Why the pending parameters of this section have no effect.
    const fn missing(self) -> &'static str {
        match self {
            Section::Persistence => NO_PERSISTENCE,
            Section::Scripting => "this part of scripting is not built yet",
            Section::Replication => NO_REPLICATION,
            Section::Cluster => NO_CLUSTER,
            Section::Tls => NO_TLS,
            _ => "its feature is not built yet",
        }
    }
}

pub(super) const NO_PERSISTENCE: &str = "this part of persistence is not built yet";
pub(super) const NO_REPLICATION: &str = "replication is not built yet";
pub(super) const NO_CLUSTER: &str = "cluster mode is not built yet";
pub(super) const NO_TLS: &str = "TLS is not built yet";

/// The notes that a row may have after its kind.
impl Parameter {
    pub(super) const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn at_start(mut self) -> Self {
        self.is_mutable = false;
        self
    }

    pub(super) const fn protected(mut self) -> Self {
        self.is_protected = true;
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// It has no effect yet, for this reason. Without this note the parameter is active.
    pub(super) const fn pending(mut self, why: &'static str) -> Self {
        self.standing = Standing::Later;
        self.missing = Some(why);
        self
    }

    pub(super) const fn shipped(mut self, value: &'static str) -> Self {
        self.shipped = Some(value);
        self
    }

    pub(super) const fn refused(mut self, why: &'static str) -> Self {
        self.standing = Standing::Later;
        self.refusal = Some(why);
        self
    }
}

impl Parameter {
    /// All names, the main one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The paragraphs of its documentation.
    pub fn paragraphs(&self) -> impl Iterator<Item = String> {
        let paragraphs = self.doc.split("\n\n");
        paragraphs.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Why it has no effect yet; `None` if it has one, or never will.
    pub fn missing(&self) -> Option<&'static str> {
        let why = self.missing.or(self.refusal).unwrap_or_else(|| self.section.missing());
        (self.standing == Standing::Later).then_some(why)
    }

    /// Its value in the form of CONFIG GET.
    pub fn show(&self, config: &Config) -> Vec<u8> {
        (self.value.show)(config, self.kind)
    }

    /// Its value as lines of a configuration file, without its name.
    pub(super) fn lines(&self, config: &Config) -> Vec<Vec<u8>> {
        (self.value.lines)(config, self.kind)
    }

    /// Sets the value. After an error `config` must not be used.
    pub(super) fn assign(
        &self,
        config: &mut Config,
        words: &[&[u8]],
        again: bool,
    ) -> Result<(), String> {
        (self.value.assign)(config, self.kind, words, again)?;
        match self.refusal {
            Some(why) if !self.has_default(config) => Err(why.into()),
            _ => Ok(()),
        }
    }

    /// Sets the default value.
    pub(super) fn assign_default(&self, config: &mut Config) {
        let words = self.default_words();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        (self.value.assign)(config, self.kind, &words, false)
            .expect("because a test assigns every default of the table");
    }

    /// Whether its value is the default.
    pub fn has_default(&self, config: &Config) -> bool {
        let default = super::defaults();
        self.lines(config) == self.lines(default)
    }

    fn default_words(&self) -> Vec<Vec<u8>> {
        if self.kind.takes_many() && !self.default.is_empty() {
            self.default.split(' ').map(|word| word.as_bytes().to_vec()).collect()
        } else {
            vec![self.default.as_bytes().to_vec()]
        }
    }
}

/// Generates a struct with one field per row, and the table of the rows.
///
/// ```text
/// "name" field: Type = "default", kind, note, note(argument);
/// ```
macro_rules! parameters {
    (
        $(#[$struct_note:meta])*
        pub struct $Struct:ident;
        path [$($path:tt)*];
        rows $ROWS:ident, $standing:expr;
        with { $($(#[$extra_note:meta])* pub $extra:ident: $Extra:ty,)* }
        $(
            $Section:ident {
                $(
                    $(#[doc = $doc:literal])+
                    $name:literal $field:ident: $Type:ty = $default:literal, $kind:expr
                    $(, $note:ident $(($argument:expr))?)*;
                )*
            }
        )*
    ) => {
        $(#[$struct_note])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Struct {
            $($( $(#[doc = $doc])+ pub $field: $Type, )*)*
            $($(#[$extra_note])* pub $extra: $Extra,)*
        }

        impl $Struct {
            fn of(config: &Config) -> &Self {
                &(*config) $($path)*
            }

            fn of_mut(config: &mut Config) -> &mut Self {
                &mut (*config) $($path)*
            }

            /// A configuration whose values are not set yet.
            pub(super) fn blank() -> Self {
                Self {
                    $($($field: Default::default(),)*)*
                    $($extra: <$Extra>::blank(),)*
                }
            }
        }

        pub(super) const $ROWS: &[$crate::config::Parameter] = &[$($(
            $crate::config::Parameter {
                name: $name,
                aliases: &[],
                section: Section::$Section,
                default: $default,
                kind: $kind,
                doc: concat!($($doc, "\n"),+),
                standing: $standing,
                is_mutable: true,
                is_protected: false,
                is_hidden: false,
                is_secret: false,
                refusal: None,
                missing: None,
                shipped: None,
                value: $crate::config::parameter::Access {
                    assign: |config, kind, words, again| {
                        $Struct::of_mut(config).$field.assign(kind, words, again)
                    },
                    show: |config, kind| $Struct::of(config).$field.show(kind),
                    lines: |config, kind| $Struct::of(config).$field.lines(kind),
                },
            }
            $(.$note($($argument)?))*,
        )*)*];
    };
}

pub(super) use parameters;
