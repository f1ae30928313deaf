//! The one error type of the engine: what happened, where, and what the person can do. The base of the house:
//! every layer returns it, and nothing here knows a layer.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, in four families: a mistake of the caller, a conflict that is worth a retry, an I/O
/// failure, and damage to the data.
///
/// # Examples
///
/// ```
/// use afterimage::Error;
///
/// assert!(Error::Deadlock.is_retryable());
/// assert!(!Error::Deadlock.is_corruption());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call. If it was a write or sync that data depends on, the engine has stopped, and
    /// later calls answer [`Error::LogFailed`]; otherwise nothing was harmed.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// The system's own words.
        message: String,
    },
    /// Bytes that were once durable are not what they were.
    Corruption {
        /// The place: file and offset, page, LSN, as far as they are known.
        place: String,
        /// What is wrong there.
        what: String,
        /// What can be done.
        advice: String,
    },
    /// A page does not hold what its checksum or its structure promises. Other pages stay usable.
    PageCorrupt {
        /// The table, where it is known.
        table: Option<String>,
        /// The page number.
        page: u64,
        /// The file that holds it.
        file: PathBuf,
        /// Its offset in that file, in bytes.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Another process, or another handle of this one, has the database open.
    InUse {
        /// The database directory.
        path: PathBuf,
        /// The holder's process id, where it could be read.
        pid: Option<u32>,
    },
    /// There is no room on the disk. The transaction can still read, commit or roll back; writing resumes by itself
    /// when there is room.
    DiskFull {
        /// The file or directory that could not grow.
        path: PathBuf,
    },
    /// This transaction was chosen to end a deadlock. Roll it back and try again (`Database::transact` does).
    Deadlock,
    /// The engine has stopped, after a failed write or sync, a panic inside it, or a rollback that could not be finished:
    /// rows are neither written nor read any more. Reopen the database; recovery brings back all that was acknowledged.
    LogFailed {
        /// The first failure.
        reason: String,
    },
    /// The commit was appended, but the engine failed before it was known to be durable: it may or may not be there
    /// after the database is reopened.
    OutcomeUnknown {
        /// The failure.
        reason: String,
    },
    /// The key is longer than a page of this database can take.
    KeyTooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The value is longer than 1 GiB.
    ValueTooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The reader that was to give a value's bytes failed, or ended early. Nothing was changed.
    Reader {
        /// What it said, or how many bytes were missing.
        what: String,
    },
    /// A table's name is empty or too long.
    BadTableName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no table of this name, or no longer: it was dropped.
    NoSuchTable {
        /// The name.
        name: String,
    },
    /// There is a table of this name already.
    TableExists {
        /// The name.
        name: String,
    },
    /// The directory holds no database.
    NotADatabase {
        /// The directory.
        path: PathBuf,
        /// What is missing, or in the way.
        what: String,
    },
    /// The files were written by a version, or with a feature, that this one does not know.
    Unsupported {
        /// What is not known.
        what: String,
    },
    /// A setting is out of bounds or contradicts another.
    BadOption {
        /// The setting's name.
        name: &'static str,
        /// What is wrong, with the bounds.
        what: String,
    },
    /// A setting that was fixed when the database was made is asked to be something else.
    FixedAtCreation {
        /// The setting's name.
        name: &'static str,
        /// What was asked for.
        asked: String,
        /// What it is in this database.
        existing: String,
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
    /// A lock was not free within `lock_timeout`. Nothing was changed: the transaction may try again, do something else,
    /// commit or roll back. `afterimage stats` counts these; mostly somebody has left a transaction open.
    LockTimeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// An insert found a value under its key. Nothing was changed, and the transaction goes on.
    KeyExists,
    /// An update found no value under its key. Nothing was changed, and the transaction goes on.
    KeyNotFound,
    /// Two rows of a load have the same key.
    DuplicateKey {
        /// The key.
        key: Vec<u8>,
    },
    /// A row of a load that was said to be sorted has a key below that of the row before it. It was not added.
    NotAscending {
        /// The key.
        key: Vec<u8>,
    },
    /// The memory for old versions of rows (`version_store_size`) was needed for what has been written since: this snapshot
    /// was the oldest, and cannot be read any more. Take a new one; raise the setting if readers take this long.
    SnapshotTooOld,
    /// The savepoint is of another transaction, or was released, or was set after one that was rolled back to. Nothing was changed.
    NoSuchSavepoint,
    /// The engine has rolled the transaction back: the log from its first record on had grown to `max_wal_size`, mostly by
    /// what others wrote, and a recovery must not need more. Begin again, and end sooner; `afterimage pins` shows who
    /// holds the log back.
    TransactionTooOld {
        /// Bytes of log from its first record to the end.
        held: u64,
        /// The setting `max_wal_size`, in bytes.
        max: u64,
    },
    /// The engine has rolled the transaction back: what it wrote, with what is kept for taking it back, comes to more than
    /// half of `max_wal_size`, and there was no room for more. Do it in smaller parts, or make the setting larger.
    ///
    /// Where it has changed rows of unlogged tables: what it and all other unfinished transactions would have kept in memory, to
    /// take such changes back, came to more than `unlogged_pool_size`.
    TransactionTooBig {
        /// Bytes of log that were its own; or bytes that would have been kept in memory.
        bytes: u64,
        /// The setting `max_wal_size`, or `unlogged_pool_size`, in bytes.
        max: u64,
    },
    /// The transaction has already ended, or an earlier error has made it fit for rollback only.
    TransactionEnded {
        /// Why.
        reason: String,
    },
    /// The database handle has been closed.
    Closed,
}

impl Error {
    /// Is it worth trying the whole transaction again? True for a deadlock, and for nothing else so far.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Deadlock)
    }

    /// Has the engine rolled the transaction back for the sake of the log?
    pub(crate) fn is_for_log(&self) -> bool {
        matches!(
            self,
            Error::TransactionTooOld { .. } | Error::TransactionTooBig { .. }
        )
    }

    /// Is stored data damaged?
    pub fn is_corruption(&self) -> bool {
        matches!(self, Error::Corruption { .. } | Error::PageCorrupt { .. })
    }

    /// May the commit have happened all the same? Then only a look after reopening tells.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Error::OutcomeUnknown { .. })
    }

    /// Wraps what the operating system said about `path`; "no space" becomes [`Error::DiskFull`].
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        operation: &'static str,
        source: &std::io::Error,
    ) -> Error {
        let path = path.into();
        if is_disk_full(source) {
            return Error::DiskFull { path };
        }
        Error::Io {
            path,
            operation,
            message: source.to_string(),
        }
    }

    /// Damage that advice other than "restore" would only belittle.
    pub(crate) fn corruption(place: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Corruption {
            place: place.into(),
            what: what.into(),
            advice: "keep a copy of the directory as evidence, then restore it from a backup"
                .to_owned(),
        }
    }
}

