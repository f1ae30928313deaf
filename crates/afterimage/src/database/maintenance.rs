//! Background work, as steps: pages go home ahead of need, checkpoints are taken, the status file is kept fresh. One
//! thread runs the steps in production; tests run them from a scheduler, or not at all.

use std::time::Duration;

use afterimage_io::Progress;

use super::handle::Shared;
use crate::checkpoint::Cause;
use crate::error::{Error, Result};
use crate::transaction::{System, after_record};

/// Pages cleaned in one step: little enough that a step is short.
const CLEAN_BATCH: usize = 64;
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
        let pins = self.pins();
        self.status.write(&self.io, self.stats(), pins, closed);
    }

    fn refresh_status(&self) {
        let now = self.io.now();
        let mut last = self.status_written.lock();
        if now.saturating_sub(*last) >= STATUS_EVERY {
            *last = now;
            self.write_status(false);
        }
    }

    /// Keeps the oldest recLSN within three eighths of `max_wal_size`, and a quarter of the pool clean.
    fn clean_ahead(&self) -> Result<bool> {
        let pager = &self.system.pager;
        let horizon = self.options.max_wal_size / 8 * 3;
        let oldest_wanted = pager.log.next_lsn().get().saturating_sub(horizon);
        let mut cleaned = 0;
        if let Some(below) = afterimage_log::Lsn::new(oldest_wanted) {
            cleaned += pager.clean(CLEAN_BATCH, Some(below))?;
        }
        let unlogged = self.system.catalogue.unlogged();
        for pager in [Some(pager), unlogged.map(|file| &file.pager)]
            .into_iter()
            .flatten()
        {
            if pager.dirty_count() > pager.frame_count() / 4 * 3 {
                cleaned += pager.clean(CLEAN_BATCH, None)?;
            }
        }
        Ok(cleaned > 0)
    }

    fn checkpoint_if_due(&self) -> Result<bool> {
        // Decided by one at a time, so that those who come together do not take one checkpoint each.
        let _deciding = self.deciding.lock();
        let log = &self.system.pager.log;
        let Some(last) = self.checkpointer.checkpoint_lsn() else {
            return Ok(false);
        };
        let since = log.next_lsn().get().saturating_sub(last.get());
        let age = self.checkpointer.age(log);
        let max = self.options.max_wal_size;
        let cause = if age > max / 4 * 3 {
            Cause::Forced
        } else if since > max / 8 {
            Cause::Paced
        } else if self.checkpointer.log_since(log) > IDLE_LOG
            && self.checkpointer.since_last(&self.io) >= self.options.checkpoint_timeout
        {
            Cause::Timed
        } else {
            return Ok(false);
        };
        match cause {
            Cause::Forced => self.system.pager.clean_below(self.half_way_back())?,
            Cause::Timed => self.system.pager.clean_below(after_record(last))?,
            _ => {}
        }
        self.checkpointer.take(&self.system, cause)?;
        Ok(true)
    }

    /// Where the redo point should be after a forced checkpoint.
    pub(super) fn half_way_back(&self) -> afterimage_log::Lsn {
        let log = &self.system.pager.log;
        let back = log.next_lsn().get() - self.options.max_wal_size / 4;
        afterimage_log::Lsn::new(back).unwrap_or(log.next_lsn())
    }

    /// A writer's first write helps when the background work has fallen behind, or does it all when there is none.
    /// Holds no latch.
    pub(super) fn help_if_behind(&self) -> Result<()> {
        let max = self.options.max_wal_size;
        let bound = if self.options.background {
            max / 8 * 7
        } else {
            max / 4 * 3
        };
        self.system.help_to_merge()?;
        let due = self.checkpointer.age(&self.system.pager.log) > bound;
        if due {
            match self.checkpoint_if_due() {
                Err(Error::DiskFull { .. }) | Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
