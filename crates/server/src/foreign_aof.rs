//! Foreign: an append-only file of Redis or Valkey, loaded once, before this server begins a journal of its own.
//!
//! ```text
//! manifest, or one file ─► a snapshot at its head ─► batches for the shards
//!                       ─► commands ──────────────► a connection to the first shard, as from a client
//! ```
//!
//! The format: Redis' aof.c. The files are read only, and stay as they are.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use basalt_commands::config::Config;
use basalt_engine::{LoadStep, Loader};
use basalt_resp::{Value, decode};

use crate::load_file::{Chunks, open_file, read_items};
use crate::node::{Node, Stage};

/// How many bytes of commands are sent at a time.
const SENT_BYTES: usize = 256 << 10;
/// LIMIT: bytes of a line with a number.
const LINE_BYTES_MAX: usize = 64;
/// LIMIT: arguments of a command.
const ARGUMENTS_MAX: u64 = 1 << 20;
/// LIMIT: error replies that are logged one by one.
const ERRORS_LOGGED_MAX: u64 = 8;
/// How often to look whether shards have taken what they were sent.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the reader and the shards share.
#[derive(Default)]
pub(crate) struct Import {
    /// The end of a connection that the first shard is to serve.
    client: Mutex<Option<OwnedFd>>,
    /// Shards that have taken all of the snapshot at the head.
    arrived: AtomicUsize,
}

impl Import {
    pub(crate) fn take_client(&self) -> Option<OwnedFd> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
    }
}

/// The files, in the order in which they are loaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForeignAof {
    files: Vec<PathBuf>,
}

