//! Isolation broken on purpose: reads with fewer locks than they need, so that the checker of histories can be seen to find
//! what comes of it. No ordinary build contains any of it.

use afterimage_io::planted::{self, Bug};

use super::{Mode, System, Txn};
use crate::error::Result;
use crate::page::Stored;
use crate::tree::{Step, Tree};

impl System {
    /// What a read without a lasting lock shows, if one was planted: the value, or none where the lock has to be waited for.
    pub(super) fn read_weakly(
        &self,
        tree: &Tree,
        key: &[u8],
    ) -> Result<Option<Option<Stored<'static>>>> {
        let (unlocked, momentary) = (
            planted::active(Bug::ReadNotLocked),
            planted::active(Bug::ReadLockMomentary),
        );
        if !unlocked && !momentary {
            return Ok(None);
        }
        tree.read(self.pager_of(tree), key, |_, value| {
            let free = unlocked || !self.locks.is_locked_exclusively(tree.id(), key);
            free.then(|| value.map(Stored::into_owned))
        })
    }

    /// Whether a scan looks without locking what it sees.
    pub(super) fn scans_weakly(&self) -> bool {
        planted::active(Bug::ScanNotLocked) || planted::active(Bug::ScanGapsNotLocked)
    }

    /// Of what was seen without a lock: the rows, each locked and read again, but not the room between them.
    pub(super) fn lock_rows_only(&self, txn: &mut Txn, tree: &Tree, step: &mut Step) -> Result<()> {
        if planted::active(Bug::ScanGapsNotLocked) {
            for row in std::mem::take(&mut step.rows).iter() {
                self.lock_row(txn, tree, row.key, Mode::Shared)?;
                let now = tree.read(self.pager_of(tree), row.key, |_, value| {
                    value.map(Stored::into_owned)
                })?;
                if let Some(now) = now {
                    step.rows.push(row.key, &now);
                }
            }
        }
        Ok(())
    }
}
