//! The lock table: asks `state` for a decision under one short mutex, and waits for it outside. What its callers may and
//! must do is in the README beside this file.

use std::fmt;
use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::{Mutex, MutexGuard};
use afterimage_log::{Durations, Histogram, Lsn};

use super::commits::{Commits, Writers, place};
use super::held::{Held, HeldTable};
use super::line::Slot;
use super::mode::Mode;
use super::owner::{LockOwner, Verdict};
use super::state::{State, Wakes};
use super::target::{Name, Target};
use super::{Granted, LockError, LockStats, Resource};
use crate::ids::TableId;

/// Locks given back in one go: bounds how long a large transaction's end keeps everybody else from the mutex.
const RELEASE_BATCH: usize = 64;

/// All locks of one database. Shared by reference between threads; blocks only in [`LockTable::lock`].
pub(crate) struct LockTable {
    io: Io,
    state: Mutex<State>,
    commits: Commits,
    writers: Writers,
    /// How long owners have waited.
    waited: Durations,
}

/// How a request came out before any waiting.
enum Answer {
    /// It was granted at once.
    Granted,
    /// It stands in the queue; the owner's verdict tells when it is decided.
    Queued(Name, Wakes),
    /// It would have to wait, and may not; or its owner was revoked.
    Refused,
}

impl LockTable {
    /// An empty table in the world of `io`.
    pub(crate) fn new(io: &Io) -> LockTable {
        LockTable {
            io: io.clone(),
            state: Mutex::new(io, State::default()),
            commits: Commits::new(),
            writers: Writers::new(),
            waited: Durations::default(),
        }
    }

    /// A new owner: one per transaction and attempt. `age` is the order of begin, smaller is older; a retry keeps the age
    /// of its first attempt, so that it is not the youngest for ever. No two living owners share an age.
    pub(crate) fn owner(&self, age: u64) -> Arc<LockOwner> {
        Arc::new(LockOwner::new(&self.io, age))
    }

    /// Locks `resource` in `mode` on top of what the owner holds already, and blocks until that is granted. Never call it
    /// with a latch, log-buffer bytes or frames in hand.
    ///
    /// # Errors
    ///
    /// [`LockError::Deadlock`] if the owner is to give way, [`LockError::Revoked`] if the engine has ended it: the caller
    /// rolls back and releases all. [`LockError::Timeout`] after its patience: it may go on. In any case it keeps what
    /// it held before.
    pub(crate) fn lock(
        &self,
        owner: &LockOwner,
        resource: &Resource<'_>,
        mode: Mode,
    ) -> Result<Granted, LockError> {
        if let Some(reason) = owner.shared.revoked() {
            return Err(LockError::Revoked(reason.clone()));
        }
        let mut held = owner.held.lock();
        if held.covers(resource, mode) {
            return Ok(Granted { last_commit: None });
        }
        let answer = self.ask(owner, &mut held, resource, mode, true);
        let many = held.has_many(resource.table());
        drop(held);
        match answer {
            Answer::Granted if !many => {}
            Answer::Granted => self.make_few(owner, resource.table()),
            Answer::Queued(name, wakes) => {
                self.wait(owner, name, mode, wakes)?;
                self.make_few(owner, resource.table());
            }
            Answer::Refused => return Err(revoked(owner)),
        }
        Ok(Granted {
            last_commit: self.commits.seen_through(resource),
        })
    }

    /// As [`LockTable::lock`], but answers `None` where that would have to wait or would fail. For callers with a latch in
    /// hand.
    pub(crate) fn try_lock(
        &self,
        owner: &LockOwner,
        resource: &Resource<'_>,
        mode: Mode,
    ) -> Option<Granted> {
        if owner.shared.revoked().is_some() {
            return None;
        }
        let mut held = owner.held.lock();
        if held.covers(resource, mode) {
            return Some(Granted { last_commit: None });
        }
        match self.ask(owner, &mut held, resource, mode, false) {
            Answer::Granted => Some(Granted {
                last_commit: self.commits.seen_through(resource),
            }),
            Answer::Queued(..) | Answer::Refused => None,
        }
    }

    /// Gives back all that the owner holds: directly after its commit record was appended (`commit_lsn` names it), or
    /// after its rollback is complete (`None`).
    ///
    /// With a commit, whatever was held exclusively remembers the LSN before the first lock is free, so that nobody can
    /// read the data without learning what it depends on.
    pub(crate) fn release_all(&self, owner: &LockOwner, commit_lsn: Option<Lsn>) {
        let mut held = owner.held.lock();
        let Some(slot) = held.slot.take() else { return };
        let tables = held.take();
        drop(held);
        for (table, held) in &tables {
            self.end_writes(*table, held, commit_lsn);
        }
        let mut release = Release::new(self, slot);
        for (table, held) in &tables {
            for target in held.targets() {
                release.one(*table, &target);
            }
        }
        release.dismiss();
    }

