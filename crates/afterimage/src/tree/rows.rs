//! Rows that were read from one leaf, in one piece of memory: a scan allocates by leaves, not by rows, and where it sees a leaf as
//! it is, it copies the leaf from end to end: that is the way memory is fastest, and cells stand in it in any order.

use crate::page::{GHOST, LARGE, Page, Stored};

/// Keys with what their cells hold, in the order in which they were read.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a row stands in the bytes: its key, and behind it its value.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
    end: usize,
    large: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'r> {
    pub(crate) key: &'r [u8],
    /// The value, or the address of a large one.
    pub(crate) value: &'r [u8],
    pub(crate) large: bool,
}

impl Row<'_> {
    pub(crate) fn stored(&self) -> Stored<'_> {
        Stored {
            bytes: self.value.into(),
            large: self.large,
        }
    }
}

impl Rows {
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> Rows {
        Rows {
            bytes: Vec::with_capacity(bytes),
            places: Vec::with_capacity(rows),
        }
    }

    /// Of these cells of a leaf, those that are no ghosts, in the memory of rows that are needed no more.
    pub(crate) fn of_leaf(
        leaf: &Page,
        cells: impl ExactSizeIterator<Item = usize>,
        used: Rows,
    ) -> Rows {
        let mut rows = used;
        rows.bytes.clear();
        rows.places.clear();
        rows.bytes.extend_from_slice(leaf.bytes());
        rows.places.reserve(cells.len());
        for index in cells {
            let (flags, [key, value, end]) = leaf.leaf_bounds(index);
            if flags & GHOST == 0 {
                rows.places.push(Place {
                    key,
                    value,
                    end,
                    large: flags & LARGE != 0,
                });
            }
        }
        rows
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &Stored<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(&value.bytes);
        self.places.push(Place {
            key: start,
            value: start + key.len(),
            end: self.bytes.len(),
            large: value.large,
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether row `index` has the address of its value in place of it.
    pub(crate) fn is_large(&self, index: usize) -> bool {
        self.places.get(index).is_some_and(|place| place.large)
    }

    /// Row `index`; `None` behind the last.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Row<'_>> {
        self.places.get(index).map(|place| Row {
            key: &self.bytes[place.key..place.value],
            value: &self.bytes[place.value..place.end],
            large: place.large,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}
