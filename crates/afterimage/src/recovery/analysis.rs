//! The analysis pass: reads the log from the checkpoint on and rebuilds the two tables.

use std::collections::{BTreeMap, BTreeSet};

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Frame, Lsn};

use super::kinds::Kinds;
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::record::{AttEntry, Record, RecordKind};

/// What the log says about the moment of the crash.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    unfinished: BTreeMap<Lsn, AttEntry>,
    /// Seen to end since the checkpoint began: its tables may still list them.
    finished: BTreeSet<Lsn>,
    /// Between a checkpoint's begin and its end.
    tables_come: bool,
    /// Pages that may be older on disk than in the log, each with the first LSN that may be missing there.
    pub(crate) dirty: BTreeMap<PageId, Lsn>,
    pub(crate) winners: u64,
    pub(crate) rolled_back: u64,
    pub(crate) records: u64,
    pub(crate) checkpoint_complete: bool,
}

/// Reads a record; what cannot be read was not written by this version, for its frame was whole.
pub(super) fn decode(frame: &Frame) -> Result<Record<'_>> {
    Record::decode(&frame.payload).map_err(|e| {
        Error::corruption(
            format!("LSN {}", frame.lsn),
            format!("a record that cannot be read: {e}"),
        )
    })
}

impl Analysis {
    /// Takes in the next record.
    pub(crate) fn add(&mut self, frame: &Frame, checkpoint: Lsn, kinds: &mut Kinds) -> Result<()> {
        let (record, lsn) = (decode(frame)?, frame.lsn);
        self.records += 1;
        kinds.read(RecordKind::of(&record));
        for (page, _, _) in record.pages() {
            self.dirty.entry(page).or_insert(lsn);
        }
        match &record {
            Record::Row(row) if row.commit => self.winners += 1,
            Record::Row(row) => self.progress(row.txn.unwrap_or(lsn), lsn, Some(lsn)),
            Record::Clr(clr) => self.progress(clr.txn, lsn, clr.undo_next),
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
        }
        Ok(())
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

    /// Where redo starts: nothing before it can be missing from any page.
    pub(crate) fn redo_from(&self) -> Option<Lsn> {
        self.dirty.values().min().copied()
    }
}
