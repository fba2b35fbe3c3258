//! Received: long arguments of the request that is being worked. One that becomes a value is not copied.

use basalt_structures::LongString;

use crate::Keyspace;

/// Strings from here on can be shared: they are received into the memory where they stay, and sent from there.
pub const LONG_STRING_BYTES: usize = 64 << 10;

impl Keyspace {
    /// Lends the long arguments of the request that is worked next.
    pub fn lend_received(&mut self, strings: &[LongString]) {
        self.received.extend_from_slice(strings);
    }

    /// Lends other long arguments, for a call within the work of a request. Returns those that were lent.
    pub fn swap_received(&mut self, strings: Vec<LongString>) -> Vec<LongString> {
        std::mem::replace(&mut self.received, strings)
    }

    /// What of [`Self::lend_received`] became no value.
    pub fn received(&self) -> &[LongString] {
        &self.received
    }

    /// The request is worked: what it received is no longer lent.
    pub fn end_received(&mut self) {
        self.received.clear();
    }

    /// A value that is long enough as what it shall be: what its request received it into, else a copy.
    pub(crate) fn long_string(&mut self, value: &[u8]) -> Option<LongString> {
        if value.len() < LONG_STRING_BYTES {
            return None;
        }
        let own = self.received.iter().position(|string| string.is(value));
        Some(own.map_or_else(|| LongString::from(value), |at| self.received.swap_remove(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatabaseId, Effect, KeyHasher};

    #[test]
    fn a_received_argument_becomes_the_value_as_it_is() {
        let id = DatabaseId(0);
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1000);
        let received = LongString::from(&vec![b'x'; 2 * LONG_STRING_BYTES][..]);
        keyspace.lend_received(std::slice::from_ref(&received));
        for (name, value, is_same) in
            [("a", &*received, true), ("b", &*received, false), ("c", &received[1..], false)]
        {
            let key = keyspace.key(name.as_bytes());
            let effect = Effect::SetString { value, expire_at_ms: None, changed: false };
            keyspace.edit(id, &key).commit(effect);
            let entry = keyspace.read(id, &key).expect("it was set");
            let long = entry.long_string().expect("it is long");
            assert_eq!(long.is(&received), is_same, "{name}");
            assert!(*long == *value);
        }
        keyspace.end_received();
        assert!(keyspace.received().is_empty());
    }
}
