//! Pattern index: which of many glob patterns may match a channel, without a try of each.
//!
//! A pattern is filed under one literal part: a start, an end or any three bytes, that one of these under
//! which the fewest others are. A channel is looked up by its starts and ends of the lengths that occur, and by
//! its runs of three bytes. What is found is a candidate: another hash may be the same, the rest of the
//! pattern may not match. Patterns without a usable part (`*`, `?x?`) are candidates for every channel.

use basalt_commands::glob::{self, Literal};
use basalt_keyspace::{KeyHasher, MapByHash};

/// How many bytes of a part in the middle of a pattern it is filed under.
const GRAM_BYTES: usize = 3;

/// Glob patterns by their literal parts; an id stands for each.
#[derive(Debug, Default)]
pub(crate) struct PatternIndex {
    starts: Parts,
    ends: Parts,
    grams: Parts,
    others: Vec<u32>,
}

/// Patterns by the hash of a part, and how many parts there are of each length.
#[derive(Debug, Default)]
struct Parts {
    by_hash: MapByHash<Vec<u32>>,
    lengths: Vec<(usize, usize)>,
}

/// A part that a pattern can be filed under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    End,
    Gram,
}

impl PatternIndex {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.others.is_empty()
            && [&self.starts, &self.ends, &self.grams].iter().all(|parts| parts.is_empty())
    }

    pub(crate) fn add(&mut self, pattern: &[u8], id: u32, hasher: &KeyHasher) {
        let literals = glob::literals(pattern);
        let smallest = places(&literals)
            .map(|(place, part)| (self.parts(place).len_of(hasher.hash(part)), place, part))
            .min_by_key(|(len, _, part)| (*len, usize::MAX - part.len()));
        match smallest {
            Some((_, place, part)) => self.parts(place).add(part, id, hasher),
            None => self.others.push(id),
        }
    }

    pub(crate) fn remove(&mut self, pattern: &[u8], id: u32, hasher: &KeyHasher) {
        let literals = glob::literals(pattern);
        let mut is_found = false;
        for (place, part) in places(&literals) {
            is_found = is_found || self.parts(place).remove(part, id, hasher);
        }
        if !is_found {
            self.others.retain(|other| *other != id);
        }
    }

    /// The patterns that may match a channel, each once, in the order of their ids.
    pub(crate) fn candidates(&self, channel: &[u8], hasher: &KeyHasher, found: &mut Vec<u32>) {
        found.clear();
        found.extend_from_slice(&self.others);
        for &(len, _) in self.starts.lengths.iter().filter(|(len, _)| *len <= channel.len()) {
            found.extend_from_slice(self.starts.get(hasher.hash(&channel[..len])));
        }
        for &(len, _) in self.ends.lengths.iter().filter(|(len, _)| *len <= channel.len()) {
            found.extend_from_slice(self.ends.get(hasher.hash(&channel[channel.len() - len..])));
        }
        if !self.grams.is_empty() {
            for gram in channel.windows(GRAM_BYTES) {
                found.extend_from_slice(self.grams.get(hasher.hash(gram)));
            }
        }
        found.sort_unstable();
        found.dedup();
    }

    fn parts(&mut self, place: Place) -> &mut Parts {
        match place {
            Place::Start => &mut self.starts,
            Place::End => &mut self.ends,
            Place::Gram => &mut self.grams,
        }
    }
}

/// The parts that a pattern can be filed under.
fn places(literals: &[Literal]) -> impl Iterator<Item = (Place, &[u8])> {
    let at_ends = literals.iter().flat_map(|literal| {
        let start = literal.is_start.then_some((Place::Start, &literal.bytes[..]));
        let end = literal.is_end.then_some((Place::End, &literal.bytes[..]));
        start.into_iter().chain(end)
    });
    let grams = literals.iter().flat_map(|literal| literal.bytes.windows(GRAM_BYTES));
    at_ends.chain(grams.map(|gram| (Place::Gram, gram)))
}

impl Parts {
    fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    fn get(&self, hash: u64) -> &[u32] {
        self.by_hash.get(&hash).map_or(&[], Vec::as_slice)
    }

