//! What the lock table's mutex protects: the queues of all locked resources and the owners that are active. Decides
//! everything, blocks nowhere: `table` brings the waiting.
//!
//! Each operation that can end somebody's wait adds that owner to a [`Wakes`] list; the caller wakes them when it has
//! let the mutex go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::deadlock::{self, Candidate};
use super::mode::Mode;
use super::owner::{Name, Shared, Verdict};
use super::queue::{Queue, Slot};
use crate::ids::TableId;

/// Owners whose wait has ended, to be woken without the mutex.
pub(super) type Wakes = Vec<Arc<Shared>>;

/// A table's index of locked keys gives memory back when fewer than one in this many places is in use ...
const SPARSE: usize = 8;
/// ... and it has at least this many.
const LARGE: usize = 1024;

/// Every lock, every wait.
#[derive(Default)]
pub(super) struct State {
    /// Kept once made: tables are few, their numbers are never reused, and a busy one would be made anew all the time.
    tables: BTreeMap<TableId, TableLocks>,
    /// Active owners by slot.
    owners: Vec<Option<Active>>,
    vacant: Vec<Slot>,
    pub(super) locks_held: u64,
    pub(super) waits: u64,
    pub(super) deadlocks: u64,
    pub(super) timeouts: u64,
}

#[derive(Default)]
struct TableLocks {
    whole: Queue,
    keys: HashMap<Arc<[u8]>, Queue, FixedState>,
}

impl TableLocks {
    fn queue(&self, key: Option<&[u8]>) -> Option<&Queue> {
        match key {
            None => Some(&self.whole),
            Some(key) => self.keys.get(key),
        }
    }

    fn queue_mut(&mut self, name: &Name) -> &mut Queue {
        match &name.key {
            None => &mut self.whole,
            Some(key) => self.keys.entry(Arc::clone(key)).or_default(),
        }
    }

    /// Forgets the queue of a key that nobody holds any more.
    fn tidy(&mut self, name: &Name) {
        let Some(key) = &name.key else { return };
        if !self.keys.get(key).is_some_and(Queue::is_empty) {
            return;
        }
        self.keys.remove(key);
        if self.keys.capacity() >= LARGE && self.keys.len() < self.keys.capacity() / SPARSE {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }
}

/// An owner that holds or waits for something.
struct Active {
    shared: Arc<Shared>,
    /// What it waits for: at most one resource, for it is one thread.
    waits_for: Option<Name>,
}

impl State {
    /// Takes an owner into the list of the active.
    pub(super) fn admit_owner(&mut self, shared: &Arc<Shared>) -> Slot {
        let active = Active {
            shared: Arc::clone(shared),
            waits_for: None,
        };
        if let Some(slot) = self.vacant.pop() {
            self.owners[slot.0] = Some(active);
            return slot;
        }
        self.owners.push(Some(active));
        Slot(self.owners.len() - 1)
    }

    /// The owner has released everything.
    pub(super) fn dismiss_owner(&mut self, slot: Slot) {
        let active = self.owners[slot.0].take().expect("LOCK-4: dismissed once");
        assert!(
            active.waits_for.is_none(),
            "LOCK-4: an owner released its locks while it waited for one"
        );
        self.vacant.push(slot);
    }

    /// Grants the request if nothing blocks it.
    pub(super) fn try_grant(&mut self, slot: Slot, name: &Name, mode: Mode) -> bool {
        let queue = self.tables.entry(name.table).or_default().queue_mut(name);
        let holders = queue.holders().len();
        let granted = queue.try_grant(slot, mode);
        self.locks_held += (queue.holders().len() - holders) as u64;
        granted
    }

    /// Queues a request that [`State::try_grant`] refused, and breaks every deadlock that this closes. Afterwards the
    /// owner's verdict is pending, unless it has been decided on the way.
    pub(super) fn wait(&mut self, slot: Slot, name: &Name, mode: Mode, wakes: &mut Wakes) {
        self.tables
            .entry(name.table)
            .or_default()
            .queue_mut(name)
            .enqueue(slot, mode);
        let active = self.active_mut(slot);
        active.shared.decide(Verdict::Pending);
        active.waits_for = Some(name.clone());
        self.waits += 1;
        while let Some(cycle) = self.cycle_through(slot) {
            let victim = deadlock::victim(&cycle, |slot| self.candidate(slot));
            let victim = victim.expect(
                "LOCK-5: rollback asks for no locks, so no cycle consists of rollbacks alone",
            );
            self.deadlocks += 1;
            self.end_wait(victim, Verdict::Victim, wakes);
        }
    }

    /// Ends a wait without a grant, and lets those pass who waited behind it. Does nothing to an owner that does not wait.
    pub(super) fn end_wait(&mut self, slot: Slot, verdict: Verdict, wakes: &mut Wakes) {
        let active = self.active_mut(slot);
        let Some(name) = active.waits_for.take() else {
            return;
        };
        active.shared.decide(verdict);
        wakes.push(Arc::clone(&active.shared));
        self.change_queue(&name, |queue| queue.cancel(slot), wakes);
    }

