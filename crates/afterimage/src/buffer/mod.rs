//! The buffer layer: pages in memory, and their ways from and to the disk.
#![doc = include_str!("README.md")]

mod alloc;
mod cleaner;
mod copies;
mod dirty;
mod doublewrite;
mod frame;
mod hints;
#[cfg(all(test, any(loom, shuttle)))]
mod models;
mod mutate;
mod permits;
mod pool;
mod shrink;
mod store;
mod unlogged;

use std::path::Path;

use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_io::{Io, OpenMode};
use afterimage_log::{Durations, Log, Lsn};

pub(crate) use alloc::Claimed;
pub(crate) use cleaner::Haste;
pub(crate) use doublewrite::{Copy as DoublewriteCopy, Doublewrite};
pub(crate) use permits::Permit;
pub(crate) use pool::{Blank, CALLED_UP, Exclusive, Guess, Leaves, Pin, Shared};
pub(crate) use store::{Found, PAGES_FILE, Store};
pub(crate) use unlogged::UnloggedFile;

use crate::error::Result;
use crate::ids::{PageId, or_none};
use crate::page::{Fan, Page};
use crate::record::KindCounts;
use alloc::Allocator;
use permits::Permits;
use pool::Pool;

/// Frames that one operation may pin at once: a path from root to leaf, a new page, its map page.
const FRAMES_PER_OPERATION: usize = 6;

/// A counter that only statistics read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Calls that had to read a page first.
    pub(crate) page_read: Durations,
    /// Calls that had to clean pages before they could have a frame.
    pub(crate) clean_frame: Durations,
    pub(crate) pages_read: Counter,
    /// Pages that descents did not find in memory.
    pub(crate) pages_missed: Counter,
    pub(crate) pages_written: Counter,
    /// Of those, by writes that are never torn; and how often the disk has refused one.
    pub(crate) pages_atomic: Counter,
    pub(crate) atomic_refused: Counter,
    /// How long their writes took, copies included, and the syncs behind these, in nanoseconds.
    pub(crate) write_nanos: Counter,
    pub(crate) sync_nanos: Counter,
    pub(crate) pages_merged: Counter,
    pub(crate) pages_purged: Counter,
}

/// How pages get home.
enum WayHome {
    /// Behind their log, by way of the doublewrite area.
    Logged(Mutex<Doublewrite>),
    /// Straight: there is no log of them, and what a crash tears is made anew. Held by whoever writes.
    Unlogged(Mutex<()>),
}

/// Pages in memory, their files, and the log they are tied to. Those of unlogged tables are tied to it by its end alone:
/// when the log has stopped, they do not change any more.
pub(crate) struct Pager {
    pub(crate) io: Io,
    pub(crate) log: Log,
    pool: Pool,
    store: Store,
    way_home: WayHome,
    /// How many pages go home at once.
    batch: usize,
    /// Held by whoever cleans pages because it found no frame.
    cleaning: Mutex<()>,
    /// How often a page has changed without a record.
    changes: Counter,
    alloc: Allocator,
    permits: Permits,
    pub(crate) counters: Counters,
    /// The records that were appended.
    pub(crate) records: KindCounts,
}

impl Pager {
    pub(crate) fn new(
        io: &Io,
        log: Log,
        store: Store,
        doublewrite: Doublewrite,
        frames: usize,
    ) -> Pager {
        let batch = doublewrite.cells();
        let way_home = WayHome::Logged(Mutex::new(io, doublewrite));
        Pager::with(io, log, store, way_home, batch, frames)
    }

    fn with(
        io: &Io,
        log: Log,
        store: Store,
        way_home: WayHome,
        batch: usize,
        frames: usize,
    ) -> Pager {
        Pager {
            io: io.clone(),
            log,
            pool: Pool::new(io, frames, store.page_size()),
            store,
            way_home,
            batch,
            cleaning: Mutex::new(io, ()),
            changes: Counter::default(),
            alloc: Allocator::new(io),
            permits: Permits::new(io, (frames - 2) / FRAMES_PER_OPERATION),
            counters: Counters::default(),
            records: KindCounts::default(),
        }
    }

