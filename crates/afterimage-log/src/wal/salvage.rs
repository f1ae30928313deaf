//! What can be done for a log that is refused as damaged, when there is no archive or standby to take the damaged segment from.
//!
//! Everything before the damage is kept, and the log is cut there: what is behind it may be whole, but a log with a hole
//! is not a log. Nothing is lost silently: every file is copied first, and every range that is cut off is named, with
//! the records in it that can still be read from the copy. The control file comes last, so that a salvage that was
//! interrupted leaves a log that is refused as before, and can be salvaged again.

use std::path::{Path, PathBuf};

use afterimage_io::{Io, LockAttempt, OpenMode};

use super::Wal;
use super::slots::Slots;
use crate::control::{Control, ControlFile};
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result, is_full};
use crate::examine;
use crate::files::Files;
use crate::files::SegmentInfo;
use crate::frame::{self, END};
use crate::log::Log;
use crate::lsn::Lsn;
use crate::options::HEADER_BYTES;
use crate::segment::{self, Header};

const COPY_BYTES: usize = 1 << 20;
const TEMPORARY: &str = "salvage.tmp";

/// A part of the log that is cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutOff {
    /// Its first byte.
    pub from: Lsn,
    /// Its exclusive end.
    pub to: Lsn,
    /// How many records, or batches of records, can be read from the copy; none where nothing can be read.
    pub records: Option<u64>,
}

/// What a salvage does, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvage {
    /// Why the log is refused.
    pub damage: String,
    /// What is kept: from the oldest record up to the place where the log is cut.
    pub kept: (Lsn, Lsn),
    /// How many records, or batches of records, are kept. Damage further back, which an open does not read, ends the count.
    pub kept_records: u64,
    /// What is cut off, in order.
    pub cut_off: Vec<CutOff>,
    /// The log was durable at least up to here.
    pub durable: Lsn,
    /// Where every file was copied to before anything was changed; none for a plan.
    pub evidence: Option<PathBuf>,
}

impl Salvage {
    /// What [`Salvage::run`] would do; changes nothing. None for a log that is not refused.
    ///
    /// # Errors
    ///
    /// `InUse` where another process has it open, `Unsupported` for a database, whose pages depend on its log;
    /// `ControlCorrupt`, `Io`.
    pub fn plan(io: &Io, dir: &Path) -> Result<Option<Salvage>> {
        let (file, _lock) = open(io, dir)?;
        Ok(look(io, dir, file.current())?.map(|found| found.salvage))
    }

    /// Copies every file to `evidence`, a directory that does not exist yet (by default one in `dir`, named after the time), and
    /// cuts the log where it is damaged, so that it can be opened. None, and nothing done, for a log that is not refused.
    ///
    /// # Errors
    ///
    /// As [`Salvage::plan`]; `AlreadyExists` where `evidence` does; `DiskFull`, before anything was changed.
    pub fn run(io: &Io, dir: &Path, evidence: Option<&Path>) -> Result<Option<Salvage>> {
        let (mut file, _lock) = open(io, dir)?;
        let Some(found) = look(io, dir, file.current())? else {
            return Ok(None);
        };
        let evidence = evidence.map_or_else(
            || dir.join(format!("salvage-{}", io.wall_clock())),
            Path::to_path_buf,
        );
        copy_all(io, dir, &evidence)?;
        let durable = cut(io, file.current(), &found)?;
        found.slots.cut_at(durable)?;
        let control = Control {
            epoch: file.current().epoch + 1,
            clean_end: None,
            durable_lsn: Some(durable),
            ..file.current().clone()
        };
        // Both copies: the old one still says that the log goes on.
        file.write(&control)?;
        file.write(&control)?;
        // What the last holder has said of the log is not true any more.
        remove(io, &dir.join("status"))?;
        Ok(Some(Salvage {
            evidence: Some(evidence),
            ..found.salvage
        }))
    }
}

struct Found {
    salvage: Salvage,
    files: Files,
    slots: Slots,
    /// The last segment that is kept; none where no segment can be used.
    last: Option<SegmentInfo>,
}

fn open(io: &Io, dir: &Path) -> Result<(ControlFile, afterimage_io::LockFile)> {
    let path = dir.join("lock");
    let lock = match io.try_lock(&path) {
        Ok(LockAttempt::Acquired(lock)) => lock,
        Ok(LockAttempt::Held { pid }) => {
            return Err(Error::InUse {
                path: dir.to_path_buf(),
                pid,
            });
        }
        Err(e) => return Err(Error::io("lock", &path, 0, e)),
    };
    let file = ControlFile::open(io, dir, true)?;
    if !Wal::made(file.current()) {
        return Err(Error::Unsupported {
            path: dir.to_path_buf(),
            what: "it is a database, whose pages depend on its log: cutting the log would tear them apart".into(),
        });
    }
    Ok((file, lock))
}

