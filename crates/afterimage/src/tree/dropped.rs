//! Freeing the pages of a dropped table: from the last leaf on, one page or one extent of a large value a record, so that
//! it may stop anywhere and go on there. What is left is always a tree from its root on, though no longer one with all its
//! links and fences: whoever walks it follows children and nothing else.

use std::collections::BTreeSet;

use afterimage_log::Log;

use super::Tree;
use super::large::pages_for;
use super::merge::pin_map;
use super::split::change_structure;
use crate::buffer::{Exclusive, Pager};
use crate::error::Result;
use crate::ids::PageId;
use crate::limits::{TREE_LEVEL_MAX, overflow_bytes, structure_bytes_max};
use crate::page::{Address, Extent, Kind, LARGE, Page, PageOp};
use crate::record::StructureKind;

/// The last child of an inner page, and what to do to the page when it goes.
struct LastChild {
    id: PageId,
    /// `None`: it is the only one.
    separator: Option<Vec<u8>>,
}

impl Tree {
    /// Frees the next page of this dropped tree. If that was its root, the entry that told of it, `key` in `entries`, is
    /// gone: from the leaf that is returned. The caller sees to it that nobody else does this, and that nobody can see the tree any more.
    pub(crate) fn free_page(
        &self,
        pager: &Pager,
        entries: &Tree,
        key: &[u8],
    ) -> Result<Option<PageId>> {
        let _structure = self.structure.lock();
        let (mut parent, mut at) = (None, self.root);
        let mut above = TREE_LEVEL_MAX + 1;
        let leaf = loop {
            let page = pager.fetch_shared(at)?;
            // A page that has lost its children is a leaf, wherever it stands.
            let kind = page.kind();
            let is_own = page.tree() == self.id && matches!(kind, Some(Kind::Leaf | Kind::Inner));
            if !is_own || page.level() >= above {
                let what = format!("it is not a page of the dropped tree {} there", self.id);
                return Err(pager.corrupt(at, what));
            }
            above = page.level();
            match last_child(&page) {
                Some(child) => {
                    let id = child.id;
                    parent = Some((at, child));
                    at = id;
                }
                None => break page,
            }
        };
        if let Some((key, address)) = last_large(&leaf) {
            drop(leaf);
            self.free_front(pager, at, &key, address)?;
            return Ok(None);
        }
        drop(leaf);
        match parent {
            Some((parent, child)) => self.free_child(pager, parent, &child).map(|()| None),
            None => self.free_root(pager, entries, key).map(Some),
        }
    }

    /// Frees the first extent of a large value, whose row then has the rest, or goes.
    fn free_front(&self, pager: &Pager, leaf: PageId, key: &[u8], address: Address) -> Result<()> {
        let extent = address.first;
        let rest = {
            let page = pager.fetch_shared(extent.first)?;
            let in_extent = u64::from(extent.pages) * overflow_bytes(pager.page_size()) as u64;
            let is_its = page.kind() == Some(Kind::Overflow) && page.tree() == self.id;
            if !is_its {
                let what = "it is not the first page of a large value".to_owned();
                return Err(pager.corrupt(extent.first, what));
            }
            page.next_extent().map(|first| Address {
                first,
                len: address.len.saturating_sub(in_extent).max(1),
            })
        };
        loop {
            let mut reservation = pager.reserve(structure_bytes(pager))?;
            let _permit = pager.permit();
            let (map, index) = pin_map(pager, extent.first)?;
            let mut leaf = pager.fetch_exclusive(leaf)?;
            let Some(mut map) = map.exclusive() else {
                continue;
            };
            pager.check_used(&map, index, extent.pages)?;
            let value = rest.map(|rest| rest.encode());
            let row = match &value {
                Some(value) => PageOp::PutCell {
                    key: key.into(),
                    value: value[..].into(),
                    flags: LARGE,
                },
                None => PageOp::RemoveCells {
                    keys: vec![key.into()],
                },
            };
            let parts = vec![
                (&mut leaf, row),
                (&mut map, PageOp::map_set(index, extent.pages, false)),
            ];
            self.freed(pager, &mut reservation, parts)?;
            pager.pages_freed(&map, extent.pages);
            return Ok(());
        }
    }

    fn free_child(&self, pager: &Pager, parent: PageId, child: &LastChild) -> Result<()> {
        loop {
            let mut reservation = pager.reserve(structure_bytes(pager))?;
            let _permit = pager.permit();
            let (page, (map, index)) = (pager.fetch(child.id)?, pin_map(pager, child.id)?);
            let mut parent = pager.fetch_exclusive(parent)?;
            let (Some(mut page), Some(mut map)) = (page.exclusive(), map.exclusive()) else {
                continue;
            };
            pager.check_used(&map, index, 1)?;
            let above = match &child.separator {
                Some(separator) => PageOp::RemoveChild {
                    separator: separator.into(),
                },
                // An inner page has a child, so without one it is a leaf, and the next to go.
                None => PageOp::format_leaf(parent.page_id(), self.id),
            };
            let parts = vec![
                (&mut parent, above),
                (&mut page, PageOp::Free { id: child.id }),
                (&mut map, PageOp::map_set(index, 1, false)),
            ];
            self.freed(pager, &mut reservation, parts)?;
            pager.pages_freed(&map, 1);
            return Ok(());
        }
    }

