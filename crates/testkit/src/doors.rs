//! Doors: where anything may come in from outside, each a function that takes any bytes and panics when
//! something is broken that must hold whatever they are.
//!
//! ```text
//! DOORS ──► crates/testkit/tests/doors.rs   seeded changes of good and bad input, in every test run
//!      └──► tests/fuzz                      libFuzzer, which looks for new paths (`scripts/test --long`)
//! ```
//!
//! Where the bytes are a text or a format the door takes them as they are; where they are choices it draws
//! them ([`Draw`]), so that most of what is tried gets past the first check.

mod arguments;
mod engine;
mod globs;
mod knock;
mod packed;
mod records;
mod seeds;
mod sketches;

pub use knock::knock;

/// A door, and what to begin with.
pub struct Door {
    pub name: &'static str,
    pub open: fn(&[u8]),
    pub corpus: fn() -> Vec<Vec<u8>>,
    pub dictionary: &'static [&'static [u8]],
    /// How often the seeded loop knocks: some seconds' worth at most.
    pub rounds: usize,
}

/// All of them.
pub const DOORS: &[Door] = &[
    Door {
        name: "requests",
        open: basalt_resp::fuzz::fuzz_parse,
        corpus: seeds::requests,
        dictionary: seeds::REQUEST_WORDS,
        rounds: 100_000,
    },
    Door {
        name: "inline",
        open: basalt_resp::fuzz::fuzz_inline,
        corpus: seeds::inline,
        dictionary: seeds::INLINE_WORDS,
        rounds: 200_000,
    },
    Door {
        name: "replies",
        open: basalt_resp::fuzz::fuzz_decode,
        corpus: seeds::replies,
        dictionary: seeds::REPLY_WORDS,
        rounds: 200_000,
    },
    Door {
        name: "config_file",
        open: basalt_commands::config::fuzz_file,
        corpus: seeds::config_files,
        dictionary: seeds::CONFIG_WORDS,
        rounds: 3_000,
    },
    Door {
        name: "globs",
        open: globs::open,
        corpus: seeds::globs,
        dictionary: seeds::GLOB_WORDS,
        rounds: 100_000,
    },
    Door {
        name: "sketches",
        open: sketches::open,
        corpus: sketches::corpus,
        dictionary: seeds::SKETCH_WORDS,
        rounds: 1_500,
    },
    Door {
        name: "client_arguments",
        open: arguments::client,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        rounds: 3_000,
    },
    Door {
        name: "config_arguments",
        open: arguments::config,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        rounds: 5_000,
    },
    Door {
        name: "packed",
        open: packed::open,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        rounds: 50_000,
    },
    Door {
        name: "packed_foreign",
        open: packed::foreign,
        corpus: packed::corpus,
        dictionary: seeds::CHOICES,
        rounds: 50_000,
    },
    Door {
        name: "records",
        open: records::open,
        corpus: records::corpus,
        dictionary: seeds::CHOICES,
        rounds: 20_000,
    },
    Door {
        name: "engine",
        open: engine::open,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        rounds: 600,
    },
    Door {
        name: "settings",
        open: engine::open_with_settings,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        rounds: 3_000,
    },
];

/// The door of this name.
pub fn door(name: &str) -> Option<&'static Door> {
    DOORS.iter().find(|door| door.name == name)
}

/// Choices drawn from bytes, zeros once they are used up.
pub(crate) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = match end {
            ..=256 => usize::from(self.byte()),
            _ => usize::from(self.byte()) << 8 | usize::from(self.byte()),
        };
        number % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to so many bytes.
    pub(crate) fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}
