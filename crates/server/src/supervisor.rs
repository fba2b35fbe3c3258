//! Supervisor: systemd or upstart, which is notified of start and stop where `supervised` says so.
//!
//! systemd: datagrams of `NAME=value` lines to the socket that `$NOTIFY_SOCKET` names, as sd_notify(3) describes;
//! a name that begins with `@` is that of an abstract socket. upstart: the process stops itself once it is ready.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use basalt_commands::config::{Config, Supervised};
use nix::sys::signal::{Signal, raise};

/// What to notify.
#[derive(Clone, Debug, Default)]
pub enum Supervisor {
    #[default]
    None,
    /// The configuration asks for it, and the variable of this name is not set.
    Missing(&'static str),
    Systemd(SocketAddr),
    Upstart,
}

const SYSTEMD: &str = "NOTIFY_SOCKET";
const UPSTART: &str = "UPSTART_JOB";

impl Supervisor {
    /// The supervisor that the configuration and the environment name.
    pub fn of(config: &Config) -> io::Result<Self> {
        Self::among(config.supervised, |name| {
            std::env::var_os(name).filter(|value| !value.is_empty())
        })
    }

    fn among(wanted: Supervised, variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Self> {
        let systemd = || variable(SYSTEMD);
        Ok(match wanted {
            Supervised::No => Self::None,
            Supervised::Systemd | Supervised::Auto if let Some(socket) = systemd() => {
                Self::Systemd(address(&socket)?)
            }
            Supervised::Upstart | Supervised::Auto if variable(UPSTART).is_some() => Self::Upstart,
            Supervised::Auto => Self::None,
            Supervised::Systemd => Self::Missing(SYSTEMD),
            Supervised::Upstart => Self::Missing(UPSTART),
        })
    }

    /// Whether a supervisor watches this process, which then stays in the foreground.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Systemd(_) | Self::Upstart)
    }

    /// Its name; empty where there is none.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::None | Self::Missing(_) => "",
            Self::Systemd(_) => "systemd",
            Self::Upstart => "upstart",
        }
    }

    /// The server begins to start.
    pub fn starting(&self) {
        match self {
            Self::None => {}
            Self::Missing(variable) => {
                tracing::warn!("no supervisor is notified, because ${variable} is not set");
            }
            Self::Systemd(_) => {
                tracing::info!(
                    "Supervised by systemd. Please set TimeoutStartSec and TimeoutStopSec of the unit \
                     so that start and stop have time enough."
                );
                self.send("STATUS=Basalt is starting");
            }
            Self::Upstart => tracing::info!("Supervised by upstart"),
        }
    }

    /// Clients are accepted.
    pub fn ready(&self) {
        match self {
            Self::Systemd(_) => {
                let pid = std::process::id();
                self.send(&format!("STATUS=Ready to accept connections\nREADY=1\nMAINPID={pid}"));
            }
            Self::Upstart => {
                if let Err(error) = raise(Signal::SIGSTOP) {
                    tracing::warn!("upstart can't be notified: {error}");
                }
            }
            Self::None | Self::Missing(_) => {}
        }
    }

    /// The server begins to end.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Shutting down");
    }

    fn send(&self, lines: &str) {
        let Self::Systemd(address) = self else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            // A supervisor that doesn't read must not hold up a shard.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(lines.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::warn!("systemd can't be notified: {error}");
        }
    }
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: Supervised, set: &[(&str, &str)]) -> Supervisor {
        let value = |name: &str| {
            set.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value))
        };
        Supervisor::among(wanted, value).unwrap()
    }

    #[test]
    fn settings_and_environment_decide() {
        let systemd = ("NOTIFY_SOCKET", "/run/notify");
        let upstart = ("UPSTART_JOB", "basalt");
        let is_systemd = |found| matches!(found, Supervisor::Systemd(_));
        assert!(is_systemd(found(Supervised::Systemd, &[systemd])));
        assert!(is_systemd(found(Supervised::Auto, &[systemd, upstart])));
        assert!(matches!(found(Supervised::Auto, &[upstart]), Supervisor::Upstart));
        assert!(matches!(found(Supervised::Upstart, &[systemd, upstart]), Supervisor::Upstart));
        assert!(matches!(found(Supervised::Auto, &[]), Supervisor::None));
        assert!(matches!(found(Supervised::No, &[systemd, upstart]), Supervisor::None));
        assert!(matches!(found(Supervised::Systemd, &[upstart]), Supervisor::Missing(_)));
        assert!(matches!(found(Supervised::Upstart, &[systemd]), Supervisor::Missing(_)));
    }

    #[test]
    fn abstract_sockets_have_no_path() {
        let address = address(OsStr::new("@basalt/notify")).unwrap();
        assert_eq!(address.as_abstract_name(), Some(&b"basalt/notify"[..]));
    }
}
