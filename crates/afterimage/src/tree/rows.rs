//! Rows that were read from one leaf, in one piece of memory: a scan allocates by leaves, not by rows.

use crate::page::Stored;

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

    /// Row `index`; `None` behind the last.
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
