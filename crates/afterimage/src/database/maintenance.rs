//! Background work, as steps: pages go home ahead of need, checkpoints are taken, the status file is kept fresh. One
//! thread runs the steps in production; tests run them from a scheduler, or not at all.

use std::time::Duration;

use afterimage_io::Progress;
use afterimage_io::sync::atomic::Ordering;
use afterimage_log::Lsn;

use super::handle::{CLOSED, Shared};
use super::status::StatusFile;
use super::table::Table;
use crate::buffer::Haste;
use crate::checkpoint::{Cause, Standing, delay, due_checkpoint, forced_at};
use crate::error::{Error, Result};
use crate::transaction::System;

/// Owners' pages freed, and places looked at for merging, in one step.
const CLEAN_UPS: usize = 16;
/// Log that gathers without anybody working (heartbeats): no reason for a checkpoint.
const IDLE_LOG: u64 = 1024;
/// How often the status file is rewritten.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How long the background thread rests when there is nothing to do.
pub(super) const REST: Duration = Duration::from_millis(20);

impl Shared {
    /// One piece of background work.
    pub(super) fn step(&self) -> Result<Progress> {
        self.system.check_running()?;
        self.refresh_status();
        // A segment that could not be prepared keeps nobody from cleaning pages and taking checkpoints.
        let log = self.system.pager.log.step();
        let mut worked = self.clean_ahead()?;
        worked |= match self.checkpoint_if_due() {
            // Recycling makes room again; until then writers are told, and this is tried again.
            Err(Error::DiskFull { .. }) => false,
            result => result?,
        };
        for clean_up in [System::purge_step, System::merge_step] {
            for _ in 0..CLEAN_UPS {
                let cleaned = match clean_up(&self.system) {
                    Err(Error::DiskFull { .. }) => false,
                    result => result?,
                };
                worked |= cleaned;
                if !cleaned {
                    break;
                }
            }
        }
        worked |= log? == Progress::Worked;
        worked |= self.system.sweep_versions();
        Ok(if worked {
            Progress::Worked
        } else {
            Progress::Idle
        })
    }

    /// Rewrites the status file.
    pub(super) fn write_status(&self, closed: bool) {
        self.status.write(&self.status_now(closed));
    }

    /// What there is to be told of this moment.
    pub(super) fn status_now(&self, closed: bool) -> StatusFile {
        let settings = self.live.settings().into_iter();
        let failure = self.system.pager.log.failure();
        StatusFile {
            pid: self.io.process_id(),
            written_at_micros: self.io.wall_clock(),
            closed,
            failed: failure.filter(|why| why != CLOSED),
            stats: self.stats(),
            at_last_set: self.live.at_last_set(),
            settings: settings
                .map(|info| (info.name.to_owned(), info.value))
                .collect(),
            recovery: self.last_recovery.clone(),
            pins: self.pins(),
        }
    }

    fn refresh_status(&self) {
        let now = self.io.now();
        let mut last = self.status_written.lock();
        if now.saturating_sub(*last) >= STATUS_EVERY {
            *last = now;
            self.write_status(false);
        }
    }

    /// Writes one batch of the pages that are due, and keeps a quarter of the pool clean.
    fn clean_ahead(&self) -> Result<bool> {
        let pager = &self.system.pager;
        let mut cleaned = self.clean_due()?;
        let unlogged = self.system.catalogue.unlogged();
        for pager in [Some(pager), unlogged.map(|file| &file.pager)]
            .into_iter()
            .flatten()
        {
            if pager.dirty_count() > pager.frame_count() / 4 * 3 {
                cleaned += pager.clean(pager.batch(), None, Haste::Pressed)?;
            }
        }
        Ok(cleaned > 0)
    }

    /// Pages go home in the order in which they became dirty, at the pace that keeps the log within its target.
    fn clean_due(&self) -> Result<usize> {
        let pager = &self.system.pager;
        let mut pace = self.pace.lock();
        let at = self.standing();
        let due = pace.due(&self.limits(), &at);
        let batch = pager.batch();
        let (most, below) = (due.pages.min(batch), Lsn::new(due.below));
        let pages = pager.count_dirty(most, below);
        if pages == 0 || (pages < batch && !due.at_once) {
            return Ok(0);
        }
        let cleaned = pager.clean(pages, below, due.haste)?;
        pace.wrote(self.io.now(), cleaned);
        drop(pace);
        self.standing();
        Ok(cleaned)
    }

    /// Where things stand; the writers learn how old the oldest change is that is not home.
    fn standing(&self) -> Standing {
        let log = &self.system.pager.log;
        // First: what becomes dirty after this look is younger.
        let next = log.next_lsn().get();
        let oldest = self.system.pager.oldest_dirty_page();
        let oldest = oldest.map_or(next, |(_, rec_lsn)| rec_lsn.get());
        self.oldest_dirty.store(oldest, Ordering::Release);
        Standing {
            now: self.io.now(),
            next,
            oldest,
            checkpoint: self.checkpointer.checkpoint_lsn().map_or(0, Lsn::get),
            redo: self.checkpointer.redo_lsn().map_or(0, Lsn::get),
            since: self.checkpointer.since_last(&self.io),
        }
    }

    fn checkpoint_if_due(&self) -> Result<bool> {
        // Decided by one at a time, so that those who come together do not take one checkpoint each.
        let _deciding = self.deciding.lock();
        let idle = self.checkpointer.log_since(&self.system.pager.log) <= IDLE_LOG;
        let (limits, background) = (self.limits(), self.options.background);
        let Some(cause) = due_checkpoint(&limits, &self.standing(), background, idle) else {
            return Ok(false);
        };
        if cause == Cause::Forced {
            let at = forced_at(limits.max_wal_size, background);
            let below = self.back_from(at, 0);
            self.checkpointer.take_behind(&self.system, cause, below)?;
        } else {
            self.checkpointer.take(&self.system, cause)?;
        }
        Ok(true)
    }

    /// Where the redo point should be after a checkpoint at the age `at`, with so much log to come: an eighth of
    /// `max_wal_size` of air. Not more: somebody waits while the pages before it go home.
    pub(super) fn back_from(&self, at: u64, coming: u64) -> Lsn {
        let next = self.system.pager.log.next_lsn();
        let air = self.live.max_wal_size() / 8;
        let back = at.saturating_sub(air + coming);
        Lsn::new(next.get().saturating_sub(back)).unwrap_or(next)
    }

    /// To be called before a transaction's first write to `table`. Holds no latch, and none of the transaction's writes
    /// is there yet for anybody to wait for.
    pub(super) fn before_first_write(&self, table: &Table) -> Result<()> {
        match table.is_unlogged() {
            true => self.system.help_to_merge(),
            false => self.keep_pace(),
        }
    }

    /// A writer waits a moment where pages go home more slowly than log is written; without a background thread it does the
    /// work itself.
    pub(super) fn keep_pace(&self) -> Result<()> {
        self.system.help_to_merge()?;
        let (max, log) = (self.live.max_wal_size(), &self.system.pager.log);
        if self.options.background {
            let oldest = self.oldest_dirty.load(Ordering::Acquire);
            if let Some(delay) = delay(max, log.next_lsn().get().saturating_sub(oldest)) {
                self.throttled.during(&self.io, || self.io.sleep(delay));
            }
            return Ok(());
        }
        if self.checkpointer.span(log) > forced_at(max, false) {
            match self.checkpoint_if_due() {
                Err(Error::DiskFull { .. }) | Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
