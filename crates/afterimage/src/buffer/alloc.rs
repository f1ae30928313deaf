//! Page allocation: which pages of the file are free, and how the file grows.
//!
//! The allocation map is pages like any other: a bit changes only as part of the record that uses the page, so there
//! is no moment at which a page is both or neither. The file grows by extents that are written and synced before any
//! record allocates from them, so a home write never needs space.

use afterimage_io::sync::Mutex;

use super::{Blank, Exclusive, Found, Pager, Pin};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::map_pages;
use crate::page::{Page, PageOp, USED, is_map_page, map_page};
use crate::record::{PagePart, Record, Structure, StructureKind};

/// Free pages kept for structure changes that a rollback may need; only the file's growth keeps them, no count is
/// promised to anyone.
const RESERVE_PAGES: u64 = 8;
/// The first extent, and the largest, in pages.
const EXTENT_MIN: u64 = 16;
const EXTENT_MAX: u64 = 1024;

pub(crate) struct Allocator {
    /// Held only for a moment: also by those who hold latches.
    state: Mutex<State>,
    /// Held while the file grows, over I/O.
    growing: Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Pages the file really has room for, on disk and synced.
    pages: u64,
    /// How many of them the map calls free.
    free: u64,
    /// No free page has a map page before this one.
    first_map: u64,
}

/// Room for one new page, got before any latch: a pinned map page that had a free bit, and a frame.
pub(crate) struct NewPage<'p> {
    map: Pin<'p>,
    blank: Blank<'p>,
    pages: u64,
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
            state: Mutex::new(
                io,
                State {
                    pages: 0,
                    free: 0,
                    first_map: 1,
                },
            ),
            growing: Mutex::new(io, ()),
        }
    }
}

impl Pager {
    /// Learns from the map what is free.
    pub(crate) fn load_map(&self) -> Result<()> {
        let pages = self.usable_pages()?;
        let free = self.count_free(pages)?.0;
        *self.alloc.state.lock() = State {
            pages,
            free,
            first_map: 1,
        };
        Ok(())
    }

    /// The first extent of a new file; the first four pages are spoken for.
    pub(crate) fn grow_new_file(&self) -> Result<()> {
        self.make_room_in_file(0, EXTENT_MIN)?;
        *self.alloc.state.lock() = State {
            pages: EXTENT_MIN,
            free: 0,
            first_map: 1,
        };
        Ok(())
    }

    /// Writes zeroes and syncs them. A write that finds no room has harmed nothing. A sync that fails may have told of a
    /// home write's failure, which nobody would be told again: it stops the engine.
    fn make_room_in_file(&self, from: u64, to: u64) -> Result<()> {
        self.store.prepare(from, to)?;
        self.store.sync_all().inspect_err(|error| {
            self.log.fail(format!("syncing new pages: {error}"));
        })
    }

