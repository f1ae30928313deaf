//! `Log`: the open log, and the way of an append.
//!
//! ```text
//! reserve (space, may make a segment) -> append (buffer, under one short mutex) -> wait_durable (sync: group commit)
//! ```
//!
//! The state is in `shared`, the work in the modules that add to it; this is the door.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use afterimage_io::sync::atomic::Ordering;
use afterimage_io::{Io, Progress};

use crate::choice::SyncChoice;
use crate::control::Control;
use crate::durability::Durability;
use crate::error::Result;
use crate::examine::{self, Examination};
use crate::frame::{FrameKind, HEAD, TIMED_HEAD};
use crate::identity::Identity;
use crate::lsn::{Appended, Lsn};
use crate::options::LogOptions;
use crate::reader::{Frame, Reader};
use crate::scan::ScanReader;
use crate::shared::Shared;
use crate::space::Reservation;
use crate::stats::{LogStats, LogTimes};
use crate::tail::Proof;
use crate::ticket::Ticket;
use crate::walk::Witness;
use crate::{create, resume, verify};

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

impl Log {
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
        create::create(io, dir, identity, epoch, options).map(Log::opened)
    }

    fn opened(shared: Arc<Shared>) -> Log {
        shared.publish_positions();
        Log { shared }
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
        Log::examine_with(io, dir, control, scan_from, proofs, ()).map(|(found, ())| found)
    }

    /// As [`Log::examine`], and shows each record to a witness on the way: what a recovery wants to know of them costs no reading of its own.
    /// Segments are looked at side by side, by as many threads as there are processors, up to sixteen, each with a witness of its own; the
    /// first is given back with what all have seen. Whether the log is whole is known only then.
    ///
    /// # Errors
    ///
    /// As [`Log::examine`].
    pub fn examine_with<W: Witness>(
        io: &Io,
        dir: &Path,
        control: &Control,
        scan_from: Lsn,
        proofs: &[(Proof, Lsn)],
        witness: W,
    ) -> Result<(Examination, W)> {
        examine::examine(io, dir, control, scan_from, proofs, witness)
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
        resume::resume(io, dir, control, found, options).map(Log::opened)
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
        self.shared.max_payload()
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

    /// A reservation of nothing, to be filled by [`Reservation::absorb`] or to stay empty. Always to be had.
    #[must_use]
    pub fn no_reservation(&self) -> Reservation {
        Reservation::new(std::sync::Arc::clone(&self.shared.reserved), 0)
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
        self.shared
            .append(reservation, FrameKind::Data, payload, timed, inside)
    }

    /// Bytes that all reservations hold together.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.shared.reserved.load(Ordering::Acquire)
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

    /// How many segments [`Log::resume`] would write anew after a crash at this moment, going by what the log itself says of how
    /// far it is durable: see [`Examination::unproven_segments`].
    #[must_use]
    pub fn unproven_segments(&self) -> u64 {
        let proven = self.shared.proven.load(Ordering::Acquire) / self.shared.segment_bytes;
        let buffer = self.shared.buffer.lock();
        buffer.live.range(proven..).count().max(1) as u64
    }

    /// The position of the oldest record that can still be read.
    #[must_use]
    pub fn oldest_lsn(&self) -> Lsn {
        Lsn::at(self.shared.oldest())
    }

    /// How flushes are made durable: what the options ask for, or what was found to be the fastest when the log was
    /// made; for `Control::writes`.
    #[must_use]
    pub fn sync_choice(&self) -> SyncChoice {
        self.shared.choice
    }

    /// Waits until everything before `upto`, an exclusive end, is durable. Whoever finds nobody flushing flushes for
    /// all that have gathered.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown` where the log stops, or had stopped, before that. `NotFound` for a position that was never
    /// handed out.
    pub fn wait_durable(&self, upto: Lsn) -> Result<()> {
        self.shared.acknowledge(upto.get(), 0)
    }

    /// Waits until everything before `upto`, an exclusive end, has come as far as `level` says.
    ///
    /// # Errors
    ///
    /// As [`Log::wait_durable`].
    pub fn wait(&self, upto: Lsn, level: Durability) -> Result<()> {
        self.shared.wait(upto.get(), level)
    }

    /// A promise for everything before `end`, to be asked or waited on later. It is kept even if nobody waits: by a
    /// thread that is started when needed, or, without `LogOptions::background`, by [`Log::step`].
    pub fn ticket(&self, end: Lsn) -> Ticket {
        Ticket::new(&self.shared, end)
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
        Reader::new(&self.shared, from)
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

    /// Closes the current segment and goes on in the next one, so that what was appended can be archived; answers once that is
    /// durable. Everything appended before the call stands before the LSN that it returns, in closed segments. A segment
    /// that holds no record yet stays.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io` where the next segment could not be made: nothing was changed; `Failed`, `OutcomeUnknown`
    /// where the log stops, or had stopped.
    pub fn switch_segment(&self) -> Result<Lsn> {
        self.shared.switch_segment().map(Lsn::at)
    }

    /// Stops the log for ever, because something it must not outlive went wrong elsewhere. The first reason stays.
    pub fn fail(&self, reason: String) {
        self.shared.stop(reason);
    }

    /// Why the log stopped, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        // The flag first: this is asked before every write.
        let failed = self.shared.failed.load(Ordering::Acquire);
        failed.then(|| self.shared.reason())
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
        self.shared.note_unforced();
    }

    /// How long syncs took, and for what the log's users have waited; an engine over it adds its own waits for log space.
    #[must_use]
    pub fn times(&self) -> &LogTimes {
        &self.shared.times
    }

    /// Changes a setting by its name while the log is open: one of those that say so of themselves. Not written down
    /// anywhere: the next open begins with what it is told.
    ///
    /// # Errors
    ///
    /// `UnknownSetting`; `BadOption` for a value that is not taken, and for a setting that does not change.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.shared.set(name, value)
    }

    /// Counters and positions.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.shared.stats()
    }
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