/// Finds an append-only file of another program where the configuration says that ours would be.
///
/// # Errors
/// Where its manifest can't be read or is none.
pub(crate) fn find(config: &Config) -> io::Result<Option<ForeignAof>> {
    let folder = Path::new(&config.dir).join(&config.appenddirname);
    let manifest = folder.join(format!("{}.manifest", config.appendfilename));
    let single = Path::new(&config.dir).join(&config.appendfilename);
    match fs::read_to_string(&manifest) {
        Ok(text) => {
            let names = read_manifest(&text)
                .map_err(|why| io::Error::other(format!("{}: {why}", manifest.display())))?;
            let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
            for file in &files {
                if !file.is_file() {
                    let why =
                        format!("{}: the manifest names it, and it is not there", file.display());
                    return Err(io::Error::other(why));
                }
            }
            Ok(Some(ForeignAof { files }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(single.is_file().then(|| ForeignAof { files: vec![single] }))
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", manifest.display()))),
    }
}

/// The names of the files that a manifest names, the base before the increments; history is left out.
fn read_manifest(text: &str) -> Result<Vec<String>, String> {
    let (mut base, mut increments, mut last) = (None, Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        let refused = |why: &str| format!("line {}: {why}", number + 1);
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mut name, mut sequence, mut kind) = (None, None, None);
        for pair in words.chunks(2) {
            match *pair {
                ["file", value] => name = Some(value),
                ["seq", value] => sequence = value.parse::<u64>().ok(),
                ["type", value] => kind = Some(value),
                // Where the file begins and ends in a stream of replication.
                ["startoffset" | "endoffset", _] => {}
                _ => return Err(refused("it is no line of an AOF manifest that is known here")),
            }
        }
        let (Some(name), Some(sequence), Some(kind)) = (name, sequence, kind) else {
            return Err(refused("a file's name, number or type is missing"));
        };
        if name.contains(['/', '"', '\'']) {
            return Err(refused("a file can't be a path, just a name without quotes"));
        }
        match kind {
            "b" if base.is_some() => return Err(refused("it names a second base")),
            "b" => base = Some(name.to_owned()),
            "i" if sequence <= last => {
                return Err(refused("increments are not in the order of their numbers"));
            }
            "i" => {
                last = sequence;
                increments.push(name.to_owned());
            }
            "h" => {}
            _ => return Err(refused("the type of a file is none of b, h and i")),
        }
    }
    Ok(base.into_iter().chain(increments).collect())
}

impl ForeignAof {
    /// How many bytes all files have.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
    }

    /// Loads all files. Returns when the shards have all of it.
    ///
    /// # Errors
    /// Why they can't be loaded.
    pub(crate) fn load(
        &self,
        (node, config): (&Arc<Node>, &Config),
        senders: &[SyncSender<LoadStep>],
        import: &Import,
    ) -> Result<(), String> {
        let (mut client, mut done) = (None, 0);
        for (index, path) in self.files.iter().enumerate() {
            let named = |why: String| format!("{}: {why}", path.display());
            let file = open_file(path).map_err(|error| named(error.to_string()))?;
            let bytes = file.metadata().map_err(|error| named(error.to_string()))?.len();
            let mut source = Source { chunks: Chunks::new(file), offset: 0, bytes };
            let note = |offset| node.loading.loaded_bytes.store(done + offset, Ordering::Relaxed);
            if index == 0 && source.is_snapshot().map_err(|error| named(error.to_string()))? {
                source.snapshot((node, config), senders, &note).map_err(named)?;
                await_shards(node, senders, import)?;
            }
            let is_last = index + 1 == self.files.len();
            let rules = (is_last, config.aof_load_truncated);
            let send = |bytes: &[u8], commands: u64| {
                let client = match &mut client {
                    Some(client) => client,
                    none => none.insert(Client::connect(node, import)?),
                };
                client.send(bytes, commands)
            };
            source.commands(path, rules, &note, send).map_err(named)?;
            done += bytes;
        }
        if let Some(client) = client {
            client.end()?;
        }
        for (shard, sender) in senders.iter().enumerate() {
            // A shard that is gone has its own words.
            let _ = sender.send(LoadStep::End);
            node.wake(shard);
        }
        Ok(())
    }
}

/// Waits until all shards have taken what was sent to them.
fn await_shards(
    node: &Node,
    senders: &[SyncSender<LoadStep>],
    import: &Import,
) -> Result<(), String> {
    for (shard, sender) in senders.iter().enumerate() {
        sender.send(LoadStep::NotYet).map_err(|_| "a shard has ended".to_owned())?;
        node.wake(shard);
    }
    while import.arrived.load(Ordering::Acquire) < senders.len() {
        if node.stage() != Stage::Serving {
            return Err("the server ends".to_owned());
        }
        #[expect(clippy::disallowed_methods, reason = "a thread of its own waits for the shards")]
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// A file while it is read.
struct Source {
    chunks: Chunks,
    /// Of what is at hand, in the file.
    offset: u64,
    bytes: u64,
}

/// What stands at the head of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A line that is no command: its bytes.
    Note(usize),
    /// A command: its bytes.
    Command(usize, Kind),
}

/// What a command is to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begins,
    Ends,
    Neither,
}

impl Source {
    /// Whether it begins with a snapshot.
    fn is_snapshot(&mut self) -> io::Result<bool> {
        while self.chunks.rest().len() < 6 && self.chunks.fill()? {}
        let head = self.chunks.rest();
        Ok(head.starts_with(b"REDIS") || head.starts_with(b"VALKEY"))
    }

    fn snapshot(
        &mut self,
        (node, config): (&Node, &Config),
        senders: &[SyncSender<LoadStep>],
        note: &dyn Fn(u64),
    ) -> Result<(), String> {
        let mut loader = Loader::new(senders.len(), config.databases, config.rdbchecksum);
        read_items(&mut self.chunks, &mut loader, note, |shard, batch| {
            // A shard that is gone has its own words.
            let is_there = senders[shard.index()].send(LoadStep::Batch(batch)).is_ok();
            node.wake(shard.index());
            Ok(is_there)
        })?;
        self.offset = loader.offset();
        Ok(())
    }

    /// Sends all commands that are whole. `rules`: whether this is the last file, and whether what is not whole at its
    /// end may be left out.
    fn commands(
        &mut self,
        path: &Path,
        (is_last, may_cut): (bool, bool),
        note: &dyn Fn(u64),
        mut send: impl FnMut(&[u8], u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let (mut batch, mut count) = (Vec::new(), 0);
        // Where a MULTI begins whose EXEC did not come yet.
        let mut multi_at = None;
        loop {
            let rest = self.chunks.rest();
            let found = find_command(rest, self.bytes - self.offset).map_err(|why| {
                format!(
                    "at byte {}: {why}. Mend a copy of it with redis-check-aof --fix",
                    self.offset
                )
            })?;
            match found {
                Some(Found::Note(len)) => self.take(len),
                Some(Found::Command(len, kind)) => {
                    match kind {
                        Kind::Begins => multi_at = Some(self.offset),
                        Kind::Ends => multi_at = None,
                        Kind::Neither => {}
                    }
                    batch.extend_from_slice(&rest[..len]);
                    count += 1;
                    self.take(len);
                }
                None if self.chunks.fill().map_err(|error| error.to_string())? => continue,
                None => break,
            }
            if batch.len() >= SENT_BYTES {
                send(&batch, std::mem::take(&mut count))?;
                batch.clear();
                note(self.offset);
            }
        }
        if count > 0 {
            send(&batch, count)?;
        }
        note(self.offset);
        let whole = multi_at.unwrap_or(self.offset);
        let left = self.bytes - whole;
        match left {
            0 => Ok(()),
            _ if !is_last => Err(format!(
                "from byte {whole} on there is no whole command or transaction, and it is not the last file"
            )),
            _ if !may_cut => Err(format!(
                "from byte {whole} on there is no whole command or transaction: set aof-load-truncated to yes \
                 to leave these {left} bytes out"
            )),
            _ => {
                tracing::warn!(
                    "{}: the last {left} bytes, from byte {whole} on, are no whole command or transaction \
                     and are left out",
                    path.display()
                );
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: usize) {
        self.chunks.take(bytes);
        self.offset += bytes as u64;
    }
}

/// What the bytes begin with; `None` if they end within it. `left` is how many bytes the file has from here on.
fn find_command(bytes: &[u8], left: u64) -> Result<Option<Found>, &'static str> {
    match bytes.first() {
        None => return Ok(None),
        // A time, or whatever is meant for readers.
        Some(b'#') => {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            return Ok(end.map(|end| Found::Note(end + 1)));
        }
        Some(b'*') => {}
        Some(_) => return Err("there is no command"),
    }
    let mut at = 0;
    let Some(count) = number(bytes, &mut at, b'*')? else { return Ok(None) };
    if !(1..=ARGUMENTS_MAX).contains(&count) {
        return Err("a command has no arguments, or too many");
    }
    let mut kind = Kind::Neither;
    for index in 0..count {
        let Some(len) = number(bytes, &mut at, b'$')? else { return Ok(None) };
        if len > left {
            // It can't be whole: no more of it is read than there is.
            return Ok(None);
        }
        let end = at + len as usize;
        let Some(behind) = bytes.get(end..end + 2) else { return Ok(None) };
        if behind != b"\r\n" {
            return Err("an argument is not as long as it should be");
        }
        if index == 0 {
            kind = match bytes[at..end].to_ascii_lowercase().as_slice() {
                b"multi" => Kind::Begins,
                b"exec" => Kind::Ends,
                _ => Kind::Neither,
            };
        }
        at = end + 2;
    }
    Ok(Some(Found::Command(at, kind)))
}

/// The number of a line that begins with a mark; moves behind it. `None` if the bytes end before it does.
fn number(bytes: &[u8], at: &mut usize, mark: u8) -> Result<Option<u64>, &'static str> {
    let rest = &bytes[(*at).min(bytes.len())..];
    let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
    if window.first().is_some_and(|&first| first != mark) {
        return Err("a line begins with another mark than it should");
    }
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() < LINE_BYTES_MAX { Ok(None) } else { Err("a line does not end") };
    };
    let digits = std::str::from_utf8(&window[1..end]).map_err(|_| "a length is no number")?;
    let number = digits.parse().map_err(|_| "a length is no number")?;
    *at += end + 2;
    Ok(Some(number))
}

/// The connection by which commands come to the shards.
struct Client {
    stream: UnixStream,
    sent: u64,
    replies: JoinHandle<Replies>,
}

/// What was answered.
#[derive(Default)]
struct Replies {
    count: u64,
    errors: u64,
    /// One after which data is missing.
    failure: Option<String>,
}

impl Client {
    fn connect(node: &Node, import: &Import) -> Result<Self, String> {
        let connect = || {
            let (stream, theirs) = UnixStream::pair()?;
            theirs.set_nonblocking(true)?;
            let own = stream.try_clone()?;
            let read = move || read_replies(own);
            let replies = std::thread::Builder::new().name("replies".into()).spawn(read)?;
            *import.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(theirs.into());
            node.wake(0);
            Ok(Self { stream, sent: 0, replies })
        };
        connect().map_err(|error: io::Error| error.to_string())
    }

    fn send(&mut self, bytes: &[u8], commands: u64) -> Result<(), String> {
        self.sent += commands;
        self.stream.write_all(bytes).map_err(|error| format!("the shards take no more: {error}"))
    }

    /// Waits until all commands are answered.
    fn end(self) -> Result<(), String> {
        self.stream.shutdown(Shutdown::Write).map_err(|error| error.to_string())?;
        let Replies { count, errors, failure } =
            self.replies.join().map_err(|_| "the reader of replies failed".to_owned())?;
        if let Some(failure) = failure {
            return Err(format!("a command can't be loaded: {failure}"));
        }
        if count != self.sent {
            return Err(format!("{count} of {} commands were answered", self.sent));
        }
        if errors > 0 {
            tracing::warn!("{errors} of {count} commands were answered with an error, as above");
        }
        tracing::info!("{count} commands of the append-only file are loaded");
        Ok(())
    }
}

fn read_replies(mut stream: UnixStream) -> Replies {
    let (mut replies, mut buffer, mut chunk) = (Replies::default(), Vec::new(), vec![0; 64 << 10]);
    // One that breaks off is seen by the number of replies.
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        buffer.extend_from_slice(&chunk[..read]);
        let mut at = 0;
        while let Ok(Some((value, len))) = decode(&buffer[at..]) {
            at += len;
            replies.note(&value);
        }
        buffer.drain(..at);
    }
    replies
}

