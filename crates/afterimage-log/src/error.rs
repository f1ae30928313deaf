//! Everything that can go wrong in the log, as one typed error.
//!
//! The house knows four answers to trouble: the caller was wrong (`BadOption`, `UnknownSetting`, `SettingsFile`,
//! `TooLarge`, `NotFound`, `Cut`, `AlreadyExists`), the disk is full and will recover (`DiskFull`), the bytes are damaged (`Corruption`,
//! `ControlCorrupt`, `Unsupported`), or the log has stopped for ever (`Io`, `Failed`, `OutcomeUnknown`).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::lsn::Lsn;

/// What a log operation answers with when it could not do its work.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an input or output operation.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Where in the file, in bytes; 0 where the operation has no place.
        offset: u64,
        /// What was tried, in one or two words ("write", "sync directory").
        op: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The log is damaged at a place that is known to have been durable. Nothing was changed.
    Corruption {
        /// The log position of the first byte that cannot be read.
        lsn: Lsn,
        /// The segment file.
        path: PathBuf,
        /// The place in the file, in bytes.
        offset: u64,
        /// What was found, and what proves that something else stood there.
        what: String,
        /// What can be done.
        advice: String,
    },
    /// Neither copy of the control file can be read.
    ControlCorrupt {
        /// The control file.
        path: PathBuf,
        /// What is wrong with each copy.
        what: String,
    },
    /// There is no room for the next segment. Nothing was appended; the call may be tried again later.
    DiskFull {
        /// The file that could not be made.
        path: PathBuf,
        /// How many bytes the file needs.
        needed: u64,
    },
    /// The log has stopped after an error of the disk: no more writes in this process, ever.
    Failed {
        /// The first error, in words.
        reason: String,
    },
    /// The log stopped while this record was on its way: whether it survives is known only after the next open.
    OutcomeUnknown {
        /// The first error, in words.
        reason: String,
    },
    /// The file was written by a version of the format, or with a feature, that this version does not know.
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
    /// A record is larger than the largest frame.
    TooLarge {
        /// The payload's length, in bytes.
        len: usize,
        /// The largest payload, in bytes.
        max: usize,
    },
    /// There is no record at this position (any more).
    NotFound {
        /// The position that was asked for.
        lsn: Lsn,
        /// Why there is none.
        what: String,
    },
    /// The position is not part of the log any more: what stood there was cut off, by
    /// [`Wal::truncate_after`](crate::Wal::truncate_after) or with the torn tail that a crash had left. Readers that go on
    /// are told once, and then go on behind the cut.
    Cut {
        /// The position.
        lsn: Lsn,
        /// Where the log was cut: what was read from here on is not part of it.
        cut: Lsn,
        /// Where it goes on.
        next: Lsn,
    },
    /// There is a log, or a control file, where one was to be made.
    AlreadyExists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// Another process has the log open.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The holder's process id, if it could be read.
        pid: Option<u32>,
    },
    /// There is no slot of this name.
    NoSlot {
        /// The name.
        name: String,
        /// Where its file would be.
        path: PathBuf,
    },
    /// The slot was given up, and the log that it stood at may be gone.
    SlotLost {
        /// The slot.
        name: String,
        /// Where it stood; none where that cannot be read.
        position: Option<Lsn>,
        /// Why, and where the log ended then.
        what: String,
    },
    /// The log was cut since the slot's owner was last here. Told once; the slot can be used after it.
    SlotCut {
        /// The slot.
        name: String,
        /// Where it stood.
        from: Lsn,
        /// Where it stands now.
        to: Lsn,
        /// Where the log was cut: what was read beyond is not part of it any more.
        cut: Lsn,
    },
    /// The position is not one that this can be done with. Nothing was changed.
    BadPosition {
        /// The position.
        lsn: Lsn,
        /// Why not.
        what: String,
    },
    /// A setting is outside its bounds.
    BadOption {
        /// The setting.
        name: &'static str,
        /// What is wrong with its value.
        what: String,
    },
    /// There is no setting of this name.
    UnknownSetting {
        /// The name.
        name: String,
        /// A setting with nearly that name.
        nearest: Option<&'static str>,
    },
    /// `settings.toml` cannot be read, or says what is refused.
    SettingsFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong in it, with the setting's name.
        what: String,
    },
}

