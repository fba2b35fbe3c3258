//! Members: the members of a large set, or the fields of a large hash with their values.
//!
//! ```text
//! hash ──low bits──► directory ──► page: tags, offsets, items      about 20 to 80 members each
//! ```
//!
//! Linear hashing (Litwin 1980): the number of pages follows the number of members; when there are
//! too few pages, the next page in a fixed order is split in two. So the table grows and shrinks by
//! one page at a time, no change touches more than two pages, and a lookup reads an entry of the
//! directory, the page's tags and one item.
//!
//! In the order of the *reversed* bits of hashes every page is one range, whatever the number of
//! pages: the cursor of a scan is a position in this order, as in Redis' dict.c.
//!
//! Not here: how a page stores its items (`page`, `item`), when a set is small enough for a packed
//! form.

use crate::hash::KeyHasher;
use crate::table::same_bytes;

mod directory;
mod item;
mod page;
#[cfg(test)]
mod tests;

use directory::Directory;
use item::Carry;
pub use item::Member;
use page::Page;

/// With more members per page than this on average, or more bytes, a page is split.
const PAGE_MEMBERS_MAX: usize = 40;
const PAGE_BYTES_MAX: usize = 2048;

/// With fewer of both than this on average, a page is merged.
const PAGE_MEMBERS_MIN: usize = 16;
const PAGE_BYTES_MIN: usize = 800;

/// Scans order hashes by this many bits; there are never more pages than these can number.
const ORDER_BITS: u32 = 32;

/// The end of a scan: cursors are below it.
const ORDER_END: u64 = 1 << ORDER_BITS;

const TAG_SHIFT: u32 = 56;

/// Distinct byte strings, all with a value or all without.
#[derive(Debug)]
pub struct Members {
    pages: Directory,
    len: usize,
    /// The blocks of all pages.
    page_bytes: usize,
    /// The blocks of items that are too long for a page.
    far_bytes: usize,
    carry: Carry,
    hasher: KeyHasher,
}

/// The position of a member, valid until the table next changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberPlace {
    page: u32,
    index: u32,
}

/// The tag of a hash: bits that do not select the page.
#[inline]
const fn tag(hash: u64) -> u8 {
    (hash >> TAG_SHIFT) as u8
}

/// The number of low bits of a hash that select one of the pages not yet split in this round.
#[inline]
const fn round_bits(pages: usize) -> u32 {
    pages.ilog2()
}

/// The page of a hash among `page_count` pages.
#[inline]
const fn page_of(hash: u64, pages: usize) -> usize {
    let low = 1 << round_bits(pages);
    let page = hash as usize & (2 * low - 1);
    if page < pages { page } else { page & (low - 1) }
}

/// The number of low bits that the hashes of a page share.
#[inline]
const fn shared_bits(page: usize, pages: usize) -> u32 {
    let bits = round_bits(pages);
    let low = 1 << bits;
    if page >= low || page + low < pages { bits + 1 } else { bits }
}

/// The next number of a random sequence that may start with any number.
#[inline]
const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Clone for Members {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.carry, &self.hasher);
        if self.far_bytes > 0 {
            self.iter().for_each(|member| copy.add(self.hash(member.name), member));
            return copy;
        }
        for page in 0..self.pages.len() {
            copy.pages.push(self.pages.at(page).copy());
        }
        (copy.len, copy.page_bytes) = (self.len, self.page_bytes);
        copy
    }
}

impl Members {
    /// A table of members without values: a set.
    pub fn bare(hasher: &KeyHasher) -> Self {
        Self::new(Carry::Nothing, hasher)
    }

    /// A table of members with values: a hash.
    pub fn with_values(hasher: &KeyHasher) -> Self {
        Self::new(Carry::Value, hasher)
    }

