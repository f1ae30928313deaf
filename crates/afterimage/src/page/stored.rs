//! What a cell holds for its key: a value, or the address of one that lies in pages of its own.
//!
//! ```text
//! address   first page 8 | pages of the first extent 4 | length of the value 8
//! ```
//!
//! A large value lies in *extents*, runs of neighbouring pages. An address names the first; its first page names the next.

use std::borrow::Cow;

use crate::codec::{DecodeError, Reader};
use crate::ids::PageId;

/// The bytes of an address.
pub(crate) const ADDRESS_BYTES: usize = 20;

/// Bytes for a key, as a cell or a log record holds them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored<'a> {
    /// The value, or the bytes of an [`Address`].
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Whether the bytes are an address.
    pub(crate) large: bool,
}

impl Stored<'_> {
    pub(crate) fn into_owned(self) -> Stored<'static> {
        Stored {
            bytes: Cow::Owned(self.bytes.into_owned()),
            large: self.large,
        }
    }

    /// The same, borrowing.
    pub(crate) fn reborrow(&self) -> Stored<'_> {
        Stored {
            bytes: Cow::Borrowed(&self.bytes),
            large: self.large,
        }
    }

    /// Where the value lies, if it is a large one.
    pub(crate) fn address(&self) -> Option<Address> {
        let address = || Address::decode(&self.bytes).expect("seen when the page was checked");
        self.large.then(address)
    }
}

impl<'a> From<&'a [u8]> for Stored<'a> {
    fn from(value: &'a [u8]) -> Stored<'a> {
        Stored {
            bytes: Cow::Borrowed(value),
            large: false,
        }
    }
}

impl<'a> From<&'a Vec<u8>> for Stored<'a> {
    fn from(value: &'a Vec<u8>) -> Stored<'a> {
        Stored::from(&value[..])
    }
}

impl From<Vec<u8>> for Stored<'static> {
    fn from(value: Vec<u8>) -> Stored<'static> {
        Stored {
            bytes: Cow::Owned(value),
            large: false,
        }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Stored<'a> {
    fn from(value: &'a [u8; N]) -> Stored<'a> {
        Stored::from(&value[..])
    }
}

/// A run of neighbouring pages: the unit in which the pages of large values are allocated and freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) first: PageId,
    /// At least one.
    pub(crate) pages: u32,
}

impl Extent {
    /// The pages it consists of.
    pub(crate) fn ids(self) -> impl Iterator<Item = PageId> {
        (self.first.get()..self.first.get() + u64::from(self.pages)).map(PageId)
    }
}

/// Where a large value lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// Its first extent.
    pub(crate) first: Extent,
    /// Bytes of the whole value.
    pub(crate) len: u64,
}

impl Address {
    pub(crate) fn encode(&self) -> [u8; ADDRESS_BYTES] {
        let mut bytes = [0; ADDRESS_BYTES];
        bytes[..8].copy_from_slice(&self.first.first.get().to_le_bytes());
        bytes[8..12].copy_from_slice(&self.first.pages.to_le_bytes());
        bytes[12..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Address, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (first, pages, len) = (reader.u64()?, reader.u32()?, reader.u64()?);
        reader.finish()?;
        let end = first.checked_add(u64::from(pages));
        if first == 0 || pages == 0 || len == 0 || end.is_none() {
            return Err(reader.error("an address that leads nowhere"));
        }
        let first = Extent {
            first: PageId(first),
            pages,
        };
        Ok(Address { first, len })
    }

    pub(crate) fn stored(&self) -> Stored<'static> {
        Stored {
            bytes: Cow::Owned(self.encode().to_vec()),
            large: true,
        }
    }
}
