//! The buffer pool: which frame holds which page, who may be evicted, and the guards through which a page is seen.
//! Knows no file and no log: loading and cleaning are its neighbours' work.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::{Mutex, ReadGuard, WriteGuard};
use afterimage_log::Lsn;
use foldhash::fast::FixedState;

use super::dirty::DirtyTable;
use super::frame::Frame;
use crate::error::Result;
use crate::ids::PageId;
use crate::page::Page;

const SHARDS: usize = if cfg!(loom) { 2 } else { 16 };

type PageTable = HashMap<PageId, usize, FixedState>;

pub(crate) struct Pool {
    frames: Box<[Frame]>,
    shards: Box<[Mutex<PageTable>]>,
    dirty: DirtyTable,
    /// The hand of the clock. Held while a victim is sought, never over I/O.
    hand: Mutex<usize>,
}

impl Pool {
    pub(crate) fn new(io: &Io, frames: usize, page_size: usize) -> Pool {
        Pool {
            frames: (0..frames).map(|_| Frame::new(io, page_size)).collect(),
            shards: (0..SHARDS)
                .map(|_| Mutex::new(io, PageTable::default()))
                .collect(),
            dirty: DirtyTable::new(io),
            hand: Mutex::new(io, 0),
        }
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.frames.len()
    }

    fn shard(&self, page: PageId) -> &Mutex<PageTable> {
        &self.shards[(page.get() % SHARDS as u64) as usize]
    }

    /// Pins the frame that holds `page`, if one does.
    pub(crate) fn pin(&self, page: PageId) -> Option<Pin<'_>> {
        let table = self.shard(page).lock();
        let index = *table.get(&page)?;
        self.frames[index].pin();
        Some(Pin {
            pool: self,
            index,
            page,
        })
    }

    /// An empty frame, by eviction of a clean page if need be; `None` when every frame is pinned or dirty.
    pub(crate) fn take_frame(&self) -> Option<Blank<'_>> {
        let mut hand = self.hand.lock();
        for _ in 0..2 * self.frames.len() {
            let index = *hand;
            *hand = (index + 1) % self.frames.len();
            if self.evict(index) {
                return Some(Blank {
                    pool: self,
                    index,
                    armed: true,
                });
            }
        }
        None
    }

    /// Empties frame `index` and pins it for the caller, if it can be had at this moment.
    fn evict(&self, index: usize) -> bool {
        let frame = &self.frames[index];
        let Some(page) = frame.page() else {
            return frame.claim_empty();
        };
        if frame.is_pinned() || frame.take_used() || frame.rec_lsn().is_some() {
            return false;
        }
        // Whoever pins holds this shard, and only a pinned page becomes dirty: what is seen here stays so.
        let mut table = self.shard(page).lock();
        let changed = frame.page() != Some(page) || frame.is_pinned() || frame.rec_lsn().is_some();
        if changed && !planted::active(Bug::EvictedUnderPin) {
            return false;
        }
        table.remove(&page);
        frame.set_page(None);
        frame.claim_empty()
    }

    /// The dirty page table.
    pub(super) fn dirty(&self) -> &DirtyTable {
        &self.dirty
    }

    pub(crate) fn is_dirty(&self, page: PageId) -> bool {
        self.pin(page)
            .is_some_and(|pin| pin.frame().rec_lsn().is_some())
    }
}

/// Holds a page in its frame: it cannot be evicted. Says nothing about who may look at it.
pub(crate) struct Pin<'p> {
    pool: &'p Pool,
    index: usize,
    page: PageId,
}

impl<'p> Pin<'p> {
    pub(crate) fn page(&self) -> PageId {
        self.page
    }

    fn frame(&self) -> &'p Frame {
        &self.pool.frames[self.index]
    }

    /// Latches the page shared. `None` if the frame lost the page because its load failed: fetch it again.
    pub(crate) fn shared(self) -> Option<Shared<'p>> {
        let guard = self.frame().latch.read();
        (self.frame().page() == Some(self.page)).then_some(Shared { guard, pin: self })
    }

    /// Latches the page shared if nobody holds it exclusively.
    pub(super) fn try_shared(self) -> Option<Shared<'p>> {
        let guard = self.frame().latch.try_read()?;
        (self.frame().page() == Some(self.page)).then_some(Shared { guard, pin: self })
    }

    /// Latches the page exclusively. `None` as for [`shared`](Pin::shared).
    pub(crate) fn exclusive(self) -> Option<Exclusive<'p>> {
        let guard = self.frame().latch.write();
        (self.frame().page() == Some(self.page)).then_some(Exclusive { guard, pin: self })
    }

    pub(super) fn end_write(&self) {
        self.frame().end_write(self.page, &self.pool.dirty);
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.frame().unpin();
    }
}

