//! Looking into a database without changing a byte: for the command, for tests, for people on call.

use std::path::Path;
use std::time::Duration;

use afterimage_io::Io;
use afterimage_log::settings::SettingInfo;
use afterimage_log::{ControlFile, FrameKind, Log, Lsn, Wal};

use crate::Options;
use crate::checkpoint::{EngineArea, Load, Speed, USUAL_RECORD};
use crate::database::VerifyReport;
use crate::error::Result;
use crate::observe::SeenRecord;
use crate::page::Stored;
use crate::record::{Change, Record, RecordKind};
use crate::recovery::RecoveryReport;

mod history;

pub use history::{History, LoggedValue, Outcome, Version, history};

pub use crate::database::StatusFile;

/// Checks the whole database in `directory`, in the given world. With [`Io::overlay`] a database that was not closed is
/// recovered in memory, and nothing on disk changes.
///
/// # Errors
///
/// As [`Options::open`]; damage found after that is in the report.
pub fn verify(io: &Io, directory: &Path) -> Result<VerifyReport> {
    let db = Options::new()
        .io(io.clone())
        .create(false)
        .background(false)
        .open(directory)?;
    db.verify()
}

/// The holder's counters, from the `status` file; `None` if there is none.
///
/// # Errors
///
/// What the operating system says.
pub fn status(io: &Io, directory: &Path) -> Result<Option<StatusFile>> {
    StatusFile::read(io, directory)
}

/// How long a recovery like this one would take on the disk, where it was made in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// The time.
    pub time: Duration,
    /// Whether it goes by how long the last recovery in this directory took; else by what was measured on other machines.
    pub learnt: bool,
}

/// Reckons how long a recovery of the database in `directory` would take that does what `report` says.
///
/// # Errors
///
/// The control file cannot be read.
pub fn estimate(io: &Io, directory: &Path, report: &RecoveryReport) -> Result<Estimate> {
    let file = ControlFile::open(io, directory, false)?;
    let speed = EngineArea::decode(&file.current().client)?.speed;
    let redone = report.redone + report.already_there;
    let load = Load {
        examined: report.records.max(redone),
        redone,
        record_bytes: 0,
        pages: report.pages,
        unproven: report.segments_rewritten,
    };
    Ok(Estimate {
        time: speed.unwrap_or_default().time(&load),
        learnt: speed.is_some_and(|speed| speed.permille.is_some()),
    })
}

/// The settings that an open of `directory` with these options would have, and where each value came from. Takes no lock,
/// and answers also where there is no database yet: what a new one would get.
///
/// # Errors
///
/// The settings that are refused, as [`Options::open`]; the control file cannot be read.
pub fn settings(directory: &Path, options: &Options) -> Result<Vec<SettingInfo>> {
    let mut options = options.clone().with_file(directory)?;
    options.check()?;
    if ControlFile::exists(&options.io, directory)? {
        let file = ControlFile::open(&options.io, directory, false)?;
        let area = EngineArea::decode(&file.current().client)?;
        options = options.adopt(area.page_size, file.current().segment_bytes)?;
    }
    options.check_together()?;
    Ok(options.settings())
}

/// How long recoveries take: by how long the last ones in a directory have taken, or else by what was measured on two processors.
#[derive(Debug, Clone)]
pub struct RecoveryModel {
    speed: Speed,
    is_learnt: bool,
    load: Load,
    target: Duration,
    least: u64,
}

impl RecoveryModel {
    /// That of the database in `directory`, if there is one: as its recoveries were, or before the first as fast as the disk was when its log
    /// was made. Its pool, and `target_recovery_time`, are those of its settings, or else of `options`.
    ///
    /// # Errors
    ///
    /// As [`settings`]; the control file cannot be read.
    pub fn of(io: &Io, directory: Option<&Path>, options: &Options) -> Result<RecoveryModel> {
        let mut options = options.clone().io(io.clone());
        let mut speed = None;
        if let Some(directory) = directory
            && ControlFile::exists(io, directory)?
        {
            options = options.with_file(directory)?;
            options.check()?;
            let file = ControlFile::open(io, directory, false)?;
            if !Wal::made(file.current()) {
                let area = EngineArea::decode(&file.current().client)?;
                options = options.adopt(area.page_size, file.current().segment_bytes)?;
                speed = area.speed;
            }
        }
        Ok(RecoveryModel {
            is_learnt: speed.is_some_and(|speed| speed.permille.is_some()),
            speed: speed.unwrap_or_default(),
            load: Load {
                record_bytes: USUAL_RECORD,
                pages: options.frames() as u64,
                ..Load::default()
            },
            target: options.target_recovery_time,
            least: options.log.segment_bytes,
        })
    }

