//! Books: the memory that the sessions of a core take, and which of them take most.
//!
//! They are kept where a setting needs them (`maxmemory`, `maxmemory-clients`). Sessions are borrowed mutably through
//! [`Sessions::get_mut`] alone, which notes them here; [`Sessions::settle_books`] measures those that were noted. So
//! the books are exact at the end of a turn, at a cost that grows with the sessions that were busy in it.
//!
//! As in Redis (`networking.c`, `evictClients`), sizes differ only if their powers of two do: within a class any
//! session may be the largest.
//!
//! Not here: who is cut off (`core/maintenance.rs`).

use super::{Session, SessionId, Sessions};

/// Sessions of up to 32 KiB are in the first class, those from 4 GiB on in the last one.
const CLASSES: usize = 19;
const SMALLEST_LOG2: u32 = 15;

/// What the books know of a session.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: usize,
    /// Of these, large arguments that are arriving.
    argument_bytes: usize,
    /// Of these, such that can never be stored because they are larger than `maxmemory`.
    unfit_bytes: usize,
    /// Its class and its place in that; none where it must not be cut off.
    class: Option<(u8, u32)>,
    /// It was noted, or no books are kept.
    is_noted: bool,
}

impl Weight {
    pub(super) fn new() -> Self {
        Self { bytes: 0, argument_bytes: 0, unfit_bytes: 0, class: None, is_noted: true }
    }
}

#[derive(Debug, Default)]
pub(super) struct Books {
    is_kept: bool,
    changed: Vec<SessionId>,
    totals: Totals,
    classes: [Vec<SessionId>; CLASSES],
}

/// The memory of all sessions of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub bytes: usize,
    /// Of these, large arguments that are arriving and can never be stored: nothing is evicted for them.
    pub unfit_bytes: usize,
}

impl Books {
    #[inline]
    pub(super) fn note(&mut self, id: SessionId, weight: &mut Weight) {
        if !weight.is_noted {
            weight.is_noted = true;
            self.changed.push(id);
        }
    }
}

fn class_of(bytes: usize) -> u8 {
    let log2 = (usize::BITS - bytes.leading_zeros()).max(SMALLEST_LOG2);
    ((log2 - SMALLEST_LOG2) as usize).min(CLASSES - 1) as u8
}

impl Sessions {
    /// Has books be kept from now on, or no more.
    pub(crate) fn keep_books(&mut self, is_kept: bool) {
        if self.books.is_kept == is_kept {
            return;
        }
        self.books = Books { is_kept, ..Books::default() };
        for place in &mut self.places {
            let Some(session) = &mut place.session else { continue };
            session.weight = Weight::new();
            if is_kept {
                self.books.changed.push(session.id);
            }
        }
    }

    /// A session that was just opened.
    pub(super) fn enter(&mut self, id: SessionId) {
        if self.books.is_kept {
            self.books.changed.push(id);
        }
    }

    /// Measures the sessions that may have changed. `storable_bytes` is the largest argument that may ever be stored.
    pub(crate) fn settle_books(&mut self, storable_bytes: u64) -> Totals {
        while let Some(id) = self.books.changed.pop() {
            let place = &mut self.places[id.index as usize];
            let is_there = place.generation == id.generation;
            let Some(session) = place.session.as_mut().filter(|_| is_there) else { continue };
            let Session { weight, .. } = &**session;
            let before = (weight.bytes, weight.unfit_bytes, weight.class);
            let (arrived, announced) = session.input.large_bytes();
            let is_unfit = announced as u64 > storable_bytes;
            let class = session.may_be_evicted().then(|| class_of(session.heap_bytes()));
            session.weight.bytes = session.heap_bytes();
            session.weight.argument_bytes = arrived;
            session.weight.unfit_bytes = if is_unfit { arrived } else { 0 };
            session.weight.is_noted = false;
            let totals = &mut self.books.totals;
            totals.bytes = totals.bytes - before.0 + session.weight.bytes;
            totals.unfit_bytes = totals.unfit_bytes - before.1 + session.weight.unfit_bytes;
            if before.2.map(|(class, _)| class) != class {
                self.change_class(id, class);
            }
        }
        self.books.totals
    }

    /// The books as they were settled last.
    pub(crate) fn totals(&self) -> Totals {
        self.books.totals
    }

    /// The large arguments of a session that are in the totals.
    pub(crate) fn counted_argument_bytes(&self, id: SessionId) -> usize {
        self.get(id).map_or(0, |session| session.weight.argument_bytes - session.weight.unfit_bytes)
    }

