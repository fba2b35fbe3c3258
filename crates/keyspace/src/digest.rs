//! Digest: a hash of all data, the same however it came to be there and however it is spread.
//!
//! The construction is that of Redis' DEBUG DIGEST, so that the two can be compared: entries are hashed
//! each on its own, and the hashes of these combined by XOR, which knows no order; databases are mixed in
//! by their numbers.

use sha1::{Digest as _, Sha1};

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
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
