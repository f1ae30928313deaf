//! The way home: dirty pages are copied, the log is made durable beyond them, the copies go to the doublewrite area
//! and are synced, then to their homes and are synced; only then do they count as clean. The sole caller of page
//! writes. Where the disk promises that a page is never torn, the copies are left out.

use std::ops::Range;
use std::time::Duration;

use afterimage_io::planted::{self, Bug};
use afterimage_log::Lsn;

use super::doublewrite::Doublewrite;
use super::{Pager, Pin, Shared, WayHome};
use crate::error::{Error, Result};
use crate::ids::PageId;

/// Pages that are written home between two syncs where nobody waits for them. A log sync stands behind all of them in the disk's queue: behind two
/// hundred it takes ten times as long as alone, and everybody who commits with it.
const PIECE: usize = 16;
/// Where the sync of a piece takes longer, the rest goes as one: many slow syncs would only take the log's turn.
const SLOW_PIECE: Duration = Duration::from_millis(2);

/// How a batch goes home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Somebody waits for it, or soon would: as fast as the disk takes it.
    Pressed,
    /// Ahead of need, in pieces: those who commit meanwhile come first.
    Ahead,
}

struct Batch<'p> {
    pages: Vec<(PageId, Pin<'p>)>,
    newest: Option<Lsn>,
}

impl Pager {
    /// Writes one batch of dirty pages home: up to `limit` of those with the oldest recLSN, and only those with a recLSN below
    /// `below` if one is given, as far as nobody is changing them. Returns how many went. Waits for I/O; call it without
    /// latches.
    pub(crate) fn clean(&self, limit: usize, below: Option<Lsn>, haste: Haste) -> Result<usize> {
        match &self.way_home {
            WayHome::Logged(doublewrite) => {
                let mut area = doublewrite.lock();
                // Chosen when it is this call's turn: whoever was before has written some of them.
                let pages = self.pool.dirty().oldest(limit.min(self.batch), below);
                self.clean_batch(&mut area, &pages, haste)
            }
            WayHome::Unlogged(writing) => {
                let _writing = writing.lock();
                self.clean_straight(&self.pool.dirty().oldest(limit.min(self.batch), below))
            }
        }
    }

    /// Cleans everything that was dirty with a recLSN below `below`.
    pub(crate) fn clean_below(&self, below: Lsn) -> Result<()> {
        while !self.pool.dirty().oldest(1, Some(below)).is_empty() {
            if self.clean(usize::MAX, Some(below), Haste::Pressed)? == 0 {
                // Somebody holds the latch of what is left; a moment passes, then it is free.
                self.io.sleep(std::time::Duration::from_micros(50));
            }
        }
        Ok(())
    }

    /// Everything is written home, durably, and page 0 says which clean stop the file belongs to: the one with this
    /// checkpoint, as soon as the control file says that there was one.
    ///
    /// No record makes this change. A recovery from before the stop may find it or not: that page is then younger than the
    /// records that it redoes, and an older home is mended by its copy.
    pub(crate) fn leave(&self, checkpoint: Lsn) -> Result<()> {
        let mut header = self.fetch_exclusive(PageId::FILE_HEADER)?;
        header.mark_dirty(checkpoint);
        header.set_lsn(checkpoint);
        drop(header);
        while self.dirty_count() > 0 {
            self.clean(usize::MAX, None, Haste::Pressed)?;
        }
        // With the file's length.
        self.store.sync_all().inspect_err(|error| {
            let file = self.file_name();
            self.log.fail(format!("syncing {file}: {error}"));
        })
    }

    /// Whole pages in the file, which may be longer than what is in use: room that a full disk gave in part.
    pub(crate) fn file_pages(&self) -> Result<u64> {
        self.store.page_count()
    }

    fn clean_batch(
        &self,
        area: &mut Doublewrite,
        pages: &[(PageId, Lsn)],
        haste: Haste,
    ) -> Result<usize> {
        self.check_running()?;
        let batch = self.copy_dirty(area, pages);
        if batch.pages.is_empty() {
            return Ok(0);
        }
        self.write_home(area, &batch, haste).inspect_err(|error| {
            // What reached the disk is unknown, and a sync is never tried again and believed.
            self.log.fail(format!("writing pages home: {error}"));
        })?;
        Ok(batch.pages.len())
    }

    /// After the first failure nothing is written any more, and what was on its way never arrives.
    pub(super) fn check_running(&self) -> Result<()> {
        match self.log.failure() {
            Some(reason) if !planted::active(Bug::StopIgnored) => Err(Error::LogFailed { reason }),
            _ => Ok(()),
        }
    }