/// The damage, and what lies before and behind it. None where an open would go well.
fn look(io: &Io, dir: &Path, control: &Control) -> Result<Option<Found>> {
    let first = Lsn::at(control.segment_bytes + HEADER_BYTES);
    let begin = control.durable_lsn.unwrap_or(first);
    let slots = Slots::open(io, dir, &control.identity)?;
    let proofs = slots.proofs()?;
    let damage = match Log::examine(io, dir, control, begin, &proofs) {
        Ok(_) => return Ok(None),
        Err(e) if e.is_corruption() => e.to_string(),
        Err(e) => return Err(e),
    };
    let files = Files::read(io, dir, control)?;
    let last = last_segment(&files, begin)?;
    let end = last.as_ref().map_or(first, |segment| segment.end);
    let (oldest, kept_records) = match &last {
        Some(last) => count_kept(&files, last)?,
        None => (first, 0),
    };
    let proven = proofs.iter().map(|(_, lsn)| *lsn).max();
    let known = control.durable_lsn.max(control.clean_end).max(proven);
    let mut durable = known.unwrap_or(end);
    let mut cut_off = Vec::new();
    for (&number, _) in files.segments.range(end.get() / files.segment_bytes..) {
        survey(&files, number, end, &mut durable, &mut cut_off)?;
    }
    let known = cut_off.last().map_or(end, |c: &CutOff| c.to);
    if durable > known {
        cut_off.push(CutOff {
            from: known,
            to: durable,
            records: None,
        });
    }
    let salvage = Salvage {
        damage,
        kept: (oldest, end),
        kept_records,
        cut_off,
        durable,
        evidence: None,
    };
    Ok(Some(Found {
        salvage,
        files,
        slots,
        last,
    }))
}

/// The segment that holds the last place that can be read, walking from where an open would begin; or, where that place
/// cannot be read itself, from the newest segment before it.
fn last_segment(files: &Files, begin: Lsn) -> Result<Option<SegmentInfo>> {
    if let Ok(segments) = examine::readable(files, begin) {
        return Ok(segments.into_iter().next_back());
    }
    let before = files.segments.range(..begin.get() / files.segment_bytes);
    let newest = before.rev().find_map(|(_, file)| file.header.as_ref());
    match newest {
        Some(header) => {
            let segments = examine::readable(files, Lsn::at(header.first_lsn()))?;
            Ok(segments.into_iter().next_back())
        }
        None => Ok(None),
    }
}

/// The oldest position that links lead back to, and how many records can be read from there to the cut.
fn count_kept(files: &Files, last: &SegmentInfo) -> Result<(Lsn, u64)> {
    let mut oldest = files.header(last.number);
    while let Some(previous) =
        oldest.and_then(|h| files.header(h.previous).filter(|p| p.number < h.number))
    {
        oldest = Some(previous);
    }
    let first = oldest.map_or(last.first, |h| Lsn::at(h.first_lsn()));
    let mut records = 0;
    let mut header = oldest;
    while let Some(h) = header {
        let (end, read) = read_on(files, h.number, HEADER_BYTES)?;
        records += read;
        header = files
            .successor(h.number, end)
            .filter(|n| n.number <= last.number);
    }
    Ok((first, records))
}

/// Where frames end that begin at `offset` of a segment, and how many of them hold records.
fn read_on(files: &Files, number: u64, offset: u64) -> Result<(u64, u64)> {
    let seed = frame::seed(&files.identity, number);
    let mut cursor = Cursor::new(
        files.open(number)?,
        number,
        seed,
        files.segment_bytes,
        offset,
    );
    let mut records = 0;
    while let Step::Frame(here) = cursor.step()? {
        records += u64::from(here.head.kind.holds_records());
    }
    Ok((cursor.lsn().get(), records))
}

/// What stands in a segment behind the cut, in parts that can be read and parts that cannot.
fn survey(
    files: &Files,
    number: u64,
    cut: Lsn,
    durable: &mut Lsn,
    parts: &mut Vec<CutOff>,
) -> Result<()> {
    let base = number * files.segment_bytes;
    let from = cut.get().max(base + HEADER_BYTES);
    let marks = examine::watermarks(files, number, from - base)?;
    let mut at = from;
    let mut starts: Vec<u64> = marks.iter().map(|(lsn, _)| lsn.get()).collect();
    if from > cut.get() && files.header(number).is_some() {
        starts.insert(0, from);
    }
    for start in starts {
        if start < at {
            continue;
        }
        if start > at {
            parts.push(part(at, start, None));
        }
        let (end, records) = read_on(files, number, start - base)?;
        if end > start {
            parts.push(part(start, end, Some(records)));
        }
        at = end;
    }
    for (_, said) in marks {
        *durable = said.max(*durable);
    }
    Ok(())
}

fn part(from: u64, to: u64, records: Option<u64>) -> CutOff {
    CutOff {
        from: Lsn::at(from),
        to: Lsn::at(to),
        records,
    }
}

