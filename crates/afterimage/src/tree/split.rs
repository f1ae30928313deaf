//! Structure changes: purge of ghosts, split, growth. Each is one record over all the pages it touches; redo of any
//! of those pages needs none of the others.

use std::borrow::Cow;

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Log, Lsn, Reservation};

use super::Tree;
use crate::buffer::{Claimed, Exclusive, Pager, Pin};
use crate::error::{Error, Result};
use crate::limits::structure_bytes_max;
use crate::page::{Kind, Page, PageOp, separator};
use crate::record::{PagePart, Record, Structure, StructureKind};

/// Who asks for room, and with what in hand.
pub(super) struct Asker<'a> {
    pub(super) pager: &'a Pager,
    /// Whether the ghost of a key may be removed: nobody holds a lock on it.
    pub(super) purgeable: &'a dyn Fn(&[u8]) -> bool,
    /// A rollback's own log space, for when there is no other: a rollback does not meet a full disk.
    pub(super) kept: Option<&'a mut Reservation>,
}

impl Asker<'_> {
    fn is_undoing(&self) -> bool {
        self.kept.is_some()
    }

    /// Log space for one structure change.
    fn space(&mut self) -> Result<Reservation> {
        let bytes = Log::frame_bytes(structure_bytes_max(self.pager.page_size()), false);
        match (self.pager.reserve(bytes), &mut self.kept) {
            (Err(Error::DiskFull { .. }), Some(kept)) if kept.bytes() >= bytes => {
                Ok(kept.split(bytes))
            }
            (space, _) => space,
        }
    }
}

impl Tree {
    /// Makes room on the leaf of `key` for a value of `value_len` bytes. Call it without latches.
    pub(super) fn make_room(
        &self,
        asker: &mut Asker<'_>,
        key: &[u8],
        value_len: usize,
    ) -> Result<()> {
        let _structure = self.structure.lock();
        loop {
            if self.purge_ghosts(asker, key, value_len)? {
                return Ok(());
            }
            self.split(asker, key, 0)?;
        }
    }

    /// True if the value fits, perhaps because ghosts were removed.
    fn purge_ghosts(&self, asker: &mut Asker<'_>, key: &[u8], value_len: usize) -> Result<bool> {
        let mut reservation = asker.space()?;
        let _permit = asker.pager.permit();
        let mut leaf = self.leaf_exclusive(asker.pager, key)?;
        if leaf.fits_put(key, value_len) {
            return Ok(true);
        }
        let ghosts: Vec<Vec<u8>> = (0..leaf.cell_count())
            .map(|index| leaf.leaf_cell(index))
            .filter(|cell| cell.is_ghost() && (asker.purgeable)(cell.key))
            .map(|cell| cell.key.to_vec())
            .collect();
        if ghosts.is_empty() {
            return Ok(false);
        }
        let op = PageOp::RemoveCells {
            keys: ghosts.into_iter().map(Cow::Owned).collect(),
        };
        let parts = vec![(&mut leaf, op)];
        change_structure(asker.pager, &mut reservation, StructureKind::Purge, parts)?;
        Ok(leaf.fits_put(key, value_len))
    }

    /// Splits the page of `level` that covers `key`, after its parent if that is full. The caller holds the structure
    /// mutex, and no latch.
    pub(super) fn split(&self, asker: &mut Asker<'_>, key: &[u8], level: u8) -> Result<()> {
        if asker.pager.fetch_shared(self.root)?.level() == level {
            self.grow(asker)?;
        }
        loop {
            match self.try_split(asker, key, level)? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::ParentFull => self.split(asker, key, level + 1)?,
            }
        }
    }

    fn try_split(&self, asker: &mut Asker<'_>, key: &[u8], level: u8) -> Result<Attempt> {
        let (mut reservation, pager) = (asker.space()?, asker.pager);
        let _permit = pager.permit();
        let new = pager.new_page(asker.is_undoing())?;
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
        // Rows may have gone since room was asked for: then there is nothing to split.
        if left.cell_count() == 0 {
            return Ok(Attempt::Done);
        }
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
        let link = left.right_link();
        let right = PageOp::format_from(right_id, &left, cells, low, high.as_deref(), link);
        let parts = vec![
            (&mut left, PageOp::split_left(&cut.separator, right_id)),
            (&mut page, right),
            (&mut parent, PageOp::insert_child(&cut.separator, right_id)),
            (&mut map, PageOp::map_set(index, 1, true)),
        ];
        let changed = change_structure(pager, &mut reservation, StructureKind::Split, parts);
        page.kept_if(changed)?;
        pager.pages_taken(&map, 1);
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
    pub(super) fn grow(&self, asker: &mut Asker<'_>) -> Result<()> {
        loop {
            let (mut reservation, pager) = (asker.space()?, asker.pager);
            let _permit = pager.permit();
            let new = pager.new_page(asker.is_undoing())?;
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
            let changed = change_structure(pager, &mut reservation, StructureKind::Grow, parts);
            page.kept_if(changed)?;
            pager.pages_taken(&map, 1);
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

/// A page that grows at its end is cut there, so that ascending keys leave full pages behind; any other page is cut in
/// the middle of its bytes. A leaf of one cell is cut between that cell and the key that asks for room.
fn cut(page: &Page, key: &[u8]) -> Cut {
    let count = page.cell_count();
    assert!(count > 0, "TREE-1: an empty page has room for any row");
    if page.kind() == Some(Kind::Inner) {
        let ends = page.high_fence().is_none() && *page.key(count - 1) < *key;
        let first_right = if ends { count - 1 } else { page.split_index() };
        return Cut {
            first_right,
            separator: page.key(first_right).into_owned(),
        };
    }
    let last = page.leaf_cell(count - 1).key;
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
            separator: separator(key, page.leaf_cell(0).key).to_vec(),
        };
    }
    let [left, right] = [first_right - 1, first_right].map(|index| page.leaf_cell(index).key);
    Cut {
        first_right,
        separator: separator(left, right).to_vec(),
    }
}

/// Logs one structure change and applies it to its pages. Returns the record's LSN, if there is one.
pub(super) fn change_structure(
    pager: &Pager,
    reservation: &mut Reservation,
    kind: StructureKind,
    parts: Vec<(&mut Exclusive<'_>, PageOp<'_>)>,
) -> Result<Option<Lsn>> {
    if planted::active(Bug::SplitInPieces) && kind == StructureKind::Split && parts.len() > 1 {
        let mut last = None;
        for part in parts {
            last = change_structure(pager, reservation, kind, vec![part])?;
        }
        return Ok(last);
    }
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
    let appended = pager.mutate(reservation, &record, &mut pages, false, &mut |_, _| ())?;
    Ok(appended.map(|appended| appended.lsn))
}
