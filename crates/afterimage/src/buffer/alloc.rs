//! Page allocation: which pages of the file are free, and how the file grows.
//!
//! The allocation map is pages like any other: a bit changes only as part of the record that uses the page, so there
//! is no moment at which a page is both or neither. The file grows by extents that are written and synced before any
//! record allocates from them, so a home write never needs space.

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;

use super::{Blank, Exclusive, Found, Pager, Pin, Shared};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::map_pages;
use crate::page::{Extent, Kind, Page, PageOp, USED, is_map_page, map_page};
use crate::record::{PagePart, Record, Structure, StructureKind};

/// Free pages kept for structure changes that a rollback may need; only the file's growth keeps them, no count is
/// promised to anyone.
const RESERVE_PAGES: u64 = 8;
/// The first extent, and the largest, in pages.
pub(super) const EXTENT_MIN: u64 = 16;
const EXTENT_MAX: u64 = 1024;

pub(crate) struct Allocator {
    /// Held only for a moment: also by those who hold latches.
    pub(super) state: Mutex<State>,
    /// Held while the file grows or shrinks, over I/O.
    pub(super) growing: Mutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Pages the file really has room for, on disk and synced.
    pub(super) pages: u64,
    /// How many of them the maps call free.
    pub(super) free: u64,
    /// What is known of each map page, in their order. Changed under that page's latch.
    pub(super) maps: Vec<MapState>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MapState {
    /// How many of its pages are free and in the file.
    pub(super) free: u32,
    /// No more of them than this follow each other.
    run_max: u32,
}

/// Room for one new page, got before any latch: a pinned map page that had a free bit, and a frame.
pub(crate) struct NewPage<'p> {
    alloc: &'p Allocator,
    map: Pin<'p>,
    blank: Blank<'p>,
}

/// A new page and the map bit that says so, latched, for one record to use together.
pub(crate) struct Claimed<'p> {
    pub(crate) page: Exclusive<'p>,
    pub(crate) map: Exclusive<'p>,
    pub(crate) index: u32,
}

impl Allocator {
    pub(super) fn new(io: &afterimage_io::Io) -> Allocator {
        Allocator {
            state: Mutex::new(io, State::default()),
            growing: Mutex::new(io, ()),
        }
    }

    /// How many pages the file has. Asked under a map page's latch, it stays true of what that map speaks for until the latch
    /// is let go, but for new pages.
    fn pages(&self) -> u64 {
        self.state.lock().pages
    }
}

impl Pager {
    /// Learns from the map what is free.
    pub(crate) fn load_map(&self) -> Result<()> {
        let pages = self.usable_pages()?;
        let interval = map_pages(self.page_size());
        let mut maps = Vec::new();
        for map in (1..pages).step_by(interval as usize) {
            let page = self.fetch_shared(PageId(map))?;
            let inside = interval.min(pages - map) as u32;
            let free = (0..inside).filter(|&index| page.map_get(index) & USED == 0);
            let free = free.count() as u32;
            maps.push(MapState {
                free,
                run_max: free,
            });
        }
        let free = maps.iter().map(|map| u64::from(map.free)).sum();
        *self.alloc.state.lock() = State { pages, free, maps };
        Ok(())
    }

    /// The first extent of a new file; the first four pages are spoken for.
    pub(crate) fn grow_new_file(&self) -> Result<()> {
        self.make_room_in_file(0, EXTENT_MIN)?;
        let mut state = self.alloc.state.lock();
        state.pages = EXTENT_MIN;
        state.maps = vec![MapState::default()];
        Ok(())
    }

    /// Writes zeroes and syncs them. A write that finds no room has harmed nothing. A sync that fails may have told of a
    /// home write's failure, which nobody would be told again: it stops the engine.
    fn make_room_in_file(&self, from: u64, to: u64) -> Result<()> {
        self.store.prepare(from, to)?;
        if planted::active(Bug::GrowthNotSynced) {
            return Ok(());
        }
        self.store.sync_all().inspect_err(|error| {
            self.log.fail(format!("syncing new pages: {error}"));
        })
    }