/// An empty frame, pinned, not yet in the page table.
pub(crate) struct Blank<'p> {
    pool: &'p Pool,
    index: usize,
    armed: bool,
}

impl<'p> Blank<'p> {
    /// Gives the frame to `page` and latches it exclusively, its old bytes still in it. `None`, and the frame is free
    /// again, if some frame holds the page already.
    pub(crate) fn install(mut self, page: PageId) -> Option<Exclusive<'p>> {
        let pool = self.pool;
        let frame = &pool.frames[self.index];
        let guard = frame.latch.write();
        let mut table = pool.shard(page).lock();
        if table.contains_key(&page) {
            return None;
        }
        table.insert(page, self.index);
        frame.set_page(Some(page));
        drop(table);
        self.armed = false;
        let pin = Pin {
            pool,
            index: self.index,
            page,
        };
        frame.touch();
        Some(Exclusive { guard, pin })
    }
}

impl<'p> Blank<'p> {
    /// The frame for `page`, which is to be made anew, latched exclusively: this one, zeroed, or the one in which the page
    /// still is as it was before it became free. `None`: it is just being evicted.
    pub(crate) fn take_over(self, page: PageId) -> Option<Exclusive<'p>> {
        let pool = self.pool;
        if let Some(mut frame) = self.install(page) {
            frame.clear();
            return Some(frame);
        }
        pool.pin(page)?.exclusive()
    }
}

impl Drop for Blank<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.pool.frames[self.index].unpin();
        }
    }
}

/// A page, latched for reading.
pub(crate) struct Shared<'p> {
    // Dropped before the pin: a frame is never evicted under a latch.
    guard: ReadGuard<'p, Page>,
    pin: Pin<'p>,
}

impl<'p> Shared<'p> {
    pub(crate) fn page_id(&self) -> PageId {
        self.pin.page
    }

    /// Lets go of the latch and keeps the page in its frame.
    pub(crate) fn into_pin(self) -> Pin<'p> {
        self.pin
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.pin.frame().rec_lsn().is_some()
    }

    /// Marks the write begun (the caller copies under this latch) and keeps the pin.
    pub(super) fn begin_write(self) -> Pin<'p> {
        self.pin.frame().begin_write();
        self.pin
    }
}

impl Deref for Shared<'_> {
    type Target = Page;
    fn deref(&self) -> &Page {
        &self.guard
    }
}

/// A page, latched for changing. Only [`mutate`](super::Pager::mutate), redo and loading write through it.
pub(crate) struct Exclusive<'p> {
    guard: WriteGuard<'p, Page>,
    pin: Pin<'p>,
}

impl<'p> Exclusive<'p> {
    /// Lets go of the latch and keeps the page in its frame.
    pub(crate) fn into_pin(self) -> Pin<'p> {
        self.pin
    }

    pub(crate) fn page_id(&self) -> PageId {
        self.pin.page
    }

    pub(crate) fn mark_dirty(&self, rec_lsn: Lsn) {
        let (page, table) = (self.pin.page, &self.pin.pool.dirty);
        self.pin.frame().mark_dirty(page, rec_lsn, table);
    }

    /// Lets the page go again if the change that was to make it did not come about. A dirty one stays: it is an older page
    /// on its way home, or the engine has stopped.
    pub(crate) fn kept_if<T>(self, changed: Result<T>) -> Result<T> {
        if changed.is_err() && self.pin.frame().rec_lsn().is_none() {
            self.discard();
        }
        changed
    }

    /// Undoes an install whose load failed: the frame holds no page again; those who wait for the latch will see it.
    pub(crate) fn discard(self) {
        let frame = self.pin.frame();
        let mut table = self.pin.pool.shard(self.pin.page).lock();
        table.remove(&self.pin.page);
        frame.set_page(None);
    }
}

impl Deref for Exclusive<'_> {
    type Target = Page;
    fn deref(&self) -> &Page {
        &self.guard
    }
}

impl DerefMut for Exclusive<'_> {
    fn deref_mut(&mut self) -> &mut Page {
        &mut self.guard
    }
}
