//! Whether a directory holds a log alone or a database, and how an error of the log is told.

use crate::failure::Failure;
use afterimage_io::Io;
use afterimage_log::{Control, ControlFile, Error, Wal};
use std::path::Path;

/// What a directory holds.
pub enum Kind {
    /// A log alone.
    Log(Box<Control>),
    /// A database, which has a log.
    Database,
}

impl Kind {
    /// Reads the control file; refuses a directory that has none.
    pub fn of(io: &Io, dir: &Path) -> Result<Kind, Failure> {
        must_be_directory(dir)?;
        if !ControlFile::exists(io, dir).map_err(|e| failure(e, dir))? {
            return Err(Failure::usage("there is neither a log nor a database here")
                .at(dir.display())
                .advise("`afterimage log append DIR` makes a log, `afterimage load DIR TABLE` a database"));
        }
        let file = ControlFile::open(io, dir, false).map_err(|e| failure(e, dir))?;
        if Wal::made(file.current()) {
            Ok(Kind::Log(Box::new(file.current().clone())))
        } else {
            Ok(Kind::Database)
        }
    }
}

/// Refuses a file where a directory is meant.
pub fn must_be_directory(dir: &Path) -> Result<(), Failure> {
    if dir.exists() && !dir.is_dir() {
        return Err(Failure::usage("it is a file; a log is a directory").at(dir.display()));
    }
    Ok(())
}

/// The log's error as a command tells it.
pub fn failure(error: Error, dir: &Path) -> Failure {
    match error {
        Error::InUse { path, pid } => {
            let holder =
                pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
            Failure::refused(format!("the log is in use by {holder}"))
                .at(path.display())
                .advise("close it there first; `afterimage log cat`, `tail` and `stats` work while it is open")
        }
        Error::Corruption {
            lsn,
            path,
            offset,
            what,
            advice,
        } => Failure::refused(format!("damaged at LSN {lsn}: {what}"))
            .at(format!("{}, byte {offset}", path.display()))
            .advise(advice),
        Error::NotFound { .. } | Error::TooLarge { .. } | Error::SlotLost { .. } => {
            Failure::data(error).at(dir.display())
        }
        Error::Cut { cut, .. } => Failure::data(error).at(dir.display()).advise(format!(
            "what was read from LSN {cut} on is not part of the log any more; begin there again: --from {cut}, or, with a slot, \
             the same command"
        )),
        Error::SlotCut { cut, .. } => Failure::data(error).at(dir.display()).advise(format!(
            "what was read from LSN {cut} on is not part of the log any more; the same command begins there again"
        )),
        Error::BadOption { .. } | Error::NoSlot { .. } | Error::AlreadyExists { .. } => {
            Failure::usage(error).at(dir.display())
        }
        Error::DiskFull { path, needed } => {
            Failure::refused(format!("there is no room on the disk for {needed} bytes"))
                .at(path.display())
                .advise("make room and run the command again; nothing was half written. A log is kept whole unless it is told \
                     otherwise: with --set recycle_behind_slots=on, what all its slots have passed is given up")
        }
        other => Failure::refused(other).at(dir.display()),
    }
}
