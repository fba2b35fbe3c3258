//! Listen: the sockets on which clients arrive, made before the shards start.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use basalt_commands::config::{BindAddresses, Config};
use basalt_engine::Peer;
use nix::unistd::{AccessFlags, Gid, Group, access};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::outside::SocketKind;

/// After a kill the kernel takes its time to tear rings down, and with them the old listeners.
const BIND_ATTEMPTS: u32 = 40;
const BIND_RETRY: Duration = Duration::from_millis(50);
/// How many unanswered probes end a connection.
const KEEPALIVE_PROBES: u32 = 3;

pub(crate) const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    pub(crate) kind: SocketKind,
}

/// Why the server can't listen, in the words that its log shows.
#[derive(Debug)]
pub struct ListenError {
    words: String,
    pub(crate) is_address_in_use: bool,
}

impl ListenError {
    fn new(words: String) -> Self {
        Self { words, is_address_in_use: false }
    }
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.words)
    }
}

impl std::error::Error for ListenError {}

impl Listener {
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.kind, SocketKind::Tcp)
    }

    /// Where it listens; `None` where that is no TCP address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        if self.is_tcp() { self.socket.local_addr().ok()?.as_socket() } else { None }
    }

    /// Gives its address up, or listens again; who waits to be accepted is let go.
    pub(crate) fn rest(&self, rests: bool, config: &Config) {
        let outcome = match rests {
            true => self.socket.shutdown(Shutdown::Both),
            false => self.socket.listen(backlog(config)),
        };
        if let Err(error) = outcome {
            tracing::warn!(
                "a listening socket can't be {}: {error}",
                ["opened", "closed"][usize::from(rests)]
            );
        }
    }

    /// Has the kernel probe silent clients; accepted sockets inherit it.
    pub(crate) fn keep_alive(&self, idle_s: u32) -> io::Result<()> {
        if !self.is_tcp() {
            return Ok(());
        }
        if idle_s == 0 {
            return self.socket.set_keepalive(false);
        }
        let probe_s = (idle_s / KEEPALIVE_PROBES).max(1);
        self.socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(Duration::from_secs(idle_s.into()))
                .with_interval(Duration::from_secs(probe_s.into()))
                .with_retries(KEEPALIVE_PROBES),
        )
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let SocketKind::Unix { path } = &self.kind {
            // Where it is gone already, nothing is lost.
            let _ = fs::remove_file(&**path);
        }
    }
}

/// Opens all sockets that the configuration names.
pub fn listen(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    if config.port != 0 {
        listeners = listen_tcp(config, BIND_ATTEMPTS, &wanted(config)?, &[])?;
    }
    if !config.unixsocket.is_empty() {
        let path = PathBuf::from(&config.unixsocket);
        let socket = unix(&path, config).map_err(|error| {
            ListenError::new(format!("Failed opening Unix socket: {}: {error}", path.display()))
        })?;
        let kind = SocketKind::Unix { path: Arc::from(config.unixsocket.as_str()) };
        listeners.push(Listener { socket, kind });
    }
    if listeners.is_empty() {
        return Err(ListenError::new("Configured to not listen anywhere, exiting.".into()));
    }
    Ok(listeners)
}

/// What one word of `bind` stands for.
#[derive(Debug)]
pub(crate) struct Wanted {
    name: String,
    port: u16,
    /// Whether this machine must have it.
    must: bool,
    addresses: Vec<SocketAddr>,
}

impl Wanted {
    pub(crate) fn names(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
    }
}

/// The TCP addresses that the configuration names.
pub(crate) fn wanted(config: &Config) -> Result<Vec<Wanted>, ListenError> {
    wanted_of(&config.bind, config.port)
}

fn wanted_of(bind: &BindAddresses, port: u16) -> Result<Vec<Wanted>, ListenError> {
    if port == 0 {
        return Ok(Vec::new());
    }
    bind.iter().map(|(name, must)| wanted_one(name, must, port)).collect()
}