impl Replies {
    fn note(&mut self, value: &Value) {
        self.count += 1;
        let errors = match value {
            Value::Array(inner) => inner.iter().filter_map(error_of).collect(),
            value => Vec::from_iter(error_of(value)),
        };
        for error in errors {
            let text = String::from_utf8_lossy(error);
            let is_fatal =
                ["ERR unknown command", "EXECABORT", "OOM", "MISCONF", "LOADING", "NOAUTH"];
            if is_fatal.iter().any(|start| text.starts_with(start)) {
                self.failure.get_or_insert_with(|| text.clone().into_owned());
            }
            self.errors += 1;
            if self.errors <= ERRORS_LOGGED_MAX {
                tracing::warn!(
                    "A command of the append-only file is answered with an error: {text}"
                );
            }
        }
    }
}

fn error_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Error(text) | Value::BulkError(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_the_base_first() {
        let text = "file a.2.incr.aof seq 2 type i startoffset 17\nfile a.1.base.rdb seq 1 type b\n\
                    # a note\nfile a.0.incr.aof seq 1 type h\nfile a.3.incr.aof seq 3 type i\n";
        assert_eq!(
            read_manifest(text),
            Ok(vec!["a.1.base.rdb".into(), "a.2.incr.aof".into(), "a.3.incr.aof".into()])
        );
        for (wrong, why) in [
            ("file a seq 1", "line 1: a file's name, number or type is missing"),
            ("file a seq x type i", "line 1: a file's name, number or type is missing"),
            ("file a seq 1 type b\nfile b seq 2 type b", "line 2: it names a second base"),
            (
                "file ../a seq 1 type b",
                "line 1: a file can't be a path, just a name without quotes",
            ),
            ("file a seq 1 type x", "line 1: the type of a file is none of b, h and i"),
            ("nonsense", "line 1: it is no line of an AOF manifest that is known here"),
        ] {
            assert_eq!(read_manifest(wrong), Err(why.into()), "{wrong}");
        }
        let disorder = "file a seq 2 type i\nfile b seq 2 type i";
        assert!(read_manifest(disorder).unwrap_err().contains("order"));
    }

    #[test]
    fn commands_are_whole_or_awaited_or_refused() {
        let text = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        for cut in 0..text.len() {
            let found = find_command(&text[..cut], text.len() as u64);
            assert_eq!(found, Ok(None), "{cut} bytes");
        }
        let all = Found::Command(text.len(), Kind::Neither);
        assert_eq!(find_command(text, text.len() as u64), Ok(Some(all)));
        assert_eq!(find_command(b"#TS:1\r\n*1", 9), Ok(Some(Found::Note(7))));
        for wrong in
            [&b"GET k\r\n"[..], b"*0\r\n", b"*1\r\n+OK\r\n", b"*1\r\n$x\r\n", b"*1\r\n$1\r\nab\r\n"]
        {
            assert!(find_command(wrong, 100).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_flipped_byte_is_refused_or_still_a_command() {
        let text = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n";
        for at in 0..text.len() {
            for mask in [0x01, 0x10, 0x80, 0xFF] {
                let mut bytes = text.to_vec();
                bytes[at] ^= mask;
                // It ends, without a panic, and takes no more than there is.
                if let Ok(Some(Found::Command(len, _) | Found::Note(len))) =
                    find_command(&bytes, bytes.len() as u64)
                {
                    assert!(len <= bytes.len());
                }
            }
        }
    }
}
