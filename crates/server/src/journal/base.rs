//! Base: all keys of a shard as a file, with which a generation begins; that of the first shard has the state beside
//! keys, too.

use std::io::{self, Write};
use std::path::Path;

use basalt_journal::{BaseWriter, FileHeader};
use basalt_keyspace::{DatabaseId, Keyspace};

use super::folder::create;

/// How many bytes of records are gathered before they are written.
const GATHERED_BYTES: usize = 1 << 20;

/// Writes the state, if there is one, and all keys of a keyspace, and has them on disk.
pub(super) fn write(
    path: &Path,
    journal: FileHeader,
    state: Option<&[u8]>,
    keyspace: &Keyspace,
) -> io::Result<()> {
    let mut writer = BaseWriter::new(journal);
    let mut file = create(path, &writer.header())?;
    let (mut records, mut frames) = (Vec::new(), Vec::new());
    if let Some(state) = state {
        writer.put_state(state, &mut frames);
        file.write_all(&frames)?;
    }
    let mut result = Ok(());
    for index in 0..keyspace.database_count() {
        keyspace.export(DatabaseId(index as u16), &mut |record| {
            record.encode(&mut records);
            if records.len() >= GATHERED_BYTES && result.is_ok() {
                frames.clear();
                writer.put(&records, &mut frames);
                result = file.write_all(&frames);
                records.clear();
            }
        });
    }
    result?;
    frames.clear();
    writer.put(&records, &mut frames);
    writer.end(&mut frames);
    file.write_all(&frames)?;
    file.sync_all()
}
