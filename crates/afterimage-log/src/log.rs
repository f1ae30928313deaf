//! `Log`: the open log, and the way of an append.
//!
//! ```text
//! reserve (space, may make a segment) -> append (buffer, under one short mutex) -> wait_durable (sync: group commit)
//! ```
//!
//! The state is shared by all handles. Locks, in the order in which they may be taken: `prepare` (held over the making
//! of a segment), `group` (who leads), `buffer` (bytes and places), `failure`. None of them is ever held over a write
//! or sync of a batch, and only `prepare` over any input or output at all.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use afterimage_io::sync::{Mutex, WaitWord};
use afterimage_io::{File, Io, Progress};

use crate::buffer::{Buffer, Live};
use crate::control::{Control, Identity};
use crate::error::{Error, Result};
use crate::examine::{self, Examination};
use crate::frame::{self, FrameKind, HEAD, TIMED_HEAD};
use crate::lsn::Lsn;
use crate::options::{LogOptions, max_frame};
use crate::reader::{Frame, Reader};
use crate::scan::ScanReader;
use crate::space::{self, Reservation};
use crate::spare::Preparer;
use crate::stats::{Counters, LogStats};
use crate::sync::Group;
use crate::tail::Proof;
use crate::ticket::{Flusher, Ticket};
use crate::{create, resume, verify};

/// Where an appended record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first byte.
    pub lsn: Lsn,
    /// Its exclusive end: what to wait for.
    pub end: Lsn,
}

/// An open log. Clones are handles on the same log.
///
/// ```
/// use afterimage_io::sim::Sim;
/// use afterimage_log::{Identity, Log, LogOptions};
///
/// # fn main() -> Result<(), afterimage_log::Error> {
/// let io = Sim::new(1).io();
/// let identity = Identity { database_id: 1, timeline_id: 2, timeline_ordinal: 1 };
/// let dir = std::path::Path::new("");
/// let log = Log::create(&io, dir, &identity, 1, &LogOptions::default())?;
/// let mut space = log.reserve(Log::frame_bytes(5, false))?;
/// let record = log.append(&mut space, b"hello", false, |_lsn, _time| ())?;
/// log.wait_durable(record.end)?;
/// assert_eq!(log.read(record.lsn)?.payload, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles on a log share.
pub(crate) struct Shared {
    pub io: Io,
    /// The directory of the segments.
    pub dir: PathBuf,
    pub identity: Identity,
    pub segment_bytes: u64,
    pub options: LogOptions,
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
    /// What the waiters of even and of odd flushes sleep on.
    pub words: [WaitWord; 2],
    pub failed: AtomicBool,
    pub failure: Mutex<Option<String>>,
    pub prepare: Mutex<Preparer>,
    /// The closed segment that was read last.
    pub reading: Mutex<Option<(u64, File)>>,
    pub flusher: Arc<Flusher>,
    /// When the oldest commit that nobody waits for was appended, in microseconds of the monotonic clock, plus one.
    pub memory_since: AtomicU64,
    /// When the last batch became durable, in microseconds of the monotonic clock.
    pub last_flush: AtomicU64,
    pub counters: Counters,
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
}

/// How much may wait in the buffer before a reservation writes it out first.
const BUFFER_LIMIT: u64 = 4 << 20;

impl Log {
    pub(crate) fn open(io: &Io, options: &LogOptions, opening: Opening) -> Log {
        let next = opening.buffer.next;
        assert!(opening.durable <= next, "LOG-1: durable <= written <= next");
        let shared = Shared {
            io: io.clone(),
            dir: opening.dir,
            identity: opening.identity,
            segment_bytes: opening.segment_bytes,
            options: options.clone(),
            buffer: Mutex::new(io, opening.buffer),
            reserved: Arc::new(AtomicU64::new(0)),
            next: AtomicU64::new(next),
            written: AtomicU64::new(next),
            durable: AtomicU64::new(opening.durable),
            proven: AtomicU64::new(opening.proven),
            group: Mutex::new(io, Group::default()),
            words: [WaitWord::new(io), WaitWord::new(io)],
            failed: AtomicBool::new(false),
            failure: Mutex::new(io, None),
            prepare: Mutex::new(io, Preparer::new(opening.next_number)),
            reading: Mutex::new(io, None),
            flusher: Flusher::new(io),
            memory_since: AtomicU64::new(0),
            last_flush: AtomicU64::new(micros(io.now())),
            counters: Counters::default(),
        };
        Log {
            shared: Arc::new(shared),
        }
    }

