//! Completion: where what a hop gave goes, and what comes of it all.

/// Where a hop's result goes: a coordination, and which of its wishes it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub coordination: u64,
    pub index: usize,
}

/// A coordinator's encoded reply.
pub(crate) type Answer = Vec<u8>;
