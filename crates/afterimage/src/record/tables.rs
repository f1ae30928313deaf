//! A checkpoint's tables: the unfinished transactions (ATT) and the dirty pages (DPT), in chunks that fit a log frame.

use afterimage_log::Lsn;

use super::encode::{CHECKPOINT_TABLES, put_optional, since};
use super::{AttEntry, Record, decode};
use crate::codec::{DecodeError, Reader, put_varint, varint_len};
use crate::ids::PageId;
use crate::limits::VARINT_BYTES_MAX;

/// Bytes of a chunk that are not entries, at most: its kind and two counts.
const CHUNK_OVERHEAD_MAX: usize = 1 + 2 * VARINT_BYTES_MAX;
/// Bytes of an entry, at most.
const ENTRY_BYTES_MAX: usize = 3 * VARINT_BYTES_MAX;

/// The payloads that hold these tables, none longer than `max_payload` bytes. Empty tables need none.
///
/// # Panics
///
/// If `max_payload` does not hold one entry.
pub(crate) fn encode_tables(
    att: &[AttEntry],
    dpt: &[(PageId, Lsn)],
    max_payload: usize,
) -> Vec<Vec<u8>> {
    assert!(
        max_payload >= CHUNK_OVERHEAD_MAX + ENTRY_BYTES_MAX,
        "a chunk of {max_payload} bytes holds nothing"
    );
    let room = max_payload - CHUNK_OVERHEAD_MAX;
    let mut chunks = Vec::new();
    let (mut att, mut dpt) = (att, dpt);
    while !att.is_empty() || !dpt.is_empty() {
        let mut left = room;
        let att_count = take_while_fits(att.iter().map(att_bytes), &mut left);
        // Pages begin only when the transactions are through, so that a chunk is filled in order.
        let dpt_count = if att_count == att.len() {
            take_while_fits(dpt.iter().map(dpt_bytes), &mut left)
        } else {
            0
        };
        let mut chunk = Vec::with_capacity(max_payload - left);
        encode_chunk(&mut chunk, &att[..att_count], &dpt[..dpt_count]);
        debug_assert!(chunk.len() <= max_payload);
        chunks.push(chunk);
        (att, dpt) = (&att[att_count..], &dpt[dpt_count..]);
    }
    chunks
}

/// How many of the next entries fit, taking their bytes from `left`.
fn take_while_fits(sizes: impl Iterator<Item = usize>, left: &mut usize) -> usize {
    let mut count = 0;
    for bytes in sizes {
        if bytes > *left {
            break;
        }
        *left -= bytes;
        count += 1;
    }
    count
}

fn att_bytes(entry: &AttEntry) -> usize {
    let undo_next = entry.undo_next.map_or(0, |lsn| since(entry.txn, lsn) + 1);
    varint_len(entry.txn.get()) + varint_len(since(entry.txn, entry.last)) + varint_len(undo_next)
}

fn dpt_bytes((page, rec_lsn): &(PageId, Lsn)) -> usize {
    varint_len(page.get()) + varint_len(rec_lsn.get())
}

pub(super) fn encode_chunk(out: &mut Vec<u8>, att: &[AttEntry], dpt: &[(PageId, Lsn)]) {
    out.push(CHECKPOINT_TABLES);
    put_varint(out, att.len() as u64);
    for entry in att {
        put_varint(out, entry.txn.get());
        put_varint(out, since(entry.txn, entry.last));
        put_optional(out, entry.txn, entry.undo_next);
    }
    put_varint(out, dpt.len() as u64);
    for (page, rec_lsn) in dpt {
        put_varint(out, page.get());
        put_varint(out, rec_lsn.get());
    }
}

pub(super) fn decode_chunk<'a>(reader: &mut Reader<'_>) -> Result<Record<'a>, DecodeError> {
    // An entry of the ATT takes three bytes at least, one of the DPT two: the bytes that are there bound the lists.
    let att_count = reader.length(reader.remaining() / 3, "more transactions than bytes")?;
    let mut att = Vec::with_capacity(att_count);
    for _ in 0..att_count {
        let txn = decode::lsn(reader)?;
        let last = decode::since(reader, txn)?;
        let undo_next = decode::optional_since(reader, txn)?;
        att.push(AttEntry {
            txn,
            last,
            undo_next,
        });
    }
    let dpt_count = reader.length(reader.remaining() / 2, "more pages than bytes")?;
    let mut dpt = Vec::with_capacity(dpt_count);
    for _ in 0..dpt_count {
        dpt.push((PageId(reader.varint()?), decode::lsn(reader)?));
    }
    Ok(Record::CheckpointTables { att, dpt })
}
