//! Allocation map pages: two bits for each page of the file.
//!
//! Bit 0 of a pair says "used", bit 1 is reserved. Page 1 is a map, and so is every (2 x page size)-th page after it;
//! a map speaks for itself (index 0, always used) and for the pages up to the next map. Page 0, the file header, has no
//! bits. The bits stand directly behind the page header, half a page of them, lowest index in the lowest bits.

use super::Page;
use super::header::Kind;
use crate::ids::{PageId, TableId};
use crate::limits::{PAGE_HEADER_BYTES, map_pages};

/// The pair of bits of a page in use.
pub(crate) const USED: u8 = 0b01;
/// The pairs of bits that are defined: free and used.
pub(super) const BITS_MAX: u8 = USED;

/// Pages whose bits are one word, and that word when all are in use.
const WORD_PAGES: u32 = u64::BITS / 2;
const USED_WORD: u64 = 0x5555_5555_5555_5555;

/// Which map page speaks for `page`, and at which index; `None` for the file header.
pub(crate) fn map_position(page: PageId, page_size: usize) -> Option<(PageId, u32)> {
    let behind_header = page.get().checked_sub(PageId::FIRST_MAP.get())?;
    let index = behind_header % map_pages(page_size);
    Some((PageId(page.get() - index), index as u32))
}

/// The page that map page `map` speaks for at `index`.
pub(crate) fn map_page(map: PageId, index: u32) -> PageId {
    PageId(map.get() + u64::from(index))
}

/// Whether `page` is where an allocation map stands.
pub(crate) fn is_map_page(page: PageId, page_size: usize) -> bool {
    matches!(map_position(page, page_size), Some((_, 0)))
}

impl Page {
    /// How many pages this map speaks for, itself included.
    pub(crate) fn map_len(&self) -> u32 {
        map_pages(self.size()) as u32
    }

    /// The pair of bits at `index`.
    pub(crate) fn map_get(&self, index: u32) -> u8 {
        assert!(
            index < self.map_len(),
            "index {index} of a map of {}",
            self.map_len()
        );
        self.bytes[map_byte(index)] >> map_shift(index) & 0b11
    }

    /// The first free index at or after `from`.
    pub(crate) fn find_free(&self, from: u32) -> Option<u32> {
        debug_assert_eq!(self.kind(), Some(Kind::Map));
        let (mut index, len) = (from, self.map_len());
        while index < len {
            // Words of used pages are stepped over whole: a map is looked through from its beginning for each new page.
            if index.is_multiple_of(WORD_PAGES) {
                let (words, _) = self.bytes[map_byte(index)..map_byte(len)].as_chunks();
                let full = |word: &&[u8; 8]| u64::from_le_bytes(**word) & USED_WORD == USED_WORD;
                index += words.iter().take_while(full).count() as u32 * WORD_PAGES;
                if index >= len {
                    return None;
                }
            }
            if self.map_get(index) == 0 {
                return Some(index);
            }
            index += 1;
        }
        None
    }

    pub(super) fn format_map(&mut self, id: PageId, bits: &[u8]) {
        self.format(Kind::Map, 0, TableId::NONE, id);
        self.bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + bits.len()].copy_from_slice(bits);
    }

    pub(super) fn map_set(&mut self, index: u32, bits: u8) {
        let byte = &mut self.bytes[map_byte(index)];
        *byte = *byte & !(0b11 << map_shift(index)) | bits << map_shift(index);
    }

    #[cfg(test)]
    /// The bits, without the zeroes at their end.
    pub(super) fn map_bits(&self) -> &[u8] {
        let bits = &self.bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + map_bytes(self.size())];
        let used = bits
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        &bits[..used]
    }
}

/// Bytes of bits on a map page.
pub(super) const fn map_bytes(page_size: usize) -> usize {
    page_size / 2
}

/// Whether no pair of these bits is one that is not defined.
pub(super) fn are_bits(bits: &[u8]) -> bool {
    bits.iter().all(|byte| byte & 0xaa == 0)
}

const fn map_byte(index: u32) -> usize {
    PAGE_HEADER_BYTES + index as usize / 4
}

const fn map_shift(index: u32) -> u32 {
    index % 4 * 2
}