    fn len_of(&self, hash: u64) -> usize {
        self.get(hash).len()
    }

    fn add(&mut self, part: &[u8], id: u32, hasher: &KeyHasher) {
        self.by_hash.entry(hasher.hash(part)).or_default().push(id);
        match self.lengths.iter_mut().find(|(len, _)| *len == part.len()) {
            Some((_, count)) => *count += 1,
            None => self.lengths.push((part.len(), 1)),
        }
    }

    /// Returns whether the pattern was filed under this part.
    fn remove(&mut self, part: &[u8], id: u32, hasher: &KeyHasher) -> bool {
        let hash = hasher.hash(part);
        let Some(ids) = self.by_hash.get_mut(&hash) else { return false };
        let Some(at) = ids.iter().position(|other| *other == id) else { return false };
        ids.swap_remove(at);
        if ids.is_empty() {
            self.by_hash.remove(&hash);
        }
        if let Some(at) = self.lengths.iter().position(|(len, _)| *len == part.len()) {
            self.lengths[at].1 -= 1;
            if self.lengths[at].1 == 0 {
                self.lengths.swap_remove(at);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(index: &PatternIndex, patterns: &[String], channel: &str) -> Vec<u32> {
        let mut found = Vec::new();
        index.candidates(channel.as_bytes(), &KeyHasher::new(1), &mut found);
        found.retain(|id| glob::matches(patterns[*id as usize].as_bytes(), channel.as_bytes()));
        found
    }

    /// All words of some characters, up to a length.
    fn words(characters: &str, len_max: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..len_max {
            let until = all.len();
            for index in from..until {
                for character in characters.chars() {
                    all.push(format!("{}{character}", all[index]));
                }
            }
            from = until;
        }
        all
    }

    #[test]
    fn it_finds_what_trying_each_finds() {
        let hasher = KeyHasher::new(1);
        let patterns = words("ab*?", 5);
        let mut index = PatternIndex::default();
        for (id, pattern) in patterns.iter().enumerate() {
            index.add(pattern.as_bytes(), id as u32, &hasher);
        }
        let channels = words("ab", 6);
        let check = |index: &PatternIndex, is_in: &dyn Fn(usize) -> bool| {
            for channel in &channels {
                let expected: Vec<u32> = (0..patterns.len())
                    .filter(|id| is_in(*id))
                    .filter(|id| glob::matches(patterns[*id].as_bytes(), channel.as_bytes()))
                    .map(|id| id as u32)
                    .collect();
                assert_eq!(matching(index, &patterns, channel), expected, "{channel}");
            }
        };
        check(&index, &|_| true);
        for (id, pattern) in patterns.iter().enumerate().filter(|(id, _)| id % 3 != 0) {
            index.remove(pattern.as_bytes(), id as u32, &hasher);
        }
        check(&index, &|id| id % 3 == 0);
        for (id, pattern) in patterns.iter().enumerate().filter(|(id, _)| id % 3 == 0) {
            index.remove(pattern.as_bytes(), id as u32, &hasher);
        }
        assert!(
            index.is_empty() && index.starts.lengths.is_empty() && index.ends.lengths.is_empty()
        );
    }

    #[test]
    fn many_patterns_leave_few_candidates() {
        let hasher = KeyHasher::new(1);
        let forms: [fn(usize) -> String; 4] = [
            |number| format!("user:{number}:*"),
            |number| format!("user:*:{number}"),
            |number| format!("*:room:{number:05}:*"),
            |number| format!("user:?{number}*"),
        ];
        for form in forms {
            let mut index = PatternIndex::default();
            for number in 0..10_000 {
                index.add(form(number).as_bytes(), number as u32, &hasher);
            }
            let mut found = Vec::new();
            for channel in ["weather", "user:none", "x:room:none:x"] {
                index.candidates(channel.as_bytes(), &hasher, &mut found);
                assert!(
                    found.len() <= 100,
                    "{} candidates for {channel}: {}",
                    found.len(),
                    form(0)
                );
            }
        }
    }
}
