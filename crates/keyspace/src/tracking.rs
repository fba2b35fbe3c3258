//! Tracking: which clients may hold copies of which keys, and what they have to hear of changes.
//!
//! Costs no byte in an entry: a table has the keys that tracking clients have read. A change of a key takes it out
//! of the table; clients read it again to hear of the next change.
//!
//! Not here: the clients, and how they are notified (the engine).

use std::collections::VecDeque;

use basalt_structures::MapByHash;

use crate::key::Key;
use crate::origin::ClientId;
use crate::slot::SlotId;

/// What clients have to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidated {
    /// A key that these clients have read.
    Key { name: Box<[u8]>, clients: Vec<ClientId>, origin: Option<ClientId> },
    /// Any key, for those that hear of all of a prefix.
    Changed { name: Box<[u8]>, origin: Option<ClientId> },
    /// All keys of a database.
    All,
}

/// A key and the clients that have read it.
#[derive(Debug)]
pub(crate) struct TrackedKey {
    name: Box<[u8]>,
    clients: Vec<ClientId>,
    /// Its place in the order: keys that came later have higher ones.
    number: u64,
}

/// The keys that clients have read, by their hashes.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    keys: MapByHash<TrackedKey>,
    /// The hashes and numbers of keys in the order in which they came. An entry whose number is not its key's is stale;
    /// LIMIT: as many stale ones as keys, and 64.
    order: VecDeque<(u64, u64)>,
    next_number: u64,
    items: usize,
    /// How many keys may be tracked; 0: any number.
    keys_max: usize,
    /// Somebody hears of all keys of a prefix.
    has_prefixes: bool,
    /// Somebody tracks, be it nothing yet.
    has_clients: bool,
    out: Vec<Invalidated>,
}

impl Tracking {
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.has_clients || self.has_prefixes || !self.keys.is_empty()
    }

    pub(crate) fn set_listeners(&mut self, has_clients: bool, has_prefixes: bool) {
        (self.has_clients, self.has_prefixes) = (has_clients, has_prefixes);
    }

    pub(crate) fn set_keys_max(&mut self, keys_max: usize) {
        self.keys_max = keys_max;
        self.drop_excess();
    }

    /// How many keys are tracked, and by how many clients in all.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.keys.len(), self.items)
    }

    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        !self.out.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<Invalidated> {
        std::mem::take(&mut self.out)
    }

    /// A client has read a key.
    pub(crate) fn add(&mut self, key: &Key<'_>, client: ClientId) {
        if self.keys.get(&key.hash).is_some_and(|tracked| *tracked.name != *key.bytes) {
            // Another key with the same hash.
            self.drop_key(key.hash);
        }
        let tracked = self.keys.entry(key.hash).or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            self.order.push_back((key.hash, number));
            TrackedKey { name: key.bytes.into(), clients: Vec::with_capacity(1), number }
        });
        if !tracked.clients.contains(&client) {
            tracked.clients.push(client);
            self.items += 1;
        }
        self.drop_excess();
        if self.order.len() > 2 * self.keys.len() + 64 {
            let keys = &self.keys;
            self.order.retain(|(hash, number)| is_current(keys, *hash, *number));
        }
    }

    /// A key was changed for a client.
    pub(crate) fn changed(&mut self, key: &Key<'_>, origin: Option<ClientId>) {
        let is_it = |tracked: &TrackedKey| *tracked.name == *key.bytes;
        if self.keys.get(&key.hash).is_some_and(is_it)
            && let Some(TrackedKey { name, clients, .. }) = self.keys.remove(&key.hash)
        {
            self.items -= clients.len();
            self.out.push(Invalidated::Key { name, clients, origin });
        }
        if self.has_prefixes {
            self.out.push(Invalidated::Changed { name: key.bytes.into(), origin });
        }
    }

    /// A database was emptied.
    pub(crate) fn flushed(&mut self) {
        self.keys = MapByHash::default();
        self.order.clear();
        self.items = 0;
        self.out.push(Invalidated::All);
    }

    fn drop_key(&mut self, hash: u64) {
        if let Some(TrackedKey { name, clients, .. }) = self.keys.remove(&hash) {
            self.items -= clients.len();
            self.out.push(Invalidated::Key { name, clients, origin: None });
        }
    }

    /// Drops the keys that came first, as long as there are too many; their clients hear of it.
    fn drop_excess(&mut self) {
        while self.keys_max > 0
            && self.keys.len() > self.keys_max
            && let Some((hash, number)) = self.order.pop_front()
        {
            if is_current(&self.keys, hash, number) {
                self.drop_key(hash);
            }
        }
    }

    /// Takes out the keys of some slots, which go to another shard.
    pub(crate) fn detach(&mut self, is_meant: &dyn Fn(SlotId) -> bool) -> Vec<(u64, TrackedKey)> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let leaving = self.keys.extract_if(|_, key| is_meant(SlotId::of_key(&key.name)));
        let mut moving: Vec<(u64, TrackedKey)> = leaving.collect();
        moving.sort_unstable_by_key(|(hash, _)| *hash);
        self.items -= moving.iter().map(|(_, key)| key.clients.len()).sum::<usize>();
        moving
    }

    pub(crate) fn attach(&mut self, moving: Vec<(u64, TrackedKey)>) {
        for (hash, TrackedKey { name, clients, .. }) in moving {
            let key = Key { slot: SlotId::of_key(&name), bytes: &name, hash };
            clients.into_iter().for_each(|client| self.add(&key, client));
        }
    }
}