/// Copies every file of the log, durably.
fn copy_all(io: &Io, dir: &Path, to: &Path) -> Result<()> {
    match io.create_dir(to) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::AlreadyExists {
                path: to.to_path_buf(),
            });
        }
        Err(e) => return Err(Error::io("make", to, 0, e)),
    }
    for name in list(io, dir)? {
        let (from, to) = (dir.join(&name), to.join(&name));
        let is_dir = io.is_dir(&from);
        if !is_dir.map_err(|e| Error::io("look at", &from, 0, e))? {
            copy(io, &from, &to)?;
        } else if name == "log" || name == "slots" {
            io.create_dir(&to)
                .map_err(|e| Error::io("make", &to, 0, e))?;
            for name in list(io, &from)? {
                copy(io, &from.join(&name), &to.join(&name))?;
            }
            sync_dir(io, &to)?;
        }
    }
    sync_dir(io, to)?;
    sync_dir(io, to.parent().unwrap_or(Path::new("")))
}

fn list(io: &Io, dir: &Path) -> Result<Vec<String>> {
    io.list_dir(dir).map_err(|e| Error::io("list", dir, 0, e))
}

fn sync_dir(io: &Io, dir: &Path) -> Result<()> {
    io.sync_dir(dir)
        .map_err(|e| Error::io("sync directory", dir, 0, e))
}

fn copy(io: &Io, from: &Path, to: &Path) -> Result<()> {
    let old = io
        .open(from, OpenMode::Read)
        .map_err(|e| Error::io("open", from, 0, e))?;
    let len = old.len().map_err(|e| Error::io("read", from, 0, e))?;
    let failed = |op, at, e: std::io::Error| {
        if is_full(&e) {
            return Error::DiskFull {
                path: to.to_path_buf(),
                needed: len,
            };
        }
        Error::io(op, to, at, e)
    };
    let new = io
        .open(to, OpenMode::CreateNew)
        .map_err(|e| failed("make", 0, e))?;
    let mut bytes = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < len {
        let piece = &mut bytes[..(len - at).min(COPY_BYTES as u64) as usize];
        old.read_exact_at(at, piece)
            .map_err(|e| Error::io("read", from, at, e))?;
        new.write_all_at(at, piece)
            .map_err(|e| failed("write", at, e))?;
        at += piece.len() as u64;
    }
    new.sync_all().map_err(|e| failed("sync", len, e))
}

/// Cuts the log; answers where an open is to begin.
fn cut(io: &Io, control: &Control, found: &Found) -> Result<Lsn> {
    let files = &found.files;
    let keep = found.last.as_ref().map_or(0, |last| last.number);
    // One empty file keeps the highest number, so that no position that was ever handed out comes back. It is made
    // first, and named over the highest one, so that the number is on record at every moment.
    let temporary = files.dir.join(TEMPORARY);
    drop(segment::prepare(io, &temporary, files.segment_bytes)?);
    let highest = match &found.last {
        Some(_) => files.highest.max(keep + 1),
        None => files.highest + 1,
    };
    let rename = |to: u64| {
        let to = files.path(to);
        io.rename(&temporary, &to)
            .map_err(|e| Error::io("rename", &temporary, 0, e))
    };
    rename(highest)?;
    sync_dir(io, &files.dir)?;
    for (&number, _) in files.segments.range(keep + 1..).rev() {
        if number != highest {
            remove(io, &files.path(number))?;
            sync_dir(io, &files.dir)?;
        }
    }
    let Some(last) = &found.last else {
        // Nothing is kept: an empty log, above every number there was.
        let header = Header {
            identity: control.identity,
            epoch: control.epoch + 1,
            number: highest,
            previous: 0,
            previous_end: 0,
            segment_bytes: files.segment_bytes,
        };
        let path = files.path(highest);
        let failed = |e| Error::io("write", &path, 0, e);
        let file = io.open(&path, OpenMode::ReadWrite).map_err(failed)?;
        file.write_all_at(0, &header.encode()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        return Ok(Lsn::at(header.first_lsn()));
    };
    let end = last.end.get() - last.number * files.segment_bytes;
    let seed = frame::seed(&control.identity, last.number);
    let file = segment::prepare(io, &temporary, files.segment_bytes)?;
    let old = files.open(last.number)?;
    let mut bytes = vec![0; end as usize];
    old.read_exact_at(0, &mut bytes)
        .map_err(|e| Error::io("read", &last.path, 0, e))?;
    if end + END as u64 <= files.segment_bytes {
        bytes.extend_from_slice(&frame::end_frame(last.end.get(), seed));
    }
    let failed = |e| Error::io("write", &temporary, 0, e);
    file.write_all_at(0, &bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    rename(last.number)?;
    sync_dir(io, &files.dir)?;
    Ok(last.end)
}

fn remove(io: &Io, path: &Path) -> Result<()> {
    match io.remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, 0, e)),
        _ => Ok(()),
    }
}
