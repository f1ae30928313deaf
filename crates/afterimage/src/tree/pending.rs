//! The pending-free tree: pages that are in use and will be free when their owner, a transaction, has ended and nobody can
//! see any more what it did.
//!
//! The pages of a new large value enter it in the record that allocates them, so that no crash leaks them; the transaction
//! takes them out, undoably, once the value is in its row. Those of a value that goes enter it undoably. What is left
//! when the owner has ended belongs to nobody: purge frees it.

use afterimage_log::{Log, Lsn, Reservation};

use super::Tree;
use super::scan::Step;
use super::split::{Asker, change_structure};
use crate::buffer::Pager;
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::interval::Interval;
use crate::limits::{map_pages, structure_bytes_max};
use crate::page::{Extent, PageOp, map_position};
use crate::record::StructureKind;

/// The bytes of an entry's key.
pub(crate) const KEY_BYTES: usize = 16;
/// The bytes of an entry's value.
pub(crate) const VALUE_BYTES: usize = 5;
/// The entry is a run of pages.
const KIND_EXTENT: u8 = 1;
/// The entry is the tree of a dropped table; its key names the root.
const KIND_TREE: u8 = 2;

/// What waits to be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// Pages of a large value.
    Extent(Extent),
    /// What is left of a dropped table.
    Tree { table: TableId, root: PageId },
}

/// The key of an entry: those of one owner stand together.
pub(crate) fn key(owner: Lsn, first: PageId) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&owner.get().to_be_bytes());
    key[8..].copy_from_slice(&first.get().to_be_bytes());
    key
}

/// The value of an extent's entry.
pub(crate) fn extent_value(extent: Extent) -> [u8; VALUE_BYTES] {
    value(KIND_EXTENT, extent.pages)
}

/// The value of a dropped table's entry.
pub(super) fn tree_value(table: TableId) -> [u8; VALUE_BYTES] {
    value(KIND_TREE, table.get())
}

fn value(kind: u8, number: u32) -> [u8; VALUE_BYTES] {
    let mut value = [kind; VALUE_BYTES];
    value[1..].copy_from_slice(&number.to_le_bytes());
    value
}

/// The owner that an entry's key names.
pub(crate) fn owner_of(key: &[u8]) -> Option<Lsn> {
    let owner = key.first_chunk::<8>()?;
    Lsn::new(u64::from_be_bytes(*owner))
}

/// Reads an entry; an extent of a page's map is not longer than what the map speaks for.
pub(crate) fn decode(key: &[u8], value: &[u8], page_size: usize) -> Option<(Lsn, Pending)> {
    let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
    let value: &[u8; VALUE_BYTES] = value.try_into().ok()?;
    let first = PageId::from_link(u64::from_be_bytes(*key.last_chunk()?))?;
    let number = u32::from_le_bytes(*value.last_chunk()?);
    let pending = match value[0] {
        KIND_EXTENT if number > 0 && u64::from(number) < map_pages(page_size) => {
            first.get().checked_add(u64::from(number))?;
            Pending::Extent(Extent {
                first,
                pages: number,
            })
        }
        KIND_TREE if TableId(number) >= TableId::FIRST_USER => Pending::Tree {
            table: TableId(number),
            root: first,
        },
        _ => return None,
    };
    Some((owner_of(key)?, pending))
}

impl Tree {
    /// The first entries of `within`, those of one leaf, and what is left of it.
    pub(crate) fn pending_within(
        &self,
        pager: &Pager,
        within: &Interval,
    ) -> Result<(Vec<(Lsn, Pending)>, Interval)> {
        let Step { rows, rest } = self.first_rows(pager, within)?;
        let entries = rows.iter().map(|row| {
            let key = row.key;
            decode(key, row.value, pager.page_size()).ok_or_else(|| {
                Error::corruption("the pending-free tree", format!("the entry {key:x?}"))
            })
        });
        Ok((entries.collect::<Result<_>>()?, rest))
    }

