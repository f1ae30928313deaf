//! Copies of inner pages, a set for each lane of threads: a descent looks at them in place of the pages, which it then need not latch. A latch
//! is a write to memory that all threads write, at every level of the tree and at its root by everybody.
//!
//! A copy is good as long as its frame's version is the one that it was copied at. A descent by copies ends in a *guess*, which is checked
//! when the page that it led to is latched (optimistic lock coupling: Leis et al., "The ART of Practical Synchronization", DaMoN 2016; by
//! copies, because reading bytes that somebody writes is not possible in Rust).

use std::collections::HashMap;

use afterimage_io::Io;
use afterimage_io::sync::{Mutex, MutexGuard};
use foldhash::fast::FixedState;

use super::Counter;
use crate::ids::PageId;
use crate::page::{Fan, Page};

/// The pages of all lanes together are at most such a part of the pool's, or one each; with heads and children beside them they take up to
/// twice as much.
const POOL_PART: usize = 16;
/// Memory of one lane, at most: inner pages of some ten millions of rows.
const LANE_BYTES_MAX: usize = 8 << 20;
/// Where there is no room for all, one page in so many that are offered takes the place of another: a set that is stable serves
/// better than one that is always copied.
const TURN: u32 = 64;

pub(super) struct Copies {
    io: Io,
    lanes: Box<[Mutex<Lane>]>,
    /// Descents that found somebody in their lane.
    beside: Beside,
}

/// Not in the memory that every descent reads.
#[derive(Default)]
#[repr(align(64))]
struct Beside(Counter);

/// The copies of some threads.
pub(super) struct Lane {
    copies: HashMap<PageId, Copy, FixedState>,
    most: usize,
    offers: u32,
    /// Descents that began here.
    descents: u64,
}

pub(super) struct Copy {
    pub(super) frame: usize,
    pub(super) version: u64,
    pub(super) fan: Fan,
}

impl Copies {
    pub(super) fn new(io: &Io, frames: usize, page_size: usize) -> Copies {
        // A model checker has few primitives.
        let lanes = if cfg!(any(loom, shuttle)) {
            1
        } else {
            io.lanes()
        };
        let most = (LANE_BYTES_MAX / page_size).min(frames / POOL_PART / lanes);
        let lane = || Lane {
            copies: HashMap::default(),
            most: most.max(1),
            offers: 0,
            descents: 0,
        };
        Copies {
            io: io.clone(),
            lanes: (0..lanes).map(|_| Mutex::new(io, lane())).collect(),
            beside: Beside::default(),
        }
    }

    /// The calling thread's, if nobody is in it; who finds one goes by the pages. To be held briefly, and over no latch that has to be waited for.
    pub(super) fn lane(&self) -> Option<MutexGuard<'_, Lane>> {
        self.lanes[self.io.lane(self.lanes.len())].try_lock()
    }

    /// As [`Copies::lane`], for a descent, which is counted.
    pub(super) fn descend(&self) -> Option<MutexGuard<'_, Lane>> {
        self.count(1)
    }

    /// Counts descents.
    pub(super) fn count(&self, descents: u64) -> Option<MutexGuard<'_, Lane>> {
        let mut lane = self.lane();
        match &mut lane {
            Some(lane) => lane.descents += descents,
            None => self.beside.0.add(descents),
        }
        lane
    }

    /// Descents until now.
    pub(super) fn descents(&self) -> u64 {
        let in_lanes = self.lanes.iter().map(|lane| lane.lock().descents);
        in_lanes.sum::<u64>() + self.beside.0.get()
    }
}

impl Lane {
    pub(super) fn get(&self, page: PageId) -> Option<&Copy> {
        self.copies.get(&page)
    }

    /// Keeps a copy of a page, which the caller holds latched, if there is room.
    pub(super) fn offer(&mut self, id: PageId, frame: usize, version: u64, page: &Page) {
        if let Some(copy) = self.copies.get_mut(&id) {
            if (copy.frame, copy.version) != (frame, version) {
                copy.fan.copy_from(page);
                (copy.frame, copy.version) = (frame, version);
            }
            return;
        }
        if self.copies.len() >= self.most {
            self.offers = self.offers.wrapping_add(1);
            if !self.offers.is_multiple_of(TURN) {
                return;
            }
            // Another one each time, so that those of pages that are gone go too.
            let turn = (self.offers / TURN) as usize % self.copies.len().max(1);
            if let Some(&other) = self.copies.keys().nth(turn) {
                self.copies.remove(&other);
            }
        }
        let fan = Fan::of(page);
        self.copies.insert(
            id,
            Copy {
                frame,
                version,
                fan,
            },
        );
    }
}