    /// After an unclean stop nobody knows whether the last extension of the file was synced: its last pages, as far as
    /// nothing was ever written there, are written and synced again before anything is allocated from them. A page that
    /// has been written was synced before, and may be needed as it is if this recovery is cut off.
    pub(crate) fn sweep_end_of_file(&self) -> Result<()> {
        let pages = self.usable_pages()?;
        let mut home = Page::new(self.page_size());
        let mut end_of_written = pages;
        while end_of_written > 0 && self.was_never_written(end_of_written - 1, &mut home)? {
            end_of_written -= 1;
        }
        if end_of_written < pages {
            self.make_room_in_file(end_of_written, pages)?;
        }
        Ok(())
    }

    /// Whether nothing but zeroes is at a page's home. What a disk serves as zeroes by mistake, once, must not become zeroes:
    /// it is looked at twice.
    fn was_never_written(&self, page: u64, home: &mut Page) -> Result<bool> {
        let never = |found: Found| matches!(found, Found::Never);
        Ok(never(self.look_at_home(PageId(page), home)?)
            && never(self.look_at_home(PageId(page), home)?))
    }

    /// Pages of the file, up to the first place of a map that was never made: an extension that a crash cut off may have
    /// left room behind it that no map speaks for.
    fn usable_pages(&self) -> Result<u64> {
        let pages = self.store.page_count()?;
        let mut home = Page::new(self.page_size());
        let mut map = 1;
        while map < pages {
            let id = PageId(map);
            if self.pin(id).is_none() && matches!(self.look_at_home(id, &mut home)?, Found::Never) {
                self.store.check_unmade_map(id, pages)?;
                return Ok(map);
            }
            map += map_pages(self.page_size());
        }
        Ok(pages)
    }

    /// Makes sure that some pages are free, extending the file if need be. Ends by I/O alone; call it without latches.
    ///
    /// # Errors
    ///
    /// `DiskFull`, with nothing changed.
    pub(crate) fn ensure_free_pages(&self, wanted: u64) -> Result<()> {
        let enough = |state: &State| state.free >= wanted + RESERVE_PAGES;
        if enough(&self.alloc.state.lock()) {
            return Ok(());
        }
        let _growing = self.alloc.growing.lock();
        let (from, missing) = {
            let state = self.alloc.state.lock();
            if enough(&state) {
                return Ok(());
            }
            (state.pages, wanted + RESERVE_PAGES - state.free)
        };
        // A map page now and then is no free page.
        let least = missing + missing / map_pages(self.page_size()) + 1;
        let to = from + (from / 4).clamp(EXTENT_MIN, EXTENT_MAX).max(least);
        self.make_room_in_file(from, to)?;
        for map in (from..to)
            .map(PageId)
            .filter(|page| is_map_page(*page, self.page_size()))
        {
            self.format_map(map)?;
        }
        self.publish_room(from, to)
    }

    #[cfg(test)]
    /// What is known of the file is that it has so many pages, none of them free.
    pub(crate) fn forget_free_pages(&self, pages: u64) {
        let mut state = self.alloc.state.lock();
        (state.pages, state.free) = (pages, 0);
        state.maps.fill(MapState::default());
    }

    /// From now on the pages `from..to` can be allocated, as far as their maps, which are there, say so. In a file that was cut
    /// from outside, pages behind the end are in use: taken for free, they would be looked for without end.
    fn publish_room(&self, from: u64, to: u64) -> Result<()> {
        let interval = map_pages(self.page_size());
        let mut free = Vec::new();
        let mut page = from;
        while page < to {
            let place = (page - 1) / interval;
            let first = 1 + place * interval;
            let end = to.min(first + interval);
            let map = self.fetch_shared(PageId(first))?;
            let inside = (page - first) as u32..(end - first) as u32;
            let unused = inside.filter(|&index| map.map_get(index) & USED == 0);
            free.push((place as usize, unused.count() as u32));
            page = end;
        }
        let mut state = self.alloc.state.lock();
        for (place, new) in free {
            if place == state.maps.len() {
                state.maps.push(MapState::default());
            }
            state.free += u64::from(new);
            let map = &mut state.maps[place];
            map.free += new;
            map.run_max += new;
        }
        state.pages = to;
        Ok(())
    }

