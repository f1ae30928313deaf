//! Rows of unlogged tables: changed under the same locks and versions as all others, but nothing of it is in the log. What
//! stood before stays in memory until the transaction ends, and is put back from there, newest first.

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::{Appended, Durability, Log, Lsn, Reservation};

use super::{System, Txn};
use crate::buffer::Store;
use crate::error::{Error, Result};
use crate::ids::TableId;
use crate::page::Stored;
use crate::record::{Change, Record, RowRecord};
use crate::tree::{RowWrite, Tree};
use std::sync::Arc;

/// Bytes that a step takes beside key and value: its place in the list, the allocator.
const OVERHEAD: u64 = 128;
/// Payload bytes of the record of a commit.
const COMMIT_BYTES: usize = 1;
/// So much log may wait for a sync that nobody asks for, while more old versions are kept than there is room for.
const WAITING_BYTES: u64 = 64 << 10;

/// What a transaction keeps of unlogged rows.
pub(super) struct Kept {
    steps: Vec<Step>,
    bytes: u64,
    /// Log space for the record of its commit.
    space: Reservation,
}

/// One change that can be taken back.
struct Step {
    table: TableId,
    key: Box<[u8]>,
    before: Option<Stored<'static>>,
}

impl Step {
    fn bytes(&self) -> u64 {
        bytes(&self.key, self.before.as_ref())
    }
}

fn bytes(key: &[u8], before: Option<&Stored<'_>>) -> u64 {
    OVERHEAD + key.len() as u64 + before.map_or(0, |before| before.bytes.len() as u64)
}

impl Txn {
    /// How many changes of unlogged rows it could take back.
    pub(super) fn steps(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.steps.len())
    }

    /// Bytes of memory that they take.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.bytes)
    }
}

impl System {
    /// The end of an open: unlogged tables with the rows that are in `left`, or empty.
    pub(crate) fn open_unlogged(
        &self,
        tables: &[(String, TableId)],
        left: Option<Store>,
    ) -> Result<()> {
        let log = &self.pager.log;
        let begin = log.oldest_lsn();
        for (table, root) in self.catalogue.open_unlogged(log, tables, left)? {
            // When it was dropped is not known any more: nobody who is there now can see it.
            self.purge.unlogged_dropped(begin, table, root);
        }
        Ok(())
    }

    /// Bytes that unfinished transactions keep of unlogged rows.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    /// As [`System::write_row`] for a table that is not logged.
    pub(super) fn write_unlogged<'a>(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &'a [u8],
        decide: &mut dyn FnMut(Option<Stored<'_>>) -> Option<Change<'a>>,
    ) -> Result<()> {
        if txn.kept.is_none() {
            let space = self
                .pager
                .log
                .reserve(Log::frame_bytes(COMMIT_BYTES, false))?;
            txn.kept = Some(Kept {
                steps: Vec::new(),
                bytes: 0,
                space,
            });
        }
        let status = Arc::clone(txn.status.get_or_insert_default());
        let most = self.kept_bytes_max();
        let (mut kept, mut too_big) = (None, None);
        let mut write = RowWrite {
            key,
            decide: &mut |before| {
                let change = decide(before.as_ref().map(Stored::reborrow))?;
                let all = self.kept_bytes.load(Ordering::Relaxed) + bytes(key, before.as_ref());
                if all > most {
                    too_big = Some(all);
                    return None;
                }
                kept = Some(before.as_ref().map(|before| before.reborrow().into_owned()));
                self.keep_version(tree, key, &status, before);
                Some(change)
            },
            record: &|place, change| {
                Record::Row(RowRecord {
                    commit: false,
                    txn: None,
                    prev: None,
                    table: place.table,
                    page: place.page,
                    page_prev: place.page_prev,
                    key: key.into(),
                    change,
                })
            },
            inside: &mut |_, _| unreachable!("there is no record"),
            timed: false,
            undoing: false,
            purgeable: &|ghost| self.is_purgeable(tree, ghost),
        };
        let mut space = self.pager.log.no_reservation();
        let written = tree.write_row(self.pager_of(tree), &mut space, &mut write)?;
        if let Some(bytes) = too_big {
            return Err(Error::TransactionTooBig { bytes, max: most });
        }
        let Some(written) = written else {
            return Ok(());
        };
        if let Some(page) = written.ghost_on {
            self.sparse.note(tree.id(), page, key);
        }
        let step = Step {
            table: tree.id(),
            key: key.into(),
            before: kept.expect("what was written was decided"),
        };
        self.kept_bytes.fetch_add(step.bytes(), Ordering::Relaxed);
        let kept = txn.kept.as_mut().expect("just made");
        kept.bytes += step.bytes();
        kept.steps.push(step);
        Ok(())
    }

