//! Load generator: keeps many connections busy from one thread, as cheaply as the kernel allows.
//!
//! Each connection sends a pipeline, waits for all its replies and sends the next one, as
//! redis-benchmark does. The clock is read once per pipeline; all requests of a pipeline have its
//! latency.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::histogram::Histogram;
use crate::reply::ReplyScanner;
use crate::request::Pipeline;
use crate::workload::Workload;

const RECEIVE_BYTES: usize = 64 << 10;
/// A server that is silent for this long counts as dead.
const SILENCE_MAX_MS: u16 = 30_000;
/// How many ready connections one wait may return; further ones follow with the next.
const EVENTS_MAX: usize = 1024;

/// The result of a run.
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// The number of empty replies.
    pub(crate) empty: u64,
    /// The number of pipelines that each connection has completed.
    pub(crate) by_connection: Vec<u64>,
}

/// The connections of one workload to one server.
pub(crate) struct Generator {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    connections: Vec<Connection>,
    pipeline: Pipeline,
    requests_per_pipeline: u64,
    replies_per_pipeline: u64,
    received: Box<[u8]>,
}

struct Connection {
    socket: TcpStream,
    scanner: ReplyScanner,
    replies_due: u64,
    pipelines_done: u64,
    sent_at: Instant,
    /// The bytes that the socket has not accepted yet.
    unsent: Vec<u8>,
}

impl Generator {
    pub(crate) fn connect(address: SocketAddr, workload: &Workload) -> io::Result<Generator> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut connections = Vec::with_capacity(workload.connections);
        for token in 0..workload.connections {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token as u64))?;
            connections.push(Connection::new(socket));
        }
        let seed = std::process::id().into();
        Ok(Generator {
            epoll,
            events: vec![EpollEvent::empty(); EVENTS_MAX],
            connections,
            pipeline: Pipeline::new(workload, seed),
            requests_per_pipeline: workload.pipeline as u64,
            replies_per_pipeline: workload.pipeline as u64 * workload.command.replies(),
            received: vec![0; RECEIVE_BYTES].into_boxed_slice(),
        })
    }

    /// Sends at least `requests` requests, in whole pipelines, and waits for all replies.
    pub(crate) fn run(&mut self, requests: u64) -> io::Result<Tally> {
        let mut pipelines_left = requests.div_ceil(self.requests_per_pipeline);
        let mut under_way = 0;
        let mut tally = Tally {
            requests: pipelines_left * self.requests_per_pipeline,
            elapsed: Duration::ZERO,
            latency: Histogram::new(),
            errors: 0,
            first_error: None,
            empty: 0,
            by_connection: Vec::with_capacity(self.connections.len()),
        };
        let started = Instant::now();
        for token in 0..self.connections.len() {
            if pipelines_left > 0 {
                pipelines_left -= 1;
                under_way += 1;
                self.send(token, Instant::now())?;
            }
        }
        while under_way > 0 {
            let ready = self.epoll.wait(&mut self.events, SILENCE_MAX_MS)?;
            if ready == 0 {
                return Err(io::Error::other("the server has stopped answering"));
            }
            for index in 0..ready {
                let event = self.events[index];
                let Some(now) = self.go_on(event, &mut tally.latency)? else { continue };
                under_way -= 1;
                if pipelines_left > 0 {
                    pipelines_left -= 1;
                    under_way += 1;
                    self.send(event.data() as usize, now)?;
                }
            }
        }
        tally.elapsed = started.elapsed();
        for connection in &mut self.connections {
            let (errors, first) = connection.scanner.take_errors();
            tally.errors += errors;
            tally.first_error = tally.first_error.or(first);
            tally.empty += connection.scanner.take_empty();
            tally.by_connection.push(mem::take(&mut connection.pipelines_done));
        }
        Ok(tally)
    }

    /// Sends and receives as much as a ready connection can. Returns the latency if that completed
    /// its pipeline.
    fn go_on(&mut self, event: EpollEvent, latency: &mut Histogram) -> io::Result<Option<Instant>> {
        let connection = &mut self.connections[event.data() as usize];
        if event.events().contains(EpollFlags::EPOLLOUT) && connection.flush()? {
            let mut reading = EpollEvent::new(EpollFlags::EPOLLIN, event.data());
            self.epoll.modify(&connection.socket, &mut reading)?;
        }
        // Errors and hang-ups show when we read.
        let only_writable = event.events() == EpollFlags::EPOLLOUT;
        if only_writable || !connection.receive(&mut self.received)? {
            return Ok(None);
        }
        connection.pipelines_done += 1;
        let now = Instant::now();
        latency.add(now - connection.sent_at, self.requests_per_pipeline);
        Ok(Some(now))
    }

    fn send(&mut self, token: usize, now: Instant) -> io::Result<()> {
        let connection = &mut self.connections[token];
        connection.replies_due = self.replies_per_pipeline;
        connection.sent_at = now;
        if !connection.send(self.pipeline.refreshed())? {
            let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            self.epoll.modify(&connection.socket, &mut EpollEvent::new(both, token as u64))?;
        }
        Ok(())
    }
}

