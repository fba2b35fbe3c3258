//! Directory: the pages of a table by number, in segments, so that adding a page never moves many.
//!
//! Not here: the numbers of pages (`members`).

use super::page::Page;

/// The pages of a segment: 4 KiB of addresses. Only the first segment may have a smaller capacity.
const SEGMENT_PAGES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Directory {
    /// All but the last are full; none is empty.
    segments: Vec<Vec<Page>>,
    len: usize,
}

impl Directory {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn at(&self, index: usize) -> &Page {
        &self.segments[index / SEGMENT_PAGES][index % SEGMENT_PAGES]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, index: usize) -> &mut Page {
        &mut self.segments[index / SEGMENT_PAGES][index % SEGMENT_PAGES]
    }

    pub(super) fn push(&mut self, page: Page) {
        if self.len.is_multiple_of(SEGMENT_PAGES) {
            let room = if self.segments.is_empty() { 0 } else { SEGMENT_PAGES };
            self.segments.push(Vec::with_capacity(room));
        }
        let segment = self.segments.last_mut().expect("a segment with room was just seen to");
        if segment.len() == segment.capacity() {
            // Grows by half: a segment is never far from full, and seldom moved.
            let more = (segment.len() / 2).clamp(2, SEGMENT_PAGES - segment.len());
            segment.reserve_exact(more);
        }
        segment.push(page);
        self.len += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Page> {
        let segment = self.segments.last_mut()?;
        let page = segment.pop();
        self.len -= usize::from(page.is_some());
        if segment.is_empty() {
            self.segments.pop();
        } else if self.len < SEGMENT_PAGES && segment.len() < segment.capacity() / 4 {
            segment.shrink_to(segment.len() * 2);
        }
        if self.segments.len() < self.segments.capacity() / 4 {
            self.segments.shrink_to(self.segments.len() * 2);
        }
        page
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The bytes of the segments and of their list.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        let pages = match &self.segments[..] {
            [] => 0,
            [only] => only.capacity(),
            [first, more @ ..] => first.capacity() + more.len() * SEGMENT_PAGES,
        };
        pages * size_of::<Page>() + self.segments.capacity() * size_of::<Vec<Page>>()
    }
}
