//! What must hold of a page before anything believes it.
//!
//! A page read from disk goes through [`Page::verify`] (are these the bytes that were written here?) and then through
//! [`Page::check`] (do they mean something?). After that, readers and [`apply`](super::apply) may index without asking.
//! The check is strict: bytes that version 1 leaves unused are zero.

use std::fmt;

use super::Page;
use super::cell::{InnerCell, LeafCell};
use super::header::{self, FENCE_ABSENT, Kind};
use super::map::{are_bits, is_map_page, map_bytes};
use super::slotted::{after_prefix, common_prefix, head_number, offset_entry};
use crate::codec::Reader;
use crate::ids::{PageId, TableId};
use crate::limits::{
    CELL_ENTRY_BYTES, PAGE_HEADER_BYTES, PAGE_SIZE_MAX, PAGE_TAIL_BYTES_MAX, TREE_LEVEL_MAX,
    key_bytes_max, value_bytes_max,
};

/// Why a page is not to be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageError {
    /// Every byte is zero: the page was never written.
    Zero,
    /// The checksum does not match.
    Checksum {
        /// As it stands in the page.
        stored: u32,
        /// As the page's contents would have it.
        computed: u32,
    },
    /// A whole page of this file, in another page's place.
    Misplaced {
        /// The number it bears.
        found: PageId,
        /// Where it stands.
        expected: PageId,
    },
    /// The checksum matches, but the contents do not make sense.
    Structure {
        /// Offset in the page.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PageError::Zero => f.write_str("every byte is zero: the page was never written"),
            PageError::Checksum { stored, computed } => {
                write!(
                    f,
                    "checksum {stored:#010x} is stored, the contents give {computed:#010x}"
                )
            }
            PageError::Misplaced { found, expected } => {
                write!(f, "page {found} stands where page {expected} belongs")
            }
            PageError::Structure { at, what } => write!(f, "at byte {at}: {what}"),
        }
    }
}

impl std::error::Error for PageError {}

/// Pages up to this size pay for no more.
const USUAL_SIZE: usize = 8 * 1024;

const fn wrong(at: usize, what: &'static str) -> PageError {
    PageError::Structure { at, what }
}

impl Page {
    /// Whether the contents make sense. Never panics, whatever the bytes; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`PageError::Zero`] or [`PageError::Structure`].
    pub(crate) fn check(&self) -> Result<(), PageError> {
        if self.u16_at(header::FORMAT) != header::PAGE_FORMAT {
            return Err(if self.is_zero() {
                PageError::Zero
            } else {
                wrong(header::FORMAT, "not a page of this format")
            });
        }
        let kind = self
            .kind()
            .ok_or(wrong(header::KIND, "an unknown kind of page"))?;
        self.check_common()?;
        match kind {
            Kind::FileHeader => self.check_file_header(),
            Kind::Map => self.check_map(),
            Kind::Leaf => self.check_slotted(kind),
            Kind::Inner => self.check_slotted(kind),
            Kind::Overflow => self.check_overflow(),
            Kind::Free => self.check_free(),
        }
    }

    fn check_common(&self) -> Result<(), PageError> {
        if self.u16_at(header::FLAGS) != 0 {
            return Err(wrong(header::FLAGS, "unknown page flags"));
        }
        if self.prefix_len() != 0 && !self.kind().is_some_and(Kind::is_slotted) {
            return Err(wrong(
                header::PREFIX_LENGTH,
                "a common prefix on a page without keys",
            ));
        }
        if self.tail_bytes() > PAGE_TAIL_BYTES_MAX {
            return Err(wrong(header::TAIL_BYTES, "too many tail bytes"));
        }
        if self.bytes[header::RESERVED..PAGE_HEADER_BYTES]
            .iter()
            .any(|&byte| byte != 0)
        {
            return Err(wrong(header::RESERVED, "reserved bytes are not zero"));
        }
        Ok(())
    }

    fn check_file_header(&self) -> Result<(), PageError> {
        self.check_no_cells()?;
        if self.id() != PageId::FILE_HEADER {
            return Err(wrong(
                header::PAGE_NUMBER,
                "a file header that is not page 0",
            ));
        }
        let head = self
            .file_header()
            .map_err(|error| wrong(PAGE_HEADER_BYTES + error.at, error.what))?;
        if head.page_size as usize != self.size() {
            return Err(wrong(PAGE_HEADER_BYTES, "a file of another page size"));
        }
        Ok(())
    }

    fn check_free(&self) -> Result<(), PageError> {
        self.check_no_cells()?;
        if self.bytes[PAGE_HEADER_BYTES..]
            .iter()
            .any(|&byte| byte != 0)
        {
            return Err(wrong(PAGE_HEADER_BYTES, "bytes on a page that is free"));
        }
        self.check_not_special()
    }

