//! What all handles on an open log share, and what every part of it may ask.
//!
//! Locks, in the order in which they may be taken: `prepare` (held over the making of a segment), `group` (who leads),
//! `buffer` (bytes and places), `failure`. None of them is ever held over a write or sync of a batch, and only
//! `prepare` over any input or output at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use afterimage_io::sync::{Mutex, WaitWord};
use afterimage_io::{File, Io};

use crate::buffer::{Buffer, Live};
use crate::choice::SyncChoice;
use crate::error::{Error, Result};
use crate::flusher::Flusher;
use crate::group::{Group, WORDS};
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::options::LogOptions;
use crate::positions::Publisher;
use crate::settings;
use crate::stats::{Counters, LogStats, LogTimes};
use crate::units::{micros, nanos};
use crate::wakers::Wakers;

/// What all handles on a log share.
pub(crate) struct Shared {
    pub io: Io,
    /// The directory of the segments.
    pub dir: PathBuf,
    pub identity: Identity,
    pub segment_bytes: u64,
    pub options: LogOptions,
    /// Those of them that may change while the log is open.
    pub changing: Changing,
    /// How flushes are made durable.
    pub choice: SyncChoice,
    pub buffer: Mutex<Buffer>,
    /// The sum of all reservations; grows only under the buffer's mutex.
    pub reserved: Arc<AtomicU64>,
    /// Copies for those who do not hold a mutex: durable <= written <= next.
    pub next: AtomicU64,
    pub written: AtomicU64,
    pub durable: AtomicU64,
    /// The durable LSN that the last watermark on disk tells.
    pub proven: AtomicU64,
    pub group: Mutex<Group>,
    /// How many have gone to sleep for the flush that has not begun. Changes under the group's mutex only.
    pub next_waiters: AtomicU32,
    /// What the waiters of a flush sleep on, by its epoch.
    pub words: [WaitWord; WORDS],
    /// What those sleep on who wait for the operating system only.
    pub written_word: WaitWord,
    /// Those who wait for the durable and for the written LSN without a thread of their own.
    pub durable_wakers: Wakers,
    pub written_wakers: Wakers,
    /// Tells other processes where the log stands.
    pub publisher: Publisher,
    /// How long a sync takes, in nanoseconds: a moving average.
    pub sync_nanos: AtomicU64,
    pub failed: AtomicBool,
    pub failure: Mutex<Option<String>>,
    /// What background work last met with, until it goes well again.
    pub background_error: Mutex<Option<String>>,
    pub prepare: Mutex<Preparer>,
    /// The closed segment that was read last.
    pub reading: Mutex<Option<(u64, File)>>,
    pub flusher: Arc<Flusher>,
    /// When the last batch became durable, in microseconds of the monotonic clock.
    pub last_flush: AtomicU64,
    pub counters: Counters,
    pub times: LogTimes,
}

/// The settings that may change while the log is open.
pub(crate) struct Changing {
    /// In nanoseconds.
    commit_delay: AtomicU64,
    commit_siblings: AtomicU64,
    max_wal_size: AtomicU64,
}

impl Changing {
    fn new(options: &LogOptions) -> Changing {
        Changing {
            commit_delay: AtomicU64::new(nanos(options.commit_delay)),
            commit_siblings: AtomicU64::new(options.commit_siblings as u64),
            max_wal_size: AtomicU64::new(options.max_wal_size),
        }
    }

    pub(crate) fn commit_delay(&self) -> Duration {
        Duration::from_nanos(self.commit_delay.load(Ordering::Relaxed))
    }

    pub(crate) fn commit_siblings(&self) -> u64 {
        self.commit_siblings.load(Ordering::Relaxed)
    }

    pub(crate) fn max_wal_size(&self) -> u64 {
        self.max_wal_size.load(Ordering::Relaxed)
    }
}

/// What `create` and `resume` have found out about the log that they hand over.
pub(crate) struct Opening {
    pub dir: PathBuf,
    pub identity: Identity,
    pub segment_bytes: u64,
    pub buffer: Buffer,
    /// Everything before this is durable, and this is what the newest watermark says.
    pub durable: u64,
    pub proven: u64,
    /// The number of the next segment to prepare.
    pub next_number: u64,
    pub choice: SyncChoice,
}

/// What whoever comes after the close is told.
pub(crate) const CLOSED: &str = "the log has been closed";

/// Who makes segments: its mutex is held while one is made.
#[derive(Debug)]
pub(crate) struct Preparer {
    /// The number of the next segment; only grows.
    pub next_number: u64,
    /// The directory could not be synced: that is not tried again and believed, so no more segments are made.
    pub broken: Option<String>,
    /// The disk was full at this time (monotonic, microseconds): background work lets it be for a while.
    pub full_at: Option<u64>,
    /// The segment with records that is being written, and since when it is known to have them.
    pub filling: Option<(u64, u64)>,
    /// Where the log ended when something was given up last, and how much is written between two such times: what the
    /// log will need until the next.
    pub given_up_at: u64,
    pub distance: u64,
}

impl Preparer {
    pub(crate) fn new(next_number: u64, next: u64) -> Preparer {
        Preparer {
            next_number,
            broken: None,
            full_at: None,
            filling: None,
            given_up_at: next,
            distance: 0,
        }
    }
}

