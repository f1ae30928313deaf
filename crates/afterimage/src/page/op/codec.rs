//! Operations as bytes: what stands in the log for each page that a record touches.
//!
//! The first byte says which operation; integers are varints. The number of the page is not here: the record names it
//! once. Decoding borrows, is bounded by the bytes given, and does not ask whether the operation makes sense for any
//! page: that is [`check_op`](super::check_op).

use std::borrow::Cow;

use super::super::file_header::{BODY_BYTES, FileHeader};
use super::super::header::Kind;
use super::super::stored::Extent;
use super::PageOp;
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::ids::{PageId, TableId};

const FORMAT: u8 = 1;
const FILE_HEADER: u8 = 2;
const PUT_CELL: u8 = 3;
const GHOST: u8 = 4;
const UNGHOST: u8 = 5;
const XOR_VALUE: u8 = 6;
const REMOVE_CELLS: u8 = 7;
const SPLIT_LEFT: u8 = 8;
const INSERT_CHILD: u8 = 9;
const MAP_SET: u8 = 10;
const OVERFLOW: u8 = 11;
const REMOVE_CHILD: u8 = 12;
const FREE: u8 = 13;

/// Every operation's byte and name, in order.
#[cfg(test)]
pub(crate) const CODES: &[(u8, &str)] = &[
    (FORMAT, "format"),
    (FILE_HEADER, "file header"),
    (PUT_CELL, "put"),
    (GHOST, "ghost"),
    (UNGHOST, "unghost"),
    (XOR_VALUE, "xor"),
    (REMOVE_CELLS, "remove"),
    (SPLIT_LEFT, "split"),
    (INSERT_CHILD, "child"),
    (MAP_SET, "map"),
    (OVERFLOW, "overflow"),
    (REMOVE_CHILD, "remove child"),
    (FREE, "free"),
];

/// In a format's flags: there is a low fence; there is a high fence.
const HAS_LOW: u8 = 1;
const HAS_HIGH: u8 = 2;

impl<'a> PageOp<'a> {
    /// Appends the operation's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            PageOp::Format {
                id: _,
                kind,
                level,
                tree,
                low,
                high,
                right,
                cells,
            } => {
                let fences = if low.is_some() { HAS_LOW } else { 0 }
                    | if high.is_some() { HAS_HIGH } else { 0 };
                out.extend_from_slice(&[FORMAT, *kind as u8, *level, fences]);
                put_varint(out, u64::from(tree.get()));
                put_varint(out, PageId::to_link(*right));
                for fence in [low, high].into_iter().flatten() {
                    put_bytes(out, fence);
                }
                put_bytes(out, cells);
            }
            PageOp::FileHeader(header) => {
                out.push(FILE_HEADER);
                header.encode(out);
            }
            PageOp::PutCell { key, value, flags } => {
                out.extend_from_slice(&[PUT_CELL, *flags]);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            PageOp::SetGhost { key, ghost } => {
                out.push(if *ghost { GHOST } else { UNGHOST });
                put_bytes(out, key);
            }
            PageOp::XorValue { key, runs } => {
                out.push(XOR_VALUE);
                put_bytes(out, key);
                put_bytes(out, runs);
            }
            PageOp::RemoveCells { keys } => {
                out.push(REMOVE_CELLS);
                put_varint(out, keys.len() as u64);
                keys.iter().for_each(|key| put_bytes(out, key));
            }
            PageOp::SplitLeft { separator, right } => {
                out.push(SPLIT_LEFT);
                put_bytes(out, separator);
                put_varint(out, right.get());
            }
            PageOp::InsertChild { separator, child } => {
                out.push(INSERT_CHILD);
                put_bytes(out, separator);
                put_varint(out, child.get());
            }
            PageOp::MapSet {
                first_index,
                count,
                bits,
            } => {
                out.extend_from_slice(&[MAP_SET, *bits]);
                put_varint(out, u64::from(*first_index));
                put_varint(out, u64::from(*count));
            }
            PageOp::RemoveChild { separator } => {
                out.push(REMOVE_CHILD);
                put_bytes(out, separator);
            }
            PageOp::Free { id: _ } => out.push(FREE),
            PageOp::Overflow {
                id: _,
                tree,
                position,
                next,
                data,
            } => {
                out.push(OVERFLOW);
                put_varint(out, u64::from(tree.get()));
                put_varint(out, *position);
                put_varint(out, next.map_or(0, |next| u64::from(next.pages)));
                if let Some(next) = next {
                    put_varint(out, next.first.get());
                }
                put_bytes(out, data);
            }
        }
    }

    /// Reads an operation on page `id`.
    pub(crate) fn decode(reader: &mut Reader<'a>, id: PageId) -> Result<PageOp<'a>, DecodeError> {
        match reader.u8()? {
            FORMAT => decode_format(reader, id),
            FILE_HEADER => {
                let mut body = Reader::new(reader.take(BODY_BYTES)?);
                let header = FileHeader::decode(&mut body)?;
                if id == PageId::FILE_HEADER {
                    Ok(PageOp::FileHeader(header))
                } else {
                    Err(reader.error("a file header that is not page 0"))
                }
            }
            PUT_CELL => {
                let flags = reader.u8()?;
                Ok(PageOp::PutCell {
                    key: reader.bytes()?.into(),
                    value: reader.bytes()?.into(),
                    flags,
                })
            }
            GHOST => Ok(PageOp::SetGhost {
                key: reader.bytes()?.into(),
                ghost: true,
            }),
            UNGHOST => Ok(PageOp::SetGhost {
                key: reader.bytes()?.into(),
                ghost: false,
            }),
            XOR_VALUE => Ok(PageOp::XorValue {
                key: reader.bytes()?.into(),
                runs: reader.bytes()?.into(),
            }),
            REMOVE_CELLS => decode_remove(reader),
            SPLIT_LEFT => Ok(PageOp::SplitLeft {
                separator: reader.bytes()?.into(),
                right: PageId(reader.varint()?),
            }),
            INSERT_CHILD => Ok(PageOp::InsertChild {
                separator: reader.bytes()?.into(),
                child: PageId(reader.varint()?),
            }),
            MAP_SET => {
                let bits = reader.u8()?;
                let first_index = reader.varint_u32("an index that no map has")?;
                let count = reader.varint_u32("more pages than a map has")?;
                Ok(PageOp::MapSet {
                    first_index,
                    count,
                    bits,
                })
            }
            OVERFLOW => decode_overflow(reader, id),
            REMOVE_CHILD => Ok(PageOp::RemoveChild {
                separator: reader.bytes()?.into(),
            }),
            FREE => Ok(PageOp::Free { id }),
            _ => Err(reader.error("an unknown operation")),
        }
    }
}

