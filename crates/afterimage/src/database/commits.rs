//! Commits as their callers see them: at which level each was acknowledged, and how long that took. Each lane of threads has
//! counters of its own, so that those who commit at the same time do not meet in them.

use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::{Durations, Histogram};

use crate::options::Durability;

/// What a commit was acknowledged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Memory,
    Os,
    Disk,
    /// A ticket: its holder learns later.
    Ticket,
    /// Nothing: rows of unlogged tables alone.
    Unlogged,
}

impl From<Durability> for Level {
    fn from(durability: Durability) -> Level {
        match durability {
            Durability::Memory => Level::Memory,
            Durability::Os => Level::Os,
            _ => Level::Disk,
        }
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Lane {
    levels: [AtomicU64; 5],
    took: Durations,
}

/// The counters.
pub(super) struct Commits {
    io: Io,
    lanes: Box<[Lane]>,
}

impl Commits {
    pub(super) fn new(io: &Io) -> Commits {
        Commits {
            io: io.clone(),
            lanes: (0..io.lanes()).map(|_| Lane::default()).collect(),
        }
    }

    fn lane(&self) -> &Lane {
        &self.lanes[self.io.lane(self.lanes.len())]
    }

    /// When a commit at this level begins; `None` where nobody will wait: how long that takes is not worth two looks at the clock.
    pub(super) fn begin(&self, durability: Durability) -> Option<Duration> {
        (durability != Durability::Memory && !cfg!(unmeasured)).then(|| self.io.now())
    }

    /// Counts a commit that is acknowledged now, and was begun at `began`, as [`begin`](Commits::begin) has it. One that is not
    /// logged, rows of unlogged tables, is lost in a crash whatever it asked for.
    pub(super) fn acknowledged(
        &self,
        durability: Durability,
        logged: bool,
        began: Option<Duration>,
    ) {
        if cfg!(unmeasured) {
            return;
        }
        let lane = self.lane();
        let level = match logged {
            true => Level::from(durability),
            false => Level::Unlogged,
        };
        lane.levels[level as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(began) = began {
            lane.took.add(self.io.now().saturating_sub(began));
        }
    }

    /// Counts a commit for which a ticket is given.
    pub(super) fn ticketed(&self) {
        self.lane().levels[Level::Ticket as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many at each level.
    pub(super) fn by_level(&self) -> [u64; 5] {
        use Level::{Disk, Memory, Os, Ticket, Unlogged};
        [Memory, Os, Disk, Ticket, Unlogged].map(|level| {
            let counts = self.lanes.iter().map(|lane| &lane.levels[level as usize]);
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        })
    }

    /// How long those took that were begun with a look at the clock.
    pub(super) fn took(&self) -> Histogram {
        Durations::told(self.lanes.iter().map(|lane| &lane.took))
    }
}
