#![doc = include_str!("README.md")]

mod cell;
mod check;
mod fan;
mod file_header;
mod header;
mod map;
pub(crate) mod op;
mod overflow;
mod slotted;
mod stored;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::{any_op, cases};

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

use crate::ids::PageId;
use crate::limits::is_page_size;

#[allow(
    unused_imports,
    reason = "one list of what the rest of the engine may name"
)]
pub(crate) use self::{
    cell::{GHOST, InnerCell, LARGE, LeafCell, PLAIN, inner_bytes, leaf_bytes},
    check::PageError,
    fan::Fan,
    file_header::FileHeader,
    header::Kind,
    map::{USED, is_map_page, map_page, map_position},
    op::{ApplyError, Checked, PageOp, apply, apply_checked, check_op, checked_op, xor_value},
    slotted::separator,
    stored::{ADDRESS_BYTES, Address, Extent, Stored},
};

/// The bytes of one page, with access that cannot leave them.
///
/// Reading accessors assume a page that passed [`Page::verify`] and [`Page::check`], or that was made by [`apply`] from one
/// that did; on other bytes they may panic, never more.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    bytes: Box<[u8]>,
}

impl Page {
    /// A page of zeroes.
    ///
    /// # Panics
    ///
    /// If `page_size` is not a legal page size.
    pub(crate) fn new(page_size: usize) -> Page {
        assert!(is_page_size(page_size), "a page of {page_size} bytes");
        Page {
            bytes: vec![0; page_size].into_boxed_slice(),
        }
    }

    /// Gives a page that was made by `default`, and has no bytes, its bytes: a pool takes memory for pages when there are pages.
    pub(crate) fn take_memory(&mut self, page_size: usize) {
        if self.bytes.is_empty() {
            *self = Page::new(page_size);
        }
    }

    /// The page's size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// All bytes, for writing the page out.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes, for reading a page in. Whoever fills them calls [`Page::verify`] and [`Page::check`] next.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Makes this a copy of `source`, which has its size, without allocating.
    pub(crate) fn copy_from(&mut self, source: &Page) {
        self.bytes.copy_from_slice(&source.bytes);
    }

    /// Makes this a page of zeroes.
    pub(crate) fn clear(&mut self) {
        self.bytes.fill(0);
    }

    /// Whether every byte is zero: a page that was never written.
    pub(crate) fn is_zero(&self) -> bool {
        // By words: recovery looks so at every page of the file's end.
        let (words, rest) = self.bytes.as_chunks::<16>();
        words.iter().all(|word| u128::from_le_bytes(*word) == 0) && rest.iter().all(|&b| b == 0)
    }

    /// Computes the checksum, as the last step before the page is written to the file.
    pub(crate) fn seal(&mut self, file_id: u128) {
        let checksum = self.checksum(file_id, self.id());
        self.put_u32(header::CHECKSUM, checksum);
    }

    /// Whether these bytes are what was sealed as page `expected` of this file.
    ///
    /// # Errors
    ///
    /// [`PageError::Zero`], [`PageError::Checksum`] or [`PageError::Misplaced`]. A page written to the wrong place fails
    /// its checksum; if it is whole where it should have been, that is what the error says.
    pub(crate) fn verify(&self, file_id: u128, expected: PageId) -> Result<(), PageError> {
        let stored = self.u32_at(header::CHECKSUM);
        let computed = self.checksum(file_id, expected);
        if stored == computed && self.id() == expected {
            return Ok(());
        }
        if self.is_zero() {
            return Err(PageError::Zero);
        }
        if stored == self.checksum(file_id, self.id()) {
            return Err(PageError::Misplaced {
                found: self.id(),
                expected,
            });
        }
        Err(PageError::Checksum { stored, computed })
    }

    /// CRC-32C over file id, page number, and everything behind the checksum itself.
    fn checksum(&self, file_id: u128, id: PageId) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&file_id.to_le_bytes());
        digest.update(&id.get().to_le_bytes());
        digest.update(&self.bytes[header::FORMAT..]);
        digest.finalize() as u32
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("id", &self.id().get())
            .field("kind", &self.kind())
            .field("level", &self.level())
            .field("lsn", &self.lsn().map(|lsn| lsn.get()))
            .field("cells", &self.cell_count())
            .finish_non_exhaustive()
    }
}
