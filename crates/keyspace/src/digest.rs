//! Digest: a hash of all data, the same however it came to be there and however it is spread.
//!
//! The construction is that of Redis' DEBUG DIGEST, so that the two can be compared: entries are hashed
//! each on its own, and the hashes of these combined by XOR, which knows no order; databases are mixed in
//! by their numbers.

use basalt_structures::{Content, Entry};
use sha1::{Digest as _, Sha1};

use crate::{DatabaseId, Keyspace, collections};

/// A digest as DEBUG DIGEST shows it: 20 bytes, all zero for no data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    pub(crate) fn xor(&mut self, bytes: &[u8]) {
        let hash: [u8; 20] = Sha1::digest(bytes).into();
        self.absorb(&Self(hash));
    }

    /// Adds another digest, of other entries of the same database.
    pub fn absorb(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine ^= theirs;
        }
    }

    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        self.xor(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    /// The digest of one entry's value at a moment and of its expiry, with its key if `with_key`.
    pub fn of_entry(entry: &Entry, now_ms: u64, with_key: bool) -> Self {
        let mut digest = Self::default();
        if with_key {
            digest.mix(entry.key());
        }
        digest.mix(&collections::digest_type(entry.kind()).to_be_bytes());
        match entry.content() {
            Some(Content::Bytes(bytes)) => digest.mix(bytes),
            Some(Content::Integer(value)) => digest.mix(value.to_string().as_bytes()),
            None => {
                collections::digest_elements(entry, now_ms, &mut digest);
            }
        }
        if entry.expire_at_ms().is_some() {
            digest.xor(b"!!expire!!");
        }
        digest
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Keyspace {
    /// The digest of each database's entries on this shard. Those of all shards, XORed per database, go
    /// to [`combine_digests`].
    pub fn digests(&self) -> Vec<Digest> {
        let digest_of = |index| {
            let mut digest = Digest::default();
            self.visit_all(DatabaseId(index), &mut |entry| {
                digest.xor(&Digest::of_entry(entry, self.now_ms, true).0);
            });
            digest
        };
        (0..self.database_count() as u16).map(digest_of).collect()
    }
}

/// The digest of everything, from those of the databases and how many keys each has.
pub fn combine_digests(databases: &[(Digest, usize)]) -> Digest {
    let mut digest = Digest::default();
    for (index, (database, _)) in databases.iter().enumerate().filter(|(_, (_, keys))| *keys > 0) {
        digest.mix(&(index as u32).to_be_bytes());
        digest.absorb(database);
    }
    digest
}
