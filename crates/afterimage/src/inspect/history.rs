//! Every version of a row that the log still has: who wrote it, when that was committed, what was there before and after.
//!
//! An update that changes some bytes logs only the difference. Its values are known from the records around it: forward, from the last one that has a
//! value whole; and backward, from the next one that has, or from what is there now.

use std::collections::BTreeMap;
use std::path::Path;

use afterimage_io::Io;
use afterimage_log::{ControlFile, FrameKind, Log, Lsn};

use crate::error::Result;
use crate::page::{Stored, xor_value};
use crate::record::{Change, Record};

/// A value in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoggedValue {
    /// There is no row.
    Absent,
    /// The value.
    Bytes(Vec<u8>),
    /// A value that lies in pages of its own: its length.
    Large(u64),
    /// The log has only what is different.
    Unknown,
}

/// How a transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has committed: the record, and the time, in microseconds since the Unix epoch.
    Committed(Lsn, Option<u64>),
    /// It was rolled back.
    RolledBack(Lsn),
    /// Neither is in the log.
    Unfinished,
}

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The record.
    pub lsn: Lsn,
    /// The transaction.
    pub txn: Lsn,
    /// Whether the change takes another one back.
    pub takes_back: bool,
    /// The value before.
    pub before: LoggedValue,
    /// The value after.
    pub after: LoggedValue,
    /// How its transaction has ended.
    pub outcome: Outcome,
}

/// What a record does to the value, as far as that is in it.
enum Step {
    Put(Option<LoggedValue>, LoggedValue),
    Delete(Option<LoggedValue>),
    Xor(Vec<u8>),
}

/// Every change of the row `key` of the table with this number that the log in `directory` still has, oldest first. `now`: its value at the end of that log, if
/// somebody knows it: it helps where the log has differences alone.
///
/// # Errors
///
/// The control file or the log cannot be read.
pub fn history(
    io: &Io,
    directory: &Path,
    table: u32,
    key: &[u8],
    now: Option<&LoggedValue>,
) -> Result<Vec<Version>> {
    let file = ControlFile::open(io, directory, false)?;
    let (mut found, mut ends) = (Vec::new(), BTreeMap::new());
    for frame in Log::scan(io, directory, file.current(), None)? {
        let frame = frame?;
        if frame.kind != FrameKind::Data {
            continue;
        }
        let (lsn, time) = (frame.frame.lsn, frame.frame.time);
        match Record::decode(&frame.frame.payload) {
            Ok(Record::Row(row)) => {
                let txn = row.txn.unwrap_or(lsn);
                if row.commit {
                    ends.insert(txn, Outcome::Committed(lsn, time));
                }
                if row.table.get() == table && *row.key == *key {
                    found.push((lsn, txn, false, step(&row.change, false)));
                }
            }
            Ok(Record::Clr(clr)) if clr.table.get() == table && *clr.key == *key => {
                found.push((lsn, clr.txn, true, step(&clr.change, true)));
            }
            Ok(Record::Commit { txn, .. }) => {
                ends.insert(txn, Outcome::Committed(lsn, time));
            }
            Ok(Record::End { txn, .. }) => {
                ends.insert(txn, Outcome::RolledBack(lsn));
            }
            _ => {}
        }
    }
    let mut versions = Vec::with_capacity(found.len());
    let mut value = LoggedValue::Unknown;
    let mut runs = Vec::with_capacity(found.len());
    for (lsn, txn, takes_back, step) in found {
        let (before, after, difference) = match step {
            Step::Put(before, after) => (before, after, None),
            Step::Delete(before) => (before, LoggedValue::Absent, None),
            Step::Xor(runs) => (None, xored(&value, &runs), Some(runs)),
        };
        let before = before.unwrap_or_else(|| value.clone());
        value = after.clone();
        runs.push(difference);
        versions.push(Version {
            lsn,
            txn,
            takes_back,
            before,
            after,
            outcome: ends.get(&txn).copied().unwrap_or(Outcome::Unfinished),
        });
    }
    // Backward: what follows tells what was.
    let mut value = now.cloned().unwrap_or(LoggedValue::Unknown);
    for (version, runs) in versions.iter_mut().zip(&runs).rev() {
        if version.after == LoggedValue::Unknown {
            version.after = value;
        }
        if let (LoggedValue::Unknown, Some(runs)) = (&version.before, runs) {
            version.before = xored(&version.after, runs);
        }
        value = version.before.clone();
    }
    Ok(versions)
}

fn xored(value: &LoggedValue, runs: &[u8]) -> LoggedValue {
    match value {
        LoggedValue::Bytes(bytes) => {
            let mut bytes = bytes.clone();
            match xor_value(&mut bytes, runs) {
                true => LoggedValue::Bytes(bytes),
                false => LoggedValue::Unknown,
            }
        }
        _ => LoggedValue::Unknown,
    }
}

/// A CLR has no value before.
fn step(change: &Change<'_>, clr: bool) -> Step {
    match change {
        Change::Put { before, after } => {
            let before = match before {
                None if clr => None,
                None => Some(LoggedValue::Absent),
                Some(before) => Some(logged(before)),
            };
            Step::Put(before, logged(after))
        }
        Change::Delete { before } => Step::Delete((!clr).then(|| logged(before))),
        Change::Xor { runs } => Step::Xor(runs.to_vec()),
    }
}

fn logged(stored: &Stored<'_>) -> LoggedValue {
    match stored.address() {
        Some(address) => LoggedValue::Large(address.len),
        None => LoggedValue::Bytes(stored.bytes.to_vec()),
    }
}