    /// Only one page is the file header, and maps stand where maps stand.
    pub(super) fn check_not_special(&self) -> Result<(), PageError> {
        if self.id() == PageId::FILE_HEADER || is_map_page(self.id(), self.size()) {
            return Err(wrong(
                header::PAGE_NUMBER,
                "another page where the file header or a map belongs",
            ));
        }
        Ok(())
    }

    fn check_map(&self) -> Result<(), PageError> {
        self.check_no_cells()?;
        if !is_map_page(self.id(), self.size()) {
            return Err(wrong(header::PAGE_NUMBER, "a map where no map stands"));
        }
        let bits = &self.bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + map_bytes(self.size())];
        if !are_bits(bits) {
            return Err(wrong(
                PAGE_HEADER_BYTES,
                "allocation bits that are not defined",
            ));
        }
        if self.map_get(0) == 0 {
            return Err(wrong(
                PAGE_HEADER_BYTES,
                "a map that does not count itself as used",
            ));
        }
        Ok(())
    }

    /// A page without cells has nothing in the fields that describe cells.
    fn check_no_cells(&self) -> Result<(), PageError> {
        let bare =
            self.is_without_cells() && self.tree() == TableId::NONE && self.right_link().is_none();
        if bare {
            Ok(())
        } else {
            Err(wrong(header::LEVEL, "cells on a page that has none"))
        }
    }

    pub(super) fn is_without_cells(&self) -> bool {
        let numbers = [header::LEVEL, header::CELL_COUNT, header::CELL_COUNT + 1];
        numbers.iter().all(|&at| self.bytes[at] == 0)
            && self.heap_start() == 0
            && self.garbage() == 0
            && self.low_fence_field() == (0, FENCE_ABSENT)
            && self.high_fence_field() == (0, FENCE_ABSENT)
    }

    fn low_fence_field(&self) -> (u16, u16) {
        (
            self.u16_at(header::LOW_FENCE),
            self.u16_at(header::LOW_FENCE + 2),
        )
    }

    fn high_fence_field(&self) -> (u16, u16) {
        (
            self.u16_at(header::HIGH_FENCE),
            self.u16_at(header::HIGH_FENCE + 2),
        )
    }

    fn check_slotted(&self, kind: Kind) -> Result<(), PageError> {
        self.check_place(kind)?;
        let start = self.heap_start();
        if start < offset_entry(self.cell_count()) || start > self.heap_end() {
            return Err(wrong(
                header::HEAP_START,
                "the heap begins outside the page's free space",
            ));
        }
        let (mut small, mut large);
        let taken: &mut [u64] = if self.size() <= USUAL_SIZE {
            small = [0; USUAL_SIZE / 64];
            &mut small
        } else {
            large = [0; PAGE_SIZE_MAX / 64];
            &mut large
        };
        let mut claimed = Claimed {
            heap: start..self.heap_end(),
            taken,
            bytes: 0,
        };
        let low = self.check_fence(header::LOW_FENCE, &mut claimed)?;
        let high = self.check_fence(header::HIGH_FENCE, &mut claimed)?;
        if high.is_some_and(|high| low.unwrap_or_default() >= high) {
            return Err(wrong(
                header::HIGH_FENCE,
                "the fences leave no room for keys",
            ));
        }
        if self.prefix_len() != common_prefix(low, high) {
            return Err(wrong(
                header::PREFIX_LENGTH,
                "a prefix that is not what the fences have in common",
            ));
        }
        self.check_cells(kind, low, high, &mut claimed)?;
        if claimed.bytes + self.garbage() != self.heap_end() - start {
            return Err(wrong(
                header::GARBAGE,
                "cells, fences and garbage do not add up to the heap",
            ));
        }
        Ok(())
    }

    fn check_place(&self, kind: Kind) -> Result<(), PageError> {
        let level = self.level();
        if (kind == Kind::Leaf) != (level == 0) || level > TREE_LEVEL_MAX {
            return Err(wrong(header::LEVEL, "a level that such a page cannot have"));
        }
        if self.tree() == TableId::NONE {
            return Err(wrong(header::TREE, "a page of no tree"));
        }
        self.check_not_special()?;
        if kind == Kind::Inner && self.cell_count() == 0 {
            return Err(wrong(header::CELL_COUNT, "an inner page without children"));
        }
        Ok(())
    }

    fn check_fence(
        &self,
        field: usize,
        claimed: &mut Claimed<'_>,
    ) -> Result<Option<&[u8]>, PageError> {
        let (at, len) = (usize::from(self.u16_at(field)), self.u16_at(field + 2));
        if len == FENCE_ABSENT || len == 0 {
            // No bytes in the heap, so nothing to point at.
            return if at == 0 {
                Ok((len == 0).then_some(&[]))
            } else {
                Err(wrong(field, "a fence without bytes that has a place"))
            };
        }
        let len = usize::from(len);
        if len > key_bytes_max(self.size()) {
            return Err(wrong(field, "a fence longer than any key"));
        }
        if !claimed.claim(at, len) {
            return Err(wrong(
                field,
                "a fence outside the heap, or over another cell",
            ));
        }
        Ok(Some(&self.bytes[at..at + len]))
    }

    fn check_cells<'a>(
        &'a self,
        kind: Kind,
        low: Option<&'a [u8]>,
        high: Option<&'a [u8]>,
        claimed: &mut Claimed<'_>,
    ) -> Result<(), PageError> {
        // Keys are compared behind the prefix, which an inner page's cells lack; by their heads, and whole where those are equal.
        let (prefix, count) = (self.prefix(), self.cell_count());
        let behind = |fence: Option<&'a [u8]>| fence.map(|fence| &fence[prefix.len()..]);
        let (low, high) = (behind(low), behind(high));
        let mut previous: Option<(u32, &[u8])> = None;
        let (entries, _) = self.entries().as_chunks::<CELL_ENTRY_BYTES>();
        for (index, [at_low, at_high, found @ ..]) in entries.iter().enumerate() {
            let entry = offset_entry(index);
            let at = usize::from(u16::from_le_bytes([*at_low, *at_high]));
            let (key, bytes) = self.check_cell(kind, at)?;
            if !claimed.claim(at, bytes) {
                return Err(wrong(entry, "a cell outside the heap, or over another one"));
            }
            let rest = match kind {
                Kind::Inner => Some(key),
                _ => after_prefix(key, prefix),
            };
            let outside = || wrong(entry, "a key outside the fences");
            let rest = rest.ok_or_else(outside)?;
            let head = head_number(rest);
            if u32::from_be_bytes(*found) != head {
                return Err(wrong(entry + 2, "a head that is not its key's"));
            }
            let follows = |(before, previous): (u32, &[u8])| {
                before < head || before == head && previous < rest
            };
            if !previous.is_none_or(follows) {
                return Err(wrong(entry, "keys out of order"));
            }
            // What is in order lies between the fences if both ends do.
            let below = index == 0 && low.is_some_and(|low| rest < low);
            if below || index + 1 == count && high.is_some_and(|high| rest >= high) {
                return Err(outside());
            }
            if kind == Kind::Inner && index == 0 && rest != low.unwrap_or_default() {
                return Err(wrong(
                    entry,
                    "the first child does not begin at the low fence",
                ));
            }
            previous = Some((head, rest));
        }
        Ok(())
    }

    /// The key of the cell at `at`, and how many bytes the cell takes.
    #[inline]
    fn check_cell(&self, kind: Kind, at: usize) -> Result<(&[u8], usize), PageError> {
        if at < self.heap_start() || at >= self.heap_end() {
            return Err(wrong(at, "a cell outside the heap"));
        }
        let bytes = &self.bytes[at..self.heap_end()];
        let mut reader = Reader::new(bytes);
        let mut usual = None;
        let key = if kind == Kind::Leaf {
            let cell = match LeafCell::read_usual(bytes) {
                Some((cell, len)) => {
                    usual = Some(len);
                    cell
                }
                None => {
                    LeafCell::read(&mut reader).map_err(|error| wrong(at + error.at, error.what))?
                }
            };
            if cell.value.len() > value_bytes_max(self.size()) {
                return Err(wrong(at, "a value longer than a page of this size takes"));
            }
            cell.key
        } else {
            let cell =
                InnerCell::read(&mut reader).map_err(|error| wrong(at + error.at, error.what))?;
            if !can_be_child(cell.child, self.id(), self.size()) {
                return Err(wrong(at, "a child that no inner page can have"));
            }
            cell.key
        };
        let left_out = if kind == Kind::Inner {
            self.prefix_len()
        } else {
            0
        };
        if left_out + key.len() > key_bytes_max(self.size()) {
            return Err(wrong(at, "a key longer than a page of this size takes"));
        }
        Ok((key, usual.unwrap_or(reader.position())))
    }
}

/// Whether an inner page can have that child: not itself, and no page that is no tree's. Whoever descends holds a page while
/// it latches the child, so this is also what keeps a forged link from being a wait without end.
pub(super) fn can_be_child(child: PageId, own: PageId, page_size: usize) -> bool {
    child != own && child != PageId::FILE_HEADER && !is_map_page(child, page_size)
}

/// Which bytes of the heap belong to something: no byte may belong to two, or changing one cell would change another.
struct Claimed<'t> {
    heap: std::ops::Range<usize>,
    taken: &'t mut [u64],
    bytes: usize,
}

impl Claimed<'_> {
    /// Claims `len` bytes from `at`; false if one of them is not in the heap or is claimed already.
    fn claim(&mut self, at: usize, len: usize) -> bool {
        let end = at + len;
        if at < self.heap.start || end > self.heap.end {
            return false;
        }
        let mut from = at;
        while from < end {
            let until = end.min((from / 64 + 1) * 64);
            let mask = (u64::MAX >> (64 - (until - from))) << (from % 64);
            if self.taken[from / 64] & mask != 0 {
                return false;
            }
            self.taken[from / 64] |= mask;
            from = until;
        }
        self.bytes += len;
        true
    }
}
