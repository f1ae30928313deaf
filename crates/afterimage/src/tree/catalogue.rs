//! The catalogue: which tables there are. Tree 1 on disk, a map in memory.
//!
//! Creating a table is one redo-only record: the catalogue's cell, the new root, its map bit and the next table id in
//! the file header. It belongs to no transaction: a table is there or not, never half.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::{Mutex, RwLock};
use foldhash::fast::FixedState;

use super::Tree;
use super::split::{Asker, change_structure};
use crate::buffer::{Claimed, Pager};
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::interval::Interval;
use crate::limits::structure_bytes_max;
use crate::page::{FileHeader, PageOp, USED};
use crate::record::{PagePart, Record, Structure, StructureKind};

/// The only kind of table so far.
const KIND_LOGGED: u8 = 1;
/// Longest name of a table, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

pub(crate) struct Catalogue {
    pub(super) io: Io,
    pub(super) tree: Arc<Tree>,
    /// Pages waiting to be free.
    pub(crate) pending: Arc<Tree>,
    pub(super) creating: Mutex<()>,
    pub(super) tables: RwLock<Tables>,
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
    pub(crate) fn new(io: &Io) -> Catalogue {
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
        }
    }

    /// Reads what tables there are.
    pub(crate) fn load(&self, pager: &Pager) -> Result<()> {
        let mut tables = Tables::default();
        let mut rest = Interval::all();
        while !rest.is_empty() {
            let step = self.tree.rows_within(
                pager,
                &rest,
                false,
                usize::MAX,
                &super::as_is,
                &mut |_| true,
            )?;
            let step = step.expect("nobody says no");
            for (name, entry) in step.rows {
                let tree = decode_entry(&self.io, &name, &entry.bytes).ok_or_else(|| {
                    Error::corruption("the catalogue", format!("the entry of table {name:?}"))
                })?;
                tables.add(Arc::new(tree));
            }
            rest = step.rest;
        }
        *self.tables.write() = tables;
        Ok(())
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Tree>> {
        self.tables.read().by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: TableId) -> Option<Arc<Tree>> {
        match id {
            TableId::CATALOGUE => return Some(self.tree.clone()),
            TableId::PENDING_FREE => return Some(self.pending.clone()),
            _ => {}
        }
        self.tables.read().by_id.get(&id).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.tables.read().by_name.keys().cloned().collect()
    }

    /// Every tree there is, the engine's own first.
    pub(crate) fn trees(&self) -> Vec<Arc<Tree>> {
        [self.tree.clone(), self.pending.clone()]
            .into_iter()
            .chain(self.tables.read().by_name.values().cloned())
            .collect()
    }

    /// The table `name`, made if there is none. True if it was made just now.
    pub(crate) fn open(&self, pager: &Pager, name: &str) -> Result<(Arc<Tree>, bool)> {
        if let Some(tree) = self.by_name(name) {
            return Ok((tree, false));
        }
        check_name(name)?;
        let _creating = self.creating.lock();
        if let Some(tree) = self.by_name(name) {
            return Ok((tree, false));
        }
        let tree = loop {
            if let Some(tree) = self.try_create(pager, name)? {
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
        let (id, root) = (TableId(header.next_table), page.page_id());
        header.next_table += 1;
        let entry = encode_entry(id, root);
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

pub(super) fn encode_entry(id: TableId, root: PageId) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..4].copy_from_slice(&id.get().to_le_bytes());
    entry[4..12].copy_from_slice(&root.get().to_le_bytes());
    entry[12] = KIND_LOGGED;
    entry
}

fn decode_entry(io: &Io, name: &[u8], entry: &[u8]) -> Option<Tree> {
    let name = std::str::from_utf8(name).ok()?;
    let entry: &[u8; ENTRY_BYTES] = entry.try_into().ok()?;
    let mut reader = Reader::new(entry);
    let (id, root) = (TableId(reader.u32().ok()?), PageId(reader.u64().ok()?));
    let kind = reader.u8().ok()?;
    (kind == KIND_LOGGED && id >= TableId::FIRST_USER).then(|| Tree::new(io, id, name, root))
}

/// Writes the first pages of a new database: file header, map, catalogue, pending-free, in one record.
pub(crate) fn format_database(pager: &Pager, database_id: u128) -> Result<()> {
    pager.grow_new_file()?;
    let header = FileHeader::new(
        pager.page_size() as u32,
        database_id,
        TableId::FIRST_USER.get(),
    );
    let ops = [
        (PageId::FILE_HEADER, PageOp::FileHeader(header)),
        (
            PageId::FIRST_MAP,
            PageOp::format_map(PageId::FIRST_MAP, &[USED | USED << 2 | USED << 4]),
        ),
        (
            PageId::CATALOGUE_ROOT,
            PageOp::format_leaf(PageId::CATALOGUE_ROOT, TableId::CATALOGUE),
        ),
        (
            PageId::PENDING_FREE_ROOT,
            PageOp::format_leaf(PageId::PENDING_FREE_ROOT, TableId::PENDING_FREE),
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
