//! A client of the toy, and the toy served for a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use basalt_commands::config::{BindAddresses, Config};
use basalt_server::{Serving, Starting, Statistics, listen, serve};

use crate::toy::Toy;

/// Longer than any answer takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) trait Stream: Read + Write + Send {
    fn half(&self) -> Box<dyn Stream>;
    fn end_output(&self);
}

impl Stream for TcpStream {
    fn half(&self) -> Box<dyn Stream> {
        Box::new(self.try_clone().expect("a stream has two halves"))
    }
    fn end_output(&self) {
        self.shutdown(Shutdown::Write).expect("the stream is open");
    }
}

impl Stream for UnixStream {
    fn half(&self) -> Box<dyn Stream> {
        Box::new(self.try_clone().expect("a stream has two halves"))
    }
    fn end_output(&self) {
        self.shutdown(Shutdown::Write).expect("the stream is open");
    }
}

pub(crate) struct Client {
    input: BufReader<Box<dyn Stream>>,
    output: Box<dyn Stream>,
}

impl Client {
    pub(crate) fn say(&mut self, words: &str) {
        self.output.write_all(words.as_bytes()).expect("the server takes it");
    }

    /// One line of an answer, or "" at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.input.read_line(&mut line).expect("an answer in time");
        line.trim_end().to_owned()
    }

    /// The text of a bulk answer.
    pub(crate) fn text(&mut self) -> String {
        let header = self.line();
        let len: usize = header.strip_prefix('$').and_then(|len| len.parse().ok()).expect("a bulk");
        let mut text = vec![0; len + 2];
        self.input.read_exact(&mut text).expect("the whole bulk in time");
        assert_eq!(&text[len..], b"\r\n");
        text.truncate(len);
        String::from_utf8(text).expect("what was sent")
    }

    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.say(&format!("{words}\r\n"));
        self.text()
    }

    /// The text of the answer, or the line that refuses the client.
    pub(crate) fn ask_or_refusal(&mut self, words: &str) -> String {
        // A client that is refused may be gone before it has asked.
        let _ = self.output.write_all(format!("{words}\r\n").as_bytes());
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(_) if line.starts_with('$') => self.line(),
            Ok(_) => line,
            Err(error) => error.to_string(),
        }
    }

    /// For two threads: one writes and one reads.
    pub(crate) fn split(self) -> (Box<dyn Stream>, Client) {
        (self.output.half(), self)
    }

    pub(crate) fn end_output(&self) {
        self.output.end_output();
    }

    /// How much comes until the server closes or resets the connection.
    pub(crate) fn len_of_rest(&mut self) -> usize {
        let mut rest = Vec::new();
        match self.input.read_to_end(&mut rest) {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest.len(),
            Err(error) => panic!("the end in time: {error}"),
        }
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.input.read_to_string(&mut rest).expect("the end in time");
        rest
    }
}

/// A served toy; it ends with the test.
pub(crate) struct Served {
    pub(crate) config: Config,
    serving: Option<Serving>,
}

impl Served {
    pub(crate) fn with_shards(shards: u8) -> Self {
        Self::with(|config| config.shards = shards)
    }

    /// On a Unix socket of its own, unless the configuration says more.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("toy-{}-{number}", std::process::id()));
        let unixsocket = path.display().to_string();
        let mut config = Config { port: 0, unixsocket, ..Config::default() };
        change(&mut config);
        let listeners = listen(&config).expect("it can listen");
        let serving = serve(&Arc::new(config.clone()), Statistics::default(), listeners, Toy::new);
        let (serving, _) = serving.and_then(Starting::await_data).expect("it can serve");
        Self { config, serving: Some(serving) }
    }

    /// On a TCP port that was free a moment ago.
    pub(crate) fn on_tcp(bind: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = probe.local_addr().expect("it is bound").port();
        drop(probe);
        Self::with(|config| {
            config.port = port;
            config.bind = BindAddresses(bind.iter().map(|&one| one.to_owned()).collect());
            change(config);
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(&self.config.unixsocket)
    }

    pub(crate) fn client(&self) -> Client {
        let stream = UnixStream::connect(self.path()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        Client { input: BufReader::new(stream.half()), output: Box::new(stream) }
    }

    pub(crate) fn tcp_client(&self, address: &str) -> Client {
        let stream = TcpStream::connect((address, self.config.port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        Client { input: BufReader::new(stream.half()), output: Box::new(stream) }
    }

    /// Waits for its end.
    pub(crate) fn join(mut self) {
        self.serving.take().expect("it ends once").join().expect("all shards end well");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.node().stop();
            serving.join().expect("all shards end well");
        }
    }
}
