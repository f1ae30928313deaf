//! The buffer pool: which frame holds which page, who may be evicted, and the guards through which a page is seen.
//! Knows no file and no log: loading and cleaning are its neighbours' work.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::{Mutex, ReadGuard, WriteGuard};
use afterimage_log::Lsn;
use foldhash::fast::FixedState;

use super::copies::{Copies, Lane};
use super::dirty::DirtyTable;
use super::frame::Frame;
use super::hints::{Hints, WAYS};
use crate::error::Result;
use crate::ids::PageId;
use crate::page::{Fan, Page};

pub(super) const SHARDS: usize = if cfg!(loom) { 2 } else { 16 };

/// Leaves that are latched together, at most: with what a search in them reads they are all in the processor's first cache.
pub(crate) const CALLED_UP: usize = 16;

/// By the place of the way that led there; `None`: it has to be gone to by itself.
pub(crate) type Leaves<'p> = [Option<Shared<'p>>; CALLED_UP];

type PageTable = HashMap<PageId, usize, FixedState>;

pub(crate) struct Pool {
    page_size: usize,
    frames: Box<[Frame]>,
    shards: Box<[Mutex<PageTable>]>,
    /// The page tables once more, for those who only look.
    hints: Hints,
    copies: Copies,
    dirty: DirtyTable,
    /// The hand of the clock. Held while a victim is sought, never over I/O.
    hand: Mutex<usize>,
}

impl Pool {
    pub(crate) fn new(io: &Io, frames: usize, page_size: usize) -> Pool {
        Pool {
            page_size,
            frames: (0..frames).map(|_| Frame::new(io)).collect(),
            shards: (0..SHARDS)
                .map(|_| Mutex::new(io, PageTable::default()))
                .collect(),
            hints: Hints::new(frames),
            copies: Copies::new(io, frames, page_size),
            dirty: DirtyTable::new(io),
            hand: Mutex::new(io, 0),
        }
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.frames.len()
    }

    fn shard(&self, page: PageId) -> &Mutex<PageTable> {
        // Those of one set of hints are in one shard.
        &self.shards[(page.get() / WAYS as u64 % SHARDS as u64) as usize]
    }

