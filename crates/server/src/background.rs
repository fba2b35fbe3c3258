//! Background: going there, and the file that tells the process id.

use std::fs;
use std::io;
use std::path::PathBuf;

use basalt_commands::config::Config;

use crate::supervisor::Supervisor;

const PIDFILE: &str = "/var/run/basalt.pid";

/// Detaches from the terminal, if so configured and no supervisor watches this process. Must come before any
/// thread. Returns whether it did.
pub fn detach(config: &Config, supervisor: &Supervisor) -> io::Result<bool> {
    let detaches = config.daemonize && !supervisor.is_there();
    if detaches {
        // The working directory stays: relative paths were given in it.
        nix::unistd::daemon(true, false)?;
    }
    Ok(detaches)
}

/// A file that holds the process id as long as this lives.
#[derive(Debug)]
pub struct Pidfile {
    path: Option<PathBuf>,
}

impl Pidfile {
    /// Writes it, if so configured. One that can't be written is told and no reason to stop.
    pub fn write(config: &Config, is_detached: bool) -> Self {
        let path = match config.pidfile.as_str() {
            "" if is_detached => PathBuf::from(PIDFILE),
            "" => return Self { path: None },
            path => PathBuf::from(path),
        };
        match fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Self { path: Some(path) },
            Err(error) => {
                tracing::warn!("the pidfile {} can't be written: {error}", path.display());
                Self { path: None }
            }
        }
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Where somebody removed it before us, it is gone as well.
            let _ = fs::remove_file(path);
        }
    }
}
