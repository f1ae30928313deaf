//! Every version of a row that the log still has: who wrote it, when that was committed, what was there before and after.
//!
//! An update that changes some bytes logs only the difference. Its values are known from the records around it: forward, from the last one that has a
//! value whole; and backward, from the next one that has, or from what is there now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use afterimage_io::Io;
use afterimage_log::{ControlFile, FrameKind, Log, Lsn};

use crate::checkpoint::EngineArea;
use crate::error::{Error, Result};
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

/// What has become of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its transaction has committed: the record, and the time, in microseconds since the Unix epoch.
    Committed(Lsn, Option<u64>),
    /// It was rolled back, with its transaction or alone: the end record, or the compensation.
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
    /// What has become of it.
    pub outcome: Outcome,
}

/// The versions of a row that the log has.
#[derive(Debug)]
#[non_exhaustive]
pub struct History {
    /// Oldest first.
    pub versions: Vec<Version>,
    /// Why the log could not be read to its end: what is behind that place is missing.
    pub stopped: Option<Error>,
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
/// The control file cannot be read, or where the log begins.
pub fn history(
    io: &Io,
    directory: &Path,
    table: u32,
    key: &[u8],
    now: Option<&LoggedValue>,
) -> Result<History> {
    let file = ControlFile::open(io, directory, false)?;
    let (mut found, mut ends) = (Vec::new(), BTreeMap::new());
    // Transactions that have changed the row: nobody else's end matters.
    let mut whose = BTreeSet::new();
    let (mut stopped, mut read_to) = (None, None);
    for frame in Log::scan(io, directory, file.current(), None)? {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                stopped = Some(error.into());
                break;
            }
        };
        read_to = Some(frame.frame.end);
        if frame.kind != FrameKind::Data {
            continue;
        }
        let (lsn, time) = (frame.frame.lsn, frame.frame.time);
        match Record::decode(&frame.frame.payload) {
            Ok(Record::Row(row)) => {
                let txn = row.txn.unwrap_or(lsn);
                let is_it = row.table.get() == table && *row.key == *key;
                if is_it {
                    whose.insert(txn);
                }
                if row.commit && whose.contains(&txn) {
                    ends.insert(txn, Outcome::Committed(lsn, time));
                }
                if is_it {
                    found.push((lsn, txn, false, step(&row.change, false)));
                }
            }
            Ok(Record::Clr(clr)) if clr.table.get() == table && *clr.key == *key => {
                whose.insert(clr.txn);
                found.push((lsn, clr.txn, true, step(&clr.change, true)));
            }
            Ok(Record::Commit { txn, .. }) if whose.contains(&txn) => {
                ends.insert(txn, Outcome::Committed(lsn, time));
            }
            Ok(Record::End { txn, .. }) if whose.contains(&txn) => {
                ends.insert(txn, Outcome::RolledBack(lsn));
            }
            _ => {}
        }
    }
    // A scan takes what it cannot read for the end; the last checkpoint stands before that.
    let checkpoint = EngineArea::decode(&file.current().client)?.checkpoint_lsn;
    if stopped.is_none() && read_to <= Some(checkpoint) {
        let at = read_to.map_or_else(|| "its beginning".to_owned(), |lsn| format!("LSN {lsn}"));
        stopped = Some(Error::corruption(
            format!("log, {at}"),
            format!(
                "a record that cannot be read: the last checkpoint, at LSN {checkpoint}, is behind it"
            ),
        ));
    }
    let mut versions: Vec<Version> = Vec::with_capacity(found.len());
    // Changes that stand, for each transaction.
    let mut standing: BTreeMap<Lsn, Vec<usize>> = BTreeMap::new();
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
        let mut outcome = ends.get(&txn).copied().unwrap_or(Outcome::Unfinished);
        let stands = standing.entry(txn).or_default();
        match (takes_back, outcome) {
            (false, _) => stands.push(versions.len()),
            (true, Outcome::RolledBack(_)) => {}
            // Back to a savepoint: the newest change that stands goes, whatever becomes of the others.
            (true, _) => {
                outcome = Outcome::RolledBack(lsn);
                if let Some(undone) = stands.pop() {
                    versions[undone].outcome = outcome;
                }
            }
        }
        versions.push(Version {
            lsn,
            txn,
            takes_back,
            before,
            after,
            outcome,
        });
    }
    // Backward: what follows tells what was.
    let now = now.filter(|_| stopped.is_none());
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
    Ok(History { versions, stopped })
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
