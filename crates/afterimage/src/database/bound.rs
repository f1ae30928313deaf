//! `max_wal_size` as a hard bound: the log that a recovery would need, with what is kept for taking everybody back, stays
//! below it. What holds the log back is moved out of the way: pages go home, and then the oldest transaction is
//! rolled back, wherever its handle may be.

use std::time::Duration;

use afterimage_io::sync::atomic::Ordering;
use afterimage_log::Lsn;

use super::handle::Shared;
use crate::checkpoint::Cause;
use crate::error::{Error, Result};
use crate::transaction::{Seat, Txn};

/// A writer sees to the bound when less than this part of it is left; enough for all who look at the same moment.
const MARGIN_PART: u64 = 16;
/// Between two looks at a transaction that is on its way.
const MOMENT: Duration = Duration::from_micros(50);

impl Shared {
    /// To be called before each write, of `coming` bytes, without latches. `me` is the writer's own transaction.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionTooOld`], [`Error::TransactionTooBig`] if `me` is the one that has to go: the caller
    /// rolls it back. What a checkpoint, or somebody's rollback, met.
    pub(super) fn keep_bound(&self, me: Option<&Txn>, coming: u64) -> Result<()> {
        if !self.is_over(self.needed_from.load(Ordering::Acquire), coming) {
            return Ok(());
        }
        let space = &self.system.pager.log.times().wait_space;
        space.during(&self.io, || self.make_room(me, coming))
    }

    /// Lets the log that is needed become less, until the writer may go on.
    fn make_room(&self, me: Option<&Txn>, coming: u64) -> Result<()> {
        let is_over = |from| self.is_over(from, coming);
        let mut brought_home = None;
        loop {
            let log = &self.system.pager.log;
            let redo = self.checkpointer.redo_lsn().map_or(0, Lsn::get);
            let needed = self.system.active.oldest_needed(log.durable_lsn());
            let needed_from = needed.map_or(redo, |needed| needed.get().min(redo));
            self.needed_from.fetch_max(needed_from, Ordering::AcqRel);
            if !is_over(needed_from) {
                return Ok(());
            }
            self.system.check_running()?;
            // Again where others have written meanwhile; as long as it helps.
            let margin = self.live.max_wal_size() / MARGIN_PART;
            if is_over(redo) && brought_home.is_none_or(|before| redo >= before + margin) {
                self.bring_home(redo, coming)?;
                brought_home = Some(redo);
                continue;
            }
            let Some(oldest) = self.system.active.oldest() else {
                // Only those are left whose end is in the log and not yet durable.
                let next = log.next_lsn();
                if needed.is_none() || log.durable_lsn() >= next {
                    return self.check_size(coming);
                }
                log.wait_durable(next)?;
                continue;
            };
            if let Some(me) = me.filter(|me| me.first() == Some(oldest)) {
                return Err(self.too_much(oldest, me.own_log() + coming));
            }
            self.end_oldest(oldest)?;
        }
    }

    /// As [`keep_bound`](Shared::keep_bound) for rows of unlogged tables: when little of the memory for taking them back is
    /// left, the transaction that keeps most of it is rolled back, so that nobody is shut out by one that does nothing. `me` is the
    /// writer's own, which is not to be in a call: whoever is ended may be waiting for it. If it is the one that keeps
    /// most, it may have the rest.
    ///
    /// # Errors
    ///
    /// What somebody's rollback met.
    pub(super) fn keep_memory(&self, me: Option<&Seat>) -> Result<()> {
        let (system, max) = (&self.system, self.system.kept_bytes_max());
        while system.kept_bytes() > max / 4 * 3 {
            let keeper = system.seats.keeper();
            let is_me = |seat: &Seat| me.is_some_and(|me| std::ptr::eq(me, seat));
            let Some(keeper) = keeper.filter(|seat| seat.kept() > max / 4 && !is_me(seat)) else {
                break;
            };
            let bytes = keeper.kept();
            let why = Error::TransactionTooBig { bytes, max };
            if !system.end_from_outside(&keeper, why)? {
                // It is ending by itself.
                self.io.sleep(MOMENT);
            }
        }
        Ok(())
    }

    /// A single write that is too much by itself.
    fn check_size(&self, coming: u64) -> Result<()> {
        let (bytes, max) = (coming, self.live.max_wal_size());
        if bytes > max / 2 {
            return Err(Error::TransactionTooBig { bytes, max });
        }
        Ok(())
    }

    /// Would the log from `from` on, with what is coming, be more than a recovery may need?
    fn is_over(&self, from: u64, coming: u64) -> bool {
        let (log, max) = (&self.system.pager.log, self.live.max_wal_size());
        let end = log.next_lsn().get() + log.reserved_bytes() + coming;
        end.saturating_sub(from) > max - max / MARGIN_PART
    }

    fn bring_home(&self, redo: u64, coming: u64) -> Result<()> {
        let _deciding = self.deciding.lock();
        // Somebody else may have done it while this one waited.
        if self.checkpointer.redo_lsn().map_or(0, Lsn::get) > redo {
            return Ok(());
        }
        let max = self.live.max_wal_size();
        let reserved = self.system.pager.log.reserved_bytes();
        let below = self.back_from(max - max / MARGIN_PART, reserved + coming);
        self.checkpointer
            .take_behind(&self.system, Cause::Forced, below)
    }

    /// Rolls back the transaction whose first record is `first`, or lets it get out of the way by itself.
    fn end_oldest(&self, first: Lsn) -> Result<()> {
        let writers = self.system.seats.writers();
        if let Some(seat) = writers.iter().find(|seat| seat.first() == Some(first)) {
            let why = self.too_much(first, seat.own_log());
            if self.system.end_from_outside(seat, why.clone())? {
                tracing::warn!(first = first.get(), %why, "a transaction was rolled back, so that others can write");
                return Ok(());
            }
        }
        // It is in its first write, or ending by itself: that may need I/O, which is not to be asked about in circles.
        self.io.sleep(MOMENT);
        Ok(())
    }

    fn too_much(&self, first: Lsn, own: u64) -> Error {
        let max = self.live.max_wal_size();
        if own > max / 2 {
            return Error::TransactionTooBig { bytes: own, max };
        }
        let next = self.system.pager.log.next_lsn().get();
        let held = next.saturating_sub(first.get());
        Error::TransactionTooOld { held, max }
    }
}