    pub(crate) fn open_store(
        io: &Io,
        directory: &Path,
        page_size: usize,
        id: u128,
        mode: OpenMode,
    ) -> Result<Store> {
        Store::open(io, directory.join(PAGES_FILE), page_size, id, mode)
    }

    /// Whether its pages are changed by records of the log.
    pub(crate) fn is_logged(&self) -> bool {
        matches!(self.way_home, WayHome::Logged(_))
    }

    /// A number that is another one when a page has changed since.
    pub(crate) fn moment(&self) -> u64 {
        match self.is_logged() {
            true => self.log.next_lsn().get(),
            false => self.changes.get(),
        }
    }

    /// The name of the file that the pages are in.
    pub(crate) fn file_name(&self) -> String {
        self.store.name()
    }

    pub(crate) fn page_size(&self) -> usize {
        self.store.page_size()
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.pool.frame_count()
    }

    pub(crate) fn dirty_count(&self) -> usize {
        self.pool.dirty().len()
    }

    /// The dirty page table: every page whose home is, or may be, older than its frame, with its recLSN.
    pub(crate) fn dirty_pages(&self) -> Vec<(PageId, Lsn)> {
        self.pool.dirty().oldest(usize::MAX, None)
    }

    /// How many of them have a recLSN below `below`; it does not count beyond `limit`.
    pub(crate) fn count_dirty(&self, limit: usize, below: Option<Lsn>) -> usize {
        self.pool.dirty().oldest(limit, below).len()
    }

    /// Whether pages go home by writes that are never torn, and not by way of the doublewrite area.
    pub(crate) fn writes_atomically(&self) -> bool {
        self.store.is_atomic()
    }

    /// How many pages go home with one sync.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// The first of them by recLSN.
    pub(crate) fn oldest_dirty_page(&self) -> Option<(PageId, Lsn)> {
        self.pool.dirty().oldest(1, None).pop()
    }

