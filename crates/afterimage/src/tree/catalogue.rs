//! The catalogue: which tables there are. Tree 1 on disk, a map in memory.
//!
//! Creating a table is one redo-only record: the catalogue's cell, the new root, its map bit and the next table id in
//! the file header. It belongs to no transaction: a table is there or not, never half.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::{Mutex, RwLock};
use afterimage_log::Log;
use foldhash::fast::FixedState;

use super::Tree;
use super::split::{Asker, change_structure};
use super::unlogged::Unlogged;
use crate::buffer::{Claimed, Pager, Store, UnloggedFile};
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::interval::Interval;
use crate::limits::structure_bytes_max;
use crate::page::{FileHeader, PageOp, USED};
use crate::record::{PagePart, Record, Structure, StructureKind};

/// The kinds of tables.
const KIND_LOGGED: u8 = 1;
const KIND_UNLOGGED: u8 = 2;
/// Longest name of a table, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

pub(crate) struct Catalogue {
    pub(super) io: Io,
    pub(super) tree: Arc<Tree>,
    /// Pages waiting to be free.
    pub(crate) pending: Arc<Tree>,
    pub(super) creating: Mutex<()>,
    pub(super) tables: RwLock<Tables>,
    pub(crate) unlogged_file: UnloggedFile,
    /// The rows of unlogged tables, since there was the first of these.
    unlogged: OnceLock<Unlogged>,
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) by_name: BTreeMap<String, Arc<Tree>>,
    pub(super) by_id: HashMap<TableId, Arc<Tree>, FixedState>,
    /// Dropped, but not yet freed to the last page.
    pub(super) dropped: HashMap<TableId, Arc<Tree>, FixedState>,
}

impl Tables {
    pub(super) fn add(&mut self, tree: Arc<Tree>) {
        self.by_name.insert(tree.name().to_string(), tree.clone());
        self.by_id.insert(tree.id(), tree);
    }

    /// A tree that was in no catalogue has become a table.
    pub(super) fn loaded(&mut self, tree: Arc<Tree>) {
        self.dropped.remove(&tree.id());
        self.add(tree);
    }

    pub(super) fn remove(&mut self, name: &str, tree: &Arc<Tree>) {
        self.by_name.remove(name);
        self.by_id.remove(&tree.id());
        self.dropped.insert(tree.id(), tree.clone());
    }
}

impl Catalogue {
    pub(crate) fn new(io: &Io, unlogged_file: UnloggedFile) -> Catalogue {
        Catalogue {
            io: io.clone(),
            tree: Arc::new(Tree::new(
                io,
                TableId::CATALOGUE,
                "(catalogue)",
                PageId::CATALOGUE_ROOT,
            )),
            pending: Arc::new(Tree::new(
                io,
                TableId::PENDING_FREE,
                "(pending free)",
                PageId::PENDING_FREE_ROOT,
            )),
            creating: Mutex::new(io, ()),
            tables: RwLock::new(io, Tables::default()),
            unlogged_file,
            unlogged: OnceLock::new(),
        }
    }

    /// Reads what tables there are, and returns the unlogged ones, whose rows are still to be found:
    /// [`open_unlogged`](Catalogue::open_unlogged) comes next.
    pub(crate) fn load(&self, pager: &Pager) -> Result<Vec<(String, TableId)>> {
        let (mut tables, mut unlogged) = (Tables::default(), Vec::new());
        let mut rest = Interval::all();
        while !rest.is_empty() {
            let step = self.tree.first_rows(pager, &rest)?;
            for row in step.rows.iter() {
                let name = row.key;
                let entry = decode_entry(name, row.value).ok_or_else(|| {
                    Error::corruption("the catalogue", format!("the entry of table {name:?}"))
                })?;
                match entry.root {
                    Some(root) => {
                        let tree = Tree::new(&self.io, entry.id, entry.name, root);
                        tables.add(Arc::new(tree));
                    }
                    None => unlogged.push((entry.name.to_owned(), entry.id)),
                }
            }
            rest = step.rest;
        }
        *self.tables.write() = tables;
        Ok(unlogged)
    }

