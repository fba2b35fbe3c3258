//! Fuzz targets: each is a function that takes any bytes, as they may arrive from outside, and
//! panics if an invariant is broken.
//!
//! ```text
//! FUZZ_TARGETS ──► crates/testkit/tests/fuzz.rs   seeded mutations of a corpus, in every test run
//!             └──► tests/fuzz                     libFuzzer (`scripts/test --long`)
//! ```
//!
//! If the input is a text or a format, the target takes the bytes as they are; otherwise it draws
//! choices from them ([`Draw`]), so that most inputs pass the first check.

mod arguments;
mod engine;
mod globs;
mod packed;
mod rdb;
mod records;
mod run;
mod seeds;
mod sketches;

pub use run::run;

/// A fuzz target with its corpus.
pub struct FuzzTarget {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub corpus: fn() -> Vec<Vec<u8>>,
    pub dictionary: &'static [&'static [u8]],
    /// Iterations of the seeded loop: some seconds' worth at most.
    pub iterations: usize,
}

/// All fuzz targets.
pub const FUZZ_TARGETS: &[FuzzTarget] = &[
    FuzzTarget {
        name: "requests",
        run: basalt_resp::fuzz::fuzz_parse,
        corpus: seeds::requests,
        dictionary: seeds::REQUEST_WORDS,
        iterations: 100_000,
    },
    FuzzTarget {
        name: "inline",
        run: basalt_resp::fuzz::fuzz_inline,
        corpus: seeds::inline,
        dictionary: seeds::INLINE_WORDS,
        iterations: 200_000,
    },
    FuzzTarget {
        name: "replies",
        run: basalt_resp::fuzz::fuzz_decode,
        corpus: seeds::replies,
        dictionary: seeds::REPLY_WORDS,
        iterations: 200_000,
    },
    FuzzTarget {
        name: "config_file",
        run: basalt_commands::config::fuzz_file,
        corpus: seeds::config_files,
        dictionary: seeds::CONFIG_WORDS,
        iterations: 3_000,
    },
    FuzzTarget {
        name: "globs",
        run: globs::run,
        corpus: seeds::globs,
        dictionary: seeds::GLOB_WORDS,
        iterations: 100_000,
    },
    FuzzTarget {
        name: "sketches",
        run: sketches::run,
        corpus: sketches::corpus,
        dictionary: seeds::SKETCH_WORDS,
        iterations: 1_500,
    },
    FuzzTarget {
        name: "client_arguments",
        run: arguments::client,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        iterations: 3_000,
    },
    FuzzTarget {
        name: "config_arguments",
        run: arguments::config,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        iterations: 5_000,
    },
    FuzzTarget {
        name: "packed",
        run: packed::run,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        iterations: 50_000,
    },
    FuzzTarget {
        name: "packed_foreign",
        run: packed::foreign,
        corpus: packed::corpus,
        dictionary: seeds::CHOICES,
        iterations: 50_000,
    },
    FuzzTarget {
        name: "records",
        run: records::run,
        corpus: records::corpus,
        dictionary: seeds::CHOICES,
        iterations: 20_000,
    },
    FuzzTarget {
        name: "rdb_values",
        run: rdb::values,
        corpus: rdb::value_corpus,
        dictionary: seeds::CHOICES,
        iterations: 5_000,
    },
    FuzzTarget {
        name: "rdb_files",
        run: rdb::files,
        corpus: rdb::file_corpus,
        dictionary: seeds::CHOICES,
        iterations: 2_000,
    },
    FuzzTarget {
        name: "engine",
        run: engine::run,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        iterations: 600,
    },
    FuzzTarget {
        name: "settings",
        run: engine::run_with_settings,
        corpus: seeds::choices,
        dictionary: seeds::CHOICES,
        iterations: 3_000,
    },
];

/// The fuzz target with this name.
pub fn target(name: &str) -> Option<&'static FuzzTarget> {
    FUZZ_TARGETS.iter().find(|target| target.name == name)
}

/// Choices drawn from bytes; zeros once they are used up.
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

    /// Up to `max` bytes.
    pub(crate) fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}
