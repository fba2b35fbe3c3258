//! HTTP for the metrics page: one request per connection, each on a thread of its own.
//!
//! LIMIT: [`PAGE_CONNECTIONS_MAX`] connections at a time, over all listeners; a head
//! of [`PAGE_HEAD_BYTES_MAX`] bytes with [`PAGE_HEADERS_MAX`] lines; and [`WITHIN`] for all of a
//! connection, from its first byte to its last, so that who neither asks nor reads is let go.
//! Not here: what is answered.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::limits::{PAGE_CONNECTIONS_MAX, PAGE_HEAD_BYTES_MAX, PAGE_HEADERS_MAX};
use crate::listen::refuse;

/// How long a connection may take. Prometheus itself gives up after 10 seconds, if it is not told otherwise.
const WITHIN: Duration = Duration::from_secs(5);
/// How long to leave accepting alone where the process has no descriptor or memory left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The connections' threads do little.
const STACK_BYTES: usize = 256 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What is answered.
pub(super) struct Reply {
    /// Number and words.
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind: TEXT, body: body.into() }
    }
}

/// How many connections there are, of all listeners.
pub(super) type Open = Arc<AtomicUsize>;

/// Serves a listener's clients on threads of their own; `answer` gets the path that is asked for.
pub(super) fn serve(
    listener: TcpListener,
    open: Open,
    origin: Instant,
    answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    let accept_all = move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let (answer, guest) = (Arc::clone(&answer), Guest::of(&open));
                    if guest.number > PAGE_CONNECTIONS_MAX {
                        refuse(stream.into(), BUSY);
                        continue;
                    }
                    let talk = move || {
                        let _guest = guest;
                        // A client that is gone or too slow misses its answer, and that is all.
                        let _ = Talk::new(stream, origin).run(&*answer);
                    };
                    let thread = thread::Builder::new().name("metrics client".into());
                    if let Err(error) = thread.stack_size(STACK_BYTES).spawn(talk) {
                        tracing::warn!("the metrics page has no thread for a client: {error}");
                    }
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    tracing::warn!("Error accepting a client of the metrics page: {error}");
                    #[expect(clippy::disallowed_methods, reason = "this thread is no shard")]
                    thread::sleep(ACCEPT_RETRY);
                }
            }
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(accept_all)?;
    Ok(())
}

/// Whether an error of accepting concerns one client only.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

/// A connection while it lasts.
struct Guest {
    /// How many there are with it.
    number: usize,
    open: Open,
}

impl Guest {
    fn of(open: &Open) -> Self {
        let number = open.fetch_add(1, Ordering::Relaxed) + 1;
        Self { number, open: Arc::clone(open) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What became of the head of a request.
enum Head {
    Path(String, Method),
    Wrong(&'static str, &'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
}

/// A connection, and until when it may take.
struct Talk {
    stream: TcpStream,
    clock: Clock,
    end_us: u64,
}

impl Talk {
    fn new(stream: TcpStream, origin: Instant) -> Self {
        let clock = Clock::since(origin);
        let end_us = clock.monotonic_us() + WITHIN.as_micros() as u64;
        Self { stream, clock, end_us }
    }

    fn run(&mut self, answer: &dyn Fn(&str) -> Reply) -> io::Result<()> {
        let (reply, method) = match self.read_head()? {
            Head::Path(path, method) => (answer(&path), method),
            Head::Wrong(status, why) => (Reply::text(status, why), Method::Get),
        };
        let Reply { status, kind, body } = reply;
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let mut text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if method == Method::Get {
            text.push_str(&body);
        }
        self.write_all(text.as_bytes())?;
        // Bytes that nobody read would make the kernel reset the connection, and the client lose the answer.
        self.stream.shutdown(Shutdown::Write)?;
        let mut rest = [0; PAGE_HEAD_BYTES_MAX];
        while self.read_some(&mut rest)? > 0 {}
        Ok(())
    }

    /// Reads up to the empty line that ends a head.
    fn read_head(&mut self) -> io::Result<Head> {
        let mut bytes = vec![0; PAGE_HEAD_BYTES_MAX];
        let mut len = 0;
        loop {
            let more = self.read_some(&mut bytes[len..])?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            len += more;
            if let Some(head) = parse(&bytes[..len]) {
                return Ok(head);
            }
            if len == bytes.len() {
                let why = "The head of the request is too long.\n";
                return Ok(Head::Wrong("431 Request Header Fields Too Large", why));
            }
        }
    }

    /// The time that is left, as sockets take it.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.end_us.saturating_sub(self.clock.monotonic_us()) {
            0 => Err(io::ErrorKind::TimedOut.into()),
            us => Ok(Some(Duration::from_micros(us))),
        }
    }

    fn read_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(self.left()?)?;
            match self.stream.write(bytes)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = &bytes[written..],
            }
        }
        Ok(())
    }
}

/// What a head holds; nothing while it is not whole.
fn parse(bytes: &[u8]) -> Option<Head> {
    let mut headers = [httparse::EMPTY_HEADER; PAGE_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            let why = "The request has too many headers.\n";
            return Some(Head::Wrong("431 Request Header Fields Too Large", why));
        }
        Err(_) => return Some(Head::Wrong("400 Bad Request", "This is no HTTP request.\n")),
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => return Some(Head::Wrong("405 Method Not Allowed", "Here one can only GET.\n")),
    };
    let path = request.path.unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(Head::Path(path.to_owned(), method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> Option<String> {
        parse(head.as_bytes()).map(|head| match head {
            Head::Path(path, Method::Get) => path,
            Head::Path(path, Method::Head) => format!("HEAD {path}"),
            Head::Wrong(status, _) => status[..3].to_owned(),
        })
    }

    #[test]
    fn heads_are_read() {
        let many = "a: b\r\n".repeat(PAGE_HEADERS_MAX + 1);
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Some("/metrics")),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", Some("/metrics")),
            ("HEAD /healthz HTTP/1.1\r\n\r\n", Some("HEAD /healthz")),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n", None),
            ("GE", None),
            ("POST /metrics HTTP/1.1\r\n\r\n", Some("405")),
            ("*1\r\n$4\r\nPING\r\n", Some("400")),
            ("GET /metrics\r\n\r\n", Some("400")),
            ("\u{0}\u{1}", Some("400")),
            (&format!("GET / HTTP/1.1\r\n{many}\r\n"), Some("431")),
        ] {
            assert_eq!(status(head).as_deref(), expected, "{head:?}");
        }
    }
}