    /// The most bytes that unfinished transactions may keep of unlogged rows.
    pub(crate) fn kept_bytes_max(&self) -> u64 {
        self.catalogue.unlogged_file.memory()
    }

    /// Takes the transaction's changes of unlogged rows back, down to the first `keep` of them.
    pub(super) fn undo_unlogged(&self, txn: &mut Txn, keep: usize) -> Result<()> {
        let Some(kept) = &mut txn.kept else {
            return Ok(());
        };
        while kept.steps.len() > keep {
            let step = kept.steps.last().expect("more than some");
            if !planted::active(Bug::UnloggedNotTakenBack) {
                self.put_back(step)?;
            }
            // Only now: if that failed, the whole rollback tries it again.
            forget(&self.kept_bytes, step.bytes());
            kept.bytes -= step.bytes();
            kept.steps.pop();
        }
        Ok(())
    }

    fn put_back(&self, step: &Step) -> Result<()> {
        let tree = self.catalogue.by_id(step.table);
        let tree = tree.expect("a table that somebody has rows locked of is not dropped");
        let mut write = RowWrite {
            key: &step.key,
            decide: &mut |now| {
                let before = step.before.as_ref().map(Stored::reborrow);
                let is_one = now.is_some() || before.is_some();
                is_one.then(|| Change::of(now, before).into_owned())
            },
            record: &|place, change| {
                Record::Row(RowRecord {
                    commit: false,
                    txn: None,
                    prev: None,
                    table: place.table,
                    page: place.page,
                    page_prev: place.page_prev,
                    key: (&*step.key).into(),
                    change,
                })
            },
            inside: &mut |_, _| unreachable!("there is no record"),
            timed: false,
            undoing: true,
            purgeable: &|_| false,
        };
        let mut space = self.pager.log.no_reservation();
        let written = tree.write_row(self.pager_of(&tree), &mut space, &mut write)?;
        if let Some(page) = written.and_then(|written| written.ghost_on) {
            self.sparse.note(step.table, page, &step.key);
        }
        Ok(())
    }

    /// Forgets how to take the changes back: they stay, or nobody cares any more.
    pub(super) fn forget_kept(&self, txn: &mut Txn) {
        if let Some(kept) = txn.kept.take() {
            forget(&self.kept_bytes, kept.bytes);
        }
    }

    /// Commits a transaction that has no record in the log: one record gives it its place among the commits. Nobody waits
    /// for that one, for a crash takes the rows in any case; what the transaction has read is waited for. As
    /// [`System::commit`].
    pub(super) fn commit_unlogged(&self, mut txn: Txn) -> Result<(Option<Lsn>, Option<Lsn>)> {
        let (Some(mut kept), Some(status)) = (txn.kept.take(), txn.status.take()) else {
            unreachable!("it has written");
        };
        let record = Record::UnloggedCommit;
        let appended = self
            .pager
            .append(&mut kept.space, &record, false, |lsn, _| status.commit(lsn));
        txn.kept = Some(kept);
        self.forget_kept(&mut txn);
        // Whoever sees these rows rests on what they rest on.
        self.locks.release_all(&txn.owner, txn.seen);
        let appended = appended?;
        self.counters.commits.add(1);
        self.let_it_be_synced(appended)?;
        Ok((Some(appended.lsn), txn.seen_end()))
    }

    /// Nobody waits for this record to be durable. That it soon is matters to snapshots, and to the old versions that are
    /// kept until then.
    pub(super) fn let_it_be_synced(&self, appended: Appended) -> Result<()> {
        let log = &self.pager.log;
        log.wait(appended.end, Durability::Memory)?;
        let waiting = appended.end.get().saturating_sub(log.durable_lsn().get());
        if waiting > WAITING_BYTES && self.versions.are_too_many() {
            log.wait_durable(appended.end)?;
            self.sweep_versions();
        }
        Ok(())
    }

    /// Up to where the log must be durable before a commit at `lsn` may be acknowledged: what it has read, if it rests on
    /// nothing else.
    pub(super) fn rests_on(txn: &Txn, lsn: Lsn) -> Option<Lsn> {
        match txn.durable {
            true => Some(lsn),
            false => txn.seen,
        }
    }

    /// Ends every transaction that has a handle, so that the stop is a clean one. Nobody else is inside.
    pub(crate) fn end_everybody(&self, why: &Error) -> Result<()> {
        for seat in self.seats.all() {
            let ended = self.end_from_outside(&seat, why.clone())?;
            assert!(ended, "a transaction is in its seat until it has ended");
        }
        Ok(())
    }
}

fn forget(all: &AtomicU64, bytes: u64) {
    all.fetch_sub(bytes, Ordering::Relaxed);
}
