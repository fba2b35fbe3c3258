//! Fields: a large hash, its fields in order of their bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::block::block_bytes;
use crate::hash::KeyHasher;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub expire_at_ms: Option<u64>,
}

#[derive(Debug)]
struct Held {
    value: Box<[u8]>,
    expire_at_ms: Option<u64>,
}

/// A large hash.
#[derive(Debug, Default)]
pub struct Fields {
    fields: BTreeMap<Box<[u8]>, Held>,
    /// The fields that expire, the next one first.
    expiring: BTreeSet<(u64, Box<[u8]>)>,
    heap_bytes: usize,
}

fn field_bytes(name: &[u8], value: &[u8]) -> usize {
    block_bytes(name.len()) + block_bytes(value.len()) + 56
}

fn expiring_bytes(name: &[u8]) -> usize {
    block_bytes(name.len()) + 32
}

impl Fields {
    pub fn new(_hasher: &KeyHasher) -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        let (name, held) = self.fields.get_key_value(name)?;
        Some(Field { name, value: &held.value, expire_at_ms: held.expire_at_ms })
    }

    /// Sets a field, whatever it held; says whether it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expire_at_ms: Option<u64>) -> bool {
        let is_new = !self.remove(name);
        self.fields.insert(name.into(), Held { value: value.into(), expire_at_ms });
        self.heap_bytes += field_bytes(name, value);
        self.note_expiry(name, None, expire_at_ms);
        is_new
    }

    /// Removes a field; says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(held) = self.fields.remove(name) else { return false };
        self.heap_bytes -= field_bytes(name, &held.value);
        self.note_expiry(name, held.expire_at_ms, None);
        true
    }

    /// Sets or takes away a field's expiry; says whether the field is there.
    pub fn set_expire_at_ms(&mut self, name: &[u8], expire_at_ms: Option<u64>) -> bool {
        let Some(held) = self.fields.get_mut(name) else { return false };
        let before = std::mem::replace(&mut held.expire_at_ms, expire_at_ms);
        self.note_expiry(name, before, expire_at_ms);
        true
    }

    fn note_expiry(&mut self, name: &[u8], before: Option<u64>, after: Option<u64>) {
        if let Some(at_ms) = before {
            self.expiring.remove(&(at_ms, name.into()));
            self.heap_bytes -= expiring_bytes(name);
        }
        if let Some(at_ms) = after {
            self.expiring.insert((at_ms, name.into()));
            self.heap_bytes += expiring_bytes(name);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().map(|(name, held)| Field {
            name,
            value: &held.value,
            expire_at_ms: held.expire_at_ms,
        })
    }

    /// When the first field expires.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.expiring.first().map(|(at_ms, _)| *at_ms)
    }

    /// The fields that are due at a moment, in the order of time.
    pub fn due(&self, now_ms: u64) -> impl Iterator<Item = &[u8]> {
        let due = self.expiring.iter().take_while(move |(at_ms, _)| *at_ms <= now_ms);
        due.map(|(_, name)| &**name)
    }

    /// How many fields are due at a moment.
    pub fn due_count(&self, now_ms: u64) -> usize {
        self.due(now_ms).count()
    }

    /// Drops about `count` fields; returns the heap bytes that were freed.
    pub fn drop_some(&mut self, count: usize) -> usize {
        let before = self.heap_bytes;
        for _ in 0..count {
            let Some((name, _)) = self.fields.first_key_value() else { break };
            let name = name.clone();
            self.remove(&name);
        }
        before - self.heap_bytes
    }
}
