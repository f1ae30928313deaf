//! One cell: a key with its value (leaf) or with its child (inner).
//!
//! ```text
//! leaf   flags 1 | key length varint | value length varint | key | value
//! inner  flags 1 | key length varint | key | child 8
//! ```
//!
//! The same bytes stand in a page's heap and in the log's whole-page operations. An inner cell's key is what is left of it
//! behind the page's common prefix, which stands in the fences.
//! Two ways in: [`LeafCell::read`] and [`InnerCell::read`] trust nothing and are what structure checks use, with
//! [`LeafCell::read_usual`], which trusts as little and says nothing of a cell that is not of the usual form;
//! [`leaf_at`] and [`inner_at`] are for pages that have passed such a check, and are short.

use std::borrow::Cow;

use super::stored::{Address, Stored};
use crate::codec::{DecodeError, Reader, varint_len};
use crate::ids::PageId;

/// A row that is there.
pub(crate) const PLAIN: u8 = 0;
/// A row that was deleted, or whose insert was undone: the cell stays until nobody can need it.
pub(crate) const GHOST: u8 = 1;
/// In a row's or a ghost's flags: the value lies in overflow pages, the cell has its address.
pub(crate) const LARGE: u8 = 2;
/// All flags that are defined.
pub(super) const FLAGS: u8 = GHOST | LARGE;

/// A key, its value, and whether the row is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeafCell<'a> {
    /// [`PLAIN`] or [`GHOST`], and [`LARGE`].
    pub(crate) flags: u8,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The lowest key that a child may hold, and the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InnerCell<'a> {
    /// Without the page's common prefix.
    pub(crate) key: &'a [u8],
    pub(crate) child: PageId,
}

impl<'a> LeafCell<'a> {
    pub(crate) fn is_ghost(&self) -> bool {
        self.flags & GHOST != 0
    }

    /// What it holds, ghost or not.
    pub(crate) fn stored(&self) -> Stored<'a> {
        Stored {
            bytes: Cow::Borrowed(self.value),
            large: self.flags & LARGE != 0,
        }
    }

    /// Bytes the cell takes in the heap.
    pub(crate) fn bytes(&self) -> usize {
        leaf_bytes(self.key.len(), self.value.len())
    }

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<LeafCell<'a>, DecodeError> {
        let flags = reader.u8()?;
        if flags & !FLAGS != 0 {
            return Err(reader.error("an unknown kind of leaf cell"));
        }
        let key_len = reader.length(reader.remaining(), "a key beyond the end")?;
        let value_len = reader.length(reader.remaining(), "a value beyond the end")?;
        let cell = LeafCell {
            flags,
            key: reader.take(key_len)?,
            value: reader.take(value_len)?,
        };
        if flags & LARGE != 0 {
            Address::decode(cell.value).map_err(|error| reader.error(error.what))?;
        }
        Ok(cell)
    }

    /// As [`LeafCell::read`], and how long the cell is, for what most cells are: a key of less than 128 bytes and a value of less than
    /// 16 KiB, in the page. None for others, and for what is no cell.
    #[inline]
    pub(super) fn read_usual(bytes: &'a [u8]) -> Option<(LeafCell<'a>, usize)> {
        let [flags @ (PLAIN | GHOST), key_len @ 0..0x80, rest @ ..] = bytes else {
            return None;
        };
        let (value_len, rest) = match rest {
            [len @ 0..0x80, rest @ ..] => (usize::from(*len), rest),
            [low, high @ 1..0x80, rest @ ..] => {
                (usize::from(low & 0x7f) | usize::from(*high) << 7, rest)
            }
            _ => return None,
        };
        let (key, rest_of_all) = rest.split_at_checked(usize::from(*key_len))?;
        let (value, behind) = rest_of_all.split_at_checked(value_len)?;
        let flags = *flags;
        Some((LeafCell { flags, key, value }, bytes.len() - behind.len()))
    }

    /// Appends the cell to others.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.bytes(), 0);
        self.write(&mut out[start..]);
    }

    /// Writes the cell over the first bytes of `out`.
    pub(super) fn write(&self, out: &mut [u8]) {
        out[0] = self.flags;
        let mut at = 1;
        at += write_len(&mut out[at..], self.key.len());
        at += write_len(&mut out[at..], self.value.len());
        out[at..at + self.key.len()].copy_from_slice(self.key);
        at += self.key.len();
        out[at..at + self.value.len()].copy_from_slice(self.value);
    }
}