    fn change_class(&mut self, id: SessionId, class: Option<u8>) {
        let Some(session) = &mut self.places[id.index as usize].session else { return };
        let entered = class.map(|class| {
            let members = &mut self.books.classes[usize::from(class)];
            members.push(id);
            (class, members.len() as u32 - 1)
        });
        let left = std::mem::replace(&mut session.weight.class, entered);
        self.leave_class(left);
    }

    fn leave_class(&mut self, left: Option<(u8, u32)>) {
        let Some((class, at)) = left else { return };
        let members = &mut self.books.classes[usize::from(class)];
        members.swap_remove(at as usize);
        if let Some(moved) = members.get(at as usize)
            && let Some(session) = &mut self.places[moved.index as usize].session
        {
            session.weight.class = Some((class, at));
        }
    }

    /// A session that was closed.
    pub(super) fn leave(&mut self, weight: &Weight) {
        self.books.totals.bytes -= weight.bytes;
        self.books.totals.unfit_bytes -= weight.unfit_bytes;
        self.leave_class(weight.class);
    }

    /// The class of the largest sessions that may be cut off, from 1 on; 0 where there are none.
    pub(crate) fn largest_class(&self) -> u8 {
        self.books
            .classes
            .iter()
            .rposition(|members| !members.is_empty())
            .map_or(0, |at| at as u8 + 1)
    }

    /// Takes the largest session that may be cut off out of the books.
    pub(crate) fn take_largest(&mut self) -> Option<SessionId> {
        let id = *self.books.classes.iter().rev().find_map(|members| members.last())?;
        self.change_class(id, None);
        let session = self.places[id.index as usize].session.as_mut()?;
        self.books.totals.bytes -= std::mem::take(&mut session.weight.bytes);
        self.books.totals.unfit_bytes -= std::mem::take(&mut session.weight.unfit_bytes);
        session.weight.argument_bytes = 0;
        // What it takes until it is closed is not measured any more.
        session.weight.is_noted = true;
        Some(id)
    }

    /// Compares the books with all sessions, for tests.
    pub(crate) fn verify_books(&mut self) {
        let totals = self.settle_books(u64::MAX);
        let sum: usize = self.iter().map(|session| session.weight.bytes).sum();
        assert_eq!(totals.bytes, sum);
        for session in self.iter() {
            let is_out = session.weight.is_noted;
            assert!(is_out || session.weight.bytes == session.heap_bytes(), "{}", session.number);
            if let Some((class, at)) = session.weight.class {
                assert_eq!(self.books.classes[usize::from(class)][at as usize], session.id);
                assert_eq!(class, class_of(session.weight.bytes));
            }
        }
        let members: usize = self.books.classes.iter().map(Vec::len).sum();
        assert_eq!(members, self.iter().filter(|session| session.weight.class.is_some()).count());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Peer;
    use super::*;

    #[test]
    fn classes_are_those_of_redis() {
        for (bytes, class) in
            [(0, 0), (1, 0), (32_767, 0), (32_768, 1), (65_535, 1), (65_536, 2), (1 << 32, 18)]
        {
            assert_eq!(class_of(bytes), class, "{bytes}");
        }
        assert_eq!(class_of(usize::MAX), 18);
    }

    #[test]
    fn books_follow_what_sessions_do() {
        let mut sessions = Sessions::default();
        let peer = Peer::Unix { path: String::new() };
        let early = sessions.open(1, peer.clone(), 0).id;
        sessions.keep_books(true);
        let ids: Vec<_> = (2..50).map(|number| sessions.open(number, peer.clone(), 0).id).collect();
        let mut state = 7_u64;
        for round in 0..3000_usize {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id = ids[(state >> 33) as usize % ids.len()];
            match state >> 60 {
                0 => drop(sessions.close(id)),
                1 => sessions.get_mut(id).into_iter().for_each(|own| own.no_evict = true),
                2 => sessions.get_mut(id).into_iter().for_each(|own| own.out = Vec::new()),
                _ => sessions
                    .get_mut(id)
                    .into_iter()
                    .for_each(|own| own.out.resize((state >> 40) as usize % 200_000, 0)),
            }
            if round % 7 == 0 {
                sessions.verify_books();
            }
        }
        sessions.get_mut(early).expect("it is open").out = vec![0; 1 << 20];
        sessions.verify_books();
        let before = sessions.totals().bytes;
        assert_eq!(sessions.take_largest(), Some(early));
        assert!(before - sessions.totals().bytes >= 1 << 20);
        sessions.verify_books();
        sessions.keep_books(false);
        assert_eq!((sessions.totals(), sessions.largest_class()), (Totals::default(), 0));
    }
}
