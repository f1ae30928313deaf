//! Cutting the log: everything from a position on is given up, as the storage of a replicated log needs it when a new
//! leader says otherwise.
//!
//! The log is closed, the wish is written into the control file, and the log is opened again, which does what the wish
//! says: that one write is what decides between the old history and the new one. A crash before it changes nothing; after
//! it every open begins the cut again until it is done. The cut itself is what recovery does with a torn tail: END at
//! the cut, and a new segment of a new epoch whose header says that it continues there.

use std::path::Path;
use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;

use super::{Handle, Wal, open, slot};
use crate::bytes::{get_u64, put_u64};
use crate::control::{Control, ControlFile};
use crate::error::{Error, Result};
use crate::examine::{self, Examination};
use crate::files::Files;
use crate::lsn::Lsn;

/// Places in the control file's client area.
const CUT_AT: usize = 8;
const CUT_ID_AT: usize = 16;
/// Written by whoever archives; nobody does yet.
const ARCHIVED_AT: usize = 24;

/// A cut that is wished for, or under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub at: Lsn,
    /// Tells it from every other cut of this log.
    pub id: u64,
}

impl Cut {
    pub(super) fn read(control: &Control) -> Option<Cut> {
        let at = Lsn::new(get_u64(&control.client, CUT_AT))?;
        let id = get_u64(&control.client, CUT_ID_AT);
        Some(Cut { at, id })
    }

    /// What there is of the log before the cut.
    pub(super) fn examine(&self, io: &Io, dir: &Path, control: &Control) -> Result<Examination> {
        examine::cut(&Files::read(io, dir, control)?, self.at)
    }

    /// The log is as it should be: the wish goes, from both copies, for neither may bring it back.
    pub(super) fn done(file: &mut ControlFile) -> Result<()> {
        let mut control = file.current().clone();
        put_u64(&mut control.client, CUT_AT, 0);
        put_u64(&mut control.client, CUT_ID_AT, 0);
        file.write(&control)?;
        file.write(&control)
    }
}

impl Wal {
    /// Gives up every record at or after `lsn`, a record's LSN or a [`Record::next`](crate::Record::next), for ever.
    /// Appending goes on behind it with higher LSNs: none comes back. A crash leaves the old log or the new one.
    ///
    /// The log is closed and opened again inside, so this must be its only handle. Followers of before are told
    /// `Failed`; every slot is told `SlotCut` once, and stands at `lsn` if it stood beyond. Readers in other processes
    /// that had read beyond `lsn` are told `Cut` once, and go on behind it.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use afterimage_io::sim::Sim;
    /// use afterimage_log::{LogOptions, Wal};
    ///
    /// # fn main() -> Result<(), afterimage_log::Error> {
    /// # let io = Sim::new(1).io();
    /// # let options = LogOptions { background: false, ..LogOptions::default() };
    /// let mut wal = Wal::open(&io, Path::new("raft"), &options)?;
    /// wal.append(b"term 1")?.wait()?;
    /// let wrong = wal.append(b"term 1, never committed")?;
    /// let lsn = wrong.lsn();
    /// drop(wrong);
    /// wal.truncate_after(lsn)?;
    /// let right = wal.append(b"term 2")?;
    /// assert!(right.lsn() > lsn);
    /// assert_eq!(wal.read(wal.oldest_lsn()).count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `BadPosition` where no record begins or ends at `lsn`, or where it is given up or archived already; `InUse`
    /// where there are other handles: nothing was changed. `DiskFull`, `Io`, `Failed`: the log is closed; open it again to
    /// see whether it was cut.
    pub fn truncate_after(&mut self, lsn: Lsn) -> Result<()> {
        let core = &self.handle.core;
        if Arc::strong_count(&self.handle) > 1 {
            return Err(Error::InUse {
                path: core.dir.clone(),
                pid: Some(core.io.process_id()),
            });
        }
        let refused = |what: String| Err(Error::BadPosition { lsn, what });
        // A boundary is looked for in the files.
        self.sync()?;
        if lsn < self.oldest_lsn() {
            let oldest = self.oldest_lsn();
            return refused(format!("the oldest record kept is at LSN {oldest}"));
        }
        let archived = get_u64(&core.control.lock().current().client, ARCHIVED_AT);
        if lsn.get() < archived {
            return refused(format!("the log is archived up to LSN {archived}"));
        }
        slot::check_position(&core.log.shared, lsn)?;
        let (io, dir) = (core.io.clone(), core.dir.clone());
        let options = core.log.shared.options.clone();
        self.handle.shutdown()?;
        let core = Arc::new(open::open(&io, &dir, &options, Some(lsn))?);
        let thread = super::background_of(&core, &options)?;
        self.handle = Arc::new(Handle {
            core,
            thread: Mutex::new(&io, thread),
        });
        Ok(())
    }
}

/// Writes the wish: from here on every open cuts the log, until it is done.
pub(super) fn wish(io: &Io, file: &mut ControlFile, dir: &Path, at: Lsn) -> Result<()> {
    let mut control = file.current().clone();
    if control.clean_end.is_none_or(|end| end < at) {
        return Err(Error::Failed {
            reason: format!(
                "{} was opened by another process while it was to be cut, and was not cut",
                dir.display()
            ),
        });
    }
    control.clean_end = None;
    control.durable_lsn = Some(at);
    put_u64(&mut control.client, CUT_AT, at.get());
    put_u64(&mut control.client, CUT_ID_AT, io.random() as u64);
    file.write(&control)
}