    /// Remembers the commit for what was changed, and counts its writer out.
    fn end_writes(&self, table: TableId, held: &HeldTable, commit_lsn: Option<Lsn>) {
        if let Some(lsn) = commit_lsn {
            if held.has_exclusive_range() {
                self.commits.raise_range(table, lsn);
            }
            if held.has_exclusive_key() {
                self.commits.raise_part(table, lsn);
            }
        }
        for key in held.exclusive_keys() {
            let place = place(table, key);
            // In this order: whoever finds no writer of the key any more asks for its commit.
            if let Some(lsn) = commit_lsn {
                self.commits.raise_key(place, lsn);
            }
            self.writers.remove_key(place);
        }
        if held.writes_ranges() {
            self.writers.remove_ranges();
        }
    }

    /// Holds one range in place of very many keys and ranges, if nobody is in the way: what one owner's locks take of
    /// memory then stays bounded.
    fn make_few(&self, owner: &LockOwner, table: TableId) {
        let mut held = owner.held.lock();
        let Some((range, mode)) = held.in_one(table) else {
            return;
        };
        let in_one = Resource::Range(table, &range);
        let answer = self.ask(owner, &mut held, &in_one, mode, false);
        if !matches!(answer, Answer::Granted) {
            return;
        }
        let forget = |key: &[u8]| self.writers.remove_key(place(table, key));
        let (slot, covered) = (held.slot, held.take_covered(table, forget));
        drop(held);
        if let Some(slot) = slot {
            let mut release = Release::new(self, slot);
            for target in &covered {
                release.one(table, target);
            }
            release.let_go();
        }
    }

    /// Is the key, alone or within a range, held exclusively by anybody, the asker included? For the purge of ghosts, which
    /// asks with a page latch in hand: takes the table's own mutex at most, which nobody holds for long or while waiting. Somebody to whom
    /// it was granted and who has not yet gone on may be overlooked: he has not changed anything.
    pub(crate) fn is_locked_exclusively(&self, table: TableId, key: &[u8]) -> bool {
        self.is_held_at(place(table, key), table, key)
    }

    fn is_held_at(&self, place: usize, table: TableId, key: &[u8]) -> bool {
        self.writers.may_hold(place) && self.state.lock().is_held_exclusively(table, key)
    }

    /// The highest commit that the key's current value depends on, without locking it: for a momentary read, under the latch
    /// of the key's page. `None`: somebody has it [locked exclusively](LockTable::is_locked_exclusively).
    pub(crate) fn last_commit(&self, table: TableId, key: &[u8]) -> Option<Option<Lsn>> {
        let place = place(table, key);
        // In this order, for a commit is remembered before its writer is counted out.
        let is_free = !self.is_held_at(place, table, key);
        is_free.then(|| self.commits.seen_through_key(table, place))
    }