    /// Makes a new, empty log in `dir/log`; durable when this returns. `dir` must exist.
    ///
    /// What an interrupted creation left there is replaced; a log with records is not.
    ///
    /// # Errors
    ///
    /// `BadOption` for settings outside their bounds, `AlreadyExists` where there is a log, `DiskFull`, `Io`.
    pub fn create(
        io: &Io,
        dir: &Path,
        identity: &Identity,
        epoch: u64,
        options: &LogOptions,
    ) -> Result<Log> {
        create::create(io, dir, identity, epoch, options)
    }

    /// Looks at a log that is not open, from `scan_from` (a record boundary that is known to be durable, the redo
    /// point for example) to its end, and changes nothing. `proofs` says who else knew the log durable, up to where.
    ///
    /// # Errors
    ///
    /// `Corruption` where the log is damaged inside its durable part: LSN, file, offset and advice are named.
    /// `Unsupported` where a newer version wrote it; `Io` where it cannot be read.
    pub fn examine(
        io: &Io,
        dir: &Path,
        control: &Control,
        scan_from: Lsn,
        proofs: &[(Proof, Lsn)],
    ) -> Result<Examination> {
        examine::examine(io, dir, control, scan_from, proofs)
    }

    /// As [`Log::examine`], but from the oldest record there is: also what no recovery needs any more is checked.
    ///
    /// # Errors
    ///
    /// As [`Log::examine`]; a segment that is missing in the middle is `Corruption`.
    pub fn verify(
        io: &Io,
        dir: &Path,
        control: &Control,
        scan_from: Lsn,
        proofs: &[(Proof, Lsn)],
    ) -> Result<Examination> {
        verify::verify(io, dir, control, scan_from, proofs)
    }

    /// Opens an examined log for appending.
    ///
    /// After a clean stop it goes on where it ended. Otherwise what is not proven to be on disk is rewritten, a torn
    /// end is cut off, and appending goes on in a new segment of the epoch in `control`, which the caller has raised
    /// and made durable before. A crash anywhere in here is recovered by examining and resuming again.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`: nothing was lost, and it may be tried again. `BadOption` for settings outside their bounds.
    pub fn resume(
        io: &Io,
        dir: &Path,
        control: &Control,
        found: Examination,
        options: &LogOptions,
    ) -> Result<Log> {
        resume::resume(io, dir, control, found, options)
    }

    /// Reads every frame, of every kind, of a log that nobody has open; from the oldest or from `from` on. Writes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` where no segment holds `from`; `Unsupported`, `Io`.
    pub fn scan(io: &Io, dir: &Path, control: &Control, from: Option<Lsn>) -> Result<ScanReader> {
        ScanReader::open(io, dir, control, from)
    }

    /// What one appended record takes in the log, in bytes: what to reserve for it.
    #[must_use]
    pub const fn frame_bytes(payload_len: usize, timed: bool) -> usize {
        payload_len + if timed { TIMED_HEAD } else { HEAD }
    }

