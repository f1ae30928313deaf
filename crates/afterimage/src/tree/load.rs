//! Loading a table: rows come in key order, gather into leaves, and each leaf is hung in at the right edge of the tree as a
//! whole, by one record over the leaf, the one before it, their parent and the map. No row has a record of its own.
//!
//! Until its last record the tree is in no catalogue: it stands in the pending-free tree, as a dropped one does, so
//! whatever cuts a load off leaves it to purge. For the same reason a large value belongs to the tree from its first extent on:
//! the row comes first, the bytes after it.

use std::sync::Arc;

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Log, Lsn, Reservation};

use super::catalogue::{Catalogue, ENTRY_BYTES, check_name};
use super::ddl::covering;
use super::pending::{self, VALUE_BYTES};
use super::split::{Asker, change_structure};
use super::{Tree, pending_key};
use crate::buffer::{Claimed, Pager};
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::limits::{CELL_ENTRY_BYTES, PAGE_HEADER_BYTES, overflow_bytes, structure_bytes_max};
use crate::page::{Address, Extent, Kind, LARGE, LeafCell, PLAIN, PageOp, leaf_bytes, separator};
use crate::record::StructureKind;

/// What an overflow page holds until its bytes come: an empty one cannot be.
const PLACEHOLDER: &[u8] = &[0];

/// The right edge of a tree that is being loaded: the last leaf, as it will be.
pub(crate) struct Edge {
    pub(crate) tree: Arc<Tree>,
    /// Where the leaf begins; `None`: it is the root.
    low: Option<Vec<u8>>,
    /// Its cells, as they stand in a page's heap.
    cells: Vec<u8>,
    count: usize,
    /// The last key.
    last: Vec<u8>,
    /// It has a page already.
    is_there: bool,
    /// Bytes of a page that are used before the next leaf begins.
    fill: usize,
}

impl Edge {
    fn new(tree: Arc<Tree>, fill: usize) -> Edge {
        Edge {
            tree,
            low: None,
            cells: Vec::new(),
            count: 0,
            last: Vec::new(),
            is_there: true,
            fill,
        }
    }

    /// Whether the leaf takes one more row, and after it still the fence that will part it from the next leaf: that is at
    /// most a byte longer than the leaf's last key.
    pub(crate) fn takes(&self, key: &[u8], value_len: usize, page_size: usize) -> bool {
        let low = self.low.as_ref().map_or(0, Vec::len);
        let cells = self.cells.len() + leaf_bytes(key.len(), value_len);
        let used = PAGE_HEADER_BYTES + (self.count + 1) * CELL_ENTRY_BYTES + cells + low;
        self.count == 0 || (used <= self.fill && used + key.len() < page_size)
    }

    /// Adds a row whose key is above all before it.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8], large: bool) {
        let cell = LeafCell {
            flags: if large { LARGE } else { PLAIN },
            key,
            value,
        };
        cell.append_to(&mut self.cells);
        self.count += 1;
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    /// Writes the leaf, with all its rows.
    pub(crate) fn write(&mut self, pager: &Pager) -> Result<()> {
        if self.is_there {
            return self.tree.fill_last(pager, &self.last, &self.cells);
        }
        let low = self.low.as_deref().expect("only the root has no fence");
        self.tree.append_leaf(pager, low, &self.cells)?;
        self.is_there = true;
        Ok(())
    }

    /// Goes on with the next leaf, whose first key will be `key`. The one before has been written.
    pub(crate) fn turn(&mut self, key: &[u8]) {
        self.low = Some(separator(&self.last, key).to_vec());
        self.cells.clear();
        self.count = 0;
        self.is_there = false;
    }

    /// Gives the leaf its page, if it has none: some of its rows are to come before it is full.
    pub(crate) fn make_page(&mut self, pager: &Pager) -> Result<()> {
        if !self.is_there {
            let low = self.low.as_deref().expect("only the root has no fence");
            self.tree.append_leaf(pager, low, &[])?;
            self.is_there = true;
        }
        Ok(())
    }
}

enum Attempt {
    Done,
    Again,
    ParentFull,
}

