//! Fieldsets: names of fields that a session keeps for HIMPORT, gone with it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The names of fields, in the order in which their values come.
pub(crate) type Fields = Arc<[Vec<u8>]>;

/// What a session prepared. LIMIT: `client-query-buffer-limit` bytes.
#[derive(Default)]
pub(crate) struct Fieldsets {
    by_name: BTreeMap<Vec<u8>, Fields>,
    bytes: usize,
}

/// About what a fieldset takes.
fn bytes_of(name: &[u8], fields: impl Iterator<Item = usize>) -> usize {
    let each = size_of::<Vec<u8>>();
    name.len() + each + size_of::<Fields>() + fields.map(|len| len + each).sum::<usize>()
}

impl Fieldsets {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Fields> {
        self.by_name.get(name)
    }

    /// Keeps a fieldset in the place of one of its name, if all take no more than `bytes_max` then; says
    /// whether it did.
    pub(crate) fn prepare(&mut self, name: &[u8], fields: &[&[u8]], bytes_max: u64) -> bool {
        let more = bytes_of(name, fields.iter().map(|field| field.len()));
        let replaced = self.get(name).map_or(0, |old| bytes_of(name, old.iter().map(Vec::len)));
        let bytes = self.bytes - replaced + more;
        if bytes as u64 > bytes_max {
            return false;
        }
        self.bytes = bytes;
        let fields = fields.iter().map(|field| field.to_vec()).collect();
        self.by_name.insert(name.to_vec(), fields);
        true
    }

    /// Forgets a fieldset; returns whether there was one of this name.
    pub(crate) fn discard(&mut self, name: &[u8]) -> bool {
        let Some(fields) = self.by_name.remove(name) else { return false };
        self.bytes -= bytes_of(name, fields.iter().map(Vec::len));
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_what_is_kept_and_bounded() {
        let mut sets = Fieldsets::default();
        let fields: &[&[u8]] = &[b"one", b"two", b""];
        assert!(sets.prepare(b"a", fields, 1000));
        let of_one = sets.bytes();
        assert!(sets.prepare(b"a", fields, 1000) && sets.bytes() == of_one);
        assert!(sets.prepare(b"b", fields, 2 * of_one as u64) && sets.len() == 2);
        assert!(!sets.prepare(b"c", fields, 2 * of_one as u64) && sets.get(b"c").is_none());
        assert!(
            sets.prepare(b"a", &fields[..1], 2 * of_one as u64),
            "in the place of a larger one"
        );
        assert_eq!(sets.get(b"a").map(|fields| fields.len()), Some(1));
        assert!(sets.discard(b"b") && !sets.discard(b"b") && sets.discard(b"a"));
        assert_eq!((sets.bytes(), sets.len()), (0, 0));
    }
}
