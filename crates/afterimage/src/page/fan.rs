//! A copy of an inner page for those who only go down through it: heads and children side by side, in place of entries that lead to
//! cells all over the page. What takes time on the way down is memory that is not in the processor's caches, so it looks at little.

use super::cell;
use super::slotted::{after_prefix, head_number};
use super::{Kind, Page};
use crate::ids::PageId;

/// An inner page, and once more what a search in it reads.
pub(crate) struct Fan {
    page: Page,
    /// What all keys but the first begin with: the page's prefix, and, at a tree's edges, and so in its root, often more than that, which has
    /// to hold for keys that are not there as well.
    common: Vec<u8>,
    /// What these keys go on with, as an entry's head.
    heads: Vec<u32>,
    children: Vec<PageId>,
}

impl Fan {
    /// A copy of `page`. Of one that is no inner page there is nothing to find.
    pub(crate) fn of(page: &Page) -> Fan {
        let mut fan = Fan {
            page: page.clone(),
            common: Vec::new(),
            heads: Vec::new(),
            children: Vec::new(),
        };
        fan.spread();
        fan
    }

    /// Makes this a copy of `page`, which has its size.
    pub(crate) fn copy_from(&mut self, page: &Page) {
        self.page.copy_from(page);
        self.spread();
    }

    fn spread(&mut self) {
        self.common.clear();
        self.heads.clear();
        self.children.clear();
        if self.page.kind() != Some(Kind::Inner) {
            return;
        }
        let page = &self.page;
        let children = (0..page.cell_count()).map(|index| page.child(index));
        self.children.extend(children);
        let rests = (1..page.cell_count()).map(|index| rest(page, index));
        if let (Some(first), Some(last)) = (rests.clone().next(), rests.clone().next_back()) {
            // Keys are in order: what these two have in common, all have.
            let equal = first
                .iter()
                .zip(last)
                .take_while(|(one, other)| one == other);
            self.common.extend_from_slice(page.prefix());
            self.common.extend(equal.map(|(byte, _)| *byte));
        }
        let len = self.common.len().saturating_sub(page.prefix_len());
        self.heads
            .extend(rests.map(|rest| head_number(&rest[len..])));
    }

    /// The page as it was.
    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// As [`Page::child_for`]. `None`: the page does not cover the key, or there is no child at all.
    #[inline]
    pub(crate) fn child_for(&self, key: &[u8]) -> Option<PageId> {
        let index = match after_prefix(key, &self.common) {
            Some(tail) => self.not_above(key, head_number(tail)),
            None if key < &self.common[..] => 0,
            None => self.heads.len(),
        };
        // Between two of the page's keys it is between its fences.
        let is_inside = index > 0 && index < self.heads.len();
        if !is_inside && !self.page.covers(key) {
            return None;
        }
        self.children.get(index).copied()
    }

    /// How many keys but the first are not above this one, which begins as they do.
    #[inline]
    fn not_above(&self, key: &[u8], head: u32) -> usize {
        let mut low = self.heads.partition_point(|other| *other < head);
        // Where heads are equal the cells tell; mostly there is none.
        let equal = self.heads[low..].partition_point(|other| *other == head);
        let mut high = low + equal;
        if low == high {
            return low;
        }
        let wanted = &key[self.page.prefix_len()..];
        while low < high {
            let middle = low + (high - low) / 2;
            if rest(&self.page, middle + 1) <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// The key of a cell, without the page's prefix.
fn rest(page: &Page, index: usize) -> &[u8] {
    cell::inner_at(page.bytes(), page.cell_offset(index)).key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableId;
    use crate::page::{PageOp, apply, cases};
    use proptest::prelude::*;

    /// A root with these keys and one below them; cut off at `high`, where there is one: then it has a fence.
    fn inner(keys: &[Vec<u8>], high: Option<&[u8]>) -> Page {
        let others = keys.iter().zip(101..);
        let others = others.map(|(key, child)| (&key[..], PageId(child)));
        let children: Vec<_> = std::iter::once((&b""[..], PageId(100)))
            .chain(others)
            .collect();
        let mut page = Page::new(4096);
        let root = PageOp::format_root(PageId(7), TableId::FIRST_USER, 1, &children);
        apply(&mut page, &root).expect("a format always applies");
        if let Some(high) = high {
            let cut = PageOp::split_left(high, PageId(9));
            apply(&mut page, &cut).expect("a page is split at one of its keys");
        }
        page
    }

    /// The other half: all its keys begin with what its fences have in common.
    fn right_half(page: &Page, first: usize, high: Option<&[u8]>) -> Page {
        let low = page.key(first).into_owned();
        let cells = first..page.cell_count();
        let op = PageOp::format_from(PageId(9), page, cells, Some(&low), high, None);
        let mut right = Page::new(4096);
        apply(&mut right, &op).expect("a format always applies");
        right
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Alike for long, and of any length: heads are equal, keys end within them.
        let tail = prop::collection::vec(prop_oneof![Just(0u8), Just(b'1'), any::<u8>()], 0..7);
        (any::<bool>(), tail).prop_map(|(long, tail)| {
            let begin: &[u8] = if long { b"00000" } else { b"" };
            [begin, &tail].concat()
        })
    }

    proptest! {
        #![proptest_config(cases(1500))]

        /// By the fan the same child is found as by the page.
        #[test]
        fn a_fan_leads_where_its_page_leads(
            keys in prop::collection::btree_set(key(), 1..40),
            at in any::<prop::sample::Index>(),
            sought in prop::collection::vec(key(), 1..20),
        ) {
            let keys: Vec<_> = keys.into_iter().filter(|key| !key.is_empty()).collect();
            prop_assume!(!keys.is_empty());
            let cut = at.index(keys.len());
            let whole = inner(&keys, None);
            let above = [&keys[keys.len() - 1][..], b"9"].concat();
            let pages = [
                inner(&keys, Some(&keys[cut])),
                right_half(&whole, cut + 1, None),
                right_half(&whole, cut + 1, Some(&above)),
                whole,
            ];
            for page in pages {
                let mut fan = Fan::of(&Page::new(4096));
                fan.copy_from(&page);
                for key in sought.iter().chain(&keys) {
                    let child = page.covers(key).then(|| page.child_for(key).1);
                    prop_assert_eq!(fan.child_for(key), child);
                }
            }
        }
    }

    #[test]
    fn in_what_is_no_inner_page_there_is_no_child() {
        let mut leaf = Page::new(4096);
        let op = PageOp::format_leaf(PageId(7), TableId::FIRST_USER);
        apply(&mut leaf, &op).expect("a format always applies");
        assert_eq!(Fan::of(&leaf).child_for(b"k"), None);
    }
}