fn decode_format<'a>(reader: &mut Reader<'a>, id: PageId) -> Result<PageOp<'a>, DecodeError> {
    let kind = Kind::from_byte(reader.u8()?).ok_or(reader.error("an unknown kind of page"))?;
    let level = reader.u8()?;
    let fences = reader.u8()?;
    if fences & !(HAS_LOW | HAS_HIGH) != 0 {
        return Err(reader.error("unknown flags of a format"));
    }
    let tree = TableId(reader.varint_u32("a tree that cannot be")?);
    let right = PageId::from_link(reader.varint()?);
    let mut fence = |flag| {
        if fences & flag != 0 {
            reader.bytes().map(|key| Some(Cow::Borrowed(key)))
        } else {
            Ok(None)
        }
    };
    let low = fence(HAS_LOW)?;
    let high = fence(HAS_HIGH)?;
    Ok(PageOp::Format {
        id,
        kind,
        level,
        tree,
        low,
        high,
        right,
        cells: reader.bytes()?.into(),
    })
}

fn decode_overflow<'a>(reader: &mut Reader<'a>, id: PageId) -> Result<PageOp<'a>, DecodeError> {
    let tree = TableId(reader.varint_u32("a tree that cannot be")?);
    let position = reader.varint()?;
    let next = match reader.varint_u32("an extent that cannot be")? {
        0 => None,
        pages => Some(Extent {
            first: PageId(reader.varint()?),
            pages,
        }),
    };
    Ok(PageOp::Overflow {
        id,
        tree,
        position,
        next,
        data: reader.bytes()?.into(),
    })
}

fn decode_remove<'a>(reader: &mut Reader<'a>) -> Result<PageOp<'a>, DecodeError> {
    // Each key takes a byte at least, so the bytes that are there bound the list.
    let count = reader.length(reader.remaining(), "more keys than bytes")?;
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(Cow::Borrowed(reader.bytes()?));
    }
    Ok(PageOp::RemoveCells { keys })
}

/// The runs of a XOR change: for each, where it begins in the value and the bytes to change with.
///
/// Encoded as `gap varint | length varint | bytes`, where the gap counts from the end of the run before.
pub(crate) struct Runs<'a> {
    reader: Reader<'a>,
    at: usize,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(runs: &'a [u8]) -> Runs<'a> {
        Runs {
            reader: Reader::new(runs),
            at: 0,
        }
    }

    fn read(&mut self) -> Result<(usize, &'a [u8]), DecodeError> {
        // No value is longer than a page, so a gap of 32 bits is already too long to be true; it cannot overflow.
        let gap = self
            .reader
            .length(u32::MAX as usize >> 1, "a gap beyond any value")?;
        let bytes = self.reader.bytes()?;
        let at = self.at.saturating_add(gap);
        self.at = at.saturating_add(bytes.len());
        Ok((at, bytes))
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Result<(usize, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_at_end() {
            return None;
        }
        let run = self.read();
        if run.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(run)
    }
}
