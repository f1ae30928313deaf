//! What the engine writes into the log: the body of every record.
//!
//! The log carries opaque payloads; these are ours. A body is built before its LSN is known, so it never holds its own
//! LSN: a transaction's first record names transaction 0, "this record". [`Record::encode`] and [`Record::decode`] are
//! each other's inverse, and decoding borrows from the payload, is bounded by it, and never panics.
//! [`Record::for_each_page`] turns any record into (page, what the page's LSN was, operation), so redo is one loop.
//!
//! Bytes: `docs/format.md`, "Record bodies".

mod change;
mod decode;
mod encode;
mod kind;
mod outline;
mod tables;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use afterimage_log::Lsn;

pub(crate) use self::change::Change;
pub(crate) use self::kind::{KindCounts, RecordKind};
pub(crate) use self::outline::Outline;
#[allow(
    unused_imports,
    reason = "one list of what the rest of the engine may name"
)]
pub(crate) use self::tables::encode_tables;
#[allow(
    unused_imports,
    reason = "one list of what the rest of the engine may name"
)]
pub(crate) use crate::codec::DecodeError;
use crate::ids::{PageId, TableId};
use crate::page::PageOp;

/// One record's body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Record<'a> {
    /// A change of one row by a transaction, undone if the transaction does not commit.
    Row(RowRecord<'a>),
    /// The reversal of a change: redone like any other, never undone.
    Clr(ClrRecord<'a>),
    /// The promise: from here on the transaction is a winner.
    Commit { txn: Lsn, prev: Lsn },
    /// A rollback is complete.
    End { txn: Lsn, prev: Lsn },
    /// A transaction that needs its id before its first change. The record changes nothing.
    Begin,
    /// A transaction that changed rows of unlogged tables alone has committed: the record gives it its place among the
    /// commits, and says nothing else.
    UnloggedCommit,
    /// A change of the pages' structure: one record over all pages, no transaction, never undone.
    Structure(Structure<'a>),
    /// A checkpoint begins: its tables hold every effect of the records below this one.
    CheckpointBegin,
    /// A chunk of the checkpoint's tables.
    CheckpointTables {
        att: Vec<AttEntry>,
        dpt: Vec<(PageId, Lsn)>,
    },
    /// The checkpoint is complete. `begin` is its first record; the time is that of the last commit before it, in microseconds
    /// since the Unix epoch (0: none).
    CheckpointEnd { begin: Lsn, last_commit_time: u64 },
}

/// A change of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RowRecord<'a> {
    /// Autocommit: this record is the transaction's only one, and its commit.
    pub(crate) commit: bool,
    /// The transaction: the LSN of its first record; `None` if that is this one.
    pub(crate) txn: Option<Lsn>,
    /// The transaction's record before this one.
    pub(crate) prev: Option<Lsn>,
    pub(crate) table: TableId,
    pub(crate) page: PageId,
    /// The page's LSN before this change.
    pub(crate) page_prev: Option<Lsn>,
    pub(crate) key: Cow<'a, [u8]>,
    pub(crate) change: Change<'a>,
}

/// The reversal of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClrRecord<'a> {
    pub(crate) txn: Lsn,
    /// The transaction's record before this one.
    pub(crate) prev: Lsn,
    /// Where undo goes on: the `prev` of the record that this one reverses. `None`: nothing is left to undo.
    pub(crate) undo_next: Option<Lsn>,
    pub(crate) table: TableId,
    pub(crate) page: PageId,
    /// The page's LSN before this change.
    pub(crate) page_prev: Option<Lsn>,
    pub(crate) key: Cow<'a, [u8]>,
    /// What is done now: see [`Change::compensation`].
    pub(crate) change: Change<'a>,
}

/// A change of the pages' structure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Structure<'a> {
    pub(crate) kind: StructureKind,
    /// Each page once; each part is enough to redo its page.
    pub(crate) parts: Vec<PagePart<'a>>,
}

/// One page's part of a structure change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PagePart<'a> {
    pub(crate) page: PageId,
    /// The page's LSN before this change; `None` for a page that is new.
    pub(crate) page_prev: Option<Lsn>,
    pub(crate) op: PageOp<'a>,
}

/// Why the structure changes. For people and statistics; redo does not ask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum StructureKind {
    /// A page's upper half moves to a new page.
    Split = 1,
    /// A root's cells move down, and the tree has one level more.
    Grow = 2,
    /// A table begins.
    CreateTable = 3,
    /// Ghosts that nobody needs are removed.
    Purge = 4,
    /// The pages file has become longer.
    Extend = 5,
    /// The database's first pages.
    CreateDatabase = 6,
    /// A page as a whole, to mend or to shortcut redo.
    PageImage = 7,
    /// Pages are set aside for a large value: they stand in the pending-free tree until it is in its row.
    Allocate = 8,
    /// Bytes of a large value.
    LargeValue = 9,
    /// Pages that were waiting in the pending-free tree become free.
    Free = 10,
    /// A page takes its right neighbour's cells, which becomes free.
    Merge = 11,
    /// A root takes the cells of its only child, which becomes free: the tree has one level less.
    Shrink = 12,
    /// A table's name goes from the catalogue, and its pages wait to be freed.
    DropTable = 13,
    /// A table gets another name.
    RenameTable = 14,
    /// A tree begins that will be a table when its load is finished; until then it waits to be freed.
    BeginLoad = 15,
    /// A leaf of a tree that is being loaded, or pages for a large value of it.
    Load = 16,
    /// A loaded tree becomes a table.
    FinishLoad = 17,
}

