//! Where a transaction's state is kept: with the engine, not with its handle. So one that holds too much log back can be
//! taken back from outside, whatever its owner does or does not do; the handle then answers with the reason.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::Lsn;

use super::locks::LockOwner;
use super::{System, Txn};
use crate::error::{Error, Result};

/// One transaction that has a handle.
pub(crate) struct Seat {
    age: u64,
    /// On the world's clock.
    began: Duration,
    label: Mutex<String>,
    owner: Arc<LockOwner>,
    /// Its first record, zero before there is one.
    first: AtomicU64,
    /// Bytes of log that are its own, by its last call.
    own_log: AtomicU64,
    /// Bytes of memory that are kept for taking it back, by its last call.
    kept: AtomicU64,
    /// Why the engine ends it; set before anything is done about it.
    ended: OnceLock<Error>,
    /// Locked during each call of the handle. `None` once it has ended, or the handle was consumed.
    txn: Mutex<Option<Txn>>,
}

impl Seat {
    /// Begin order, that of its first attempt.
    pub(crate) fn age(&self) -> u64 {
        self.age
    }

    pub(crate) fn label(&self) -> String {
        self.label.lock().clone()
    }

    pub(crate) fn set_label(&self, label: String) {
        *self.label.lock() = label;
    }

    /// When it began, on the world's clock.
    pub(crate) fn began(&self) -> Duration {
        self.began
    }

    pub(crate) fn first(&self) -> Option<Lsn> {
        Lsn::new(self.first.load(Ordering::Acquire))
    }

    /// Bytes of log that are its own: what it has written, and what is kept for taking that back.
    pub(crate) fn own_log(&self) -> u64 {
        self.own_log.load(Ordering::Relaxed)
    }

    /// Bytes of memory that are kept for taking its changes of unlogged rows back.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// How long each wait for a lock may take from now on.
    pub(crate) fn set_lock_timeout(&self, timeout: Duration) {
        self.owner.set_patience(timeout);
    }

    /// One call of the handle.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Txn) -> Result<R>) -> Result<R> {
        let mut txn = self.txn.lock();
        let (None, Some(txn)) = (self.ended.get(), txn.as_mut()) else {
            return Err(self.why());
        };
        let result = work(txn);
        self.kept.store(txn.kept_bytes(), Ordering::Relaxed);
        if let Some(first) = txn.first() {
            self.own_log.store(txn.own_log(), Ordering::Relaxed);
            self.first.store(first.get(), Ordering::Release);
        }
        // It may have been ended meanwhile: then that is what went wrong.
        result.map_err(|error| self.ended.get().cloned().unwrap_or(error))
    }

    /// Takes the transaction out, for its end.
    ///
    /// # Errors
    ///
    /// Why there is none any more.
    pub(crate) fn take(&self) -> Result<Txn> {
        self.txn.lock().take().ok_or_else(|| self.why())
    }

    /// The engine has ended it, or is about to.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.get()
    }

    fn why(&self) -> Error {
        let reason = || "it was committed or rolled back".to_owned();
        let ended = self.ended.get().cloned();
        ended.unwrap_or_else(|| Error::TransactionEnded { reason: reason() })
    }
}

/// Every transaction that has a handle, by age.
pub(crate) struct Seats {
    seats: Mutex<BTreeMap<u64, Arc<Seat>>>,
}

impl Seats {
    pub(super) fn new(io: &Io) -> Seats {
        Seats {
            seats: Mutex::new(io, BTreeMap::new()),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Seat>> {
        self.seats.lock().values().cloned().collect()
    }

    /// The one that keeps the most memory.
    pub(crate) fn keeper(&self) -> Option<Arc<Seat>> {
        let seats = self.seats.lock();
        seats.values().max_by_key(|seat| seat.kept()).cloned()
    }

    /// Those that have written, oldest record first.
    pub(crate) fn writers(&self) -> Vec<Arc<Seat>> {
        let seats = self.seats.lock();
        let mut writers: Vec<_> = seats
            .values()
            .filter(|seat| seat.first().is_some())
            .cloned()
            .collect();
        drop(seats);
        writers.sort_by_key(|seat| seat.first());
        writers
    }
}

impl System {
    /// Begins a transaction that has a handle; `age` as for [`System::begin`].
    pub(crate) fn seat(&self, age: Option<u64>) -> Arc<Seat> {
        let io = &self.pager.io;
        let txn = self.begin(age);
        let seat = Arc::new(Seat {
            age: txn.age,
            began: io.now(),
            label: Mutex::new(io, String::new()),
            owner: Arc::clone(&txn.owner),
            first: AtomicU64::new(0),
            own_log: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            ended: OnceLock::new(),
            txn: Mutex::new(io, Some(txn)),
        });
        self.seats.seats.lock().insert(seat.age, Arc::clone(&seat));
        seat
    }

    /// The transaction of this seat has ended.
    pub(crate) fn leave(&self, seat: &Seat) {
        let mut seats = self.seats.seats.lock();
        // A later attempt may have come in with the same age.
        if seats
            .get(&seat.age)
            .is_some_and(|other| std::ptr::eq(&**other, seat))
        {
            seats.remove(&seat.age);
        }
    }

    /// Ends a transaction from outside and takes it back: its wait for a lock, if it is in one, is over, and its handle
    /// answers `why` from now on. Waits for the call that it is in. False if it is ending by itself at this moment.
    ///
    /// # Errors
    ///
    /// As [`System::rollback`].
    pub(crate) fn end_from_outside(&self, seat: &Seat, why: Error) -> Result<bool> {
        let reason = why.to_string();
        // The first reason stands.
        let _ = seat.ended.set(why);
        self.locks.revoke(&seat.owner, &reason);
        let Ok(txn) = seat.take() else {
            return Ok(false);
        };
        let result = self.rollback(txn);
        self.leave(seat);
        result.map(|()| true)
    }
}
