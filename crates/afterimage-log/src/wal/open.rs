//! The way to an open `Wal`: the lock first, then birth, or the look at what is there and the steps after a crash.

use std::path::Path;

use afterimage_io::sync::atomic::AtomicBool;
use afterimage_io::sync::{Condvar, Mutex};
use afterimage_io::{Io, LockAttempt, LockFile};

use super::cut::{self, Cut};
use super::slots::Slots;
use super::{Core, Wal};
use crate::control::{Control, ControlFile};
use crate::error::{Error, Result};
use crate::examine::Examination;
use crate::identity::Identity;
use crate::log::Log;
use crate::lsn::Lsn;
use crate::options::{HEADER_BYTES, LogOptions};
use crate::tail::Tail;

/// What the control file's client area begins with where no engine keeps the log.
const CLIENT: &[u8; 8] = b"AFTRWAL1";

impl Wal {
    /// Whether a directory with this control file was made by [`Wal::open`]. If not, it is a database's.
    #[must_use]
    pub fn made(control: &Control) -> bool {
        control.client.starts_with(CLIENT)
    }

    /// Checks the whole log in `dir`, from its oldest record on, against all that proves how far it was durable: the
    /// control file and the slots, as [`Wal::open`] does. Changes nothing; reads every segment there is.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use afterimage_io::sim::Sim;
    /// # use afterimage_log::{LogOptions, Wal};
    /// # fn main() -> Result<(), afterimage_log::Error> {
    /// # let io = Sim::new(1).io();
    /// # let options = LogOptions { background: false, ..LogOptions::default() };
    /// let wal = Wal::open(&io, Path::new("events"), &options)?;
    /// wal.append(b"one")?.wait()?;
    /// wal.close()?;
    /// assert_eq!(Wal::verify(&io, Path::new("events"))?.records, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Corruption` for the first damage: LSN, file, offset and advice are named. `InUse` where another process has it
    /// open, `Unsupported` for a database or a newer version's log; `ControlCorrupt`, `Io`.
    pub fn verify(io: &Io, dir: &Path) -> Result<Examination> {
        let _lock = take_lock(io, dir)?;
        let file = ControlFile::open(io, dir, false)?;
        let control = file.current();
        if !Wal::made(control) {
            return Err(no_wal(dir));
        }
        let first = Lsn::at(control.segment_bytes + HEADER_BYTES);
        let from = control.durable_lsn.max(control.clean_end).unwrap_or(first);
        // A cut that was begun is finished at the next open: a slot may still stand beyond it, and proves nothing.
        let proofs = match Cut::read(control) {
            Some(_) => Vec::new(),
            None => Slots::open(io, dir, &control.identity)?.proofs()?,
        };
        Log::verify(io, dir, control, from, &proofs)
    }
}

fn no_wal(dir: &Path) -> Error {
    Error::Unsupported {
        path: dir.to_path_buf(),
        what: "it is a database, whose log belongs to its engine".into(),
    }
}

/// What an open comes to: the log, the control file, the slots, and how the log ended.
type Opened = (Log, ControlFile, Slots, Tail);

/// See `Wal::open`.
pub(super) fn open(io: &Io, dir: &Path, options: &LogOptions, cut: Option<Lsn>) -> Result<Core> {
    options.check()?;
    make_directory(io, dir)?;
    let lock = take_lock(io, dir)?;
    let (log, control, slots, opened) = if ControlFile::exists(io, dir)? {
        reopen(io, dir, options, cut)?
    } else {
        create(io, dir, options)?
    };
    Ok(Core {
        io: io.clone(),
        dir: dir.to_path_buf(),
        log,
        opened,
        control: Mutex::new(io, control),
        slots: Mutex::new(io, slots),
        lock: Mutex::new(io, Some(lock)),
        closed: AtomicBool::new(false),
        outcome: Mutex::new(io, None),
        stopping: Mutex::new(io, false),
        stop: Condvar::new(io),
    })
}

/// The directory, and its name in its parent durable, before anything is put into it.
fn make_directory(io: &Io, dir: &Path) -> Result<()> {
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    match io.create_dir(dir) {
        Ok(()) => {
            let parent = dir.parent().unwrap_or(Path::new(""));
            io.sync_dir(parent)
                .map_err(|e| Error::io("sync directory", parent, 0, e))
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Error::io("make", dir, 0, e)),
    }
}

fn take_lock(io: &Io, dir: &Path) -> Result<LockFile> {
    let path = dir.join("lock");
    match io.try_lock(&path) {
        Ok(LockAttempt::Acquired(lock)) => Ok(lock),
        Ok(LockAttempt::Held { pid }) => Err(Error::InUse {
            path: dir.to_path_buf(),
            pid,
        }),
        Err(e) => Err(Error::io("lock", &path, 0, e)),
    }
}

/// Birth: the log first, then the control file, which says that there is one.
fn create(io: &Io, dir: &Path, options: &LogOptions) -> Result<Opened> {
    let identity = Identity {
        database_id: io.random(),
        timeline_id: io.random(),
        timeline_ordinal: 1,
    };
    let log = Log::create(io, dir, &identity, 1, options)?;
    let mut control = Control::new(identity, options.segment_bytes);
    control.durable_lsn = Some(log.next_lsn());
    control.writes = Some(log.sync_choice());
    control.client[..CLIENT.len()].copy_from_slice(CLIENT);
    let file = ControlFile::create(io, dir, &control)?;
    let slots = Slots::open(io, dir, &identity)?;
    Ok((log, file, slots, Tail::Clean))
}

/// Reads first, and writes nothing until it is decided that this log can go on.
fn reopen(io: &Io, dir: &Path, options: &LogOptions, cut: Option<Lsn>) -> Result<Opened> {
    let mut file = ControlFile::open(io, dir, true)?;
    if let Some(at) = cut {
        cut::wish(io, &mut file, dir, at)?;
    }
    let mut control = file.current().clone();
    if !Wal::made(&control) {
        return Err(no_wal(dir));
    }
    let first = Lsn::at(control.segment_bytes + HEADER_BYTES);
    let slots = Slots::open(io, dir, &control.identity)?;
    let from = control.durable_lsn.unwrap_or(first);
    let cut = Cut::read(&control);
    let found = match &cut {
        Some(cut) => cut.examine(io, dir, &control)?,
        None => Log::examine(io, dir, &control, from, &slots.proofs()?)?,
    };
    let opened = found.verdict.clone();
    if control.clean_end.is_none() {
        // What was read may be in the page cache only; and no position of the dead process may come back.
        file.rewrite_in_place()?;
        slots.rewrite()?;
        control.epoch += 1;
    }
    control.clean_end = None;
    control.durable_lsn = Some(found.watermark);
    file.write(&control)?;
    let log = Log::resume(io, dir, file.current(), found, options)?;
    if let Some(cut) = cut {
        slots.tell(cut)?;
        Cut::done(&mut file)?;
    }
    Ok((log, file, slots, opened))
}
