//! What a recovery asks of every record, without its key and its values: analysis reads the whole log once, and redo reads it
//! once to hand each record to whoever has its page.

use afterimage_log::Lsn;

use super::RecordKind;
use super::decode::{clr_head, row_head};
use super::encode::{AFTER_LARGE, BEFORE_LARGE};
use super::encode::{CHANGE_MASK, CLR, COMMITS, DELETE, INSERT, ROW, UPDATE, XOR};
use crate::codec::{DecodeError, Reader};
use crate::ids::PageId;

/// A record, as far as it matters who wrote it and what it changes. What is left out is decoded when it is redone. It is small: it
/// is made for every record of the log, twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outline {
    Row {
        kind: RecordKind,
        /// `None`: the record is its transaction's first.
        txn: Option<Lsn>,
        commit: bool,
        page: PageId,
    },
    Clr {
        kind: RecordKind,
        txn: Lsn,
        undo_next: Option<Lsn>,
        page: PageId,
    },
    /// Any other record, to be decoded whole.
    Other,
}

impl Outline {
    /// Reads as much of a payload as it takes.
    ///
    /// # Errors
    ///
    /// If that much is not of a record of this version.
    #[inline]
    pub(crate) fn decode(payload: &[u8]) -> Result<Outline, DecodeError> {
        let mut reader = Reader::new(payload);
        match payload.first() {
            Some(&ROW) => {
                reader.u8()?;
                let head = row_head(&mut reader)?;
                let commit = head.flags & COMMITS != 0;
                let large = head.flags & (BEFORE_LARGE | AFTER_LARGE) != 0;
                let kind = match (head.flags & CHANGE_MASK, commit, large) {
                    (INSERT, true, _) => RecordKind::InsertCommit,
                    (UPDATE, true, _) => RecordKind::ReplaceCommit,
                    (DELETE, true, _) => RecordKind::DeleteCommit,
                    (XOR, true, _) => RecordKind::UpdateCommit,
                    (INSERT, false, false) => RecordKind::Insert,
                    (INSERT, false, true) => RecordKind::InsertLarge,
                    (UPDATE, false, false) => RecordKind::Replace,
                    (UPDATE, false, true) => RecordKind::ReplaceLarge,
                    (DELETE, false, false) => RecordKind::Delete,
                    (DELETE, false, true) => RecordKind::DeleteLarge,
                    (XOR, false, _) => RecordKind::Update,
                    _ => return Err(reader.error("an unknown form of change")),
                };
                Ok(Outline::Row {
                    kind,
                    txn: head.txn,
                    commit,
                    page: head.page,
                })
            }
            Some(&CLR) => {
                reader.u8()?;
                let head = clr_head(&mut reader)?;
                let large = head.flags & (BEFORE_LARGE | AFTER_LARGE) != 0;
                let kind = match (head.flags & CHANGE_MASK, large) {
                    (INSERT | UPDATE, false) => RecordKind::ClrPut,
                    (INSERT | UPDATE, true) => RecordKind::ClrPutLarge,
                    (DELETE, _) => RecordKind::ClrDelete,
                    (XOR, _) => RecordKind::ClrUpdate,
                    _ => return Err(reader.error("an unknown form of change")),
                };
                Ok(Outline::Clr {
                    kind,
                    txn: head.txn,
                    undo_next: head.undo_next,
                    page: head.page,
                })
            }
            _ => Ok(Outline::Other),
        }
    }
}