    fn free_root(&self, pager: &Pager, entries: &Tree, key: &[u8]) -> Result<PageId> {
        loop {
            let mut reservation = pager.reserve(structure_bytes(pager))?;
            let _permit = pager.permit();
            let (root, (map, index)) = (pager.fetch(self.root)?, pin_map(pager, self.root)?);
            let mut entry = entries.leaf_exclusive(pager, key)?;
            let (Some(mut root), Some(mut map)) = (root.exclusive(), map.exclusive()) else {
                continue;
            };
            pager.check_used(&map, index, 1)?;
            let remove = PageOp::RemoveCells {
                keys: vec![key.into()],
            };
            let parts = vec![
                (&mut entry, remove),
                (&mut root, PageOp::Free { id: self.root }),
                (&mut map, PageOp::map_set(index, 1, false)),
            ];
            self.freed(pager, &mut reservation, parts)?;
            pager.pages_freed(&map, 1);
            return Ok(entry.page_id());
        }
    }

    fn freed(
        &self,
        pager: &Pager,
        reservation: &mut afterimage_log::Reservation,
        parts: Vec<(&mut Exclusive<'_>, PageOp<'_>)>,
    ) -> Result<()> {
        change_structure(pager, reservation, StructureKind::Free, parts)?;
        pager.counters.pages_purged.add(1);
        Ok(())
    }

    /// Every page that is left of this dropped tree, those of large values with it: for the verifier. It is asked piece by
    /// piece, from the lowest key to the highest; meanwhile some may go, or, where it is being loaded, come.
    pub(crate) fn pages_left(&self, pager: &Pager) -> Result<BTreeSet<PageId>> {
        let (mut pages, mut rest) = (BTreeSet::new(), Some(Rest::default()));
        while let Some(from) = rest {
            let _structure = self.structure.lock();
            // Perhaps somebody has freed all of them since.
            if !self.is_own(&*pager.fetch_shared(self.root)?) {
                break;
            }
            rest = self.piece_left(pager, &from, &mut pages)?;
        }
        Ok(pages)
    }

    /// Looks at the way from the root to the leaf where `from` begins, and at some of its large values. What is behind that.
    /// The caller holds the structure mutex.
    fn piece_left(
        &self,
        pager: &Pager,
        from: &Rest,
        pages: &mut BTreeSet<PageId>,
    ) -> Result<Option<Rest>> {
        let (mut at, mut behind, mut depth) = (self.root, None, 0);
        let values: Vec<_> = loop {
            pages.insert(at);
            let page = pager.fetch_shared(at)?;
            if page.kind() != Some(Kind::Inner) {
                let values = large_rows(&page).filter(|(key, _)| *key >= &from.key[..]);
                break values.map(|(key, of)| (key.to_vec(), of)).collect();
            }
            depth += 1;
            if depth > TREE_LEVEL_MAX {
                return Err(pager.corrupt(at, "children lead in a circle".to_owned()));
            }
            let child = page.child_for(&from.key).0;
            if child + 1 < page.cell_count() {
                behind = Some(page.key(child + 1).into_owned());
            }
            at = page.child(child);
        };
        let mut looks = 0;
        for (key, of) in values {
            // Believed as far as there are pages: each is noted.
            let most = pager.page_counts().0;
            if pages_for(of.len, pager.page_size()) > most || u64::from(of.first.pages) > most {
                let what = format!("a value of {} bytes cannot begin here", of.len);
                return Err(pager.corrupt(of.first.first, what));
            }
            // Where the value has lost its front since, it is looked at anew.
            let (mut next, mut missing) = match from.value {
                Some((whole, next, missing)) if whole == of && key == from.key => (next, missing),
                _ => (Some(of.first), pages_for(of.len, pager.page_size())),
            };
            while let Some(extent) = next.filter(|next| missing > 0 && next.pages > 0) {
                if looks == EXTENTS {
                    let value = Some((of, next, missing));
                    return Ok(Some(Rest { key, value }));
                }
                looks += 1;
                pages.extend(extent.ids().take(missing as usize));
                missing = missing.saturating_sub(u64::from(extent.pages));
                next = self.extent_behind(pager, extent)?;
            }
        }
        let behind = behind.filter(|key| *key > from.key);
        Ok(behind.map(|key| Rest { key, value: None }))
    }

    fn extent_behind(&self, pager: &Pager, extent: Extent) -> Result<Option<Extent>> {
        let page = pager.fetch_shared(extent.first)?;
        Ok(page.next_extent())
    }
}

/// Extents that are looked at while a tree's structure stands still.
const EXTENTS: usize = 32;

/// What of a tree has not been looked at: the rows from a key on.
#[derive(Default)]
struct Rest {
    key: Vec<u8>,
    /// Of that row's value, where the whole of it is, and the part behind what was looked at: its first extent, and how many
    /// pages it has.
    value: Option<(Address, Option<Extent>, u64)>,
}

fn last_child(page: &Page) -> Option<LastChild> {
    let last = page.cell_count().checked_sub(1)?;
    (page.kind() == Some(Kind::Inner)).then(|| LastChild {
        id: page.child(last),
        separator: (last > 0).then(|| page.key(last).into_owned()),
    })
}

/// The rows of a leaf that have large values. A ghost's value has gone before it.
fn large_rows(leaf: &Page) -> impl DoubleEndedIterator<Item = (&[u8], Address)> {
    let cells = match leaf.kind() {
        Some(Kind::Leaf) => leaf.cell_count(),
        _ => 0,
    };
    let cells = (0..cells).map(|index| leaf.leaf_cell(index));
    cells.filter_map(|cell| {
        let address = cell.stored().address()?;
        (!cell.is_ghost()).then_some((cell.key, address))
    })
}

fn last_large(leaf: &Page) -> Option<(Vec<u8>, Address)> {
    let (key, address) = large_rows(leaf).next_back()?;
    Some((key.to_vec(), address))
}

fn structure_bytes(pager: &Pager) -> usize {
    Log::frame_bytes(structure_bytes_max(pager.page_size()), false)
}
