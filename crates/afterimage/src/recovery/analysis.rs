//! Analysis: rebuilds the two tables from the log behind the checkpoint, while the log is examined anyway: it is read once for both, and
//! several parts of it at the same time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use afterimage_io::planted::{self, Bug};
use afterimage_log::{FrameView, Lsn, Witness};
use foldhash::fast::FixedState;

use super::kinds::Kinds;
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::observe::{
    Observing, PageLine, RecoveryStep, SeenRecord, TransactionChange, TransactionLine,
};
use crate::record::{AttEntry, DecodeError, Outline, Record, RecordKind};

/// Pages up to here are looked up by a bit each, in up to 2 MiB.
const SEEN_MAX: u64 = 16 << 20;

/// What the log, or a part of it, says about the moment of the crash.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    unfinished: BTreeMap<Lsn, AttEntry>,
    /// Seen to end. In all of the log: since a checkpoint began whose tables may still list them. In a part that is not the first: since
    /// the part began, too, for an earlier part may hold what they did before.
    finished: BTreeSet<Lsn>,
    /// Whether this is a later part of the log, to be absorbed.
    later: bool,
    /// Between a checkpoint's begin and its end; none while no part of a checkpoint was seen.
    tables_come: Option<bool>,
    /// Pages that may be older on disk than in the log, each with the first LSN that may be missing there.
    dirty: HashMap<PageId, Lsn, FixedState>,
    /// Which pages are in that table, by number: a table so small that it stays in the processor's cache.
    seen: Vec<u64>,
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
        match outline {
            Outline::Row {
                kind,
                txn,
                commit,
                page,
            } => {
                self.kinds.read(kind);
                self.changes(page, lsn);
                match commit {
                    true => self.winners += 1,
                    false => self.progress(txn.unwrap_or(lsn), lsn, Some(lsn)),
                }
            }
            Outline::Clr {
                kind,
                txn,
                undo_next,
                page,
            } => {
                self.kinds.read(kind);
                self.changes(page, lsn);
                self.progress(txn, lsn, undo_next);
            }
            Outline::Other => {
                let record = Record::decode(frame.payload).map_err(|e| unreadable(lsn, &e))?;
                self.kinds.read(RecordKind::of(&record));
                record.for_each_page(|page, _, _| self.changes(page, lsn));
                self.add_other(&record, lsn, checkpoint);
            }
        }
        Ok(())
    }

    fn changes(&mut self, page: PageId, lsn: Lsn) {
        let (word, bit) = ((page.get() / 64) as usize, 1 << (page.get() % 64));
        if self.seen.get(word).is_some_and(|bits| bits & bit != 0) {
            return;
        }
        if page.get() < SEEN_MAX {
            if self.seen.len() <= word {
                self.seen.resize(word + 1, 0);
            }
            self.seen[word] |= bit;
        }
        self.dirty.entry(page).or_insert(lsn);
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
        self.tables_come = Some(come);
        if !self.later {
            self.finished.clear();
        }
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
        if self.later || self.tables_come == Some(true) {
            self.finished.insert(txn);
        }
    }

    /// A checkpoint's tables were read after its begin record was in the log, so they may be newer or older than the
    /// records seen since: the newer entry of a transaction holds, the older recLSN of a page.
    fn merge(&mut self, att: &[AttEntry], dpt: &[(PageId, Lsn)]) {
        for entry in att
            .iter()
            .filter(|_| !planted::active(Bug::LosersForgotten))
        {
            self.know(entry);
        }
        for (page, rec_lsn) in dpt {
            self.may_miss(*page, *rec_lsn);
        }
    }

    /// How far a transaction had come; it may have come further since, or have ended.
    fn know(&mut self, entry: &AttEntry) {
        if self.finished.contains(&entry.txn) {
            return;
        }
        let known = self.unfinished.entry(entry.txn).or_insert(*entry);
        if known.last < entry.last {
            *known = *entry;
        }
    }

    /// A page may be without what happened to it from there on.
    fn may_miss(&mut self, page: PageId, rec_lsn: Lsn) {
        let known = self.dirty.entry(page).or_insert(rec_lsn);
        *known = rec_lsn.min(*known);
    }

    /// One for a later part of the log.
    pub(super) fn part() -> Analysis {
        Analysis {
            later: true,
            ..Analysis::default()
        }
    }

    /// Takes in the part that follows. Transactions end once: what it says of one that had ended before is from a table.
    pub(super) fn absorb(&mut self, part: Analysis) {
        for txn in &part.finished {
            self.unfinished.remove(txn);
        }
        for entry in part.unfinished.values() {
            self.know(entry);
        }
        self.tables_come = part.tables_come.or(self.tables_come);
        if self.later || self.tables_come == Some(true) {
            self.finished.extend(part.finished);
        } else {
            self.finished.clear();
        }
        for (page, rec_lsn) in part.dirty {
            self.may_miss(page, rec_lsn);
        }
        self.winners += part.winners;
        self.rolled_back += part.rolled_back;
        self.records += part.records;
        self.checkpoint_complete |= part.checkpoint_complete;
        self.kinds.add_read(&part.kinds);
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

/// Analysis, as the log is examined.
pub(super) struct Analyst {
    pub(super) analysis: Analysis,
    /// The checkpoint that recovery begins at; none after a clean stop, when there is nothing to analyse.
    pub(super) checkpoint: Option<Lsn>,
    pub(super) observer: Observing,
    /// The first record that could not be read.
    pub(super) failed: Option<Error>,
}

impl Witness for Analyst {
    fn see(&mut self, frame: FrameView<'_>) {
        let Some(checkpoint) = self.checkpoint else {
            return;
        };
        if frame.lsn < checkpoint || self.failed.is_some() {
            return;
        }
        let added = match self.observer.is_there() {
            true => self
                .analysis
                .add_observed(frame, checkpoint, &self.observer),
            false => self.analysis.add(frame, checkpoint),
        };
        self.failed = added.err();
    }

    /// An observer is told of each record in its turn.
    fn another(&self) -> Option<Analyst> {
        (!self.observer.is_there()).then(|| Analyst {
            analysis: Analysis::part(),
            checkpoint: self.checkpoint,
            observer: self.observer.clone(),
            failed: None,
        })
    }

    fn absorb(&mut self, later: Analyst) {
        if self.failed.is_none() {
            self.analysis.absorb(later.analysis);
            self.failed = later.failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::TableId;
    use crate::record::{Change, RowRecord};

    fn lsn(n: usize) -> Lsn {
        Lsn::new(1000 + 10 * n as u64).expect("not zero")
    }

    /// A log in which everything may happen, and happens in an order in which it can: to each step what is drawn for it.
    fn log(steps: &[(u8, u8)]) -> Vec<Vec<u8>> {
        let (mut active, mut dirty) = (Vec::<AttEntry>::new(), BTreeMap::<PageId, Lsn>::new());
        let mut begun: Option<(Lsn, bool)> = None;
        let mut read = Vec::new();
        let mut log = Vec::new();
        for (n, &(step, which)) in steps.iter().enumerate() {
            let (own, page) = (lsn(n), PageId(u64::from(which % 7)));
            let nth = usize::from(which) % active.len().max(1);
            let row = |txn: Option<AttEntry>| {
                Record::Row(RowRecord {
                    commit: txn.is_none(),
                    txn: txn.map(|entry| entry.txn),
                    prev: txn.map(|entry| entry.last),
                    table: TableId(1),
                    page,
                    page_prev: None,
                    key: Cow::Borrowed(b"k"),
                    change: Change::of(None, Some(&b"v"[..])),
                })
            };
            let record = match (step % 8, begun) {
                (0 | 1, _) => {
                    active.push(AttEntry {
                        txn: own,
                        last: own,
                        undo_next: Some(own),
                    });
                    Record::Begin
                }
                (2 | 3, _) if !active.is_empty() => {
                    let entry = active[nth];
                    dirty.entry(page).or_insert(own);
                    (active[nth].last, active[nth].undo_next) = (own, Some(own));
                    row(Some(entry))
                }
                (4, _) if !active.is_empty() => {
                    let entry = active.swap_remove(nth);
                    Record::Commit {
                        txn: entry.txn,
                        prev: entry.last,
                    }
                }
                (5, None) => {
                    begun = Some((own, false));
                    read = active.clone();
                    Record::CheckpointBegin
                }
                (5 | 6, Some((begin, false))) => {
                    begun = Some((begin, true));
                    // They are read some time before they are written: some have ended by then.
                    let att = if which % 2 == 0 { &active } else { &read };
                    Record::CheckpointTables {
                        att: att.clone(),
                        dpt: dirty.iter().map(|(page, lsn)| (*page, *lsn)).collect(),
                    }
                }
                (5 | 6, Some((begin, true))) => {
                    begun = None;
                    Record::CheckpointEnd {
                        begin,
                        last_commit_time: 0,
                    }
                }
                _ => {
                    dirty.entry(page).or_insert(own);
                    row(None)
                }
            };
            let mut payload = Vec::new();
            record.encode(&mut payload);
            log.push(payload);
        }
        log
    }

    fn seen(mut analyst: Analyst, log: &[Vec<u8>], from: usize) -> Analyst {
        for (n, payload) in log.iter().enumerate() {
            analyst.see(FrameView {
                lsn: lsn(from + n),
                end: lsn(from + n + 1),
                payload,
            });
        }
        analyst
    }

    fn said(analyst: &Analyst) -> impl PartialEq + std::fmt::Debug + use<> {
        let analysis = &analyst.analysis;
        let read: Vec<u64> = analysis
            .kinds
            .report()
            .iter()
            .map(|kind| kind.read)
            .collect();
        let counts = (analysis.records, analysis.winners, analysis.rolled_back);
        let last = (analysis.kinds.last, analysis.checkpoint_complete);
        (analysis.losers(), analysis.dirty(), counts, read, last)
    }

    proptest! {
        #[test]
        fn a_log_says_the_same_in_parts_as_at_once(
            steps in prop::collection::vec((any::<u8>(), any::<u8>()), 1..200),
            cuts in prop::collection::btree_set(0usize..200, 0..6),
        ) {
            let log = log(&steps);
            let first = || Analyst {
                analysis: Analysis::default(),
                checkpoint: Some(lsn(0)),
                observer: Observing::default(),
                failed: None,
            };
            let whole = seen(first(), &log, 0);
            prop_assert!(whole.failed.is_none());
            let (mut parts, mut from) = (first(), 0);
            for to in cuts.into_iter().map(|cut| cut.min(log.len())).chain([log.len()]) {
                let another = parts.another().expect("nobody observes");
                parts.absorb(seen(another, &log[from..to], from));
                from = to;
            }
            prop_assert_eq!(said(&whole), said(&parts));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_once_by_its_place() {
        let mut log = log(&[(7, 1), (7, 2), (7, 3)]);
        log[1] = vec![0xff];
        log[2] = vec![0xff];
        let first = Analyst {
            analysis: Analysis::default(),
            checkpoint: Some(lsn(0)),
            observer: Observing::default(),
            failed: None,
        };
        let later = first.another().expect("nobody observes");
        let mut first = seen(first, &log[..2], 0);
        first.absorb(seen(later, &log[2..], 2));
        let failed = first.failed.expect("it cannot be read").to_string();
        assert!(failed.contains(&lsn(1).to_string()), "{failed}");
    }
}
