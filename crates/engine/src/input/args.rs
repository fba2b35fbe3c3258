//! Args: the arguments of a request that outlive it.

use basalt_keyspace::LongString;
use smallvec::SmallVec;

/// Arguments one after the other in one buffer: another core may free them, and that costs. Large ones that were
/// received apart are shared.
pub(crate) struct OwnedArgs {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Each with its place; it has no bytes in the buffer.
    long: Vec<(usize, LongString)>,
}

impl OwnedArgs {
    pub(crate) fn new(args: &[&[u8]]) -> Self {
        Self::sharing(args, &[])
    }

    /// Shares those arguments that are among `received`, and copies the others.
    pub(crate) fn sharing(args: &[&[u8]], received: &[LongString]) -> Self {
        let shared = |arg: &[u8]| received.iter().find(|long| long.is(arg));
        let copied = args.iter().filter(|arg| shared(arg).is_none());
        let mut bytes = Vec::with_capacity(copied.map(|arg| arg.len()).sum());
        let (mut ends, mut long) = (Vec::with_capacity(args.len()), Vec::new());
        for (at, arg) in args.iter().enumerate() {
            match shared(arg) {
                Some(own) => long.push((at, own.clone())),
                None => bytes.extend_from_slice(arg),
            }
            ends.push(bytes.len());
        }
        Self { bytes, ends, long }
    }

    pub(crate) fn all(&self) -> SmallVec<[&[u8]; 16]> {
        let mut start = 0;
        let arg = |&end| &self.bytes[std::mem::replace(&mut start, end)..end];
        let mut all: SmallVec<[&[u8]; 16]> = self.ends.iter().map(arg).collect();
        for (at, long) in &self.long {
            all[*at] = long;
        }
        all
    }

    /// Those that are shared, to be lent to the keyspace.
    pub(crate) fn long(&self) -> Vec<LongString> {
        self.long.iter().map(|(_, long)| long.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.long.iter().map(|(_, long)| long.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_apart_is_shared() {
        let long = LongString::from(&[b'x'; 100_000][..]);
        let args = OwnedArgs::sharing(&[b"SET", b"key", &long, b"NX"], std::slice::from_ref(&long));
        let all = args.all();
        assert_eq!(all[..], [b"SET", b"key", &long[..], b"NX"]);
        assert!(long.is(all[2]) && args.long().len() == 1);
        assert_eq!((args.len(), args.bytes()), (4, 100_008));
        let copied = OwnedArgs::new(&[b"SET", &long]);
        assert!(!long.is(copied.all()[1]) && copied.long().is_empty());
    }
}
