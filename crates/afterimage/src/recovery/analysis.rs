//! Analysis: rebuilds the two tables from the log behind the checkpoint, while the log is examined anyway: it is read once for both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use afterimage_io::planted::{self, Bug};
use afterimage_log::{FrameView, Lsn};
use foldhash::fast::FixedState;

use super::kinds::Kinds;
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::observe::{
    Observing, PageLine, RecoveryStep, SeenRecord, TransactionChange, TransactionLine,
};
use crate::record::{AttEntry, DecodeError, Outline, Record};

/// What the log says about the moment of the crash.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    unfinished: BTreeMap<Lsn, AttEntry>,
    /// Seen to end since the checkpoint began: its tables may still list them.
    finished: BTreeSet<Lsn>,
    /// Between a checkpoint's begin and its end.
    tables_come: bool,
    /// Pages that may be older on disk than in the log, each with the first LSN that may be missing there.
    dirty: HashMap<PageId, Lsn, FixedState>,
    pub(crate) winners: u64,
    pub(crate) rolled_back: u64,
    pub(crate) records: u64,
    pub(crate) checkpoint_complete: bool,
    pub(crate) kinds: Kinds,
}

/// What to say of a record that cannot be read: it was not written by this version, for its frame was whole.
pub(super) fn unreadable(lsn: Lsn, error: &DecodeError) -> Error {
    Error::corruption(
        format!("LSN {lsn}"),
        format!("a record that cannot be read: {error}"),
    )
}

impl From<AttEntry> for TransactionLine {
    fn from(entry: AttEntry) -> TransactionLine {
        TransactionLine {
            txn: entry.txn,
            last: entry.last,
            undo_next: entry.undo_next,
        }
    }
}

pub(super) fn page_line((page, rec_lsn): (PageId, Lsn)) -> PageLine {
    PageLine {
        page: page.get(),
        rec_lsn,
    }
}

impl Analysis {
    /// Takes in the next record.
    pub(crate) fn add(&mut self, frame: FrameView<'_>, checkpoint: Lsn) -> Result<()> {
        let lsn = frame.lsn;
        let outline = Outline::decode(frame.payload).map_err(|e| unreadable(lsn, &e))?;
        self.records += 1;
        self.kinds.read(outline.kind());
        outline.for_each_page(|page| {
            self.dirty.entry(page).or_insert(lsn);
        });
        match outline {
            Outline::Row { commit: true, .. } => self.winners += 1,
            Outline::Row { txn, .. } => self.progress(txn.unwrap_or(lsn), lsn, Some(lsn)),
            Outline::Clr { txn, undo_next, .. } => self.progress(txn, lsn, undo_next),
            Outline::Other(record) => self.add_other(&record, lsn, checkpoint),
        }
        Ok(())
    }

    /// As [`Analysis::add`], and tells the observer what has changed.
    pub(super) fn add_observed(
        &mut self,
        frame: FrameView<'_>,
        checkpoint: Lsn,
        observer: &Observing,
    ) -> Result<()> {
        let record = Record::decode(frame.payload).map_err(|e| unreadable(frame.lsn, &e))?;
        let (mut txns, mut pages): (Vec<Lsn>, Vec<PageId>) = match &record {
            Record::CheckpointTables { att, dpt } => (
                att.iter().map(|entry| entry.txn).collect(),
                dpt.iter().map(|(page, _)| *page).collect(),
            ),
            record => (
                record.txn(frame.lsn).into_iter().collect(),
                record.pages().map(|(page, _, _)| page).collect(),
            ),
        };
        let entry = |tables: &Analysis, txn: &Lsn| tables.unfinished.get(txn).copied();
        let rec_lsn = |tables: &Analysis, page: &PageId| tables.dirty.get(page).copied();
        let were: Vec<_> = txns.iter().map(|txn| entry(self, txn)).collect();
        let had: Vec<_> = pages.iter().map(|page| rec_lsn(self, page)).collect();
        self.add(frame, checkpoint)?;
        let changed = txns.drain(..).zip(were).filter_map(|(txn, was)| {
            let is = entry(self, &txn);
            let change = |is: Option<AttEntry>| match is {
                Some(is) => TransactionChange::Set(is.into()),
                None => TransactionChange::Gone(txn),
            };
            (is != was).then(|| change(is))
        });
        let transactions: Vec<_> = changed.collect();
        let moved = pages.drain(..).zip(had).filter_map(|(page, had)| {
            let has = rec_lsn(self, &page);
            has.filter(|_| has != had)
                .map(|rec_lsn| page_line((page, rec_lsn)))
        });
        let pages: Vec<_> = moved.collect();
        observer.tell(&RecoveryStep::Analysed {
            record: SeenRecord {
                lsn: frame.lsn,
                payload: frame.payload,
            },
            transactions: &transactions,
            pages: &pages,
        });
        Ok(())
    }

