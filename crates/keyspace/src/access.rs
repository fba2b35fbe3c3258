//! Access: sets how a key was used, for values that come from another server with that knowledge.
//!
//! Not here: uses as they happen (`Keyspace::read`), how often a key is used (`frequency`).

use crate::frequency::{self, Uses};
use crate::key::Key;
use crate::{DatabaseId, Keyspace};

const ACCESS_MASK: u32 = 0x00FF_FFFF;

impl Keyspace {
    /// Has a key count as unused for so many seconds; nothing happens where uses are counted, or the key is
    /// absent. Up to 194 days can be told apart.
    pub fn set_idle_seconds(&mut self, database: DatabaseId, key: &Key<'_>, seconds: u64) {
        if self.uses == Uses::Last {
            let seconds = u32::try_from(seconds).unwrap_or(ACCESS_MASK).min(ACCESS_MASK);
            let now_seconds = (self.now_ms / 1000) as u32;
            self.set_access_word(database, key, now_seconds.wrapping_sub(seconds) & ACCESS_MASK);
        }
    }

    /// Has a key count as used as often as a logarithmic counter says; nothing happens where uses are not
    /// counted, or the key is absent.
    pub fn set_use_counter(&mut self, database: DatabaseId, key: &Key<'_>, counter: u8) {
        let word = match (self.uses, &self.lrfu) {
            (Uses::Counted(_), _) => frequency::word_with_counter(self.now_ms, counter),
            (Uses::Faded, Some(lrfu)) => lrfu.now().word_with_counter(counter),
            _ => return,
        };
        self.set_access_word(database, key, word);
    }

    fn set_access_word(&mut self, database: DatabaseId, key: &Key<'_>, word: u32) {
        if let Some(place) = self.databases.get(database).find(key) {
            self.databases.touch(database, key.slot, place, word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, Frequency, KeyHasher, idle_seconds};

    #[test]
    fn uses_of_before_are_kept() {
        let now_ms = 1_700_000_000_000;
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), now_ms);
        let database = DatabaseId(0);
        let (key, absent) = (keyspace.key(b"key"), keyspace.key(b"absent"));
        keyspace.edit(database, &key).commit(Effect::SetInteger { value: 1, expire_at_ms: None });
        let access = |keyspace: &Keyspace| keyspace.peek(database, &key).unwrap().access();
        for (seconds, wanted) in [(0, 0), (1000, 1000), (u64::MAX, 0x00FF_FFFF)] {
            keyspace.set_idle_seconds(database, &key, seconds);
            keyspace.set_idle_seconds(database, &absent, seconds);
            assert_eq!(idle_seconds(access(&keyspace), now_ms), wanted);
        }
        keyspace.set_use_counter(database, &key, 200);
        assert_eq!(idle_seconds(access(&keyspace), now_ms), 0x00FF_FFFF);
        let frequency = Frequency { log_factor: 10, decay_minutes: 1 };
        keyspace.set_uses(Uses::Counted(frequency));
        keyspace.set_use_counter(database, &key, 200);
        keyspace.set_idle_seconds(database, &key, 5);
        assert_eq!(frequency.of(access(&keyspace), now_ms), 200);
    }
}