    /// The right to pin the frames of one operation. Never held over a lock wait or a return to the caller.
    pub(crate) fn permit(&self) -> Permit<'_> {
        self.permits.take()
    }

    /// Pins `page` if it is in memory.
    pub(crate) fn pin(&self, page: PageId) -> Option<Pin<'_>> {
        self.pool.pin(page)
    }

    /// Pins `page`, loading it if need be. Waits for I/O; call it without latches.
    ///
    /// # Errors
    ///
    /// `PageCorrupt` where the page's home is not what it should be, `Io`.
    pub(crate) fn fetch(&self, page: PageId) -> Result<Pin<'_>> {
        loop {
            if let Some(pin) = self.pool.pin(page) {
                return Ok(pin);
            }
            let Some(mut frame) = self.blank_frame()?.install(page) else {
                continue;
            };
            self.counters.pages_read.add(1);
            let read = self
                .counters
                .page_read
                .during(&self.io, || self.store.read(page, &mut frame));
            match read {
                Ok(()) if frame.lsn() < Some(self.log.next_lsn()) => return Ok(frame.into_pin()),
                Ok(()) => {
                    let what = format!(
                        "its LSN {} is from beyond the end of the log",
                        or_none(frame.lsn())
                    );
                    frame.discard();
                    return Err(self.store.corrupt(page, what));
                }
                Err(error) => {
                    frame.discard();
                    return Err(error);
                }
            }
        }
    }

    /// Latches `page` shared if it is in memory.
    pub(crate) fn shared(&self, page: PageId) -> Option<Shared<'_>> {
        self.pool.shared(page)
    }

    /// Latches `page` exclusively if it is in memory.
    pub(crate) fn exclusive(&self, page: PageId) -> Option<Exclusive<'_>> {
        self.pool.exclusive(page)
    }

    /// How often a leaf was looked for: it was in memory, or was read.
    pub(crate) fn lookups(&self) -> u64 {
        self.pool.lookups()
    }

    /// Does what is to be timed, in `counter`.
    fn timed<R>(&self, counter: &Counter, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let began = self.io.now();
        let result = work();
        let took = self.io.now().saturating_sub(began);
        counter.add(took.as_nanos() as u64);
        result
    }

    /// As [`Pool::guess`].
    pub(crate) fn guess(
        &self,
        root: PageId,
        level: u8,
        step: impl Fn(&Fan) -> Option<PageId>,
    ) -> Option<Guess<'_>> {
        self.pool.guess(root, level, step)
    }

    /// As [`Pool::leaves`], for a caller with a permit.
    pub(crate) fn leaves(
        &self,
        root: PageId,
        ways: impl Iterator<Item = impl Fn(&Fan) -> Option<PageId>>,
    ) -> Leaves<'_> {
        self.pool.leaves(root, ways, self.leaves_at_once())
    }

    /// How many leaves a permit allows to be latched together.
    pub(crate) fn leaves_at_once(&self) -> usize {
        match self.permits.are_counted() {
            true => FRAMES_PER_OPERATION,
            false => CALLED_UP,
        }
    }

    /// Looks at so many of them were descents, too.
    pub(crate) fn count_lookups(&self, count: u64) {
        self.pool.count_lookups(count);
    }

    /// As [`Pool::offer`].
    pub(crate) fn offer(&self, page: &Shared<'_>) {
        self.pool.offer(page);
    }

    /// Fetches and latches shared.
    pub(crate) fn fetch_shared(&self, page: PageId) -> Result<Shared<'_>> {
        loop {
            if let Some(shared) = self.pool.shared(page) {
                return Ok(shared);
            }
            if let Some(shared) = self.fetch(page)?.shared() {
                return Ok(shared);
            }
        }
    }

    /// Fetches and latches exclusively.
    pub(crate) fn fetch_exclusive(&self, page: PageId) -> Result<Exclusive<'_>> {
        loop {
            if let Some(exclusive) = self.pool.exclusive(page) {
                return Ok(exclusive);
            }
            if let Some(exclusive) = self.fetch(page)?.exclusive() {
                return Ok(exclusive);
            }
        }
    }

    /// Latches `page` for redo: where its home holds nothing good, the frame is blank and the reason comes with it.
    pub(crate) fn fetch_for_redo(&self, page: PageId) -> Result<(Exclusive<'_>, Option<String>)> {
        loop {
            if let Some(frame) = self.pool.exclusive(page) {
                return Ok((frame, None));
            }
            let Some(mut frame) = self.blank_frame()?.install(page) else {
                continue;
            };
            self.counters.pages_read.add(1);
            let unreadable = match self.store.look(page, &mut frame) {
                Ok(Found::Good) => return Ok((frame, None)),
                Ok(Found::Never) => "the page was never written".to_owned(),
                Ok(Found::Bad(what)) => what,
                Err(error) => {
                    frame.discard();
                    return Err(error);
                }
            };
            frame.clear();
            return Ok((frame, Some(unreadable)));
        }
    }

    /// Latches a frame for a page that is to be made anew: zeroed, or as the page was before it became free.
    pub(crate) fn frame_for_new(&self, page: PageId) -> Result<Exclusive<'_>> {
        loop {
            if let Some(frame) = self.pool.exclusive(page) {
                return Ok(frame);
            }
            if let Some(frame) = self.blank_frame()?.take_over(page) {
                return Ok(frame);
            }
        }
    }

    /// An empty frame. If all are dirty, this call cleans some itself: it waits for I/O alone.
    pub(crate) fn blank_frame(&self) -> Result<Blank<'_>> {
        match self.pool.take_frame() {
            Some(blank) => Ok(blank),
            None => self
                .counters
                .clean_frame
                .during(&self.io, || self.clean_frame()),
        }
    }

    /// One cleans a batch, and those who come meanwhile find what it has left.
    fn clean_frame(&self) -> Result<Blank<'_>> {
        loop {
            let _turn = self.cleaning.lock();
            if let Some(blank) = self.pool.take_frame() {
                return Ok(blank);
            }
            if self.clean(usize::MAX, None, Haste::Pressed)? == 0 {
                self.io.sleep(std::time::Duration::from_micros(50));
            }
        }
    }

    pub(crate) fn corrupt(&self, page: PageId, what: String) -> crate::Error {
        self.store.corrupt(page, what)
    }

    /// Checks the home of `page` on disk, past the pool: for the verifier.
    pub(crate) fn look_at_home(&self, page: PageId, into: &mut Page) -> Result<Found> {
        self.store.look(page, into)
    }

    pub(crate) fn is_dirty(&self, page: PageId) -> bool {
        self.pool.is_dirty(page)
    }
}
