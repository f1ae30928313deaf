//! Following a log that this process has open: record by record, waiting for those to come, in a thread or as a task.
//!
//! A follower sees what is durable, so nothing that it has shown is taken back by a crash; or, if it was asked for
//! that, what is written, which a loss of power may take back.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use afterimage_io::OpenMode;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::Ordering;

use super::Wal;
use super::record::{Record, records_of};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::reader::Reader;
use crate::segment::{Header, HeaderFound, file_name};
use crate::shared::Shared;
use crate::wakers::{Parker, Wakers};

/// How far a follower sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Horizon {
    /// What is durable: nothing that was seen is ever taken back.
    #[default]
    Durable,
    /// What was handed to the operating system: sooner, but a loss of power may take it back.
    Written,
}

impl Wal {
    /// Follows the log from `from` on, an LSN or a [`Record::next`]: the records there are, then those to come, as they
    /// become durable (or written). Each follower has its own place; any number may follow.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use std::time::Duration;
    /// # use afterimage_io::sim::Sim;
    /// use afterimage_log::{Horizon, LogOptions, Wal};
    ///
    /// # fn main() -> Result<(), afterimage_log::Error> {
    /// # let io = Sim::new(1).io();
    /// # let options = LogOptions { background: false, ..LogOptions::default() };
    /// let wal = Wal::open(&io, Path::new("events"), &options)?;
    /// let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
    /// let ticket = wal.append(b"one")?;
    /// assert_eq!(follower.next_timeout(Duration::ZERO)?, None, "not durable yet");
    /// ticket.wait()?;
    /// assert_eq!(follower.next()?.payload, b"one");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn follow(&self, from: Lsn, horizon: Horizon) -> Follower {
        let log = Arc::clone(&self.log().shared);
        let id = wakers(&log, horizon).new_id();
        Follower {
            reader: Reader::new(&log, from),
            parker: Arc::new(Parker::new(&log.io)),
            position: from,
            pending: Vec::new(),
            log,
            horizon,
            id,
        }
    }
}

/// Reads records as they come. Made by [`Wal::follow`].
///
/// It holds no log back: what is given up before it was read answers with `NotFound`, which names the oldest that is
/// left. A slot is what holds log back.
pub struct Follower {
    log: Arc<Shared>,
    horizon: Horizon,
    reader: Reader,
    /// What is left of the last frame, in reverse order.
    pending: Vec<Record>,
    position: Lsn,
    parker: Arc<Parker>,
    id: u64,
}

fn wakers(log: &Shared, horizon: Horizon) -> &Wakers {
    match horizon {
        Horizon::Durable => &log.durable_wakers,
        Horizon::Written => &log.written_wakers,
    }
}

impl Follower {
    /// Waits for the next record.
    ///
    /// # Errors
    ///
    /// `Failed` once the log has stopped or was closed and everything before was shown; `NotFound` where the record was
    /// given up before it was read; `Cut`, once, where it begins at a position that the log was cut before: the next call
    /// goes on behind the cut; `Corruption`, `Io`.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends; `records` is the iterator"
    )]
    pub fn next(&mut self) -> Result<Record> {
        let waker = Waker::from(Arc::clone(&self.parker));
        loop {
            if let Some(record) = self.look(&waker)? {
                return Ok(record);
            }
            self.parker.park(None);
        }
    }

    /// As [`Follower::next`], but waits no longer than `timeout`; none where nothing came.
    ///
    /// # Errors
    ///
    /// As [`Follower::next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record>> {
        let deadline = self.log.io.now().saturating_add(timeout);
        let waker = Waker::from(Arc::clone(&self.parker));
        loop {
            let found = self.look(&waker)?;
            if found.is_some() || !self.parker.park(Some(deadline)) {
                return Ok(found);
            }
        }
    }

    /// As [`Follower::next`], on whatever runtime polls it. Waiting holds no thread; what is already there is read
    /// from the file, which may wait for the disk. Dropping the future loses no record.
    ///
    /// # Errors
    ///
    /// As [`Follower::next`].
    pub async fn next_async(&mut self) -> Result<Record> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// What [`Follower::next_async`] and a `Stream` are made of.
    ///
    /// # Errors
    ///
    /// As [`Follower::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Record>> {
        match self.look(context.waker()).transpose() {
            Some(record) => Poll::Ready(record),
            None => Poll::Pending,
        }
    }

    /// The records as an iterator that waits for each; it ends after an error.
    pub fn records(&mut self) -> impl Iterator<Item = Result<Record>> + '_ {
        let mut ended = false;
        std::iter::from_fn(move || {
            let next = (!ended).then(|| self.next())?;
            ended = next.is_err();
            Some(next)
        })
    }

    /// Where to go on when all that was shown is done with: the [`Record::next`] of the last record.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// The next record, if it can be seen by now; otherwise `waker` is woken when one may be.
    fn look(&mut self, waker: &Waker) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.pending.pop() {
                self.position = record.next;
                return Ok(Some(record));
            }
            let reached = self.reached();
            self.reader.extend(reached);
            match self.reader.advance() {
                Ok(Some(frame)) => {
                    self.pending = records_of(frame)?;
                    self.pending.reverse();
                    continue;
                }
                Ok(None) => {}
                Err(e) => {
                    self.went_wrong(e)?;
                    continue;
                }
            }
            wakers(&self.log, self.horizon).register(self.id, reached + 1, waker);
            let still = || planted::active(Bug::LookedTooEarly) || self.reached() == reached;
            if still() {
                // What became durable before the stop is shown before the stop is told.
                let stopped = self.log.check();
                if still() {
                    return stopped.map(|()| None);
                }
            }
        }
    }

    fn reached(&self) -> u64 {
        let word = match self.horizon {
            Horizon::Durable => &self.log.durable,
            Horizon::Written => &self.log.written,
        };
        word.load(Ordering::SeqCst)
    }

    /// Reading failed: whether it goes on elsewhere, and if not, why.
    fn went_wrong(&mut self, e: Error) -> Result<()> {
        // After a stop the files may be another process's.
        self.log.check()?;
        if let Error::Cut { cut, next, .. } = e {
            self.position = cut;
            self.reader.jump(next.get());
            return Err(e);
        }
        let at = self.reader.position();
        let oldest = self.log.oldest();
        if at.get() >= oldest || !matches!(e, Error::NotFound { .. } | Error::Corruption { .. }) {
            return Err(e);
        }
        if let Some(first) = self.behind_the_gap(at, oldest)? {
            self.reader.jump(first);
            return Ok(());
        }
        let what = format!("it was given up; the oldest record kept is at LSN {oldest}");
        Err(Error::NotFound { lsn: at, what })
    }

    /// Where to go on if everything before the oldest segment has been read and nothing lies between.
    fn behind_the_gap(&self, at: Lsn, oldest: u64) -> Result<Option<u64>> {
        let log = &self.log;
        let number = oldest / log.segment_bytes;
        let path = log
            .dir
            .join(file_name(log.identity.timeline_ordinal, number));
        let file = log
            .io
            .open(&path, OpenMode::Read)
            .map_err(|e| Error::io("open", &path, 0, e))?;
        match Header::read(&file, &log.identity, number, log.segment_bytes)? {
            HeaderFound::Good(header) if header.previous_end == at.get() => {
                Ok(Some(header.first_lsn()))
            }
            _ => Ok(None),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // In a simulated world that has lost its power nobody takes a lock any more.
        if !self.log.io.has_crashed() {
            wakers(&self.log, self.horizon).forget(self.id);
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Follower({:?} at {})", self.horizon, self.position)
    }
}