    fn add_other(&mut self, record: &Record<'_>, lsn: Lsn, checkpoint: Lsn) {
        match record {
            Record::Commit { txn, .. } => {
                self.winners += 1;
                self.finish(*txn);
            }
            Record::End { txn, .. } => {
                self.rolled_back += 1;
                self.finish(*txn);
            }
            Record::CheckpointTables { att, dpt } => self.merge(att, dpt),
            Record::CheckpointBegin => self.expect_tables(true),
            Record::CheckpointEnd { begin, .. } => {
                self.checkpoint_complete |= *begin == checkpoint;
                self.expect_tables(false);
            }
            Record::Begin => self.progress(lsn, lsn, Some(lsn)),
            // Its rows went with the file that they were in.
            Record::UnloggedCommit | Record::Structure(_) => {}
            Record::Row(_) | Record::Clr(_) => unreachable!("an outline says what these say"),
        }
    }

    /// Only between its begin and its end do a checkpoint's tables list transactions that have ended since.
    fn expect_tables(&mut self, come: bool) {
        self.tables_come = come;
        self.finished.clear();
    }

    fn progress(&mut self, txn: Lsn, last: Lsn, undo_next: Option<Lsn>) {
        self.unfinished.insert(
            txn,
            AttEntry {
                txn,
                last,
                undo_next,
            },
        );
    }

    fn finish(&mut self, txn: Lsn) {
        self.unfinished.remove(&txn);
        if self.tables_come {
            self.finished.insert(txn);
        }
    }

    /// A checkpoint's tables were read after its begin record was in the log, so they may be newer or older than the
    /// records seen since: the newer entry of a transaction holds, the older recLSN of a page.
    fn merge(&mut self, att: &[AttEntry], dpt: &[(PageId, Lsn)]) {
        for entry in att
            .iter()
            .filter(|entry| !self.finished.contains(&entry.txn))
            .filter(|_| !planted::active(Bug::LosersForgotten))
        {
            let known = self.unfinished.entry(entry.txn).or_insert(*entry);
            if known.last < entry.last {
                *known = *entry;
            }
        }
        for &(page, rec_lsn) in dpt {
            let known = self.dirty.entry(page).or_insert(rec_lsn);
            *known = rec_lsn.min(*known);
        }
    }

    pub(crate) fn losers(&self) -> Vec<AttEntry> {
        self.unfinished.values().copied().collect()
    }

    /// The pages that may be older on disk than in the log, in file order, each with the first LSN that may be missing there.
    pub(crate) fn dirty(&self) -> Vec<(PageId, Lsn)> {
        let mut dirty: Vec<_> = self.dirty.iter().map(|(page, lsn)| (*page, *lsn)).collect();
        dirty.sort_unstable();
        dirty
    }

    pub(crate) fn is_dirty(&self, page: PageId) -> bool {
        self.dirty.contains_key(&page)
    }
}
