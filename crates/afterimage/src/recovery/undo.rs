//! The undo pass: one sweep backwards over all losers together, newest record first (so what depends on what is taken
//! back in the right order), through the same step that a live rollback takes.

use std::collections::BinaryHeap;

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Frame, Lsn};

use super::kinds::Kinds;
use crate::error::Result;
use crate::observe::{AfterStep, Observing, RecoveryStep, SeenRecord};
use crate::record::AttEntry;
use crate::transaction::{Chain, System, undo_record};

/// Rolls back every loser. Returns how many records were looked at.
pub(crate) fn undo(
    system: &System,
    losers: &[AttEntry],
    kinds: &mut Kinds,
    observer: &Observing,
) -> Result<u64> {
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
                if observer.is_there() {
                    let clr = Some(chain.last).filter(|written| *written != last);
                    tell_undo(system, observer, id, lsn, clr, visited.next)?;
                }
                todo.push((visited.next, id, chain.last));
                visited.undone.inspect(|kind| kinds.undone(*kind));
                steps += 1;
            }
            None => {
                let end = system.end(&mut space, chain)?;
                let step = RecoveryStep::TransactionEnded { txn: id, lsn: end };
                make_durable_if(observer.tell(&step), system)?;
            }
        }
    }
    Ok(steps)
}

/// Tells what was visited, and what was written for it: read back from the log.
fn tell_undo(
    system: &System,
    observer: &Observing,
    txn: Lsn,
    visited: Lsn,
    clr: Option<Lsn>,
    next: Option<Lsn>,
) -> Result<()> {
    let log = &system.pager.log;
    let frame = log.read(visited)?;
    let clr = clr.map(|lsn| log.read(lsn)).transpose()?;
    let step = RecoveryStep::Undo {
        txn,
        record: seen(&frame),
        clr: clr.as_ref().map(seen),
        next,
    };
    make_durable_if(observer.tell(&step), system)
}

fn seen(frame: &Frame) -> SeenRecord<'_> {
    SeenRecord {
        lsn: frame.lsn,
        payload: &frame.payload,
    }
}

fn make_durable_if(what: AfterStep, system: &System) -> Result<()> {
    let log = &system.pager.log;
    match what {
        AfterStep::GoOn => Ok(()),
        AfterStep::MakeLogDurable => Ok(log.wait_durable(log.next_lsn())?),
    }
}

/// Where a loser's undo goes on. Its CLRs say what has been taken back already.
fn start(loser: &AttEntry) -> Option<Lsn> {
    if planted::active(Bug::ClrUndoneTwice) {
        return Some(loser.last);
    }
    loser.undo_next
}
