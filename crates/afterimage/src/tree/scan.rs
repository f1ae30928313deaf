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

/// A leaf is copied whole where at least one row in so many of it is wanted.
const MOST: usize = 4;

/// Some rows of an interval, and what is left of it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) rows: Rows,
    pub(crate) rest: Interval,
}

/// Which rows a scan's next step is to bring: so many at most, from one end of an interval.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) within: &'a Interval,
    pub(crate) backwards: bool,
    pub(crate) limit: usize,
}

/// What a reader makes of the rows of a leaf, while it is latched.
pub(crate) trait Sight {
    /// Whether it sees all rows of a leaf with this LSN as they are.
    fn is_plain(&self, leaf: Option<Lsn>) -> bool;

    /// The value that it sees for a key, of the value that is there now.
    fn see<'v>(
        &self,
        leaf: Option<Lsn>,
        key: &[u8],
        value: Option<Stored<'v>>,
    ) -> Option<Stored<'v>>;
}

/// Sees rows as they are.
pub(crate) struct AsIs;

impl Sight for AsIs {
    fn is_plain(&self, _: Option<Lsn>) -> bool {
        true
    }

    fn see<'v>(&self, _: Option<Lsn>, _: &[u8], value: Option<Stored<'v>>) -> Option<Stored<'v>> {
        value
    }
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
        self.found(pager, leaf, key, leaf.search(key))
    }

    /// As [`Tree::find`], where the key was searched for.
    pub(super) fn found<'a>(
        &self,
        pager: &Pager,
        leaf: &'a Page,
        key: &[u8],
        at: std::result::Result<usize, usize>,
    ) -> Result<Option<LeafCell<'a>>> {
        let cell = at.ok().map(|index| leaf.leaf_cell(index));
        // Who finds the key has seen that this is the leaf for it.
        if cell.is_none() {
            self.check_keys(pager, leaf, Seek::Key(key))?;
        }
        Ok(cell.filter(|cell| !cell.is_ghost()))
    }

    /// The rows of the first leaf of `within` as they are, and what is left of it.
    pub(super) fn first_rows(&self, pager: &Pager, within: &Interval) -> Result<Step> {
        let wanted = Wanted {
            within,
            backwards: false,
            limit: usize::MAX,
        };
        let step = self.rows_within(pager, wanted, &AsIs, Rows::default(), &mut |_| true)?;
        Ok(step.expect("nobody says no"))
    }

    /// The next of the wanted rows as `sight` shows them: those of one leaf, perhaps none. `allow` is asked, while
    /// the leaf is latched, about the interval of exactly the keys that this shows to be there or not; if it says no, the
    /// answer is `None`. The rows stand in the memory of `used`, which are needed no more.
    pub(crate) fn rows_within(
        &self,
        pager: &Pager,
        wanted: Wanted<'_>,
        sight: &impl Sight,
        used: Rows,
        allow: &mut dyn FnMut(&Interval) -> bool,
    ) -> Result<Option<Step>> {
        let _permit = pager.permit();
        let Wanted {
            within,
            backwards,
            limit,
        } = wanted;
        let seek = match (&within.high, backwards) {
            (_, false) => Seek::Key(&within.low),
            (Some(high), true) => Seek::Before(high),
            (None, true) => Seek::Last,
        };
        let leaf = self.leaf_shared(pager, seek)?;
        let place_of = |key: &[u8]| leaf.search(key).unwrap_or_else(|index| index);
        let first = place_of(&within.low);
        let end = within.high.as_deref().map_or(leaf.cell_count(), place_of);
        let rows = rows(&leaf, first..end, backwards, limit, sight, used);
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
fn rows(
    leaf: &Page,
    cells: Range<usize>,
    backwards: bool,
    limit: usize,
    sight: &impl Sight,
    used: Rows,
) -> Rows {
    let (mut cells, lsn) = (cells, leaf.lsn());
    let most_of_leaf = cells.len() * MOST >= leaf.cell_count();
    if cells.len() <= limit && most_of_leaf && sight.is_plain(lsn) {
        return match backwards {
            true => Rows::of_leaf(leaf, cells.rev(), used),
            false => Rows::of_leaf(leaf, cells, used),
        };
    }
    let most = cells.len().min(limit);
    // About as much as they will need.
    let bytes = leaf.size() * most / leaf.cell_count().max(1);
    let mut rows = Rows::with_capacity(most, bytes);
    let mut next = || match backwards {
        true => cells.next_back(),
        false => cells.next(),
    };
    while rows.len() < limit
        && let Some(index) = next()
    {
        let cell = leaf.leaf_cell(index);
        let value = (!cell.is_ghost()).then(|| cell.stored());
        if let Some(value) = sight.see(lsn, cell.key, value) {
            rows.push(cell.key, &value);
        }
    }
    rows
}