impl StructureKind {
    const fn from_byte(byte: u8) -> Option<StructureKind> {
        match byte {
            1 => Some(StructureKind::Split),
            2 => Some(StructureKind::Grow),
            3 => Some(StructureKind::CreateTable),
            4 => Some(StructureKind::Purge),
            5 => Some(StructureKind::Extend),
            6 => Some(StructureKind::CreateDatabase),
            7 => Some(StructureKind::PageImage),
            8 => Some(StructureKind::Allocate),
            9 => Some(StructureKind::LargeValue),
            10 => Some(StructureKind::Free),
            11 => Some(StructureKind::Merge),
            12 => Some(StructureKind::Shrink),
            13 => Some(StructureKind::DropTable),
            14 => Some(StructureKind::RenameTable),
            15 => Some(StructureKind::BeginLoad),
            16 => Some(StructureKind::Load),
            17 => Some(StructureKind::FinishLoad),
            _ => None,
        }
    }

    /// A short name, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            StructureKind::Split => "split",
            StructureKind::Grow => "grow",
            StructureKind::CreateTable => "create table",
            StructureKind::Purge => "purge",
            StructureKind::Extend => "extend",
            StructureKind::CreateDatabase => "create database",
            StructureKind::PageImage => "page image",
            StructureKind::Allocate => "allocate",
            StructureKind::LargeValue => "large value",
            StructureKind::Free => "free",
            StructureKind::Merge => "merge",
            StructureKind::Shrink => "shrink",
            StructureKind::DropTable => "drop table",
            StructureKind::RenameTable => "rename table",
            StructureKind::BeginLoad => "begin load",
            StructureKind::Load => "load",
            StructureKind::FinishLoad => "finish load",
        }
    }
}

/// One unfinished transaction, as a checkpoint writes it down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AttEntry {
    /// LSN of its first record.
    pub(crate) txn: Lsn,
    /// LSN of its last record so far.
    pub(crate) last: Lsn,
    /// The next record to undo if it has to be rolled back; `None`: all is undone, only its end is missing.
    pub(crate) undo_next: Option<Lsn>,
}

impl Record<'_> {
    /// A short name, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Record::Row(row) => match (&row.change, row.commit) {
                (Change::Delete { .. }, false) => "delete",
                (Change::Delete { .. }, true) => "delete+commit",
                (_, false) => "put",
                (_, true) => "put+commit",
            },
            Record::Clr(_) => "clr",
            Record::Begin => "begin",
            Record::Commit { .. } => "commit",
            Record::UnloggedCommit => "unlogged commit",
            Record::End { .. } => "end",
            Record::Structure(structure) => structure.kind.name(),
            Record::CheckpointBegin => "checkpoint begin",
            Record::CheckpointTables { .. } => "checkpoint tables",
            Record::CheckpointEnd { .. } => "checkpoint end",
        }
    }

    /// The transaction, if the record belongs to one; `own` is the record's LSN.
    pub(crate) fn txn(&self, own: Lsn) -> Option<Lsn> {
        match self {
            Record::Row(row) => Some(row.txn.unwrap_or(own)),
            Record::Clr(clr) => Some(clr.txn),
            Record::Begin => Some(own),
            Record::Commit { txn, .. } | Record::End { txn, .. } => Some(*txn),
            _ => None,
        }
    }

    /// The transaction's record before this one.
    pub(crate) fn prev(&self) -> Option<Lsn> {
        match self {
            Record::Row(row) => row.prev,
            Record::Clr(clr) => Some(clr.prev),
            Record::Commit { prev, .. } | Record::End { prev, .. } => Some(*prev),
            _ => None,
        }
    }

    /// The pages that the record changes: which, what its page LSN was before, and how.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (PageId, Option<Lsn>, PageOp<'_>)> {
        let (row, parts) = match self {
            Record::Row(row) => (
                Some((row.page, row.page_prev, row.change.to_op(&row.key))),
                &[][..],
            ),
            Record::Clr(clr) => (
                Some((clr.page, clr.page_prev, clr.change.to_op(&clr.key))),
                &[][..],
            ),
            Record::Structure(structure) => (None, &structure.parts[..]),
            _ => (None, &[][..]),
        };
        let parts = parts
            .iter()
            .map(|part: &PagePart<'_>| (part.page, part.page_prev, part.op.reborrow()));
        row.into_iter().chain(parts)
    }

    /// Calls `f` for each of [`Record::pages`].
    pub(crate) fn for_each_page(&self, mut f: impl FnMut(PageId, Option<Lsn>, PageOp<'_>)) {
        match self {
            // Every write comes by here, twice.
            Record::Row(row) => f(row.page, row.page_prev, row.change.to_op(&row.key)),
            _ => self
                .pages()
                .for_each(|(page, page_prev, op)| f(page, page_prev, op)),
        }
    }

    /// Calls `f` for each of [`Record::pages`] until it fails.
    pub(crate) fn try_for_each_page<E>(
        &self,
        mut f: impl FnMut(PageId, Option<Lsn>, PageOp<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pages()
            .try_for_each(|(page, page_prev, op)| f(page, page_prev, op))
    }
}