fn is_disk_full(source: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        source.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io {
                path,
                operation,
                message,
            } => {
                write!(f, "could not {operation} {}: {message}", path.display())
            }
            Error::Corruption {
                place,
                what,
                advice,
            } => write!(f, "damaged data at {place}: {what}; {advice}"),
            Error::PageCorrupt {
                table,
                page,
                file,
                offset,
                what,
            } => {
                write!(f, "page {page} is damaged")?;
                if let Some(table) = table {
                    write!(f, " (table {table})")?;
                }
                write!(f, ": {what}; {} at offset {offset}; ", file.display())?;
                write!(f, "other pages stay usable; restore the page from a backup")
            }
            Error::InUse {
                path,
                pid: Some(pid),
            } => {
                write!(
                    f,
                    "{} is in use by process {pid}; close it there first",
                    path.display()
                )
            }
            Error::InUse { path, pid: None } => {
                write!(
                    f,
                    "{} is in use by another process; close it there first",
                    path.display()
                )
            }
            Error::DiskFull { path } => write!(
                f,
                "no room on the disk for {}; make room: writing resumes by itself, reading and rollback still work",
                path.display()
            ),
            Error::Deadlock => write!(
                f,
                "the transaction was chosen to end a deadlock; roll it back and try again"
            ),
            Error::LogFailed { reason } => {
                write!(
                    f,
                    "the engine has stopped after a failure ({reason}); reopen the database to recover"
                )
            }
            Error::OutcomeUnknown { reason } => write!(
                f,
                "the commit may or may not be durable ({reason}); reopen the database and look before trying again"
            ),
            Error::KeyTooLarge { bytes, max } => {
                write!(f, "the key has {bytes} bytes, more than the {max} allowed")
            }
            Error::ValueTooLarge { bytes, max } => {
                write!(
                    f,
                    "the value has {bytes} bytes, more than the {max} allowed in this database"
                )
            }
            Error::Reader { what } => write!(
                f,
                "the value could not be read from its reader: {what}; nothing was changed"
            ),
            Error::BadTableName { name, what } => write!(f, "bad table name {name:?}: {what}"),
            Error::NoSuchTable { name } => write!(f, "there is no table {name:?}"),
            Error::TableExists { name } => {
                write!(f, "there is a table {name:?} already; choose another name")
            }
            Error::NotADatabase { path, what } => {
                write!(f, "{} is not a database: {what}", path.display())
            }
            Error::Unsupported { what } => {
                write!(
                    f,
                    "not supported by this version: {what}; nothing was changed; use a newer version"
                )
            }
            Error::BadOption { name, what } => write!(f, "setting {name}: {what}"),
            Error::FixedAtCreation {
                name,
                asked,
                existing,
            } => write!(
                f,
                "setting {name}: {asked} was asked for, but this database was made with {existing}, and that is fixed; leave the setting out, or make a new database"
            ),
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
            Error::LockTimeout { waited } => write!(
                f,
                "a lock was not free within {:.3} s (lock_timeout); nothing was changed: try again, or see who has left a transaction open",
                waited.as_secs_f64()
            ),
            Error::KeyExists => write!(f, "there is a value under this key already"),
            Error::KeyNotFound => write!(f, "there is no value under this key"),
            Error::DuplicateKey { key } => write!(
                f,
                "two rows have the key \"{}\"; keep one of them, and load again",
                key.escape_ascii()
            ),
            Error::NotAscending { key } => write!(
                f,
                "the rows were said to be sorted, but the key \"{}\" is below the one before it; sort them, or let the load do it",
                key.escape_ascii()
            ),
            Error::SnapshotTooOld => write!(
                f,
                "this snapshot is too old: more was written since than version_store_size keeps old versions of; take a new one"
            ),
            Error::NoSuchSavepoint => write!(
                f,
                "this transaction has no such savepoint (any more): it was released, or rolled back over"
            ),
            Error::TransactionTooOld { held, max } => write!(
                f,
                "the transaction was rolled back: {held} bytes of log had gathered since its first change, and max_wal_size is {max}; begin again, and end sooner"
            ),
            Error::TransactionTooBig { bytes, max } => write!(
                f,
                "the transaction was rolled back: its own log and the reserve for its rollback come to {bytes} bytes, and max_wal_size is {max}; do it in smaller parts, or raise max_wal_size (for rows of unlogged tables it is the memory for the rollbacks of all transactions together, and the setting is unlogged_pool_size)"
            ),
            Error::TransactionEnded { reason } => write!(f, "the transaction has ended: {reason}"),
            Error::Closed => write!(f, "the database has been closed"),
        }
    }
}

