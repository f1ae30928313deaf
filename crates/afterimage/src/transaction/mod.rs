//! The transaction layer: locks, the active transaction table, the steps of a write, a commit, a rollback.
#![doc = include_str!("README.md")]

mod active;
mod large;
mod load;
mod locks;
mod purge;
mod rollback;
mod savepoint;
mod seat;
mod sparse;
mod unlogged;
mod versions;
mod weak;
mod wish;
mod work;

use std::sync::Arc;
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::{Histogram, Lsn, Reservation};

pub(crate) use active::ActiveTable;
pub(crate) use large::{Found, NewValue, failed as read_failed};
pub(crate) use load::Load;
pub(crate) use rollback::{Chain, undo_record};
pub use savepoint::Savepoint;
pub(crate) use seat::{Seat, Seats};
pub(crate) use versions::View;
pub(crate) use wish::{Done, Outcome, Wish};
pub(crate) use work::{Seen, after_record, check_value_size};

use crate::buffer::{Counter, Pager, UnloggedFile};
use crate::error::{Error, Result};
use crate::tree::{Catalogue, Large, Tree};
pub(crate) use locks::Mode;
use locks::{Granted, LockError, LockOwner, LockTable, Resource};
use purge::Purge;
use sparse::Sparse;
use unlogged::Kept;
use versions::{Status, VersionStats, Versions};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: Counter,
    pub(crate) rollbacks: Counter,
}

/// Everything that transactions share.
pub(crate) struct System {
    pub(crate) pager: Pager,
    pub(crate) catalogue: Catalogue,
    pub(crate) active: ActiveTable,
    pub(crate) seats: Seats,
    locks: LockTable,
    pub(crate) purge: Purge,
    versions: Versions,
    /// Bytes that unfinished transactions keep of unlogged rows.
    kept_bytes: AtomicU64,
    sparse: Sparse,
    next_age: AtomicU64,
    lock_timeout: Duration,
    pub(crate) counters: Counters,
}

/// One transaction, from its first call to its end. Owned by whoever holds the handle, used through [`System`].
pub(crate) struct Txn {
    owner: Arc<LockOwner>,
    age: u64,
    /// Its first and last record, once it has written.
    chain: Option<Chain>,
    /// It has changed what a crash must not lose.
    durable: bool,
    /// What stood before in rows of unlogged tables that it has changed.
    kept: Option<Kept>,
    /// What the old versions of its rows know of its end, once it has written.
    status: Option<Arc<Status>>,
    /// The savepoints that stand, oldest first.
    savepoints: Vec<savepoint::Mark>,
    savepoints_set: u64,
    /// Log space for taking it all back.
    undo_space: Option<Reservation>,
    /// Bytes of log that it has written.
    logged: u64,
    /// The newest commit whose effects it may have read.
    seen: Option<Lsn>,
    /// It has put pages into the pending-free tree, or has had them put there for it.
    leaves_pages: bool,
    /// Set by an error after which only rollback is left.
    doomed: Option<Error>,
}

impl Txn {
    /// Its first record.
    pub(crate) fn first(&self) -> Option<Lsn> {
        self.chain.map(|chain| chain.id)
    }

    /// Bytes of log that are its own: what it has written, and what is kept for taking that back.
    pub(crate) fn own_log(&self) -> u64 {
        let kept = self.undo_space.as_ref().map_or(0, Reservation::bytes);
        self.logged + kept as u64
    }

    pub(crate) fn has_written(&self) -> bool {
        self.chain.is_some() || self.kept.is_some()
    }

    /// Up to where the log must be durable before what it has read may be vouched for.
    pub(crate) fn seen_end(&self) -> Option<Lsn> {
        self.seen.map(after_record)
    }
}

impl System {
    pub(crate) fn new(
        io: &Io,
        pager: Pager,
        unlogged_file: UnloggedFile,
        lock_timeout: Duration,
        version_store_size: u64,
    ) -> System {
        System {
            pager,
            catalogue: Catalogue::new(io, unlogged_file),
            active: ActiveTable::new(io),
            seats: Seats::new(io),
            locks: LockTable::new(io),
            purge: Purge::new(io),
            versions: Versions::new(io, version_store_size),
            kept_bytes: AtomicU64::new(0),
            sparse: Sparse::new(io),
            next_age: AtomicU64::new(1),
            lock_timeout,
            counters: Counters::default(),
        }
    }