    fn new(carry: Carry, hasher: &KeyHasher) -> Self {
        let pages = Directory::default();
        Self { pages, len: 0, page_bytes: 0, far_bytes: 0, carry, hasher: *hasher }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The heap bytes of the members, without the `Members` itself. O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.pages.heap_bytes() + self.page_bytes + self.far_bytes
    }

    /// The hash of a name, for the functions that take one.
    #[inline]
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash(name)
    }

    /// Whether both tables hash names in the same way.
    #[inline]
    pub fn hashes_like(&self, other: &Self) -> bool {
        self.hasher == other.hasher
    }

    /// Prefetches the head of the page that a hash belongs to.
    #[inline]
    pub fn prefetch_page(&self, hash: u64) {
        if let Some(page) = self.page(hash) {
            page.prefetch();
        }
    }

    /// Prefetches the item that the hash likely belongs to. The head of its page should be cached
    /// by now.
    #[inline]
    pub fn prefetch_member(&self, hash: u64) {
        if let Some(page) = self.page(hash) {
            page.prefetch_item(tag(hash));
        }
    }

    #[inline]
    fn page(&self, hash: u64) -> Option<&Page> {
        let pages = self.pages.len();
        (pages > 0).then(|| self.pages.at(page_of(hash, pages)))
    }

    /// The position of a member; `None` if it is missing.
    #[inline]
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<MemberPlace> {
        let pages = self.pages.len();
        if pages == 0 {
            return None;
        }
        let page = page_of(hash, pages);
        let found = self.pages.at(page).find(tag(hash), |item| same_bytes(item::name(item), name));
        found.map(|index| MemberPlace { page: page as u32, index: index as u32 })
    }

    /// The position of a member with this hash for which `accept` returns true.
    pub fn find_hashed(
        &self,
        hash: u64,
        accept: impl Fn(Member<'_>) -> bool,
    ) -> Option<MemberPlace> {
        let pages = self.pages.len();
        if pages == 0 {
            return None;
        }
        let page = page_of(hash, pages);
        let found = self.pages.at(page).find(tag(hash), |item| {
            let member = Member::read(item, self.carry);
            self.hash(member.name) == hash && accept(member)
        });
        found.map(|index| MemberPlace { page: page as u32, index: index as u32 })
    }

    #[inline]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.find(self.hash(name), name).is_some()
    }

    /// The member with its value and expiry; `None` if it is missing.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Member<'_>> {
        self.find(self.hash(name), name).map(|place| self.at(place))
    }

    /// The member at a position that was found since the table last changed.
    #[inline]
    pub fn at(&self, place: MemberPlace) -> Member<'_> {
        Member::read(self.pages.at(place.page as usize).item(place.index as usize), self.carry)
    }

    /// Adds a member without a value. Returns false, without a change, if it exists.
    #[inline]
    pub fn insert(&mut self, name: &[u8]) -> bool {
        let hash = self.hash(name);
        let is_new = self.find(hash, name).is_none();
        if is_new {
            self.add(hash, Member::bare(name));
        }
        is_new
    }

    /// Adds a member, or sets its value and expiry. Returns false if it existed.
    pub fn put(&mut self, member: Member<'_>) -> bool {
        let hash = self.hash(member.name);
        match self.find(hash, member.name) {
            Some(place) => {
                self.replace_at(place, member);
                false
            }
            None => {
                self.add(hash, member);
                true
            }
        }
    }

    /// Adds a member that does not exist yet.
    fn add(&mut self, hash: u64, member: Member<'_>) {
        let carry = self.carry;
        if self.pages.len() == 0 {
            let page = Page::with_room(1, member.item_bytes(carry));
            self.page_bytes += page.capacity();
            self.pages.push(page);
        }
        let index = page_of(hash, self.pages.len());
        self.far_bytes += member.far_bytes(carry);
        self.change(index, |page| {
            let bytes = member.item_bytes(carry);
            page.add(tag(hash), bytes, |item| member.write(carry, item));
        });
        self.len += 1;
        self.settle();
    }

    /// Sets the value and expiry of the member at a position; the name must be the member's own.
    pub fn replace_at(&mut self, place: MemberPlace, member: Member<'_>) {
        debug_assert!(self.at(place).name == member.name, "a member keeps its name");
        let carry = self.carry;
        let old = self.at(place);
        let (old_bytes, bytes) = (
            item::bytes(self.pages.at(place.page as usize).item(place.index as usize), carry),
            member.item_bytes(carry),
        );
        let in_place = old_bytes == bytes && old.is_far(carry) == member.is_far(carry);
        self.far_bytes = self.far_bytes + member.far_bytes(carry) - old.far_bytes(carry);
        let tag = tag(self.hash(member.name));
        self.change(place.page as usize, |page| {
            let index = place.index as usize;
            item::release_far(page.item(index));
            if in_place {
                page.overwrite(index, bytes, |item| member.write(carry, item));
            } else {
                page.remove(index, old_bytes);
                page.add(tag, bytes, |item| member.write(carry, item));
            }
        });
        self.settle();
    }

    /// Removes a member. Returns false if it did not exist.
    #[inline]
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let place = self.find(self.hash(name), name);
        if let Some(place) = place {
            self.remove_at(place);
        }
        place.is_some()
    }

    /// Removes the member at a position that was found since the table last changed.
    pub fn remove_at(&mut self, place: MemberPlace) {
        let carry = self.carry;
        self.far_bytes -= self.at(place).far_bytes(carry);
        self.change(place.page as usize, |page| {
            let index = place.index as usize;
            let bytes = item::bytes(page.item(index), carry);
            item::release_far(page.item(index));
            page.remove(index, bytes);
        });
        self.len -= 1;
        self.settle();
    }

    /// Changes a page and updates the accounting.
    #[inline]
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Page)) {
        let page = self.pages.at_mut(index);
        let before = page.capacity();
        change(page);
        self.page_bytes = self.page_bytes + page.capacity() - before;
    }

    /// Splits or merges a page if the averages require it. Once per change is enough, since a page
    /// has room for several members.
    #[inline]
    fn settle(&mut self) {
        let pages = self.pages.len();
        if self.len > pages * PAGE_MEMBERS_MAX || self.page_bytes > pages * PAGE_BYTES_MAX {
            self.divide();
        } else if self.len < pages * PAGE_MEMBERS_MIN && self.page_bytes < pages * PAGE_BYTES_MIN {
            self.unite();
        }
    }

    /// Splits the page whose turn it is in this round: half of its members move to a new page.
    #[inline(never)]
    fn divide(&mut self) {
        let pages = self.pages.len();
        if self.len < 2 || pages as u64 == ORDER_END / 2 {
            return;
        }
        let (carry, hasher) = (self.carry, self.hasher);
        let bit = 1 << round_bits(pages);
        let page = self.pages.at_mut(pages - bit);
        let before = page.capacity();
        let whole = std::mem::replace(page, Page::with_room(0, 0));
        let [kept, moved] = whole.divide(
            |item| item::bytes(item, carry),
            |item| hasher.hash(item::name(item)) & bit as u64 != 0,
        );
        self.page_bytes = self.page_bytes + kept.capacity() + moved.capacity() - before;
        *page = kept;
        self.pages.push(moved);
    }

    /// Merges the last page with the one it was split from.
    #[inline(never)]
    fn unite(&mut self) {
        let carry = self.carry;
        if self.pages.len() <= 1 {
            if self.len == 0 {
                self.pages.clear();
                self.page_bytes = 0;
            }
            return;
        }
        let last = self.pages.pop().expect("there are several pages");
        let pages = self.pages.len();
        self.page_bytes -= last.capacity();
        self.change(pages - (1 << round_bits(pages)), |page| {
            page.absorb(last, |item| item::bytes(item, carry));
        });
    }

    /// All members, unordered.
    pub fn iter(&self) -> MembersIter<'_> {
        MembersIter { members: self, page: 0, items: &[], left: self.len }
    }

    /// Visits members from a cursor on, page by page, until about `count` were visited. Returns the
    /// next cursor, 0 at the end; a scan starts with 0 as well. A member that is present during a
    /// whole scan is visited at least once, however the table changes.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: &mut dyn FnMut(Member<'a>)) -> u64 {
        let pages = self.pages.len();
        let mut at = cursor;
        let mut visited = 0;
        while pages > 0 && at < ORDER_END {
            let index = page_of(u64::from((at as u32).reverse_bits()), pages);
            let page = self.pages.at(index);
            for index in 0..page.len() {
                visit(Member::read(page.item(index), self.carry));
            }
            visited += page.len();
            let range_bits = ORDER_BITS - shared_bits(index, pages);
            at = ((at >> range_bits) + 1) << range_bits;
            if visited >= count && at < ORDER_END {
                return at;
            }
        }
        0
    }

    /// Returns a member that `random` chooses, all with the same probability (except on pages whose
    /// size is exceeded once in many thousand pages). Rejection sampling: a page is drawn by its
    /// share of the hashes, and accepted with a probability that follows from its number of members
    /// for that share.
    pub fn pick(&self, random: u64) -> Option<MemberPlace> {
        if self.len == 0 {
            return None;
        }
        let pages = self.pages.len();
        // The size of the fullest pages of the smaller kind: four standard deviations above the
        // expectation.
        let small = self.len as f64 / 2_f64.powi(round_bits(pages).cast_signed() + 1);
        let small_most = small + 4.0 * small.sqrt();
        let mut state = random;
        loop {
            let page = page_of(next_random(&mut state), pages);
            let members = self.pages.at(page).len();
            let most = match shared_bits(page, pages) - round_bits(pages) {
                _ if pages == 1 => members,
                0 => (2.0 * small_most) as usize + 1,
                _ => small_most as usize + 1,
            };
            let most = most.max(members) as u64;
            let index = ((next_random(&mut state) >> 32) * most) >> 32;
            if index < members as u64 {
                return Some(MemberPlace { page: page as u32, index: index as u32 });
            }
        }
    }

    /// Frees about `count` members, by whole pages, and in the last call the rest. Returns the
    /// freed heap bytes. The table must not be read afterwards.
    pub fn drop_some(&mut self, count: usize) -> usize {
        let before = self.heap_bytes();
        let mut dropped = 0;
        while dropped < count
            && let Some(page) = self.pages.pop()
        {
            for index in 0..page.len() {
                let member = Member::read(page.item(index), self.carry);
                self.far_bytes -= member.far_bytes(self.carry);
            }
            self.page_bytes -= page.capacity();
            dropped += page.len();
        }
        self.len -= dropped;
        before - self.heap_bytes()
    }
}

/// See [`Members::iter`].
#[derive(Clone, Debug)]
pub struct MembersIter<'a> {
    members: &'a Members,
    page: usize,
    items: &'a [u8],
    left: usize,
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        while self.items.is_empty() {
            if self.page == self.members.pages.len() {
                return None;
            }
            self.items = self.members.pages.at(self.page).items();
            self.page += 1;
            // Prefetches the next page's items and the head of the page after it.
            for (ahead, fetch) in [(0, Page::prefetch_items as fn(&Page)), (1, Page::prefetch)] {
                if self.page + ahead < self.members.pages.len() {
                    fetch(self.members.pages.at(self.page + ahead));
                }
            }
        }
        let carry = self.members.carry;
        let member = Member::read(self.items, carry);
        self.items = &self.items[item::bytes(self.items, carry)..];
        self.left -= 1;
        Some(member)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for MembersIter<'_> {}

impl<'a> IntoIterator for &'a Members {
    type Item = Member<'a>;
    type IntoIter = MembersIter<'a>;

    fn into_iter(self) -> MembersIter<'a> {
        self.iter()
    }
}
