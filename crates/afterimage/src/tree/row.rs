//! Writing one row: find the leaf, see what is there, decide, log and apply. The same path serves puts, deletes and
//! the steps of a rollback.

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Appended, Lsn, Reservation};

use super::Tree;
use super::split::Asker;
use crate::buffer::Pager;
use crate::error::Result;
use crate::ids::{PageId, TableId};
use crate::page::{Page, PageOp, Stored};
use crate::record::{Change, Record};

/// Where a row is about to change: what its record must say about the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowPlace {
    pub(crate) table: TableId,
    pub(crate) page: PageId,
    pub(crate) page_prev: Option<Lsn>,
}

/// A change of one row, waiting for its place.
pub(crate) struct RowWrite<'a> {
    pub(crate) key: &'a [u8],
    /// Sees the value that is there and says what to do; `None`: nothing.
    pub(crate) decide: &'a mut dyn FnMut(Option<Stored<'_>>) -> Option<Change<'a>>,
    /// Puts the change, at its place, into a record.
    pub(crate) record: &'a dyn Fn(RowPlace, Change<'a>) -> Record<'a>,
    /// Runs in the reservation, with the record's LSN and time.
    pub(crate) inside: &'a mut dyn FnMut(Lsn, u64),
    /// Whether the record bears a time (commits do).
    pub(crate) timed: bool,
    /// Whether a rollback asks: then it may have the last of the reserves.
    pub(crate) undoing: bool,
    /// Whether the ghost of a key may be removed: nobody holds a lock on it.
    pub(crate) purgeable: &'a dyn Fn(&[u8]) -> bool,
}

/// What a write has done.
pub(crate) struct Written {
    /// `None`: the table is not logged.
    pub(crate) appended: Option<Appended>,
    /// The leaf, if the row became a ghost on it.
    pub(crate) ghost_on: Option<PageId>,
}

impl Tree {
    /// Carries out `write`. `None` if there was nothing to do. Makes room by purging ghosts or splitting, each its own
    /// record. Waits for I/O alone; call it without latches, with `reservation` covering the record.
    pub(crate) fn write_row(
        &self,
        pager: &Pager,
        reservation: &mut Reservation,
        write: &mut RowWrite<'_>,
    ) -> Result<Option<Written>> {
        loop {
            let permit = pager.permit();
            let mut leaf = self.leaf_exclusive_unchecked(pager, write.key)?;
            let at = leaf.search(write.key);
            let cell = self.found(pager, &leaf, write.key, at)?;
            let Some(change) = (write.decide)(cell.map(|cell| cell.stored())) else {
                return Ok(None);
            };
            if let Some(value_len) = lacks_room(&leaf, at, write.key, &change) {
                drop((leaf, permit));
                if planted::active(Bug::UndoFindsNoRoom) && write.undoing {
                    return Ok(None);
                }
                let mut asker = Asker {
                    pager,
                    purgeable: write.purgeable,
                    kept: write.undoing.then_some(&mut *reservation),
                };
                self.make_room(&mut asker, write.key, value_len)?;
                continue;
            }
            let place = RowPlace {
                table: self.id,
                page: leaf.page_id(),
                page_prev: leaf.lsn(),
            };
            let ghost_on = matches!(change, Change::Delete { .. }).then_some(place.page);
            let record = (write.record)(place, change);
            let pages = &mut [&mut leaf];
            let appended = pager.mutate(reservation, &record, pages, write.timed, write.inside)?;
            return Ok(Some(Written { appended, ghost_on }));
        }
    }
}

/// The length of the value that does not fit where its key was searched for, if it does not.
fn lacks_room(
    leaf: &Page,
    at: std::result::Result<usize, usize>,
    key: &[u8],
    change: &Change<'_>,
) -> Option<usize> {
    match change.to_op(key) {
        PageOp::PutCell { value, .. } if !leaf.fits_put_at(at, key.len(), value.len()) => {
            Some(value.len())
        }
        _ => None,
    }
}
