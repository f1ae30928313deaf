//! Freeing what nobody needs any more: the pages that ended transactions have left in the pending-free tree.

use std::collections::BTreeSet;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;
use afterimage_log::Lsn;

use super::{System, after_record};
use crate::error::Result;
use crate::ids::PageId;
use crate::interval::Interval;
use crate::tree::pending_key;

/// Who has left pages behind.
pub(super) struct Purge {
    /// (commit or end record, owner), oldest first.
    ended: Mutex<BTreeSet<(Lsn, Lsn)>>,
    /// Held by whoever frees, over I/O.
    freeing: Mutex<()>,
}

impl Purge {
    pub(super) fn new(io: &Io) -> Purge {
        Purge {
            ended: Mutex::new(io, BTreeSet::new()),
            freeing: Mutex::new(io, ()),
        }
    }

    /// `owner` has ended with the record at `end`; what it has left in the pending-free tree is nobody's.
    pub(super) fn owner_ended(&self, owner: Lsn, end: Lsn) {
        self.ended.lock().insert((end, owner));
    }

    fn next(&self, horizon: Lsn) -> Option<(Lsn, Lsn)> {
        let first = *self.ended.lock().first()?;
        (first.0 < horizon).then_some(first)
    }
}

impl System {
    /// What ended before this LSN did so for good, and nobody can see any more what was there before it.
    fn purge_horizon(&self) -> Lsn {
        self.pager.log.durable_lsn()
    }

    /// After a start: whoever has left pages behind has ended by now.
    pub(crate) fn load_pending(&self) -> Result<()> {
        let end = self.pager.log.next_lsn();
        let mut rest = Interval::all();
        while !rest.is_empty() {
            let pending = &self.catalogue.pending;
            let (entries, next) = pending.pending_within(&self.pager, &rest)?;
            for (owner, _) in entries {
                // The end of the log stands for an end that it may no longer hold.
                let ended = Lsn::new(end.get() - 1).unwrap_or(end);
                self.purge.owner_ended(owner, ended);
            }
            rest = next;
        }
        Ok(())
    }

    /// Frees the pages that the oldest ended owner has left, if it is old enough. False if there was nothing to free.
    ///
    /// # Errors
    ///
    /// `DiskFull` where there is no log space for it: what is not freed yet stays to be freed.
    pub(crate) fn purge_step(&self) -> Result<bool> {
        let _freeing = self.purge.freeing.lock();
        let Some((end, owner)) = self.purge.next(self.purge_horizon()) else {
            return Ok(false);
        };
        let pending = &self.catalogue.pending;
        let behind = pending_key(after_record(owner), PageId(0));
        let mut rest = Interval::new(&pending_key(owner, PageId(0)), Some(&behind));
        while !rest.is_empty() {
            let (entries, next) = pending.pending_within(&self.pager, &rest)?;
            for (_, extent) in entries {
                pending.free_extent(&self.pager, owner, extent)?;
            }
            rest = next;
        }
        self.purge.ended.lock().remove(&(end, owner));
        Ok(true)
    }
}
