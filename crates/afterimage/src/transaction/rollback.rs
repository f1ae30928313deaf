//! Taking a transaction back, record by record. The rollback of a live transaction and recovery's undo of a loser are
//! this one walk.

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Log, Lsn, Reservation};

use super::{System, Txn};
use crate::error::{Error, Result};
use crate::limits::{key_bytes_max, row_bytes_max, value_bytes_max};
use crate::record::{ClrRecord, Record, RecordKind, RowRecord};
use crate::tree::RowWrite;

/// A transaction's records: its id, which is its first one's LSN, and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) id: Lsn,
    pub(crate) last: Lsn,
}

impl System {
    /// Rolls `txn` back and ends it.
    ///
    /// # Errors
    ///
    /// Only what stops the engine, or damage. The locks are released in any case: after such an error nobody writes.
    pub(crate) fn rollback(&self, mut txn: Txn) -> Result<()> {
        txn.owner.set_rolling_back();
        if planted::active(Bug::TakenBackTooEarly) {
            txn.status.take().inspect(|status| status.take_back());
            self.sweep_versions();
        }
        let result = self
            .undo_unlogged(&mut txn, 0)
            .and_then(|()| self.roll_back_chain(&mut txn));
        self.forget_kept(&mut txn);
        if let Err(error) = &result {
            // Half a rollback must not be seen: nobody writes or reads any more until recovery has finished it.
            self.pager
                .log
                .fail(format!("a rollback could not be finished: {error}"));
        }
        if let (Ok(()), Some(status)) = (&result, &txn.status) {
            status.take_back();
        }
        self.counters.rollbacks.add(1);
        self.locks.release_all(&txn.owner, None);
        result
    }

    fn roll_back_chain(&self, txn: &mut Txn) -> Result<()> {
        let Some(mut chain) = txn.chain else {
            return Ok(());
        };
        let mut space = match txn.undo_space.take() {
            Some(space) => space,
            None => self.pager.reserve(0)?,
        };
        let mut next = Some(chain.last);
        while let Some(lsn) = next {
            next = undo_record(self, &mut space, &mut chain, lsn)?.next;
        }
        let end = self.end(&mut space, chain)?;
        if txn.leaves_pages {
            self.purge.owner_ended(chain.id, end);
        }
        Ok(())
    }

    /// Appends the end record of a rolled-back transaction.
    pub(crate) fn end(&self, space: &mut Reservation, chain: Chain) -> Result<Lsn> {
        let record = Record::End {
            txn: chain.id,
            prev: chain.last,
        };
        let log = &self.pager.log;
        let appended = self.pager.append(space, &record, false, |lsn, _| {
            self.active.finished(chain.id, lsn, log.durable_lsn())
        })?;
        Ok(appended.lsn)
    }

    /// Log space for undoing one record of unknown size, and for the end.
    pub(crate) fn undo_step_space(&self) -> Result<Reservation> {
        let page_size = self.pager.page_size();
        let clr = row_bytes_max(key_bytes_max(page_size), 0, value_bytes_max(page_size));
        self.pager.reserve(2 * Log::frame_bytes(clr, false))
    }
}

/// A record that undo has looked at.
pub(crate) struct Visited {
    /// Where to go on.
    pub(crate) next: Option<Lsn>,
    /// What it was, if it was one to be undone.
    pub(crate) undone: Option<RecordKind>,
}

/// Undoes the record at `lsn` of `chain`, if it is one to be undone, and says where to go on.
pub(crate) fn undo_record(
    system: &System,
    space: &mut Reservation,
    chain: &mut Chain,
    lsn: Lsn,
) -> Result<Visited> {
    let frame = system.pager.log.read(lsn)?;
    let record = Record::decode(&frame.payload).map_err(|e| {
        Error::corruption(
            format!("LSN {lsn}"),
            format!("a record that cannot be read: {e}"),
        )
    })?;
    let owner = record.txn(lsn);
    if owner != Some(chain.id) {
        let what = format!(
            "a record of transaction {owner:?} in the chain of transaction {}",
            chain.id
        );
        return Err(Error::corruption(format!("LSN {lsn}"), what));
    }
    let next = match &record {
        Record::Row(row) => row.prev,
        Record::Begin => None,
        Record::Clr(clr) if planted::active(Bug::ClrUndoneTwice) => Some(clr.prev),
        Record::Clr(clr) => clr.undo_next,
        other => {
            let what = format!("a {} record where a change was to be undone", other.name());
            return Err(Error::corruption(format!("LSN {lsn}"), what));
        }
    };
    if next.is_some_and(|next| next >= lsn) {
        let what = format!("TXN-2: undo only goes back, and it leads to LSN {next:?}");
        return Err(Error::corruption(format!("LSN {lsn}"), what));
    }
    if let Record::Row(row) = &record {
        undo_row(system, space, chain, row)?;
    }
    let undone = matches!(record, Record::Row(_)).then(|| RecordKind::of(&record));
    Ok(Visited { next, undone })
}

fn undo_row(
    system: &System,
    space: &mut Reservation,
    chain: &mut Chain,
    row: &RowRecord<'_>,
) -> Result<()> {
    let tree = system.catalogue.by_id(row.table).ok_or_else(|| {
        Error::corruption(
            format!("table {}", row.table),
            "a record names a table that the catalogue does not have",
        )
    })?;
    let (txn, prev, undo_next) = (chain.id, chain.last, row.prev);
    let mut last = prev;
    let mut write = RowWrite {
        key: &row.key,
        decide: &mut |_| Some(row.change.compensation().into_owned()),
        record: &|place, change| {
            Record::Clr(ClrRecord {
                txn,
                prev,
                undo_next,
                table: place.table,
                page: place.page,
                page_prev: place.page_prev,
                key: (&*row.key).into(),
                change,
            })
        },
        inside: &mut |lsn, _| {
            system.active.compensated(txn, lsn, undo_next);
            last = lsn;
        },
        timed: false,
        undoing: true,
        purgeable: &|_| false,
    };
    let written = tree.write_row(system.pager_of(&tree), space, &mut write)?;
    if let Some(page) = written.and_then(|written| written.ghost_on) {
        system.sparse.note(row.table, page, &row.key);
    }
    chain.last = last;
    Ok(())
}
