//! The undo pass: one sweep backwards over all losers together, newest record first (so what depends on what is taken
//! back in the right order), through the same step that a live rollback takes.

use std::collections::BinaryHeap;

use afterimage_io::planted::{self, Bug};
use afterimage_log::Lsn;

use super::kinds::Kinds;
use crate::error::Result;
use crate::record::AttEntry;
use crate::transaction::{Chain, System, undo_record};

/// Rolls back every loser. Returns how many records were looked at.
pub(crate) fn undo(system: &System, losers: &[AttEntry], kinds: &mut Kinds) -> Result<u64> {
    let mut todo: BinaryHeap<(Option<Lsn>, Lsn, Lsn)> = losers
        .iter()
        .map(|loser| (start(loser), loser.txn, loser.last))
        .collect();
    let mut steps = 0;
    while let Some((next, id, last)) = todo.pop() {
        let mut space = system.undo_step_space()?;
        let mut chain = Chain { id, last };
        match next {
            Some(lsn) => {
                let visited = undo_record(system, &mut space, &mut chain, lsn)?;
                todo.push((visited.next, id, chain.last));
                visited.undone.inspect(|kind| kinds.undone(*kind));
                steps += 1;
            }
            None => {
                system.end(&mut space, chain)?;
            }
        }
    }
    Ok(steps)
}

/// Where a loser's undo goes on. Its CLRs say what has been taken back already.
fn start(loser: &AttEntry) -> Option<Lsn> {
    if planted::active(Bug::ClrUndoneTwice) {
        return Some(loser.last);
    }
    loser.undo_next
}
