//! Toy: an engine that does next to nothing, to test and to measure the loop that drives it.
//!
//! It knows PING [text], BIG <bytes>, WHERE, ABORT, QUIT and SHUTDOWN, inline or as RESP arrays. With `shards`
//! above one, every PING of a session is answered by the next shard, so that each crosses the mesh twice.

use std::collections::VecDeque;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_engine::{CoreSetup, Now, Output, Peer, Reading, SessionId, ShardSnapshot, Turn};
use basalt_keyspace::{LongString, ShardId};
use basalt_resp::Payloads;
use basalt_server::{Engine, Outside};

/// Output beyond which a session is not read from.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Messages under way to one shard.
const IN_FLIGHT_MAX: usize = 4;

pub(crate) enum Message {
    Ask(Vec<(SessionId, Vec<u8>)>),
    Answer(Vec<(SessionId, Vec<u8>)>),
}

pub(crate) struct Toy {
    setup: CoreSetup,
    sessions: Vec<Session>,
    free: Vec<u32>,
    dirty: VecDeque<SessionId>,
    aborted: Vec<SessionId>,
    reading: Vec<(SessionId, Reading)>,
    asks: Vec<Asks>,
}

#[derive(Default)]
struct Session {
    generation: u32,
    live: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    /// PINGs that other shards have not answered.
    asked: usize,
    ended: bool,
    quit: bool,
    dirty: bool,
}

#[derive(Default)]
struct Asks {
    gathered: Vec<(SessionId, Vec<u8>)>,
    in_flight: usize,
}

impl Toy {
    pub(crate) fn new(setup: CoreSetup) -> Self {
        let asks = (0..setup.shard_count).map(|_| Asks::default()).collect();
        Self {
            setup,
            sessions: Vec::new(),
            free: Vec::new(),
            dirty: VecDeque::new(),
            aborted: Vec::new(),
            reading: Vec::new(),
            asks,
        }
    }

    fn session(&mut self, id: SessionId) -> Option<&mut Session> {
        let session = &mut self.sessions[id.index as usize];
        (session.live && session.generation == id.generation).then_some(session)
    }