    /// Gives back one lock, and lets those pass who waited for it.
    pub(super) fn release(&mut self, slot: Slot, name: &Name, wakes: &mut Wakes) {
        self.change_queue(name, |queue| queue.release(slot), wakes);
    }

    /// Takes every waiting owner out of its queue.
    pub(super) fn revoke_waiting(&mut self, reason: &str, wakes: &mut Wakes) {
        for slot in (0..self.owners.len()).map(Slot) {
            let waiting = self.owners[slot.0]
                .as_ref()
                .filter(|active| active.waits_for.is_some());
            if let Some(active) = waiting {
                active.shared.revoke(reason.to_owned());
                self.end_wait(slot, Verdict::Revoked, wakes);
            }
        }
    }

    /// Is the key, or its whole table, held exclusively by anybody?
    pub(super) fn is_held_exclusively(&self, table: TableId, key: &[u8]) -> bool {
        let Some(locks) = self.tables.get(&table) else {
            return false;
        };
        locks.whole.is_held_exclusively()
            || locks
                .queue(Some(key))
                .is_some_and(Queue::is_held_exclusively)
    }

    /// Changes a queue, grants whatever nothing blocks any more, and forgets the queue if it is empty then.
    fn change_queue(&mut self, name: &Name, change: impl FnOnce(&mut Queue), wakes: &mut Wakes) {
        let table = self.tables.entry(name.table).or_default();
        let queue = table.queue_mut(name);
        let holders = queue.holders().len() as u64;
        let mut granted = Vec::new();
        change(queue);
        queue.admit(&mut granted);
        self.locks_held = self.locks_held + queue.holders().len() as u64 - holders;
        table.tidy(name);
        for slot in granted {
            let active = self.active_mut(slot);
            active.waits_for = None;
            active.shared.decide(Verdict::Granted);
            wakes.push(Arc::clone(&active.shared));
        }
    }

    fn cycle_through(&self, slot: Slot) -> Option<Vec<Slot>> {
        deadlock::find_cycle(slot, self.owners.len(), |waiting, blockers| {
            let Some(name) = &self.active(waiting).waits_for else {
                return;
            };
            let queue = self
                .tables
                .get(&name.table)
                .and_then(|table| table.queue(name.key.as_deref()));
            queue
                .expect("LOCK-3: whoever waits stands in a queue")
                .blockers(waiting, blockers);
        })
    }

    fn candidate(&self, slot: Slot) -> Candidate {
        let shared = &self.active(slot).shared;
        Candidate {
            age: shared.age,
            rolling_back: shared.is_rolling_back(),
        }
    }

    fn active(&self, slot: Slot) -> &Active {
        self.owners[slot.0]
            .as_ref()
            .expect("LOCK-4: queues name active owners only")
    }

    fn active_mut(&mut self, slot: Slot) -> &mut Active {
        self.owners[slot.0]
            .as_mut()
            .expect("LOCK-4: queues name active owners only")
    }
}

#[cfg(test)]
impl State {
    /// Checks every queue, that owners and queues agree on who waits, and that no cycle is left.
    pub(super) fn check(&self) {
        let mut locks_held = 0;
        let mut waiting = Vec::new();
        for table in self.tables.values() {
            let keys = table.keys.values().inspect(|queue| queue.check());
            for queue in keys.chain([&table.whole]) {
                locks_held += queue.holders().len() as u64;
                waiting.extend(queue.waiting());
            }
            if !table.whole.is_empty() {
                table.whole.check();
            }
        }
        waiting.sort_unstable();
        let slots = (0..self.owners.len()).map(Slot);
        let active = slots.filter(|slot| self.owners[slot.0].is_some());
        let known: Vec<Slot> = active
            .filter(|slot| self.active(*slot).waits_for.is_some())
            .collect();
        assert_eq!(
            waiting, known,
            "LOCK-3: queues and owners agree on who waits"
        );
        assert_eq!(locks_held, self.locks_held);
        for slot in known {
            assert_eq!(self.active(slot).shared.verdict(), Verdict::Pending);
            assert_eq!(
                self.cycle_through(slot),
                None,
                "LOCK-5: a deadlock was left standing"
            );
        }
    }

    /// How many resources are locked.
    pub(super) fn resources(&self) -> usize {
        let whole = self
            .tables
            .values()
            .filter(|table| !table.whole.is_empty())
            .count();
        whole
            + self
                .tables
                .values()
                .map(|table| table.keys.len())
                .sum::<usize>()
    }

    /// How many owners hold or wait.
    pub(super) fn owners(&self) -> usize {
        self.owners.len() - self.vacant.len()
    }
}
