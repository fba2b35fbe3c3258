//! Tests the driver with two fake servers: equal ones, and one that sometimes gives wrong replies.

use super::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

/// Knows a few commands; all others are unknown commands.
#[derive(Default)]
struct MadeUp {
    keys: Rc<RefCell<Keys>>,
    lie: Lie,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Lie {
    #[default]
    None,
    /// Bug: APPEND to an existing empty value counts one byte too many.
    Reply,
    /// Bug: GETDEL does not remove a key with an empty value.
    State,
    /// Bug: ECHO closes the connection.
    Silence,
}

struct MadeUpLink {
    keys: Rc<RefCell<Keys>>,
    lie: Lie,
    replies: VecDeque<io::Result<Value>>,
}

impl Peer for MadeUp {
    fn program(&self) -> Program {
        if self.lie == Lie::None { Program::Valkey9 } else { Program::Ours }
    }

    fn connect(&self, _resp: u8) -> io::Result<Box<dyn Link>> {
        let keys = Rc::clone(&self.keys);
        Ok(Box::new(MadeUpLink { keys, lie: self.lie, replies: VecDeque::new() }))
    }
}

impl Link for MadeUpLink {
    fn send(&mut self, requests: &[&Request]) -> io::Result<()> {
        for request in requests {
            let reply = answer(&mut self.keys.borrow_mut(), self.lie, request);
            self.replies.push_back(reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Value> {
        self.replies.pop_front().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }

    fn has_reply(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

fn answer(keys: &mut Keys, lie: Lie, request: &Request) -> Option<Value> {
    let bulk_or_null = |value: Option<&Vec<u8>>| value.map_or(Value::Null, Value::bulk);
    let words: Vec<&[u8]> = request[1..].iter().map(Vec::as_slice).collect();
    Some(match (request[0].to_ascii_uppercase().as_slice(), words.as_slice()) {
        (b"FLUSHALL", _) => {
            keys.clear();
            Value::simple("OK")
        }
        (b"SELECT", _) => Value::simple("OK"),
        (b"KEYS", [b"*"]) => Value::Array(keys.keys().map(Value::bulk).collect()),
        (b"GET", [key]) => bulk_or_null(keys.get(*key)),
        (b"SET", [key, value]) => {
            keys.insert(key.to_vec(), value.to_vec());
            Value::simple("OK")
        }
        (b"GETDEL", [key]) => {
            let value = bulk_or_null(keys.get(*key));
            if !(lie == Lie::State && keys.get(*key).is_some_and(Vec::is_empty)) {
                keys.remove(*key);
            }
            value
        }
        (b"APPEND", [key, more]) => {
            let lies = lie == Lie::Reply && keys.get(*key).is_some_and(Vec::is_empty);
            let value = keys.entry(key.to_vec()).or_default();
            value.extend_from_slice(more);
            Value::Integer(i64::try_from(value.len()).unwrap() + i64::from(lies))
        }
        (b"ECHO", _) if lie == Lie::Silence => return None,
        _ => Value::error("ERR unknown"),
    })
}

fn hunt(lie: Lie) -> Result<Tally, Box<Finding>> {
    let ours = MadeUp { lie, ..MadeUp::default() };
    run(&ours, &MadeUp::default(), &Plan { seed: 1, requests: 20_000, without: Vec::new() })
}

#[test]
fn equal_servers_have_no_difference() {
    let tally = hunt(Lie::None).unwrap();
    assert!(tally.requests >= 20_000 && tally.allowed.is_empty());
}

#[test]
fn a_wrong_reply_is_found_and_shrunk_to_two_requests() {
    let finding = hunt(Lie::Reply).unwrap_err();
    let names: Vec<_> =
        finding.requests.iter().map(|words| words[0].to_ascii_uppercase()).collect();
    assert_eq!(names.len(), 2, "{finding}");
    assert_eq!(names[1], b"APPEND", "{finding}");
}

#[test]
fn a_wrong_state_is_found_although_no_reply_is_wrong_yet() {
    let finding = hunt(Lie::State).unwrap_err();
    assert!(finding.requests.len() <= 3, "{finding}");
    assert!(finding.to_string().to_uppercase().contains("> GETDEL"), "{finding}");
}

#[test]
fn a_hang_up_is_a_difference() {
    let finding = hunt(Lie::Silence).unwrap_err();
    assert_eq!(finding.requests.len(), 1, "{finding}");
    assert!(finding.to_string().contains("no reply"), "{finding}");
}

#[test]
fn the_same_seed_gives_the_same_steps() {
    let grammars: Vec<_> =
        table::ROWS.iter().map(|row| (row.weight, Grammar::parse(row.grammar))).collect();
    let requests =
        |seed| steps(seed, &grammars, &[]).into_iter().map(|step| step.request).collect::<Vec<_>>();
    assert_eq!(requests(5), requests(5));
    assert_ne!(requests(5), requests(6));
}
