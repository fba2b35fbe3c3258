//! Completion: where what a hop gave goes, and what comes of it all.

/// Who is told what a hop gave: a coordination, and which of its wishes it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub coordination: u64,
    pub index: usize,
}

/// A coordinator's encoded reply.
pub(crate) type Answer = Vec<u8>;
