//! Servers as child processes: ours, and the oracles.
//!
//! A [`Server`] listens on a free port, counts as started once it answers and has loaded its data, captures its
//! output, and is killed when the value is dropped. If a test panics while it holds one, the end of
//! that output is shown.
//!
//! Not here: requests (`client`), and which tests run on which server (`transcript`, the runner).

use crate::client::{Address, Connection};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Which server program: ours or an oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    Ours,
    Redis7,
    Redis8,
    Valkey9,
}

impl Program {
    pub const ORACLES: [Program; 3] = [Program::Valkey9, Program::Redis8, Program::Redis7];

    /// Its name in transcripts and test names.
    pub fn name(self) -> &'static str {
        match self {
            Program::Ours => "ours",
            Program::Redis7 => "redis7",
            Program::Redis8 => "redis8",
            Program::Valkey9 => "valkey9",
        }
    }

    /// The path of the server program; `None` on a machine without it.
    pub fn server(self) -> Option<PathBuf> {
        match self {
            Program::Ours => our_server(),
            _ => self.tool("server"),
        }
    }

    /// The path of this oracle's `cli` or `benchmark`. Ours has none: it is driven by theirs.
    pub fn tool(self, tool: &str) -> Option<PathBuf> {
        match self {
            Program::Ours => None,
            Program::Redis7 => on_path(&format!("redis-{tool}")),
            Program::Redis8 => peer(&format!("redis8-{tool}")),
            Program::Valkey9 => peer(&format!("valkey9-{tool}")),
        }
    }

    fn default_args(self) -> &'static [&'static str] {
        match self {
            Program::Ours => &["--enable-debug-command", "yes"],
            _ => &["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"],
        }
    }
}

/// `BASALT_SERVER`, or the program next to the running test.
fn our_server() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BASALT_SERVER") {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let test = std::env::current_exe().ok()?;
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("basalt-server"))
        .find(|path| path.is_file())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The folder that `scripts/peers` fills.
fn peer(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("peers/bin").join(name)).filter(|path| path.is_file())
}

/// A folder that is removed when the value is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("basalt-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failure does no harm: the folder is in the system's place for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub struct NotStarted {
    pub why: String,
    /// Its output until then.
    pub log: String,
}

impl std::fmt::Display for NotStarted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}\n--- its log:\n{}", self.why, self.log)
    }
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    program: Program,
    config_file: Option<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    ready_within: Duration,
    awaits_data: bool,
}

impl Launch {
    pub fn new(program: Program) -> Self {
        let ready_within = Duration::from_secs(20);
        Self {
            program,
            config_file: None,
            args: Vec::new(),
            env: Vec::new(),
            ready_within,
            awaits_data: true,
        }
    }

    /// It counts as started although data is still being loaded.
    #[must_use]
    pub fn while_loading(mut self) -> Self {
        self.awaits_data = false;
        self
    }

    /// A configuration file, which comes before all arguments.
    #[must_use]
    pub fn config_file(mut self, path: impl Into<OsString>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts it and waits until it answers and has loaded its data.
    pub fn start(&self) -> Result<Server, NotStarted> {
        // The port is free when we check and may be taken a moment later: then another one is
        // tried.
        let mut last = self.start_once();
        for _ in 0..3 {
            match &last {
                Err(refusal) if refusal.log.contains("ddress already in use") => {}
                _ => break,
            }
            last = self.start_once();
        }
        last
    }

    #[expect(clippy::disallowed_methods, reason = "waiting for a process is about real time")]
    fn start_once(&self) -> Result<Server, NotStarted> {
        let mut server = self.spawn().map_err(|error| NotStarted {
            why: format!("{} can't be started: {error}", self.program.name()),
            log: String::new(),
        })?;
        let deadline = Instant::now() + self.ready_within;
        loop {
            if server.answers(self.awaits_data) {
                return Ok(server);
            }
            let ended = server.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let why = match ended {
                    Some(status) => format!("{} ended at once: {status}", self.program.name()),
                    None => format!("{} does not answer", self.program.name()),
                };
                return Err(NotStarted { why, log: server.log() });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn spawn(&self) -> io::Result<Server> {
        let path = self.program.server().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "the program is not on this machine")
        })?;
        let scratch = Scratch::create()?;
        let port = free_port()?;
        let log = File::create(scratch.path().join("log"))?;
        let child = Command::new(path)
            .args(&self.config_file)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", &scratch.path().to_string_lossy()])
            .args(self.program.default_args())
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Server { child, port, scratch })
    }
}

/// A free port, outside of the kernel's range for outgoing connections, of which other tests make
/// thousands.
pub fn free_port() -> io::Result<u16> {
    const FIRST: u32 = 10_240;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other processes start elsewhere in the range.
    let start = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).map_err(io::Error::other)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("all ports are taken"))
}

/// A running server; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    scratch: Scratch,
}

impl Server {
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> Address {
        Address::local(self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder for the test's own files, removed with the server.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.scratch.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A new connection, which must succeed.
    pub fn connect(&self) -> Connection {
        Connection::open(&self.address()).expect("because the server answered PING at its start")
    }

    /// Its exit status, or `None` if it still runs after `within`.
    #[expect(clippy::disallowed_methods, reason = "waiting for a process is about real time")]
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .expect("because every Unix has a shell");
        assert!(sent.success(), "kill -{name}: {sent}");
    }

    /// CPU time of all its threads since its start, user and system.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The program's name is in parentheses and may contain spaces: count the fields after it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let jiffies = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let (user, system) = jiffies(11).zip(jiffies(12)).ok_or(io::ErrorKind::InvalidData)?;
        // Linux shows 100 ticks a second to user space on every architecture.
        Ok(Duration::from_millis((user + system) * 10))
    }

    /// Whether it answers and, if that is wanted, has loaded what was on its disk.
    fn answers(&self, with_data: bool) -> bool {
        Connection::open(&self.address())
            .and_then(|mut connection| {
                connection.set_timeout(Duration::from_millis(500))?;
                connection.ask(&["PING"])?;
                connection.ask(&["INFO", "persistence"])
            })
            .is_ok_and(|reply| !format!("{reply:?}").contains("loading:1") || !with_data)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            #[expect(clippy::print_stderr, reason = "the log belongs to the failure just printed")]
            {
                eprintln!("--- end of the server's log (port {}):\n{tail}", self.port);
            }
        }
    }
}
