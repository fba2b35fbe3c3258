//! Title: how the process calls itself in `ps`, made from `proc-title-template`.
//!
//! The title is written over the arguments that the process was started with: they were read long before,
//! and `ps` reads what stands there. The kernel shows no more than that room, so a title that does not fit
//! changes nothing.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use basalt_commands::config::Config;

/// What the process was called at its start: asked later, its arguments would be the title.
static NAME: OnceLock<OsString> = OnceLock::new();

/// Writes the title, if that is wanted.
pub fn set_title(config: &Config, config_file: Option<&Path>) {
    let name = NAME.get_or_init(|| std::env::args_os().next().unwrap_or_default());
    if !config.set_proc_title {
        return;
    }
    let title = title(config, &name.to_string_lossy(), config_file);
    if let Err(error) = write(title.as_bytes()) {
        tracing::debug!("the process can't be given its title: {error}");
    }
}

fn title(config: &Config, name: &str, config_file: Option<&Path>) -> String {
    let host = config.bind.iter().next().map_or("*", |(address, _)| address);
    let listens = match config.port {
        0 => config.unixsocket.clone(),
        port => format!("{host}:{port}"),
    };
    let file = config_file.map(|path| path.display().to_string()).unwrap_or_default();
    let mut title = String::new();
    let mut rest = config.proc_title_template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        title.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            title.push('{');
            rest = after;
            continue;
        }
        // The parameter's rule has seen to it that each is closed, and known.
        let Some((variable, after)) = after.split_once('}') else { break };
        match variable {
            "title" => title.push_str(name),
            "listen-addr" => title.push_str(&listens),
            "port" => title.push_str(&config.port.to_string()),
            "tls-port" => title.push_str(&config.later.tls_port.to_string()),
            "unixsocket" => title.push_str(&config.unixsocket),
            "config-file" => title.push_str(&file),
            // The mode of one that is neither cluster nor sentinel has no name.
            _ => {}
        }
        rest = after;
    }
    title.push_str(rest);
    title.truncate(title.trim_end().len());
    title
}

fn write(title: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let room =
        room(&stat).ok_or_else(|| io::Error::other("/proc/self/stat tells no place for it"))?;
    let len = usize::try_from(room.end - room.start).unwrap_or(0);
    if title.len() >= len {
        return Err(io::Error::other("it does not fit into the room of the arguments"));
    }
    let mut bytes = title.to_vec();
    bytes.resize(len, 0);
    OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&bytes, room.start)
}

/// Where the arguments of the process lie in its memory.
fn room(stat: &str) -> Option<Range<u64>> {
    /// Their place among the numbers behind the program's name, which may hold anything.
    const ARG_START: usize = 45;
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut numbers = numbers.split_whitespace().skip(ARG_START).map(str::parse);
    let (start, end) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let mut config = Config { port: 7000, ..Config::default() };
        let of = |config: &Config| title(config, "basalt-server", Some(Path::new("/etc/b.conf")));
        assert_eq!(of(&config), "basalt-server 127.0.0.1:7000");
        config.proc_title_template = "{{x} {config-file} {port}/{tls-port} {unixsocket}".into();
        assert_eq!(of(&config), "{x} /etc/b.conf 7000/0");
        config.port = 0;
        config.unixsocket = "/run/b.sock".into();
        config.proc_title_template = "{listen-addr}".into();
        assert_eq!(of(&config), "/run/b.sock");
    }

    #[test]
    fn the_room_is_that_of_the_arguments() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let room = room(&stat).unwrap();
        let mut there = vec![0; usize::try_from(room.end - room.start).unwrap()];
        let memory = fs::File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut there, room.start).unwrap();
        let first = std::env::args().next().unwrap();
        assert!(there.starts_with(first.as_bytes()), "{}", there.escape_ascii());
    }
}
