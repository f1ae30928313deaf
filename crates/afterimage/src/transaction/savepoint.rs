//! Savepoints: places in a transaction to go back to, through the same CLRs as a whole rollback. What is undone stays
//! locked: nobody else may see that it was ever there, and the transaction may write it again.

use afterimage_log::{Lsn, Reservation};

use super::rollback::undo_record;
use super::{System, Txn};
use crate::error::{Error, Result};

/// A place in a transaction to go back to; got by [`Transaction::savepoint`](crate::Transaction::savepoint).
#[derive(Debug, PartialEq, Eq)]
pub struct Savepoint {
    /// The age of the transaction, which no other living one has.
    txn: u64,
    number: u64,
}

/// A savepoint as the transaction keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    number: u64,
    /// The last record before it.
    last: Option<Lsn>,
    /// Changes of unlogged rows before it.
    steps: usize,
    /// The log space that was kept for taking back what is before it.
    undo_bytes: usize,
}

impl System {
    /// Sets a savepoint behind all that was done so far.
    pub(crate) fn savepoint(&self, txn: &mut Txn) -> Result<Savepoint> {
        self.check_alive(txn)?;
        let number = txn.savepoints_set;
        txn.savepoints_set += 1;
        let mark = self.mark(txn, number);
        txn.savepoints.push(mark);
        Ok(Savepoint {
            txn: txn.age,
            number,
        })
    }

    /// The place that the transaction has come to.
    pub(super) fn mark(&self, txn: &Txn, number: u64) -> Mark {
        Mark {
            number,
            last: txn.chain.map(|chain| chain.last),
            steps: txn.steps(),
            undo_bytes: match &txn.undo_space {
                Some(space) => space.bytes(),
                None => self.finish_bytes(),
            },
        }
    }

    /// Takes back what was done since the savepoint, which stays; those set after it are gone.
    pub(crate) fn rollback_to(&self, txn: &mut Txn, savepoint: &Savepoint) -> Result<()> {
        self.check_alive(txn)?;
        let place = find(txn, savepoint)?;
        let mark = txn.savepoints[place];
        // An undo may need room in the tree, and the whole rollback, later, once more.
        let extra = self.pager.log.reserve(self.finish_bytes())?;
        txn.savepoints.truncate(place + 1);
        let undone = self.undo_down_to(txn, mark, extra);
        if let Err(error) = &undone {
            // Half of it is taken back: only the whole rollback, which goes on from there, is left.
            txn.doomed = Some(error.clone());
        }
        undone
    }

    /// Forgets the savepoint and those set after it; what was done stays.
    pub(crate) fn release(&self, txn: &mut Txn, savepoint: &Savepoint) -> Result<()> {
        self.check_alive(txn)?;
        let place = find(txn, savepoint)?;
        txn.savepoints.truncate(place);
        Ok(())
    }

    pub(super) fn undo_down_to(&self, txn: &mut Txn, mark: Mark, extra: Reservation) -> Result<()> {
        self.undo_unlogged(txn, mark.steps)?;
        let Some(chain) = &mut txn.chain else {
            return Ok(());
        };
        let Some(space) = &mut txn.undo_space else {
            return Ok(());
        };
        space.absorb(extra);
        let kept = space.bytes();
        let mut next = Some(chain.last);
        while let Some(lsn) = next
            && next > mark.last
        {
            next = undo_record(self, space, chain, lsn)?.next;
        }
        assert!(
            next == mark.last,
            "TXN-3: a partial undo ends at its savepoint"
        );
        txn.logged += (kept - space.bytes()) as u64;
        let surplus = space.bytes().checked_sub(mark.undo_bytes);
        let surplus = surplus.expect("TXN-4: an undo takes no more log than was kept for it");
        drop(space.split(surplus));
        Ok(())
    }
}

fn find(txn: &Txn, savepoint: &Savepoint) -> Result<usize> {
    let place = txn
        .savepoints
        .iter()
        .position(|mark| mark.number == savepoint.number);
    place
        .filter(|_| savepoint.txn == txn.age)
        .ok_or(Error::NoSuchSavepoint)
}
