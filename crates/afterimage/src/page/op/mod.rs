//! What can be done to one page, as data: the vocabulary that the log records speak.
//!
//! A [`PageOp`] holds everything its [`apply`] needs besides the page itself, and never names an offset: the same
//! operation does the same thing to the same page, in forward work, in redo and in undo. `Format`,
//! `FileHeader`, `Overflow` and `Free` make a page from nothing, so they also mend one that cannot be read.

mod apply;
mod build;
mod codec;
mod plan;

use std::borrow::Cow;

pub(crate) use self::apply::{Checked, apply, apply_checked, check_op, checked_op, xor_value};
#[cfg(test)]
pub(crate) use self::codec::CODES;
pub(crate) use self::plan::ApplyError;
use super::file_header::FileHeader;
use super::header::Kind;
use super::stored::Extent;
use crate::ids::{PageId, TableId};

/// One change of one page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PageOp<'a> {
    /// Makes the whole page. Needs no old contents.
    Format {
        /// The page's own number: the contents bear it.
        id: PageId,
        kind: Kind,
        level: u8,
        tree: TableId,
        low: Option<Cow<'a, [u8]>>,
        high: Option<Cow<'a, [u8]>>,
        right: Option<PageId>,
        /// Cells in key order, one after the other as in the heap; of a map page its bits, without zeroes at the end.
        cells: Cow<'a, [u8]>,
    },
    /// Makes page 0. Needs no old contents.
    FileHeader(FileHeader),
    /// Sets the cell of a key to exactly this, whether there is one or not.
    PutCell {
        key: Cow<'a, [u8]>,
        value: Cow<'a, [u8]>,
        flags: u8,
    },
    /// Turns a row into a ghost, or a ghost into a row. The value stays.
    SetGhost { key: Cow<'a, [u8]>, ghost: bool },
    /// Changes bytes of the value of a row that is there, keeping its length. Its own inverse.
    XorValue {
        key: Cow<'a, [u8]>,
        runs: Cow<'a, [u8]>,
    },
    /// Removes cells, which must be there, in ascending order of their keys.
    RemoveCells { keys: Vec<Cow<'a, [u8]>> },
    /// Drops what is at or above the separator, which becomes the high fence.
    SplitLeft {
        separator: Cow<'a, [u8]>,
        right: PageId,
    },
    /// Adds a child for the keys from the separator on.
    InsertChild {
        separator: Cow<'a, [u8]>,
        child: PageId,
    },
    /// Removes the child for the keys from the separator on; those go to the child before it. It is not the first.
    RemoveChild { separator: Cow<'a, [u8]> },
    /// Makes a page that holds nothing. Needs no old contents.
    Free {
        /// The page's own number: the contents bear it.
        id: PageId,
    },
    /// Sets the bits of pages on an allocation map.
    MapSet {
        first_index: u32,
        count: u32,
        bits: u8,
    },
    /// Makes the whole page: bytes of a large value. Needs no old contents.
    Overflow {
        /// The page's own number: the contents bear it.
        id: PageId,
        tree: TableId,
        /// Where in the value the bytes belong.
        position: u64,
        /// On an extent's first page: the extent that follows, if one does.
        next: Option<Extent>,
        data: Cow<'a, [u8]>,
    },
}

impl PageOp<'_> {
    /// Whether the operation makes the page whole, whatever it was.
    pub(crate) fn makes_whole_page(&self) -> bool {
        matches!(
            self,
            PageOp::Format { .. }
                | PageOp::FileHeader(_)
                | PageOp::Overflow { .. }
                | PageOp::Free { .. }
        )
    }

    /// A short name, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            PageOp::Format { .. } => "format",
            PageOp::FileHeader(_) => "file header",
            PageOp::PutCell { .. } => "put",
            PageOp::SetGhost { ghost: true, .. } => "ghost",
            PageOp::SetGhost { ghost: false, .. } => "unghost",
            PageOp::XorValue { .. } => "xor",
            PageOp::RemoveCells { .. } => "remove",
            PageOp::SplitLeft { .. } => "split",
            PageOp::InsertChild { .. } => "child",
            PageOp::MapSet { .. } => "map",
            PageOp::Overflow { .. } => "overflow",
            PageOp::RemoveChild { .. } => "remove child",
            PageOp::Free { .. } => "free",
        }
    }
}