fn is_current(keys: &MapByHash<TrackedKey>, hash: u64, number: u64) -> bool {
    keys.get(&hash).is_some_and(|key| key.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyHasher, ShardId};

    fn client(session: u64) -> ClientId {
        ClientId { home: ShardId(0), session }
    }

    fn key(name: &[u8]) -> Key<'_> {
        Key::new(name, &KeyHasher::new(1))
    }

    fn of_key(name: &[u8], clients: &[u64]) -> Invalidated {
        let clients = clients.iter().map(|number| client(*number)).collect();
        Invalidated::Key { name: name.into(), clients, origin: None }
    }

    #[test]
    fn a_change_is_heard_once() {
        let mut tracking = Tracking::default();
        for number in [1, 2, 1] {
            tracking.add(&key(b"k"), client(number));
        }
        tracking.add(&key(b"other"), client(1));
        assert_eq!(tracking.counts(), (2, 3));
        tracking.changed(&key(b"k"), None);
        tracking.changed(&key(b"k"), None);
        assert_eq!(tracking.take(), [of_key(b"k", &[1, 2])]);
        tracking.set_listeners(true, true);
        tracking.changed(&key(b"k"), Some(client(3)));
        let changed = Invalidated::Changed { name: b"k"[..].into(), origin: Some(client(3)) };
        assert_eq!(tracking.take(), [changed]);
        tracking.flushed();
        assert_eq!((tracking.take(), tracking.counts()), (vec![Invalidated::All], (0, 0)));
    }

    #[test]
    fn what_is_too_much_is_dropped_and_heard() {
        let mut tracking = Tracking::default();
        tracking.set_keys_max(2);
        for name in [&b"a"[..], b"b", b"a", b"c"] {
            tracking.add(&key(name), client(1));
        }
        assert_eq!(tracking.take(), [of_key(b"a", &[1])]);
        tracking.changed(&key(b"b"), None);
        (0..1000_u32).for_each(|number| tracking.add(&key(&number.to_le_bytes()), client(1)));
        assert!(tracking.counts() == (2, 2) && tracking.order.len() <= 100);
    }

    #[test]
    fn the_order_of_keys_read_and_changed_again_and_again_stays_small() {
        let mut tracking = Tracking::default();
        tracking.set_keys_max(2);
        tracking.add(&key(b"quiet"), client(1));
        for _ in 0..1000 {
            tracking.add(&key(b"busy"), client(1));
            tracking.changed(&key(b"busy"), None);
        }
        tracking.take();
        assert!(tracking.order.len() <= 100, "{}", tracking.order.len());
        tracking.add(&key(b"busy"), client(1));
        assert_eq!((tracking.order.len() <= 100, tracking.counts()), (true, (2, 2)));
        // Read again after its change, it is not the first any more.
        tracking.changed(&key(b"quiet"), None);
        tracking.add(&key(b"quiet"), client(1));
        tracking.take();
        tracking.add(&key(b"third"), client(1));
        assert_eq!(tracking.take(), [of_key(b"busy", &[1])]);
    }

    #[test]
    fn keys_go_with_their_slots() {
        let (mut here, mut there) = (Tracking::default(), Tracking::default());
        here.add(&key(b"{a}1"), client(1));
        here.add(&key(b"{b}1"), client(2));
        let slot = SlotId::of_key(b"a");
        there.attach(here.detach(&|other| other == slot));
        assert_eq!((here.counts(), there.counts()), ((1, 1), (1, 1)));
        there.changed(&key(b"{a}1"), None);
        assert_eq!(there.take(), [of_key(b"{a}1", &[1])]);
    }
}
