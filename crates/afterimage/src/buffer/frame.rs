//! One frame: the place in the pool that holds a page, with its pin count, its latch and what is known of its
//! dirtiness. The rules are in this folder's README.

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use afterimage_io::sync::{Mutex, ReadGuard, RwLock, WriteGuard};
use afterimage_log::Lsn;

use super::dirty::DirtyTable;
use crate::ids::PageId;
use crate::page::Page;

/// Stands for "this frame holds no page".
const NO_PAGE: u64 = u64::MAX;

/// What a frame knows of its way home.
#[derive(Debug, Default, Clone, Copy)]
struct Dirtiness {
    /// The first LSN not covered by a home write that has been synced.
    rec_lsn: Option<Lsn>,
    /// Where the next recLSN will be once the write in flight is synced: the first change after the copy was taken.
    second_rec_lsn: Option<Lsn>,
    /// A copy of the page is on its way to its home.
    writing: bool,
}

/// What every reader touches stands first, in one cache line.
#[repr(C, align(64))]
pub(super) struct Frame {
    latch: RwLock<Page>,
    page: AtomicU64,
    used: AtomicBool,
    /// Another number each time that the latch is taken exclusively.
    version: AtomicU64,
    pins: AtomicU32,
    /// The recLSN once more, 0 for none: for those who only look.
    rec_lsn: AtomicU64,
    dirtiness: Mutex<Dirtiness>,
}

impl Frame {
    pub(super) fn new(io: &Io) -> Frame {
        Frame {
            latch: RwLock::new(io, Page::default()),
            page: AtomicU64::new(NO_PAGE),
            used: AtomicBool::new(false),
            version: AtomicU64::new(0),
            pins: AtomicU32::new(0),
            rec_lsn: AtomicU64::new(0),
            dirtiness: Mutex::new(io, Dirtiness::default()),
        }
    }

    pub(super) fn read(&self) -> ReadGuard<'_, Page> {
        self.latch.read()
    }

    pub(super) fn try_read(&self) -> Option<ReadGuard<'_, Page>> {
        self.latch.try_read()
    }

    pub(super) fn write(&self) -> WriteGuard<'_, Page> {
        let guard = self.latch.write();
        self.count_version();
        guard
    }

    pub(super) fn try_write(&self) -> Option<WriteGuard<'_, Page>> {
        let guard = self.latch.try_write()?;
        self.count_version();
        Some(guard)
    }

    /// Called with the latch held exclusively, before anything is changed.
    fn count_version(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Release);
    }

    /// A number that is another one when the frame's bytes, or its page, may have changed since. Of two looks, the first is taken
    /// under the latch, and the second after that of a page which whoever changes this one latches too.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn page(&self) -> Option<PageId> {
        match self.page.load(Ordering::Acquire) {
            NO_PAGE => None,
            number => Some(PageId(number)),
        }
    }

    pub(super) fn set_page(&self, page: Option<PageId>) {
        self.page
            .store(page.map_or(NO_PAGE, PageId::get), Ordering::Release);
    }

    pub(super) fn pin(&self) {
        self.pins.fetch_add(1, Ordering::AcqRel);
        self.touch();
    }

    pub(super) fn touch(&self) {
        // A look first: a page that everybody uses is written by nobody.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn unpin(&self) {
        let before = self.pins.fetch_sub(1, Ordering::AcqRel);
        assert!(
            before > 0,
            "POOL-1: a frame is unpinned as often as it was pinned"
        );
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    /// Takes a frame that holds no page; false if somebody has it.
    pub(super) fn claim_empty(&self) -> bool {
        let claimed = self
            .pins
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
        if claimed.is_err() {
            return false;
        }
        // Looked at behind the claim: who had it before may have put a page into it, and let it go.
        let empty = self.page().is_none();
        if !empty {
            self.unpin();
        }
        empty
    }

    /// The second chance of the clock: was the frame used since the hand last came by?
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    pub(super) fn rec_lsn(&self) -> Option<Lsn> {
        Lsn::new(self.rec_lsn.load(Ordering::SeqCst))
    }

    /// Called with the latch held exclusively, before the record is appended: `rec_lsn` is no later than the record.
    pub(super) fn mark_dirty(&self, page: PageId, rec_lsn: Lsn, table: &DirtyTable) {
        let mut dirtiness = self.dirtiness.lock();
        if dirtiness.rec_lsn.is_none() {
            table.change(page, None, Some(rec_lsn));
            dirtiness.rec_lsn = Some(rec_lsn);
            self.rec_lsn.store(rec_lsn.get(), Ordering::SeqCst);
        } else if dirtiness.writing
            && dirtiness.second_rec_lsn.is_none()
            && !planted::active(Bug::ChangeInFlightLost)
        {
            dirtiness.second_rec_lsn = Some(rec_lsn);
        }
    }

    /// Called with the latch held shared, as the copy is taken: changes from now on are not in it.
    pub(super) fn begin_write(&self) {
        let mut dirtiness = self.dirtiness.lock();
        assert!(
            !dirtiness.writing,
            "PAGE-4: one write of a page is in flight at a time"
        );
        assert!(
            dirtiness.rec_lsn.is_some(),
            "PAGE-2: only a dirty page is written"
        );
        dirtiness.writing = true;
    }

    /// Called when the home write has been synced.
    pub(super) fn end_write(&self, page: PageId, table: &DirtyTable) {
        let mut dirtiness = self.dirtiness.lock();
        assert!(dirtiness.writing, "PAGE-4: the write that ends has begun");
        let (old, new) = (dirtiness.rec_lsn, dirtiness.second_rec_lsn.take());
        assert!(
            new.is_none_or(|new| old <= Some(new)),
            "PAGE-2: recLSN only grows"
        );
        table.change(page, old, new);
        dirtiness.rec_lsn = new;
        dirtiness.writing = false;
        self.rec_lsn
            .store(new.map_or(0, Lsn::get), Ordering::SeqCst);
    }
}
