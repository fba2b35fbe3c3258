//! Servers under measurement: how each kind is started, on which cores, and how it is stopped.
//!
//! A server lives as long as its `Server`. Every one gets its own port and no configuration file.

use std::fs;
use std::io::{self, Read, Seek};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, Reply};
use crate::kernel::Policy;

/// LIMIT: a server that has not answered after this time has failed to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A program to measure.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
    kind: Kind,
    /// The number of shards; only our own server has them.
    pub(crate) shards: usize,
}

/// The kind of server, which decides its options.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Basalt,
    Valkey,
    Redis,
}

/// The word in its `--version` that identifies each kind.
const KINDS: &[(Kind, &str)] =
    &[(Kind::Basalt, "Basalt"), (Kind::Valkey, "Valkey"), (Kind::Redis, "Redis")];

/// Where a server may run.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) cores: Vec<usize>,
    /// As a batch process it finishes its turn before other processes on its core run.
    pub(crate) policy: Policy,
}

impl Program {
    /// Detects by `--version` the kind of the program, and names it after that unless it has a
    /// name.
    pub(crate) fn at(name: Option<&str>, path: &Path) -> io::Result<Program> {
        let failed = |what: String| io::Error::other(format!("{}: {what}", path.display()));
        let output = Command::new(path).arg("--version").output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let known =
            KINDS.iter().find(|(_, word)| said.to_lowercase().contains(&word.to_lowercase()));
        let (kind, word) = known.ok_or_else(|| failed(format!("unknown to us: {said}")))?;
        let version = said.split_whitespace().map(|word| word.trim_start_matches("v="));
        let version =
            version.filter(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
        let version = version.map(|version| format!("{word} {version}")).next();
        let name = name.map(str::to_owned).or(version).unwrap_or_else(|| (*word).to_owned());
        // It is started in another directory; a name without a path is looked up in PATH.
        let path = match path.components().count() {
            1 => path.to_owned(),
            _ => std::path::absolute(path)?,
        };
        Ok(Program { name, path, kind: *kind, shards: 1 })
    }

    /// The same program with more shards; only our own has them.
    pub(crate) fn with_shards(&self, shards: usize) -> io::Result<Program> {
        if self.kind != Kind::Basalt {
            return Err(io::Error::other(format!("{} has no shards", self.name)));
        }
        Ok(Program { name: format!("{} × {shards}", self.name), shards, ..self.clone() })
    }

    fn args(&self, port: u16) -> Vec<String> {
        let (port, shards) = (port.to_string(), self.shards.to_string());
        let mut args = vec!["--port", &port, "--save", "", "--appendonly", "no"];
        match self.kind {
            // With a fixed seed each start does exactly the same work.
            Kind::Basalt => args.extend(["--shards", &shards, "--hash-seed", "measured"]),
            Kind::Valkey => args.extend(["--bind", "127.0.0.1", "--io-threads", "1"]),
            Kind::Redis => args.extend(["--bind", "127.0.0.1"]),
        }
        args.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn start(&self, ports: &Ports, placement: &Placement) -> io::Result<Server> {
        let port = ports.free()?;
        let cores: Vec<String> = placement.cores.iter().map(usize::to_string).collect();
        // These wrappers exec the server, so that its process is our child; it is killed with us.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", &cores.join(",")]);
        if let Some(words) = placement.policy.words() {
            command.arg("chrt").args(words);
        }
        let log = tempfile()?;
        command.arg(&self.path).args(self.args(port)).current_dir(std::env::temp_dir());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let child = command.spawn().map_err(|error| {
            io::Error::other(format!("setpriv, taskset and chrt of util-linux are needed: {error}"))
        })?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server { program: self.clone(), address, child, log };
        server.await_ready()?;
        Ok(server)
    }
}

/// An unnamed file for a server's output.
fn tempfile() -> io::Result<fs::File> {
    let path = std::env::temp_dir().join(format!("basalt-bench-{}.log", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Allocates ports on which no program listens.
pub(crate) struct Ports {
    next: AtomicU16,
}

impl Ports {
    pub(crate) fn from(first: u16) -> Ports {
        Ports { next: AtomicU16::new(first) }
    }

    fn free(&self) -> io::Result<u16> {
        for _ in 0..1000 {
            let port = self.next.fetch_add(1, Ordering::Relaxed);
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err(io::Error::other("found no free port"))
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    child: Child,
    log: fs::File,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    fn await_ready(&mut self) -> io::Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended at start with {status}")));
            }
            let pong = Reply::Text("PONG".to_owned());
            if self.client().and_then(|mut client| client.ask(&["PING"])).is_ok_and(|it| it == pong)
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(self.failure("does not answer"))
    }

    fn failure(&mut self, what: &str) -> io::Error {
        let mut said = String::new();
        if self.log.rewind().and_then(|()| self.log.read_to_string(&mut said)).is_err() {
            said = "(and what it said can't be read)".to_owned();
        }
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        io::Error::other(format!("{} {what}: {}", self.program.path.display(), last.join("\n")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
