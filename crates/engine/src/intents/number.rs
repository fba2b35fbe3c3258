//! Numbers: the order in which transactions go first where they meet.

use std::fmt::{self, Display};

use basalt_keyspace::{ShardId, TxnTag};

/// A transaction's number: lower goes first. No two are the same, and none is taken from a counter that
/// shards would share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number {
    /// Those that serve who stood in line go before all that came since, and so before all others.
    class: Class,
    at_us: u64,
    /// Where it was taken: the shard that hears what happens to the transaction.
    pub home: ShardId,
    /// Which of those that came behind that moment, in their order; 0 is the transaction itself.
    behind: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Class {
    InLine,
    Usual,
}

impl Default for Number {
    /// Before all others.
    fn default() -> Self {
        Self { class: Class::Usual, at_us: 0, home: ShardId(0), behind: 0 }
    }
}

impl Number {
    /// That of a transaction of `home` which another shard begins for it, with this as that shard's own: no
    /// other of `home` has it.
    pub(crate) fn on_behalf_of(self, home: ShardId) -> Self {
        Self { home, behind: u32::MAX - u32::from(self.home.0), ..self }
    }

    /// The same for a waiter that stood in line.
    pub(crate) fn in_line(self) -> Self {
        Self { class: Class::InLine, ..self }
    }

    /// Whether it is for a waiter that stood in line.
    pub(crate) fn is_in_line(self) -> bool {
        self.class == Class::InLine
    }

    /// That of the `nth` request (from 1) that its home sent behind this number and before the next.
    pub(crate) fn behind(self, nth: u32) -> Self {
        Self { behind: nth, ..self }
    }

    /// The tag of its transaction, which may write on so many shards, in this run of the process.
    pub(crate) fn tag(self, epoch: u64, parts: usize) -> TxnTag {
        let Self { at_us, home, behind, .. } = self;
        TxnTag { epoch, at_us, home, behind, parts: parts as u16 }
    }

    /// The moment (monotonic µs) when it was taken, or a little later.
    pub(crate) fn at_us(&self) -> u64 {
        self.at_us
    }
}

impl Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.at_us, self.home.0)?;
        if self.behind > 0 { write!(out, "+{}", self.behind) } else { Ok(()) }
    }
}

/// Hands out the numbers of one shard.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last_us: u64,
}

impl Numbers {
    /// The next number: the moment, or the one after all that were seen here, so that nobody is overtaken
    /// for ever by a shard whose turn is long.
    pub(crate) fn next(&mut self, home: ShardId, now_us: u64) -> Number {
        self.last_us = (self.last_us + 1).max(now_us);
        Number { class: Class::Usual, at_us: self.last_us, home, behind: 0 }
    }

    /// A number of another shard came by.
    pub(crate) fn saw(&mut self, number: Number) {
        self.last_us = self.last_us.max(number.at_us);
    }
}

#[cfg(test)]
impl Number {
    pub(crate) fn of(at_us: u64, home: u16) -> Self {
        Self { class: Class::Usual, at_us, home: ShardId(home), behind: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_and_never_meet() {
        let (mut here, mut there) = (Numbers::default(), Numbers::default());
        let first = here.next(ShardId(0), 10);
        let second = here.next(ShardId(0), 10);
        let other = there.next(ShardId(1), 10);
        assert!(first < second && first < other && second != other);
        assert!(first < first.behind(1) && first.behind(1) < first.behind(2));
        assert!(first.behind(2) < second);
        assert!(second.in_line() < first && first.in_line() < second.in_line());
        assert!(second.on_behalf_of(ShardId(7)) != there.next(ShardId(7), 11));
        there.saw(Number::of(500, 0));
        assert!(there.next(ShardId(1), 20) > Number::of(500, 0));
    }
}
