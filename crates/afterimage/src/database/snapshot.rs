//! The snapshot handle.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use afterimage_log::Lsn;

use super::handle::Database;
use super::scan::{Reader, Scan};
use super::table::Table;
use super::transaction::{behind_prefix, interval};
use super::value::ValueReader;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::options::Durability;
use crate::transaction::{Seen, System, View};
use crate::tree::CALLED_UP;

/// The database as it was at one moment, for reading. It takes no locks, waits for nobody, and nobody waits for it.
///
/// Got by [`Database::snapshot`], which shows what is durable, or by [`Database::snapshot_latest`]. Commits are seen in the order
/// of their LSNs: those before [`lsn`](Snapshot::lsn), no others. So two snapshots never disagree about which of two
/// transactions came first.
///
/// While it lives, the rows' older versions that it needs stay in memory, as far as `version_store_size` allows; beyond
/// that the oldest snapshot is given up, and answers [`Error::SnapshotTooOld`]. Like a transaction it keeps the database open.
///
/// # Examples
///
/// ```
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
/// let accounts = db.table("accounts")?;
/// db.put(&accounts, b"alice", b"100")?;
/// let before = db.snapshot()?;
/// db.put(&accounts, b"alice", b"90")?;
/// assert_eq!(before.get(&accounts, b"alice")?.as_deref(), Some(&b"100"[..]));
/// assert_eq!(db.get(&accounts, b"alice")?.as_deref(), Some(&b"90"[..]));
/// # Ok::<(), afterimage::Error>(())
/// ```
pub struct Snapshot {
    db: Database,
    view: Arc<View>,
}

impl Snapshot {
    pub(super) fn new(db: Database, view: Arc<View>) -> Snapshot {
        Snapshot { db, view }
    }

