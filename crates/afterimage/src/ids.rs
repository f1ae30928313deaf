//! Names of things on disk: which page, which table. Newtypes, so that a page number is never taken for a byte count.
//!
//! Used by every module of the engine; knows nothing of any of them.

use std::fmt;

/// What may not be there, as a person is told it: an LSN, a link.
pub(crate) fn or_none(what: Option<impl fmt::Display>) -> String {
    what.map_or_else(|| "none".to_owned(), |what| what.to_string())
}

/// A page's number in its file: the page's first byte is at `number * page_size`.
///
/// Page 0 is the file header. No link ever points there, so zero on disk stands for "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageId(pub u64);

impl PageId {
    /// Page 0: the file header.
    pub const FILE_HEADER: PageId = PageId(0);
    /// Page 1: the first allocation map page.
    pub const FIRST_MAP: PageId = PageId(1);
    /// Page 2: the root of the catalogue (tree 1).
    pub const CATALOGUE_ROOT: PageId = PageId(2);
    /// Page 3: the root of the pending-free tree (tree 2).
    pub const PENDING_FREE_ROOT: PageId = PageId(3);

    /// The page number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// A link as it stands on disk: zero is "none".
    pub(crate) const fn from_link(link: u64) -> Option<PageId> {
        if link == 0 { None } else { Some(PageId(link)) }
    }

    /// The disk form of a link.
    pub(crate) const fn to_link(link: Option<PageId>) -> u64 {
        match link {
            Some(page) => page.0,
            None => 0,
        }
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table's (a tree's) number. Never used twice in one database, so a lock or a log record that names one cannot
/// come to mean another table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableId(pub u32);

impl TableId {
    /// Pages that belong to no tree: the file header and the allocation maps.
    pub const NONE: TableId = TableId(0);
    /// The catalogue: table names to roots.
    pub const CATALOGUE: TableId = TableId(1);
    /// The pending-free tree: extents waiting to be freed.
    pub const PENDING_FREE: TableId = TableId(2);
    /// In the file `unlogged`: the roots of the unlogged tables.
    pub const UNLOGGED_ROOTS: TableId = TableId(3);
    /// In the file `unlogged`: its own pending-free tree.
    pub const UNLOGGED_PENDING: TableId = TableId(4);
    /// The first number a user's table can get; those below are the engine's own.
    pub const FIRST_USER: TableId = TableId(16);

    /// The table number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_numbers() {
        assert_eq!(or_none(afterimage_log::Lsn::new(70_016)), "70016");
        assert_eq!(or_none(None::<PageId>), "none");
    }
}