    /// The pages that `tree` is on.
    pub(crate) fn pager_of(&self, tree: &Tree) -> &Pager {
        self.catalogue.pager_of(tree, &self.pager)
    }

    /// The pages that `value` is on.
    pub(crate) fn pager_with(&self, value: &Large) -> &Pager {
        match (value.is_logged(), self.catalogue.unlogged()) {
            (false, Some(unlogged)) => &unlogged.pager,
            _ => &self.pager,
        }
    }

    /// Begins a transaction; `age` is that of an earlier attempt, which makes it no younger than it was.
    pub(crate) fn begin(&self, age: Option<u64>) -> Txn {
        let age = age.unwrap_or_else(|| self.next_age.fetch_add(1, Ordering::Relaxed));
        let owner = self.locks.owner(age);
        owner.set_patience(self.lock_timeout);
        Txn {
            owner,
            age,
            chain: None,
            durable: false,
            kept: None,
            status: None,
            savepoints: Vec::new(),
            savepoints_set: 0,
            undo_space: None,
            logged: 0,
            seen: None,
            leaves_pages: false,
            doomed: None,
        }
    }

    fn lock(&self, txn: &mut Txn, resource: &Resource<'_>, mode: Mode) -> Result<()> {
        match self.locks.lock(&txn.owner, resource, mode) {
            Ok(Granted { last_commit }) => {
                txn.seen = txn.seen.max(last_commit);
                // The holder before may have left because it could not be rolled back: what it wrote is not to be seen.
                self.check_running()
            }
            Err(LockError::Deadlock) => {
                txn.doomed = Some(Error::Deadlock);
                Err(Error::Deadlock)
            }
            // Nothing was changed: the transaction may go on.
            Err(LockError::Timeout { waited }) => Err(Error::LockTimeout { waited }),
            Err(LockError::Revoked(reason)) => {
                let error = Error::TransactionEnded { reason };
                txn.doomed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// As [`System::lock`], where nobody may be waited for. False: it would have to wait, or fail.
    fn try_lock(&self, txn: &mut Txn, resource: &Resource<'_>, mode: Mode) -> bool {
        let Some(Granted { last_commit }) = self.locks.try_lock(&txn.owner, resource, mode) else {
            return false;
        };
        txn.seen = txn.seen.max(last_commit);
        true
    }

    pub(crate) fn deadlocks(&self) -> u64 {
        self.locks.stats().deadlocks
    }

    pub(crate) fn lock_timeouts(&self) -> u64 {
        self.locks.stats().timeouts
    }

    /// Ends every lock wait: the database is being closed.
    pub(crate) fn end_lock_waits(&self, reason: &str) {
        self.locks.revoke_waiting(reason);
    }

    /// Opens a view for a snapshot: at the durable LSN, or at the log's end.
    pub(crate) fn open_view(&self, latest: bool) -> Arc<View> {
        let log = &self.pager.log;
        let position = || {
            if latest || planted::active(Bug::SnapshotNotDurable) {
                log.next_lsn()
            } else {
                log.durable_lsn()
            }
        };
        self.versions.open_view(|| self.active.look(position))
    }

    pub(crate) fn close_view(&self, view: &View) {
        self.versions.close_view(view);
    }

    /// Gives up old versions that nobody needs. True if there were any.
    pub(crate) fn sweep_versions(&self) -> bool {
        self.versions.sweep(self.pager.log.durable_lsn())
    }

    pub(crate) fn version_stats(&self) -> (VersionStats, u64) {
        (self.versions.stats(), self.versions.too_old.get())
    }

    /// Waits for locks: how many have begun, those that are over, and how many are not.
    pub(crate) fn lock_waits(&self) -> (u64, Histogram, u64) {
        let (over, under_way) = self.locks.waited();
        (self.locks.stats().waits, over, under_way)
    }
}
