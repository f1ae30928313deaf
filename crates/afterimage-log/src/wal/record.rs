//! What is read from a `Wal`: records, one by one, also those that were appended together.
//!
//! A batch is one frame: each payload behind its length (4 bytes). Its records share the frame's LSN. Whoever goes on
//! reading after only a part of a batch gets all of it again: a batch is one thing.

use std::fmt;

use crate::bytes::get_u32;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::reader::{Frame, Reader};

/// One record, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands; the records of a batch share one.
    pub lsn: Lsn,
    /// Where to go on reading when this record is done with. Of a batch only the last record leads on; the others
    /// lead back to the whole batch.
    pub next: Lsn,
    /// Its place in its batch, from 0; 0 for a single record.
    pub index: u32,
    /// When it was appended, in microseconds since the Unix epoch, to within the time that records gather for one
    /// flush (`wal_writer_delay` at most); never runs backwards.
    pub time: Option<u64>,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// The payload of a batch frame.
pub(super) fn encode_batch(payloads: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let len = payloads.iter().map(|p| p.as_ref().len() + 4).sum();
    let mut out = Vec::with_capacity(len);
    for payload in payloads {
        let payload = payload.as_ref();
        // A payload that does not fit in 32 bits is refused as a whole, as too large for a frame.
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(payload);
    }
    out
}

/// The records of a frame, in order.
pub(crate) fn records_of(frame: Frame) -> Result<Vec<Record>> {
    let record = |index: usize, payload: Vec<u8>, last: bool| Record {
        lsn: frame.lsn,
        next: if last { frame.end } else { frame.lsn },
        index: u32::try_from(index).unwrap_or(u32::MAX),
        time: frame.time,
        payload,
    };
    if !frame.batch {
        return Ok(vec![record(0, frame.payload, true)]);
    }
    let mut rest = &frame.payload[..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let len = (rest.len() >= 4).then(|| get_u32(rest, 0) as usize);
        let Some(payload) = len.and_then(|len| rest[4..].get(..len)) else {
            return Err(Error::Unsupported {
                path: std::path::PathBuf::new(),
                what: format!("the batch at LSN {} is not one of this version", frame.lsn),
            });
        };
        rest = &rest[4 + payload.len()..];
        records.push(record(records.len(), payload.to_vec(), rest.is_empty()));
    }
    Ok(records)
}

/// Reads the records of a [`Wal`](crate::Wal) forward, up to where it ended when this was made.
pub struct Records {
    reader: Reader,
    /// What is left of the last frame, in reverse order.
    pending: Vec<Record>,
}

impl Records {
    pub(super) fn new(reader: Reader) -> Records {
        Records {
            reader,
            pending: Vec::new(),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            if let Some(record) = self.pending.pop() {
                return Some(Ok(record));
            }
            match self.reader.next()?.and_then(records_of) {
                Ok(mut records) => {
                    records.reverse();
                    self.pending = records;
                }
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({:?})", self.reader)
    }
}
