//! The one way to change a page. Forward work, rollback and structure changes all come through here with latched
//! frames and a record; what is then done to the pages is what redo will do to them: do is redo.
//!
//! Pages of unlogged tables change here too: checked and applied like the others, except that the record goes nowhere.
//! They bear no LSN.

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Appended, Log, Lsn, Reservation};

use super::{Exclusive, Pager};
use crate::error::{Error, Result};
use crate::page::{Checked, apply_checked, checked_op};
use crate::record::{Record, RecordKind};

impl Pager {
    /// Log space for `record`, got before any latch. Ends by I/O alone.
    pub(crate) fn reserve_for(&self, record: &Record<'_>) -> Result<Reservation> {
        let mut payload = Vec::new();
        record.encode(&mut payload);
        self.reserve(Log::frame_bytes(payload.len(), true))
    }

    /// Log space for records of `bytes` bytes in all, got before any latch. Changes that are not logged need none.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation> {
        match self.is_logged() {
            true => Ok(self.log.reserve(bytes)?),
            false => Ok(self.log.no_reservation()),
        }
    }

    /// Appends `record` and applies it to `pages`, which are those it names, in its order, exclusively latched.
    /// `inside` runs in the reservation, with the record's LSN: what it changes is in step with the log. `None`, and no
    /// `inside`, for pages that are not logged.
    ///
    /// Everything that can fail is checked before anything is marked, and the frames are marked dirty before the
    /// record is appended: a checkpoint between the two sees a page too many, never one too few (T22).
    pub(crate) fn mutate(
        &self,
        reservation: &mut Reservation,
        record: &Record<'_>,
        pages: &mut [&mut Exclusive<'_>],
        timed: bool,
        inside: &mut dyn FnMut(Lsn, u64),
    ) -> Result<Option<Appended>> {
        let checked = self.check(record, pages)?;
        if !self.is_logged() {
            // For the cleaner, which takes the oldest first; the page itself is not stamped.
            mark_dirty(pages, self.log.next_lsn());
            apply_to(record, pages, &checked, None);
            self.changes.add(1);
            return Ok(None);
        }
        if !planted::active(Bug::RecLsnTooLate) {
            mark_dirty(pages, self.log.next_lsn());
        }
        let appended = self.append(reservation, record, timed, inside)?;
        if planted::active(Bug::RecLsnTooLate) {
            mark_dirty(pages, self.log.next_lsn());
        }
        apply_to(record, pages, &checked, Some(appended.lsn));
        Ok(Some(appended))
    }

    /// Appends `record`, and counts it by its kind; `inside` as in [`Log::append`].
    pub(crate) fn append(
        &self,
        reservation: &mut Reservation,
        record: &Record<'_>,
        timed: bool,
        inside: impl FnOnce(Lsn, u64),
    ) -> Result<Appended> {
        let mut payload = Vec::with_capacity(256);
        record.encode(&mut payload);
        let kind = RecordKind::of(record);
        self.append_encoded(reservation, (kind, &payload), timed, inside)
    }

    /// As [`Pager::append`], for a record that is bytes already. Every record of the engine comes through here.
    pub(crate) fn append_encoded(
        &self,
        reservation: &mut Reservation,
        (kind, payload): (RecordKind, &[u8]),
        timed: bool,
        inside: impl FnOnce(Lsn, u64),
    ) -> Result<Appended> {
        let bytes = Log::frame_bytes(payload.len(), timed) as u64;
        let appended = self.log.append(reservation, payload, timed, |lsn, time| {
            self.records.count(kind, bytes);
            inside(lsn, time);
        })?;
        Ok(appended)
    }

    /// What was found on each page, in their order.
    fn check(&self, record: &Record<'_>, pages: &[&mut Exclusive<'_>]) -> Result<AllChecked> {
        let (mut index, mut refused) = (0, None);
        let mut checked = AllChecked::default();
        record.for_each_page(|page, previous, op| {
            let frame = &pages[index];
            assert_eq!(
                frame.page_id(),
                page,
                "MUT-1: the frames are those the record names"
            );
            assert_eq!(
                frame.lsn(),
                previous,
                "PAGE-3: the record carries the page's previous LSN"
            );
            match checked_op(frame, &op) {
                Ok(found) if index == 0 => checked.first = Some(found),
                Ok(found) => checked.others.push(found),
                Err(e) => {
                    refused.get_or_insert_with(|| {
                        Error::corruption(format!("page {page}"), e.to_string())
                    });
                }
            }
            index += 1;
        });
        assert_eq!(index, pages.len(), "MUT-1: the record names every frame");
        refused.map_or(Ok(checked), Err)
    }
}

/// What was found on the pages of a record. A row's has one, and takes no memory for it.
#[derive(Default)]
struct AllChecked {
    first: Option<Checked>,
    others: Vec<Checked>,
}

fn apply_to(
    record: &Record<'_>,
    pages: &mut [&mut Exclusive<'_>],
    checked: &AllChecked,
    lsn: Option<Lsn>,
) {
    let mut index = 0;
    let mut checked = checked.first.iter().chain(&checked.others);
    record.for_each_page(|_, _, op| {
        let checked = checked.next().expect("checked before anything was marked");
        apply_checked(pages[index], &op, *checked);
        if let Some(lsn) = lsn.filter(|_| !planted::active(Bug::PageLsnNotStamped)) {
            pages[index].set_lsn(lsn);
        }
        index += 1;
    });
}

fn mark_dirty(pages: &[&mut Exclusive<'_>], rec_lsn: Lsn) {
    for page in pages {
        page.mark_dirty(rec_lsn);
    }
}
