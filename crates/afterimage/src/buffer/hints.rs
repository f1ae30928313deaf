//! Where a page probably is: the page tables once more, to be read without their locks. What stands here is a hint; the frame says
//! which page it holds.
//!
//! A page has few places in which its hint may stand, side by side in one cache line. Where they are all taken, one hint makes room, and
//! the page that it was of is found by its table until it is looked for again. Written under the lock of the page's table alone.

use afterimage_io::sync::atomic::{AtomicU64, Ordering};

use super::pool::SHARDS;
use crate::ids::PageId;

/// Pages whose numbers follow each other stand together: their hints are one line that stays in the cache where each of them alone would
/// not.
pub(super) const WAYS: usize = if cfg!(loom) { 1 } else { 8 };
/// A hint's low half is one more than the frame's number; its high half is that of the page's number which is lower.
const FRAME_BITS: u32 = 32;

#[repr(align(64))]
#[derive(Default)]
struct Set([AtomicU64; WAYS]);

pub(super) struct Hints {
    sets: Box<[Set]>,
}

impl Hints {
    pub(super) fn new(frames: usize) -> Hints {
        // Half full when every frame has a page. A set has pages of one table only, whose lock is held where it is changed.
        let sets = (frames / WAYS * 2).next_power_of_two().max(SHARDS);
        Hints {
            sets: (0..sets).map(|_| Set::default()).collect(),
        }
    }

    fn set(&self, page: PageId) -> &[AtomicU64; WAYS] {
        &self.sets[(page.get() / WAYS as u64 % self.sets.len() as u64) as usize].0
    }

    #[inline]
    pub(super) fn find(&self, page: PageId) -> Option<usize> {
        let tag = tag(page);
        self.set(page).iter().find_map(|place| {
            let hint = place.load(Ordering::Acquire);
            (hint >> FRAME_BITS == tag)
                .then(|| (hint as u32).checked_sub(1))
                .flatten()
                .map(|frame| frame as usize)
        })
    }

    /// The page is in this frame now.
    pub(super) fn put(&self, page: PageId, frame: usize) {
        // More frames than a hint can name are found by their tables.
        let Ok(number) = u32::try_from(frame + 1) else {
            return;
        };
        let (set, hint) = (self.set(page), tag(page) << FRAME_BITS | u64::from(number));
        let is_for = |wanted: fn(u64, u64) -> bool| {
            set.iter()
                .find(|place| wanted(place.load(Ordering::Relaxed), hint))
        };
        let place = is_for(|old, new| old != 0 && old >> FRAME_BITS == new >> FRAME_BITS)
            .or_else(|| is_for(|old, _| old == 0))
            .unwrap_or(&set[frame % WAYS]);
        place.store(hint, Ordering::Release);
    }

    /// The page is not in this frame any more.
    pub(super) fn forget(&self, page: PageId, frame: usize) {
        let hint = tag(page) << FRAME_BITS | (frame as u64 + 1);
        for place in self.set(page) {
            if place.load(Ordering::Relaxed) == hint {
                place.store(0, Ordering::Release);
            }
        }
    }
}

fn tag(page: PageId) -> u64 {
    page.get() & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_where_it_was_put_until_it_is_forgotten() {
        let hints = Hints::new(64);
        for page in 0..64 {
            hints.put(PageId(page), 63 - page as usize);
        }
        for page in 0..64 {
            assert_eq!(hints.find(PageId(page)), Some(63 - page as usize));
        }
        hints.put(PageId(7), 3);
        assert_eq!(hints.find(PageId(7)), Some(3), "there is one hint a page");
        hints.forget(PageId(7), 56);
        assert_eq!(hints.find(PageId(7)), Some(3), "another frame's");
        hints.forget(PageId(7), 3);
        assert_eq!(hints.find(PageId(7)), None);
        assert_eq!(hints.find(PageId(0)), Some(63));
    }

    #[test]
    fn more_pages_than_places_are_no_harm() {
        let hints = Hints::new(8);
        let stride = (hints.sets.len() * WAYS) as u64;
        let page = |turn: u64| PageId(turn * stride);
        for turn in 0..20 {
            hints.put(page(turn), turn as usize);
            assert_eq!(hints.find(page(turn)), Some(turn as usize));
        }
        let found = (0..20).filter(|turn| hints.find(page(*turn)).is_some());
        assert_eq!(found.count(), WAYS);
    }
}
