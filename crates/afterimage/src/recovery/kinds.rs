//! What a recovery met and did, counted by the kinds of records.

use std::collections::BTreeMap;

use crate::record::RecordKind;

/// What a recovery met of one kind of record, and what it did with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindReport {
    /// The kind: `insert`, `clr delete`, `split`, ...
    pub kind: &'static str,
    /// Whether such a record changes pages, so that redo can have to make it again.
    pub changes_pages: bool,
    /// Whether undo can have to take such a record back.
    pub undoable: bool,
    /// Records that the analysis pass read.
    pub read: u64,
    /// Records that redo applied again, to one page at least.
    pub redone: u64,
    /// Records that redo looked at and found on all their pages already.
    pub already_there: u64,
    /// Records that undo took back.
    pub undone: u64,
}

/// The counts of one recovery.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    counts: BTreeMap<RecordKind, Count>,
    /// What the last record in the log is.
    pub(crate) last: Option<RecordKind>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    read: u64,
    redone: u64,
    already_there: u64,
    undone: u64,
}

impl Kinds {
    fn count(&mut self, kind: RecordKind) -> &mut Count {
        self.counts.entry(kind).or_default()
    }

    pub(crate) fn read(&mut self, kind: RecordKind) {
        self.count(kind).read += 1;
        self.last = Some(kind);
    }

    /// Redo has looked at a record: it applied it to a page, or found it there.
    pub(crate) fn redo(&mut self, kind: RecordKind, applied: bool) {
        let count = self.count(kind);
        if applied {
            count.redone += 1;
        } else {
            count.already_there += 1;
        }
    }

    pub(crate) fn undone(&mut self, kind: RecordKind) {
        self.count(kind).undone += 1;
    }

    /// A line for every kind there is, those that were not met too.
    pub(crate) fn report(&self) -> Vec<KindReport> {
        let line = |kind: RecordKind| {
            let count = self.counts.get(&kind).copied().unwrap_or_default();
            KindReport {
                kind: kind.name(),
                changes_pages: kind.changes_pages(),
                undoable: kind.undoable(),
                read: count.read,
                redone: count.redone,
                already_there: count.already_there,
                undone: count.undone,
            }
        };
        RecordKind::all().map(line).collect()
    }
}