impl Connection {
    fn new(socket: TcpStream) -> Connection {
        Connection {
            socket,
            scanner: ReplyScanner::new(),
            replies_due: 0,
            pipelines_done: 0,
            sent_at: Instant::now(),
            unsent: Vec::new(),
        }
    }

    /// Sends as much as the socket accepts and keeps the rest; returns whether nothing is left.
    fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let sent = write_some(&self.socket, bytes)?;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(sent == bytes.len())
    }

    fn flush(&mut self) -> io::Result<bool> {
        let sent = write_some(&self.socket, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }

    /// Reads the received bytes; returns whether they completed the current pipeline.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let due_before = self.replies_due;
        loop {
            let received = match (&self.socket).read(buffer) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let replies = self.scanner.scan(&buffer[..received]);
            let replies =
                replies.map_err(|_| io::Error::other("the server's reply is not RESP"))?;
            let left = self.replies_due.checked_sub(replies);
            self.replies_due =
                left.ok_or_else(|| io::Error::other("the server sent more replies than requests"))?;
            // A full buffer may have left bytes in the socket; otherwise these were the last.
            if received < buffer.len() {
                break;
            }
        }
        Ok(due_before > 0 && self.replies_due == 0)
    }
}

/// Writes until the socket is full; returns the number of written bytes.
fn write_some(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers every complete request of `request_bytes` with `reply`, in a thread
    /// per connection.
    fn answering(request_bytes: usize, reply: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                thread::spawn(move || {
                    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
                    while let Ok(received @ 1..) = socket.read(&mut buffer) {
                        bytes += received;
                        let replies = reply.repeat(bytes / request_bytes);
                        bytes %= request_bytes;
                        socket.write_all(&replies).unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn all_requests_are_answered_and_counted() {
        let workload = Workload::named("ping-c7-p3").unwrap();
        let mut generator =
            Generator::connect(answering(b"*1\r\n$4\r\nPING\r\n".len(), b"+PONG\r\n"), &workload)
                .unwrap();
        for requests in [1, 21, 1000] {
            let tally = generator.run(requests).unwrap();
            assert_eq!(tally.requests, requests.div_ceil(3) * 3);
            assert_eq!((tally.errors, tally.empty), (0, 0));
            assert_eq!(tally.by_connection.iter().sum::<u64>() * 3, tally.requests);
            assert!(tally.latency.max() > Duration::ZERO);
            assert!(tally.latency.max() <= tally.elapsed);
        }
    }

    #[test]
    fn pipelines_beyond_the_socket_buffers_are_sent_in_pieces() {
        let workload = Workload::named("set-c2-p64-d200000").unwrap();
        let request_bytes = Pipeline::new(&workload, 1).refreshed().len() / 64;
        let address = answering(request_bytes, b"-ERR refused\r\n");
        let tally = Generator::connect(address, &workload).unwrap().run(256).unwrap();
        assert_eq!((tally.requests, tally.errors), (256, 256));
        assert_eq!(tally.first_error.as_deref(), Some("ERR refused"));
    }
}
