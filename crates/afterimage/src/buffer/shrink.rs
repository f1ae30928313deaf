//! Giving free pages at the file's end back to the file system.
//!
//! First nobody allocates them any more; then whatever was dirty is written home, and a checkpoint makes recovery begin
//! behind the last record that touches them, by either copy of the control file; only then is the file cut. So nothing
//! that a recovery redoes needs a page beyond its end.

use super::Pager;
use super::alloc::EXTENT_MIN;
use crate::error::Result;
use crate::ids::PageId;
use crate::limits::map_pages;
use crate::page::USED;

impl Pager {
    /// Cuts the free pages at the file's end off, but for a few. `settle` is to write home what is dirty, and to take checkpoints
    /// until no control copy needs a record of before. Returns how many bytes were given back.
    pub(crate) fn shrink_file(&self, settle: impl FnOnce() -> Result<()>) -> Result<u64> {
        // The file does not grow meanwhile.
        let _growing = self.alloc.growing.lock();
        let pages = self.page_counts().0;
        let end = self.give_up_end(pages)?;
        if end == pages {
            return Ok(0);
        }
        settle()?;
        self.store.cut(end).inspect_err(|error| {
            self.log.fail(format!("cutting off free pages: {error}"));
        })?;
        Ok((pages - end) * self.page_size() as u64)
    }

    /// Where the file may end: what lies behind is not allocated from now on.
    fn give_up_end(&self, pages: u64) -> Result<u64> {
        let interval = map_pages(self.page_size());
        let mut end = pages;
        loop {
            let map = PageId(1 + (end - 2) / interval * interval);
            // Whoever allocates from this map holds its latch exclusively, and asks then how long the file is.
            let page = self.fetch_shared(map)?;
            let mut last = (end - map.get()) as u32;
            while page.map_get(last - 1) & USED == 0 {
                last -= 1;
            }
            let all = last == 1 && map != PageId::FIRST_MAP;
            let wanted = match all {
                true => map.get(),
                false => map.get() + u64::from(last) + EXTENT_MIN,
            };
            if wanted >= end {
                return Ok(end);
            }
            self.forget_pages(map, wanted, end, all);
            end = wanted;
            if !all {
                return Ok(end);
            }
        }
    }

    /// The free pages `from..to` of this map are not there any more; nor is the map, if they are all of its pages.
    fn forget_pages(&self, map: PageId, from: u64, to: u64, all: bool) {
        let mut state = self.alloc.state.lock();
        let free = to - from - u64::from(all);
        state.pages = from;
        state.free -= free;
        if all {
            state.maps.pop();
        } else {
            let index = (map.get() - 1) / map_pages(self.page_size());
            state.maps[index as usize].free -= free as u32;
        }
    }
}
