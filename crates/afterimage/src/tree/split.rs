//! Structure changes: purge of ghosts, split, growth. Each is one record over all the pages it touches; redo of any
//! of those pages needs none of the others.

use std::borrow::Cow;

use afterimage_log::Reservation;

use super::Tree;
use crate::buffer::{Claimed, Exclusive, Pager, Pin};
use crate::error::Result;
use crate::limits::structure_bytes_max;
use crate::page::{Kind, Page, PageOp, separator};
use crate::record::{PagePart, Record, Structure, StructureKind};

impl Tree {
    /// Makes room on the leaf of `key` for a value of `value_len` bytes. Call it without latches.
    pub(super) fn make_room(
        &self,
        pager: &Pager,
        key: &[u8],
        value_len: usize,
        undoing: bool,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<()> {
        let _structure = self.structure.lock();
        loop {
            if self.purge_ghosts(pager, key, value_len, purgeable)? {
                return Ok(());
            }
            self.split(pager, key, 0, undoing)?;
        }
    }

    /// True if the value fits, perhaps because ghosts were removed.
    fn purge_ghosts(
        &self,
        pager: &Pager,
        key: &[u8],
        value_len: usize,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<bool> {
        let mut reservation = self.structure_space(pager)?;
        let _permit = pager.permit();
        let mut leaf = self.leaf_exclusive(pager, key)?;
        if leaf.fits_put(key, value_len) {
            return Ok(true);
        }
        let ghosts: Vec<Vec<u8>> = (0..leaf.cell_count())
            .map(|index| leaf.leaf_cell(index))
            .filter(|cell| cell.is_ghost() && purgeable(cell.key))
            .map(|cell| cell.key.to_vec())
            .collect();
        if ghosts.is_empty() {
            return Ok(false);
        }
        let op = PageOp::RemoveCells {
            keys: ghosts.into_iter().map(Cow::Owned).collect(),
        };
        change_structure(
            pager,
            &mut reservation,
            StructureKind::Purge,
            vec![(&mut leaf, op)],
        )?;
        Ok(leaf.fits_put(key, value_len))
    }

    fn structure_space(&self, pager: &Pager) -> Result<Reservation> {
        pager.reserve(structure_bytes_max(pager.page_size()))
    }

    /// Splits the page of `level` that covers `key`, after its parent if that is full. The caller holds the structure
    /// mutex, and no latch.
    fn split(&self, pager: &Pager, key: &[u8], level: u8, undoing: bool) -> Result<()> {
        if pager.fetch_shared(self.root)?.level() == level {
            self.grow(pager, undoing)?;
        }
        loop {
            match self.try_split(pager, key, level, undoing)? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::ParentFull => self.split(pager, key, level + 1, undoing)?,
            }
        }
    }

    fn try_split(&self, pager: &Pager, key: &[u8], level: u8, undoing: bool) -> Result<Attempt> {
        let mut reservation = self.structure_space(pager)?;
        let _permit = pager.permit();
        let new = pager.new_page(undoing)?;
        let held = self.leaf_or_inner(pager, key, level)?;
        let mut parent = self.inner_exclusive(pager, key, level + 1)?;
        let (_, child) = parent.child_for(key);
        debug_assert_eq!(
            child,
            held.page(),
            "inner pages stand still under the structure mutex"
        );
        let Some(mut left) = held.exclusive() else {
            return Ok(Attempt::Again);
        };
        let cut = cut(&left, key);
        if !parent.fits_child(cut.separator.len()) {
            return Ok(Attempt::ParentFull);
        }
        let Some(Claimed {
            mut page,
            mut map,
            index,
        }) = new.claim()
        else {
            return Ok(Attempt::Again);
        };
        let right_id = page.page_id();
        let cells = cut.first_right..left.cell_count();
        let high = left.high_fence().map(<[u8]>::to_vec);
        let low = Some(&*cut.separator);
        let right = PageOp::format_from(
            right_id,
            &left,
            cells,
            low,
            high.as_deref(),
            left.right_link(),
        );
        let parts = vec![
            (&mut left, PageOp::split_left(&cut.separator, right_id)),
            (&mut page, right),
            (&mut parent, PageOp::insert_child(&cut.separator, right_id)),
            (&mut map, PageOp::map_set(index, 1, true)),
        ];
        change_structure(pager, &mut reservation, StructureKind::Split, parts)?;
        pager.page_taken();
        Ok(Attempt::Done)
    }

    /// Pins the page of `level` that covers `key`.
    fn leaf_or_inner<'p>(&self, pager: &'p Pager, key: &[u8], level: u8) -> Result<Pin<'p>> {
        let page = if level == 0 {
            self.leaf_exclusive(pager, key)?
        } else {
            self.inner_exclusive(pager, key, level)?
        };
        Ok(page.into_pin())
    }

    /// Moves the root's cells to a new page below it.
    fn grow(&self, pager: &Pager, undoing: bool) -> Result<()> {
        loop {
            let mut reservation = self.structure_space(pager)?;
            let _permit = pager.permit();
            let new = pager.new_page(undoing)?;
            let mut root = pager.fetch_exclusive(self.root)?;
            let Some(Claimed {
                mut page,
                mut map,
                index,
            }) = new.claim()
            else {
                continue;
            };
            let child = page.page_id();
            let moved = PageOp::format_from(child, &root, 0..root.cell_count(), None, None, None);
            let grown = PageOp::format_root(self.root, self.id, root.level() + 1, &[(b"", child)]);
            let parts = vec![
                (&mut page, moved),
                (&mut root, grown),
                (&mut map, PageOp::map_set(index, 1, true)),
            ];
            change_structure(pager, &mut reservation, StructureKind::Grow, parts)?;
            pager.page_taken();
            return Ok(());
        }
    }
}

