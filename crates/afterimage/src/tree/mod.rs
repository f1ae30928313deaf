//! The tree layer: ordered tables over pages.
#![doc = include_str!("README.md")]

mod catalogue;
mod check;
mod ddl;
mod descend;
mod dropped;
mod large;
mod load;
mod many;
mod merge;
mod pending;
mod row;
mod rows;
mod scan;
mod split;
mod unlogged;

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::sync::{Mutex, RwLock};
use afterimage_log::Lsn;

#[cfg(any(test, fuzzing))]
pub(crate) use catalogue::decode_entry;
pub(crate) use catalogue::{Catalogue, check_name, format_database};
pub(crate) use check::check_tree;
pub(crate) use large::{Large, pages_for, write_page};
pub(crate) use load::Edge;
pub(crate) use many::CALLED_UP;
pub(crate) use merge::Merged;
#[cfg(any(test, fuzzing))]
pub(crate) use pending::decode as decode_pending;
pub(crate) use pending::{
    Pending, extent_value as pending_value, key as pending_key, owner_of as pending_owner,
};
pub(crate) use row::RowWrite;
pub(crate) use rows::{Row, Rows};
pub(crate) use scan::{AsIs, Sight, Step, Wanted};
#[cfg(any(test, fuzzing))]
pub(crate) use unlogged::decode as decode_root;
pub(crate) use unlogged::root_key;

use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};

/// One B+-tree: where it begins, and the right to change its structure.
pub(crate) struct Tree {
    id: TableId,
    name: RwLock<Arc<str>>,
    root: PageId,
    logged: bool,
    structure: Mutex<()>,
    /// The LSN of the record that dropped the table; 0: it is there.
    dropped: AtomicU64,
    /// The LSN of the record that made it a table, if it was loaded since the database was opened; else 0.
    loaded: AtomicU64,
}

impl Tree {
    pub(crate) fn new(io: &Io, id: TableId, name: &str, root: PageId) -> Tree {
        Tree {
            id,
            name: RwLock::new(io, name.into()),
            root,
            logged: true,
            structure: Mutex::new(io, ()),
            dropped: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
        }
    }

    /// The tree of an unlogged table.
    pub(crate) fn unlogged(io: &Io, id: TableId, name: &str, root: PageId) -> Tree {
        Tree {
            logged: false,
            ..Tree::new(io, id, name, root)
        }
    }

    /// Whether it is in `pages`, and its changes are in the log; else it is in `unlogged`.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged
    }

    pub(crate) fn id(&self) -> TableId {
        self.id
    }

    /// The page that it begins on.
    pub(crate) fn root(&self) -> PageId {
        self.root
    }

    /// The name it has now.
    pub(crate) fn name(&self) -> Arc<str> {
        self.name.read().clone()
    }

    fn set_name(&self, name: &str) {
        *self.name.write() = name.into();
    }

    /// When the table was dropped, if it was.
    pub(crate) fn dropped_at(&self) -> Option<Lsn> {
        Lsn::new(self.dropped.load(Ordering::Acquire))
    }

    fn set_dropped(&self, lsn: Lsn) {
        self.dropped.store(lsn.get(), Ordering::Release);
    }

    /// When the table came in, if it was loaded since the database was opened: its rows have no older versions to say so.
    pub(crate) fn loaded_at(&self) -> Option<Lsn> {
        Lsn::new(self.loaded.load(Ordering::Acquire))
    }

    fn set_loaded(&self, lsn: Lsn) {
        self.loaded.store(lsn.get(), Ordering::Release);
    }

    /// What came of using the table, unless it was dropped meanwhile: then whatever was found means nothing.
    pub(crate) fn unless_dropped<R>(&self, result: Result<R>) -> Result<R> {
        if self.dropped_at().is_none() {
            return result;
        }
        Err(Error::NoSuchTable {
            name: self.name().to_string(),
        })
    }
}
