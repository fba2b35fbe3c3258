//! Base: all keys of a shard as a file, with which a generation begins.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use basalt_journal::{FileHeader, Frame, put_records};
use basalt_keyspace::{DatabaseId, Keyspace};

use super::folder::create;

/// LIMIT: bytes of records in a frame; a record that is longer has one of its own.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Writes all keys of a keyspace, and has them on disk.
pub(super) fn write(path: &Path, header: &FileHeader, keyspace: &Keyspace) -> io::Result<()> {
    let mut writer = Writer { file: create(path, header)?, header, position: 0, frame: Vec::new() };
    let mut records = Vec::new();
    let mut result = Ok(());
    for index in 0..keyspace.database_count() {
        keyspace.export(DatabaseId(index as u16), &mut |record| {
            record.encode(&mut records);
            if records.len() >= BODY_BYTES_MAX && result.is_ok() {
                result = writer.write(&records, Vec::new());
                records.clear();
            }
        });
    }
    result?;
    writer.write(&records, Vec::new())?;
    // The cut at its end says that it is whole.
    let end = vec![writer.position; usize::from(header.shards)];
    writer.write(&[], vec![end])?;
    writer.file.sync_all()
}

struct Writer<'a> {
    file: File,
    header: &'a FileHeader,
    position: u64,
    frame: Vec<u8>,
}

impl Writer<'_> {
    fn write(&mut self, records: &[u8], cuts: Vec<Vec<u64>>) -> io::Result<()> {
        let mut body = Vec::new();
        put_records(&mut body, records, false);
        let (position, clock_ms) = (self.position, self.header.created_ms);
        let frame = Frame { position, synced_to: 0, clock_ms, cuts, body: &body };
        self.frame.clear();
        frame.encode(self.header, &mut self.frame);
        self.position = frame.end();
        self.file.write_all(&self.frame)
    }
}