    /// Takes up to `wanted` neighbouring pages into use for `owner`, and enters them here, in one record. `purgeable`: which
    /// ghosts of this tree may be removed to make room.
    pub(crate) fn allocate_extent(
        &self,
        pager: &Pager,
        owner: Lsn,
        wanted: u32,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Extent> {
        loop {
            let mut reservation = self.structure_space(pager)?;
            let permit = pager.permit();
            let new = pager.new_extent(wanted)?;
            let key = key(owner, new.first);
            let mut leaf = self.leaf_exclusive(pager, &key)?;
            if !leaf.fits_put(&key, VALUE_BYTES) {
                drop((leaf, new, permit, reservation));
                let mut asker = Asker {
                    pager,
                    purgeable,
                    kept: None,
                };
                self.make_room(&mut asker, &key, VALUE_BYTES)?;
                continue;
            }
            let Some(mut claimed) = new.claim() else {
                continue;
            };
            let extent = claimed.extent;
            let value = extent_value(extent);
            let parts = vec![
                (&mut leaf, PageOp::put_cell(&key, &value)),
                (
                    &mut claimed.map,
                    PageOp::map_set(claimed.index, extent.pages, true),
                ),
            ];
            change_structure(pager, &mut reservation, StructureKind::Allocate, parts)?;
            pager.pages_taken(&claimed.map, extent.pages);
            return Ok(extent);
        }
    }

    /// Frees the pages of an entry and takes it out, in one record. Returns the leaf it was on.
    pub(crate) fn free_extent(&self, pager: &Pager, owner: Lsn, extent: Extent) -> Result<PageId> {
        let key = key(owner, extent.first);
        let interval = map_pages(pager.page_size());
        let place = map_position(extent.first, pager.page_size());
        let place =
            place.filter(|(_, index)| u64::from(*index) + u64::from(extent.pages) <= interval);
        let (map, index) = place.ok_or_else(|| {
            Error::corruption("the pending-free tree", format!("the entry {key:x?}"))
        })?;
        loop {
            let mut reservation = self.structure_space(pager)?;
            let _permit = pager.permit();
            let map = pager.fetch(map)?;
            let mut leaf = self.leaf_exclusive(pager, &key)?;
            let Some(mut map) = map.exclusive() else {
                continue;
            };
            pager.check_used(&map, index, extent.pages)?;
            let entry = PageOp::RemoveCells {
                keys: vec![key[..].into()],
            };
            let parts = vec![
                (&mut leaf, entry),
                (&mut map, PageOp::map_set(index, extent.pages, false)),
            ];
            change_structure(pager, &mut reservation, StructureKind::Free, parts)?;
            pager.pages_freed(&map, extent.pages);
            pager.counters.pages_purged.add(u64::from(extent.pages));
            return Ok(leaf.page_id());
        }
    }

    fn structure_space(&self, pager: &Pager) -> Result<Reservation> {
        pager.reserve(Log::frame_bytes(
            structure_bytes_max(pager.page_size()),
            false,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_SIZE: usize = 4096;

    fn entry(number: u32) -> Extent {
        Extent {
            first: PageId(0x0506),
            pages: number,
        }
    }

    /// If this fails, databases that exist would lose pages: it needs another kind of entry, not another golden value.
    #[test]
    fn entries_byte_for_byte() {
        let owner = Lsn::new(0x0102_0304).expect("not zero");
        let key = key(owner, PageId(0x0506));
        assert_eq!(key, [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 5, 6]);
        assert_eq!(extent_value(entry(0x0708)), [1, 8, 7, 0, 0]);
        assert_eq!(tree_value(TableId(0x0910)), [2, 0x10, 9, 0, 0]);
        let extent = decode(&key, &[1, 8, 7, 0, 0], PAGE_SIZE);
        assert_eq!(extent, Some((owner, Pending::Extent(entry(0x0708)))));
        let (table, root) = (TableId(0x0910), PageId(0x0506));
        let tree = decode(&key, &[2, 0x10, 9, 0, 0], PAGE_SIZE);
        assert_eq!(tree, Some((owner, Pending::Tree { table, root })));
    }

    #[test]
    fn what_cannot_be_an_entry_is_none() {
        let owner = Lsn::new(9).expect("not zero");
        let good = key(owner, PageId(5));
        let value = extent_value(entry(3));
        assert!(decode(&good, &value, PAGE_SIZE).is_some());
        assert!(decode(&good[..15], &value, PAGE_SIZE).is_none());
        assert!(decode(&good, &value[..4], PAGE_SIZE).is_none());
        assert!(decode(&good, &[3, 3, 0, 0, 0], PAGE_SIZE).is_none());
        assert!(decode(&key(owner, PageId(0)), &value, PAGE_SIZE).is_none());
        assert!(decode(&[0; 16], &value, PAGE_SIZE).is_none());
        for pages in [0, 8192, u32::MAX] {
            assert!(decode(&good, &extent_value(entry(pages)), PAGE_SIZE).is_none());
        }
        let last = key(owner, PageId(u64::MAX));
        assert!(decode(&last, &value, PAGE_SIZE).is_none());
    }
}