enum Attempt {
    Done,
    Again,
    ParentFull,
}

/// Where a page is cut in two.
struct Cut {
    first_right: usize,
    separator: Vec<u8>,
}

/// A leaf that grows at its end is cut there, so that ascending keys leave full pages behind; any other page is cut in
/// the middle of its bytes. A leaf of one cell is cut between that cell and the key that asks for room.
fn cut(page: &Page, key: &[u8]) -> Cut {
    let count = page.cell_count();
    assert!(count > 0, "TREE-1: an empty page has room for any row");
    if page.kind() == Some(Kind::Inner) {
        let first_right = page.split_index();
        return Cut {
            first_right,
            separator: page.key(first_right).to_vec(),
        };
    }
    let last = page.key(count - 1);
    if last < key {
        let separator = separator(last, key);
        if page.fits_split(count, separator.len()) {
            return Cut {
                first_right: count,
                separator: separator.to_vec(),
            };
        }
    }
    let first_right = page.split_index();
    if first_right == 0 {
        return Cut {
            first_right: 0,
            separator: separator(key, page.key(0)).to_vec(),
        };
    }
    let (left, right) = (page.key(first_right - 1), page.key(first_right));
    Cut {
        first_right,
        separator: separator(left, right).to_vec(),
    }
}

/// Logs one structure change and applies it to its pages.
pub(super) fn change_structure(
    pager: &Pager,
    reservation: &mut Reservation,
    kind: StructureKind,
    parts: Vec<(&mut Exclusive<'_>, PageOp<'_>)>,
) -> Result<()> {
    let mut pages = Vec::with_capacity(parts.len());
    let mut named = Vec::with_capacity(parts.len());
    for (page, op) in parts {
        named.push(PagePart {
            page: page.page_id(),
            page_prev: page.lsn(),
            op,
        });
        pages.push(page);
    }
    let record = Record::Structure(Structure { kind, parts: named });
    pager.mutate(reservation, &record, &mut pages, false, &mut |_, _| ())?;
    Ok(())
}