impl std::error::Error for Error {}

impl From<afterimage_log::Error> for Error {
    fn from(error: afterimage_log::Error) -> Error {
        use afterimage_log::Error as Log;
        match error {
            Log::Io {
                path, op, source, ..
            } => Error::io(path, op, &source),
            Log::Corruption {
                lsn,
                path,
                offset,
                what,
                advice,
            } => {
                let place = format!("LSN {lsn}, {} at offset {offset}", path.display());
                Error::Corruption {
                    place,
                    what,
                    advice,
                }
            }
            Log::ControlCorrupt { path, what } => {
                Error::corruption(path.display().to_string(), what)
            }
            Log::DiskFull { path, .. } => Error::DiskFull { path },
            Log::Failed { reason } => Error::LogFailed { reason },
            Log::OutcomeUnknown { reason } => Error::OutcomeUnknown { reason },
            Log::Unsupported { path, what } => Error::Unsupported {
                what: format!("{}: {what}", path.display()),
            },
            Log::BadOption { name, what } => Error::BadOption { name, what },
            Log::UnknownSetting { name, nearest } => Error::UnknownSetting { name, nearest },
            Log::SettingsFile { path, line, what } => Error::SettingsFile { path, line, what },
            Log::InUse { path, pid } => Error::InUse { path, pid },
            Log::NotFound { lsn, what } => Error::corruption(
                format!("LSN {lsn}"),
                format!("the log has no record here any more: {what}"),
            ),
            other => Error::Corruption {
                place: "the log".to_owned(),
                what: other.to_string(),
                advice: "this is a defect of the engine: please report it".to_owned(),
            },
        }
    }
}