    /// After an unclean stop nobody knows whether the last extension of the file was synced: the pages beyond the last
    /// used one are written and synced again before anything is allocated from them.
    pub(crate) fn sweep_end_of_file(&self) -> Result<()> {
        let pages = self.usable_pages()?;
        let (_, end_of_used) = self.count_free(pages)?;
        if end_of_used < pages {
            self.make_room_in_file(end_of_used, pages)?;
        }
        Ok(())
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
                return Ok(map);
            }
            map += map_pages(self.page_size());
        }
        Ok(pages)
    }

    /// Free pages below `pages`, and the first page behind the last used one.
    fn count_free(&self, pages: u64) -> Result<(u64, u64)> {
        let interval = map_pages(self.page_size());
        let (mut free, mut end_of_used, mut map) = (0, 1, 1);
        while map < pages {
            let page = self.fetch_shared(PageId(map))?;
            for index in 0..interval.min(pages - map) {
                if page.map_get(index as u32) & USED == 0 {
                    free += 1;
                } else {
                    end_of_used = map + index + 1;
                }
            }
            map += interval;
        }
        Ok((free, end_of_used))
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
        let state = *self.alloc.state.lock();
        if enough(&state) {
            return Ok(());
        }
        let from = state.pages;
        let to = from + (from / 4).clamp(EXTENT_MIN, EXTENT_MAX);
        self.make_room_in_file(from, to)?;
        let mut new_maps = 0;
        for map in (from..to)
            .map(PageId)
            .filter(|page| is_map_page(*page, self.page_size()))
        {
            self.format_map(map)?;
            new_maps += 1;
        }
        let mut state = self.alloc.state.lock();
        state.pages = to;
        state.free += to - from - new_maps;
        Ok(())
    }

    fn format_map(&self, map: PageId) -> Result<()> {
        let op = PageOp::format_empty_map(map);
        let record = Record::Structure(Structure {
            kind: StructureKind::Extend,
            parts: vec![PagePart {
                page: map,
                page_prev: None,
                op,
            }],
        });
        let mut reservation = self.reserve_for(&record)?;
        let mut page = self.install_new(map)?;
        self.mutate(
            &mut reservation,
            &record,
            &mut [&mut page],
            false,
            &mut |_, _| (),
        )?;
        Ok(())
    }

    /// Finds room for one new page. Call it without latches; [`NewPage::claim`] comes under them.
    ///
    /// # Errors
    ///
    /// `DiskFull`; a rollback gets the last of the reserve before it comes to that.
    pub(crate) fn new_page(&self, undoing: bool) -> Result<NewPage<'_>> {
        let interval = map_pages(self.page_size());
        loop {
            match self.ensure_free_pages(1) {
                Err(Error::DiskFull { .. }) if undoing && self.page_counts().1 > 0 => {}
                result => result?,
            }
            let state = *self.alloc.state.lock();
            let mut map = state.first_map;
            while map < state.pages {
                let page = self.fetch_shared(PageId(map))?;
                if find_free(&page, state.pages).is_some() {
                    drop(page);
                    let (pin, blank) = (self.fetch(PageId(map))?, self.blank_frame()?);
                    return Ok(NewPage {
                        map: pin,
                        blank,
                        pages: state.pages,
                    });
                }
                map += interval;
                if map < state.pages {
                    let mut now = self.alloc.state.lock();
                    now.first_map = now.first_map.max(map);
                }
            }
            // The pages reckoned free were taken while we looked: count again.
            self.recount(state.pages)?;
        }
    }

    /// Counts the free pages again, unless the file has grown beyond `pages` in the meantime: that brought new ones.
    fn recount(&self, pages: u64) -> Result<()> {
        let _growing = self.alloc.growing.lock();
        if self.alloc.state.lock().pages == pages {
            let free = self.count_free(pages)?.0;
            let mut state = self.alloc.state.lock();
            state.free = free;
            state.first_map = 1;
        }
        Ok(())
    }

    /// A page has been used: called when its record is in the log.
    pub(crate) fn page_taken(&self) {
        let mut state = self.alloc.state.lock();
        state.free = state.free.saturating_sub(1);
    }

    /// Pages in the file, and how many of them are free.
    pub(crate) fn page_counts(&self) -> (u64, u64) {
        let state = self.alloc.state.lock();
        (state.pages, state.free)
    }
}

impl<'p> NewPage<'p> {
    /// Latches the map page, finds the free bit, and latches the new page. `None` if others took the last one in the
    /// meantime: let go of all latches and start again. Map pages are latched last of all, so nobody waits in a ring.
    pub(crate) fn claim(self) -> Option<Claimed<'p>> {
        let map = self.map.exclusive()?;
        let index = find_free(&map, self.pages)?;
        let mut page = self.blank.install(map_page(map.page_id(), index))?;
        page.clear();
        Some(Claimed { map, index, page })
    }
}

/// The first free index of a map page that the file has room for.
fn find_free(map: &Page, pages: u64) -> Option<u32> {
    map.find_free(0)
        .filter(|index| map_page(map.id(), *index).get() < pages)
}