/// The result of a log operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the bytes on disk are damaged (`Corruption` or `ControlCorrupt`).
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(
            self,
            Error::Corruption { .. } | Error::ControlCorrupt { .. }
        )
    }

    /// Whether the operation may yet turn out to have happened.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Error::OutcomeUnknown { .. })
    }

    /// Names the file, the place and the operation that a system error belongs to.
    pub(crate) fn io(op: &'static str, path: &Path, offset: u64, source: io::Error) -> Error {
        Error::Io {
            path: path.to_path_buf(),
            offset,
            op,
            source,
        }
    }
}

/// Whether a system error says that the disk, or the quota, is full.
pub(crate) fn is_full(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io {
                path,
                offset,
                op,
                source,
            } => {
                write!(
                    f,
                    "{op} of {} at byte {offset} failed: {source}",
                    path.display()
                )
            }
            Error::Corruption {
                lsn,
                path,
                offset,
                what,
                advice,
            } => write!(
                f,
                "the log is damaged at LSN {lsn} ({}, byte {offset}): {what}. {advice}",
                path.display()
            ),
            Error::ControlCorrupt { path, what } => {
                write!(
                    f,
                    "no copy of the control file {} can be read: {what}",
                    path.display()
                )
            }
            Error::DiskFull { path, needed } => {
                write!(
                    f,
                    "the disk is full: no room for {} ({needed} bytes)",
                    path.display()
                )
            }
            Error::Failed { reason } => {
                write!(f, "the log has stopped: {reason}; open it again to recover")
            }
            Error::OutcomeUnknown { reason } => {
                write!(
                    f,
                    "the log stopped before this was known to be durable: {reason}; open it again to see"
                )
            }
            Error::Unsupported { path, what } => {
                write!(f, "{}: not supported: {what}", path.display())
            }
            Error::TooLarge { len, max } => {
                write!(
                    f,
                    "a record of {len} bytes is larger than the largest possible, {max} bytes"
                )
            }
            Error::NotFound { lsn, what } => write!(f, "no record at LSN {lsn}: {what}"),
            Error::Cut { lsn, cut, next } => write!(
                f,
                "LSN {lsn} is not part of the log: it was cut at LSN {cut} and goes on at LSN {next}"
            ),
            Error::AlreadyExists { path } => write!(f, "{} exists already", path.display()),
            Error::InUse { path, pid } => {
                write!(f, "{} is in use", path.display())?;
                match pid {
                    Some(pid) => write!(f, " by process {pid}"),
                    None => write!(f, " by another process"),
                }
            }
            Error::NoSlot { name, path } => {
                write!(f, "there is no slot {name:?} ({})", path.display())
            }
            Error::SlotLost {
                name,
                position,
                what,
            } => {
                write!(f, "the slot {name:?} was given up")?;
                if let Some(position) = position {
                    write!(f, " at LSN {position}")?;
                }
                write!(
                    f,
                    ": {what}. Drop it, make it anew, and begin from the oldest record that is kept or from the end"
                )
            }
            Error::SlotCut {
                name,
                from,
                to,
                cut,
            } => write!(
                f,
                "the log was cut at LSN {cut}: the slot {name:?}, which stood at {from}, now stands at {to}"
            ),
            Error::BadPosition { lsn, what } => write!(f, "LSN {lsn} cannot be used: {what}"),
            Error::BadOption { name, what } => write!(f, "setting {name}: {what}"),
            Error::UnknownSetting { name, nearest } => {
                write!(f, "there is no setting {name}")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => Ok(()),
                }
            }
            Error::SettingsFile { path, line, what } => {
                write!(f, "{} line {line}: {what}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
