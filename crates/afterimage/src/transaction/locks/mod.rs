//! Locks of strict two-phase locking: who may read or change what until its transaction ends.
#![doc = include_str!("README.md")]

mod commits;
mod deadlock;
mod held;
mod keys;
mod line;
mod mode;
mod owner;
mod spans;
mod state;
mod table;
mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use afterimage_log::Lsn;

use crate::ids::TableId;
use crate::interval::Interval;

pub(crate) use mode::Mode;
pub(crate) use owner::LockOwner;
pub(crate) use table::LockTable;

/// What can be locked. Named by what the data is, never by the page it is on, so splits and eviction do not matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resource<'a> {
    /// One key of a table, whether it exists or not.
    Key(TableId, &'a [u8]),
    /// All keys of an interval, those that exist and those that do not. It is not empty.
    Range(TableId, &'a Interval),
}

impl Resource<'_> {
    fn table(&self) -> TableId {
        match *self {
            Resource::Key(table, _) | Resource::Range(table, _) => table,
        }
    }
}

/// A lock that is held now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Granted {
    /// The commit that the log must be durable through before what is read under this lock may be shown as fact; `None`:
    /// nothing new to wait for, because nobody changed it or an earlier grant to this owner has told it.
    pub(crate) last_commit: Option<Lsn>,
}

/// Why a lock was not granted. The owner keeps what it had; but for a timeout, its transaction is to be rolled back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LockError {
    /// This owner was chosen to end a deadlock.
    Deadlock,
    /// The engine has ended the transaction, for this reason.
    Revoked(String),
    /// It took longer than the owner was willing to wait.
    Timeout {
        /// How long it did wait.
        waited: Duration,
    },
}

/// Counts for `Stats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LockStats {
    /// Requests that had to wait, since the table was made: those that still wait, too.
    pub(crate) waits: u64,
    /// Victims, since the table was made.
    pub(crate) deadlocks: u64,
    /// Waits that were given up after `lock_timeout`.
    pub(crate) timeouts: u64,
}
