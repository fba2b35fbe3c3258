//! Args: the arguments of a request that outlive it.

use smallvec::SmallVec;

/// Arguments one after the other in one buffer: another core may free them, and that costs.
pub(crate) struct OwnedArgs {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl OwnedArgs {
    pub(crate) fn new(args: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(args.iter().map(|arg| arg.len()).sum());
        let mut ends = Vec::with_capacity(args.len());
        for arg in args {
            bytes.extend_from_slice(arg);
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    pub(crate) fn all(&self) -> SmallVec<[&[u8]; 16]> {
        let mut start = 0;
        let arg = |&end| &self.bytes[std::mem::replace(&mut start, end)..end];
        self.ends.iter().map(arg).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