    /// Opens the unlogged tables that [`load`](Catalogue::load) has found: with the rows that are in `left`, which a clean
    /// stop has left; without it they are empty. Returns the tables in the file that were dropped before.
    pub(crate) fn open_unlogged(
        &self,
        log: &Log,
        tables: &[(String, TableId)],
        left: Option<Store>,
    ) -> Result<Vec<(TableId, PageId)>> {
        let (io, file) = (&self.io, &self.unlogged_file);
        let unlogged = match left {
            _ if tables.is_empty() => {
                drop(left);
                file.remove()?;
                return Ok(Vec::new());
            }
            Some(store) => Unlogged::take_over(io, file, log, store)?,
            None => Unlogged::make(io, file, log)?,
        };
        for (name, id) in tables {
            let tree = Tree::unlogged(io, *id, name, unlogged.root_of(*id)?);
            self.tables.write().add(Arc::new(tree));
        }
        let mut dropped = unlogged.all_roots()?;
        dropped.retain(|(id, _)| self.by_id(*id).is_none());
        let _ = self.unlogged.set(unlogged);
        Ok(dropped)
    }

    /// The rows of unlogged tables, if there ever was one since the open.
    pub(crate) fn unlogged(&self) -> Option<&Unlogged> {
        self.unlogged.get()
    }

    /// The pages that `tree` is on; `logged` are those of the logged ones.
    pub(crate) fn pager_of<'a>(&'a self, tree: &Tree, logged: &'a Pager) -> &'a Pager {
        match tree.is_logged() {
            true => logged,
            false => &self.of_unlogged().pager,
        }
    }

    /// The pending-free tree for the pages of `tree`.
    pub(crate) fn pending_of(&self, tree: &Tree) -> &Tree {
        match tree.is_logged() {
            true => &self.pending,
            false => &self.of_unlogged().pending,
        }
    }

    fn of_unlogged(&self) -> &Unlogged {
        let unlogged = self.unlogged.get();
        unlogged.expect("made before the first unlogged table")
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Tree>> {
        self.tables.read().by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: TableId) -> Option<Arc<Tree>> {
        match id {
            TableId::CATALOGUE => return Some(self.tree.clone()),
            TableId::PENDING_FREE => return Some(self.pending.clone()),
            TableId::UNLOGGED_ROOTS => return self.unlogged().map(|file| file.roots.clone()),
            TableId::UNLOGGED_PENDING => return self.unlogged().map(|file| file.pending.clone()),
            _ => {}
        }
        self.tables.read().by_id.get(&id).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.tables.read().by_name.keys().cloned().collect()
    }

    /// How many tables there are, and how many of them are unlogged.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let tables = self.tables.read();
        let unlogged = tables.by_name.values().filter(|tree| !tree.is_logged());
        (tables.by_name.len() as u64, unlogged.count() as u64)
    }

    pub(crate) fn unlogged_names(&self) -> Vec<String> {
        let tables = self.tables.read();
        let unlogged = tables.by_name.iter().filter(|(_, tree)| !tree.is_logged());
        unlogged.map(|(name, _)| name.clone()).collect()
    }

    /// Every tree in `pages`, or every one in `unlogged`, the engine's own first.
    pub(crate) fn trees(&self, logged: bool) -> Vec<Arc<Tree>> {
        let own = match (logged, self.unlogged()) {
            (true, _) => vec![self.tree.clone(), self.pending.clone()],
            (false, Some(file)) => vec![file.roots.clone(), file.pending.clone()],
            (false, None) => return Vec::new(),
        };
        let tables = self.tables.read();
        let tables = tables.by_name.values();
        let tables = tables.filter(|tree| tree.is_logged() == logged).cloned();
        own.into_iter().chain(tables).collect()
    }

    /// The table `name`, of whatever kind; made if there is none, logged or not. True if it was made just now.
    pub(crate) fn open(
        &self,
        pager: &Pager,
        name: &str,
        logged: bool,
    ) -> Result<(Arc<Tree>, bool)> {
        if let Some(tree) = self.by_name(name) {
            return Ok((tree, false));
        }
        check_name(name)?;
        let _creating = self.creating.lock();
        if let Some(tree) = self.by_name(name) {
            return Ok((tree, false));
        }
        if !logged && self.unlogged.get().is_none() {
            let made = Unlogged::make(&self.io, &self.unlogged_file, &pager.log)?;
            let _ = self.unlogged.set(made);
        }
        let tree = loop {
            let created = match logged {
                true => self.try_create(pager, name)?,
                false => Some(self.create_unlogged(pager, name)?),
            };
            if let Some(tree) = created {
                break Arc::new(tree);
            }
        };
        self.tables.write().add(tree.clone());
        Ok((tree, true))
    }