    fn copy_dirty<'p>(&'p self, area: &mut Doublewrite, pages: &[(PageId, Lsn)]) -> Batch<'p> {
        area.begin();
        let mut batch = Batch {
            pages: Vec::new(),
            newest: None,
        };
        // In file order, so that neighbours go home in one write.
        let mut ids: Vec<PageId> = pages.iter().map(|(page, _)| *page).collect();
        ids.sort_unstable();
        for pin in ids.into_iter().filter_map(|id| self.pool.pin(id)) {
            // A page that somebody is changing is left for the next round: the cleaner waits for no latch.
            let Some(page) = pin.try_shared().filter(Shared::is_dirty) else {
                continue;
            };
            let (Some(lsn), id) = (page.lsn(), page.page_id()) else {
                continue;
            };
            let mut copy = page.clone();
            let pin = page.begin_write();
            self.store.seal(&mut copy);
            area.push(id, lsn, copy.bytes());
            batch.newest = batch.newest.max(Some(lsn));
            batch.pages.push((id, pin));
        }
        batch
    }

    fn write_home(&self, area: &mut Doublewrite, batch: &Batch<'_>, haste: Haste) -> Result<()> {
        let newest = batch.newest.expect("a batch has a page, a page an LSN");
        if planted::active(Bug::CopyAheadOfLog) {
            area.write()?;
        }
        if !planted::active(Bug::PageAheadOfLog) {
            self.log
                .wait_durable(Lsn::new(newest.get() + 1).expect("more than zero"))?;
            assert!(
                newest < self.log.durable_lsn(),
                "PAGE-1: no page goes anywhere before its log is durable"
            );
        }
        self.check_running()?;
        let atomically = self.write_atomically(area, batch)?;
        if !atomically {
            self.write_by_copies(area, batch, haste)?;
        }
        self.sync_homes()?;
        for (_, pin) in &batch.pages {
            pin.end_write();
        }
        let pages = batch.pages.len() as u64;
        self.counters.pages_written.add(pages);
        if atomically {
            self.counters.pages_atomic.add(pages);
        }
        Ok(())
    }

    /// Writes homes that are never torn, where the disk has such writes. `false` if it has not, or refuses: what is home by then is
    /// there whole, and all of the batch is still to go by way of the area.
    fn write_atomically(&self, area: &mut Doublewrite, batch: &Batch<'_>) -> Result<bool> {
        // A clean stop changes page 0 without a record: if it were damaged then, no redo would make it anew. So it always has a copy.
        let by_copy = |(page, _): &(PageId, Pin<'_>)| *page == PageId::FILE_HEADER;
        if !self.store.is_atomic() || batch.pages.iter().any(by_copy) {
            return Ok(false);
        }
        // A copy that stays in the area must not become older than its home.
        self.timed(&self.counters.sync_nanos, || area.empty())?;
        self.check_running()?;
        let homes: Vec<_> = (0..)
            .zip(&batch.pages)
            .map(|(cell, (page, _))| (*page, area.images(cell..cell + 1)))
            .collect();
        let write = || self.store.write_atomically(&homes);
        let written = self.timed(&self.counters.write_nanos, write)?;
        if !written {
            self.counters.atomic_refused.add(1);
            tracing::warn!(
                pages = homes.len(),
                for_good = !self.store.is_atomic(),
                "the disk has refused an atomic write; the pages go by way of the doublewrite area"
            );
        }
        Ok(written)
    }

    /// Writes copies of the batch, and then the homes.
    fn write_by_copies(
        &self,
        area: &mut Doublewrite,
        batch: &Batch<'_>,
        haste: Haste,
    ) -> Result<()> {
        let (write, sync) = (&self.counters.write_nanos, &self.counters.sync_nanos);
        self.timed(write, || area.write())?;
        if planted::active(Bug::HomeBeforeDoublewrite) {
            self.write_homes(area, batch, haste)?;
            return area.sync();
        }
        self.timed(sync, || area.sync())?;
        self.check_running()?;
        self.write_homes(area, batch, haste)
    }

    /// The last piece is still to be synced.
    fn write_homes(&self, area: &Doublewrite, batch: &Batch<'_>, haste: Haste) -> Result<()> {
        let all = batch.pages.len();
        let mut piece = match haste {
            Haste::Pressed => all,
            Haste::Ahead => PIECE,
        };
        let mut first = 0;
        while first < all {
            if first > 0 {
                let began = self.io.now();
                self.sync_homes()?;
                self.check_running()?;
                if self.io.now().saturating_sub(began) > SLOW_PIECE {
                    piece = all;
                }
            }
            let end = (first + piece).min(all);
            let write = || self.write_runs(area, batch, first..end);
            self.timed(&self.counters.write_nanos, write)?;
            first = end;
        }
        Ok(())
    }

    /// One write for each run of neighbours.
    fn write_runs(&self, area: &Doublewrite, batch: &Batch<'_>, these: Range<usize>) -> Result<()> {
        let mut first = these.start;
        while first < these.end {
            let start = batch.pages[first].0;
            let follows =
                |index: usize| batch.pages[index].0.get() == start.get() + (index - first) as u64;
            let mut end = first + 1;
            while end < these.end && follows(end) {
                end += 1;
            }
            self.store.write_run(start, area.images(first..end))?;
            first = end;
        }
        Ok(())
    }

    fn sync_homes(&self) -> Result<()> {
        if planted::active(Bug::CopiesOverwritten) {
            return Ok(());
        }
        self.timed(&self.counters.sync_nanos, || self.store.sync())
    }
}
