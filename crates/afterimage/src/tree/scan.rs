//! Reading: one row, or one leaf's worth of rows at a time. Nothing is latched between calls; the next leaf is found
//! by the fence of the last.

use super::Tree;
use super::descend::Seek;
use crate::buffer::Pager;
use crate::error::Result;
use crate::page::Page;

/// Where a scan goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    /// From this key on (forwards), or from just below it (backwards).
    At(Vec<u8>),
    /// From the end of the table that the scan starts at.
    Open,
    /// There is nothing more.
    Done,
}

/// Rows of one leaf, in scan order.
pub(crate) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl Tree {
    /// Shows `look` the value of `key`, or that there is none, while the leaf is latched.
    pub(crate) fn read<R>(
        &self,
        pager: &Pager,
        key: &[u8],
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        let _permit = pager.permit();
        let leaf = self.leaf_shared(pager, Seek::Key(key))?;
        Ok(look(visible(&leaf, key)))
    }

    /// The next rows at or above `from`, as many as one leaf holds (perhaps none), and where to go on.
    pub(crate) fn rows_from(&self, pager: &Pager, from: &Bound) -> Result<(Rows, Bound)> {
        let _permit = pager.permit();
        let (leaf, first) = match from {
            Bound::At(key) => {
                let leaf = self.leaf_shared(pager, Seek::Key(key))?;
                let first = leaf.search(key).unwrap_or_else(|index| index);
                (leaf, first)
            }
            Bound::Open => (self.leaf_shared(pager, Seek::First)?, 0),
            Bound::Done => return Ok((Rows::new(), Bound::Done)),
        };
        let rows = (first..leaf.cell_count())
            .filter_map(|index| row(&leaf, index))
            .collect();
        Ok((
            rows,
            leaf.high_fence()
                .map_or(Bound::Done, |fence| Bound::At(fence.to_vec())),
        ))
    }

    /// The rows of one leaf that are below `before`, largest key first, and where to go on.
    pub(crate) fn rows_before(&self, pager: &Pager, before: &Bound) -> Result<(Rows, Bound)> {
        let _permit = pager.permit();
        let (leaf, end) = match before {
            Bound::At(key) => {
                let leaf = self.leaf_shared(pager, Seek::Before(key))?;
                let end = leaf.search(key).unwrap_or_else(|index| index);
                (leaf, end)
            }
            Bound::Open => {
                let leaf = self.leaf_shared(pager, Seek::Last)?;
                let end = leaf.cell_count();
                (leaf, end)
            }
            Bound::Done => return Ok((Rows::new(), Bound::Done)),
        };
        let rows = (0..end)
            .rev()
            .filter_map(|index| row(&leaf, index))
            .collect();
        Ok((
            rows,
            leaf.low_fence()
                .map_or(Bound::Done, |fence| Bound::At(fence.to_vec())),
        ))
    }
}

/// The value of `key` on this leaf; a ghost has none.
pub(super) fn visible<'a>(leaf: &'a Page, key: &[u8]) -> Option<&'a [u8]> {
    leaf.leaf_get(key)
        .filter(|cell| !cell.is_ghost())
        .map(|cell| cell.value)
}

fn row(leaf: &Page, index: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let cell = leaf.leaf_cell(index);
    (!cell.is_ghost()).then(|| (cell.key.to_vec(), cell.value.to_vec()))
}
