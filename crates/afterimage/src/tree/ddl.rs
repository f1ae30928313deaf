//! Dropping and renaming tables: one redo-only record each, as making one is. A table is there or not, under the one name
//! or the other, never half.
//!
//! A dropped table's tree is entered in the pending-free tree, in the record that takes its name out of the catalogue.

use std::sync::Arc;

use afterimage_log::{Log, Lsn};

use super::catalogue::{Catalogue, ENTRY_BYTES, check_name};
use super::pending::{self, VALUE_BYTES};
use super::split::{Asker, change_structure};
use super::{Tree, pending_key};
use crate::buffer::{Exclusive, Pager, Pin};
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::limits::structure_bytes_max;
use crate::page::PageOp;
use crate::record::StructureKind;

impl Catalogue {
    /// Takes the table out of the catalogue, and leaves its pages to be freed for `owner`. Nobody else uses it any more: the
    /// caller has all of it locked. Returns the catalogue's leaf that the name has gone from; `None` if the table is not
    /// there under this name any more. `purgeable`: which ghosts of the pending-free tree need not be kept.
    pub(crate) fn drop_table(
        &self,
        pager: &Pager,
        owner: Lsn,
        name: &str,
        tree: &Arc<Tree>,
        purgeable: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<PageId>> {
        let _creating = self.creating.lock();
        let is_it = |found: Arc<Tree>| Arc::ptr_eq(&found, tree);
        if !self.by_name(name).is_some_and(is_it) {
            return Ok(None);
        }
        if !tree.is_logged() {
            return self.drop_unlogged(pager, name, tree).map(Some);
        }
        let (key, value) = (pending_key(owner, tree.root), pending::tree_value(tree.id));
        loop {
            let mut asker = Asker {
                pager,
                purgeable,
                kept: None,
            };
            self.pending.make_room(&mut asker, &key, VALUE_BYTES)?;
            let mut reservation = pager.reserve(structure_bytes(pager))?;
            let _permit = pager.permit();
            let cell = self.tree.leaf_exclusive(pager, name.as_bytes())?.into_pin();
            let mut entry = self.pending.leaf_exclusive(pager, &key)?;
            // Two trees: only one leaf of each is latched, the catalogue's always second.
            let Some(mut cell) = covering(cell, name.as_bytes()) else {
                continue;
            };
            if !entry.fits_put(&key, VALUE_BYTES) {
                continue;
            }
            let remove = PageOp::RemoveCells {
                keys: vec![name.as_bytes().into()],
            };
            let parts = vec![
                (&mut cell, remove),
                (&mut entry, PageOp::put_cell(&key, &value)),
            ];
            let kind = StructureKind::DropTable;
            let lsn = change_structure(pager, &mut reservation, kind, parts)?;
            tree.set_dropped(lsn.expect("the catalogue is logged"));
            self.tables.write().remove(name, tree);
            return Ok(Some(cell.page_id()));
        }
    }

    /// Its root stays where it is, in `unlogged`: that there is no table for it says that it was dropped.
    fn drop_unlogged(&self, pager: &Pager, name: &str, tree: &Arc<Tree>) -> Result<PageId> {
        let mut reservation = pager.reserve(structure_bytes(pager))?;
        let _permit = pager.permit();
        let mut cell = self.tree.leaf_exclusive(pager, name.as_bytes())?;
        let remove = PageOp::RemoveCells {
            keys: vec![name.as_bytes().into()],
        };
        let (kind, parts) = (StructureKind::DropTable, vec![(&mut cell, remove)]);
        let lsn = change_structure(pager, &mut reservation, kind, parts)?;
        tree.set_dropped(lsn.expect("the catalogue is logged"));
        self.tables.write().remove(name, tree);
        Ok(cell.page_id())
    }

    /// Gives the table `from` the name `to`. Who uses it goes on.
    pub(crate) fn rename_table(&self, pager: &Pager, from: &str, to: &str) -> Result<()> {
        check_name(to)?;
        let _creating = self.creating.lock();
        let tree = self.by_name(from).ok_or_else(|| Error::NoSuchTable {
            name: from.to_owned(),
        })?;
        if from == to {
            return Ok(());
        }
        if self.by_name(to).is_some() {
            return Err(Error::TableExists {
                name: to.to_owned(),
            });
        }
        loop {
            let mut asker = Asker {
                pager,
                purgeable: &|_| true,
                kept: None,
            };
            self.tree
                .make_room(&mut asker, to.as_bytes(), ENTRY_BYTES)?;
            if self.try_rename(pager, &tree, from.as_bytes(), to.as_bytes())? {
                break;
            }
        }
        let mut tables = self.tables.write();
        tables.by_name.remove(from);
        tree.set_name(to);
        tables.add(tree);
        Ok(())
    }

    fn try_rename(&self, pager: &Pager, tree: &Tree, from: &[u8], to: &[u8]) -> Result<bool> {
        // Under the structure mutex both leaves stay where they are while neither is latched.
        let _structure = self.tree.structure.lock();
        let mut reservation = pager.reserve(structure_bytes(pager))?;
        let _permit = pager.permit();
        let entry = tree.entry();
        let old = self.tree.leaf_exclusive(pager, from)?.into_pin();
        let new = self.tree.leaf_exclusive(pager, to)?.into_pin();
        let remove = PageOp::RemoveCells {
            keys: vec![from.into()],
        };
        let kind = StructureKind::RenameTable;
        if old.page() == new.page() {
            let Some(mut leaf) = covering(old, from) else {
                return Ok(false);
            };
            let copy = (*leaf).clone();
            let both = PageOp::format_renamed(&copy, from, to, &entry);
            if crate::page::check_op(&leaf, &both).is_err() {
                return Ok(false);
            }
            change_structure(pager, &mut reservation, kind, vec![(&mut leaf, both)])?;
            return Ok(true);
        }
        // From left to right, as everybody latches neighbours.
        let (first, second) = if from < to { (old, new) } else { (new, old) };
        let keys = if from < to { (from, to) } else { (to, from) };
        let (Some(first), Some(second)) = (covering(first, keys.0), covering(second, keys.1))
        else {
            return Ok(false);
        };
        let (mut old, mut new) = if from < to {
            (first, second)
        } else {
            (second, first)
        };
        if !new.fits_put(to, ENTRY_BYTES) {
            return Ok(false);
        }
        let parts = vec![(&mut old, remove), (&mut new, PageOp::put_cell(to, &entry))];
        change_structure(pager, &mut reservation, kind, parts)?;
        Ok(true)
    }

    /// The tree of a table that was dropped, or is not there yet: for all the same one, so that they do not work on it at the
    /// same time.
    pub(crate) fn dropped(&self, id: TableId, root: PageId, logged: bool) -> Arc<Tree> {
        let mut tables = self.tables.write();
        // Its load may have been finished since the entry was read.
        if let Some(tree) = tables.by_id.get(&id) {
            return tree.clone();
        }
        let make = match logged {
            true => Tree::new,
            false => Tree::unlogged,
        };
        let tree = || Arc::new(make(&self.io, id, "(in no catalogue)", root));
        tables.dropped.entry(id).or_insert_with(tree).clone()
    }

    /// The dropped table's pages are free.
    pub(crate) fn forget_dropped(&self, id: TableId) {
        self.tables.write().dropped.remove(&id);
    }
}

/// Latches a leaf that was let go of; `None` if it does not cover `key` any more.
pub(super) fn covering<'p>(leaf: Pin<'p>, key: &[u8]) -> Option<Exclusive<'p>> {
    let leaf = leaf.exclusive()?;
    let covers = leaf.kind() == Some(crate::page::Kind::Leaf) && leaf.covers(key);
    covers.then_some(leaf)
}

fn structure_bytes(pager: &Pager) -> usize {
    Log::frame_bytes(structure_bytes_max(pager.page_size()), false)
}
