//! Export: all of a keyspace as the bytes of a snapshot file, without a server that runs.
//!
//! Not here: where the keyspace comes from, and the end of the file (`server`).

use basalt_commands::config::Config;
use basalt_keyspace::{DatabaseId, Keyspace};
use basalt_rdb::{FileWriter, read_functions};

use crate::saving::{ChunkSink, chunk_sink};

/// What a file says of itself and of the data as a whole.
pub(crate) struct FileHead<'a> {
    pub(crate) config: &'a Config,
    pub(crate) now_ms: u64,
    pub(crate) used_bytes: usize,
    /// It is the base of an append-only file.
    pub(crate) is_base: bool,
    /// The code of each library of functions.
    pub(crate) functions: Vec<&'a [u8]>,
    /// How many keys each database has, and how many of them expire.
    pub(crate) sizes: Vec<(u64, u64)>,
}

impl FileHead<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let config = self.config;
        let mut writer = FileWriter::new(config.rdb_target.into(), config.rdbcompression);
        let metadata = [
            ("redis-ver", "7.2.0".to_owned()),
            ("redis-bits", "64".to_owned()),
            ("ctime", (self.now_ms / 1000).to_string()),
            ("used-mem", self.used_bytes.to_string()),
            ("basalt-ver", env!("CARGO_PKG_VERSION").to_owned()),
            ("aof-base", u8::from(self.is_base).to_string()),
        ];
        let mut out = Vec::new();
        writer.put_head(&metadata, &mut out);
        for code in &self.functions {
            writer.put_function(code, &mut out);
        }
        for (database, &(keys, expiring)) in self.sizes.iter().enumerate() {
            if keys > 0 {
                writer.put_database(database as u64, &mut out);
                writer.put_sizes(keys, expiring, &mut out);
            }
        }
        out
    }
}

/// Writes all of a keyspace, and the state beside keys as [`Core::state`](crate::Core::state) gives it, as a snapshot
/// file without its last bytes: the opcode that ends it and the checksum.
///
/// # Errors
/// Those of `write`; a value that has no form in `rdb-target`; a state that is none.
pub fn export(
    keyspace: &mut Keyspace,
    state: Option<&[u8]>,
    (config, now_ms): (&Config, u64),
    write: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let functions = state.map(read_functions).transpose().map_err(|error| error.to_string())?;
    let functions = functions.unwrap_or_default();
    let databases = (0..keyspace.database_count() as u16).map(DatabaseId);
    let sizes = databases.map(|database| keyspace.statistics(database));
    let head = FileHead {
        config,
        now_ms,
        used_bytes: keyspace.used_bytes(),
        is_base: true,
        functions: functions.iter().map(AsRef::as_ref).collect(),
        sizes: sizes.map(|own| (own.keys as u64, own.expiring as u64)).collect(),
    };
    write(&head.encode())?;
    let uses = keyspace.use_reader();
    keyspace.begin_snapshot(Box::new(ChunkSink::of_snapshot(config, uses, now_ms)));
    let mut is_left = true;
    while is_left {
        // A step at a time, so that chunks leave before the next ones are made.
        let mut steps = 0;
        is_left = keyspace.write_snapshot(&mut || {
            steps += 1;
            steps < 64
        });
        let sink = chunk_sink(keyspace).expect("the snapshot was not ended");
        if let Some(refusal) = sink.refusal.take() {
            return Err(refusal);
        }
        while let Some(chunk) = sink.take_chunk(!is_left) {
            write(&chunk)?;
        }
    }
    keyspace.end_snapshot();
    Ok(())
}
