//! Who holds which single keys of one table. A key is found at once, by its hash; the keys of a range are found in order, which is
//! kept only where somebody asks for ranges while there are many keys.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::line::{Claim, Slot};
use crate::interval::Interval;

/// So many keys are looked through faster than they are put in order.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Keys {
    holders: HashMap<Arc<[u8]>, Holders, FixedState>,
    /// All of them once more; none: nobody needs that.
    order: Option<BTreeSet<Arc<[u8]>>>,
}

/// Those who hold a key, in the order of their slots. Mostly there is one.
#[derive(Debug)]
struct Holders {
    first: Claim,
    others: Vec<Claim>,
}

impl Holders {
    fn all(&self) -> impl Iterator<Item = Claim> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    fn add(&mut self, mut claim: Claim) {
        if claim.slot < self.first.slot {
            std::mem::swap(&mut claim, &mut self.first);
        }
        if claim.slot == self.first.slot {
            self.first.mode = self.first.mode.max(claim.mode);
        } else {
            add(&mut self.others, claim);
        }
    }

    /// False: nobody is left.
    fn remove(&mut self, slot: Slot) -> bool {
        if self.first.slot != slot {
            self.others.retain(|holder| holder.slot != slot);
        } else if self.others.is_empty() {
            return false;
        } else {
            self.first = self.others.remove(0);
        }
        true
    }
}

impl Keys {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.holders.len()
    }

    pub(super) fn of<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = Claim> + use<'a> {
        self.holders.get(key).into_iter().flat_map(Holders::all)
    }

    /// The holders of all keys in `range`.
    pub(super) fn within<'a>(&'a self, range: &'a Interval) -> impl Iterator<Item = Claim> + 'a {
        let ordered = self.order.iter();
        let ordered = ordered
            .flat_map(|order| order.range::<[u8], _>(range.bounds()))
            .filter_map(|key| self.holders.get(key));
        let all = self.order.is_none().then(|| self.holders.iter());
        let some = all.into_iter().flatten();
        let some = some.filter_map(|(key, holders)| range.contains(key).then_some(holders));
        ordered.chain(some).flat_map(Holders::all)
    }

    /// Somebody is about to ask for ranges.
    pub(super) fn prepare_for_ranges(&mut self) {
        if self.order.is_none() && self.holders.len() > FEW {
            self.order = Some(self.holders.keys().cloned().collect());
        }
    }

    pub(super) fn add(&mut self, key: &Arc<[u8]>, claim: Claim) {
        self.add_unless(key, claim, |_| false);
    }

    /// Unless one of the key's holders is `in_the_way`: then it answers false.
    pub(super) fn add_unless(
        &mut self,
        key: &Arc<[u8]>,
        claim: Claim,
        in_the_way: impl Fn(Claim) -> bool,
    ) -> bool {
        match self.holders.entry(Arc::clone(key)) {
            Entry::Occupied(entry) if entry.get().all().any(in_the_way) => return false,
            Entry::Occupied(mut entry) => entry.get_mut().add(claim),
            Entry::Vacant(entry) => {
                entry.insert(Holders {
                    first: claim,
                    others: Vec::new(),
                });
                if let Some(order) = &mut self.order {
                    order.insert(Arc::clone(key));
                }
            }
        }
        true
    }

    pub(super) fn remove(&mut self, key: &Arc<[u8]>, slot: Slot) {
        let Some((key, mut holders)) = self.holders.remove_entry(key) else {
            return;
        };
        // Whoever does not hold it takes nothing away.
        if holders.remove(slot) {
            self.holders.insert(key, holders);
            return;
        }
        if let Some(order) = &mut self.order {
            order.remove(&key);
            if order.len() < FEW / 2 {
                self.order = None;
            }
        }
        // Memory that a large transaction has taken goes back.
        if self.holders.capacity() > 1024 && self.holders.len() < self.holders.capacity() / 8 {
            self.holders.shrink_to(self.holders.len() * 2);
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<[u8]>, Vec<Claim>)> {
        let all = self.holders.iter();
        all.map(|(key, holders)| (key, holders.all().collect()))
    }
}

/// Adds a claim to its owner's, in the order of slots.
pub(super) fn add(holders: &mut Vec<Claim>, claim: Claim) {
    match holders.binary_search_by_key(&claim.slot, |holder| holder.slot) {
        Ok(place) => holders[place].mode = holders[place].mode.max(claim.mode),
        Err(place) => holders.insert(place, claim),
    }
}

#[cfg(test)]
mod tests {
    use super::super::mode::Mode;
    use super::*;

    fn key(n: u32) -> Arc<[u8]> {
        Arc::from(n.to_be_bytes().as_slice())
    }

    fn claim(slot: usize) -> Claim {
        Claim {
            slot: Slot(slot),
            mode: Mode::Shared,
        }
    }

    /// With and without the order, and while it comes and goes, a range shows the same holders.
    #[test]
    fn a_range_shows_the_holders_of_its_keys() {
        let mut keys = Keys::default();
        let range = Interval::new(&key(10), Some(&key(20)));
        let count = |keys: &Keys| keys.within(&range).count();
        for n in 0..1000 {
            keys.add(&key(n), claim(1));
            keys.add(&key(n), claim(0));
            let within = (n.clamp(9, 19) - 9) as usize;
            assert_eq!(count(&keys), 2 * within, "after {n}");
            if n == 500 {
                assert!(keys.order.is_none());
                keys.prepare_for_ranges();
                assert!(keys.order.is_some());
            }
        }
        let first: Vec<_> = keys.of(&key(12)).map(|claim| claim.slot.0).collect();
        assert_eq!(first, [0, 1], "in the order of slots");
        for n in (0..1000).rev() {
            keys.remove(&key(n), Slot(1));
            keys.remove(&key(n), Slot(7));
            assert_eq!(keys.of(&key(n)).count(), 1);
            keys.remove(&key(n), Slot(0));
            let within = n.clamp(10, 20) - 10;
            assert_eq!(count(&keys), 2 * within as usize, "before {n}");
        }
        assert_eq!(keys.len(), 0);
        assert!(keys.order.is_none(), "nobody needs it any more");
    }
}
