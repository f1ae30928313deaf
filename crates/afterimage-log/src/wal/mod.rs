//! `Wal`: a log in a directory of its own, for those who want a log and nothing else.
//!
//! It puts together what an engine keeps in its own hands: the lock, the control file, the look at what a crash has
//! left, the background work. Everything it does goes through [`Log`]; `open` is the way in, `record` what is read.

mod cut;
mod follow;
mod open;
mod outside;
mod record;
mod salvage;
mod slot;
mod slot_file;
mod slots;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sync::atomic::{AtomicBool, Ordering};
use afterimage_io::sync::{Condvar, Mutex};
use afterimage_io::{Io, JoinHandle, LockFile, Progress};

use crate::control::{Control, ControlFile};
use crate::error::{Error, Result};
use crate::frame::FrameKind;
use crate::log::Log;
use crate::lsn::{Appended, Lsn};
use crate::options::LogOptions;
use crate::shared::CLOSED;
use crate::stats::LogStats;
use crate::tail::Tail;
use crate::ticket::Ticket;

pub use follow::{Follower, Horizon};
pub use outside::{Overview, Start, WalReader};
#[cfg(any(test, fuzzing))]
pub(crate) use record::records_of;
pub use record::{Record, Records};
pub use salvage::{CutOff, Salvage};
pub use slot::Slot;
pub use slots::{SlotInfo, SlotLoss, SlotState};

/// How much log may become durable before the control file says so: what an open reads at most, but for what the
/// last process wrote after that.
const NOTE_EVERY: u64 = 64 << 20;
/// How long the background thread rests when there is nothing to do.
const REST: Duration = Duration::from_millis(20);

/// A log in a directory of its own. Clones are handles on the same log; the last one to go closes it.
///
/// ```
/// use std::path::Path;
/// use afterimage_io::sim::Sim;
/// use afterimage_log::{LogOptions, Wal};
///
/// # fn main() -> Result<(), afterimage_log::Error> {
/// let io = Sim::new(1).io(); // a simulated machine; `Io::os()` is the real one
/// let options = LogOptions { background: false, ..LogOptions::default() }; // a simulation has no thread of its own
/// let wal = Wal::open(&io, Path::new("events"), &options)?;
/// let hello = wal.append(b"hello")?;
/// hello.wait()?; // on disk now
/// wal.append_batch(&["all", "or none"])?.wait()?;
/// let all: Vec<_> = wal.read(wal.oldest_lsn()).map(|r| r.map(|r| r.payload)).collect::<Result<_, _>>()?;
/// assert_eq!(all, [&b"hello"[..], b"all", b"or none"]);
/// wal.close()
/// # }
/// ```
#[derive(Clone)]
pub struct Wal {
    handle: Arc<Handle>,
}

/// What ends with the last handle.
struct Handle {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle>>,
}

/// What the background thread shares with the handles.
struct Core {
    io: Io,
    dir: PathBuf,
    log: Log,
    opened: Tail,
    control: Mutex<ControlFile>,
    slots: Mutex<slots::Slots>,
    lock: Mutex<Option<LockFile>>,
    closed: AtomicBool,
    /// How the close went, or why not, once it is done.
    outcome: Mutex<Option<std::result::Result<(), String>>>,
    stopping: Mutex<bool>,
    stop: Condvar,
}

impl Wal {
    /// Opens the log in `dir`, or makes one where there is none (the directory too, but not its parents). After a crash
    /// a torn tail is cut off; [`Wal::opened`] tells. One process at a time has a log open.
    ///
    /// # Errors
    ///
    /// `InUse` where another process has it open, `Corruption` or `ControlCorrupt` where what was durable is damaged
    /// (nothing is changed then), `Unsupported` for a newer format or a database's directory, `BadOption`, `DiskFull`, `Io`.
    pub fn open(io: &Io, dir: &Path, options: &LogOptions) -> Result<Wal> {
        let core = Arc::new(open::open(io, dir, options, None)?);
        let thread = background_of(&core, options)?;
        Ok(Wal {
            handle: Arc::new(Handle {
                core,
                thread: Mutex::new(io, thread),
            }),
        })
    }

    /// How the log ended when it was opened: cleanly, openly, or with a torn tail that was cut off.
    #[must_use]
    pub fn opened(&self) -> &Tail {
        &self.handle.core.opened
    }

