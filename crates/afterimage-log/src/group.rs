//! Who flushes, and what is under way: the state that the group's mutex guards.
//!
//! A flush has two halves. *Begin* closes the batch and writes it: one at a time, in log order. *Sync* makes it durable:
//! several may be under way at once, each through an open file description of its own, because the system reports a
//! failed write-back once to each of them. They end in any order; the durable LSN passes them in log order.

use std::collections::VecDeque;
use std::sync::Arc;

use afterimage_io::planted::{self, Bug};
use afterimage_io::{File, Io, OpenMode};

use crate::error::{Error, Result};
use crate::options::MOST_FLIGHTS;
use crate::segment::OpenSegment;

/// One word for each flush under way, one for the next: no two of them share a word.
pub(crate) const WORDS: usize = MOST_FLIGHTS + 2;

/// Who leads, what is under way, who waits for the next.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Somebody closes and writes a batch, or has been chosen to.
    pub leading: bool,
    /// The leader has been chosen among the sleepers and has not begun.
    pub handed: bool,
    /// Counts the flushes; chooses the word.
    pub epoch: u64,
    /// Flushes that have begun and are not yet published, oldest first.
    pub flights: VecDeque<Flight>,
    /// How many commits the next flush would carry if all came back who were in the last one, and whether to wait for them.
    pub gather: Gather,
    /// How many sleep until the operating system has their bytes.
    pub written_waiters: u32,
    /// Files with bytes that were written without a sync, oldest first, and what their watermarks prove.
    pub unsynced: Vec<Arc<OpenSegment>>,
    pub unsynced_proves: u64,
    /// When the last flush began, in nanoseconds of the monotonic clock.
    pub began: u64,
    lanes: Vec<Lane>,
}

/// One flush under way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub epoch: u64,
    /// The exclusive end of what it makes durable.
    pub end: u64,
    /// What is proven once it is durable.
    pub proves: u64,
    /// How many commits it carries, and how many of them sleep until it is done.
    pub commits: u32,
    pub waiters: u32,
    /// Whether it is told as a flush for commits.
    pub counted: bool,
    pub synced: bool,
}

/// Whether it pays to wait until those who were in the last flush have come back (decision 0017).
#[derive(Debug, Default)]
pub(crate) struct Gather {
    pub expected: u32,
    /// So many flushes are not waited for, because the last time they did not come; more each time.
    skip: u32,
    penalty: u32,
}

impl Gather {
    /// Whether the leader of the next flush waits for `expected` commits.
    pub(crate) fn wanted(&mut self, have: u32) -> bool {
        if self.expected <= have {
            return false;
        }
        self.skip = self.skip.saturating_sub(1);
        self.skip == 0
    }

    /// All of them came, or not.
    pub(crate) fn tell(&mut self, came: bool) {
        self.penalty = if came {
            0
        } else {
            (2 * self.penalty + 1).min(MOST_SKIPPED)
        };
        self.skip = self.penalty;
    }
}

/// How many flushes are done without waiting after waiting has been in vain again and again.
const MOST_SKIPPED: u32 = 255;

impl Group {
    /// The flush under way that covers everything before `upto`.
    pub(crate) fn covering(&mut self, upto: u64) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.end >= upto)
    }

    /// Takes a lane that nobody syncs through.
    pub(crate) fn take_lane(&mut self) -> Lane {
        // The segments' own files first: with one flush at a time no other is ever opened.
        match self.lanes.iter().position(|lane| lane.main) {
            Some(main) => self.lanes.swap_remove(main),
            None if self.flights.len() <= 1 || planted::active(Bug::DescriptionShared) => {
                Lane::main()
            }
            None => self.lanes.pop().unwrap_or_default(),
        }
    }

    pub(crate) fn give_back(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }
}

/// The right to sync, through file descriptions that no other flush uses at the same time.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    main: bool,
    files: Vec<(u64, File)>,
}

impl Lane {
    fn main() -> Lane {
        Lane {
            main: true,
            files: Vec::new(),
        }
    }

    /// To be called before anything is written that is synced through this lane: a description that is opened after
    /// another one was told that the file's pages are lost is told nothing.
    pub(crate) fn open(&mut self, io: &Io, segments: &[Arc<OpenSegment>]) -> Result<()> {
        let oldest = segments.first().map_or(0, |segment| segment.number);
        self.files.retain(|(number, _)| *number >= oldest);
        for segment in segments {
            if self.main || self.files.iter().any(|(n, _)| *n == segment.number) {
                continue;
            }
            let file = io.open(&segment.path, OpenMode::ReadWrite);
            let file = file.map_err(|e| Error::io("open", &segment.path, 0, e))?;
            self.files.push((segment.number, file));
        }
        Ok(())
    }

    /// Makes durable what was written to the segment before the call.
    pub(crate) fn sync(&self, segment: &OpenSegment) -> Result<()> {
        let own = self.files.iter().find(|(n, _)| *n == segment.number);
        let file = own.map_or(&segment.file, |(_, file)| file);
        let synced = file.sync();
        synced.map_err(|e| Error::io("sync", &segment.path, 0, e))
    }
}
