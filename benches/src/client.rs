//! Client: one blocking connection, to query a server and to load data into it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::reply::ReplyScanner;
use crate::request;

/// The number of request bytes to send before the replies of the previous batch are awaited.
const BATCH_BYTES: usize = 64 << 10;
/// LIMIT: a server that is silent for this long counts as dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// The kinds of replies that our queries get.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// A status or a string.
    Text(String),
    Number(i64),
    Error(String),
    Null,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Client { stream: BufReader::with_capacity(BATCH_BYTES, stream) })
    }

    /// Sends one request and waits for its reply, which must not be an aggregate.
    pub(crate) fn ask(&mut self, args: &[&str]) -> io::Result<Reply> {
        let mut request = Vec::new();
        request::encode(&mut request, args);
        self.stream.get_mut().write_all(&request)?;
        let mut header = String::new();
        self.stream.read_line(&mut header)?;
        let header = header.trim_end();
        let unexpected = || io::Error::other(format!("unexpected reply to {}: {header}", args[0]));
        let (kind, rest) = header.split_at_checked(1).ok_or_else(unexpected)?;
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(rest.parse().map_err(|_| unexpected())?),
            "$" if rest == "-1" => Reply::Null,
            "$" => {
                let length: usize = rest.parse().map_err(|_| unexpected())?;
                let mut payload = vec![0; length + 2];
                self.stream.read_exact(&mut payload)?;
                payload.truncate(length);
                Reply::Text(String::from_utf8_lossy(&payload).into_owned())
            }
            _ => return Err(unexpected()),
        })
    }

    /// Sends encoded requests and waits for as many replies, none of which may be an aggregate; returns which are
    /// not null.
    pub(crate) fn lookups(&mut self, requests: &[u8], count: usize) -> io::Result<Vec<bool>> {
        self.stream.get_mut().write_all(requests)?;
        let (mut found, mut header, mut payload) =
            (Vec::with_capacity(count), String::new(), vec![]);
        for _ in 0..count {
            header.clear();
            self.stream.read_line(&mut header)?;
            let line = header.trim_end();
            if line.starts_with('-') || line.is_empty() {
                return Err(io::Error::other(format!("unexpected reply: {line}")));
            }
            if let Some(length) =
                line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok())
            {
                payload.resize(length + 2, 0);
                self.stream.read_exact(&mut payload)?;
            }
            found.push(line != "$-1");
        }
        Ok(found)
    }

    /// A field of INFO; `None` if the server does not have it as a number.
    pub(crate) fn info_field(&mut self, section: &str, name: &str) -> io::Result<Option<u64>> {
        let Reply::Text(text) = self.ask(&["INFO", section])? else { return Ok(None) };
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.and_then(|value| value.trim().parse().ok()))
    }

    /// Sends `count` pipelined requests, which `encode` appends by index, and fails on the first
    /// error.
    pub(crate) fn load(
        &mut self,
        count: u64,
        mut encode: impl FnMut(&mut Vec<u8>, u64),
    ) -> io::Result<()> {
        let mut scanner = ReplyScanner::new();
        let (mut batch, mut batched_before, mut answered) = (Vec::new(), 0, 0);
        for index in 0..count {
            encode(&mut batch, index);
            if batch.len() >= BATCH_BYTES {
                self.stream.get_mut().write_all(&batch)?;
                batch.clear();
                self.await_replies(batched_before, &mut answered, &mut scanner)?;
                batched_before = index + 1;
            }
        }
        self.stream.get_mut().write_all(&batch)?;
        self.await_replies(count, &mut answered, &mut scanner)
    }

    /// Reads until `due` requests of a load are answered.
    fn await_replies(
        &mut self,
        due: u64,
        answered: &mut u64,
        scanner: &mut ReplyScanner,
    ) -> io::Result<()> {
        while *answered < due {
            let received = self.stream.fill_buf()?;
            if received.is_empty() {
                return Err(io::Error::other("the server has closed the connection"));
            }
            let replies = scanner.scan(received);
            *answered += replies.map_err(|_| io::Error::other("the server's reply is not RESP"))?;
            let taken = received.len();
            self.stream.consume(taken);
        }
        match scanner.take_errors() {
            (0, _) => Ok(()),
            (_, error) => Err(io::Error::other(error.unwrap_or_default())),
        }
    }
}
