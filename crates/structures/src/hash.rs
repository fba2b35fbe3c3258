//! The hash of keys: fast, and seeded so that clients cannot choose keys that collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Hashes keys. All shards of a process use one seed, so a key's hash can be sent along with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHasher {
    secrets: RapidSecrets,
}

impl KeyHasher {
    pub fn new(seed: u64) -> Self {
        Self { secrets: RapidSecrets::seed(seed) }
    }

    /// The 64-bit hash of a key (rapidhash v3, seeded).
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_seeded(key, &self.secrets)
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher")
    }
}

/// A map whose keys are hashes of a [`KeyHasher`]: they are not hashed again.
pub type MapByHash<V> = HashMap<u64, V, BuildHasherDefault<HashedAlready>>;

/// Passes on a hash that is one already.
#[derive(Default)]
pub struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cursors of different servers agree as long as this hash does not change.
    #[test]
    fn the_hash_of_a_seed_stays_what_it_is() {
        let seed = KeyHasher::new(0).hash(b"a text");
        let hashes = (seed, KeyHasher::new(seed).hash(b"key:1"));
        assert_eq!(hashes, (3_623_973_102_283_682_672, 15_248_412_539_802_728_517));
    }
}
