//! Records to bytes.
//!
//! Integers are varints. Inside a transaction, LSNs are written as distances from the transaction's first record, which are
//! short; a page's previous LSN may lie on either side of it, so its distance is zigzag-coded.

use afterimage_log::Lsn;

use super::{Change, ClrRecord, Record, RowRecord, Structure};
use crate::codec::{put_bytes, put_varint, zigzag};
use crate::page::Stored;

pub(super) const ROW: u8 = 1;
pub(super) const CLR: u8 = 2;
pub(super) const COMMIT: u8 = 3;
pub(super) const END: u8 = 4;
pub(super) const STRUCTURE: u8 = 5;
pub(super) const CHECKPOINT_BEGIN: u8 = 6;
pub(super) const CHECKPOINT_TABLES: u8 = 7;
pub(super) const CHECKPOINT_END: u8 = 8;
pub(super) const BEGIN: u8 = 9;
pub(super) const UNLOGGED_COMMIT: u8 = 10;

/// Flags of a row record or CLR: bits 0 to 2 are the form of the change.
pub(super) const CHANGE_MASK: u8 = 0b0111;
pub(super) const INSERT: u8 = 0;
pub(super) const UPDATE: u8 = 1;
pub(super) const DELETE: u8 = 2;
pub(super) const XOR: u8 = 3;
/// The record is its transaction's commit as well.
pub(super) const COMMITS: u8 = 0b1000;
/// The value before is the address of a large one.
pub(super) const BEFORE_LARGE: u8 = 0b1_0000;
/// The value after is the address of a large one.
pub(super) const AFTER_LARGE: u8 = 0b10_0000;

impl Record<'_> {
    /// Appends the record's bytes.
    ///
    /// # Panics
    ///
    /// If an LSN of a transaction lies before its first record (TXN-1).
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Row(row) => row.encode(out),
            Record::Clr(clr) => clr.encode(out),
            Record::Commit { txn, prev } => encode_last(out, COMMIT, *txn, *prev),
            Record::End { txn, prev } => encode_last(out, END, *txn, *prev),
            Record::Structure(structure) => structure.encode(out),
            Record::CheckpointBegin => out.push(CHECKPOINT_BEGIN),
            Record::Begin => out.push(BEGIN),
            Record::UnloggedCommit => out.push(UNLOGGED_COMMIT),
            Record::CheckpointTables { att, dpt } => super::tables::encode_chunk(out, att, dpt),
            Record::CheckpointEnd {
                begin,
                last_commit_time,
            } => {
                out.push(CHECKPOINT_END);
                put_varint(out, begin.get());
                put_varint(out, *last_commit_time);
            }
        }
    }
}

impl RowRecord<'_> {
    /// Appends the record's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let commits = if self.commit { COMMITS } else { 0 };
        out.extend_from_slice(&[ROW, self.change.form() | commits]);
        match self.txn {
            None => {
                assert!(
                    self.prev.is_none(),
                    "TXN-1: a transaction's first record has none before it"
                );
                out.push(0);
            }
            Some(txn) => {
                put_varint(out, txn.get());
                put_optional(out, txn, self.prev);
            }
        }
        put_page_prev(out, self.txn, self.page_prev);
        put_varint(out, u64::from(self.table.get()));
        put_varint(out, self.page.get());
        put_bytes(out, &self.key);
        self.change.encode(out);
    }
}

impl ClrRecord<'_> {
    /// Appends the record's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[CLR, self.change.form()]);
        put_varint(out, self.txn.get());
        put_varint(out, since(self.txn, self.prev));
        put_optional(out, self.txn, self.undo_next);
        put_page_prev(out, Some(self.txn), self.page_prev);
        put_varint(out, u64::from(self.table.get()));
        put_varint(out, self.page.get());
        put_bytes(out, &self.key);
        self.change.encode(out);
    }
}

impl Structure<'_> {
    /// Appends the record's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[STRUCTURE, self.kind as u8]);
        put_varint(out, self.parts.len() as u64);
        for part in &self.parts {
            put_varint(out, part.page.get());
            put_page_prev(out, None, part.page_prev);
            part.op.encode(out);
        }
    }
}

impl Change<'_> {
    /// Which form this is, and which of its values are addresses, for the flags.
    fn form(&self) -> u8 {
        let large = |value: Option<&Stored<'_>>, flag| match value {
            Some(Stored { large: true, .. }) => flag,
            _ => 0,
        };
        let form = match self {
            Change::Put { before: None, .. } => INSERT,
            Change::Put {
                before: Some(_), ..
            } => UPDATE,
            Change::Delete { .. } => DELETE,
            Change::Xor { .. } => XOR,
        };
        form | large(self.before(), BEFORE_LARGE) | large(self.after(), AFTER_LARGE)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Change::Put { before, after } => {
                if let Some(before) = before {
                    put_bytes(out, &before.bytes);
                }
                put_bytes(out, &after.bytes);
            }
            Change::Delete { before } => put_bytes(out, &before.bytes),
            Change::Xor { runs } => put_bytes(out, runs),
        }
    }
}

fn encode_last(out: &mut Vec<u8>, kind: u8, txn: Lsn, prev: Lsn) {
    out.push(kind);
    put_varint(out, txn.get());
    put_varint(out, since(txn, prev));
}

/// How far a transaction's record lies behind its first one.
pub(super) fn since(txn: Lsn, lsn: Lsn) -> u64 {
    lsn.get()
        .checked_sub(txn.get())
        .expect("TXN-1: a transaction's records follow its first")
}

/// As [`since`], plus one; zero is none.
pub(super) fn put_optional(out: &mut Vec<u8>, txn: Lsn, lsn: Option<Lsn>) {
    put_varint(out, lsn.map_or(0, |lsn| since(txn, lsn) + 1));
}

/// The page's LSN before a change: its distance from the transaction, or as it is; zero is none.
fn put_page_prev(out: &mut Vec<u8>, txn: Option<Lsn>, page_prev: Option<Lsn>) {
    let lsn = page_prev.map_or(0, Lsn::get);
    match txn {
        Some(txn) => put_varint(out, zigzag(lsn, txn.get())),
        None => put_varint(out, lsn),
    }
}
