//! A transaction as the lock table sees it: its age, how it is told of a decision while it waits, and what it holds.
//!
//! Two halves with two protocols. [`Shared`] is read and written by other owners' threads: by whoever grants, revokes or
//! sacrifices this one, always under the lock table's mutex. `held` belongs to the transaction's own thread; its mutex
//! is there because a transaction may move between threads, and nobody waits for it. Order: `held`, then the table's
//! mutex; neither is held while waiting for a lock.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex};

use super::held::Held;

/// One transaction. Made by [`LockTable::owner`](super::LockTable::owner); what it holds is given back by
/// [`LockTable::release_all`](super::LockTable::release_all) and by nothing else, dropping it included.
pub(crate) struct LockOwner {
    pub(super) shared: Arc<Shared>,
    pub(super) held: Mutex<Held>,
    /// In nanoseconds.
    patience: AtomicU64,
}

impl LockOwner {
    pub(super) fn new(io: &Io, age: u64) -> LockOwner {
        let shared = Shared {
            age,
            rolling_back: AtomicBool::new(false),
            revoked: OnceLock::new(),
            verdict: AtomicU32::new(Verdict::Pending as u32),
            sleeping: Mutex::new(io, ()),
            decided: Condvar::new(io),
        };
        LockOwner {
            shared: Arc::new(shared),
            held: Mutex::new(io, Held::default()),
            patience: AtomicU64::new(u64::MAX),
        }
    }

    /// How long each of its waits may take from now on; [`Duration::MAX`], at first, for ever.
    pub(crate) fn set_patience(&self, patience: Duration) {
        let nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        self.patience.store(nanos, Ordering::Relaxed);
    }

    /// None for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self.patience.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// From now on this owner is no deadlock's victim: it rolls back, which asks for no locks and ends by releasing all.
    pub(crate) fn set_rolling_back(&self) {
        self.shared.rolling_back.store(true, Ordering::Release);
    }
}

impl fmt::Debug for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockOwner")
            .field("age", &self.shared.age)
            .finish_non_exhaustive()
    }
}

/// What became of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Verdict {
    /// Nothing yet.
    Pending,
    Granted,
    /// Chosen to end a deadlock.
    Victim,
    Revoked,
    /// It has waited as long as it was willing to.
    TimedOut,
}

/// The half that other owners' threads see.
pub(super) struct Shared {
    pub(super) age: u64,
    rolling_back: AtomicBool,
    revoked: OnceLock<String>,
    /// A [`Verdict`]. Set by whoever decides, under the table's mutex and before `decided` is told.
    verdict: AtomicU32,
    sleeping: Mutex<()>,
    decided: Condvar,
}

impl Shared {
    pub(super) fn is_rolling_back(&self) -> bool {
        self.rolling_back.load(Ordering::Acquire)
    }

    pub(super) fn revoke(&self, reason: String) {
        // The first reason stands.
        let _ = self.revoked.set(reason);
    }

    pub(super) fn revoked(&self) -> Option<&String> {
        self.revoked.get()
    }

    /// Under the table's mutex; the decider then calls [`Shared::wake`], after the mutex.
    pub(super) fn decide(&self, verdict: Verdict) {
        self.verdict.store(verdict as u32, Ordering::Release);
    }

    pub(super) fn wake(&self) {
        // Whoever has seen no verdict holds this until it sleeps: no wake-up is lost.
        drop(self.sleeping.lock());
        self.decided.notify_all();
    }

    pub(super) fn verdict(&self) -> Verdict {
        let verdict = self.verdict.load(Ordering::Acquire);
        let all = [
            Verdict::Pending,
            Verdict::Granted,
            Verdict::Victim,
            Verdict::Revoked,
            Verdict::TimedOut,
        ];
        all.into_iter()
            .find(|known| *known as u32 == verdict)
            .expect("only verdicts are stored")
    }

    /// Sleeps until somebody has decided; no longer than `patience`, after which nothing may be decided yet.
    pub(super) fn wait_for_verdict(&self, io: &Io, patience: Option<Duration>) -> Verdict {
        let until = patience.map(|patience| io.now().saturating_add(patience));
        let mut sleeping = self.sleeping.lock();
        loop {
            let verdict = self.verdict();
            if verdict != Verdict::Pending {
                return verdict;
            }
            sleeping = match until {
                None => self.decided.wait(sleeping),
                Some(until) => {
                    let left = until.saturating_sub(io.now());
                    if left.is_zero() {
                        return Verdict::Pending;
                    }
                    self.decided.wait_timeout(sleeping, left).0
                }
            };
        }
    }
}
