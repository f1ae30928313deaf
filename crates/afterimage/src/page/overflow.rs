//! Overflow pages: a large value's bytes, a page of them at a time.
//!
//! Behind the header stand three fields, then the bytes, then zeroes. The first page of an extent has the next extent's
//! first page as its right link; the last extent has none. A page says where in the value it belongs, so that a link
//! that leads to another value's pages is noticed.

use super::Page;
use super::check::PageError;
use super::header::{self, Kind};
use super::stored::Extent;
use crate::ids::{PageId, TableId};
use crate::limits::{PAGE_HEADER_BYTES, overflow_bytes};

const POSITION: usize = PAGE_HEADER_BYTES;
const NEXT_PAGES: usize = PAGE_HEADER_BYTES + 8;
const LENGTH: usize = PAGE_HEADER_BYTES + 12;
pub(super) const BYTES: usize = PAGE_HEADER_BYTES + 16;

/// Name, offset and length of every field in front of the bytes, in order, without gaps.
#[cfg(test)]
pub(super) const FIELDS: &[(&str, usize, usize)] = &[
    ("position", POSITION, 8),
    ("next pages", NEXT_PAGES, 4),
    ("length", LENGTH, 4),
];

const _: () = assert!(BYTES == PAGE_HEADER_BYTES + crate::limits::OVERFLOW_HEADER_BYTES);

impl Page {
    /// Where in the value the page's first byte belongs.
    pub(crate) fn overflow_position(&self) -> u64 {
        self.u64_at(POSITION)
    }

    /// The value's bytes on this page.
    pub(crate) fn overflow_data(&self) -> &[u8] {
        let len = self.u32_at(LENGTH) as usize;
        &self.bytes[BYTES..BYTES + len]
    }

    /// The extent behind the one that this page is the first of.
    pub(crate) fn next_extent(&self) -> Option<Extent> {
        Some(Extent {
            first: self.right_link()?,
            pages: self.u32_at(NEXT_PAGES),
        })
    }

    pub(super) fn format_overflow(
        &mut self,
        id: PageId,
        tree: TableId,
        position: u64,
        next: Option<Extent>,
        data: &[u8],
    ) {
        self.format(Kind::Overflow, 0, tree, id);
        self.set_right_link(next.map(|next| next.first));
        self.put_u64(POSITION, position);
        self.put_u32(NEXT_PAGES, next.map_or(0, |next| next.pages));
        self.put_u32(LENGTH, data.len() as u32);
        self.bytes[BYTES..BYTES + data.len()].copy_from_slice(data);
    }

    pub(super) fn check_overflow(&self) -> Result<(), PageError> {
        let wrong = |at, what| Err(PageError::Structure { at, what });
        if !self.is_without_cells() {
            return wrong(header::LEVEL, "cells on a page that has none");
        }
        self.check_not_special()?;
        if self.tree() == TableId::NONE {
            return wrong(header::TREE, "a page of no tree");
        }
        let len = self.u32_at(LENGTH) as usize;
        if len == 0 || len > overflow_bytes(self.size()) {
            return wrong(LENGTH, "more bytes than the page has, or none");
        }
        if self.right_link().is_some() != (self.u32_at(NEXT_PAGES) > 0) {
            return wrong(NEXT_PAGES, "a link without an extent, or the reverse");
        }
        let behind = (self.right_link().map_or(0, PageId::get))
            .checked_add(u64::from(self.u32_at(NEXT_PAGES)));
        if behind.is_none() {
            return wrong(NEXT_PAGES, "an extent that no file has");
        }
        if self.bytes[BYTES + len..].iter().any(|&byte| byte != 0) {
            return wrong(BYTES + len, "bytes behind the value's");
        }
        Ok(())
    }
}