    /// The moment: commits whose records are before this position of the log are seen.
    pub fn lsn(&self) -> Lsn {
        self.view.lsn()
    }

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotTooOld`], [`Error::KeyTooLarge`], [`Error::PageCorrupt`], [`Error::Io`]. Not [`Error::LogFailed`], as
    /// long as the pool has room for the page: what a snapshot shows was durable before.
    pub fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let there = self.get_into(table, key, &mut value)?;
        Ok(there.then_some(value))
    }

    /// As [`get`](Snapshot::get), into a buffer of the caller's, in place of what is in it; false, and nothing in it, where there is no
    /// value. After an error what is in it means nothing.
    ///
    /// # Errors
    ///
    /// As [`get`](Snapshot::get).
    pub fn get_into(&self, table: &Table, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.inside(table, |system| {
            system.read_view(&self.view, &table.tree, key, value)
        })
    }

    /// The value of `key`, to be read piece by piece: for one that is not to be in memory as a whole.
    ///
    /// # Errors
    ///
    /// As [`get`](Snapshot::get).
    pub fn get_reader(&self, table: &Table, key: &[u8]) -> Result<Option<ValueReader<'_>>> {
        let inside = self.db.enter()?;
        inside.check_table(table)?;
        let (system, tree) = (&inside.system, &table.tree);
        let Some(stored) = system.stored_in_view(&self.view, tree, key)? else {
            return Ok(None);
        };
        let found = system.found(tree, stored);
        system.check_view(&self.view)?;
        let view = Some(self.view.clone());
        Ok(Some(ValueReader::new(&self.db, found?, view)))
    }

    /// The values of several keys, in the order of `keys`. Faster than one [`get`](Snapshot::get) after the other, where there is more
    /// data in memory than in the processor's caches: it waits for the memory of many keys at once.
    ///
    /// # Errors
    ///
    /// As [`get`](Snapshot::get).
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        table: &Table,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        self.get_many_with(table, keys, |_, value| {
            values.push(value.map(<[u8]>::to_vec))
        })?;
        Ok(values)
    }

    /// As [`get_many`](Snapshot::get_many), but lends each value to `see`, with the place of its key among `keys`: nothing is allocated for
    /// a value. After an error `see` has been shown those before.
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let stock = db.table("stock")?;
    /// db.put(&stock, b"chairs", b"12")?;
    /// db.put(&stock, b"tables", b"3")?;
    /// let mut there = 0;
    /// db.snapshot()?.get_many_with(&stock, &["chairs", "lamps", "tables"], |_, value| {
    ///     there += usize::from(value.is_some());
    /// })?;
    /// assert_eq!(there, 2);
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Snapshot::get).
    pub fn get_many_with<K: AsRef<[u8]>>(
        &self,
        table: &Table,
        keys: &[K],
        mut see: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        let (mut values, mut place) = (Vec::new(), 0);
        for chunk in keys.chunks(CALLED_UP) {
            // Asked once, and out here, as `see` is called out here: both are the caller's code, and may do what it likes.
            let mut keys = [&[][..]; CALLED_UP];
            let each = keys.iter_mut().zip(chunk);
            each.for_each(|(key, its)| *key = its.as_ref());
            let found = self.inside(table, |system| {
                let keys = &keys[..chunk.len()];
                system.read_many(&self.view, &table.tree, keys, &mut values)
            })?;
            for (seen, range) in found.into_iter().take(chunk.len()) {
                match seen {
                    Seen::Nothing => see(place, None),
                    Seen::Value => see(place, Some(&values[range])),
                    Seen::Elsewhere(stored) => {
                        let value = self.inside(table, |system| {
                            system.load_seen(&self.view, &table.tree, stored)
                        })?;
                        see(place, Some(&value));
                    }
                }
                place += 1;
            }
        }
        Ok(())
    }

    fn inside<R>(&self, table: &Table, work: impl FnOnce(&System) -> Result<R>) -> Result<R> {
        let inside = self.db.enter()?;
        inside.check_table(table)?;
        work(&inside.system)
    }

    /// The rows of `range` in key order; `.rev()` for the other way. The full range is written `scan::<[u8], _>(&t, ..)`.
    ///
    /// # Errors
    ///
    /// [`Error::BadTableName`] for a table of another handle; each row may bring what [`get`](Snapshot::get) may.
    pub fn scan<K, R>(&self, table: &Table, range: R) -> Result<Scan<'_>>
    where
        K: AsRef<[u8]> + ?Sized,
        R: RangeBounds<K>,
    {
        self.db.enter()?.check_table(table)?;
        let reader = Reader::At(self.view.clone());
        let range = interval(&range);
        Ok(Scan::new(&self.db, reader, table.tree.clone(), range))
    }

    /// The rows whose keys begin with `prefix`, in key order; `.rev()` for the other way.
    ///
    /// # Errors
    ///
    /// As [`scan`](Snapshot::scan).
    pub fn scan_prefix(&self, table: &Table, prefix: &[u8]) -> Result<Scan<'_>> {
        let high = behind_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        self.scan::<Vec<u8>, _>(table, (Bound::Included(prefix.to_vec()), high))
    }

    /// Waits until everything that this snapshot shows is as durable as `durability` says. At once for
    /// [`Database::snapshot`] at [`Durability::Disk`].
    ///
    /// # Errors
    ///
    /// [`Error::OutcomeUnknown`]: the engine stopped before that, and what was seen may be gone after a restart.
    pub fn wait(&self, durability: Durability) -> Result<()> {
        self.db.enter()?.wait(Some(self.view.lsn()), durability)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.db.shared().system.close_view(&self.view);
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("lsn", &self.lsn())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use afterimage_io::sim::Sim;

    use super::*;
    use crate::options::Options;

    #[test]
    fn leaves_in_memory_that_were_gone_to_before_are_had_together() {
        // The first pool has so few frames that a permit counts.
        for (pages, together) in [(64, 6), (8000, CALLED_UP)] {
            let options = Options::new().io(Sim::new(1).io()).background(false);
            let options = options.buffer_pool_size(pages * 8192);
            let db = options.open("db").expect("opens");
            let table = db.table("t").expect("makes a table");
            let keys: Vec<_> = (0..1000_u64).map(u64::to_be_bytes).collect();
            for key in &keys {
                db.put(&table, key, &[7; 100]).expect("puts");
            }
            for key in &keys {
                assert!(db.get(&table, key).expect("gets").is_some());
            }
            let some: Vec<_> = keys.iter().step_by(60).map(<[u8; 8]>::as_slice).collect();
            let inside = db.enter().expect("it is open");
            let pager = &inside.system.pager;
            assert_eq!(pager.leaves_at_once(), together);
            let _permit = pager.permit();
            let leaves = table.tree.leaves(pager, &some[..CALLED_UP]);
            assert_eq!(leaves.iter().flatten().count(), together);
        }
    }
}
