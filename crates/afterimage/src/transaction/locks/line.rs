//! The locks of one table: who holds which keys and ranges, who stands in line for more, and the one rule that decides
//! between the two.
//!
//! Two claims are in conflict if they have a key in common, their modes cannot stand side by side, and their owners
//! differ. A waiter is blocked by every holder in conflict with it, and by every waiter in conflict that came before it,
//! except those that it [passes](Line::pass). **It is granted exactly when nothing blocks it.** The deadlock detector
//! walks these same edges ([`Line::blockers`]), so it sees every reason there is to wait.
//!
//! Nothing here blocks or knows time; `state` owns one of these per table.

use super::keys::{Keys, add};
use super::mode::Mode;
use super::spans::Spans;
use super::target::Target;

/// An owner's place in the lock table's list of active owners.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Slot(pub(super) usize);

/// A holder and the mode it holds; or a waiter and the mode it asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    pub(super) slot: Slot,
    pub(super) mode: Mode,
}

#[derive(Clone, Debug)]
struct Waiter {
    claim: Claim,
    target: Target,
    /// Those ahead of it that it does not wait for, because they wait for it.
    passes: Vec<Slot>,
}

impl Waiter {
    /// Does everybody behind it who wants its key wait for it, and so for all whom it waits for?
    fn is_wall(&self) -> bool {
        self.claim.mode == Mode::Exclusive && self.passes.is_empty()
    }
}

/// Holders of keys, holders of ranges, and waiters in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Line {
    keys: Keys,
    /// The holders of each piece by slot, so that equal ones are equal.
    ranges: Spans<Vec<Claim>>,
    waiters: Vec<Waiter>,
}

impl Line {
    pub(super) fn is_held_exclusively(&self, key: &[u8]) -> bool {
        self.holders_of_key(key)
            .any(|claim| claim.mode == Mode::Exclusive)
    }

    /// Grants the request if nothing blocks it.
    pub(super) fn try_grant(&mut self, claim: Claim, target: &Target) -> bool {
        if let Target::Key(key) = target
            && self.waiters.is_empty()
            && self.ranges.len() == 0
        {
            // Nobody else can be in the way than the key's holders.
            let in_the_way = |holder| conflict(claim, holder);
            return self.keys.add_unless(key, claim, in_the_way);
        }
        if matches!(target, Target::Range(_)) || !self.waiters.is_empty() {
            self.keys.prepare_for_ranges();
        }
        let held = self.holders(target).any(|other| conflict(claim, other));
        if held
            || self
                .ahead(self.waiters.len(), claim, target, &[])
                .next()
                .is_some()
        {
            return false;
        }
        self.install(claim, target);
        true
    }

    /// Queues a request that [`Line::try_grant`] has refused.
    pub(super) fn enqueue(&mut self, claim: Claim, target: &Target) {
        self.waiters.push(Waiter {
            claim,
            target: target.clone(),
            passes: Vec::new(),
        });
    }

    /// From now on the waiting `slot` does not wait for `ahead`, unless that one holds what it asks for; then it answers
    /// false. It is right to pass whoever waits, by whatever detour, for oneself: waiting for him would be a deadlock, and
    /// he is not delayed by what he cannot have before.
    pub(super) fn pass(&mut self, slot: Slot, ahead: Slot) -> bool {
        let place = self
            .place(slot)
            .expect("LOCK-3: whoever passes stands in line");
        let waiter = &self.waiters[place];
        let mut holders = self.holders(&waiter.target);
        if holders.any(|holder| holder.slot == ahead && conflict(waiter.claim, holder)) {
            return false;
        }
        drop(holders);
        self.waiters[place].passes.push(ahead);
        true
    }

    /// Takes a waiter out of the line; what it holds it keeps.
    pub(super) fn cancel(&mut self, slot: Slot) {
        self.waiters.retain(|waiter| waiter.claim.slot != slot);
    }

    /// Takes away what the owner holds: the key, or, of ranges, whatever of the interval it has.
    pub(super) fn release(&mut self, slot: Slot, target: &Target) {
        match target {
            Target::Key(key) => self.keys.remove(key, slot),
            Target::Range(range) => {
                let leave = |holders: &mut Vec<Claim>| holders.retain(|holder| holder.slot != slot);
                self.ranges.change(range, leave);
            }
        }
    }

    /// Whether anybody stands in line.
    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Grants every waiter that nothing blocks any more, in their order; `around` is where something has changed.
    pub(super) fn admit(&mut self, around: &Target, granted: &mut Vec<Slot>) {
        let mut place = 0;
        while let Some(waiter) = self.waiters.get(place) {
            if !waiter.target.overlaps(around) || self.is_blocked(place) {
                place += 1;
                continue;
            }
            let waiter = self.waiters.remove(place);
            self.install(waiter.claim, &waiter.target);
            granted.push(waiter.claim.slot);
            // Whoever else there is wants a key that is exclusively held now.
            if waiter.claim.mode == Mode::Exclusive && waiter.target == *around {
                return;
            }
        }
    }

