//! The queue of one resource: who holds it, who waits for it, and the one rule that decides between the two.
//!
//! A waiter is blocked by every other holder whose mode is incompatible with the mode it asks for, and, unless it is an
//! upgrader, by every waiter ahead of it whose mode is incompatible. **It is granted exactly when nothing blocks it.**
//! The deadlock detector walks these same edges ([`Queue::blockers`]), so it sees every reason there is to wait. An owner
//! is overtaken only by requests that stand in nobody's way, and by upgrades, of which each holder has few.
//!
//! Nothing here blocks or knows time; `state` owns one of these per locked resource.

use std::collections::VecDeque;

use super::mode::Mode;

/// An owner's place in the lock table's list of active owners.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Slot(pub(super) usize);

/// A holder and the mode it holds; or a waiter and the mode it will hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) slot: Slot,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    claim: Claim,
    /// Holds the resource already, in a weaker mode: waits for holders only, ahead of all newcomers.
    upgrades: bool,
}

/// Holders in order of their grants; waiters in order of service, upgraders first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    holders: Vec<Claim>,
    waiters: VecDeque<Waiter>,
}

impl Queue {
    /// Nobody holds it and nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    pub(super) fn holders(&self) -> &[Claim] {
        &self.holders
    }

    pub(super) fn is_held_exclusively(&self) -> bool {
        // Nothing is compatible with it, so an exclusive holder is alone.
        self.holders
            .first()
            .is_some_and(|claim| claim.mode == Mode::Exclusive)
    }

    /// Grants the request if nothing blocks it.
    pub(super) fn try_grant(&mut self, slot: Slot, mode: Mode) -> bool {
        let waiter = self.waiter(slot, mode);
        let blocked_ahead = !waiter.upgrades
            && conflicts(waiter.claim, self.waiters.iter().map(|ahead| ahead.claim));
        if blocked_ahead || conflicts(waiter.claim, self.holders.iter().copied()) {
            return false;
        }
        self.install(waiter);
        true
    }

    /// Queues a request that [`Queue::try_grant`] has refused.
    pub(super) fn enqueue(&mut self, slot: Slot, mode: Mode) {
        let waiter = self.waiter(slot, mode);
        let place = match waiter.upgrades {
            true => self
                .waiters
                .iter()
                .take_while(|ahead| ahead.upgrades)
                .count(),
            false => self.waiters.len(),
        };
        self.waiters.insert(place, waiter);
    }

    /// Takes a waiter out of the queue; what it holds it keeps.
    pub(super) fn cancel(&mut self, slot: Slot) {
        self.waiters.retain(|waiter| waiter.claim.slot != slot);
    }

    /// Takes away what the owner holds.
    pub(super) fn release(&mut self, slot: Slot) {
        self.holders.retain(|holder| holder.slot != slot);
    }

    /// Grants every waiter that nothing blocks any more, in the order of the queue.
    pub(super) fn admit(&mut self, granted: &mut Vec<Slot>) {
        let mut place = 0;
        while let Some(waiter) = self.waiters.get(place).copied() {
            if self.is_blocked(place) {
                place += 1;
                // Nothing is compatible with exclusive, so no newcomer can pass it; upgraders stand at the front.
                let is_wall = waiter.claim.mode == Mode::Exclusive;
                if is_wall && self.waiters.get(place).is_none_or(|next| !next.upgrades) {
                    return;
                }
            } else {
                self.waiters.remove(place);
                self.install(waiter);
                granted.push(waiter.claim.slot);
            }
        }
    }

    /// Adds to `found` every owner whose going away a waiting `slot` waits for; none if it does not wait here.
    pub(super) fn blockers(&self, slot: Slot, found: &mut Vec<Slot>) {
        if let Some(place) = self
            .waiters
            .iter()
            .position(|waiter| waiter.claim.slot == slot)
        {
            found.extend(self.blockers_at(place));
        }
    }

    fn is_blocked(&self, place: usize) -> bool {
        self.blockers_at(place).next().is_some()
    }

    fn blockers_at(&self, place: usize) -> impl Iterator<Item = Slot> {
        let Waiter { claim, upgrades } = self.waiters[place];
        let ahead = if upgrades { 0 } else { place };
        let holders = self.holders.iter().copied();
        let waiters = self.waiters.iter().take(ahead).map(|waiter| waiter.claim);
        holders
            .chain(waiters)
            .filter(move |other| conflict(claim, *other))
            .map(|other| other.slot)
    }

    /// The request as it would stand in the queue: an upgrader asks for the supremum of old and new.
    fn waiter(&self, slot: Slot, mode: Mode) -> Waiter {
        match self.holders.iter().find(|holder| holder.slot == slot) {
            Some(held) => Waiter {
                claim: Claim {
                    slot,
                    mode: held.mode.supremum(mode),
                },
                upgrades: true,
            },
            None => Waiter {
                claim: Claim { slot, mode },
                upgrades: false,
            },
        }
    }

    fn install(&mut self, waiter: Waiter) {
        debug_assert!(
            !conflicts(waiter.claim, self.holders.iter().copied()),
            "LOCK-1: {:?} granted beside an incompatible holder of {:?}",
            waiter.claim,
            self.holders
        );
        match self
            .holders
            .iter_mut()
            .find(|holder| holder.slot == waiter.claim.slot)
        {
            Some(held) => held.mode = waiter.claim.mode,
            None => self.holders.push(waiter.claim),
        }
    }

    /// Checks the whole queue: no two incompatible holders, nobody waits without a reason, upgraders stand in front.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for (place, holder) in self.holders.iter().enumerate() {
            let later = self.holders[place + 1..].iter().copied();
            assert!(
                !conflicts(*holder, later),
                "LOCK-1: incompatible holders in {self:?}"
            );
        }
        for place in 0..self.waiters.len() {
            assert!(
                self.is_blocked(place),
                "LOCK-3: waiter {place} is blocked by nobody in {self:?}"
            );
        }
        let upgraders = self
            .waiters
            .iter()
            .take_while(|waiter| waiter.upgrades)
            .count();
        assert!(
            self.waiters
                .iter()
                .skip(upgraders)
                .all(|waiter| !waiter.upgrades),
            "upgraders first: {self:?}"
        );
        assert!(!self.is_empty(), "an empty queue is forgotten at once");
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<Slot> {
        self.waiters
            .iter()
            .map(|waiter| waiter.claim.slot)
            .collect()
    }
}

/// Two owners, two modes that cannot stand side by side.
fn conflict(one: Claim, other: Claim) -> bool {
    one.slot != other.slot && !one.mode.is_compatible(other.mode)
}

fn conflicts(claim: Claim, mut others: impl Iterator<Item = Claim>) -> bool {
    others.any(|other| conflict(claim, other))
}
