//! The first 96 bytes of every page: where each field stands, and typed access to it.
//!
//! The table [`FIELDS`] is the code's side of "Page header" in `docs/format.md`; a test compares the two. Everything
//! is little-endian. Setters are for this module's own mutators; the one exception is the page LSN, which whoever has
//! logged a change stamps after applying it.

use afterimage_log::Lsn;

use super::Page;
use crate::ids::{PageId, TableId};
use crate::limits::PAGE_HEADER_BYTES;

/// What a page holds. The number is the byte on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Page 0: what file this is.
    FileHeader = 1,
    /// Allocation bits.
    Map = 2,
    /// Keys and values.
    Leaf = 3,
    /// Separators and children.
    Inner = 4,
    /// Bytes of a large value.
    Overflow = 5,
    /// Nothing: the page was a tree's and is free.
    Free = 6,
}

impl Kind {
    pub(crate) const fn from_byte(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::FileHeader),
            2 => Some(Kind::Map),
            3 => Some(Kind::Leaf),
            4 => Some(Kind::Inner),
            5 => Some(Kind::Overflow),
            6 => Some(Kind::Free),
            _ => None,
        }
    }

    /// Whether such a page has cells and fences.
    pub(crate) const fn is_slotted(self) -> bool {
        matches!(self, Kind::Leaf | Kind::Inner)
    }
}

/// Marks a page of this engine (high byte) and the version of its layout (low byte).
pub(super) const PAGE_FORMAT: u16 = 0xA101;
/// The length that says "no fence": no key is ever this long.
pub(super) const FENCE_ABSENT: u16 = u16::MAX;

pub(super) const CHECKSUM: usize = 0;
pub(super) const FORMAT: usize = 4;
pub(super) const KIND: usize = 6;
pub(super) const LEVEL: usize = 7;
pub(super) const PAGE_NUMBER: usize = 8;
pub(super) const PAGE_LSN: usize = 16;
pub(super) const TREE: usize = 24;
pub(super) const FLAGS: usize = 28;
pub(super) const CELL_COUNT: usize = 30;
pub(super) const RIGHT_LINK: usize = 32;
pub(super) const HEAP_START: usize = 40;
pub(super) const GARBAGE: usize = 44;
pub(super) const LOW_FENCE: usize = 48;
pub(super) const HIGH_FENCE: usize = 52;
pub(super) const PREFIX_LENGTH: usize = 56;
pub(super) const TAIL_BYTES: usize = 58;
pub(super) const RESERVED: usize = 60;

/// Name, offset and length of every field of the header, in order, without gaps.
#[cfg(test)]
pub(super) const FIELDS: &[(&str, usize, usize)] = &[
    ("checksum", CHECKSUM, 4),
    ("format", FORMAT, 2),
    ("kind", KIND, 1),
    ("level", LEVEL, 1),
    ("page number", PAGE_NUMBER, 8),
    ("page LSN", PAGE_LSN, 8),
    ("tree", TREE, 4),
    ("flags", FLAGS, 2),
    ("cell count", CELL_COUNT, 2),
    ("right link", RIGHT_LINK, 8),
    ("heap start", HEAP_START, 4),
    ("garbage", GARBAGE, 4),
    ("low fence offset", LOW_FENCE, 2),
    ("low fence length", LOW_FENCE + 2, 2),
    ("high fence offset", HIGH_FENCE, 2),
    ("high fence length", HIGH_FENCE + 2, 2),
    ("prefix length", PREFIX_LENGTH, 2),
    ("tail bytes", TAIL_BYTES, 2),
    ("reserved", RESERVED, PAGE_HEADER_BYTES - RESERVED),
];

const _: () = assert!(RESERVED < PAGE_HEADER_BYTES);

impl Page {
    /// What the page holds; `None` for a page of zeroes or an unknown kind.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_byte(self.bytes[KIND])
    }

    /// Distance from the leaves, which are level 0.
    pub(crate) fn level(&self) -> u8 {
        self.bytes[LEVEL]
    }

    /// The number the page bears.
    pub(crate) fn id(&self) -> PageId {
        PageId(self.u64_at(PAGE_NUMBER))
    }

    /// LSN of the last record applied to the page; `None` on a page that no record has touched.
    pub(crate) fn lsn(&self) -> Option<Lsn> {
        Lsn::new(self.u64_at(PAGE_LSN))
    }

    /// Stamps the page with the record just applied.
    ///
    /// # Panics
    ///
    /// If the page LSN would go back (PAGE-2).
    pub(crate) fn set_lsn(&mut self, lsn: Lsn) {
        assert!(
            self.u64_at(PAGE_LSN) <= lsn.get(),
            "PAGE-2: the LSN of page {} would go back to {lsn}",
            self.id()
        );
        self.put_u64(PAGE_LSN, lsn.get());
    }

    /// The tree the page belongs to.
    pub(crate) fn tree(&self) -> TableId {
        TableId(self.u32_at(TREE))
    }

    /// How many cells there are, ghosts included.
    pub(crate) fn cell_count(&self) -> usize {
        usize::from(self.u16_at(CELL_COUNT))
    }

    /// The next page of the same level, to the right.
    pub(crate) fn right_link(&self) -> Option<PageId> {
        PageId::from_link(self.u64_at(RIGHT_LINK))
    }

    /// Bytes at the page's end that are not the heap's.
    pub(crate) fn tail_bytes(&self) -> usize {
        usize::from(self.u16_at(TAIL_BYTES))
    }

    /// Where the heap ends: at the page's end, or before its tail bytes.
    pub(super) fn heap_end(&self) -> usize {
        self.size() - self.tail_bytes()
    }

    pub(super) fn heap_start(&self) -> usize {
        self.u32_at(HEAP_START) as usize
    }

    pub(super) fn garbage(&self) -> usize {
        self.u32_at(GARBAGE) as usize
    }

    pub(super) fn add_garbage(&mut self, bytes: usize) {
        self.put_u32(GARBAGE, (self.garbage() + bytes) as u32);
    }

    pub(super) fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(super) fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"))
    }

    pub(super) fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    pub(super) fn put_u16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub(super) fn put_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub(super) fn put_u64(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}
