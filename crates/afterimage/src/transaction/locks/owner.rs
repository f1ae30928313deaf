//! A transaction as the lock table sees it: its age, how it is told of a decision while it waits, and what it holds.
//!
//! Two halves with two protocols. [`Shared`] is read and written by other owners' threads: by whoever grants, revokes or
//! sacrifices this one, always under the lock table's mutex. [`Held`] belongs to the transaction's own thread; its mutex
//! is there because a transaction may move between threads, and nobody waits for it. Order: `held`, then the table's
//! mutex; neither is held while waiting for a lock.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex};
use foldhash::fast::FixedState;

use super::Resource;
use super::mode::Mode;
use super::queue::Slot;
use crate::ids::TableId;

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

/// A resource by its own bytes. The key is shared with the lock table's index: one allocation serves both.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) table: TableId,
    /// `None`: the table itself.
    pub(super) key: Option<Arc<[u8]>>,
}

impl Name {
    pub(super) fn of(resource: &Resource<'_>) -> Name {
        match *resource {
            Resource::Table(table) => Name { table, key: None },
            Resource::Key(table, key) => Name {
                table,
                key: Some(Arc::from(key)),
            },
        }
    }
}

/// What one owner holds: the answer to asking again, and the list for the release.
#[derive(Default)]
pub(super) struct Held {
    /// Its place among the active owners; `None` while it holds nothing and has never waited.
    pub(super) slot: Option<Slot>,
    tables: BTreeMap<TableId, HeldTable>,
    /// Everything held, in the order it was granted: locks are released in an order that no hash decides.
    order: Vec<Name>,
}

#[derive(Default)]
struct HeldTable {
    whole: Option<Mode>,
    keys: HashMap<Arc<[u8]>, Mode, FixedState>,
}

impl Held {
    /// Is the request needless: held already, or, for a key, implied by what is held on its table?
    pub(super) fn covers(&self, resource: &Resource<'_>, mode: Mode) -> bool {
        let Some(table) = self.tables.get(&resource.table()) else {
            return false;
        };
        let by_table = table.whole.is_some_and(|held| held.covers(mode));
        match resource {
            Resource::Table(_) => by_table,
            Resource::Key(_, key) => {
                by_table || table.keys.get(*key).is_some_and(|held| held.covers(mode))
            }
        }
    }

    /// Does it hold the intent on the key's table that `mode` on the key asks for?
    pub(super) fn has_intent(&self, table: TableId, mode: Mode) -> bool {
        let whole = self.tables.get(&table).and_then(|table| table.whole);
        whole.is_some_and(|held| held.covers(mode.intent()))
    }

    /// Remembers that `mode` was granted on top of what was held.
    pub(super) fn record(&mut self, name: Name, mode: Mode) {
        let table = self.tables.entry(name.table).or_default();
        let held = match &name.key {
            None => table.whole.as_mut(),
            Some(key) => table.keys.get_mut(key),
        };
        if let Some(held) = held {
            *held = held.supremum(mode);
            return;
        }
        match &name.key {
            None => table.whole = Some(mode),
            Some(key) => _ = table.keys.insert(Arc::clone(key), mode),
        }
        self.order.push(name);
    }

    /// What it may have changed: everything held exclusively.
    pub(super) fn changed(&self) -> impl Iterator<Item = Resource<'_>> {
        self.tables.iter().flat_map(|(table, held)| {
            let whole = held.whole.filter(|mode| *mode == Mode::Exclusive);
            let keys = held
                .keys
                .iter()
                .filter(|(_, mode)| **mode == Mode::Exclusive);
            let keys = keys.map(|(key, _)| Resource::Key(*table, key));
            whole
                .map(|_| Resource::Table(*table))
                .into_iter()
                .chain(keys)
        })
    }

    /// Forgets everything and hands out the list for the release, oldest grant first.
    pub(super) fn take(&mut self) -> Vec<Name> {
        self.tables.clear();
        std::mem::take(&mut self.order)
    }
}
