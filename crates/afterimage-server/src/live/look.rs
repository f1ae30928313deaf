//! One look at a database: its counters, who holds its log back, how fresh that is. From the database itself, in its own
//! process, or from the `status` file that its process rewrites twice a second.

use afterimage::{Database, Result, StatusFile, inspect};
use afterimage_explain::Story;
use afterimage_io::Io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What can be looked at.
#[derive(Debug, Clone)]
pub enum Source {
    /// A database that this process has open.
    Database {
        /// The database.
        db: Database,
        /// The recovery that its open needed, if that was looked on at.
        recovery: Option<Arc<Story>>,
    },
    /// One that another process has open, or nobody: by its `status` file.
    Directory(PathBuf),
}

impl From<Database> for Source {
    fn from(db: Database) -> Source {
        Source::from((db, None))
    }
}

impl From<(Database, Option<Story>)> for Source {
    fn from((db, recovery): (Database, Option<Story>)) -> Source {
        let recovery = recovery.map(Arc::new);
        Source::Database { db, recovery }
    }
}

/// What is known of the process that has the database open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Running,
    /// It has closed the database.
    Closed,
    /// It has gone without closing it: the next open recovers.
    Gone,
    /// It is not known here whether it still works.
    NotClosed,
}

impl State {
    /// In words, as the commands print it.
    pub fn words(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Closed => "closed since",
            State::Gone => "gone without closing",
            State::NotClosed => "not closed",
        }
    }

    /// What a `status` file lets one know.
    pub fn of(status: &StatusFile) -> State {
        if status.closed {
            return State::Closed;
        }
        if !Path::new("/proc/self").exists() {
            return State::NotClosed;
        }
        match Path::new("/proc").join(status.pid.to_string()).exists() {
            true => State::Running,
            false => State::Gone,
        }
    }
}

/// One look.
#[derive(Debug, Clone)]
pub struct Look {
    /// When the numbers were taken, by a clock that only goes forward where there is one: for rates.
    pub clock: Duration,
    /// What is known of the process that has the database open.
    pub state: State,
    /// The numbers.
    pub status: StatusFile,
}

impl Source {
    /// The database's directory.
    pub fn directory(&self) -> &Path {
        match self {
            Source::Database { db, .. } => db.directory(),
            Source::Directory(directory) => directory,
        }
    }

    /// In words: where the numbers come from.
    pub fn words(&self) -> &'static str {
        match self {
            Source::Database { .. } => "this process",
            Source::Directory(_) => "status file",
        }
    }

    /// Looks. `None` where there is no `status` file, or it is being written just now.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn look(&self, io: &Io) -> Result<Option<Look>> {
        match self {
            Source::Database { db, .. } => {
                let status = db.status();
                let state = if status.closed {
                    State::Closed
                } else {
                    State::Running
                };
                Ok(Some(Look {
                    clock: io.now(),
                    state,
                    status,
                }))
            }
            Source::Directory(directory) => {
                let status = inspect::status(io, directory)?;
                Ok(status.map(|status| Look {
                    clock: Duration::from_micros(status.written_at_micros),
                    state: State::of(&status),
                    status,
                }))
            }
        }
    }
}
