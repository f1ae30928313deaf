//! Making a tree smaller: a page with little on it takes the cells of its right neighbour, or gives its own to its left one,
//! and the one to the right becomes free. One record over both, their parent and the allocation map.
//!
//! Both are children of the same parent, so latches go from parent to child, from left to right, the map last; the inner
//! pages stand still under the structure mutex. It is always the right one that goes: nobody else links to it.

use afterimage_log::{Log, Reservation};

use super::Tree;
use super::descend::Seek;
use super::split::change_structure;
use crate::buffer::{Exclusive, Pager, Pin};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::{PAGE_HEADER_BYTES, structure_bytes_max};
use crate::page::{Kind, LeafCell, Page, PageOp, map_position};
use crate::record::StructureKind;

/// What came of an attempt to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The tree has a page less.
    Done,
    /// There is too much on the pages.
    Nothing,
    /// There would not be too much, were it not for ghosts that somebody may still need.
    Later,
}

/// Two neighbours, and how the parent tells them apart.
struct Neighbours {
    left: PageId,
    right: PageId,
    separator: Vec<u8>,
}

/// How many of a page's bytes cells and fences may take after a merge, of 8: enough room is left that the next few rows do
/// not split it again.
const FILL_OF_8: usize = 6;

impl Tree {
    /// Merges the leaf that covers `key` with a neighbour if both have little on them, and what is above if it has little
    /// on it then. `purgeable`: which ghosts need not be kept. Waits for I/O alone; call it without latches.
    pub(crate) fn merge_at(
        &self,
        pager: &Pager,
        key: &[u8],
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Merged> {
        let _structure = self.structure.lock();
        if self.dropped_at().is_some() {
            return Ok(Merged::Nothing);
        }
        let (mut level, mut result) = (0, Merged::Nothing);
        while level < pager.fetch_shared(self.root)?.level() {
            let merged = self.merge_level(pager, key, level, purgeable)?;
            if level == 0 {
                result = merged.unwrap_or(Merged::Nothing);
            }
            // An only child cannot be merged; perhaps its parent can.
            if merged.is_some_and(|merged| merged != Merged::Done) {
                break;
            }
            level += 1;
        }
        while self.shrink(pager)? {}
        Ok(result)
    }

    /// `None`: the page of this level that covers `key` is an only child.
    fn merge_level(
        &self,
        pager: &Pager,
        key: &[u8],
        level: u8,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Merged>> {
        let permit = pager.permit();
        let parent = self.inner_exclusive(pager, key, level + 1)?;
        let (index, count) = (parent.child_for(key).0, parent.cell_count());
        let pairs = [index, index.wrapping_sub(1)];
        let pairs = pairs.into_iter().filter(|left| *left < count - 1);
        let pairs: Vec<_> = pairs.map(|left| neighbours(&parent, left)).collect();
        drop((parent, permit));
        if let Some(twice) = pairs.iter().find(|pair| pair.left == pair.right) {
            let what = "its parent has it for a child twice".to_owned();
            return Err(pager.corrupt(twice.left, what));
        }
        let mut result = None;
        for pair in &pairs {
            let merged = self.merge(pager, key, level, pair, purgeable)?;
            if merged == Merged::Done {
                return Ok(Some(merged));
            }
            if result != Some(Merged::Later) {
                result = Some(merged);
            }
        }
        Ok(result)
    }

    fn merge(
        &self,
        pager: &Pager,
        key: &[u8],
        level: u8,
        pair: &Neighbours,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Merged> {
        loop {
            let mut reservation = structure_space(pager)?;
            let _permit = pager.permit();
            let (left, right) = (pager.fetch(pair.left)?, pager.fetch(pair.right)?);
            let (map, index) = pin_map(pager, pair.right)?;
            let mut parent = self.inner_exclusive(pager, key, level + 1)?;
            let (Some(mut left), Some(mut right)) = (left.exclusive(), right.exclusive()) else {
                continue;
            };
            self.check_pair(pager, &left, &right, level)?;
            let keep = |cell: &LeafCell<'_>| !(cell.is_ghost() && purgeable(cell.key));
            if !is_worth_it(&left, &right, &keep) {
                let without_ghosts = |cell: &LeafCell<'_>| !cell.is_ghost();
                let later = is_worth_it(&left, &right, &without_ghosts);
                return Ok(if later {
                    Merged::Later
                } else {
                    Merged::Nothing
                });
            }
            let Some(mut map) = map.exclusive() else {
                continue;
            };
            pager.check_used(&map, index, 1)?;
            let (before, gone) = ((*left).clone(), (*right).clone());
            let merged = PageOp::format_merged(&before, &gone, &keep);
            let parts = vec![
                (&mut left, merged),
                (
                    &mut parent,
                    PageOp::RemoveChild {
                        separator: (&pair.separator).into(),
                    },
                ),
                (&mut right, PageOp::Free { id: pair.right }),
                (&mut map, PageOp::map_set(index, 1, false)),
            ];
            change_structure(pager, &mut reservation, StructureKind::Merge, parts)?;
            pager.pages_freed(&map, 1);
            pager.counters.pages_merged.add(1);
            return Ok(Merged::Done);
        }
    }

    /// Parent and children were read under the structure mutex: what they say now must be what they said then.
    fn check_pair(&self, pager: &Pager, left: &Page, right: &Page, level: u8) -> Result<()> {
        let kind = if level == 0 { Kind::Leaf } else { Kind::Inner };
        let is_child = |page: &Page| {
            page.kind() == Some(kind) && page.level() == level && page.tree() == self.id
        };
        let are_neighbours =
            left.right_link() == Some(right.id()) && left.high_fence() == right.low_fence();
        if is_child(left) && is_child(right) && are_neighbours {
            return Ok(());
        }
        let what = format!("page {} is not its right neighbour", right.id());
        Err(pager.corrupt(left.id(), what))
    }

    /// The first key that the leaf of `key` does not cover any more.
    pub(crate) fn next_leaf(&self, pager: &Pager, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let _permit = pager.permit();
        let leaf = self.leaf_shared(pager, Seek::Key(key))?;
        Ok(leaf.high_fence().map(<[u8]>::to_vec))
    }

    /// Moves the cells of a root's only child up. True if there was one.
    fn shrink(&self, pager: &Pager) -> Result<bool> {
        loop {
            let mut reservation = structure_space(pager)?;
            let _permit = pager.permit();
            let child = {
                let root = pager.fetch_shared(self.root)?;
                if root.level() == 0 || root.cell_count() > 1 {
                    return Ok(false);
                }
                root.child(0)
            };
            let (pin, (map, index)) = (pager.fetch(child)?, pin_map(pager, child)?);
            let mut root = pager.fetch_exclusive(self.root)?;
            let (Some(mut page), Some(mut map)) = (pin.exclusive(), map.exclusive()) else {
                continue;
            };
            pager.check_used(&map, index, 1)?;
            let is_child = self.is_own(&page) && page.level() + 1 == root.level();
            if !is_child || root.level() == 0 {
                let what = format!("it is not the only child of page {}", self.root);
                return Err(pager.corrupt(child, what));
            }
            let copy = (*page).clone();
            let cells = 0..copy.cell_count();
            let moved = PageOp::format_from(self.root, &copy, cells, None, None, None);
            let parts = vec![
                (&mut root, moved),
                (&mut page, PageOp::Free { id: child }),
                (&mut map, PageOp::map_set(index, 1, false)),
            ];
            change_structure(pager, &mut reservation, StructureKind::Shrink, parts)?;
            pager.pages_freed(&map, 1);
            pager.counters.pages_merged.add(1);
            return Ok(true);
        }
    }
}

fn neighbours(parent: &Exclusive<'_>, left: usize) -> Neighbours {
    Neighbours {
        left: parent.child(left),
        right: parent.child(left + 1),
        separator: parent.key(left + 1).into_owned(),
    }
}

/// Whether the two should be one: that leaves some room, or one of them has nothing to keep and the other is just as full.
fn is_worth_it(left: &Page, right: &Page, keep: &dyn Fn(&LeafCell<'_>) -> bool) -> bool {
    let room = left.size() - PAGE_HEADER_BYTES;
    let bytes = left.merged_bytes(right, keep);
    let is_empty = |page: &Page| {
        page.kind() == Some(Kind::Leaf)
            && (0..page.cell_count()).all(|index| !keep(&page.leaf_cell(index)))
    };
    bytes <= room / 8 * FILL_OF_8 || bytes <= room && (is_empty(left) || is_empty(right))
}

fn structure_space(pager: &Pager) -> Result<Reservation> {
    let bytes = structure_bytes_max(pager.page_size());
    pager.reserve(Log::frame_bytes(bytes, false))
}

/// Pins the map page that speaks for `page`.
pub(super) fn pin_map(pager: &Pager, page: PageId) -> Result<(Pin<'_>, u32)> {
    let place = map_position(page, pager.page_size());
    let (map, index) =
        place.ok_or_else(|| Error::corruption("a tree", "it has the file header for a page"))?;
    Ok((pager.fetch(map)?, index))
}