    fn try_create(&self, pager: &Pager, name: &str) -> Result<Option<Tree>> {
        let key = name.as_bytes();
        let mut asker = Asker {
            pager,
            purgeable: &|_| true,
            kept: None,
        };
        self.tree.make_room(&mut asker, key, ENTRY_BYTES)?;
        let mut reservation = pager.reserve(structure_bytes_max(pager.page_size()))?;
        let _permit = pager.permit();
        let new = pager.new_page(false)?;
        let file_header = pager.fetch(PageId::FILE_HEADER)?;
        let mut leaf = self.tree.leaf_exclusive(pager, key)?;
        let Some(mut file_header) = file_header.exclusive() else {
            return Ok(None);
        };
        let Some(Claimed {
            mut page,
            mut map,
            index,
        }) = new.claim()
        else {
            return Ok(None);
        };
        let mut header = file_header
            .file_header()
            .map_err(|e| Error::corruption("page 0 of pages", e.to_string()))?;
        let (mut id, root) = (TableId(header.next_table), page.page_id());
        if planted::active(Bug::TableIdReused) {
            let mut ids = (TableId::FIRST_USER.get()..).map(TableId);
            id = ids.find(|id| self.by_id(*id).is_none()).unwrap_or(id);
        }
        header.next_table += 1;
        let entry = encode_entry(id, Some(root));
        let parts = vec![
            (&mut leaf, PageOp::put_cell(key, &entry)),
            (&mut page, PageOp::format_leaf(root, id)),
            (&mut file_header, PageOp::FileHeader(header)),
            (&mut map, PageOp::map_set(index, 1, true)),
        ];
        let changed = change_structure(pager, &mut reservation, StructureKind::CreateTable, parts);
        page.kept_if(changed)?;
        pager.pages_taken(&map, 1);
        Ok(Some(Tree::new(&self.io, id, name, root)))
    }

    /// Its root comes first, and goes again if nothing comes of the rest.
    fn create_unlogged(&self, pager: &Pager, name: &str) -> Result<Tree> {
        let unlogged = self.of_unlogged();
        let id = TableId(self.file_header(pager)?.next_table);
        let root = unlogged.root_of(id)?;
        let tree = Tree::unlogged(&self.io, id, name, root);
        let entered = loop {
            match self.enter(pager, &tree) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if entered.is_err()
            && let Err(error) = unlogged.forget_root(&tree)
        {
            pager
                .log
                .fail(format!("taking back a new table's root: {error}"));
        }
        entered.map(|()| tree)
    }

    /// Enters a table that is not on any logged page. False: to be tried again.
    fn enter(&self, pager: &Pager, tree: &Tree) -> Result<bool> {
        let name = tree.name();
        let key = name.as_bytes();
        let mut asker = Asker {
            pager,
            purgeable: &|_| true,
            kept: None,
        };
        self.tree.make_room(&mut asker, key, ENTRY_BYTES)?;
        let bytes = Log::frame_bytes(structure_bytes_max(pager.page_size()), false);
        let mut reservation = pager.reserve(bytes)?;
        let _permit = pager.permit();
        let file_header = pager.fetch(PageId::FILE_HEADER)?;
        let mut leaf = self.tree.leaf_exclusive(pager, key)?;
        let Some(mut file_header) = file_header.exclusive() else {
            return Ok(false);
        };
        let mut header = file_header
            .file_header()
            .map_err(|e| Error::corruption("page 0 of pages", e.to_string()))?;
        header.next_table += 1;
        let entry = tree.entry();
        let parts = vec![
            (&mut leaf, PageOp::put_cell(key, &entry)),
            (&mut file_header, PageOp::FileHeader(header)),
        ];
        change_structure(pager, &mut reservation, StructureKind::CreateTable, parts)?;
        Ok(true)
    }

    /// What `pages` says about itself. Table ids are given out under the mutex that the caller holds.
    fn file_header(&self, pager: &Pager) -> Result<FileHeader> {
        let page = pager.fetch_shared(PageId::FILE_HEADER)?;
        let header = page.file_header();
        header.map_err(|e| Error::corruption("page 0 of pages", e.to_string()))
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    let bad = |what: &str| {
        Err(Error::BadTableName {
            name: name.to_owned(),
            what: what.to_owned(),
        })
    };
    if name.is_empty() {
        return bad("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return bad("it is longer than 255 bytes");
    }
    Ok(())
}

/// id u32 | root u64 | kind u8 | flags u8, little-endian.
pub(super) const ENTRY_BYTES: usize = 14;

/// An entry of the catalogue.
pub(crate) struct Entry<'a> {
    name: &'a str,
    id: TableId,
    /// `None`: the table is unlogged.
    root: Option<PageId>,
}

impl Tree {
    /// The table's entry in the catalogue.
    pub(super) fn entry(&self) -> [u8; ENTRY_BYTES] {
        encode_entry(self.id, self.logged.then_some(self.root))
    }
}

fn encode_entry(id: TableId, root: Option<PageId>) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..4].copy_from_slice(&id.get().to_le_bytes());
    entry[4..12].copy_from_slice(&PageId::to_link(root).to_le_bytes());
    entry[12] = match root {
        Some(_) => KIND_LOGGED,
        None => KIND_UNLOGGED,
    };
    entry
}

