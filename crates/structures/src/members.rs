//! Members: the members of a large set, or the fields of a large hash with their values.
//!
//! ```text
//! hash ──low bits──► directory ──► page: tags, offsets, items      about 20 to 80 members each
//! ```
//!
//! Linear hashing: there are as many pages as the members need, and when there are too few, the next
//! page in a fixed order is divided in two. So the table grows and shrinks by a page at a time, no
//! change touches more than two pages, and a look-up reads a place of the directory, the page's tags
//! and one item.
//!
//! In the order of the *reversed* bits of hashes every page is one range, whatever the number of
//! pages: the cursor of a scan is a place in this order.
//!
//! Not here: how a page holds its items (`page`, `item`), when a set is small enough to do without.

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

/// With more members per page than this on average, or more bytes, there is one page more.
const PAGE_MEMBERS_MAX: usize = 40;
const PAGE_BYTES_MAX: usize = 2048;

/// With fewer of both than this on average there is one page less.
const PAGE_MEMBERS_MIN: usize = 16;
const PAGE_BYTES_MIN: usize = 800;

/// Scans place hashes by so many bits; there are never as many pages.
const ORDER_BITS: u32 = 32;

/// Where a scan ends that has not come to the end: the cursors run up to here.
const ORDER_END: u64 = 1 << ORDER_BITS;

const TAG_SHIFT: u32 = 56;

/// Byte strings, each once, with a value each or without.
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

/// Where a member lies, until the table next changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberPlace {
    page: u32,
    index: u32,
}

/// The tag of a hash: bits that don't tell pages apart.
#[inline]
const fn tag(hash: u64) -> u8 {
    (hash >> TAG_SHIFT) as u8
}

/// How many low bits of a hash tell all pages apart that are not yet divided in this round.
#[inline]
const fn round_bits(pages: usize) -> u32 {
    pages.ilog2()
}

/// The page of a hash, of so many.
#[inline]
const fn page_of(hash: u64, pages: usize) -> usize {
    let low = 1 << round_bits(pages);
    let page = hash as usize & (2 * low - 1);
    if page < pages { page } else { page & (low - 1) }
}

/// How many low bits the hashes of a page share, of so many pages.
#[inline]
const fn shared_bits(page: usize, pages: usize) -> u32 {
    let bits = round_bits(pages);
    let low = 1 << bits;
    if page >= low || page + low < pages { bits + 1 } else { bits }
}

/// The next of a series of chances that starts with any number.
#[inline]
const fn next_chance(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Members {
    /// For members without values: a set.
    pub fn bare(hasher: &KeyHasher) -> Self {
        Self::new(Carry::Nothing, hasher)
    }

    /// For members with values: a hash.
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

    /// The heap bytes that the members take, without the `Members` itself.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.pages.heap_bytes() + self.page_bytes + self.far_bytes
    }

    /// The hash of a name, for the functions that take it.
    #[inline]
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash(name)
    }

    /// Whether both take the same hash of a name.
    #[inline]
    pub fn hashes_like(&self, other: &Self) -> bool {
        self.hasher == other.hasher
    }

    /// Asks for the head of the page that a hash belongs to.
    #[inline]
    pub fn prefetch_page(&self, hash: u64) {
        if let Some(page) = self.page(hash) {
            page.prefetch();
        }
    }

    /// Asks for the item that a hash likely means. The head of its page should be near by now.
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

    /// Where a member is.
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

    /// Where a member of this very hash is that is accepted.
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

    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Member<'_>> {
        self.find(self.hash(name), name).map(|place| self.at(place))
    }

    /// The member at a place that was found since the table last changed.
    #[inline]
    pub fn at(&self, place: MemberPlace) -> Member<'_> {
        Member::read(self.pages.at(place.page as usize).item(place.index as usize), self.carry)
    }

    /// Adds a member without a value. False if it was there.
    #[inline]
    pub fn insert(&mut self, name: &[u8]) -> bool {
        let hash = self.hash(name);
        let is_new = self.find(hash, name).is_none();
        if is_new {
            self.add(hash, Member::bare(name));
        }
        is_new
    }

    /// Adds a member, or gives it this value and expiry. False if it was there.
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

    /// Adds a member that is not there yet.
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

    /// Gives the member at a place another value and expiry; the name must be its own.
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

    /// Removes a member. False if it was not there.
    #[inline]
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let place = self.find(self.hash(name), name);
        if let Some(place) = place {
            self.remove_at(place);
        }
        place.is_some()
    }

    /// Removes the member at a place that was found since the table last changed.
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

    /// Changes a page, and keeps the books.
    #[inline]
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Page)) {
        let page = self.pages.at_mut(index);
        let before = page.capacity();
        change(page);
        self.page_bytes = self.page_bytes + page.capacity() - before;
    }

    /// Divides a page or unites two, if the average asks for it. Once per change is enough, since a
    /// page has room for several.
    #[inline]
    fn settle(&mut self) {
        let pages = self.pages.len();
        if self.len > pages * PAGE_MEMBERS_MAX || self.page_bytes > pages * PAGE_BYTES_MAX {
            self.divide();
        } else if self.len < pages * PAGE_MEMBERS_MIN && self.page_bytes < pages * PAGE_BYTES_MIN {
            self.unite();
        }
    }

    /// One page more: that whose turn it is in this round gives half of its members to it.
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

    /// One page less: the last goes back to where it came from.
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

    /// All members, in no order.
    pub fn iter(&self) -> MembersIter<'_> {
        MembersIter { members: self, page: 0, items: &[], left: self.len }
    }

    /// Visits every member behind a cursor, page by page, until about `count` were visited. Returns
    /// the cursor to go on from, 0 at the end; 0 is also where a scan begins. A member that is
    /// present throughout a whole run is visited at least once, however the table changes.
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

    /// A member chosen by `random`, each with the same chance (but for pages of a size that one in
    /// many thousand has). Pages are drawn by their share of the hashes, and stand the test of how
    /// many members they have for that share.
    pub fn pick(&self, random: u64) -> Option<MemberPlace> {
        if self.len == 0 {
            return None;
        }
        let pages = self.pages.len();
        // What the fullest pages of the smaller kind hold: four deviations above the expectation.
        let small = self.len as f64 / 2_f64.powi(round_bits(pages).cast_signed() + 1);
        let small_most = small + 4.0 * small.sqrt();
        let mut state = random;
        loop {
            let page = page_of(next_chance(&mut state), pages);
            let members = self.pages.at(page).len();
            let most = match shared_bits(page, pages) - round_bits(pages) {
                _ if pages == 1 => members,
                0 => (2.0 * small_most) as usize + 1,
                _ => small_most as usize + 1,
            };
            let most = most.max(members) as u64;
            let index = ((next_chance(&mut state) >> 32) * most) >> 32;
            if index < members as u64 {
                return Some(MemberPlace { page: page as u32, index: index as u32 });
            }
        }
    }

    /// Drops `count` members or a page more; the last call gives everything back. Returns the heap
    /// bytes that were freed. For tables that nobody looks into any more.
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
            // The next page's items and the head of the one behind it.
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