    fn place(&self, page: PageId, index: usize) -> Place<'_> {
        Place {
            pool: self,
            index,
            page,
        }
    }

    /// Pins the frame that holds `page`, if one does.
    pub(crate) fn pin(&self, page: PageId) -> Option<Pin<'_>> {
        let table = self.shard(page).lock();
        let place = self.place(page, *table.get(&page)?);
        place.frame().pin();
        Some(Pin(place))
    }

    /// Where `page` is, or was a moment ago, or has just been: who latches the frame looks again.
    #[inline]
    fn find(&self, page: PageId) -> Option<Place<'_>> {
        let hinted = self.hints.find(page);
        if let Some(index) = hinted
            && self.frames[index].page() == Some(page)
        {
            return Some(self.place(page, index));
        }
        let table = self.shard(page).lock();
        let index = *table.get(&page)?;
        self.hints.put(page, index);
        Some(self.place(page, index))
    }

    /// Latches `page` shared if it is in memory. Writes nothing that other pages' readers read, unless it has to wait: only what is pinned
    /// is waited for, or it could have become another page's frame by then, with a latch that must not be waited for.
    pub(crate) fn shared(&self, page: PageId) -> Option<Shared<'_>> {
        let place = self.find(page)?;
        match place.frame().try_read().filter(|_| place.latched()) {
            Some(guard) => Some(Shared { guard, place }),
            None => self.pin(page)?.shared(),
        }
    }

    /// As [`Pool::shared`], exclusively.
    #[inline]
    pub(crate) fn exclusive(&self, page: PageId) -> Option<Exclusive<'_>> {
        let place = self.find(page)?;
        match place.frame().try_write().filter(|_| place.latched()) {
            Some(guard) => Some(Exclusive { guard, place }),
            None => self.pin(page)?.exclusive(),
        }
    }

    /// Goes down from `root` by copies of inner pages, and so without a latch, to one whose child is of `level`. `step` names
    /// the child to go to; `None`: the page is not on the way. What comes out is a guess.
    #[inline]
    pub(crate) fn guess(
        &self,
        root: PageId,
        level: u8,
        step: impl Fn(&Fan) -> Option<PageId>,
    ) -> Option<Guess<'_>> {
        let lane = self.copies.descend()?;
        self.guess_in(&lane, root, level, step)
    }

    #[inline]
    fn guess_in(
        &self,
        lane: &Lane,
        root: PageId,
        level: u8,
        step: impl Fn(&Fan) -> Option<PageId>,
    ) -> Option<Guess<'_>> {
        let (mut page, mut above) = (root, u8::MAX);
        loop {
            let copy = lane.get(page)?;
            let frame = &self.frames[copy.frame];
            if frame.version() != copy.version {
                // It is copied again by the way that goes by the pages.
                return None;
            }
            frame.touch();
            let here = copy.fan.page().level();
            if here >= above || here <= level {
                return None;
            }
            let child = step(&copy.fan)?;
            if here == level + 1 {
                let version = copy.version;
                return Some(Guess {
                    frame,
                    version,
                    child,
                });
            }
            (page, above) = (child, here);
        }
    }

    /// The leaves below `root` to which these ways lead, latched shared together, `most` of them at most, as far as they are in memory and
    /// nobody has them exclusively: none is waited for, so nobody waits for whoever holds these. The memory of all of them is asked for
    /// before any of it is waited for.
    pub(crate) fn leaves(
        &self,
        root: PageId,
        ways: impl Iterator<Item = impl Fn(&Fan) -> Option<PageId>>,
        most: usize,
    ) -> Leaves<'_> {
        let mut places = [const { None }; CALLED_UP];
        if let Some(lane) = self.copies.lane() {
            for (place, way) in places.iter_mut().zip(ways).take(most) {
                let guess = self.guess_in(&lane, root, 0, way);
                *place = guess.and_then(|guess| {
                    let index = self.hints.find(guess.child)?;
                    Some((self.place(guess.child, index), guess))
                });
            }
        }
        let is_there = |(place, _): &(Place<'_>, Guess<'_>)| place.is_there();
        let places = places.map(|place| place.filter(is_there));
        places.map(|place| {
            let (place, guess) = place?;
            let guard = place.frame().try_read().filter(|_| place.latched())?;
            guess.holds().then_some(Shared { guard, place })
        })
    }

    /// So many descents that were not begun one by one.
    pub(super) fn count_lookups(&self, count: u64) {
        self.copies.count(count);
    }

    /// How often a descent to a page of a tree has begun.
    pub(super) fn lookups(&self) -> u64 {
        self.copies.descents()
    }

    /// Keeps a copy of an inner page that somebody went through, for the next one.
    pub(crate) fn offer(&self, page: &Shared<'_>) {
        let Place {
            index, page: id, ..
        } = page.place;
        // Latched: the version is that of these bytes.
        let version = page.place.frame().version();
        if let Some(mut lane) = self.copies.lane() {
            lane.offer(id, index, version, page);
        }
    }

    /// An empty frame, by eviction of a clean page if need be; `None` when every frame is pinned or dirty.
    pub(crate) fn take_frame(&self) -> Option<Blank<'_>> {
        let mut hand = self.hand.lock();
        for _ in 0..2 * self.frames.len() {
            let index = *hand;
            *hand = (index + 1) % self.frames.len();
            if self.evict(index) {
                return Some(Blank { pool: self, index });
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
        let is_held = || frame.is_pinned() || frame.rec_lsn().is_some();
        if is_held() || frame.take_used() {
            return false;
        }
        // Whoever pins holds this shard or a latch, and only a latched page becomes dirty: what is seen here stays so.
        let mut table = self.shard(page).lock();
        let Some(_alone) = frame.try_write() else {
            return false;
        };
        let changed = frame.page() != Some(page) || is_held();
        if changed && !planted::active(Bug::EvictedUnderPin) {
            return false;
        }
        table.remove(&page);
        self.hints.forget(page, index);
        frame.set_page(None);
        frame.claim_empty()
    }

    /// The dirty page table.
    pub(super) fn dirty(&self) -> &DirtyTable {
        &self.dirty
    }

    pub(crate) fn is_dirty(&self, page: PageId) -> bool {
        self.pin(page)
            .is_some_and(|pin| pin.0.frame().rec_lsn().is_some())
    }
}

/// A page and the frame that it is in, or was.
#[derive(Clone, Copy)]
struct Place<'p> {
    pool: &'p Pool,
    index: usize,
    page: PageId,
}

impl<'p> Place<'p> {
    fn frame(&self) -> &'p Frame {
        &self.pool.frames[self.index]
    }

    /// `None` if the frame holds another page by now, or none.
    fn shared(self) -> Option<Shared<'p>> {
        let guard = self.frame().read();
        self.latched().then_some(Shared { guard, place: self })
    }

    /// As [`Place::shared`].
    fn exclusive(self) -> Option<Exclusive<'p>> {
        let guard = self.frame().write();
        self.latched().then_some(Exclusive { guard, place: self })
    }

    /// Asked under the latch, which keeps the page from being evicted.
    fn latched(&self) -> bool {
        self.frame().touch();
        self.is_there()
    }

    fn is_there(&self) -> bool {
        self.frame().page() == Some(self.page)
    }
}

