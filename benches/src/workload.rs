//! Workloads: named loads.
//!
//! A name has the shape of the load, in redis-benchmark's options: `get-c50-p16`, then `-d512` and
//! `-r10000000` if they differ from the defaults. Patterns select names from the table, and any
//! other shape can be named too.

use std::fmt;

use crate::commands::{COMMANDS, Command, Mutation};
use crate::datasets::Preload;

/// The number of digits of a random key's number, as in redis-benchmark.
pub(crate) const KEY_DIGITS: usize = 12;
const CONNECTIONS: &[usize] = &[CONNECTIONS_DEFAULT, 1, 500];
const CONNECTIONS_DEFAULT: usize = 50;
const PIPELINES: &[usize] = &[1, 16, 64];
const VALUE_BYTES: &[usize] = &[VALUE_BYTES_DEFAULT, 512, 16384];
const VALUE_BYTES_DEFAULT: usize = 3;
/// LIMIT: the data from which a workload draws its keys; a million values of 16 KiB would not fit a
/// small machine.
const DATA_BYTES_MAX: u64 = 1 << 30;
/// LIMIT: bytes in flight; beyond it a workload would measure swapping.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 30;

/// One shape of load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) command: &'static Command,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) value_bytes: usize,
    pub(crate) keys: u64,
}

impl Workload {
    fn new(
        command: &'static Command,
        connections: usize,
        pipeline: usize,
        value_bytes: usize,
    ) -> Workload {
        let value_bytes = if command.values() > 0 { value_bytes } else { VALUE_BYTES_DEFAULT };
        let keys = keys_of(command, value_bytes);
        Workload { command, connections, pipeline, value_bytes, keys }
    }

    /// The workload with a name, or why the name is invalid.
    pub(crate) fn named(name: &str) -> Result<Workload, String> {
        let mut parts = name.split('-');
        let word = parts.next().unwrap_or_default();
        let command = COMMANDS.iter().find(|command| command.name == word);
        let command = command.ok_or_else(|| format!("no workload is named {name}"))?;
        let mut workload = Workload::new(command, CONNECTIONS_DEFAULT, 1, VALUE_BYTES_DEFAULT);
        for part in parts {
            let (letter, number) = part.split_at(part.len().min(1));
            let number: u32 =
                number.parse().map_err(|_| format!("{name}: {part} has no number"))?;
            match letter {
                "c" => workload.connections = number as usize,
                "p" => workload.pipeline = number as usize,
                "d" | "r" if !command.dataset.is_sized() => {
                    return Err(format!("{name}: {word} has data of its own, without {letter}"));
                }
                "r" => workload.keys = u64::from(number),
                "d" => {
                    workload.value_bytes = number as usize;
                    workload.keys = keys_of(command, number as usize);
                }
                _ => return Err(format!("{name}: {letter} is none of c, p, d, r")),
            }
        }
        if workload.connections == 0 || workload.pipeline == 0 || workload.keys == 0 {
            return Err(format!("{name}: numbers start at 1"));
        }
        Ok(workload)
    }

    /// The data that a server must hold before.
    pub(crate) fn preload(&self) -> Preload {
        self.command.dataset.preload(self.keys, self.value_bytes)
    }

    /// The number of requests for which the data suffices, if they consume it.
    pub(crate) fn requests_max(&self) -> Option<u64> {
        match self.command.mutation {
            Mutation::None => None,
            Mutation::Requests(max) => Some(max),
        }
    }

    fn in_flight_bytes(&self) -> usize {
        self.connections * self.pipeline * self.command.values() * self.value_bytes
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-c{}-p{}", self.command.name, self.connections, self.pipeline)?;
        if self.command.values() > 0 && self.value_bytes != VALUE_BYTES_DEFAULT {
            write!(f, "-d{}", self.value_bytes)?;
        }
        if self.keys != keys_of(self.command, self.value_bytes) {
            write!(f, "-r{}", self.keys)?;
        }
        Ok(())
    }
}

/// The number of different keys that a command uses: fewer if their values are large.
fn keys_of(command: &Command, value_bytes: usize) -> u64 {
    let is_big = command.dataset.is_sized() && command.range * value_bytes as u64 > DATA_BYTES_MAX;
    if is_big { command.range / 100 } else { command.range }
}

/// All workloads that patterns match: the commands of strings in all shapes, those with other
/// datasets in the shapes of the targets.
pub(crate) fn table() -> Vec<Workload> {
    let mut table = Vec::new();
    for command in COMMANDS {
        let has_shapes = command.dataset.is_sized() || command.name == "ping";
        let values = if command.values() > 0 { VALUE_BYTES } else { &[VALUE_BYTES_DEFAULT] };
        let connections = if has_shapes { CONNECTIONS } else { &[CONNECTIONS_DEFAULT] };
        let shapes = values.iter().flat_map(|&value_bytes| {
            connections.iter().flat_map(move |&connections| {
                let pipelines = PIPELINES.iter().take(if has_shapes { 3 } else { 2 });
                pipelines.map(move |&pipeline| {
                    Workload::new(command, connections, pipeline, value_bytes)
                })
            })
        });
        table.extend(shapes.filter(|shape| shape.in_flight_bytes() <= IN_FLIGHT_BYTES_MAX));
    }
    table
}

/// The workloads that the patterns match, each once, in the patterns' order.
pub(crate) fn chosen(patterns: &[String]) -> Result<Vec<Workload>, String> {
    let mut chosen: Vec<Workload> = Vec::new();
    for pattern in patterns {
        let mut named = vec![];
        if pattern.contains(['*', '?']) {
            named.extend(table().into_iter().filter(|row| matches(pattern, &row.to_string())));
        } else {
            named.push(Workload::named(pattern)?);
        }
        if named.is_empty() {
            return Err(format!("{pattern} names no workload; `scripts/bench list` shows all"));
        }
        for workload in named {
            if !chosen.contains(&workload) {
                chosen.push(workload);
            }
        }
    }
    Ok(chosen)
}

/// Whether a name matches a pattern, in which `*` stands for any letters and `?` for one.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.as_bytes().first() {
        None => name.is_empty(),
        Some(b'*') => (0..=name.len()).any(|skipped| matches(&pattern[1..], &name[skipped..])),
        Some(b'?') => !name.is_empty() && matches(&pattern[1..], &name[1..]),
        Some(letter) => {
            name.as_bytes().first() == Some(letter) && matches(&pattern[1..], &name[1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_its_own_and_leads_back() {
        let mut names: Vec<String> = table().iter().map(Workload::to_string).collect();
        for (workload, name) in table().iter().zip(&names) {
            assert_eq!(Workload::named(name).as_ref(), Ok(workload), "{name}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), table().len());
    }

    #[test]
    fn patterns_choose() {
        let names = |patterns: &[&str]| -> Vec<String> {
            let patterns: Vec<String> =
                patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            chosen(&patterns).unwrap().iter().map(Workload::to_string).collect()
        };
        assert_eq!(names(&["?et-c50-p16"]), ["set-c50-p16", "get-c50-p16"]);
        assert_eq!(names(&["ping-*"]).len(), 9);
        assert_eq!(names(&["get-c7-p3-d100-r5000"]), ["get-c7-p3-d100-r5000"]);
        assert_eq!(names(&["get-c50-p16", "get-c50-*6"]), ["get-c50-p16"]);
        assert!(chosen(&["nothing*".to_owned()]).is_err());
        assert!(chosen(&["get-x5".to_owned()]).is_err());
        assert!(chosen(&["get-c0".to_owned()]).is_err());
        assert!(chosen(&["lpush-d512".to_owned()]).is_err());
    }
}