    fn mark(&mut self, id: SessionId) {
        if let Some(session) = self.session(id)
            && !std::mem::replace(&mut session.dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    fn take(&mut self, outside: &mut Outside<Message>, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.session(id) else { return };
        let mut gathered = std::mem::take(&mut session.input);
        let input = if gathered.is_empty() {
            bytes
        } else {
            gathered.extend_from_slice(bytes);
            &gathered
        };
        let mut rest = input;
        while let Some((request, used)) = parse(rest) {
            rest = &rest[used..];
            self.run(outside, id, request);
        }
        let rest = rest.to_vec();
        if let Some(session) = self.session(id) {
            session.input = rest;
        }
        self.mark(id);
    }

    fn run(&mut self, outside: &mut Outside<Message>, id: SessionId, request: Request<'_>) {
        let this = usize::from(self.setup.shard.0);
        let next = (this + 1) % self.setup.shard_count;
        let alone = self.setup.shard_count == 1;
        let Some(session) = self.session(id) else { return };
        match request {
            Request::Ping(text) if alone => pong(&mut session.output, text),
            Request::Ping(text) => {
                session.asked += 1;
                let text = text.to_vec();
                self.asks[next].gathered.push((id, text));
            }
            Request::Big(bytes) => {
                session.output.extend_from_slice(format!("${bytes}\r\n").as_bytes());
                session.output.resize(session.output.len() + bytes, b'x');
                session.output.extend_from_slice(b"\r\n");
            }
            Request::Where => {
                let shard = this.to_string();
                pong(&mut session.output, shard.as_bytes());
            }
            // Of the first client, which may be in no state to ask.
            Request::Abort => self.aborted.push(SessionId { index: 0, generation: 0 }),
            Request::Quit => {
                session.output.extend_from_slice(b"+OK\r\n");
                session.quit = true;
            }
            Request::Shutdown => outside.end(),
            Request::Other => session.output.extend_from_slice(b"-ERR a toy\r\n"),
        }
    }
}

impl Engine for Toy {
    type Message = Message;

    fn connect(&mut self, _: Peer) -> Result<SessionId, Vec<u8>> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::default());
            self.sessions.len() as u32 - 1
        });
        let session = &mut self.sessions[index as usize];
        *session = Session { generation: session.generation, live: true, ..Session::default() };
        Ok(SessionId { index, generation: session.generation })
    }

    fn end_of_input(&mut self, id: SessionId) {
        if let Some(session) = self.session(id) {
            session.ended = true;
        }
        self.mark(id);
    }

    fn disconnect(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.index as usize];
        assert!(session.live && session.generation == id.generation, "a session ends once");
        session.live = false;
        session.generation += 1;
        self.free.push(id.index);
    }

    fn turn(
        &mut self,
        outside: &mut Outside<Message>,
        _: Now,
        received: &[(SessionId, &[u8])],
        messages: &mut Vec<(ShardId, Message)>,
    ) -> Turn {
        for (id, bytes) in received {
            self.take(outside, *id, bytes);
        }
        for (from, message) in messages.drain(..) {
            match message {
                Message::Ask(asks) => {
                    let answers = asks.into_iter().map(|(id, text)| {
                        let mut reply = Vec::new();
                        pong(&mut reply, &text);
                        (id, reply)
                    });
                    outside.send(from, Message::Answer(answers.collect()));
                }
                Message::Answer(answers) => {
                    self.asks[usize::from(from.0)].in_flight -= 1;
                    for (id, reply) in answers {
                        if let Some(session) = self.session(id) {
                            session.asked -= 1;
                            session.output.extend_from_slice(&reply);
                        }
                        self.mark(id);
                    }
                }
            }
        }
        for (to, asks) in self.asks.iter_mut().enumerate() {
            if !asks.gathered.is_empty() && asks.in_flight < IN_FLIGHT_MAX {
                asks.in_flight += 1;
                outside.send(ShardId(to as u16), Message::Ask(std::mem::take(&mut asks.gathered)));
            }
        }
        Turn { busy: false, wake_at_us: None }
    }

    fn next_dirty(&mut self) -> Option<SessionId> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(session) = self.session(id) {
                session.dirty = false;
                return Some(id);
            }
        }
        None
    }

    fn next_reading(&mut self) -> Option<(SessionId, Reading)> {
        self.reading.pop()
    }

    fn lend_large(&mut self, _: SessionId) -> Option<(LongString, usize)> {
        None
    }

    fn take_back_large(&mut self, _: SessionId, _: LongString) {}

    fn describe(&self, _: SessionId) -> Option<String> {
        None
    }

    fn next_aborted(&mut self) -> Option<SessionId> {
        self.aborted.pop()
    }

    fn take_output(&mut self, id: SessionId, spare: Vec<u8>) -> Output {
        let session = self.session(id).expect("a dirty session lives");
        let bytes = std::mem::replace(&mut session.output, spare);
        let close = session.quit || (session.ended && session.asked == 0);
        if bytes.len() >= OUTPUT_BYTES_MAX {
            self.reading.push((id, Reading::Paused));
        }
        Output { bytes, payloads: Payloads::default(), close }
    }

    fn sent(&mut self, id: SessionId, bytes: usize) {
        if bytes >= OUTPUT_BYTES_MAX {
            self.reading.push((id, Reading::Buffered));
        }
        self.mark(id);
    }

    fn config(&self) -> &Arc<Config> {
        &self.setup.config
    }
    fn snapshot(&mut self) -> ShardSnapshot {
        ShardSnapshot::default()
    }
}

fn pong(output: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        output.extend_from_slice(b"+PONG\r\n");
    } else {
        output.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
        output.extend_from_slice(text);
        output.extend_from_slice(b"\r\n");
    }
}

#[derive(Clone, Copy)]
enum Request<'a> {
    Ping(&'a [u8]),
    Big(usize),
    Where,
    Abort,
    Quit,
    Shutdown,
    Other,
}

/// The first request, if it is complete, and its length.
fn parse(input: &[u8]) -> Option<(Request<'_>, usize)> {
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    if input.starts_with(PING) {
        return Some((Request::Ping(b""), PING.len()));
    }
    let (line, mut used) = line(input, 0)?;
    let mut words: Vec<&[u8]> = Vec::new();
    if let Some(count) = line.strip_prefix(b"*") {
        for _ in 0..number(count) {
            let (header, start) = self::line(input, used)?;
            let end = start + number(header.strip_prefix(b"$")?);
            words.push(input.get(start..end)?);
            input.get(end..end + 2)?;
            used = end + 2;
        }
    } else {
        words = line.split(|&byte| byte == b' ').collect();
    }
    let request = match words.first()?.to_ascii_uppercase().as_slice() {
        b"PING" => Request::Ping(words.get(1).copied().unwrap_or_default()),
        b"BIG" => Request::Big(number(words.get(1)?)),
        b"WHERE" => Request::Where,
        b"ABORT" => Request::Abort,
        b"QUIT" => Request::Quit,
        b"SHUTDOWN" => Request::Shutdown,
        _ => Request::Other,
    };
    Some((request, used))
}

fn line(input: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(start..)?;
    let len = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..len], start + len + 2))
}

fn number(digits: &[u8]) -> usize {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
