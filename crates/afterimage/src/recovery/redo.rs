//! The redo pass: repeats history. Every record that may be missing from its page is applied again, by the same
//! `apply` that made the change in the first place; losers' too.

use std::collections::{BTreeMap, BTreeSet};

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Frame, Lsn};

use super::analysis::decode;
use super::kinds::Kinds;
use crate::buffer::Pager;
use crate::error::Result;
use crate::ids::PageId;
use crate::page::{PageOp, apply, check_op};
use crate::record::{Record, RecordKind};

/// Redo in progress.
pub(crate) struct Redo<'a> {
    pager: &'a Pager,
    dirty: &'a BTreeMap<PageId, Lsn>,
    /// The log ends here; no page can be from beyond.
    end: Lsn,
    /// Pages that have been marked dirty already: once is enough, they have been home since.
    marked: BTreeSet<PageId>,
    /// Transactions not to be redone: a planted bug, nothing else.
    skipped: BTreeSet<Lsn>,
    pub(crate) applied: u64,
    pub(crate) already_there: u64,
    pub(crate) bytes: u64,
}

/// What to do with one page's part of a record.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Apply,
    AlreadyThere,
    LogMissing,
}

/// The three-way test. `page`: the page's LSN, `record`: the record's, `previous`: what the page's was before it.
fn decide(
    page: Option<Lsn>,
    record: Lsn,
    previous: Option<Lsn>,
    makes_whole_page: bool,
) -> Decision {
    if planted::active(Bug::RedoAsksForNothing) {
        Decision::Apply
    } else if page >= Some(record) {
        Decision::AlreadyThere
    } else if page == previous || makes_whole_page && !planted::active(Bug::FormatAsksForPage) {
        Decision::Apply
    } else {
        Decision::LogMissing
    }
}

impl<'a> Redo<'a> {
    pub(crate) fn new(
        pager: &'a Pager,
        dirty: &'a BTreeMap<PageId, Lsn>,
        end: Lsn,
        losers: &[Lsn],
    ) -> Redo<'a> {
        let skipped = if planted::active(Bug::LosersNotRedone) {
            losers.iter().copied().collect()
        } else {
            BTreeSet::new()
        };
        Redo {
            pager,
            dirty,
            end,
            marked: BTreeSet::new(),
            skipped,
            applied: 0,
            already_there: 0,
            bytes: 0,
        }
    }

    /// Pages brought up to date, or found so.
    pub(crate) fn pages(&self) -> u64 {
        self.marked.len() as u64
    }

    pub(crate) fn redo(&mut self, frame: &Frame, kinds: &mut Kinds) -> Result<()> {
        let (record, lsn) = (decode(frame)?, frame.lsn);
        self.bytes += frame.end.get() - lsn.get();
        if record
            .txn(lsn)
            .is_some_and(|txn| self.skipped.contains(&txn))
        {
            return Ok(());
        }
        if planted::active(Bug::ClrsNotRedone) && matches!(record, Record::Clr(_)) {
            return Ok(());
        }
        let before = (self.applied, self.already_there);
        record.try_for_each_page(|page, previous, op| match self.dirty.get(&page) {
            Some(&rec_lsn) if rec_lsn <= lsn => self.redo_page(lsn, page, rec_lsn, previous, &op),
            _ => Ok(()),
        })?;
        if (self.applied, self.already_there) != before {
            kinds.redo(RecordKind::of(&record), self.applied != before.0);
        }
        Ok(())
    }

    fn redo_page(
        &mut self,
        lsn: Lsn,
        id: PageId,
        rec_lsn: Lsn,
        previous: Option<Lsn>,
        op: &PageOp<'_>,
    ) -> Result<()> {
        let (mut page, unreadable) = self.pager.fetch_for_redo(id)?;
        if let Some(what) = &unreadable
            && !op.makes_whole_page()
        {
            page.discard();
            return Err(self
                .pager
                .corrupt(id, format!("{what}; redo at LSN {lsn} needs it whole")));
        }
        if page.lsn() >= Some(self.end) {
            let what = format!(
                "its LSN {:?} is from beyond the end of the log, {}",
                page.lsn(),
                self.end
            );
            return Err(self.pager.corrupt(id, what));
        }
        let decision = decide(page.lsn(), lsn, previous, op.makes_whole_page());
        // Also where it is there already: what was read may be in a page cache and nowhere else (T12).
        if self.marked.insert(id) {
            page.mark_dirty(rec_lsn);
        } else if decision == Decision::Apply {
            page.mark_dirty(lsn);
        }
        match decision {
            Decision::AlreadyThere => self.already_there += 1,
            Decision::Apply => {
                check_op(&page, op)
                    .map_err(|e| self.pager.corrupt(id, format!("redo at LSN {lsn}: {e}")))?;
                apply(&mut page, op).expect("checked just before");
                page.set_lsn(lsn);
                self.applied += 1;
            }
            Decision::LogMissing => {
                let what = format!(
                    "PAGE-3: its LSN is {:?}, but the record at LSN {lsn} changed it from {previous:?}: a write was \
                     lost, or log is missing",
                    page.lsn()
                );
                return Err(self.pager.corrupt(id, what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_three_way_test() {
        let lsn = |value| Lsn::new(value).expect("not zero");
        let (old, prev, record, new) = (Some(lsn(5)), Some(lsn(10)), lsn(20), Some(lsn(30)));
        assert_eq!(decide(prev, record, prev, false), Decision::Apply);
        assert_eq!(
            decide(Some(record), record, prev, false),
            Decision::AlreadyThere
        );
        assert_eq!(decide(new, record, prev, false), Decision::AlreadyThere);
        assert_eq!(decide(old, record, prev, false), Decision::LogMissing);
        assert_eq!(
            decide(Some(lsn(15)), record, prev, false),
            Decision::LogMissing
        );
        assert_eq!(decide(None, record, prev, false), Decision::LogMissing);
        assert_eq!(decide(old, record, None, true), Decision::Apply);
        assert_eq!(decide(None, record, None, true), Decision::Apply);
        assert_eq!(decide(new, record, None, true), Decision::AlreadyThere);
    }
}
