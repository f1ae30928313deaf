//! What a recovery met and did, counted by the kinds of records.

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
#[derive(Debug)]
pub(crate) struct Kinds {
    /// By [`RecordKind::index`].
    counts: Vec<Count>,
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

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds {
            counts: vec![Count::default(); RecordKind::INDEXES],
            last: None,
        }
    }
}

impl Kinds {
    fn count(&mut self, kind: RecordKind) -> &mut Count {
        &mut self.counts[kind.index()]
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

    /// Takes in what was counted in the part of the log that follows.
    pub(crate) fn add_read(&mut self, later: &Kinds) {
        for (count, later) in self.counts.iter_mut().zip(&later.counts) {
            count.read += later.read;
        }
        self.last = later.last.or(self.last);
    }

    /// Takes in what another thread of redo has counted.
    pub(crate) fn add_redo(&mut self, other: &Kinds) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            count.redone += other.redone;
            count.already_there += other.already_there;
        }
    }

    /// A line for every kind there is, those that were not met too.
    pub(crate) fn report(&self) -> Vec<KindReport> {
        let line = |kind: RecordKind| {
            let count = self.counts[kind.index()];
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