impl Tree {
    /// A new leaf for the keys from `low` on, which are above all others.
    fn append_leaf(&self, pager: &Pager, low: &[u8], cells: &[u8]) -> Result<()> {
        let _structure = self.structure.lock();
        let mut asker = Asker {
            pager,
            purgeable: &|_| false,
            kept: None,
        };
        if pager.fetch_shared(self.root)?.level() == 0 {
            self.grow(&mut asker)?;
        }
        loop {
            match self.try_append(pager, low, cells)? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::ParentFull => self.split(&mut asker, low, 1)?,
            }
        }
    }

    fn try_append(&self, pager: &Pager, low: &[u8], cells: &[u8]) -> Result<Attempt> {
        let mut reservation = space(pager)?;
        let _permit = pager.permit();
        let new = pager.new_page(false)?;
        let left = self.leaf_exclusive(pager, low)?.into_pin();
        let mut parent = self.inner_exclusive(pager, low, 1)?;
        let Some(mut left) = left.exclusive() else {
            return Ok(Attempt::Again);
        };
        if !parent.fits_child(low.len()) {
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
        let id = page.page_id();
        let parts = vec![
            (&mut left, PageOp::split_left(low, id)),
            (
                &mut page,
                PageOp::format_rows(id, self.id, Some(low), cells),
            ),
            (&mut parent, PageOp::insert_child(low, id)),
            (&mut map, PageOp::map_set(index, 1, true)),
        ];
        let changed = change_structure(pager, &mut reservation, StructureKind::Load, parts);
        page.kept_if(changed)?;
        pager.pages_taken(&map, 1);
        Ok(Attempt::Done)
    }

    /// Gives the last leaf, that of `key`, exactly these rows.
    fn fill_last(&self, pager: &Pager, key: &[u8], cells: &[u8]) -> Result<()> {
        let _structure = self.structure.lock();
        let mut reservation = space(pager)?;
        let _permit = pager.permit();
        let mut leaf = self.leaf_exclusive(pager, key)?;
        let low = leaf.low_fence().map(<[u8]>::to_vec);
        let rows = PageOp::format_rows(leaf.page_id(), self.id, low.as_deref(), cells);
        let parts = vec![(&mut leaf, rows)];
        change_structure(pager, &mut reservation, StructureKind::Load, parts)?;
        Ok(())
    }

    /// Puts the row of `key` on the last leaf, with the address of a value of `len` bytes, and gives it the first of that
    /// value's pages, at most `wanted` of them.
    pub(crate) fn begin_large(
        &self,
        pager: &Pager,
        key: &[u8],
        len: u64,
        wanted: u32,
    ) -> Result<Address> {
        let _structure = self.structure.lock();
        loop {
            let mut reservation = space(pager)?;
            let _permit = pager.permit();
            let (new, blank) = (pager.new_extent(wanted)?, pager.blank_frame()?);
            let mut leaf = self.leaf_exclusive(pager, key)?;
            let Some(mut claimed) = new.claim() else {
                continue;
            };
            let first = claimed.extent;
            let Some(mut page) = blank.take_over(first.first) else {
                continue;
            };
            let address = Address { first, len };
            let row = PageOp::PutCell {
                key: key.into(),
                value: address.encode().to_vec().into(),
                flags: LARGE,
            };
            let parts = vec![
                (&mut leaf, row),
                (&mut page, self.placeholder(first, 0, None)),
                (
                    &mut claimed.map,
                    PageOp::map_set(claimed.index, first.pages, true),
                ),
            ];
            let changed = change_structure(pager, &mut reservation, StructureKind::Load, parts);
            page.kept_if(changed)?;
            pager.pages_taken(&claimed.map, first.pages);
            return Ok(address);
        }
    }

    /// Gives a value more pages, at most `wanted`, behind its extent `last`; both extents' first pages hold nothing yet. `before`
    /// pages of the value come before `last`.
    pub(crate) fn extend_large(
        &self,
        pager: &Pager,
        last: Extent,
        before: u64,
        wanted: u32,
    ) -> Result<Extent> {
        let _structure = self.structure.lock();
        let position = |pages: u64| pages * overflow_bytes(pager.page_size()) as u64;
        loop {
            let mut reservation = space(pager)?;
            let _permit = pager.permit();
            let (new, blank) = (pager.new_extent(wanted)?, pager.blank_frame()?);
            let mut linking = pager.fetch_exclusive(last.first)?;
            if linking.kind() != Some(Kind::Overflow) || linking.tree() != self.id {
                let what = "it is not the first page of a value that is being loaded".to_owned();
                return Err(pager.corrupt(last.first, what));
            }
            let Some(mut claimed) = new.claim() else {
                continue;
            };
            let next = claimed.extent;
            let Some(mut page) = blank.take_over(next.first) else {
                continue;
            };
            let behind = before + u64::from(last.pages);
            let parts = vec![
                (
                    &mut linking,
                    self.placeholder(last, position(before), Some(next)),
                ),
                (&mut page, self.placeholder(next, position(behind), None)),
                (
                    &mut claimed.map,
                    PageOp::map_set(claimed.index, next.pages, true),
                ),
            ];
            let changed = change_structure(pager, &mut reservation, StructureKind::Load, parts);
            page.kept_if(changed)?;
            pager.pages_taken(&claimed.map, next.pages);
            return Ok(next);
        }
    }

    fn placeholder(&self, extent: Extent, position: u64, next: Option<Extent>) -> PageOp<'static> {
        PageOp::Overflow {
            id: extent.first,
            tree: self.id,
            position,
            next,
            data: PLACEHOLDER.into(),
        }
    }
}