    /// Whether there was a recovery to learn from.
    pub fn is_learnt(&self) -> bool {
        self.is_learnt
    }

    /// The setting `target_recovery_time`.
    pub fn target(&self) -> Duration {
        self.target
    }

    /// How long a recovery would take that reads so many bytes of log and brings as many pages up to date as the pool holds.
    pub fn time(&self, log_bytes: u64) -> Duration {
        let records = log_bytes / self.load.record_bytes;
        self.speed.time(&Load {
            examined: records,
            redone: records,
            pages: self.load.pages.min(records),
            ..self.load
        })
    }

    /// Bytes of log to which [`target`](RecoveryModel::target) would hold the log.
    pub fn log_within_target(&self) -> u64 {
        self.speed.log_within(self.target, &self.load, self.least)
    }
}

/// One record of the log, as `afterimage log dump` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpLine {
    /// Its position.
    pub lsn: u64,
    /// What it is: `put`, `commit`, `clr`, `split`, `watermark`, ...
    pub kind: String,
    /// The transaction, if it belongs to one.
    pub txn: Option<u64>,
    /// The transaction's record before this one.
    pub prev: Option<u64>,
    /// In a CLR: what is left to undo.
    pub undo_next: Option<u64>,
    /// The table, for changes of a row.
    pub table: Option<u32>,
    /// The pages it changes.
    pub pages: Vec<u64>,
    /// The LSN that each of them had before.
    pub page_lsns: Vec<Option<u64>>,
    /// Microseconds since the Unix epoch, where the record bears a time (commits do).
    pub time_micros: Option<u64>,
    /// Bytes in the log, header included.
    pub bytes: u64,
    /// The segment that holds it, and where.
    pub segment: u64,
    /// Its offset in the segment's file.
    pub offset: u64,
    /// The key, for changes of a row.
    pub key: Option<Vec<u8>>,
    /// The value before, where the record has it whole. A large value's record has its place, which is in `note`.
    pub before: Option<Vec<u8>>,
    /// The value after, likewise.
    pub after: Option<Vec<u8>>,
    /// Anything else worth a word.
    pub note: String,
}

/// Calls `show` for every record of the log in `directory`, from `from` or the oldest on; stops when it returns false.
/// Works on a live database, and takes no lock.
///
/// # Errors
///
/// The control file or the log cannot be read; records before the place have been shown.
pub fn dump(
    io: &Io,
    directory: &Path,
    from: Option<Lsn>,
    show: &mut dyn FnMut(DumpLine) -> bool,
) -> Result<()> {
    let file = ControlFile::open(io, directory, false)?;
    for found in Log::scan(io, directory, file.current(), from)? {
        let found = found?;
        let mut line = DumpLine {
            lsn: found.frame.lsn.get(),
            kind: frame_name(found.kind).to_owned(),
            txn: None,
            prev: None,
            undo_next: None,
            table: None,
            pages: Vec::new(),
            page_lsns: Vec::new(),
            time_micros: found.frame.time,
            bytes: found.frame.end.get() - found.frame.lsn.get(),
            segment: found.segment,
            offset: found.offset,
            key: None,
            before: None,
            after: None,
            note: found
                .durable
                .map(|lsn| format!("durable up to {lsn}"))
                .unwrap_or_default(),
        };
        if found.kind == FrameKind::Data {
            match Record::decode(&found.frame.payload) {
                Ok(record) => describe(&record, found.frame.lsn, &mut line),
                Err(error) => line.note = format!("not a record of this version: {error}"),
            }
        }
        if !show(line) {
            break;
        }
    }
    Ok(())
}