    /// Appends one record; it is in memory then. The ticket says when it is durable, and is kept within
    /// `wal_writer_delay` even if nobody asks. Waits for input and output only, and that only where the log buffer is
    /// full or a segment must be made.
    ///
    /// # Errors
    ///
    /// `TooLarge` for a payload above [`Wal::max_payload`]; `DiskFull` where there is no room (nothing was appended;
    /// it works again when there is); `Failed` after a stop; `Io`.
    pub fn append(&self, payload: &[u8]) -> Result<Ticket> {
        self.put(FrameKind::Data, payload)
    }

    /// Appends several records, of which a crash leaves all or none. They share one LSN. Of none nothing is appended, and
    /// the ticket is for what was appended before.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`]; the sum of the payloads and four bytes for each must stay within [`Wal::max_payload`].
    pub fn append_batch(&self, payloads: &[impl AsRef<[u8]>]) -> Result<Ticket> {
        if payloads.is_empty() {
            let log = self.log();
            log.shared.check()?;
            let end = log.next_lsn();
            return Ok(Ticket::unasked(&log.shared, Appended { lsn: end, end }));
        }
        self.put(FrameKind::Batch, &record::encode_batch(payloads))
    }

    fn put(&self, kind: FrameKind, payload: &[u8]) -> Result<Ticket> {
        let log = &self.log();
        let appended = loop {
            let made = log.shared.counters.made.load(Ordering::Acquire);
            match log.shared.append_now(kind, payload) {
                Err(Error::DiskFull { .. }) if self.handle.core.make_room(made)? => {}
                appended => break appended?,
            }
        };
        log.note_memory_commit();
        Ok(Ticket::unasked(&log.shared, appended))
    }

    /// The largest payload, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.log().max_payload()
    }

    /// Reads the records forward from `from`, an LSN or a [`Record::next`], to where the log ends now.
    #[must_use]
    pub fn read(&self, from: Lsn) -> Records {
        Records::new(self.log().reader(from))
    }

    /// Reads back what was appended at `lsn`: one record, or all of a batch.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no record (any more), `Corruption` where its bytes are damaged, `Io`.
    pub fn read_back(&self, lsn: Lsn) -> Result<Vec<Record>> {
        record::records_of(self.log().read(lsn)?)
    }

    /// The position of the oldest record that can still be read.
    #[must_use]
    pub fn oldest_lsn(&self) -> Lsn {
        self.log().oldest_lsn()
    }

    /// The exclusive end of all that was appended.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.log().next_lsn()
    }

    /// Everything before this is durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.log().durable_lsn()
    }

    /// Waits until everything that was appended before the call is durable.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown` where the log stops, or had stopped, before that.
    pub fn sync(&self) -> Result<()> {
        self.log().wait_durable(self.next_lsn())
    }

    /// Closes the current segment file and goes on in the next one, so that what was appended so far stands in files that
    /// no longer change; answers once that is durable. A segment that holds no record yet stays. By time:
    /// `archive_timeout`.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`]; `OutcomeUnknown` where the log stops before the new segment is durable.
    pub fn switch_segment(&self) -> Result<Lsn> {
        loop {
            let made = self.log().shared.counters.made.load(Ordering::Acquire);
            match self.log().switch_segment() {
                Err(Error::DiskFull { .. }) if self.handle.core.make_room(made)? => {}
                switched => return switched,
            }
        }
    }

    /// Counters and positions.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.log().stats()
    }

    /// One step of background work, for those who opened without `LogOptions::background`.
    ///
    /// # Errors
    ///
    /// `Failed` after a stop; `Io`.
    pub fn step(&self) -> Result<Progress> {
        self.handle.core.step()
    }

    /// Makes everything durable, says so in the control file, and lets go of the directory. Other handles are told
    /// `Failed` from then on. Without it the last handle does the same, but cannot say what went wrong.
    ///
    /// # Errors
    ///
    /// What stopped the log before, or stops it now; the next open then recovers.
    pub fn close(self) -> Result<()> {
        self.handle.shutdown()
    }

    fn log(&self) -> &Log {
        &self.handle.core.log
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wal({:?})", self.log())
    }
}

impl Core {
    fn step(&self) -> Result<Progress> {
        // Each by itself: what one of them meets with keeps none of the others from its work.
        let worked = self.log.step();
        let looked = self.look_at_slots();
        let noted = self.note_if_due();
        let failed = [
            worked.as_ref().err(),
            looked.as_ref().err(),
            noted.as_ref().err(),
        ];
        let failed = failed.into_iter().flatten().next();
        *self.log.shared.background_error.lock() = failed.map(ToString::to_string);
        looked?;
        match (worked?, noted?) {
            (Progress::Idle, Progress::Idle) => Ok(Progress::Idle),
            _ => Ok(Progress::Worked),
        }
    }