    fn format_map(&self, map: PageId) -> Result<()> {
        let part = |page_prev| PagePart {
            page: map,
            page_prev,
            op: PageOp::format_empty_map(map),
        };
        let record = |part| {
            Record::Structure(Structure {
                kind: StructureKind::Extend,
                parts: vec![part],
            })
        };
        // The page's previous LSN makes no difference of more than a few bytes.
        let longest = record(part(Some(self.log.next_lsn())));
        let mut reservation = self.reserve_for(&longest)?;
        let mut page = self.frame_for_new(map)?;
        let record = record(part(page.lsn()));
        let pages = &mut [&mut page];
        self.mutate(&mut reservation, &record, pages, false, &mut |_, _| ())?;
        Ok(())
    }

    /// Finds room for one new page. Call it without latches; [`NewPage::claim`] comes under them.
    ///
    /// # Errors
    ///
    /// `DiskFull`; a rollback gets the last of the reserve before it comes to that.
    pub(crate) fn new_page(&self, undoing: bool) -> Result<NewPage<'_>> {
        loop {
            match self.ensure_free_pages(1) {
                Err(Error::DiskFull { .. }) if undoing && self.page_counts().1 > 0 => {}
                result => result?,
            }
            let Some((map, _)) = self.map_with(|map| map.free > 0) else {
                continue;
            };
            let map = self.check_next_free(self.fetch_shared(map)?)?;
            let blank = self.blank_frame()?;
            let alloc = &self.alloc;
            return Ok(NewPage { alloc, map, blank });
        }
    }

    /// A page in memory that a tree has is not free, whatever the map says: whoever claimed it would wait for a latch that
    /// he may hold himself.
    ///
    /// Both are looked at under the map's latch: whoever claims a page or frees it changes it under that. The page's latch is only
    /// tried, for others wait for the map while they hold a page.
    fn check_next_free<'p>(&'p self, map: Shared<'p>) -> Result<Pin<'p>> {
        let index = find_free(&map, self.alloc.pages());
        let next = index.map(|index| map_page(map.page_id(), index));
        let page = next.and_then(|next| self.pin(next)?.try_shared());
        let kind = page.as_ref().and_then(|page| page.kind());
        if let (Some(Kind::Leaf | Kind::Inner | Kind::Map | Kind::FileHeader), Some(next)) =
            (kind, next)
        {
            let what = "it is in use, and its allocation map says that it is free".to_owned();
            return Err(self.corrupt(next, what));
        }
        drop(page);
        Ok(map.into_pin())
    }

    /// Finds room for `wanted` pages that follow each other, or for as many as there are in one place. Call it without
    /// latches; [`NewExtent::claim`] comes under them.
    ///
    /// # Errors
    ///
    /// `DiskFull`.
    pub(crate) fn new_extent(&self, wanted: u32) -> Result<NewExtent<'_>> {
        loop {
            self.ensure_free_pages(u64::from(wanted))?;
            let best = {
                let state = self.alloc.state.lock();
                let runs = state.maps.iter().map(|map| map.run_max);
                runs.max().unwrap_or_default().min(wanted)
            };
            let Some((map, pages)) = self.map_with(|map| map.run_max >= best.max(1)) else {
                continue;
            };
            let page = self.fetch_shared(map)?;
            let (index, run) = find_run(&page, pages, wanted);
            if run < best.max(1) {
                // What is known of a map is only that it has no longer runs than that.
                let place = (map.get() - 1) / map_pages(self.page_size());
                let mut state = self.alloc.state.lock();
                if state.pages == pages {
                    state.maps[place as usize].run_max = run;
                }
                continue;
            }
            return Ok(NewExtent {
                first: map_page(map, index),
                map: page.into_pin(),
                alloc: &self.alloc,
                index,
                wanted,
            });
        }
    }

    /// The first map page of which this is so, and how many pages the file has.
    fn map_with(&self, wanted: impl Fn(&MapState) -> bool) -> Option<(PageId, u64)> {
        let state = self.alloc.state.lock();
        let index = state.maps.iter().position(wanted)? as u64;
        let map = PageId(1 + index * map_pages(self.page_size()));
        Some((map, state.pages))
    }

    /// Changes what is known of a map page, which is latched.
    fn with_map(&self, map: &Page, change: impl FnOnce(&mut MapState)) {
        let index = (map.id().get() - 1) / map_pages(self.page_size());
        change(&mut self.alloc.state.lock().maps[index as usize]);
    }

    /// Pages have been taken into use: called when the record is in the log, with their map page still latched.
    pub(crate) fn pages_taken(&self, map: &Exclusive<'_>, count: u32) {
        self.with_map(map, |map| map.free -= count);
        self.alloc.state.lock().free -= u64::from(count);
    }

    /// What is to become free is in use, and in the file: else the counts would not be what the maps say, and whoever looks for
    /// a free page that is not there would look for ever.
    ///
    /// # Errors
    ///
    /// `PageCorrupt`.
    pub(crate) fn check_used(&self, map: &Page, index: u32, count: u32) -> Result<()> {
        let first = map_page(map.id(), index);
        let end = u64::from(index) + u64::from(count);
        let inside = end <= u64::from(map.map_len()) && map.id().get() + end <= self.alloc.pages();
        if inside && (index..index + count).all(|index| map.map_get(index) & USED != 0) {
            return Ok(());
        }
        let what = format!("{count} pages from it on are to become free, and are not all in use");
        Err(self.corrupt(first, what))
    }

    /// Pages have become free: as [`pages_taken`](Pager::pages_taken).
    pub(crate) fn pages_freed(&self, map: &Exclusive<'_>, count: u32) {
        self.with_map(map, |map| {
            map.free += count;
            map.run_max = map.free;
        });
        self.alloc.state.lock().free += u64::from(count);
    }

    /// Pages in the file, and how many of them are free.
    pub(crate) fn page_counts(&self) -> (u64, u64) {
        let state = self.alloc.state.lock();
        (state.pages, state.free)
    }
}

