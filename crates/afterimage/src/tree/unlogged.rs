//! The trees in the file `unlogged`. Names, ids and the fact that a table is unlogged are in the catalogue, which is logged;
//! where such a table begins is said here, in a tree of the file's own, so that it goes when the file goes.
//!
//! A root without a table is one of a table that was dropped: its pages are freed when nobody can see them any more.

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_log::Log;

use super::Tree;
use super::catalogue::format_file;
use super::split::{Asker, change_structure};
use crate::buffer::{Claimed, Pager, Store, UnloggedFile};
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::interval::Interval;
use crate::page::{FileHeader, PageOp};
use crate::record::StructureKind;

/// Bytes of an entry's value: the root.
const ROOT_BYTES: usize = 8;

/// As errors name the tree.
const ROOTS: &str = "the roots in `unlogged`";

/// The file `unlogged`, in use.
pub(crate) struct Unlogged {
    pub(crate) pager: Pager,
    /// Table id to root.
    pub(crate) roots: Arc<Tree>,
    /// Pages of large values that wait to be free.
    pub(crate) pending: Arc<Tree>,
}

/// The key of a table's entry among the roots.
pub(crate) fn root_key(table: TableId) -> [u8; 4] {
    table.get().to_be_bytes()
}

impl Unlogged {
    /// Takes over the file that a clean stop has left.
    pub(crate) fn take_over(
        io: &Io,
        file: &UnloggedFile,
        log: &Log,
        store: Store,
    ) -> Result<Unlogged> {
        Unlogged::with(io, file.pager(log, store))
    }

    /// Makes the file anew: no table has a row in it.
    pub(crate) fn make(io: &Io, file: &UnloggedFile, log: &Log) -> Result<Unlogged> {
        let pager = file.make(log)?;
        let header = FileHeader {
            file_id: file.file_id,
            ..FileHeader::new(pager.page_size() as u32, file.database_id, 0)
        };
        format_file(
            &pager,
            header,
            [TableId::UNLOGGED_ROOTS, TableId::UNLOGGED_PENDING],
        )?;
        Unlogged::with(io, pager)
    }

    fn with(io: &Io, pager: Pager) -> Result<Unlogged> {
        pager.load_map()?;
        let tree = |id, name, root| Arc::new(Tree::unlogged(io, id, name, root));
        Ok(Unlogged {
            roots: tree(
                TableId::UNLOGGED_ROOTS,
                "(unlogged roots)",
                PageId::CATALOGUE_ROOT,
            ),
            pending: tree(
                TableId::UNLOGGED_PENDING,
                "(unlogged pending free)",
                PageId::PENDING_FREE_ROOT,
            ),
            pager,
        })
    }

    /// Every table that has a root here, be it in the catalogue or dropped.
    pub(crate) fn all_roots(&self) -> Result<Vec<(TableId, PageId)>> {
        let (mut roots, mut rest) = (Vec::new(), Interval::all());
        while !rest.is_empty() {
            let step = self.roots.first_rows(&self.pager, &rest)?;
            for row in step.rows.iter() {
                let key = row.key;
                roots.push(
                    decode(key, row.value)
                        .ok_or_else(|| Error::corruption(ROOTS, format!("the entry {key:x?}")))?,
                );
            }
            rest = step.rest;
        }
        Ok(roots)
    }

    /// Where `table` begins; an empty tree is made where it has none. The caller sees to it that nobody else asks.
    pub(crate) fn root_of(&self, table: TableId) -> Result<PageId> {
        let key = root_key(table);
        let known = self.roots.read(&self.pager, &key, |_, value| {
            value.map(|value| decode(&key, &value.bytes))
        })?;
        match known {
            Some(Some((_, root))) => return Ok(root),
            Some(None) => {
                let what = format!("the entry of table {table}");
                return Err(Error::corruption(ROOTS, what));
            }
            None => {}
        }
        loop {
            if let Some(root) = self.try_make_root(table)? {
                return Ok(root);
            }
        }
    }

    /// Takes back what [`root_of`](Unlogged::root_of) has made just now for this table.
    pub(super) fn forget_root(&self, tree: &Tree) -> Result<()> {
        tree.free_page(&self.pager, &self.roots, &root_key(tree.id))?;
        Ok(())
    }

    fn try_make_root(&self, table: TableId) -> Result<Option<PageId>> {
        let (pager, key) = (&self.pager, root_key(table));
        let mut asker = Asker {
            pager,
            purgeable: &|_| true,
            kept: None,
        };
        self.roots.make_room(&mut asker, &key, ROOT_BYTES)?;
        let mut reservation = pager.reserve(0)?;
        let _permit = pager.permit();
        let new = pager.new_page(false)?;
        let mut leaf = self.roots.leaf_exclusive(pager, &key)?;
        if !leaf.fits_put(&key, ROOT_BYTES) {
            return Ok(None);
        }
        let Some(Claimed {
            mut page,
            mut map,
            index,
        }) = new.claim()
        else {
            return Ok(None);
        };
        let root = page.page_id();
        let entry = root.get().to_le_bytes();
        let parts = vec![
            (&mut leaf, PageOp::put_cell(&key, &entry)),
            (&mut page, PageOp::format_leaf(root, table)),
            (&mut map, PageOp::map_set(index, 1, true)),
        ];
        let changed = change_structure(pager, &mut reservation, StructureKind::CreateTable, parts);
        page.kept_if(changed)?;
        pager.pages_taken(&map, 1);
        Ok(Some(root))
    }
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<(TableId, PageId)> {
    let table = TableId(u32::from_be_bytes(key.try_into().ok()?));
    let root = PageId::from_link(u64::from_le_bytes(value.try_into().ok()?))?;
    (table >= TableId::FIRST_USER).then_some((table, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT_DOC: &str = include_str!("../../../../docs/format.md");

    /// If this fails, rows that a clean stop has left would not be found again.
    #[test]
    fn entries_byte_for_byte() {
        let table = TableId(0x0102_0304);
        assert_eq!(root_key(table), [1, 2, 3, 4]);
        let value = [6, 5, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&[1, 2, 3, 4], &value), Some((table, PageId(0x0506))));
        assert!(decode(&[1, 2, 3], &value).is_none());
        assert!(decode(&[1, 2, 3, 4], &value[..7]).is_none());
        assert!(decode(&[1, 2, 3, 4], &[0; 8]).is_none());
        assert!(decode(&[0, 0, 0, 15], &value).is_none());
    }

    #[test]
    fn the_document_states_the_trees_of_the_file() {
        let section = FORMAT_DOC.split("## Unlogged tables\n").nth(1);
        let section = section.and_then(|text| text.split("\n## ").next());
        let row = |line: &str| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let mut number = || cells.next()?.parse::<u32>().ok();
            let (tree, root) = (number()?, number()?);
            Some((
                TableId(tree),
                PageId(u64::from(root)),
                cells.next()?.to_owned(),
            ))
        };
        let stated: Vec<_> = section.expect("is there").lines().filter_map(row).collect();
        let (roots, pending) = (PageId::CATALOGUE_ROOT, PageId::PENDING_FREE_ROOT);
        let trees = [
            (TableId::UNLOGGED_ROOTS, roots, "roots".to_owned()),
            (
                TableId::UNLOGGED_PENDING,
                pending,
                "pending free".to_owned(),
            ),
        ];
        assert_eq!(stated, trees);
    }
}
