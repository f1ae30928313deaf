//! What one owner holds: the answer to asking again, what its commit has to be remembered for, and what is to be released.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::Resource;
use super::line::Slot;
use super::mode::Mode;
use super::spans::Spans;
use super::target::{Name, Target};
use crate::ids::TableId;
use crate::interval::{Interval, successor};

/// So many keys and ranges in one table are worth an attempt to hold one range in their place.
const MANY: usize = if cfg!(any(loom, shuttle)) { 3 } else { 16_384 };

/// The half of an owner that belongs to the transaction's own thread.
#[derive(Default)]
pub(super) struct Held {
    /// Its place among the active owners; `None` while it holds nothing and has never waited.
    pub(super) slot: Option<Slot>,
    /// By their numbers. Few have more than some; a tree would take a kilobyte of every transaction.
    tables: Vec<(TableId, HeldTable)>,
}

/// Keys, each with its mode. Most owners hold few: those are looked through, and take one piece of memory.
#[derive(Default)]
struct HeldKeys {
    few: Vec<(Arc<[u8]>, Mode)>,
    /// Empty as long as there are few; then all of them.
    many: HashMap<Arc<[u8]>, Mode, FixedState>,
}

/// So many keys are looked through.
const FEW: usize = if cfg!(any(loom, shuttle)) { 1 } else { 8 };

impl HeldKeys {
    fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    fn get(&self, key: &[u8]) -> Option<Mode> {
        if self.many.is_empty() {
            let mut few = self.few.iter();
            return few.find(|(held, _)| **held == *key).map(|(_, mode)| *mode);
        }
        self.many.get(key).copied()
    }

    fn set(&mut self, key: Arc<[u8]>, mode: Mode) {
        if !self.many.is_empty() {
            self.many.insert(key, mode);
        } else if let Some((_, held)) = self.few.iter_mut().find(|(held, _)| *held == key) {
            *held = mode;
        } else {
            self.few.push((key, mode));
            if self.few.len() > FEW {
                self.many.extend(self.few.drain(..));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Arc<[u8]>, Mode)> {
        let few = self.few.iter().map(|(key, mode)| (key, *mode));
        few.chain(self.many.iter().map(|(key, mode)| (key, *mode)))
    }

    fn retain(&mut self, mut keep: impl FnMut(&Arc<[u8]>, Mode) -> bool) {
        self.few.retain(|(key, mode)| keep(key, *mode));
        self.many.retain(|key, mode| keep(key, *mode));
    }
}

/// What is held in one table.
#[derive(Default)]
pub(super) struct HeldTable {
    keys: HeldKeys,
    /// How many of them are exclusively held.
    exclusive: usize,
    ranges: Spans<Option<Mode>>,
    /// Whether any of them is, or was, held exclusively.
    writes_ranges: bool,
    /// How often [`MANY`] it must come to before it is tried (again) to make few of them.
    attempts: usize,
}

impl HeldTable {
    fn covers(&self, resource: &Resource<'_>, mode: Mode) -> bool {
        let is_enough = |held: Option<Mode>| held.is_some_and(|held| held.covers(mode));
        let by_range = |held: Option<&Option<Mode>>| is_enough(held.copied().flatten());
        match resource {
            Resource::Key(_, key) => is_enough(self.keys.get(key)) || by_range(self.ranges.at(key)),
            Resource::Range(_, range) => self.ranges.over(range).all(by_range),
        }
    }

    /// What it may have changed one by one.
    pub(super) fn exclusive_keys(&self) -> impl Iterator<Item = &[u8]> {
        let exclusive = |(key, mode)| (mode == Mode::Exclusive).then_some(key);
        self.keys.iter().filter_map(exclusive).map(|key| &**key)
    }

    pub(super) fn has_exclusive_key(&self) -> bool {
        self.exclusive > 0
    }

    pub(super) fn has_exclusive_range(&self) -> bool {
        let mut ranges = self.ranges.pieces();
        ranges.any(|(_, mode)| *mode == Some(Mode::Exclusive))
    }

    /// Whether [`Held::record`] has told `begin` of a range.
    pub(super) fn writes_ranges(&self) -> bool {
        self.writes_ranges
    }

    /// All of it, for the release.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        let keys = self.keys.iter();
        let keys = keys.map(|(key, _)| Target::Key(Arc::clone(key)));
        let ranges = self.ranges.pieces();
        keys.chain(ranges.map(|(range, _)| Target::Range(range)))
    }
}

impl Held {
    fn place(&self, table: TableId) -> std::result::Result<usize, usize> {
        self.tables.binary_search_by_key(&table, |(id, _)| *id)
    }

    fn table(&self, table: TableId) -> Option<&HeldTable> {
        let place = self.place(table).ok()?;
        Some(&self.tables[place].1)
    }

    fn table_or_new(&mut self, table: TableId) -> &mut HeldTable {
        let place = self.place(table).unwrap_or_else(|place| {
            self.tables.insert(place, (table, HeldTable::default()));
            place
        });
        &mut self.tables[place].1
    }

