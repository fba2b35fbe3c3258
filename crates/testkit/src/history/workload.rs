//! Workload: random transactions in the forms that clients use, and the parsing of their replies.

use basalt_resp::Value;

use super::{Act, Fate};
use crate::random::Random;

/// The form of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One command.
    Plain,
    /// MULTI … EXEC.
    Queued,
    /// WATCH and GET of a register, then MULTI, SET, EXEC.
    Watched,
}

/// A transaction to be sent as one pipeline.
#[derive(Clone, Debug)]
pub struct Plan {
    pub requests: Vec<Vec<String>>,
    form: Form,
    /// The operations, without results yet, by the command that performs them.
    acts: Vec<(usize, Act)>,
}

/// Generates transactions over a few keys.
#[derive(Debug)]
pub struct Workload {
    prefix: String,
    lists: Vec<(usize, usize)>,
    lists_begun: usize,
    registers: usize,
    last_id: u64,
}

/// LIMIT: a list of this length is replaced by a new one.
const APPENDS_MAX: usize = 24;

impl Workload {
    /// The number of lists and registers in use at a time.
    pub fn new(prefix: &str, lists: usize, registers: usize) -> Self {
        let begun = (0..lists).map(|number| (number, 0)).collect();
        Self { prefix: prefix.into(), lists: begun, lists_begun: lists, registers, last_id: 0 }
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn list(&mut self, random: &mut Random, appends: bool) -> String {
        let at = random.below(self.lists.len());
        let (number, appended) = &mut self.lists[at];
        if *appended >= APPENDS_MAX {
            *number = self.lists_begun;
            *appended = 0;
            self.lists_begun += 1;
        }
        *appended += usize::from(appends);
        format!("{}l{number}", self.prefix)
    }

    fn register(&self, random: &mut Random) -> String {
        format!("{}r{}", self.prefix, random.below(self.registers))
    }

    /// Reads of all keys ever used: they show writes that would otherwise never be read.
    pub fn last_reads(&self) -> Vec<Plan> {
        let lists = (0..self.lists_begun).map(|number| {
            let key = format!("{}l{number}", self.prefix);
            plain(&["GET", &key], vec![Act::ReadList { key: key.clone(), ids: Vec::new() }])
        });
        let registers = (0..self.registers).map(|number| {
            let key = format!("{}r{number}", self.prefix);
            plain(&["GET", &key], vec![Act::Read { key: key.clone(), id: None }])
        });
        lists.chain(registers).collect()
    }

    /// The next transaction.
    pub fn plan(&mut self, random: &mut Random) -> Plan {
        match random.below(10) {
            0 => {
                let (key, id) = (self.list(random, true), self.id());
                plain(
                    &["APPEND", &key, &format!("{id},")],
                    vec![Act::Append { key: key.clone(), id }],
                )
            }
            1 => {
                let key = self.list(random, false);
                plain(&["GET", &key], vec![Act::ReadList { key: key.clone(), ids: Vec::new() }])
            }
            2 => {
                let keys: Vec<String> =
                    (0..1 + random.below(4)).map(|_| self.list(random, false)).collect();
                let mut request = vec!["MGET"];
                request.extend(keys.iter().map(String::as_str));
                let read = |key: &String| Act::ReadList { key: key.clone(), ids: Vec::new() };
                plain(&request, keys.iter().map(read).collect())
            }
            3 | 4 => self.watched(random),
            _ => self.queued(random),
        }
    }

    /// Reads a register, and writes it if it has not changed.
    fn watched(&mut self, random: &mut Random) -> Plan {
        let (key, id) = (self.register(random), self.id());
        let set = id.to_string();
        let requests: [&[&str]; 5] =
            [&["WATCH", &key], &["GET", &key], &["MULTI"], &["SET", &key, &set], &["EXEC"]];
        let acts = vec![
            (0, Act::Read { key: key.clone(), id: None }),
            (1, Act::Write { key: key.clone(), id }),
        ];
        Plan {
            requests: requests.iter().map(|request| owned(request)).collect(),
            form: Form::Watched,
            acts,
        }
    }

    fn queued(&mut self, random: &mut Random) -> Plan {
        let (mut requests, mut acts) = (vec![owned(&["MULTI"])], Vec::new());
        for command in 0..1 + random.below(4) {
            match random.below(8) {
                0..3 => {
                    let (key, id) = (self.list(random, true), self.id());
                    requests.push(owned(&["APPEND", &key, &format!("{id},")]));
                    acts.push((command, Act::Append { key, id }));
                }
                3 | 4 => {
                    let key = self.list(random, false);
                    requests.push(owned(&["GET", &key]));
                    acts.push((command, Act::ReadList { key, ids: Vec::new() }));
                }
                5 => {
                    let keys = [
                        self.list(random, false),
                        self.list(random, false),
                        self.list(random, false),
                    ];
                    requests.push(owned(&["MGET", &keys[0], &keys[1], &keys[2]]));
                    for key in keys {
                        acts.push((command, Act::ReadList { key, ids: Vec::new() }));
                    }
                }
                6 => {
                    let key = self.register(random);
                    requests.push(owned(&["GET", &key]));
                    acts.push((command, Act::Read { key, id: None }));
                }
                _ => {
                    // Read and written by one command.
                    let (key, id) = (self.register(random), self.id());
                    requests.push(owned(&["GETSET", &key, &id.to_string()]));
                    acts.push((command, Act::Read { key: key.clone(), id: None }));
                    acts.push((command, Act::Write { key, id }));
                }
            }
        }
        requests.push(owned(&["EXEC"]));
        Plan { requests, form: Form::Queued, acts }
    }
}

fn owned(request: &[&str]) -> Vec<String> {
    request.iter().map(|&word| word.to_owned()).collect()
}

fn plain(request: &[&str], acts: Vec<Act>) -> Plan {
    let acts = acts.into_iter().map(|act| (0, act)).collect();
    Plan { requests: vec![owned(request)], form: Form::Plain, acts }
}

impl Plan {
    /// The operations with their results, from the replies.
    pub fn read(self, replies: &[Value]) -> (Vec<Act>, Fate) {
        assert_eq!(replies.len(), self.requests.len(), "a reply for each request");
        let results: Vec<&Value> = match self.form {
            Form::Plain => vec![&replies[0]],
            Form::Queued => match replies.last() {
                Some(Value::Array(results)) => results.iter().collect(),
                other => panic!("EXEC gives {other:?}"),
            },
            Form::Watched => match &replies[4] {
                Value::Array(results) => vec![&replies[1], &results[0]],
                Value::Null | Value::NullArray => {
                    let only_written = self.acts.into_iter().map(|(_, act)| act);
                    let written = only_written.filter(|act| matches!(act, Act::Write { .. }));
                    return (written.collect(), Fate::Refused);
                }
                other => panic!("EXEC gives {other:?}"),
            },
        };
        let mut element = (usize::MAX, 0);
        let acts = self.acts.into_iter().map(|(command, mut act)| {
            element = if element.0 == command { (command, element.1 + 1) } else { (command, 0) };
            let value = match results[command] {
                Value::Array(elements) => &elements[element.1],
                value => value,
            };
            match &mut act {
                Act::ReadList { ids, .. } => *ids = numbers(value),
                Act::Read { id, .. } => *id = numbers(value).first().copied(),
                Act::Append { .. } | Act::Write { .. } => {
                    assert!(!matches!(value, Value::Error(_)), "{act:?} gives {value:?}");
                }
            }
            act
        });
        (acts.collect(), Fate::Done)
    }

    /// The operations that may have happened, if the outcome is unknown.
    pub fn lost(self) -> (Vec<Act>, Fate) {
        let writes = |act: &Act| matches!(act, Act::Write { .. } | Act::Append { .. });
        (self.acts.into_iter().map(|(_, act)| act).filter(writes).collect(), Fate::Unknown)
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    let bytes = match value {
        Value::Null => return Vec::new(),
        value => value.as_bytes().unwrap_or_else(|| panic!("{value:?} is no list")),
    };
    let text = std::str::from_utf8(bytes).expect("ids are digits");
    let ids = text.split_terminator(',');
    ids.map(|id| id.parse().expect("an id is a number")).collect()
}
