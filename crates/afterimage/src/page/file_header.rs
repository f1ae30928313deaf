//! Page 0: what file this is.
//!
//! The control file says the same about the database; the file says it about itself, so that `pages` of one database
//! put beside the log of another is noticed. The file id enters every page's checksum.

use super::Page;
use super::header::Kind;
use crate::codec::{DecodeError, Reader};
use crate::ids::{PageId, TableId};
use crate::limits::{PAGE_HEADER_BYTES, PAGE_TAIL_BYTES_MAX, is_page_size};

/// The first bytes of the file header's body.
pub(super) const MAGIC: [u8; 8] = *b"AFTRPAGE";
/// Version of the format of the pages file.
pub(super) const VERSION: u32 = 1;
/// Bytes of the body.
pub(super) const BODY_BYTES: usize = 80;

/// Name, offset in the page and length of every field of the body, in order, without gaps.
#[cfg(test)]
pub(super) const FIELDS: &[(&str, usize, usize)] = &[
    ("magic", 96, 8),
    ("format version", 104, 4),
    ("page size", 108, 4),
    ("database id", 112, 16),
    ("file id", 128, 16),
    ("required features", 144, 8),
    ("optional features", 152, 8),
    ("next table", 160, 4),
    ("tail bytes of every page", 164, 2),
    ("reserved", 166, 10),
];

/// What the pages file says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileHeader {
    /// Bytes a page.
    pub(crate) page_size: u32,
    /// The database the file belongs to.
    pub(crate) database_id: u128,
    /// Enters the checksum of every page of this file.
    pub(crate) file_id: u128,
    /// Features without which the file cannot be read. None are defined in version 1.
    pub(crate) required_features: u64,
    /// Features that may be ignored.
    pub(crate) optional_features: u64,
    /// The number that the next table gets.
    pub(crate) next_table: u32,
    /// Bytes set aside at each page's end. None in version 1.
    pub(crate) tail_bytes: u16,
}

impl FileHeader {
    /// The header of a database's `pages`, which has the database's id for its own.
    pub(crate) const fn new(page_size: u32, database_id: u128, next_table: u32) -> FileHeader {
        FileHeader {
            page_size,
            database_id,
            file_id: database_id,
            required_features: 0,
            optional_features: 0,
            next_table,
            tail_bytes: 0,
        }
    }

    /// Appends the body, as it stands in the page and in the log.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.page_size.to_le_bytes());
        out.extend_from_slice(&self.database_id.to_le_bytes());
        out.extend_from_slice(&self.file_id.to_le_bytes());
        out.extend_from_slice(&self.required_features.to_le_bytes());
        out.extend_from_slice(&self.optional_features.to_le_bytes());
        out.extend_from_slice(&self.next_table.to_le_bytes());
        out.extend_from_slice(&self.tail_bytes.to_le_bytes());
        out.resize(start + BODY_BYTES, 0);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<FileHeader, DecodeError> {
        if reader.take(8)? != MAGIC {
            return Err(reader.error("not a file of pages"));
        }
        if reader.u32()? != VERSION {
            return Err(reader.error("an unknown version of the pages file"));
        }
        let header = FileHeader {
            page_size: reader.u32()?,
            database_id: reader.u128()?,
            file_id: reader.u128()?,
            required_features: reader.u64()?,
            optional_features: reader.u64()?,
            next_table: reader.u32()?,
            tail_bytes: reader.u16()?,
        };
        if reader.take(10)? != [0; 10] {
            return Err(reader.error("reserved bytes are not zero"));
        }
        header.check().map_err(|what| reader.error(what))?;
        Ok(header)
    }

    /// What must hold of any file header.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !is_page_size(self.page_size as usize) {
            return Err("not a legal page size");
        }
        if usize::from(self.tail_bytes) > PAGE_TAIL_BYTES_MAX {
            return Err("too many tail bytes");
        }
        if self.required_features != 0 {
            return Err("a required feature that this version does not know");
        }
        Ok(())
    }
}

impl Page {
    /// What page 0 says about the file.
    ///
    /// # Errors
    ///
    /// If this is not page 0 of a file of pages that this version can read.
    pub(crate) fn file_header(&self) -> Result<FileHeader, DecodeError> {
        if self.kind() != Some(Kind::FileHeader) {
            return Err(DecodeError {
                at: 0,
                what: "not a file header page",
            });
        }
        FileHeader::decode(&mut Reader::new(&self.bytes[PAGE_HEADER_BYTES..]))
    }

    pub(super) fn format_file_header(&mut self, header: &FileHeader) {
        let mut body = Vec::with_capacity(BODY_BYTES);
        header.encode(&mut body);
        self.format(Kind::FileHeader, 0, TableId::NONE, PageId::FILE_HEADER);
        self.bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + BODY_BYTES].copy_from_slice(&body);
    }
}
