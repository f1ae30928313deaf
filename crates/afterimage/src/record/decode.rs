//! Bytes to records.
//!
//! Everything is bounded by the payload: strings are borrowed, lists grow only as far as bytes are there for their entries.
//! What decodes encodes to the same bytes again.

use afterimage_log::Lsn;

use super::encode::{
    AFTER_LARGE, BEFORE_LARGE, BEGIN, CHANGE_MASK, CHECKPOINT_BEGIN, CHECKPOINT_END,
    CHECKPOINT_TABLES, CLR, COMMIT, COMMITS, DELETE, END, INSERT, ROW, STRUCTURE, UNLOGGED_COMMIT,
    UPDATE, XOR,
};
use super::{Change, ClrRecord, PagePart, Record, RecordKind, RowRecord, Structure, StructureKind};
use crate::codec::{DecodeError, Reader, unzigzag};
use crate::ids::{PageId, TableId};
use crate::limits::STRUCTURE_PAGES_MAX;
use crate::page::{Address, PageOp, Stored};

impl<'a> Record<'a> {
    /// Reads a whole payload.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly one record of this version.
    #[inline]
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Record<'a>, DecodeError> {
        let mut reader = Reader::new(payload);
        let record = decode_one(&mut reader)?;
        reader.finish()?;
        Ok(record)
    }

    /// Reads a whole payload for what it does to one page, and answers what `f` makes of it: of the record's kind, what the page's LSN
    /// was before, and how the page is changed. None if the record does not change the page.
    ///
    /// # Errors
    ///
    /// As [`Record::decode`].
    #[inline]
    pub(crate) fn see_part<T>(
        payload: &[u8],
        page: PageId,
        f: impl FnOnce(RecordKind, Option<Lsn>, &PageOp<'_>) -> T,
    ) -> Result<Option<T>, DecodeError> {
        // Redo comes by here for every change, and most are of these two kinds: to make a record of one, which is large, and to move that
        // about takes longer than to read it.
        let kind = match payload {
            [ROW, XOR, ..] => RecordKind::Update,
            [ROW, XOR_COMMITS, ..] => RecordKind::UpdateCommit,
            _ => {
                let record = Record::decode(payload)?;
                let part = record.pages().find(|(of, _, _)| *of == page);
                return Ok(
                    part.map(|(_, page_prev, op)| f(RecordKind::of(&record), page_prev, &op))
                );
            }
        };
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let head = row_head(&mut reader)?;
        let (key, runs) = (reader.bytes()?.into(), reader.bytes()?.into());
        reader.finish()?;
        let op = PageOp::XorValue { key, runs };
        Ok((head.page == page).then(|| f(kind, head.page_prev, &op)))
    }
}

fn decode_one<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, DecodeError> {
    match reader.u8()? {
        ROW => decode_row(reader).map(Record::Row),
        CLR => decode_clr(reader).map(Record::Clr),
        COMMIT => decode_last(reader).map(|(txn, prev)| Record::Commit { txn, prev }),
        END => decode_last(reader).map(|(txn, prev)| Record::End { txn, prev }),
        STRUCTURE => decode_structure(reader).map(Record::Structure),
        CHECKPOINT_BEGIN => Ok(Record::CheckpointBegin),
        BEGIN => Ok(Record::Begin),
        UNLOGGED_COMMIT => Ok(Record::UnloggedCommit),
        CHECKPOINT_TABLES => super::tables::decode_chunk(reader),
        CHECKPOINT_END => Ok(Record::CheckpointEnd {
            begin: lsn(reader)?,
            last_commit_time: reader.varint()?,
        }),
        _ => Err(reader.error("an unknown kind of record")),
    }
}

const XOR_COMMITS: u8 = XOR | COMMITS;

/// What stands before the key in a record of a row.
pub(super) struct RowHead {
    pub(super) flags: u8,
    pub(super) txn: Option<Lsn>,
    prev: Option<Lsn>,
    page_prev: Option<Lsn>,
    table: TableId,
    pub(super) page: PageId,
}

/// What stands before the key in a CLR.
pub(super) struct ClrHead {
    pub(super) flags: u8,
    pub(super) txn: Lsn,
    prev: Lsn,
    pub(super) undo_next: Option<Lsn>,
    page_prev: Option<Lsn>,
    table: TableId,
    pub(super) page: PageId,
}

#[inline]
pub(super) fn row_head(reader: &mut Reader<'_>) -> Result<RowHead, DecodeError> {
    let flags = reader.u8()?;
    let txn = Lsn::new(reader.varint()?);
    let prev = match txn {
        Some(txn) => optional_since(reader, txn)?,
        None => None,
    };
    Ok(RowHead {
        flags,
        txn,
        prev,
        page_prev: decode_page_prev(reader, txn)?,
        table: decode_table(reader)?,
        page: PageId(reader.varint()?),
    })
}

pub(super) fn clr_head(reader: &mut Reader<'_>) -> Result<ClrHead, DecodeError> {
    let flags = reader.u8()?;
    let (txn, prev) = decode_last(reader)?;
    Ok(ClrHead {
        flags,
        txn,
        prev,
        undo_next: optional_since(reader, txn)?,
        page_prev: decode_page_prev(reader, Some(txn))?,
        table: decode_table(reader)?,
        page: PageId(reader.varint()?),
    })
}

