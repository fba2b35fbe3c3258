//! File: the parts of a snapshot as bytes, for whoever puts them one behind the other.

use basalt_keyspace::Entry;

use super::{Writer, put_bytes, put_number};
use crate::format::{VERSION_VALKEY_MIN, opcode};
use crate::target::{Loss, Target};

/// How a key was used, for eviction by the server that loads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyHints {
    pub idle_seconds: Option<u64>,
    pub frequency: Option<u8>,
}

/// Writes the parts of a file.
#[derive(Debug)]
pub struct FileWriter {
    writer: Writer,
    target: Target,
}

impl FileWriter {
    pub fn new(target: Target, compresses: bool) -> Self {
        Self { writer: Writer::new(target, compresses), target }
    }

    /// What a file begins with, and metadata: names and values.
    pub fn put_head(&self, metadata: &[(&str, String)], out: &mut Vec<u8>) {
        let version = self.target.file_version();
        let head = if version < VERSION_VALKEY_MIN {
            format!("REDIS{version:04}")
        } else {
            format!("VALKEY{version:03}")
        };
        out.extend_from_slice(head.as_bytes());
        for (name, value) in metadata {
            out.push(opcode::AUX);
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        }
    }

    /// The code of a library of functions.
    pub fn put_function(&mut self, code: &[u8], out: &mut Vec<u8>) {
        out.push(opcode::FUNCTION_2);
        self.writer.put_text(code, out);
    }

    /// The database of the keys that follow.
    pub fn put_database(&self, database: u64, out: &mut Vec<u8>) {
        out.push(opcode::SELECT_DB);
        put_number(out, database);
    }

    /// How many keys the database has, and how many of them expire.
    pub fn put_sizes(&self, keys: u64, expiring: u64, out: &mut Vec<u8>) {
        out.push(opcode::RESIZE_DB);
        put_number(out, keys);
        put_number(out, expiring);
    }

    /// A key with its value and expiry. Returns what was left out.
    ///
    /// # Errors
    /// The [`Loss`] if the target has no form for the value; nothing is appended then.
    pub fn put_key(
        &mut self,
        entry: &Entry,
        hints: KeyHints,
        out: &mut Vec<u8>,
    ) -> Result<Option<Loss>, Loss> {
        let plan = self.writer.plan(entry)?;
        if let Some(at_ms) = entry.expire_at_ms() {
            out.push(opcode::EXPIRE_TIME_MS);
            out.extend_from_slice(&at_ms.to_le_bytes());
        }
        if let Some(seconds) = hints.idle_seconds {
            out.push(opcode::IDLE);
            put_number(out, seconds);
        }
        if let Some(frequency) = hints.frequency {
            out.extend([opcode::FREQ, frequency]);
        }
        out.push(plan.number);
        self.writer.put_text(entry.key(), out);
        self.writer.put_value(entry, plan, out);
        Ok(plan.loss)
    }

    /// What a file ends with, but for the checksum of all before it, which follows in 8 bytes,
    /// little-endian.
    pub fn put_end(&self, out: &mut Vec<u8>) {
        out.push(opcode::EOF);
    }
}