/// A child that was the right one when its parent was copied.
pub(crate) struct Guess<'p> {
    frame: &'p Frame,
    version: u64,
    pub(crate) child: PageId,
}

impl Guess<'_> {
    /// Asked when the child is latched: whoever takes something away from a child latches its parent before and both until it is
    /// done, so the parent as it was copied is right up to that latch.
    pub(crate) fn holds(&self) -> bool {
        self.frame.version() == self.version || planted::active(Bug::GuessBelieved)
    }
}

/// Holds a page in its frame: it cannot be evicted. Says nothing about who may look at it.
pub(crate) struct Pin<'p>(Place<'p>);

impl<'p> Pin<'p> {
    pub(crate) fn page(&self) -> PageId {
        self.0.page
    }

    /// Latches the page shared; from then on the latch holds it. `None` if the frame lost the page because its load failed: fetch it
    /// again.
    pub(crate) fn shared(self) -> Option<Shared<'p>> {
        self.0.shared()
    }

    /// Latches the page shared if nobody holds it exclusively.
    pub(super) fn try_shared(self) -> Option<Shared<'p>> {
        let (place, guard) = (self.0, self.0.frame().try_read()?);
        place.latched().then_some(Shared { guard, place })
    }

    /// Latches the page exclusively. `None` as for [`shared`](Pin::shared).
    pub(crate) fn exclusive(self) -> Option<Exclusive<'p>> {
        self.0.exclusive()
    }

    pub(super) fn end_write(&self) {
        self.0.frame().end_write(self.0.page, &self.0.pool.dirty);
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.frame().unpin();
    }
}

/// An empty frame, pinned, not yet in the page table.
pub(crate) struct Blank<'p> {
    pool: &'p Pool,
    index: usize,
}

impl<'p> Blank<'p> {
    /// Gives the frame to `page` and latches it exclusively, its old bytes still in it. `None`, and the frame is free
    /// again, if some frame holds the page already.
    pub(crate) fn install(self, page: PageId) -> Option<Exclusive<'p>> {
        let pool = self.pool;
        let place = pool.place(page, self.index);
        let mut guard = place.frame().write();
        guard.take_memory(pool.page_size);
        let mut table = pool.shard(page).lock();
        if table.contains_key(&page) {
            return None;
        }
        table.insert(page, self.index);
        place.frame().set_page(Some(page));
        pool.hints.put(page, self.index);
        drop(table);
        place.frame().touch();
        Some(Exclusive { guard, place })
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
        pool.exclusive(page)
    }
}

impl Drop for Blank<'_> {
    /// When it is installed, its latch holds it.
    fn drop(&mut self) {
        self.pool.frames[self.index].unpin();
    }
}

/// A page, latched for reading: it cannot be evicted.
pub(crate) struct Shared<'p> {
    guard: ReadGuard<'p, Page>,
    place: Place<'p>,
}

impl<'p> Shared<'p> {
    pub(crate) fn page_id(&self) -> PageId {
        self.place.page
    }

    /// Lets go of the latch and keeps the page in its frame.
    pub(crate) fn into_pin(self) -> Pin<'p> {
        self.place.frame().pin();
        Pin(self.place)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.place.frame().rec_lsn().is_some()
    }

    /// Marks the write begun (the caller copies under this latch) and keeps the page in its frame.
    pub(super) fn begin_write(self) -> Pin<'p> {
        self.place.frame().begin_write();
        self.into_pin()
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
    place: Place<'p>,
}

impl<'p> Exclusive<'p> {
    /// Lets go of the latch and keeps the page in its frame.
    pub(crate) fn into_pin(self) -> Pin<'p> {
        self.place.frame().pin();
        Pin(self.place)
    }

    pub(crate) fn page_id(&self) -> PageId {
        self.place.page
    }

    pub(crate) fn mark_dirty(&self, rec_lsn: Lsn) {
        let (page, table) = (self.place.page, &self.place.pool.dirty);
        self.place.frame().mark_dirty(page, rec_lsn, table);
    }

    /// Lets the page go again if the change that was to make it did not come about. A dirty one stays: it is an older page
    /// on its way home, or the engine has stopped.
    pub(crate) fn kept_if<T>(self, changed: Result<T>) -> Result<T> {
        if changed.is_err() && self.place.frame().rec_lsn().is_none() {
            self.discard();
        }
        changed
    }

    /// Undoes an install whose load failed: the frame holds no page again; those who wait for the latch will see it.
    pub(crate) fn discard(self) {
        let Place { pool, index, page } = self.place;
        let mut table = pool.shard(page).lock();
        table.remove(&page);
        pool.hints.forget(page, index);
        self.place.frame().set_page(None);
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
