//! What one owner holds: the answer to asking again, what its commit has to be remembered for, and the list for the
//! release.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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

#[derive(Default)]
struct HeldTable {
    keys: HashMap<Arc<[u8]>, Mode, FixedState>,
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
            Resource::Key(_, key) => {
                is_enough(self.keys.get(*key).copied()) || by_range(self.ranges.at(key))
            }
            Resource::Range(_, range) => self.ranges.over(range).all(by_range),
        }
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
                let entry = table.keys.entry(key);
                let before = match &entry {
                    Entry::Occupied(held) => Some(*held.get()),
                    Entry::Vacant(_) => None,
                };
                if exclusive && before != Some(Mode::Exclusive) {
                    begin(&Resource::Key(name.table, entry.key()));
                    table.exclusive += 1;
                }
                entry.insert_entry(before.map_or(mode, |held| mode.max(held)));
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
        let (first, last) = (held.keys.keys().min(), held.keys.keys().max());
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
        mut end: impl FnMut(&Resource<'_>),
    ) -> Vec<Name> {
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
            let needless = by_range.is_some_and(|by_range| by_range.covers(*mode));
            if needless {
                if *mode == Mode::Exclusive {
                    *exclusive -= 1;
                    end(&Resource::Key(table, key));
                }
                let target = Target::Key(Arc::clone(key));
                covered.push(Name { table, target });
            }
            !needless
        });
        covered
    }

    /// What it may have changed: everything held exclusively.
    pub(super) fn changed(&self, mut tell: impl FnMut(&Resource<'_>)) {
        for (table, held) in &self.tables {
            for (range, mode) in held.ranges.pieces() {
                if *mode == Some(Mode::Exclusive) {
                    tell(&Resource::Range(*table, &range));
                }
            }
            for (key, mode) in &held.keys {
                if *mode == Mode::Exclusive {
                    tell(&Resource::Key(*table, key));
                }
            }
        }
    }

    /// Forgets everything and hands out the list for the release. `end` is told what
    /// [`Held::record`] has told `begin`.
    pub(super) fn take(&mut self, mut end: impl FnMut(&Resource<'_>)) -> Vec<Name> {
        let mut names = Vec::new();
        for (table, held) in std::mem::take(&mut self.tables) {
            if held.writes_ranges {
                end(&Resource::Range(table, &Interval::new(&[], None)));
            }
            let ranges = held.ranges.pieces().map(|(range, _)| Target::Range(range));
            names.extend(ranges.map(|target| Name { table, target }));
            names.reserve(held.keys.len());
            for (key, mode) in held.keys {
                if mode == Mode::Exclusive {
                    end(&Resource::Key(table, &key));
                }
                let target = Target::Key(key);
                names.push(Name { table, target });
            }
        }
        names
    }
}