impl Shared {
    /// The log, open, in the state that was found or made.
    pub(crate) fn open(io: &Io, options: &LogOptions, opening: Opening) -> Arc<Shared> {
        let next = opening.buffer.next;
        assert!(opening.durable <= next, "LOG-1: durable <= written <= next");
        let oldest = opening.buffer.live.values().next();
        let publisher = Publisher::open(io, &opening.dir, oldest.map_or(next, |live| live.first));
        let shared = Shared {
            io: io.clone(),
            dir: opening.dir,
            identity: opening.identity,
            segment_bytes: opening.segment_bytes,
            options: options.clone(),
            changing: Changing::new(options),
            choice: opening.choice,
            buffer: Mutex::new(io, opening.buffer),
            reserved: Arc::new(AtomicU64::new(0)),
            next: AtomicU64::new(next),
            written: AtomicU64::new(next),
            durable: AtomicU64::new(opening.durable),
            proven: AtomicU64::new(opening.proven),
            group: Mutex::new(io, Group::default()),
            next_waiters: AtomicU32::new(0),
            words: std::array::from_fn(|_| WaitWord::new(io)),
            written_word: WaitWord::new(io),
            durable_wakers: Wakers::new(io),
            written_wakers: Wakers::new(io),
            publisher,
            sync_nanos: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(io, None),
            background_error: Mutex::new(io, None),
            prepare: Mutex::new(io, Preparer::new(opening.next_number, next)),
            reading: Mutex::new(io, None),
            flusher: Flusher::new(io, options.wal_writer_delay),
            last_flush: AtomicU64::new(micros(io.now())),
            counters: Counters::default(),
            times: LogTimes::default(),
        };
        Arc::new(shared)
    }

    /// Refuses everything after a stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::Failed {
                reason: self.reason(),
            });
        }
        Ok(())
    }

    /// See `Log::set`.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<()> {
        let setting = LogOptions::setting(name)?;
        let value = setting.parse(value)?;
        let changing = match setting.name {
            "commit_delay" => &self.changing.commit_delay,
            "commit_siblings" => &self.changing.commit_siblings,
            "max_wal_size" => &self.changing.max_wal_size,
            _ => return Err(settings::stays(setting)),
        };
        changing.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Refuses to move the log's end after a stop, and once the log is being closed.
    pub(crate) fn admit(&self, buffer: &Buffer) -> Result<()> {
        self.check()?;
        if buffer.sealed {
            return Err(Error::Failed {
                reason: CLOSED.into(),
            });
        }
        Ok(())
    }

    /// From here on nothing is appended any more; what was appended can still become durable.
    pub(crate) fn seal(&self) {
        self.buffer.lock().sealed = true;
    }

    /// Why the log stopped.
    pub(crate) fn reason(&self) -> String {
        self.failure
            .lock()
            .clone()
            .unwrap_or_else(|| "it is stopping".into())
    }

    pub(crate) fn oldest(&self) -> u64 {
        let buffer = self.buffer.lock();
        buffer
            .live
            .values()
            .next()
            .map_or(buffer.next, |live| live.first)
    }

    /// The segment that follows `number`: its number and first LSN.
    pub(crate) fn successor(&self, number: u64) -> Option<(u64, u64)> {
        self.buffer
            .lock()
            .live
            .range(number + 1..)
            .next()
            .map(|(number, live)| (*number, live.first))
    }

    /// See `Log::stats`.
    pub(crate) fn stats(&self) -> LogStats {
        let (durable, written) = (
            self.durable.load(Ordering::Acquire),
            self.written.load(Ordering::Acquire),
        );
        let buffer = self.buffer.lock();
        assert!(
            durable <= written && written <= buffer.next,
            "LOG-1: durable <= written <= next"
        );
        let oldest = buffer
            .live
            .values()
            .next()
            .map_or(buffer.next, |live: &Live| live.first);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            records: buffer.records,
            bytes: buffer.bytes,
            writes: count(&self.counters.writes),
            syncs: count(&self.counters.syncs),
            bytes_written: count(&self.counters.bytes_written),
            segments_prepared: count(&self.counters.prepared),
            segments_recycled: count(&self.counters.recycled),
            segments_removed: count(&self.counters.removed),
            flushes: count(&self.counters.flushes),
            flush_commits: count(&self.counters.flush_commits),
            flush_writers: count(&self.counters.flush_writers),
            wal_buffers_full: count(&self.counters.buffers_full),
            slots_lost: count(&self.counters.slots_lost),
            sync_micros: count(&self.sync_nanos) / 1000,
            slowest_sync_micros: micros(self.times.sync.longest()),
            background_error: self.background_error.lock().clone(),
            segments: buffer.live.len() as u64,
            spare_segments: buffer.prepared.len() as u64,
            segment_bytes: self.segment_bytes,
            sync_choice: self.choice,
            oldest_lsn: Lsn::at(oldest),
            durable_lsn: Lsn::at(durable),
            written_lsn: Lsn::at(written),
            next_lsn: Lsn::at(buffer.next),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // After a simulated crash nothing may block or write; the flusher's thread has unwound by itself.
        if !self.io.has_crashed() {
            self.flusher.close();
        }
    }
}
