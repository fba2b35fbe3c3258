//! Check: whether a snapshot file is sound, without a server: `--check-rdb`.

use std::fmt::Write as _;
use std::path::Path;

use basalt_rdb::{Error, FileReader, Item, KeyItem, Trust, read_value};

use crate::clock::unix_ms;
use crate::load_file::{Chunks, open_file};

/// What was found so far.
#[derive(Default)]
struct Found {
    lines: String,
    keys: u64,
    expires: u64,
    expired: u64,
    /// The key of which something was read last, and the number of its type.
    last: Option<(String, u8)>,
}

/// Reads every item of a snapshot file. Returns what redis-check-rdb shows of it.
///
/// # Errors
/// The same lines and, at the end, the place of what is wrong, where the file is not sound.
pub fn check_rdb(path: &Path) -> Result<String, String> {
    let mut found = Found::default();
    found.line(0, &format!("Checking RDB file {}", path.display()));
    let outcome = found.read(path);
    match outcome {
        Ok(()) => {
            found.counts();
            Ok(found.lines)
        }
        Err((offset, why)) => {
            found.lines.push_str("--- RDB ERROR DETECTED ---\n");
            found.line(offset, &why);
            if let Some((key, number)) = found.last.take() {
                // Writing into a string can't fail.
                let _ = writeln!(
                    found.lines,
                    "[additional info] The last key read: '{key}', of type {number}"
                );
            }
            found.counts();
            Err(found.lines)
        }
    }
}

impl Found {
    fn line(&mut self, offset: u64, text: &str) {
        // Writing into a string can't fail.
        let _ = writeln!(self.lines, "[offset {offset}] {text}");
    }

    fn counts(&mut self) {
        let Self { keys, expires, expired, .. } = self;
        let counts = format!(
            "[info] {keys} keys read\n[info] {expires} expires\n[info] {expired} already expired\n"
        );
        self.lines.push_str(&counts);
    }

    fn read(&mut self, path: &Path) -> Result<(), (u64, String)> {
        let file = open_file(path).map_err(|error| (0, error.to_string()))?;
        let (mut chunks, mut reader) = (Chunks::new(file), FileReader::new(true));
        let now_ms = unix_ms();
        loop {
            let offset = reader.offset();
            let (item, taken) = match reader.next(chunks.rest()) {
                Ok(next) => next,
                Err(Error::Short) => {
                    if !chunks.fill().map_err(|error| (offset, error.to_string()))? {
                        return Err((offset, "Unexpected EOF reading RDB file".to_owned()));
                    }
                    continue;
                }
                Err(error) => return Err((offset, error.to_string())),
            };
            match item {
                Item::Aux(name, value) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let line = format!("AUX FIELD {} = '{}'", text(&name), text(&value));
                    self.line(offset, &line);
                }
                Item::Key(item) => {
                    let dialect = reader.dialect();
                    self.key(&item, dialect, now_ms).map_err(|why| (offset, why))?;
                }
                Item::ModuleData(name) => {
                    self.line(
                        offset,
                        &format!("Data of the module '{name}', which is not checked"),
                    );
                }
                Item::Function(_) | Item::Sizes { .. } | Item::Passed => {}
                Item::End => {
                    let end = reader.offset();
                    self.line(end, "Checksum OK");
                    self.line(end, "\\o/ RDB looks OK! \\o/");
                    return Ok(());
                }
            }
            chunks.take(taken);
        }
    }

    fn key(
        &mut self,
        item: &KeyItem<'_>,
        dialect: basalt_rdb::Dialect,
        now_ms: u64,
    ) -> Result<(), String> {
        self.last = Some((String::from_utf8_lossy(&item.key).into_owned(), item.number));
        match read_value(item.number, item.value, (dialect, Trust::None), now_ms) {
            Ok(_) | Err(Error::Expired | Error::Empty) => {}
            Err(error) => return Err(error.to_string()),
        }
        self.keys += 1;
        self.expires += u64::from(item.expire_at_ms.is_some());
        self.expired += u64::from(item.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms));
        Ok(())
    }
}