    /// Is the request needless: held already, alone or within a range?
    pub(super) fn covers(&self, resource: &Resource<'_>, mode: Mode) -> bool {
        let table = self.table(resource.table());
        table.is_some_and(|table| table.covers(resource, mode))
    }

    /// Remembers that `mode` was granted on top of what was held. `begin` is told what is held exclusively for the first time; of
    /// ranges in a table the first only.
    pub(super) fn record(&mut self, name: Name, mode: Mode, begin: impl FnOnce(&Resource<'_>)) {
        let table = self.table_or_new(name.table);
        let exclusive = mode == Mode::Exclusive;
        match name.target {
            Target::Key(key) => {
                let before = table.keys.get(&key);
                if exclusive && before != Some(Mode::Exclusive) {
                    begin(&Resource::Key(name.table, &key));
                    table.exclusive += 1;
                }
                let mode = before.map_or(mode, |held| mode.max(held));
                table.keys.set(key, mode);
            }
            Target::Range(range) => {
                if exclusive && !table.writes_ranges {
                    begin(&Resource::Range(name.table, &range));
                    table.writes_ranges = true;
                }
                table
                    .ranges
                    .change(&range, |held| *held = (*held).max(Some(mode)));
            }
        }
    }

    /// Whether there is so much of the table that one range in its place is worth trying.
    pub(super) fn has_many(&self, table: TableId) -> bool {
        let many = |held: &HeldTable| held.keys.len() + held.ranges.len() >= MANY << held.attempts;
        self.table(table).is_some_and(many)
    }

    /// One range that would stand for all that is held in the table, in the mode that most of it is held in, once there is
    /// so much of it that this is worth trying.
    pub(super) fn in_one(&mut self, table: TableId) -> Option<(Interval, Mode)> {
        if !self.has_many(table) {
            return None;
        }
        let held = self.table_or_new(table);
        held.attempts += 1;
        let mode = if held.exclusive > held.keys.len() / 2 {
            Mode::Exclusive
        } else {
            Mode::Shared
        };
        let keys = || held.keys.iter().map(|(key, _)| key);
        let (first, last) = (keys().min(), keys().max());
        let keys = first
            .zip(last)
            .map(|(first, last)| Interval::new(first, Some(&successor(last))));
        let ranges = held.ranges.pieces().map(|(range, _)| range);
        let in_one = keys
            .into_iter()
            .chain(ranges)
            .reduce(|one, other| one.hull(&other))?;
        Some((in_one, mode))
    }

    /// Forgets, and hands out for the release, the keys that what is held of ranges stands for. `end` is told those that were held
    /// exclusively.
    pub(super) fn take_covered(
        &mut self,
        table: TableId,
        mut end: impl FnMut(&[u8]),
    ) -> Vec<Target> {
        let held = self.table_or_new(table);
        // A few keys in a stronger mode may be left over: they do not count towards the next attempt.
        held.attempts = 0;
        let mut covered = Vec::new();
        let HeldTable {
            keys,
            ranges,
            exclusive,
            ..
        } = held;
        keys.retain(|key, mode| {
            let by_range = ranges.at(key).copied().flatten();
            let needless = by_range.is_some_and(|by_range| by_range.covers(mode));
            if needless {
                if mode == Mode::Exclusive {
                    *exclusive -= 1;
                    end(key);
                }
                covered.push(Target::Key(Arc::clone(key)));
            }
            !needless
        });
        covered
    }

    /// Forgets everything and hands it out for the release.
    pub(super) fn take(&mut self) -> Vec<(TableId, HeldTable)> {
        std::mem::take(&mut self.tables)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(n: u8) -> Arc<[u8]> {
        Arc::from([n].as_slice())
    }

    /// Few of them, many, and few again that were many: they are the same keys in the same modes.
    #[test]
    fn few_keys_and_many_are_held_alike() {
        let (mut keys, mut model) = (HeldKeys::default(), BTreeMap::new());
        let check = |keys: &HeldKeys, model: &BTreeMap<Arc<[u8]>, Mode>| {
            let held = keys.iter().map(|(key, mode)| (Arc::clone(key), mode));
            assert_eq!(held.collect::<BTreeMap<_, _>>(), *model);
            assert_eq!(keys.iter().count(), model.len(), "none is there twice");
            assert_eq!(keys.len(), model.len());
            for n in 0..40 {
                assert_eq!(keys.get(&[n]), model.get(&key(n)).copied());
            }
        };
        let set = |keys: &mut HeldKeys, model: &mut BTreeMap<_, _>, n, mode| {
            keys.set(key(n), mode);
            model.insert(key(n), mode);
        };
        for (n, mode) in (0..30).zip([Mode::Shared, Mode::Exclusive].into_iter().cycle()) {
            set(&mut keys, &mut model, n, mode);
            // One that is there already, in another mode.
            let again = [Mode::Exclusive, Mode::Shared][n as usize % 2];
            set(&mut keys, &mut model, 0, again);
            check(&keys, &model);
        }
        for left in [12, 3, 0] {
            keys.retain(|key, _| key[0] < left);
            model.retain(|key, _| key[0] < left);
            check(&keys, &model);
            set(&mut keys, &mut model, 35, Mode::Shared);
            check(&keys, &model);
        }
    }
}