/// A record that an observer of a recovery was shown, as [`dump`] shows it, but for where it stands in which file. `bytes` is without
/// its header.
#[must_use]
pub fn record(seen: &SeenRecord<'_>) -> DumpLine {
    let record = afterimage_log::Record {
        lsn: seen.lsn,
        next: seen.lsn,
        index: 0,
        time: None,
        payload: seen.payload.to_vec(),
    };
    let mut line = line(&record, u64::MAX);
    (line.segment, line.offset) = (0, 0);
    line.bytes = seen.payload.len() as u64;
    line
}

/// A record that was read from the log of a database, as [`dump`] shows it; `segment_bytes` is the size of its segments.
#[must_use]
pub fn line(record: &afterimage_log::Record, segment_bytes: u64) -> DumpLine {
    let lsn = record.lsn.get();
    let mut line = DumpLine {
        lsn,
        kind: frame_name(FrameKind::Data).to_owned(),
        txn: None,
        prev: None,
        undo_next: None,
        table: None,
        pages: Vec::new(),
        page_lsns: Vec::new(),
        time_micros: record.time,
        bytes: record.next.get() - lsn,
        segment: lsn / segment_bytes.max(1),
        offset: lsn % segment_bytes.max(1),
        key: None,
        before: None,
        after: None,
        note: String::new(),
    };
    match Record::decode(&record.payload) {
        Ok(decoded) => describe(&decoded, record.lsn, &mut line),
        Err(error) => line.note = format!("not a record of this version: {error}"),
    }
    line
}

/// What the record with this payload is, by the names of [`RecoveryReport::kinds`](crate::RecoveryReport::kinds); `None` for
/// bytes that are no record of this version.
#[must_use]
pub fn kind(payload: &[u8]) -> Option<&'static str> {
    Some(RecordKind::of(&Record::decode(payload).ok()?).name())
}

fn frame_name(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Data => "data",
        FrameKind::Batch => "batch",
        FrameKind::Watermark => "watermark",
        FrameKind::Pad => "pad",
        FrameKind::End => "end of segment",
    }
}

fn describe(record: &Record<'_>, lsn: Lsn, line: &mut DumpLine) {
    line.kind = record.name().to_owned();
    line.txn = record.txn(lsn).map(Lsn::get);
    line.prev = record.prev().map(Lsn::get);
    for (page, page_lsn, _) in record.pages() {
        line.pages.push(page.get());
        line.page_lsns.push(page_lsn.map(Lsn::get));
    }
    match record {
        Record::Row(row) => {
            line.table = Some(row.table.get());
            describe_change(&row.key, &row.change, line);
        }
        Record::Clr(clr) => {
            line.table = Some(clr.table.get());
            line.undo_next = clr.undo_next.map(Lsn::get);
            describe_change(&clr.key, &clr.change, line);
        }
        Record::Structure(structure) => {
            let names: Vec<_> = structure.parts.iter().map(|part| part.op.name()).collect();
            line.note = names.join(", ");
        }
        Record::CheckpointTables { att, dpt } => {
            line.note = format!(
                "{} unfinished transactions, {} dirty pages",
                att.len(),
                dpt.len()
            );
        }
        Record::CheckpointEnd { begin, .. } => line.note = format!("of the checkpoint at {begin}"),
        Record::Begin
        | Record::Commit { .. }
        | Record::UnloggedCommit
        | Record::End { .. }
        | Record::CheckpointBegin => {}
    }
}

fn value_of(stored: &Stored<'_>) -> Option<Vec<u8>> {
    (!stored.large).then(|| stored.bytes.to_vec())
}

fn describe_change(key: &[u8], change: &Change<'_>, line: &mut DumpLine) {
    line.key = Some(key.to_vec());
    line.before = change.before().and_then(value_of);
    line.after = change.after().and_then(value_of);
    let addresses = [("before", change.before()), ("after", change.after())];
    let large = addresses.iter().filter_map(|(when, value)| {
        let address = (*value)?.address()?;
        let (len, first) = (address.len, address.first.first);
        Some(format!("{when}: {len} bytes from page {first} on"))
    });
    line.note = large.collect::<Vec<_>>().join(", ");
    if let Change::Xor { runs } = change {
        line.note = format!("difference of {} bytes", runs.len());
    }
}