    /// Adds to `found` owners whose going away a waiting `slot` waits for: all that hold, and of those who wait enough to
    /// reach the rest through them.
    pub(super) fn blockers(&self, slot: Slot, found: &mut Vec<Slot>) {
        if let Some(place) = self.place(slot) {
            found.extend(self.blockers_at(place));
        }
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        self.waiters
            .iter()
            .position(|waiter| waiter.claim.slot == slot)
    }

    fn is_blocked(&self, place: usize) -> bool {
        self.blockers_at(place).next().is_some()
    }

    fn blockers_at(&self, place: usize) -> impl Iterator<Item = Slot> {
        let Waiter {
            claim,
            target,
            passes,
        } = &self.waiters[place];
        let holders = self
            .holders(target)
            .filter(|other| conflict(*claim, *other));
        holders
            .chain(self.ahead(place, *claim, target, passes))
            .map(|other| other.slot)
    }

    /// The waiters before `place` that such a request waits for, latest first, as far as the first wall.
    fn ahead<'a>(
        &'a self,
        place: usize,
        claim: Claim,
        target: &'a Target,
        passes: &'a [Slot],
    ) -> impl Iterator<Item = Claim> + 'a {
        let ahead = self.waiters[..place].iter().rev();
        let blocking = ahead.filter(move |other| {
            conflict(claim, other.claim)
                && target.overlaps(&other.target)
                && !passes.contains(&other.claim.slot)
        });
        let mut behind_wall = false;
        let seen = blocking.take_while(move |other| {
            let hidden = behind_wall;
            behind_wall |=
                matches!(target, Target::Key(_)) && other.target == *target && other.is_wall();
            !hidden
        });
        seen.map(|other| other.claim)
    }

    fn holders_of_key<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = Claim> + use<'a> {
        let of_ranges = self.ranges.at(key).into_iter().flatten();
        self.keys.of(key).chain(of_ranges.copied())
    }

    /// Everybody who holds a key that `target` names; those of ranges once for each piece.
    fn holders<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = Claim> + 'a {
        let (key, range) = match target {
            Target::Key(key) => (Some(key), None),
            Target::Range(range) => (None, Some(range)),
        };
        let of_key = key.into_iter().flat_map(|key| self.holders_of_key(key));
        let of_range = range.into_iter().flat_map(|range| {
            let of_ranges = self.ranges.over(range).flatten().flatten();
            self.keys.within(range).chain(of_ranges.copied())
        });
        of_key.chain(of_range)
    }

    fn install(&mut self, claim: Claim, target: &Target) {
        debug_assert!(
            !self.holders(target).any(|holder| conflict(claim, holder)),
            "LOCK-1: {claim:?} granted for {target:?} beside an incompatible holder of {self:?}"
        );
        match target {
            Target::Key(key) => self.keys.add(key, claim),
            Target::Range(range) => self.ranges.change(range, |holders| add(holders, claim)),
        }
    }
}

/// Two owners, two modes that cannot stand side by side.
fn conflict(one: Claim, other: Claim) -> bool {
    one.slot != other.slot && !one.mode.is_compatible(other.mode)
}

#[cfg(test)]
impl Line {
    /// Checks it all: no two incompatible holders have a key in common, nobody waits without a reason, and nothing is
    /// kept for what nobody holds.
    pub(super) fn check(&self) {
        let of_keys = self.keys.all().flat_map(|(key, holders)| {
            let key = |holder| (Target::Key(key.clone()), holder);
            holders.into_iter().map(key)
        });
        let of_ranges = self.ranges.pieces().flat_map(|(range, holders)| {
            holders
                .iter()
                .map(move |holder| (Target::Range(range.clone()), *holder))
        });
        let held: Vec<(Target, Claim)> = of_keys.chain(of_ranges).collect();
        for (place, (target, holder)) in held.iter().enumerate() {
            for (other_target, other) in &held[place + 1..] {
                assert!(
                    !target.overlaps(other_target) || !conflict(*holder, *other),
                    "LOCK-1: incompatible holders in {self:?}"
                );
            }
        }
        for place in 0..self.waiters.len() {
            assert!(
                self.is_blocked(place),
                "LOCK-3: waiter {place} is blocked by nobody in {self:?}"
            );
        }
    }

    /// How many locks are held: keys with each holder, and ranges with each holder of each piece.
    pub(super) fn count(&self) -> usize {
        let of_keys: usize = self.keys.all().map(|(_, holders)| holders.len()).sum();
        of_keys
            + self
                .ranges
                .pieces()
                .map(|(_, holders)| holders.len())
                .sum::<usize>()
    }

    pub(super) fn waiting(&self) -> Vec<Slot> {
        self.waiters
            .iter()
            .map(|waiter| waiter.claim.slot)
            .collect()
    }

    /// How many keys and pieces of ranges are remembered.
    pub(super) fn places(&self) -> usize {
        self.keys.len() + self.ranges.len()
    }
}