fn wanted_one(name: &str, must: bool, port: u16) -> Result<Wanted, ListenError> {
    let addresses = match addresses(name, port) {
        Ok(addresses) => addresses,
        Err(error) if is_lacking(&error, must) => Vec::new(),
        Err(error) => return Err(not_opened(name, port, &error)),
    };
    Ok(Wanted { name: name.into(), port, must, addresses })
}

/// What of the sockets that the configuration names can't be opened. Addresses in use are no fault: the server
/// that is to be restarted may have them.
pub(crate) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    if config.port == 0 && config.unixsocket.is_empty() {
        faults.push("neither `port` nor `unixsocket` names anything to listen on".into());
    }
    for (parameter, bind, port) in [
        ("bind", &config.bind, config.port),
        ("metrics-bind", &config.metrics_bind, config.metrics_port),
    ] {
        if port == 0 {
            continue;
        }
        let (mut names, mut lacking) = (0, 0);
        for (name, must) in bind.iter() {
            names += 1;
            match try_out(name, must, port) {
                Ok(true) => {}
                Ok(false) => lacking += 1,
                Err(error) => faults.push(format!("{parameter} {name}: {error}")),
            }
        }
        if names == lacking {
            faults.push(format!("{parameter}: none of its addresses is there"));
        }
    }
    if !config.unixsocket.is_empty() {
        let path = Path::new(&config.unixsocket);
        let outcome = SockAddr::unix(path).and_then(|_| place_for_socket(path));
        if let Err(error) = outcome {
            faults.push(format!("unixsocket {}: {error}", path.display()));
        }
        if let Err(error) = group(config) {
            faults.push(format!("unixsocketgroup {}: {error}", config.unixsocketgroup));
        }
    }
    faults
}

/// Binds the addresses of a name for a moment. Returns false where this machine has none of them and need not.
fn try_out(name: &str, must: bool, port: u16) -> io::Result<bool> {
    let addresses = match addresses(name, port) {
        Err(error) if is_lacking(&error, must) => return Ok(false),
        addresses => addresses?,
    };
    let mut is_there = false;
    for address in addresses {
        match bound(address, 1) {
            Err(error) if is_lacking(&error, must) => {}
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
            _ => is_there = true,
        }
    }
    Ok(is_there)
}

/// Opens those of the wanted addresses that are not open yet; doesn't wait for one in use.
pub(crate) fn open_missing(
    config: &Config,
    wanted: &[Wanted],
    open: &[SocketAddr],
) -> Result<Vec<Listener>, ListenError> {
    listen_tcp(config, 1, wanted, open)
}

/// Opens the sockets of the metrics page, if there is to be one.
pub(crate) fn for_metrics(config: &Config) -> Result<Vec<TcpListener>, ListenError> {
    let wanted = wanted_of(&config.metrics_bind, config.metrics_port)?;
    let listeners = listen_tcp(config, BIND_ATTEMPTS, &wanted, &[])?;
    let sockets =
        listeners.iter().map(|listener| listener.socket.try_clone().map(TcpListener::from));
    let sockets: io::Result<Vec<TcpListener>> = sockets.collect();
    sockets.map_err(|error| ListenError::new(format!("Failed opening the metrics page: {error}")))
}

fn listen_tcp(
    config: &Config,
    attempts: u32,
    wanted: &[Wanted],
    open: &[SocketAddr],
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    let mut there = 0;
    for Wanted { name, port, must, addresses } in wanted {
        for address in addresses {
            if open.contains(address) {
                there += 1;
                continue;
            }
            match tcp(*address, attempts, config) {
                Ok(listener) => listeners.push(listener),
                Err(error) if is_lacking(&error, *must) => {}
                Err(error) => return Err(not_opened(name, *port, &error)),
            }
        }
    }
    if listeners.len() + there == 0
        && let Some(Wanted { port, .. }) = wanted.first()
    {
        return Err(ListenError::new(format!(
            "None of the addresses to bind is there. Failed listening on port {port} (tcp), aborting."
        )));
    }
    Ok(listeners)
}

fn not_opened(name: &str, port: u16, error: &io::Error) -> ListenError {
    ListenError {
        words: format!(
            "Could not create server TCP listening socket {name}:{port}: {error}. Failed listening on \
             port {port} (tcp), aborting."
        ),
        is_address_in_use: error.kind() == io::ErrorKind::AddrInUse,
    }
}

