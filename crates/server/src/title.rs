//! Title: how the process calls itself in `ps`, made from `proc-title-template`.
//!
//! The title is written over the arguments that the process was started with: they were read long before,
//! and `ps` reads what stands there. The environment lies behind them; the kernel shows what stands there too
//! where the arguments' last byte is no zero any more. So the environment's variables move elsewhere first, and a
//! title that is longer than both is cut off.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use basalt_commands::config::Config;

/// What the process was called at its start: asked later, its arguments would be the title.
static NAME: OnceLock<OsString> = OnceLock::new();

/// Writes the title, if that is wanted. Must come before any thread.
pub fn set_title(config: &Config, config_file: Option<&Path>) {
    if !config.set_proc_title {
        return;
    }
    NAME.get_or_init(|| {
        move_environment();
        std::env::args_os().next().unwrap_or_default()
    });
    follow(config, config_file);
}

/// Follows CONFIG SET proc-title-template, where there is a title.
pub(crate) fn follow(config: &Config, config_file: Option<&Path>) {
    let Some(name) = NAME.get() else { return };
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

/// Copies all variables of the environment to the heap, so that the room they had can be written over.
#[expect(unsafe_code, reason = "the environment belongs to the whole process")]
fn move_environment() {
    for (name, value) in std::env::vars_os() {
        if name.as_bytes().contains(&b'=') {
            continue;
        }
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(name, value) }
    }
}

fn write(title: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let room =
        room(&stat).ok_or_else(|| io::Error::other("/proc/self/stat tells no place for it"))?;
    let len = usize::try_from(room.end - room.start).unwrap_or(0);
    let mut bytes = title.to_vec();
    // A zero ends it.
    bytes.truncate(len - 1);
    bytes.resize(len, 0);
    OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&bytes, room.start)
}

/// Where the arguments of the process lie in its memory, with the environment behind them.
fn room(stat: &str) -> Option<Range<u64>> {
    /// Their place among the numbers behind the program's name, which may hold anything.
    const ARG_START: usize = 45;
    let (_, numbers) = stat.rsplit_once(')')?;
    let numbers = numbers.split_whitespace().skip(ARG_START).map(str::parse);
    let numbers: Vec<u64> = numbers.take(4).collect::<Result<_, _>>().ok()?;
    let &[arg_start, arg_end, env_start, env_end] = numbers.as_slice() else { return None };
    let is_one = env_start == arg_end && env_end > env_start;
    (arg_start < arg_end).then_some(arg_start..if is_one { env_end } else { arg_end })
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
        let (name, value) = std::env::vars().find(|(_, value)| !value.is_empty()).unwrap();
        let variable = format!("\0{name}={value}\0");
        let holds = there.windows(variable.len()).any(|part| part == variable.as_bytes());
        assert!(holds, "{name} is not behind the arguments");
    }
}
