//! What a recovery tells whoever looks on: every step of its passes, as the passes take it. Nothing here recovers anything.
//!
//! An observer costs nothing where there is none. Where there is one, redo takes one record after the other, in the order of
//! the log, in one thread: the same functions on the same pages, only not several at a time.

use std::fmt;
use std::sync::Arc;

use afterimage_log::Lsn;

/// Looks on while a database is recovered. Given to [`Options::observer`](crate::Options::observer).
pub trait RecoveryObserver: Send + Sync {
    /// The recovery has taken this step.
    fn step(&self, step: &RecoveryStep<'_>) -> AfterStep;
}

/// What is to be done before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterStep {
    /// Nothing.
    GoOn,
    /// The log is to be made durable as far as it goes. Undo alone writes log, and does so only after its own steps; elsewhere it means
    /// nothing. For whoever wants a crash between two records of an undo.
    MakeLogDurable,
}

/// A record of the log, as it was met.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SeenRecord<'a> {
    /// Its position.
    pub lsn: Lsn,
    /// Its bytes; [`inspect::record`](crate::inspect::record) says what is in them.
    pub payload: &'a [u8],
}

/// A transaction's line in the table of unfinished transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionLine {
    /// Its first record, which is its name.
    pub txn: Lsn,
    /// Its last record so far.
    pub last: Lsn,
    /// What undo would visit next; `None`: nothing is left, only its end is missing.
    pub undo_next: Option<Lsn>,
}

/// What became of a line of that table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionChange {
    /// It is new, or is now this.
    Set(TransactionLine),
    /// The transaction has ended: its line is gone.
    Gone(Lsn),
}

/// A page's line in the dirty page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct PageLine {
    /// Its number.
    pub page: u64,
    /// The first record whose change may be missing from its home.
    pub rec_lsn: Lsn,
}

/// What redo does with a record's change of one page, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedoDecision {
    /// The page is as the record found it: the change is made again.
    Applied,
    /// The page's LSN is the record's or higher: the change is there.
    PageNewer,
    /// The page is not in the dirty page table: it is home. It is not even read.
    NotDirty,
    /// The page's recLSN is higher: this change was home before. The page is not even read.
    BeforeRecLsn,
    /// The page is older than the record found it: log is missing, or a write of the page. Recovery ends here.
    LogMissing,
}

/// A step of a recovery. More kinds may come.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RecoveryStep<'a> {
    /// The control file was read. Nothing is written until the log's end is found.
    Began {
        /// The checkpoint's begin record, where analysis starts.
        checkpoint: Lsn,
        /// The last stop was clean: there is nothing to recover, and no step follows.
        clean: bool,
    },
    /// Analysis has read a record.
    Analysed {
        /// The record.
        record: SeenRecord<'a>,
        /// What it did to the table of unfinished transactions.
        transactions: &'a [TransactionChange],
        /// The lines that it added to the dirty page table, or moved back in it.
        pages: &'a [PageLine],
    },
    /// The end of the log was found, and found to be a right one.
    LogEnded {
        /// The position behind the last record.
        end: Lsn,
        /// How it ends, in words.
        tail: &'a str,
    },
    /// A page's home was torn, or older than its copy in the doublewrite area, and was written again from there.
    PageRestored {
        /// The page.
        page: u64,
        /// Its LSN in the copy.
        lsn: Lsn,
        /// Whether the home was torn.
        torn: bool,
    },
    /// Analysis is through. Redo begins.
    AnalysisEnded {
        /// The unfinished transactions: the losers.
        losers: &'a [TransactionLine],
        /// The dirty page table, in the order of the pages.
        dirty: &'a [PageLine],
        /// Transactions that committed behind the checkpoint.
        winners: u64,
        /// Where redo starts: the lowest recLSN; `None` where no page is dirty.
        redo_from: Option<Lsn>,
    },
    /// Redo has looked at a record's change of a page.
    Redo {
        /// The record.
        record: SeenRecord<'a>,
        /// The page.
        page: u64,
        /// The page's recLSN in the dirty page table.
        rec_lsn: Option<Lsn>,
        /// The page's LSN before; `None` where the page was not read, or bears none.
        before: Option<Lsn>,
        /// The page's LSN after.
        after: Option<Lsn>,
        /// What was done, and why.
        decision: RedoDecision,
    },
    /// Redo is through. Undo begins.
    RedoEnded {
        /// Changes made again.
        applied: u64,
        /// Changes that were there.
        already_there: u64,
    },
    /// Undo has visited a record of a loser.
    Undo {
        /// The loser.
        txn: Lsn,
        /// The record visited.
        record: SeenRecord<'a>,
        /// The compensation record that was written for it; none for a record that changed nothing, or is a CLR itself.
        clr: Option<SeenRecord<'a>>,
        /// Where the undo of this transaction goes on.
        next: Option<Lsn>,
    },
    /// A loser is rolled back: its end record was written.
    TransactionEnded {
        /// The loser.
        txn: Lsn,
        /// Its end record.
        lsn: Lsn,
    },
    /// The checkpoint behind it all was taken. The database is open.
    CheckpointTaken {
        /// Its begin record.
        lsn: Lsn,
        /// Where a redo would start now.
        redo_from: Lsn,
    },
}

/// An observer among the options; none, mostly.
#[derive(Clone, Default)]
pub(crate) struct Observing(pub(crate) Option<Arc<dyn RecoveryObserver>>);

impl Observing {
    /// Tells it, if it is there.
    pub(crate) fn tell(&self, step: &RecoveryStep<'_>) -> AfterStep {
        match &self.0 {
            Some(observer) => observer.step(step),
            None => AfterStep::GoOn,
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "observed" } else { "none" })
    }
}