/// Whether this machine has no such address, and that is no error.
fn is_lacking(error: &io::Error, must: bool) -> bool {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => !must,
        Some(
            libc::ENOPROTOOPT
            | libc::EPROTONOSUPPORT
            | libc::ESOCKTNOSUPPORT
            | libc::EPFNOSUPPORT
            | libc::EAFNOSUPPORT,
        ) => true,
        _ => false,
    }
}

fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(match name {
        "*" => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
        "::*" => vec![(Ipv6Addr::UNSPECIFIED, port).into()],
        name => {
            let mut all: Vec<SocketAddr> = (name, port).to_socket_addrs()?.collect();
            all.dedup();
            all
        }
    })
}

fn tcp(address: SocketAddr, attempts: u32, config: &Config) -> io::Result<Listener> {
    let socket = bound(address, attempts)?;
    socket.listen(backlog(config))?;
    let listener = Listener { socket, kind: SocketKind::Tcp };
    listener.keep_alive(config.tcp_keepalive)?;
    Ok(listener)
}

fn bound(address: SocketAddr, attempts: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    bind(&socket, &address.into(), attempts)?;
    Ok(socket)
}

fn unix(path: &Path, config: &Config) -> io::Result<Socket> {
    let group = group(config)?;
    place_for_socket(path)?;
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    bind(&socket, &SockAddr::unix(path)?, BIND_ATTEMPTS)?;
    if let Some(group) = group {
        chown(path, None, Some(group.as_raw()))?;
    }
    if config.unixsocketperm != 0 {
        fs::set_permissions(path, Permissions::from_mode(config.unixsocketperm))?;
    }
    socket.listen(backlog(config))?;
    Ok(socket)
}

/// Whether a socket can be made at this path: its directory can be written to, and what is there already is a
/// socket. Redis removes whatever is there; a mistyped path shouldn't cost a file.
fn place_for_socket(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    access(directory.unwrap_or(Path::new(".")), AccessFlags::W_OK | AccessFlags::X_OK)?;
    if fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        let why = "it is no socket, and is not removed; choose another path or remove it";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    Ok(())
}

/// The group that `unixsocketgroup` names.
fn group(config: &Config) -> io::Result<Option<Gid>> {
    let name = config.unixsocketgroup.as_str();
    if name.is_empty() {
        return Ok(None);
    }
    let found = Group::from_name(name)?;
    let group = found.ok_or_else(|| io::Error::other(format!("there is no group '{name}'")))?;
    Ok(Some(group.gid))
}

/// Removes a socket's file on which nobody listens any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    if path.exists() && UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn bind(socket: &Socket, address: &SockAddr, attempts: u32) -> io::Result<()> {
    for _ in 1..attempts {
        match socket.bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                #[expect(clippy::disallowed_methods, reason = "no shard runs yet")]
                std::thread::sleep(BIND_RETRY);
            }
            outcome => return outcome,
        }
    }
    socket.bind(address)
}

fn backlog(config: &Config) -> i32 {
    i32::try_from(config.tcp_backlog).unwrap_or(i32::MAX)
}

/// Both ends of an accepted connection.
pub(crate) fn peer(socket: BorrowedFd<'_>, kind: &SocketKind) -> io::Result<Peer> {
    match kind {
        SocketKind::Unix { path } => Ok(Peer::Unix { path: path.to_string() }),
        SocketKind::Tcp => {
            let socket = SockRef::from(&socket);
            let end = |address: SockAddr| address.as_socket().ok_or(io::ErrorKind::Unsupported);
            let remote = end(socket.peer_addr()?)?;
            let local = end(socket.local_addr()?)?;
            Ok(Peer::Tcp { remote, local })
        }
    }
}

/// Sends a client the reason why it is let go, if its socket takes it at once, and closes.
pub(crate) fn refuse(socket: OwnedFd, words: &[u8]) {
    let mut stream = TcpStream::from(socket);
    if stream.set_nonblocking(true).is_ok() {
        // A client that takes no reason is let go all the same.
        let _ = stream.write(words);
    }
}
