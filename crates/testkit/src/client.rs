//! A small blocking client: requests out, replies in, over TCP or a unix socket.
//!
//! It is made for close inspection: it sends raw bytes in pieces, shuts down one side, and
//! distinguishes the end of a connection from silence. Every wait has a time limit.
//!
//! Not here: decoding bytes to a [`Value`] (`basalt_resp`), printing a value (`print`).

use basalt_resp::{Value, decode, encode_request};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// One request: the command's name and its arguments.
pub type Request = Vec<Vec<u8>>;

/// Builds a [`Request`] from text.
pub fn request<S: AsRef<[u8]>>(args: &[S]) -> Request {
    args.iter().map(|arg| arg.as_ref().to_vec()).collect()
}

/// All replies in what a server sent.
///
/// # Panics
/// Where they are malformed, or the last one is cut.
pub fn replies(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, len) =
            decode(bytes).expect("replies are well-formed").expect("replies are whole");
        values.push(value);
        bytes = &bytes[len..];
    }
    values
}

/// The address of a server.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// A port of 127.0.0.1.
    pub fn local(port: u16) -> Self {
        Address::Tcp((Ipv4Addr::LOCALHOST, port).into())
    }
}

/// LIMIT: the longest wait for a reply before a test fails; slow machines under load stay well
/// below it.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// LIMIT: requests up to this size are written before a reply is read: the sockets' buffers hold them.
const WRITTEN_AT_ONCE: usize = 32 * 1024;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection and the replies that have arrived but were not taken yet.
pub struct Connection {
    stream: Stream,
    received: Vec<u8>,
    read_from: usize,
}

impl Connection {
    pub fn open(address: &Address) -> io::Result<Self> {
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        let connection = Self { stream, received: Vec::new(), read_from: 0 };
        connection.set_timeout(REPLY_WITHIN)?;
        Ok(connection)
    }

    /// Limits the time of one read or write.
    pub fn set_timeout(&self, within: Duration) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.set_write_timeout(Some(within))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.set_write_timeout(Some(within))
            }
        }
    }

    /// Shuts down our sending side; the server may still reply.
    pub fn shut_down_writing(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send<S: AsRef<[u8]>>(&mut self, args: &[S]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode_request(args, &mut bytes);
        self.send_bytes(&bytes)
    }

    /// The next reply. `UnexpectedEof` if the server has closed, `InvalidData` if it is not RESP.
    pub fn receive(&mut self) -> io::Result<Value> {
        loop {
            match decode(&self.received[self.read_from..]) {
                Ok(Some((value, used))) => {
                    self.read_from += used;
                    if self.read_from == self.received.len() {
                        self.received.clear();
                        self.read_from = 0;
                    }
                    return Ok(value);
                }
                Ok(None) => self.read_more()?,
                Err(error) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{error:?}")));
                }
            }
        }
    }

    /// Whether a reply, or the end, has arrived; does not wait.
    pub fn has_reply(&mut self) -> io::Result<bool> {
        let nonblocking = |stream: &Stream, on| match stream {
            Stream::Tcp(stream) => stream.set_nonblocking(on),
            Stream::Unix(stream) => stream.set_nonblocking(on),
        };
        loop {
            if !matches!(decode(&self.received[self.read_from..]), Ok(None)) {
                return Ok(true);
            }
            nonblocking(&self.stream, true)?;
            let read = self.read_more();
            nonblocking(&self.stream, false)?;
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_end(error.kind()) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the first bytes of a reply, of a size for which most of a large one stays with the server.
    pub fn await_first_bytes(&mut self) -> io::Result<()> {
        if self.read_from == self.received.len() { self.read_more() } else { Ok(()) }
    }

    /// Sends a request that may block. Returns, with the help of another connection, as soon as
    /// this one is blocked or has its reply. `id` is what CLIENT ID returned.
    pub fn begin_wait<S: AsRef<[u8]>>(
        &mut self,
        args: &[S],
        id: i64,
        other: &mut Self,
    ) -> io::Result<Option<Value>> {
        self.send(args)?;
        let ask = request(&["CLIENT", "LIST", "ID", &id.to_string()]);
        while !self.has_reply()? {
            if is_blocked(&other.ask(&ask)?) {
                return Ok(None);
            }
        }
        self.receive().map(Some)
    }

    /// Sends a request and waits for its reply.
    pub fn ask<S: AsRef<[u8]>>(&mut self, args: &[S]) -> io::Result<Value> {
        self.send(args)?;
        self.receive()
    }

    /// As [`ask`](Self::ask), for tests in which it cannot fail.
    #[track_caller]
    pub fn execute<S: AsRef<[u8]>>(&mut self, args: &[S]) -> Value {
        match self.ask(args) {
            Ok(value) => value,
            Err(error) => {
                let words: Vec<_> = args
                    .iter()
                    .map(|arg| String::from_utf8_lossy(&arg.as_ref()[..arg.as_ref().len().min(60)]))
                    .collect();
                panic!("no reply to {words:?}: {error}")
            }
        }
    }

    /// Sends all requests without waiting, and returns their replies in order.
    pub fn pipeline<R: AsRef<[S]>, S: AsRef<[u8]>>(
        &mut self,
        requests: &[R],
    ) -> io::Result<Vec<Value>> {
        let mut bytes = Vec::new();
        for request in requests {
            encode_request(request.as_ref(), &mut bytes);
        }
        self.exchange(&bytes, requests.len())
    }

    /// Sends bytes and reads `count` replies at the same time, so that neither side waits for the
    /// other forever.
    pub fn exchange(&mut self, bytes: &[u8], count: usize) -> io::Result<Vec<Value>> {
        if bytes.len() <= WRITTEN_AT_ONCE {
            self.send_bytes(bytes)?;
            return self.receive_many(count);
        }
        let mut writer = self.stream.try_clone()?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || writer.write_all(bytes));
            let replies = self.receive_many(count);
            let written = writing.join().expect("because writing to a socket does not panic");
            // A server that closed early has sent the reason in its replies: they are more useful
            // than a broken pipe.
            let replies = replies?;
            written.map(|()| replies)
        })
    }

    pub fn receive_many(&mut self, count: usize) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.receive()).collect()
    }

    /// Reads until the server closes; returns the bytes received before.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(error) if is_end(error.kind()) => {
                    self.read_from = 0;
                    return Ok(std::mem::take(&mut self.received));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the server closes this connection within the time limit, without sending anything
    /// more.
    pub fn is_closed(&mut self) -> bool {
        self.read_from == self.received.len()
            && matches!(self.read_more(), Err(error) if is_end(error.kind()))
    }

    fn read_more(&mut self) -> io::Result<()> {
        if self.read_from > 0 {
            self.received.drain(..self.read_from);
            self.read_from = 0;
        }
        let filled = self.received.len();
        self.received.resize(filled + filled.clamp(16 * 1024, 16 * 1024 * 1024), 0);
        let read = self.stream.read(&mut self.received[filled..]);
        self.received.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether the line of CLIENT LIST shows a blocked client.
pub(crate) fn is_blocked(line: &Value) -> bool {
    let line = String::from_utf8_lossy(line.as_bytes().unwrap_or_default()).into_owned();
    let flags = line.split(' ').find_map(|word| word.strip_prefix("flags="));
    flags.is_some_and(|flags| flags.contains('b'))
}

/// A server that closes with unread input resets the connection: for a client that is an end like
/// any other.
pub(crate) fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
