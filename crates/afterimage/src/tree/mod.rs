//! The tree layer: ordered tables over pages.
#![doc = include_str!("README.md")]

mod catalogue;
mod check;
mod descend;
mod large;
mod merge;
mod pending;
mod row;
mod scan;
mod split;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;

pub(crate) use catalogue::{Catalogue, format_database};
pub(crate) use check::check_tree;
pub(crate) use large::{Large, pages_for, write_page};
pub(crate) use merge::Merged;
pub(crate) use pending::{key as pending_key, owner_of as pending_owner, value as pending_value};
pub(crate) use row::RowWrite;
pub(crate) use scan::{See, Step, as_is};

use crate::ids::{PageId, TableId};

/// One B+-tree: where it begins, and the right to change its structure.
pub(crate) struct Tree {
    id: TableId,
    name: String,
    root: PageId,
    structure: Mutex<()>,
}

impl Tree {
    pub(crate) fn new(io: &Io, id: TableId, name: &str, root: PageId) -> Tree {
        Tree {
            id,
            name: name.to_owned(),
            root,
            structure: Mutex::new(io, ()),
        }
    }

    pub(crate) fn id(&self) -> TableId {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
