//! The active transaction table (ATT): which transactions are unfinished, and where each one's chain of records ends.
//! Also remembers those whose commit or end is not yet durable: until it is, their log is needed for undo.

use std::collections::{BTreeMap, VecDeque};

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;
use afterimage_log::Lsn;

use crate::record::AttEntry;

pub(crate) struct ActiveTable {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    unfinished: BTreeMap<Lsn, Links>,
    /// (commit or end record, first record), in log order.
    finishing: VecDeque<(Lsn, Lsn)>,
}

#[derive(Clone, Copy)]
struct Links {
    last: Lsn,
    undo_next: Option<Lsn>,
}

impl ActiveTable {
    pub(crate) fn new(io: &Io) -> ActiveTable {
        ActiveTable {
            inner: Mutex::new(io, Inner::default()),
        }
    }

    /// The row record `lsn` of transaction `txn` is being appended. Called inside its reservation.
    pub(super) fn wrote(&self, txn: Lsn, lsn: Lsn) {
        self.set(txn, lsn, Some(lsn));
    }

    /// The CLR `lsn` of transaction `txn` is being appended. Called inside its reservation.
    pub(super) fn compensated(&self, txn: Lsn, lsn: Lsn, mut undo_next: Option<Lsn>) {
        if planted::active(Bug::UndoNextNotTold) {
            let inner = self.inner.lock();
            undo_next = inner.unfinished.get(&txn).and_then(|links| links.undo_next);
        }
        self.set(txn, lsn, undo_next);
    }

    fn set(&self, txn: Lsn, last: Lsn, undo_next: Option<Lsn>) {
        let before = self
            .inner
            .lock()
            .unfinished
            .insert(txn, Links { last, undo_next });
        debug_assert!(
            before.is_none_or(|before| before.last < last),
            "TXN-1: a chain only grows"
        );
    }

    /// The commit or end record `lsn` of `txn` is being appended. Called inside its reservation.
    pub(super) fn finished(&self, txn: Lsn, lsn: Lsn, durable: Lsn) {
        let mut inner = self.inner.lock();
        inner.unfinished.remove(&txn);
        inner.finishing.push_back((lsn, txn));
        while inner
            .finishing
            .front()
            .is_some_and(|(end, _)| *end < durable)
        {
            inner.finishing.pop_front();
        }
    }

    /// Takes over what analysis found, before undo.
    pub(crate) fn restore(&self, losers: &[AttEntry]) {
        let mut inner = self.inner.lock();
        for loser in losers {
            inner.unfinished.insert(
                loser.txn,
                Links {
                    last: loser.last,
                    undo_next: loser.undo_next,
                },
            );
        }
    }

    /// Every unfinished transaction, for a checkpoint.
    pub(crate) fn snapshot(&self) -> Vec<AttEntry> {
        let inner = self.inner.lock();
        inner
            .unfinished
            .iter()
            .map(|(&txn, links)| AttEntry {
                txn,
                last: links.last,
                undo_next: links.undo_next,
            })
            .collect()
    }

    /// The first record of the oldest transaction that a crash now could make a loser: nothing from there on may go.
    pub(crate) fn oldest_needed(&self, durable: Lsn) -> Option<Lsn> {
        let inner = self.inner.lock();
        let unfinished = inner.unfinished.first_key_value().map(|(&first, _)| first);
        let finishing = inner
            .finishing
            .iter()
            .filter(|(end, _)| *end >= durable)
            .map(|&(_, first)| first)
            .min();
        [unfinished, finishing].into_iter().flatten().min()
    }

    /// A position of the log, got by `position`, and the first record of the oldest transaction that had not ended before
    /// it (or the position itself). It may be any that `next_lsn` or `durable_lsn` answers now.
    pub(super) fn look(&self, position: impl FnOnce() -> Lsn) -> (Lsn, Lsn) {
        // Asked under the mutex: what has been forgotten ended before the durable LSN of then, so before this position.
        let inner = self.inner.lock();
        let lsn = position();
        let unfinished = inner.unfinished.first_key_value().map(|(&first, _)| first);
        let ended = inner.finishing.iter().filter(|(end, _)| *end >= lsn);
        let low = ended.map(|&(_, first)| first).chain(unfinished).min();
        (lsn, low.map_or(lsn, |low| low.min(lsn)))
    }

    /// Whether the transaction has neither committed nor been rolled back to its end.
    pub(super) fn is_unfinished(&self, txn: Lsn) -> bool {
        self.inner.lock().unfinished.contains_key(&txn)
    }

    /// The first record of the oldest transaction that has not ended.
    pub(crate) fn oldest(&self) -> Option<Lsn> {
        let inner = self.inner.lock();
        inner.unfinished.first_key_value().map(|(&first, _)| first)
    }

    pub(crate) fn count(&self) -> usize {
        self.inner.lock().unfinished.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(value: u64) -> Lsn {
        Lsn::new(value).expect("not zero")
    }

    #[test]
    fn what_is_committed_but_not_durable_is_still_needed() {
        let table = ActiveTable::new(&Io::os());
        table.wrote(lsn(100), lsn(100));
        table.wrote(lsn(200), lsn(200));
        assert_eq!(table.oldest_needed(lsn(50)), Some(lsn(100)));
        table.finished(lsn(100), lsn(300), lsn(50));
        assert_eq!(
            table.oldest_needed(lsn(250)),
            Some(lsn(100)),
            "its commit could still be lost"
        );
        assert_eq!(table.oldest_needed(lsn(301)), Some(lsn(200)));
        table.finished(lsn(200), lsn(400), lsn(350));
        assert_eq!(table.oldest_needed(lsn(401)), None);
    }

    #[test]
    fn a_checkpoint_sees_where_undo_would_go_on() {
        let table = ActiveTable::new(&Io::os());
        table.wrote(lsn(100), lsn(100));
        table.wrote(lsn(100), lsn(150));
        table.compensated(lsn(100), lsn(170), Some(lsn(100)));
        let entry = AttEntry {
            txn: lsn(100),
            last: lsn(170),
            undo_next: Some(lsn(100)),
        };
        assert_eq!(table.snapshot(), [entry]);
    }
}