    /// The largest payload, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        max_frame(self.shared.segment_bytes) as usize - TIMED_HEAD
    }

    /// Takes log space for records of `bytes` in all, the sum of their [`Log::frame_bytes`]. May make a segment, and
    /// may write out a full buffer; so it is never to be called with a latch held. Waits for input and output only.
    ///
    /// # Errors
    ///
    /// `DiskFull` where no segment can be made; nothing else is harmed, and it works again when there is room.
    /// `TooLarge` for more than about a thousand segments. `Failed` after a stop; `Io` where a segment could not be made.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation> {
        self.shared.reserve(bytes as u64)
    }

    /// Appends one record; it is in memory then. `inside` is called with the record's LSN and its time (0 where it
    /// is not timed) while nobody else can append: it must be short, and must not call the log.
    ///
    /// A time never runs backwards in LSN order.
    ///
    /// # Errors
    ///
    /// `TooLarge` for a payload above [`Log::max_payload`]; `Failed` after a stop.
    ///
    /// # Panics
    ///
    /// Where the reservation holds less than the record's [`Log::frame_bytes`].
    pub fn append(
        &self,
        reservation: &mut Reservation,
        payload: &[u8],
        timed: bool,
        inside: impl FnOnce(Lsn, u64),
    ) -> Result<Appended> {
        let shared = &*self.shared;
        let len = Log::frame_bytes(payload.len(), timed);
        if payload.len() > self.max_payload() {
            return Err(Error::TooLarge {
                len: payload.len(),
                max: self.max_payload(),
            });
        }
        // The expensive part, and the clock, before the mutex.
        let word = frame::word(FrameKind::Data, len, timed);
        let crc = frame::body_crc(word, payload);
        let now = if timed { shared.io.wall_clock() } else { 0 };
        let len = len as u64;

        let mut buffer = shared.buffer.lock();
        shared.check()?;
        let slack = buffer
            .capacity()
            .saturating_sub(shared.reserved.load(Ordering::Acquire));
        reservation.spend(len);
        let (lsn, seed) = buffer.place(len, slack);
        let time = timed.then(|| buffer.last_time.max(now));
        buffer.last_time = time.unwrap_or(buffer.last_time);
        frame::push(buffer.tail(), word, crc, (lsn, seed), time, payload);
        buffer.advance(len);
        buffer.records += 1;
        buffer.last_record_end = buffer.next;
        shared.next.store(buffer.next, Ordering::Release);
        inside(Lsn::at(lsn), time.unwrap_or(0));
        Ok(Appended {
            lsn: Lsn::at(lsn),
            end: Lsn::at(lsn + len),
        })
    }

    /// Where the next record will stand, or before: the exclusive end of all that was appended.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        Lsn::at(self.shared.next.load(Ordering::Acquire))
    }

    /// Everything before this has been handed to the operating system.
    #[must_use]
    pub fn written_lsn(&self) -> Lsn {
        Lsn::at(self.shared.written.load(Ordering::Acquire))
    }

    /// Everything before this is durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        Lsn::at(self.shared.durable.load(Ordering::Acquire))
    }

    /// The position of the oldest record that can still be read.
    #[must_use]
    pub fn oldest_lsn(&self) -> Lsn {
        Lsn::at(self.shared.oldest())
    }

    /// Waits until everything before `upto`, an exclusive end, is durable. Whoever finds nobody flushing flushes for
    /// all that have gathered.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown` where the log stops, or had stopped, before that. `NotFound` for a position that was never
    /// handed out.
    pub fn wait_durable(&self, upto: Lsn) -> Result<()> {
        self.shared.flush_to(upto.get())?;
        self.shared
            .io
            .note(afterimage_io::Note::Acknowledged { upto: upto.get() });
        Ok(())
    }

    /// A promise for everything before `end`, to be asked or waited on later. It is kept even if nobody waits: by a
    /// thread that is started when needed, or, without `LogOptions::background`, by [`Log::step`].
    pub fn ticket(&self, end: Lsn) -> Ticket {
        Ticket::new(self.clone(), end)
    }

    /// Reads the record at `lsn`, whether it is on disk or still in memory.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no record (any more), `Corruption` where its bytes are damaged, `Io`.
    pub fn read(&self, lsn: Lsn) -> Result<Frame> {
        self.shared.read(lsn)
    }

    /// Reads records forward from the record boundary `from` up to where the log ends now.
    #[must_use]
    pub fn reader(&self, from: Lsn) -> Reader {
        Reader::new(self.clone(), from)
    }

    /// Gives up the segments that lie wholly before `lsn`; they get a future number or are removed. Answers how many.
    /// Only durable log is given up. That nobody needs it any more is for the caller to know.
    ///
    /// # Errors
    ///
    /// `Io`: appending goes on; the file is found again at the next open.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<u64> {
        self.shared.truncate_before(lsn.get())
    }

    /// Stops the log for ever, because something it must not outlive went wrong elsewhere. The first reason stays.
    pub fn fail(&self, reason: String) {
        self.shared.stop(reason);
    }

    /// Why the log stopped, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().clone()
    }

    /// One step of background work: makes durable what has waited in memory for `wal_writer_delay`, or what tickets
    /// wait for; writes a watermark when the log is idle, so that its last batch can be told from a torn one;
    /// prepares a segment. To be called every `wal_writer_delay` or more often.
    ///
    /// # Errors
    ///
    /// `Failed` after a stop; `Io` where a segment could not be made. A full disk is no error here.
    pub fn step(&self) -> Result<Progress> {
        self.shared.step()
    }

    /// Something was appended that nobody waits for: it is to be durable `wal_writer_delay` from now.
    pub fn note_memory_commit(&self) {
        let now = micros(self.shared.io.now()) + 1;
        let _ =
            self.shared
                .memory_since
                .compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Counters and positions.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.shared.stats()
    }
}