#[inline]
fn decode_row<'a>(reader: &mut Reader<'a>) -> Result<RowRecord<'a>, DecodeError> {
    let head = row_head(reader)?;
    Ok(RowRecord {
        commit: head.flags & COMMITS != 0,
        txn: head.txn,
        prev: head.prev,
        table: head.table,
        page: head.page,
        page_prev: head.page_prev,
        key: reader.bytes()?.into(),
        change: decode_change(reader, head.flags & !COMMITS)?,
    })
}

fn decode_clr<'a>(reader: &mut Reader<'a>) -> Result<ClrRecord<'a>, DecodeError> {
    let head = clr_head(reader)?;
    Ok(ClrRecord {
        txn: head.txn,
        prev: head.prev,
        undo_next: head.undo_next,
        table: head.table,
        page: head.page,
        page_prev: head.page_prev,
        key: reader.bytes()?.into(),
        change: decode_change(reader, head.flags)?,
    })
}

#[inline]
fn decode_change<'a>(reader: &mut Reader<'a>, flags: u8) -> Result<Change<'a>, DecodeError> {
    let form = flags & CHANGE_MASK;
    let may_be_large = match form {
        INSERT => AFTER_LARGE,
        UPDATE => BEFORE_LARGE | AFTER_LARGE,
        DELETE => BEFORE_LARGE,
        _ => 0,
    };
    if flags & !(CHANGE_MASK | may_be_large) != 0 {
        return Err(reader.error("unknown flags of a row"));
    }
    let mut value = |flag| decode_value(reader, flags & flag != 0);
    match form {
        INSERT => Ok(Change::Put {
            before: None,
            after: value(AFTER_LARGE)?,
        }),
        UPDATE => Ok(Change::Put {
            before: Some(value(BEFORE_LARGE)?),
            after: value(AFTER_LARGE)?,
        }),
        DELETE => Ok(Change::Delete {
            before: value(BEFORE_LARGE)?,
        }),
        XOR => Ok(Change::Xor {
            runs: reader.bytes()?.into(),
        }),
        _ => Err(reader.error("an unknown form of change")),
    }
}

#[inline]
fn decode_value<'a>(reader: &mut Reader<'a>, large: bool) -> Result<Stored<'a>, DecodeError> {
    let bytes = reader.bytes()?;
    if large {
        Address::decode(bytes).map_err(|error| reader.error(error.what))?;
    }
    Ok(Stored {
        bytes: bytes.into(),
        large,
    })
}

fn decode_structure<'a>(reader: &mut Reader<'a>) -> Result<Structure<'a>, DecodeError> {
    let kind = StructureKind::from_byte(reader.u8()?)
        .ok_or(reader.error("an unknown kind of structure change"))?;
    let count = reader.length(
        STRUCTURE_PAGES_MAX,
        "more pages than a structure change may touch",
    )?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let page = PageId(reader.varint()?);
        let page_prev = decode_page_prev(reader, None)?;
        let op = PageOp::decode(reader, page)?;
        parts.push(PagePart {
            page,
            page_prev,
            op,
        });
    }
    Ok(Structure { kind, parts })
}

fn decode_last(reader: &mut Reader<'_>) -> Result<(Lsn, Lsn), DecodeError> {
    let txn = lsn(reader)?;
    let prev = since(reader, txn)?;
    Ok((txn, prev))
}

fn decode_table(reader: &mut Reader<'_>) -> Result<TableId, DecodeError> {
    reader.varint_u32("a table that cannot be").map(TableId)
}

pub(super) fn lsn(reader: &mut Reader<'_>) -> Result<Lsn, DecodeError> {
    let number = reader.varint()?;
    Lsn::new(number).ok_or(reader.error("an LSN of zero"))
}

/// An LSN at or behind a transaction's first.
pub(super) fn since(reader: &mut Reader<'_>, txn: Lsn) -> Result<Lsn, DecodeError> {
    let distance = reader.varint()?;
    add(reader, txn, distance)
}

/// As [`since`], where zero is none.
pub(super) fn optional_since(
    reader: &mut Reader<'_>,
    txn: Lsn,
) -> Result<Option<Lsn>, DecodeError> {
    match reader.varint()? {
        0 => Ok(None),
        distance => add(reader, txn, distance - 1).map(Some),
    }
}

fn add(reader: &Reader<'_>, txn: Lsn, distance: u64) -> Result<Lsn, DecodeError> {
    let sum = txn.get().checked_add(distance).and_then(Lsn::new);
    sum.ok_or(reader.error("an LSN of more than 64 bits"))
}

fn decode_page_prev(reader: &mut Reader<'_>, txn: Option<Lsn>) -> Result<Option<Lsn>, DecodeError> {
    let coded = reader.varint()?;
    Ok(Lsn::new(
        txn.map_or(coded, |txn| unzigzag(coded, txn.get())),
    ))
}
