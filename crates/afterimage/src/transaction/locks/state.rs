//! What the lock table's mutex protects: the lines of all tables and the owners that are active. Decides
//! everything, blocks nowhere: `table` brings the waiting.
//!
//! Each operation that can end somebody's wait adds that owner to a [`Wakes`] list; the caller wakes them when it has
//! let the mutex go.

use std::collections::BTreeMap;
use std::sync::Arc;

use afterimage_io::planted::{self, Bug};

use super::deadlock::{self, Candidate};
use super::line::{Claim, Line, Slot};
use super::mode::Mode;
use super::owner::{Shared, Verdict};
use super::target::{Name, Target};
use crate::ids::TableId;

/// Owners whose wait has ended, to be woken without the mutex.
pub(super) type Wakes = Vec<Arc<Shared>>;

/// Every lock, every wait.
#[derive(Default)]
pub(super) struct State {
    /// Kept once made: a busy one would be made anew all the time.
    tables: BTreeMap<TableId, Line>,
    /// Active owners by slot.
    owners: Vec<Option<Active>>,
    vacant: Vec<Slot>,
    pub(super) waits: u64,
    pub(super) deadlocks: u64,
    pub(super) timeouts: u64,
}

/// An owner that holds or waits for something.
struct Active {
    shared: Arc<Shared>,
    /// What it waits for: one key or range at most, for it is one thread.
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
        let line = self.tables.entry(name.table).or_default();
        line.try_grant(Claim { slot, mode }, &name.target)
    }

    /// Queues a request that [`State::try_grant`] refused, and breaks every deadlock that this closes: by passing whoever is
    /// ahead and waits for the asker himself, else at somebody's cost. Afterwards the owner's verdict is pending, unless it
    /// has been decided on the way.
    pub(super) fn wait(&mut self, slot: Slot, name: &Name, mode: Mode, wakes: &mut Wakes) {
        let line = self.tables.entry(name.table).or_default();
        line.enqueue(Claim { slot, mode }, &name.target);
        let active = self.active_mut(slot);
        active.shared.decide(Verdict::Pending);
        active.waits_for = Some(name.clone());
        self.waits += 1;
        let mut passed = false;
        while let Some(cycle) = self.cycle_through(slot) {
            let line = self.tables.entry(name.table).or_default();
            if line.pass(slot, cycle[1]) {
                passed = true;
                continue;
            }
            let victim = deadlock::victim(&cycle, |slot| self.candidate(slot));
            let victim = victim.expect(
                "LOCK-5: rollback asks for no locks, so no cycle consists of rollbacks alone",
            );
            self.deadlocks += 1;
            self.end_wait(victim, Verdict::Victim, wakes);
        }
        if passed {
            self.change_line(name.table, &name.target, |_| (), wakes);
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
        let cancel = |line: &mut Line| line.cancel(slot);
        self.change_line(name.table, &name.target, cancel, wakes);
    }

    /// Gives back one lock, and lets those pass who waited for it.
    pub(super) fn release(
        &mut self,
        slot: Slot,
        table: TableId,
        target: &Target,
        wakes: &mut Wakes,
    ) {
        self.change_line(table, target, |line| line.release(slot, target), wakes);
    }

    /// Ends every wait.
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

    /// Is the key, alone or within a range, held exclusively by anybody?
    pub(super) fn is_held_exclusively(&self, table: TableId, key: &[u8]) -> bool {
        let line = self.tables.get(&table);
        line.is_some_and(|line| line.is_held_exclusively(key))
    }

    /// Changes a line, and grants whatever nothing blocks any more.
    fn change_line(
        &mut self,
        table: TableId,
        target: &Target,
        change: impl FnOnce(&mut Line),
        wakes: &mut Wakes,
    ) {
        let line = self.tables.entry(table).or_default();
        change(line);
        if !line.has_waiters() {
            return;
        }
        let mut granted = Vec::new();
        line.admit(target, &mut granted);
        for slot in granted {
            let active = self.active_mut(slot);
            active.waits_for = None;
            active.shared.decide(Verdict::Granted);
            wakes.push(Arc::clone(&active.shared));
        }
    }

    fn cycle_through(&self, slot: Slot) -> Option<Vec<Slot>> {
        if planted::active(Bug::WaitNotSeen) {
            return None;
        }
        deadlock::find_cycle(slot, self.owners.len(), |waiting, blockers| {
            let Some(name) = &self.active(waiting).waits_for else {
                return;
            };
            let line = self.tables.get(&name.table);
            line.expect("LOCK-3: whoever waits stands in line")
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
            .expect("LOCK-4: lines name active owners only")
    }

    fn active_mut(&mut self, slot: Slot) -> &mut Active {
        self.owners[slot.0]
            .as_mut()
            .expect("LOCK-4: lines name active owners only")
    }
}

#[cfg(test)]
impl State {
    /// Checks every line, that owners and lines agree on who waits, and that no cycle is left.
    pub(super) fn check(&self) {
        let mut waiting = Vec::new();
        for line in self.tables.values() {
            line.check();
            waiting.extend(line.waiting());
        }
        waiting.sort_unstable();
        let slots = (0..self.owners.len()).map(Slot);
        let active = slots.filter(|slot| self.owners[slot.0].is_some());
        let known: Vec<Slot> = active
            .filter(|slot| self.active(*slot).waits_for.is_some())
            .collect();
        assert_eq!(
            waiting, known,
            "LOCK-3: lines and owners agree on who waits"
        );
        for slot in known {
            assert_eq!(self.active(slot).shared.verdict(), Verdict::Pending);
            assert_eq!(
                self.cycle_through(slot),
                None,
                "LOCK-5: a deadlock was left standing"
            );
        }
    }

    /// How many locks are held: keys with each holder, and ranges with each holder of each piece.
    pub(super) fn locks_held(&self) -> usize {
        self.tables.values().map(Line::count).sum()
    }

    /// How many keys and pieces of ranges are remembered.
    pub(super) fn places(&self) -> usize {
        self.tables.values().map(Line::places).sum()
    }

    /// How many owners hold or wait.
    pub(super) fn owners(&self) -> usize {
        self.owners.len() - self.vacant.len()
    }
}