impl Shared {
    /// Refuses everything after a stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::Failed {
                reason: self.reason(),
            });
        }
        Ok(())
    }

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

    fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let max = space::largest_reservation(self.segment_bytes);
        if bytes > max {
            return Err(Error::TooLarge {
                len: bytes as usize,
                max: max as usize,
            });
        }
        loop {
            self.check()?;
            let made = self.counters.made.load(Ordering::Acquire);
            let full = {
                let buffer = self.buffer.lock();
                let reserved = self.reserved.load(Ordering::Acquire);
                let full = buffer.waiting() > BUFFER_LIMIT;
                if !full && buffer.capacity() >= reserved + bytes + space::SLACK {
                    self.reserved.fetch_add(bytes, Ordering::AcqRel);
                    return Ok(Reservation::new(Arc::clone(&self.reserved), bytes));
                }
                full
            };
            if full {
                self.counters.buffers_full.fetch_add(1, Ordering::Relaxed);
                self.flush_to(self.next.load(Ordering::Acquire))
                    .or_else(|_| self.check())?;
            } else {
                self.prepare_one(made)?;
            }
        }
    }

    fn step(&self) -> Result<Progress> {
        self.check()?;
        let now = micros(self.io.now());
        let delay = micros(self.options.wal_writer_delay);
        let since = self.memory_since.load(Ordering::Acquire);
        let next = self.next.load(Ordering::Acquire);
        let durable = self.durable.load(Ordering::Acquire);
        let due = since != 0 && now.saturating_sub(since - 1) >= delay;
        if next > durable && (due || self.flusher.target() > durable) {
            self.flush_to(next).or_else(|_| self.check())?;
            return Ok(Progress::Worked);
        }
        if due {
            // Someone else's flush has covered it.
            let _ =
                self.memory_since
                    .compare_exchange(since, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
        if now.saturating_sub(self.last_flush.load(Ordering::Acquire)) >= delay
            && self.heartbeat()?
        {
            return Ok(Progress::Worked);
        }
        self.keep_spares(now)
    }

    /// Writes a watermark for the last batch, if it has none yet and nothing else is going on.
    fn heartbeat(&self) -> Result<bool> {
        let next = {
            let mut buffer = self.buffer.lock();
            let durable = self.durable.load(Ordering::Acquire);
            let wanted = buffer.next == durable
                && self.proven.load(Ordering::Acquire) < buffer.last_record_end;
            let slack = buffer
                .capacity()
                .saturating_sub(self.reserved.load(Ordering::Acquire));
            if !wanted || !buffer.heartbeat(slack) {
                return Ok(false);
            }
            self.next.store(buffer.next, Ordering::Release);
            buffer.next
        };
        self.flush_to(next).or_else(|_| self.check())?;
        Ok(true)
    }

    fn stats(&self) -> LogStats {
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
            wal_buffers_full: count(&self.counters.buffers_full),
            segments: buffer.live.len() as u64,
            spare_segments: buffer.prepared.len() as u64,
            segment_bytes: self.segment_bytes,
            oldest_lsn: Lsn::at(oldest),
            durable_lsn: Lsn::at(durable),
            written_lsn: Lsn::at(written),
            next_lsn: Lsn::at(buffer.next),
        }
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Log({}, durable {}, next {})",
            self.shared.dir.display(),
            self.durable_lsn(),
            self.next_lsn()
        )
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
