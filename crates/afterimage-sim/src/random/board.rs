//! What the clients of one life share: the history, the first thing that went wrong, and whether trouble was made that excuses a refusal.

use crate::failure::Mismatch;
use crate::history::History;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The clients' common knowledge. Its locks are held for no longer than a look: never across a call of the engine.
#[derive(Default)]
pub struct Board {
    history: Mutex<History>,
    wrong: Mutex<Option<Mismatch>>,
    trouble: AtomicBool,
    over: AtomicBool,
    deadlocks: AtomicU64,
    too_much: AtomicU64,
    working: AtomicUsize,
}

impl Board {
    /// A board for a life that goes on from `history`.
    #[must_use]
    pub fn new(history: History) -> Board {
        Board {
            history: Mutex::new(history),
            ..Board::default()
        }
    }

    /// The history.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the history out.
    #[must_use]
    pub fn take_history(&self) -> History {
        std::mem::take(&mut *self.history())
    }

    /// Something is wrong: the first report counts, and everybody stops.
    pub fn wrong(&self, mismatch: Mismatch) {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(mismatch);
        self.over.store(true, Ordering::Relaxed);
    }

    /// The first thing that went wrong.
    #[must_use]
    pub fn mismatch(&self) -> Option<Mismatch> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether everybody should stop.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The disk has begun to fail.
    pub fn make_trouble(&self) {
        self.trouble.store(true, Ordering::Relaxed);
    }

    /// The disk works again.
    pub fn end_trouble(&self) {
        self.trouble.store(false, Ordering::Relaxed);
    }

    /// Whether the disk has failed.
    #[must_use]
    pub fn trouble(&self) -> bool {
        self.trouble.load(Ordering::Relaxed)
    }

    /// A transaction was rolled back for holding too much log.
    pub fn too_much(&self) {
        self.too_much.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    #[must_use]
    pub fn rolled_for_log(&self) -> u64 {
        self.too_much.load(Ordering::Relaxed)
    }

    /// A deadlock was ended.
    pub fn deadlock(&self) {
        self.deadlocks.fetch_add(1, Ordering::Relaxed);
    }

    /// How many deadlocks were ended.
    #[must_use]
    pub fn deadlocks(&self) -> u64 {
        self.deadlocks.load(Ordering::Relaxed)
    }

    /// So many clients begin.
    pub fn begin_work(&self, clients: usize) {
        self.working.store(clients, Ordering::Relaxed);
    }

    /// Whether a client is still at work.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed) > 0
    }

    /// A client's presence: dropped when it ends, however it ends.
    #[must_use]
    pub fn present(&self) -> Present<'_> {
        Present(self)
    }
}

/// See [`Board::present`].
pub struct Present<'a>(&'a Board);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
    }
}
