//! Listen: the sockets on which clients arrive, made before the shards start.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use basalt_commands::config::{BindAddresses, Config};
use basalt_engine::Peer;
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
pub struct ListenError(String);

impl std::fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
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
        let place = (&config.bind, config.port);
        listen_tcp(place, config, BIND_ATTEMPTS, &mut listeners)?;
    }
    if !config.unixsocket.is_empty() {
        let path = PathBuf::from(&config.unixsocket);
        let socket = unix(&path, config).map_err(|error| {
            ListenError(format!("Failed opening Unix socket: {}: {error}", path.display()))
        })?;
        let kind = SocketKind::Unix { path: Arc::from(config.unixsocket.as_str()) };
        listeners.push(Listener { socket, kind });
    }
    if listeners.is_empty() {
        return Err(ListenError("Configured to not listen anywhere, exiting.".into()));
    }
    Ok(listeners)
}

/// Opens the TCP sockets that the configuration names, and doesn't wait for an address in use.
pub(crate) fn tcp_once(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    if config.port != 0 {
        listen_tcp((&config.bind, config.port), config, 1, &mut listeners)?;
    }
    Ok(listeners)
}

/// Opens the sockets of the metrics page, if there is to be one.
pub(crate) fn for_metrics(config: &Config) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    if config.metrics_port != 0 {
        let place = (&config.metrics_bind, config.metrics_port);
        listen_tcp(place, config, BIND_ATTEMPTS, &mut listeners)?;
    }
    let sockets =
        listeners.iter().map(|listener| listener.socket.try_clone().map(TcpListener::from));
    let sockets: io::Result<Vec<TcpListener>> = sockets.collect();
    sockets.map_err(|error| ListenError(format!("Failed opening the metrics page: {error}")))
}

fn listen_tcp(
    (bind, port): (&BindAddresses, u16),
    config: &Config,
    attempts: u32,
    listeners: &mut Vec<Listener>,
) -> Result<(), ListenError> {
    for (name, must) in bind.iter() {
        let opened = addresses(name, port).and_then(|all| {
            all.iter().map(|&one| tcp(one, attempts, config)).collect::<io::Result<Vec<_>>>()
        });
        match opened {
            Ok(sockets) => listeners.extend(sockets),
            Err(error) if is_lacking(&error, must) => {}
            Err(error) => {
                return Err(ListenError(format!(
                    "Could not create server TCP listening socket {name}:{port}: {error}. \
                     Failed listening on port {port} (tcp), aborting."
                )));
            }
        }
    }
    if listeners.is_empty() && bind.iter().next().is_some() {
        return Err(ListenError(format!(
            "None of the addresses to bind is there. Failed listening on port {port} (tcp), aborting."
        )));
    }
    Ok(())
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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    bind(&socket, &address.into(), attempts)?;
    socket.listen(backlog(config))?;
    let listener = Listener { socket, kind: SocketKind::Tcp };
    listener.keep_alive(config.tcp_keepalive)?;
    Ok(listener)
}

fn unix(path: &Path, config: &Config) -> io::Result<Socket> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    bind(&socket, &SockAddr::unix(path)?, BIND_ATTEMPTS)?;
    if config.unixsocketperm != 0 {
        fs::set_permissions(path, Permissions::from_mode(config.unixsocketperm))?;
    }
    socket.listen(backlog(config))?;
    Ok(socket)
}

/// Removes a socket's file on which nobody listens any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
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

/// Tells a client why it is let go, if its socket takes it at once, and closes.
pub(crate) fn refuse(socket: OwnedFd, words: &[u8]) {
    let mut stream = TcpStream::from(socket);
    if stream.set_nonblocking(true).is_ok() {
        // A client that can't even be told is let go all the same.
        let _ = stream.write(words);
    }
}
