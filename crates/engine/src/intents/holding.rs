//! Holding: a transaction at its home, while its visits are being granted.
//!
//! Pure, as [`Intents`](super::Intents) is: what comes in is a fact, what goes out is an answer.

use basalt_keyspace::ShardId;
use smallvec::SmallVec;

/// A transaction's visits. It is *decided* when all are granted at the same time: from then on nothing is
/// given back, and its effects are as good as done.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Holding {
    visits: SmallVec<[(ShardId, bool); 2]>,
    missing: usize,
    trust: Trust,
}

/// Whether another shard may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    No,
    /// Until it has spoken nothing is given back.
    Entrusted {
        is_inquired: bool,
    },
}

impl Holding {
    /// Each shard once.
    pub(crate) fn new(shards: impl IntoIterator<Item = ShardId>) -> Self {
        let visits: SmallVec<_> = shards.into_iter().map(|shard| (shard, false)).collect();
        Self { missing: visits.len(), visits, trust: Trust::No }
    }

    /// The one shard that has not granted may decide by itself. Until it says that it does not
    /// ([`Holding::is_not_decided_there`]), what was granted at home stays.
    pub(crate) fn entrust(&mut self) {
        self.trust = Trust::Entrusted { is_inquired: false };
    }

    pub(crate) fn is_entrusted(&self) -> bool {
        self.trust != Trust::No
    }

    /// The shard that was entrusted has others to let go first. Returns whether home's own grant, which was
    /// asked for meanwhile, is given back now.
    pub(crate) fn is_not_decided_there(&mut self, home: ShardId) -> bool {
        match std::mem::replace(&mut self.trust, Trust::No) {
            Trust::Entrusted { is_inquired: true } => self.inquired(home),
            _ => false,
        }
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.missing == 0
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.visits.iter().map(|(shard, _)| *shard)
    }

    /// Which of the visits goes to a shard.
    pub(crate) fn index_of(&self, shard: ShardId) -> usize {
        let at = self.visits.iter().position(|(other, _)| *other == shard);
        at.expect("only shards that are visited speak of a transaction")
    }

    /// A shard grants its visit. Returns whether that decides the transaction.
    pub(crate) fn granted(&mut self, shard: ShardId) -> bool {
        let at = self.index_of(shard);
        let was_granted = std::mem::replace(&mut self.visits[at].1, true);
        assert!(!was_granted, "a visit is granted once, or again when it was given back");
        self.missing -= 1;
        self.is_decided()
    }

    /// A shard asks for its grant. Returns whether it is given back.
    pub(crate) fn inquired(&mut self, shard: ShardId) -> bool {
        let at = self.index_of(shard);
        if self.is_decided() || !self.visits[at].1 {
            return false;
        }
        if let Trust::Entrusted { is_inquired } = &mut self.trust {
            *is_inquired = true;
            return false;
        }
        self.visits[at].1 = false;
        self.missing += 1;
        true
    }
}
