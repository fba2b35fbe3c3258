//! The configuration: one table of parameters, and the operations on it.
//!
//! ```text
//!   table, later, inert ──► Config (a plain field per parameter)
//!        rows          ├──► load      configuration files and the command line
//!                      ├──► get, set  CONFIG GET and CONFIG SET
//!                      ├──► rewrite   CONFIG REWRITE, text to text
//!                      └──► generated config/basalt.conf and docs/reference/config.md
//! ```
//!
//! A `Config` is never changed in place: `set` returns a new one or an error, so a failed CONFIG
//! SET changes nothing. Not here: files, environment, clocks (`server::cli` reads files), and the
//! effects of a change (`Config::changed` returns what changed).

mod choices;
mod command_line;
mod generated;
mod inert;
mod kind;
mod later;
mod load;
mod parameter;
mod rewrite;
mod rules;
mod table;
mod types;
mod words;

pub use choices::*;
pub use command_line::CommandLine;
pub use generated::{configuration_file, reference, usage};
pub use inert::Inert;
pub use kind::Kind;
pub use later::Later;
pub use load::{ConfigError, ConfigErrors, Include, Loaded, Source, Warning, fuzz_file};
pub use parameter::{Parameter, Section, Standing};
pub use rewrite::{Extent, rewrite};
pub use table::Config;
pub use types::*;
pub(crate) use words::quoted as quoted_word;

use crate::error::CommandError;
use crate::glob;
use basalt_keyspace::{Eviction, EvictionOrder, Frequency, Thresholds, Uses};
use std::sync::LazyLock;

const COUNT: usize = table::USED.len() + later::LATER.len() + inert::INERT.len();

/// Every parameter.
pub static PARAMETERS: &[Parameter] = &{
    let tables = [table::USED, later::LATER, inert::INERT];
    let mut all = [tables[0][0]; COUNT];
    let (mut index, mut table) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            all[index] = tables[table][row];
            index += 1;
            row += 1;
        }
        table += 1;
    }
    all
};

/// The parameter with this name, and the name as it is in the table: the main one or an alias.
pub fn find(name: &[u8]) -> Option<(&'static Parameter, &'static str)> {
    PARAMETERS.iter().find_map(|parameter| {
        let mut names = parameter.names();
        let known = names.find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        Some((parameter, known))
    })
}

fn defaults() -> &'static Config {
    static DEFAULTS: LazyLock<Config> = LazyLock::new(|| {
        let mut config = Config::blank();
        PARAMETERS.iter().for_each(|parameter| parameter.assign_default(&mut config));
        config
    });
    &DEFAULTS
}

impl Default for Config {
    fn default() -> Self {
        defaults().clone()
    }
}