impl<'a> InnerCell<'a> {
    /// Bytes the cell takes in the heap.
    pub(crate) fn bytes(&self) -> usize {
        inner_bytes(self.key.len())
    }

    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<InnerCell<'a>, DecodeError> {
        if reader.u8()? != PLAIN {
            return Err(reader.error("an unknown kind of inner cell"));
        }
        let key = reader.bytes()?;
        let child =
            PageId::from_link(reader.u64()?).ok_or(reader.error("a child that is no page"))?;
        Ok(InnerCell { key, child })
    }

    /// Appends the cell to others.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.bytes(), 0);
        self.write(&mut out[start..]);
    }

    /// Writes the cell over the first bytes of `out`.
    pub(super) fn write(&self, out: &mut [u8]) {
        out[0] = PLAIN;
        let mut at = 1 + write_len(&mut out[1..], self.key.len());
        out[at..at + self.key.len()].copy_from_slice(self.key);
        at += self.key.len();
        out[at..at + 8].copy_from_slice(&self.child.get().to_le_bytes());
    }
}

/// Bytes of a leaf cell with a key and a value of these lengths.
pub(crate) const fn leaf_bytes(key_len: usize, value_len: usize) -> usize {
    1 + varint_len(key_len as u64) + varint_len(value_len as u64) + key_len + value_len
}

/// Bytes of an inner cell with a key of this length.
pub(crate) const fn inner_bytes(key_len: usize) -> usize {
    1 + varint_len(key_len as u64) + key_len + 8
}

/// The leaf cell that begins at `at`, on a page that has passed its structure check.
#[inline]
pub(super) fn leaf_at(bytes: &[u8], at: usize) -> LeafCell<'_> {
    let [key, value, end] = leaf_bounds(bytes, at);
    LeafCell {
        flags: bytes[at],
        key: &bytes[key..value],
        value: &bytes[value..end],
    }
}

/// Where its key and its value begin, and where it ends.
#[inline]
pub(super) fn leaf_bounds(bytes: &[u8], at: usize) -> [usize; 3] {
    let (key_len, at_value_len) = read_len(bytes, at + 1);
    let (value_len, at_key) = read_len(bytes, at_value_len);
    let at_value = at_key + key_len;
    [at_key, at_value, at_value + value_len]
}

/// The inner cell that begins at `at`, on a page that has passed its structure check.
pub(super) fn inner_at(bytes: &[u8], at: usize) -> InnerCell<'_> {
    let (key_len, at_key) = read_len(bytes, at + 1);
    let at_child = at_key + key_len;
    let child = u64::from_le_bytes(
        bytes[at_child..at_child + 8]
            .try_into()
            .expect("eight bytes"),
    );
    InnerCell {
        key: &bytes[at_key..at_child],
        child: PageId(child),
    }
}

/// A length of at most 16 bits (one to three bytes), and where the next field begins.
#[inline]
fn read_len(bytes: &[u8], at: usize) -> (usize, usize) {
    let first = usize::from(bytes[at]);
    if first < 0x80 {
        return (first, at + 1);
    }
    let second = usize::from(bytes[at + 1]);
    if second < 0x80 {
        return (first & 0x7f | second << 7, at + 2);
    }
    (
        first & 0x7f | (second & 0x7f) << 7 | usize::from(bytes[at + 2]) << 14,
        at + 3,
    )
}

fn write_len(out: &mut [u8], mut value: usize) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}
