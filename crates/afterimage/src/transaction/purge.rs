//! Freeing what nobody needs any more: the pages that ended transactions have left in the pending-free tree.

use std::collections::BTreeSet;
use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;
use afterimage_log::Lsn;

use super::{Mode, Resource, System, Txn, after_record};
use crate::buffer::Pager;
use crate::error::Result;
use crate::ids::{PageId, TableId};
use crate::interval::Interval;
use crate::tree::{Pending, Tree, pending_key, root_key};

/// Pages of a dropped table that are freed in one step.
const PAGES_A_STEP: usize = 64;

/// Who has left pages behind.
pub(crate) struct Purge {
    /// (commit or end record, owner), oldest first.
    ended: Mutex<BTreeSet<(Lsn, Lsn)>>,
    /// (when it was dropped, table, root): unlogged tables whose pages are still in their file.
    dropped: Mutex<BTreeSet<(Lsn, TableId, PageId)>>,
    /// Held by whoever frees, over I/O.
    freeing: Mutex<Freeing>,
}

/// What there is to be freed beside what `ended` says.
enum Freeing {
    /// Whatever earlier runs, which had ended at this LSN, have left: the tree has not been read yet.
    Unread(Lsn),
    /// Nothing.
    Read,
    /// The tree is damaged: nothing is freed any more. `verify` says where.
    Damaged,
}

impl Purge {
    pub(super) fn new(io: &Io) -> Purge {
        Purge {
            ended: Mutex::new(io, BTreeSet::new()),
            dropped: Mutex::new(io, BTreeSet::new()),
            freeing: Mutex::new(io, Freeing::Read),
        }
    }

    /// A recovered database begins to work at `lsn`: every owner before that has ended.
    pub(crate) fn begin_at(&self, lsn: Lsn) {
        *self.freeing.lock() = Freeing::Unread(lsn);
    }

    /// `owner` has ended with the record at `end`; what it has left in the pending-free tree is nobody's.
    pub(super) fn owner_ended(&self, owner: Lsn, end: Lsn) {
        self.ended.lock().insert((end, owner));
    }

    /// An unlogged table was dropped by the record at `lsn`.
    pub(crate) fn unlogged_dropped(&self, lsn: Lsn, table: TableId, root: PageId) {
        self.dropped.lock().insert((lsn, table, root));
    }

    /// Whether somebody has left pages that are still to be freed.
    pub(super) fn is_waiting(&self) -> bool {
        !self.ended.lock().is_empty()
    }

    fn next(&self, horizon: Lsn) -> Option<(Lsn, Lsn)> {
        let first = *self.ended.lock().first()?;
        (first.0 < horizon).then_some(first)
    }
}

impl System {
    /// What ended before this LSN did so for good, and nobody can see any more what was there before it.
    fn purge_horizon(&self) -> Lsn {
        if planted::active(Bug::FreedUnderSnapshot) {
            return self.pager.log.durable_lsn();
        }
        self.versions.horizon_now(self.pager.log.durable_lsn())
    }

    /// Frees the pages that the oldest ended owner has left, if it is old enough. False if there was nothing to free.
    ///
    /// # Errors
    ///
    /// `DiskFull` where there is no log space for it: what is not freed yet stays to be freed.
    pub(crate) fn purge_step(&self) -> Result<bool> {
        let mut freeing = self.purge.freeing.lock();
        let result = match *freeing {
            Freeing::Damaged => return Ok(false),
            Freeing::Unread(begin) => self.read_pending(begin).map(|()| true),
            Freeing::Read => self.free_oldest(),
        };
        match result {
            // Pages that stay in use do no harm; everything else goes on.
            Err(error) if error.is_corruption() => *freeing = Freeing::Damaged,
            Err(error) => return Err(error),
            Ok(worked) => {
                if let Freeing::Unread(_) = *freeing {
                    *freeing = Freeing::Read;
                }
                return Ok(worked);
            }
        }
        Ok(false)
    }

    /// Whoever has left pages behind before `begin` has ended.
    fn read_pending(&self, begin: Lsn) -> Result<()> {
        if planted::active(Bug::PendingForgotten) {
            return Ok(());
        }
        let all = Interval::new(&[], Some(&pending_key(begin, PageId(0))));
        for (pager, pending) in self.pending_trees() {
            let mut rest = all.clone();
            while !rest.is_empty() {
                let (entries, next) = pending.pending_within(pager, &rest)?;
                for (owner, _) in entries {
                    // Where it ended is not known any more: before `begin`, as it did itself.
                    self.purge.owner_ended(owner, owner);
                }
                rest = next;
            }
        }
        Ok(())
    }