impl<'p> NewPage<'p> {
    /// Latches the map page, finds the free bit, and latches the new page. `None` if others took the last one in the
    /// meantime: let go of all latches and start again. Map pages are latched last of all, so nobody waits in a ring; and
    /// whoever still looks at a page that has become free waits for nobody.
    pub(crate) fn claim(self) -> Option<Claimed<'p>> {
        let map = self.map.exclusive()?;
        let index = find_free(&map, self.alloc.pages())?;
        let page = self.blank.take_over(map_page(map.page_id(), index))?;
        Some(Claimed { map, index, page })
    }
}

/// Room for pages that follow each other, got before any latch: a pinned map page that had some.
pub(crate) struct NewExtent<'p> {
    /// The first of them.
    pub(crate) first: PageId,
    map: Pin<'p>,
    alloc: &'p Allocator,
    index: u32,
    wanted: u32,
}

/// Free pages that follow each other, and the latched map page that says so.
pub(crate) struct ClaimedExtent<'p> {
    pub(crate) map: Exclusive<'p>,
    pub(crate) index: u32,
    pub(crate) extent: Extent,
}

impl<'p> NewExtent<'p> {
    /// Latches the map page, and sees how many pages are still free from the first on. `None` if others took it in the
    /// meantime.
    pub(crate) fn claim(self) -> Option<ClaimedExtent<'p>> {
        let map = self.map.exclusive()?;
        let pages = run_at(&map, self.alloc.pages(), self.index, self.wanted);
        let extent = Extent {
            first: self.first,
            pages,
        };
        (pages > 0).then_some(ClaimedExtent {
            map,
            index: self.index,
            extent,
        })
    }
}

/// The first free index of a map page that the file has room for.
fn find_free(map: &Page, pages: u64) -> Option<u32> {
    map.find_free(0)
        .filter(|index| map_page(map.id(), *index).get() < pages)
}

/// The first `wanted` free pages that follow each other and are in the file, or the longest run there is: its first index,
/// and how many.
fn find_run(map: &Page, pages: u64, wanted: u32) -> (u32, u32) {
    let mut best = (0, 0);
    let mut from = 0;
    while let Some(first) = map.find_free(from) {
        let run = run_at(map, pages, first, wanted);
        if run > best.1 {
            best = (first, run);
        }
        if run == 0 || run == wanted {
            break;
        }
        from = first + run;
    }
    best
}

/// How many pages from `index` on are free and in the file, up to `wanted`.
fn run_at(map: &Page, pages: u64, index: u32, wanted: u32) -> u32 {
    let end = pages.saturating_sub(map.id().get());
    let end = end.min(u64::from(map.map_len())) as u32;
    let most = wanted.min(end.saturating_sub(index));
    let used = |&run: &u32| map.map_get(index + run) & USED != 0;
    (0..most).find(used).unwrap_or(most)
}