impl Catalogue {
    /// Begins a tree that is in no catalogue and waits to be freed for `owner`, unless [`Catalogue::finish_load`] is reached.
    /// Leaves are filled up to `fill` bytes. `purgeable`: which ghosts of the pending-free tree need not be kept.
    pub(crate) fn begin_load(
        &self,
        pager: &Pager,
        owner: Lsn,
        fill: usize,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Edge> {
        let _creating = self.creating.lock();
        loop {
            let mut asker = Asker {
                pager,
                purgeable,
                kept: None,
            };
            // All entries of one owner that has none yet belong on one leaf.
            let anywhere = pending_key(owner, PageId(0));
            self.pending.make_room(&mut asker, &anywhere, VALUE_BYTES)?;
            if let Some((id, root)) = self.try_begin_load(pager, owner)? {
                return Ok(Edge::new(self.dropped(id, root, true), fill));
            }
        }
    }

    fn try_begin_load(&self, pager: &Pager, owner: Lsn) -> Result<Option<(TableId, PageId)>> {
        let mut reservation = space(pager)?;
        let _permit = pager.permit();
        let (new, blank) = (pager.new_extent(1)?, pager.blank_frame()?);
        let file_header = pager.fetch(PageId::FILE_HEADER)?;
        let root = new.first;
        let key = pending_key(owner, root);
        let mut entry = self.pending.leaf_exclusive(pager, &key)?;
        if !entry.fits_put(&key, VALUE_BYTES) {
            return Ok(None);
        }
        let Some(mut file_header) = file_header.exclusive() else {
            return Ok(None);
        };
        let Some(mut claimed) = new.claim() else {
            return Ok(None);
        };
        let Some(mut page) = blank.take_over(root) else {
            return Ok(None);
        };
        let mut header = file_header
            .file_header()
            .map_err(|e| Error::corruption("page 0 of pages", e.to_string()))?;
        let id = TableId(header.next_table);
        header.next_table += 1;
        let value = pending::tree_value(id);
        let mut parts = vec![
            (&mut file_header, PageOp::FileHeader(header)),
            (&mut page, PageOp::format_leaf(root, id)),
            (&mut claimed.map, PageOp::map_set(claimed.index, 1, true)),
        ];
        if !planted::active(Bug::LoadNotPending) {
            parts.push((&mut entry, PageOp::put_cell(&key, &value)));
        }
        let changed = change_structure(pager, &mut reservation, StructureKind::BeginLoad, parts);
        page.kept_if(changed)?;
        pager.pages_taken(&claimed.map, 1);
        Ok(Some((id, root)))
    }

    /// Makes the loaded tree the table `name`. Returns where the record is, and the leaf of the pending-free tree that the entry
    /// has gone from.
    ///
    /// # Errors
    ///
    /// `TableExists`: somebody else has made one meanwhile.
    pub(crate) fn finish_load(
        &self,
        pager: &Pager,
        owner: Lsn,
        name: &str,
        tree: &Arc<Tree>,
    ) -> Result<(Lsn, PageId)> {
        check_name(name)?;
        let _creating = self.creating.lock();
        if self.by_name(name).is_some() {
            return Err(Error::TableExists {
                name: name.to_owned(),
            });
        }
        let (name_key, key) = (name.as_bytes(), pending_key(owner, tree.root));
        let (lsn, leaf) = loop {
            let mut asker = Asker {
                pager,
                purgeable: &|_| true,
                kept: None,
            };
            self.tree.make_room(&mut asker, name_key, ENTRY_BYTES)?;
            let mut reservation = space(pager)?;
            let _permit = pager.permit();
            let cell = self.tree.leaf_exclusive(pager, name_key)?.into_pin();
            let mut entry = self.pending.leaf_exclusive(pager, &key)?;
            // Two trees: only one leaf of each is latched, the catalogue's always second.
            let Some(mut cell) = covering(cell, name_key) else {
                continue;
            };
            if !cell.fits_put(name_key, ENTRY_BYTES) {
                continue;
            }
            let value = tree.entry();
            let mut parts = vec![(&mut cell, PageOp::put_cell(name_key, &value))];
            let is_kept =
                planted::active(Bug::LoadKeptPending) || planted::active(Bug::LoadNotPending);
            if !is_kept {
                let keys = vec![key[..].into()];
                parts.push((&mut entry, PageOp::RemoveCells { keys }));
            }
            let kind = StructureKind::FinishLoad;
            let lsn = change_structure(pager, &mut reservation, kind, parts)?;
            let lsn = lsn.expect("the catalogue is logged");
            // Before the latches go: whoever sees the table knows since when.
            tree.set_loaded(lsn);
            break (lsn, entry.page_id());
        };
        tree.set_name(name);
        self.tables.write().loaded(tree.clone());
        Ok((lsn, leaf))
    }
}

fn space(pager: &Pager) -> Result<Reservation> {
    pager.reserve(Log::frame_bytes(
        structure_bytes_max(pager.page_size()),
        false,
    ))
}