    /// Ends a transaction from outside: its wait, if it is in one, and every later request fail with
    /// [`LockError::Revoked`]. It keeps its locks until it is rolled back. Only the first reason counts.
    #[allow(
        dead_code,
        reason = "a transaction's state can be revoked; so far no bound does it"
    )]
    pub(crate) fn revoke(&self, owner: &LockOwner, reason: &str) {
        let mut wakes = Wakes::new();
        {
            let held = owner.held.lock();
            let mut state = self.state.lock();
            owner.shared.revoke(reason.to_owned());
            if let Some(slot) = held.slot {
                state.end_wait(slot, Verdict::Revoked, &mut wakes);
            }
        }
        wake(wakes, None);
    }

    /// Ends every wait that is going on, with [`LockError::Revoked`]: the database is being closed.
    pub(crate) fn revoke_waiting(&self, reason: &str) {
        let mut wakes = Wakes::new();
        self.state.lock().revoke_waiting(reason, &mut wakes);
        wake(wakes, None);
    }

    /// Counts since the table was made.
    pub(crate) fn stats(&self) -> LockStats {
        let state = self.state.lock();
        LockStats {
            waits: state.waits,
            deadlocks: state.deadlocks,
            timeouts: state.timeouts,
        }
    }

    /// How long the waits took that are over, and how many are not.
    pub(crate) fn waited(&self) -> (Histogram, u64) {
        (Durations::told([&self.waited]), self.waited.under_way())
    }

    fn ask(
        &self,
        owner: &LockOwner,
        held: &mut Held,
        resource: &Resource<'_>,
        mode: Mode,
        may_wait: bool,
    ) -> Answer {
        // The key is copied before the mutex is taken.
        let name = name_of(resource);
        let mut state = self.state.lock();
        let slot = *held
            .slot
            .get_or_insert_with(|| state.admit_owner(&owner.shared));
        if state.try_grant(slot, &name, mode) {
            drop(state);
            self.record(held, name, mode);
            return Answer::Granted;
        }
        // Asked again under the mutex: who is revoked later finds this owner in the queue.
        if !may_wait || owner.shared.revoked().is_some() {
            return Answer::Refused;
        }
        let mut wakes = Wakes::new();
        state.wait(slot, &name, mode, &mut wakes);
        Answer::Queued(name, wakes)
    }

    fn wait(
        &self,
        owner: &LockOwner,
        name: Name,
        mode: Mode,
        wakes: Wakes,
    ) -> Result<(), LockError> {
        wake(wakes, Some(owner));
        let began = self.io.now();
        let verdict = self.waited.during(&self.io, || {
            match owner.shared.wait_for_verdict(&self.io, owner.patience()) {
                Verdict::Pending => self.give_up(owner),
                decided => decided,
            }
        });
        match verdict {
            Verdict::Granted => {
                self.record(&mut owner.held.lock(), name, mode);
                Ok(())
            }
            Verdict::Victim => Err(LockError::Deadlock),
            Verdict::Revoked => Err(revoked(owner)),
            Verdict::TimedOut => Err(LockError::Timeout {
                waited: self.io.now().saturating_sub(began),
            }),
            Verdict::Pending => unreachable!("a wait ends with a verdict"),
        }
    }

    fn record(&self, held: &mut Held, name: Name, mode: Mode) {
        held.record(name, mode, |resource| self.writers.add(resource));
    }

    /// Ends a wait that takes too long, unless it has just been decided: what is decided stands.
    fn give_up(&self, owner: &LockOwner) -> Verdict {
        let mut wakes = Wakes::new();
        {
            let held = owner.held.lock();
            let mut state = self.state.lock();
            if let Some(slot) = held.slot
                && owner.shared.verdict() == Verdict::Pending
            {
                state.timeouts += 1;
                state.end_wait(slot, Verdict::TimedOut, &mut wakes);
            }
        }
        wake(wakes, Some(owner));
        owner.shared.verdict()
    }

    #[cfg(test)]
    pub(super) fn locks_held(&self) -> usize {
        self.state.lock().locks_held()
    }

    #[cfg(test)]
    pub(super) fn with_state<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock())
    }
}

/// Locks being given back, so many at a time under the mutex.
struct Release<'t> {
    locks: &'t LockTable,
    slot: Slot,
    /// None only while it is let go.
    state: Option<MutexGuard<'t, State>>,
    /// How many since it was taken, and who is to be woken when it is let go.
    count: usize,
    wakes: Wakes,
}

impl<'t> Release<'t> {
    fn new(locks: &'t LockTable, slot: Slot) -> Release<'t> {
        Release {
            locks,
            slot,
            state: Some(locks.state.lock()),
            count: 0,
            wakes: Wakes::new(),
        }
    }

    fn one(&mut self, table: TableId, target: &Target) {
        if self.count == RELEASE_BATCH {
            self.let_go();
            self.state = Some(self.locks.state.lock());
        }
        self.count += 1;
        let state = self.state.as_mut().expect("it was taken again");
        state.release(self.slot, table, target, &mut self.wakes);
    }

    fn let_go(&mut self) {
        self.state = None;
        self.count = 0;
        wake(std::mem::take(&mut self.wakes), None);
    }

    /// The owner has no more of them.
    fn dismiss(mut self) {
        let state = self.state.as_mut().expect("it was taken again");
        state.dismiss_owner(self.slot);
        self.let_go();
    }
}

impl fmt::Debug for LockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockTable").finish_non_exhaustive()
    }
}

/// Wakes the owners whose wait has ended; `except` is the caller itself, who needs no call to the system to know.
fn wake(wakes: Wakes, except: Option<&LockOwner>) {
    for shared in wakes {
        if !except.is_some_and(|owner| Arc::ptr_eq(&owner.shared, &shared)) {
            shared.wake();
        }
    }
}

fn revoked(owner: &LockOwner) -> LockError {
    let reason = owner
        .shared
        .revoked()
        .expect("the reason is set before the verdict");
    LockError::Revoked(reason.clone())
}

fn name_of(resource: &Resource<'_>) -> Name {
    let target = match *resource {
        Resource::Key(_, key) => Target::Key(Arc::from(key)),
        Resource::Range(_, range) => Target::Range(range.clone()),
    };
    Name {
        table: resource.table(),
        target,
    }
}