    fn note_if_due(&self) -> Result<Progress> {
        let durable = self.log.durable_lsn();
        // Another handle may have noted more meanwhile.
        let noted = self.control.lock().current().durable_lsn;
        if noted.is_some_and(|noted| durable.get().saturating_sub(noted.get()) < NOTE_EVERY) {
            return Ok(Progress::Idle);
        }
        self.note_durable(durable, 1)?;
        Ok(Progress::Worked)
    }

    /// Says in `copies` copies of the control file how far the log is durable: where an open begins to read.
    fn note_durable(&self, durable: Lsn, copies: u32) -> Result<()> {
        let mut file = self.control.lock();
        if self.closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        for _ in 0..copies {
            let control = Control {
                durable_lsn: Some(durable),
                ..file.current().clone()
            };
            let written = file.write(&control);
            // A control file in an unknown state must not be followed by more log.
            written.inspect_err(|e| self.log.fail(e.to_string()))?;
        }
        Ok(())
    }

    fn truncate_before(&self, lsn: Lsn) -> Result<u64> {
        let durable = self.log.durable_lsn();
        let lsn = lsn.min(durable);
        // Both copies name a place to begin to read, and it must be there whichever of them survives.
        let behind = {
            let file = self.control.lock();
            let noted = |c: Option<&Control>| c.and_then(|c| c.durable_lsn);
            noted(Some(file.current())).min(noted(file.other())) < Some(lsn)
        };
        if behind && lsn.get() / self.log.shared.segment_bytes > self.oldest_segment() {
            self.note_durable(durable, 2)?;
        }
        self.log.truncate_before(lsn)
    }

    fn oldest_segment(&self) -> u64 {
        self.log.oldest_lsn().get() / self.log.shared.segment_bytes
    }

    /// What a clean stop leaves behind.
    fn finish(&self) -> Result<()> {
        // Another handle's append comes before this and is waited for, or is refused: the log ends where the control file says.
        self.log.shared.seal();
        let mut end = self.log.next_lsn();
        self.log.wait_durable(end)?;
        // The flush may have filled its last block up.
        while end < self.log.next_lsn() {
            end = self.log.next_lsn();
            self.log.wait_durable(end)?;
        }
        let mut file = self.control.lock();
        let control = Control {
            durable_lsn: Some(end),
            clean_end: Some(end),
            ..file.current().clone()
        };
        file.write(&control)
    }
}

impl Handle {
    fn shutdown(&self) -> Result<()> {
        let core = &self.core;
        // Whoever closes it at the same time waits here, and is told the same.
        let mut outcome = core.outcome.lock();
        if let Some(told) = &*outcome {
            let failed = |reason: &String| Error::Failed {
                reason: reason.clone(),
            };
            return told.as_ref().copied().map_err(failed);
        }
        *core.stopping.lock() = true;
        core.stop.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        core.closed.store(true, Ordering::SeqCst);
        let finished = match core.log.failure() {
            Some(reason) => Err(Error::Failed { reason }),
            None => core.finish(),
        };
        // From here on the files may be somebody else's.
        core.log.fail(CLOSED.to_owned());
        // Another handle may be making or giving up a segment at this moment; the next one finds the log stopped.
        drop(core.log.shared.prepare.lock());
        *core.lock.lock() = None;
        *outcome = Some(match &finished {
            Ok(()) => Ok(()),
            Err(Error::Failed { reason }) => Err(reason.clone()),
            Err(e) => Err(e.to_string()),
        });
        finished
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In a simulated world that has lost its power nothing can be written any more.
        if !self.core.io.has_crashed() {
            let _ = self.shutdown();
        }
    }
}

/// The background thread, where one is wanted.
fn background_of(core: &Arc<Core>, options: &LogOptions) -> Result<Option<JoinHandle>> {
    options
        .background
        .then(|| start_background(core))
        .transpose()
}

fn start_background(core: &Arc<Core>) -> Result<JoinHandle> {
    let working = Arc::clone(core);
    let body = move || {
        loop {
            let progress = working.step();
            let stopping = working.stopping.lock();
            if *stopping || working.log.failure().is_some() {
                return;
            }
            if !matches!(progress, Ok(Progress::Worked)) {
                drop(working.stop.wait_timeout(stopping, REST));
            }
        }
    };
    core.io
        .spawn("afterimage-wal", body)
        .map_err(|e| Error::io("start the background thread for", &core.dir, 0, e))
}