impl Config {
    /// The sizes up to which collections stay packed.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            hash_max_listpack_entries: self.hash_max_listpack_entries,
            hash_max_listpack_value: self.hash_max_listpack_value,
            list_max_listpack_size: self.list_max_listpack_size,
            set_max_intset_entries: self.set_max_intset_entries,
            set_max_listpack_entries: self.set_max_listpack_entries,
            set_max_listpack_value: self.set_max_listpack_value,
            zset_max_listpack_entries: self.zset_max_listpack_entries,
            zset_max_listpack_value: self.zset_max_listpack_value,
            stream_node_max_bytes: self.stream_node_max_bytes,
            stream_node_max_entries: self.stream_node_max_entries,
        }
    }

    /// What is kept of the uses of a key, by `maxmemory-policy`.
    pub fn uses(&self) -> Uses {
        use EvictionPolicy as Policy;
        match self.maxmemory_policy {
            Policy::AllkeysLfu | Policy::VolatileLfu => Uses::Counted(Frequency {
                log_factor: self.lfu_log_factor,
                decay_minutes: self.lfu_decay_time,
            }),
            Policy::AllkeysLrfu | Policy::VolatileLrfu => Uses::Faded,
            _ => Uses::Last,
        }
    }

    /// How keys are chosen for eviction; `None` if none is evicted.
    pub fn eviction(&self) -> Option<Eviction> {
        use EvictionPolicy as Policy;
        let (order, volatile_only) = match self.maxmemory_policy {
            Policy::NoEviction => return None,
            Policy::VolatileLru | Policy::VolatileLrm => (EvictionOrder::LeastRecent, true),
            Policy::AllkeysLru | Policy::AllkeysLrm => (EvictionOrder::LeastRecent, false),
            Policy::VolatileLfu => (EvictionOrder::LeastFrequent, true),
            Policy::AllkeysLfu => (EvictionOrder::LeastFrequent, false),
            Policy::VolatileRandom => (EvictionOrder::Random, true),
            Policy::AllkeysRandom => (EvictionOrder::Random, false),
            Policy::AllkeysLrfu => (EvictionOrder::LeastFaded, false),
            Policy::VolatileLrfu => (EvictionOrder::LeastFaded, true),
            Policy::VolatileTtl => (EvictionOrder::NearestExpiry, true),
        };
        Some(Eviction { order, volatile_only, samples: self.maxmemory_samples as usize })
    }

    /// Whether a read counts as a use of its key: not if keys are evicted by their last change.
    pub fn reads_touch(&self) -> bool {
        use EvictionPolicy::{AllkeysLrm, VolatileLrm};
        !matches!(self.maxmemory_policy, AllkeysLrm | VolatileLrm)
    }

    /// CONFIG GET: the names and values of the parameters that match any of the patterns.
    ///
    /// As in Redis, a name without `*`, `?` and `[` is returned in the case of the request, and
    /// only such a name matches a hidden parameter.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], parameter: &Parameter| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), parameter.show(self)));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"[*?".contains(byte)) {
                if let Some((parameter, _)) = find(pattern) {
                    add(pattern, parameter);
                }
                continue;
            }
            for parameter in PARAMETERS.iter().filter(|parameter| !parameter.is_hidden) {
                for name in parameter.names() {
                    if glob::matches_nocase(pattern, name.as_bytes()) {
                        add(name.as_bytes(), parameter);
                    }
                }
            }
        }
        found
    }

    /// CONFIG SET: a new configuration with all of the changes, or the error of the first invalid
    /// one. A parameter whose feature is not built yet can only be set to its default or to its
    /// present value.
    pub fn set(
        &self,
        pairs: &[(&[u8], &[u8])],
        client_is_local: bool,
    ) -> Result<Config, CommandError> {
        let mut changes: Vec<(&Parameter, &'static str, &[u8])> = Vec::new();
        for &(name, value) in pairs {
            let refused = |why: &str| set_error(name, why);
            let (parameter, known) = find(name).ok_or_else(|| {
                let before = "ERR Unknown option or number of arguments for CONFIG SET - '";
                CommandError::quoting(before, name, "'")
            })?;
            if !parameter.is_mutable {
                return Err(refused("can't set immutable config"));
            }
            if parameter.is_protected && !self.enable_protected_configs.permits(client_is_local) {
                return Err(refused("can't set protected config"));
            }
            if changes.iter().any(|&(_, other, _)| other == known) {
                return Err(refused("duplicate parameter"));
            }
            changes.push((parameter, known, value));
        }
        let mut config = self.clone();
        for (parameter, name, value) in changes {
            let words: Vec<&[u8]> = match parameter.kind.takes_many() {
                true if value.is_empty() => Vec::new(),
                true => value.split(|&byte| byte == b' ').collect(),
                false => vec![value],
            };
            parameter
                .assign(&mut config, &words, false)
                .map_err(|why| set_error(name.as_bytes(), &why))?;
            if let Some(why) = parameter.missing()
                && parameter.lines(&config) != parameter.lines(self)
                && !parameter.has_default(&config)
            {
                return Err(set_error(name.as_bytes(), why));
            }
        }
        Ok(config)
    }

    /// The parameters whose values differ from `before`, to apply a change.
    pub fn changed<'a>(&'a self, before: &'a Config) -> impl Iterator<Item = &'static Parameter> {
        PARAMETERS.iter().filter(move |parameter| parameter.lines(self) != parameter.lines(before))
    }
}

/// The error of a CONFIG SET that failed at one parameter, also if the change cannot be applied.
pub fn set_error(name: &[u8], why: &str) -> CommandError {
    let before = "ERR CONFIG SET failed (possibly related to argument '";
    CommandError::quoting(before, name, &format!("') - {why}"))
}