    /// The pending-free trees, each with the pages that it is on.
    fn pending_trees(&self) -> impl Iterator<Item = (&Pager, &Tree)> {
        let unlogged = self.catalogue.unlogged();
        let unlogged = unlogged.map(|file| (&file.pager, &*file.pending));
        [(&self.pager, &*self.catalogue.pending)]
            .into_iter()
            .chain(unlogged)
    }

    fn free_oldest(&self) -> Result<bool> {
        let Some((end, owner)) = self.purge.next(self.purge_horizon()) else {
            return self.free_unlogged();
        };
        let behind = pending_key(after_record(owner), PageId(0));
        let all = Interval::new(&pending_key(owner, PageId(0)), Some(&behind));
        for (pager, pending) in self.pending_trees() {
            let mut rest = all.clone();
            while !rest.is_empty() {
                let (entries, next) = pending.pending_within(pager, &rest)?;
                for (_, entry) in entries {
                    let extent = match entry {
                        Pending::Extent(extent) => extent,
                        Pending::Tree { table, root } => {
                            let tree = self.catalogue.dropped(table, root, true);
                            let key = pending_key(owner, root);
                            if !self.free_dropped(&tree, pending, &key)? {
                                return Ok(true);
                            }
                            continue;
                        }
                    };
                    let leaf = pending.free_extent(pager, owner, extent)?;
                    let key = pending_key(owner, extent.first);
                    self.sparse.note(pending.id(), leaf, &key);
                }
                rest = next;
            }
        }
        self.purge.ended.lock().remove(&(end, owner));
        Ok(true)
    }

    /// Frees some pages of an unlogged table that was dropped, if nobody can see it any more.
    fn free_unlogged(&self) -> Result<bool> {
        let Some(unlogged) = self.catalogue.unlogged() else {
            return Ok(false);
        };
        let horizon = self.purge_horizon();
        let next = self.purge.dropped.lock().first().copied();
        let Some(entry) = next.filter(|(dropped, ..)| *dropped < horizon) else {
            return Ok(false);
        };
        let (_, table, root) = entry;
        let tree = self.catalogue.dropped(table, root, false);
        if self.free_dropped(&tree, &unlogged.roots, &root_key(table))? {
            self.purge.dropped.lock().remove(&entry);
        }
        Ok(true)
    }

    /// Frees some pages of a dropped table, of which `key` in `entries` tells. True if they were the last.
    fn free_dropped(&self, tree: &Tree, entries: &Tree, key: &[u8]) -> Result<bool> {
        for _ in 0..PAGES_A_STEP {
            if let Some(leaf) = tree.free_page(self.pager_of(tree), entries, key)? {
                self.sparse.note(entries.id(), leaf, key);
                self.catalogue.forget_dropped(tree.id());
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Drops the table `name`. Returns up to where the log must be durable before that may be told; `None`: there is no
    /// such table.
    pub(crate) fn drop_table(&self, name: &str) -> Result<Option<Lsn>> {
        while let Some(tree) = self.catalogue.by_name(name) {
            let mut txn = self.begin(None);
            match self.drop_locked(&mut txn, name, &tree) {
                Ok(true) => return self.commit(txn).map(|(_, end)| end),
                // It was dropped or renamed meanwhile.
                Ok(false) => self.rollback(txn)?,
                Err(error) => {
                    self.rollback(txn)?;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn drop_locked(&self, txn: &mut Txn, name: &str, tree: &Arc<Tree>) -> Result<bool> {
        let everything = Interval::all();
        self.lock(
            txn,
            &Resource::Range(tree.id(), &everything),
            Mode::Exclusive,
        )?;
        self.begin_chain(txn)?;
        txn.leaves_pages = true;
        txn.durable = true;
        let owner = txn.chain.expect("just begun").id;
        let purgeable = |ghost: &[u8]| self.is_purgeable(&self.catalogue.pending, ghost);
        let catalogue = &self.catalogue;
        let leaf = catalogue.drop_table(&self.pager, owner, name, tree, &purgeable)?;
        if let Some(leaf) = leaf {
            self.sparse.note(TableId::CATALOGUE, leaf, name.as_bytes());
            if let Some(lsn) = tree.dropped_at().filter(|_| !tree.is_logged()) {
                self.purge.unlogged_dropped(lsn, tree.id(), tree.root());
            }
        }
        Ok(leaf.is_some())
    }
}