pub(crate) fn decode_entry<'a>(name: &'a [u8], entry: &[u8]) -> Option<Entry<'a>> {
    let name = std::str::from_utf8(name).ok()?;
    let entry: &[u8; ENTRY_BYTES] = entry.try_into().ok()?;
    let mut reader = Reader::new(entry);
    let (id, root) = (TableId(reader.u32().ok()?), reader.u64().ok()?);
    let root = PageId::from_link(root);
    let right = match reader.u8().ok()? {
        KIND_LOGGED => root.is_some(),
        KIND_UNLOGGED => root.is_none(),
        _ => false,
    };
    (right && id >= TableId::FIRST_USER).then_some(Entry { name, id, root })
}

/// Writes the first pages of a new database: file header, map, catalogue, pending-free, in one record.
pub(crate) fn format_database(pager: &Pager, database_id: u128) -> Result<()> {
    let header = FileHeader::new(
        pager.page_size() as u32,
        database_id,
        TableId::FIRST_USER.get(),
    );
    format_file(pager, header, [TableId::CATALOGUE, TableId::PENDING_FREE])
}

/// Writes the first pages of a new file: header, map, and the roots of two empty trees.
pub(super) fn format_file(pager: &Pager, header: FileHeader, trees: [TableId; 2]) -> Result<()> {
    pager.grow_new_file()?;
    let ops = [
        (PageId::FILE_HEADER, PageOp::FileHeader(header)),
        (
            PageId::FIRST_MAP,
            PageOp::format_map(PageId::FIRST_MAP, &[USED | USED << 2 | USED << 4]),
        ),
        (
            PageId::CATALOGUE_ROOT,
            PageOp::format_leaf(PageId::CATALOGUE_ROOT, trees[0]),
        ),
        (
            PageId::PENDING_FREE_ROOT,
            PageOp::format_leaf(PageId::PENDING_FREE_ROOT, trees[1]),
        ),
    ];
    let parts = ops
        .into_iter()
        .map(|(page, op)| PagePart {
            page,
            page_prev: None,
            op,
        })
        .collect();
    let record = Record::Structure(Structure {
        kind: StructureKind::CreateDatabase,
        parts,
    });
    let mut reservation = pager.reserve_for(&record)?;
    let mut pages = Vec::new();
    for page in [
        PageId::FILE_HEADER,
        PageId::FIRST_MAP,
        PageId::CATALOGUE_ROOT,
        PageId::PENDING_FREE_ROOT,
    ] {
        pages.push(pager.frame_for_new(page)?);
    }
    let mut pages: Vec<_> = pages.iter_mut().collect();
    pager.mutate(&mut reservation, &record, &mut pages, false, &mut |_, _| ())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT_DOC: &str = include_str!("../../../../docs/format.md");

    /// If this fails, tables of databases that exist would not be found: it needs another kind of entry.
    #[test]
    fn entries_byte_for_byte() {
        let id = TableId(0x0102_0304);
        let logged = [4, 3, 2, 1, 6, 5, 0, 0, 0, 0, 0, 0, 1, 0];
        let unlogged = [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];
        assert_eq!(encode_entry(id, Some(PageId(0x0506))), logged);
        assert_eq!(encode_entry(id, None), unlogged);
        for (entry, root) in [(logged, Some(PageId(0x0506))), (unlogged, None)] {
            let read = decode_entry(b"t", &entry).expect("is one");
            assert_eq!((read.name, read.id, read.root), ("t", id, root));
        }
        let stated = "1 is a logged table, 2 an [unlogged](#unlogged-tables) one";
        assert!(FORMAT_DOC.contains(stated));
        // A root where there can be none, none where there must be one, another kind, an id of the engine's own.
        for (at, byte) in [(12, 2), (12, 3), (12, 0)] {
            let mut wrong = logged;
            wrong[at] = byte;
            assert!(decode_entry(b"t", &wrong).is_none());
        }
        let mut wrong = unlogged;
        wrong[12] = 1;
        assert!(decode_entry(b"t", &wrong).is_none());
        assert!(decode_entry(b"t", &encode_entry(TableId::UNLOGGED_ROOTS, None)).is_none());
    }
}
