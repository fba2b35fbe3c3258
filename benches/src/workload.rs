//! Workloads: what can be asked of a server under load, each under a name.
//!
//! A name is the load's shape as the options of redis-benchmark spell it: `get-c50-p16`, then
//! `-d512` and `-r10000000` where they differ from the defaults. Names are chosen by pattern from
//! the table, and any other shape can be named too.

use std::fmt;

/// Digits of a random key's number, as redis-benchmark writes it.
pub(crate) const KEY_DIGITS: usize = 12;
const CONNECTIONS: &[usize] = &[50, 1, 500];
const PIPELINES: &[usize] = &[1, 16, 64];
const VALUE_BYTES: &[usize] = &[VALUE_BYTES_DEFAULT, 512, 16384];
const VALUE_BYTES_DEFAULT: usize = 3;
const KEYS_DEFAULT: u64 = 1_000_000;
/// LIMIT: data that a workload draws its keys from; a million values of 16 KiB would not fit a
/// small machine.
const DATA_BYTES_MAX: u64 = 1 << 30;
/// LIMIT: bytes that may be under way at once; beyond it a workload would measure how memory is
/// swapped.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Command {
    Ping,
    Set,
    Get,
    Incr,
    /// MSET of ten keys.
    Mset,
}

const COMMANDS: &[(Command, &str)] = &[
    (Command::Ping, "ping"),
    (Command::Set, "set"),
    (Command::Get, "get"),
    (Command::Incr, "incr"),
    (Command::Mset, "mset"),
];

impl Command {
    pub(crate) fn name(self) -> &'static str {
        let row = COMMANDS.iter().find(|(command, _)| *command == self);
        row.expect("because every command has its row").1
    }

    fn keys_per_request(self) -> usize {
        match self {
            Command::Ping => 0,
            Command::Mset => 10,
            _ => 1,
        }
    }

    fn has_value(self) -> bool {
        matches!(self, Command::Set | Command::Get | Command::Mset)
    }
}

/// One shape of load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) command: Command,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) value_bytes: usize,
    pub(crate) keys: u64,
}

/// What a server must hold before a workload starts, so that GET finds its keys and SET replaces
/// them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dataset {
    Nothing,
    Strings { keys: u64, value_bytes: usize },
    Counters { keys: u64 },
}

impl Workload {
    fn new(command: Command, connections: usize, pipeline: usize, value_bytes: usize) -> Workload {
        let value_bytes = if command.has_value() { value_bytes } else { VALUE_BYTES_DEFAULT };
        let keys = keys_that_fit(value_bytes);
        Workload { command, connections, pipeline, value_bytes, keys }
    }

    /// The workload of a name, or why there is none.
    pub(crate) fn named(name: &str) -> Result<Workload, String> {
        let mut parts = name.split('-');
        let word = parts.next().unwrap_or_default();
        let command = COMMANDS.iter().find(|(_, name)| *name == word);
        let (command, _) = command.ok_or_else(|| format!("no workload is named {name}"))?;
        let mut workload = Workload::new(*command, 50, 1, VALUE_BYTES_DEFAULT);
        for part in parts {
            let (letter, number) = part.split_at(part.len().min(1));
            let number: u32 =
                number.parse().map_err(|_| format!("{name}: {part} has no number"))?;
            match letter {
                "c" => workload.connections = number as usize,
                "p" => workload.pipeline = number as usize,
                "r" => workload.keys = u64::from(number),
                "d" => {
                    workload.value_bytes = number as usize;
                    workload.keys = keys_that_fit(number as usize);
                }
                _ => return Err(format!("{name}: {letter} is none of c, p, d, r")),
            }
        }
        if workload.connections == 0 || workload.pipeline == 0 || workload.keys == 0 {
            return Err(format!("{name}: numbers start at 1"));
        }
        Ok(workload)
    }

    pub(crate) fn dataset(&self) -> Dataset {
        match self.command {
            Command::Ping => Dataset::Nothing,
            Command::Incr => Dataset::Counters { keys: self.keys },
            _ => Dataset::Strings { keys: self.keys, value_bytes: self.value_bytes },
        }
    }

    fn in_flight_bytes(&self) -> usize {
        let per_request = self.command.keys_per_request() * self.value_bytes;
        self.connections * self.pipeline * per_request
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-c{}-p{}", self.command.name(), self.connections, self.pipeline)?;
        if self.command.has_value() && self.value_bytes != VALUE_BYTES_DEFAULT {
            write!(f, "-d{}", self.value_bytes)?;
        }
        if self.keys != keys_that_fit(self.value_bytes) {
            write!(f, "-r{}", self.keys)?;
        }
        Ok(())
    }
}

/// A million keys, or fewer where their values are big.
fn keys_that_fit(value_bytes: usize) -> u64 {
    if KEYS_DEFAULT * value_bytes as u64 <= DATA_BYTES_MAX {
        KEYS_DEFAULT
    } else {
        KEYS_DEFAULT / 100
    }
}

/// All workloads that patterns choose from.
pub(crate) fn table() -> Vec<Workload> {
    let mut table = Vec::new();
    for &(command, _) in COMMANDS {
        for &value_bytes in VALUE_BYTES {
            if value_bytes != VALUE_BYTES_DEFAULT && !command.has_value() {
                continue;
            }
            for &connections in CONNECTIONS {
                for &pipeline in PIPELINES {
                    let workload = Workload::new(command, connections, pipeline, value_bytes);
                    if workload.in_flight_bytes() <= IN_FLIGHT_BYTES_MAX {
                        table.push(workload);
                    }
                }
            }
        }
    }
    table
}

/// The workloads that the patterns name, each once, in the patterns' order.
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

/// Whether a name fits a pattern, in which `*` stands for any letters and `?` for one.
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
    }
}
