//! Reading: one row, or one leaf's worth of rows at a time. Nothing is latched between calls; the next leaf is found
//! by the fence of the last.

use std::ops::Range;

use afterimage_log::Lsn;

use super::Tree;
use super::descend::Seek;
use super::rows::Rows;
use crate::buffer::Pager;
use crate::error::Result;
use crate::interval::{Interval, successor};
use crate::page::{LeafCell, Page, Stored};

/// Some rows of an interval, and what is left of it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) rows: Rows,
    pub(crate) rest: Interval,
}

/// What a reader makes of a row, while the leaf is latched: the leaf's LSN, the key, the value that is there now.
pub(crate) type See<'s> =
    dyn for<'v> Fn(Option<Lsn>, &[u8], Option<Stored<'v>>) -> Option<Stored<'v>> + 's;

/// The row as it is.
pub(crate) fn as_is<'v>(_: Option<Lsn>, _: &[u8], value: Option<Stored<'v>>) -> Option<Stored<'v>> {
    value
}

impl Tree {
    /// Shows `look` the leaf's LSN and the value of `key`, or that there is none, while the leaf is latched.
    pub(crate) fn read<R>(
        &self,
        pager: &Pager,
        key: &[u8],
        look: impl FnOnce(Option<Lsn>, Option<Stored<'_>>) -> R,
    ) -> Result<R> {
        let _permit = pager.permit();
        let leaf = self.leaf_unchecked(pager, Seek::Key(key))?;
        let cell = self.find(pager, &leaf, key)?;
        Ok(look(leaf.lsn(), cell.map(|cell| cell.stored())))
    }

    /// The row of `key` on the leaf that a descent for it has led to; a ghost is none.
    pub(super) fn find<'a>(
        &self,
        pager: &Pager,
        leaf: &'a Page,
        key: &[u8],
    ) -> Result<Option<LeafCell<'a>>> {
        let cell = leaf.leaf_get(key);
        // Who finds the key has seen that this is the leaf for it.
        if cell.is_none() {
            self.check_keys(pager, leaf, Seek::Key(key))?;
        }
        Ok(cell.filter(|cell| !cell.is_ghost()))
    }

    /// The next rows from one end of `within`, as `see` shows them: at most `limit`, of one leaf, perhaps none. `allow` is asked, while the leaf is
    /// latched, about the interval of exactly the keys that this shows to be there or not; if it says no, the answer is
    /// `None`.
    pub(crate) fn rows_within(
        &self,
        pager: &Pager,
        within: &Interval,
        backwards: bool,
        limit: usize,
        see: &See<'_>,
        allow: &mut dyn FnMut(&Interval) -> bool,
    ) -> Result<Option<Step>> {
        let _permit = pager.permit();
        let seek = match (&within.high, backwards) {
            (_, false) => Seek::Key(&within.low),
            (Some(high), true) => Seek::Before(high),
            (None, true) => Seek::Last,
        };
        let leaf = self.leaf_shared(pager, seek)?;
        let place_of = |key: &[u8]| leaf.search(key).unwrap_or_else(|index| index);
        let first = place_of(&within.low);
        let end = within.high.as_deref().map_or(leaf.cell_count(), place_of);
        let rows = rows(&leaf, first..end, backwards, limit, see);
        let last = rows.len().checked_sub(1).and_then(|last| rows.get(last));
        let seen = match (last, backwards) {
            (Some(row), false) => within.up_to(Some(&successor(row.key))),
            (Some(row), true) => within.starting_at(row.key),
            (None, false) => within.up_to(leaf.high_fence()),
            (None, true) => within.starting_at(leaf.low_fence().unwrap_or_default()),
        };
        if !allow(&seen) {
            return Ok(None);
        }
        let rest = within.without(&seen, backwards);
        debug_assert!(within.is_empty() || rest != *within, "a scan moves on");
        Ok(Some(Step { rows, rest }))
    }
}

/// The first or last `limit` rows of these cells, in scan order.
fn rows(leaf: &Page, cells: Range<usize>, backwards: bool, limit: usize, see: &See<'_>) -> Rows {
    let most = cells.len().min(limit);
    // About as much as they will need.
    let bytes = leaf.size() * most / leaf.cell_count().max(1);
    let mut rows = Rows::with_capacity(most, bytes);
    let (mut cells, lsn) = (cells, leaf.lsn());
    let mut next = || match backwards {
        true => cells.next_back(),
        false => cells.next(),
    };
    while rows.len() < limit
        && let Some(index) = next()
    {
        let cell = leaf.leaf_cell(index);
        let value = (!cell.is_ghost()).then(|| cell.stored());
        if let Some(value) = see(lsn, cell.key, value) {
            rows.push(cell.key, &value);
        }
    }
    rows
}
