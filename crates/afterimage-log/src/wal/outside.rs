//! Reading and following a log that another process has open, or nobody: without the lock, changing nothing.
//!
//! What is shown is durable. That is known from the holder's positions in the `status` file; where there are none, from
//! the control file and from the watermarks in the log itself. A segment may be given up, renamed and written anew under
//! the reader's eyes: its frames never validate under their new number, so a frame that does not validate is first a
//! question to the positions, and damage only if they say that it must be there. A restart of the holder changes
//! nothing for a reader: it has never seen more than what every recovery keeps.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use afterimage_io::{Io, OpenMode};

use super::cut::Cut;
use super::record::{Record, records_of};
use crate::control::{Control, ControlFile};
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::examine;
use crate::files::Files;
use crate::frame::{self, FrameKind};
use crate::lsn::Lsn;
use crate::options::HEADER_BYTES;
use crate::positions::Positions;
use crate::reader::Frame;
use crate::segment::{Header, HeaderFound, file_name, log_dir};

/// How long a reader rests before it looks again for something new.
const REST: Duration = Duration::from_millis(1);
/// How often something that should be there is looked for before its absence is believed: the holder may be renaming.
const ATTEMPTS: u32 = 20;

/// Where a [`WalReader`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is kept.
    Oldest,
    /// With the record at this position, or the first one behind it.
    At(Lsn),
    /// With the first record that becomes durable from now on.
    End,
}

/// Reads the log in a directory from outside: forward, and on into what is still to come.
///
/// ```
/// # use std::path::Path;
/// # use afterimage_io::sim::Sim;
/// use afterimage_log::{LogOptions, Start, Wal, WalReader};
///
/// # fn main() -> Result<(), afterimage_log::Error> {
/// # let io = Sim::new(1).io();
/// # let options = LogOptions { background: false, ..LogOptions::default() };
/// let wal = Wal::open(&io, Path::new("events"), &options)?;
/// wal.append(b"one")?.wait()?;
/// // Mostly in another process.
/// let mut reader = WalReader::open(&io, Path::new("events"), Start::Oldest)?;
/// assert_eq!(reader.next()?.payload, b"one");
/// assert_eq!(reader.try_next()?, None);
/// # Ok(())
/// # }
/// ```
pub struct WalReader {
    io: Io,
    dir: PathBuf,
    control: Control,
    at: u64,
    position: Lsn,
    cursor: Option<Cursor>,
    /// How far the bytes in the cursor's window may be believed.
    fresh: u64,
    /// Everything before this is durable; and this is the oldest record kept, if the holder has said.
    durable: u64,
    oldest: Option<u64>,
    pending: Vec<Record>,
    /// Records before this were not asked for.
    wanted: u64,
}

impl WalReader {
    /// Opens the log in `dir`, a log directory or a database, for reading. Takes no lock and changes nothing.
    ///
    /// # Errors
    ///
    /// `ControlCorrupt` where the control file cannot be read; `NotFound` where the position was given up; `Unsupported`,
    /// `Io`.
    pub fn open(io: &Io, dir: &Path, from: Start) -> Result<WalReader> {
        let control = ControlFile::open(io, dir, false)?.current().clone();
        let first = control.segment_bytes + HEADER_BYTES;
        let mut reader = WalReader {
            io: io.clone(),
            dir: dir.to_path_buf(),
            control,
            at: first,
            position: Lsn::at(first),
            cursor: None,
            fresh: 0,
            durable: first,
            oldest: None,
            pending: Vec::new(),
            wanted: 0,
        };
        reader.refresh()?;
        // Once also where there are positions: those of a machine that lost its power may be old.
        reader.believe_watermarks()?;
        let oldest = reader.oldest()?;
        reader.at = match from {
            Start::Oldest => oldest,
            Start::At(lsn) => reader.align(lsn.get().max(first))?,
            Start::End => reader.durable,
        };
        if let Start::At(lsn) = from {
            reader.wanted = lsn.get();
        }
        reader.position = Lsn::at(reader.at.max(reader.wanted));
        Ok(reader)
    }

    /// Waits for the next record, looking every millisecond.
    ///
    /// # Errors
    ///
    /// `NotFound` where it was given up before it was read, which names the oldest that is left; `Cut`, once, where the
    /// log was cut before it: the next call goes on behind the cut, and what was shown from there on is not part of the
    /// log; `Corruption` where what must be durable cannot be read; `Io`.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends: `try_next` says when nothing is there"
    )]
    pub fn next(&mut self) -> Result<Record> {
        loop {
            if let Some(record) = self.try_next()? {
                return Ok(record);
            }
            self.io.sleep(REST);
        }
    }

    /// As [`WalReader::next`], but waits no longer than `timeout`; none where nothing came.
    ///
    /// # Errors
    ///
    /// As [`WalReader::next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record>> {
        let deadline = self.io.now().saturating_add(timeout);
        loop {
            let found = self.try_next()?;
            if found.is_some() || self.io.now() >= deadline {
                return Ok(found);
            }
            self.io.sleep(REST);
        }
    }

    /// The next record, if it is there by now.
    ///
    /// # Errors
    ///
    /// As [`WalReader::next`].
    pub fn try_next(&mut self) -> Result<Option<Record>> {
        let mut attempts = 0;
        loop {
            if let Some(record) = self.pending.pop() {
                if record.lsn.get() < self.wanted {
                    continue;
                }
                self.position = record.next;
                return Ok(Some(record));
            }
            if self.at >= self.durable {
                self.refresh()?;
                if self.at >= self.durable {
                    return Ok(None);
                }
            }
            match self.step()? {
                Stepped::On => attempts = 0,
                Stepped::NotYet => return Ok(None),
                Stepped::Nothing(fault) => {
                    self.cursor = None;
                    attempts += 1;
                    self.tell_of_cut()?;
                    if self.cut_reaches(self.at) {
                        return Ok(None);
                    }
                    self.look_elsewhere(&fault, attempts)?;
                }
            }
        }
    }

    /// Where to go on when all that was shown is done with: the [`Record::next`] of the last record.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Everything before this is durable, as far as was known when it was asked last.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        Lsn::at(self.durable)
    }

    /// What the control file said when this was opened.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Learns how far the log is durable by now.
    fn refresh(&mut self) -> Result<()> {
        let before = self.durable;
        match Positions::read(&self.io, &self.dir, &self.control.identity)? {
            Some(positions) => {
                self.durable = before.max(positions.durable.get());
                self.oldest = Some(positions.oldest.get());
            }
            None => {
                self.oldest = None;
                if let Ok(file) = ControlFile::open(&self.io, &self.dir, false) {
                    let said = file.current().durable_lsn.max(file.current().clean_end);
                    self.durable = before.max(said.map_or(0, Lsn::get));
                }
                self.believe_watermarks()?;
            }
        }
        // A restarted holder may have put another file in the place of the one that is being read.
        let number = self.durable / self.control.segment_bytes;
        if before < self.durable && self.cursor.as_ref().is_some_and(|c| c.number != number) {
            self.cursor = None;
        }
        Ok(())
    }

    /// Learns from the log itself how far it was durable: each batch says so of those before.
    fn believe_watermarks(&mut self) -> Result<()> {
        let Some(files) = self.files()? else {
            return Ok(());
        };
        // Where it cannot be read, nothing is learned; whether it should be readable is not the question here.
        if let Ok(proven) = examine::proven(&files, Lsn::at(self.durable)) {
            self.durable = self.durable.max(proven.get());
        }
        Ok(())
    }

    /// The files there are; none where one of them went while they were looked at.
    fn files(&self) -> Result<Option<Files>> {
        match Files::read(&self.io, &self.dir, &self.control) {
            Ok(files) => Ok(Some(files)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn oldest(&self) -> Result<u64> {
        if let Some(oldest) = self.oldest {
            return Ok(oldest);
        }
        for _ in 0..ATTEMPTS {
            if let Some(files) = self.files()? {
                let first = files.segments.values().find_map(|f| f.header.as_ref());
                return Ok(first.map_or(self.durable, Header::first_lsn));
            }
            self.io.sleep(REST);
        }
        Ok(self.durable)
    }

    /// Where to begin to read, so that the first frame at or behind `from` is met.
    fn align(&self, from: u64) -> Result<u64> {
        if from > self.durable && !self.cut_reaches(from) {
            // Where frames begin there is not known yet: what comes before is read, and not shown.
            return Ok(self.durable);
        }
        let number = from / self.control.segment_bytes;
        let Some((mut cursor, header)) = self.open_segment(number, HEADER_BYTES)? else {
            return Ok(from);
        };
        let goal = from.min(self.durable);
        while cursor.lsn().get() < goal {
            match cursor.step()? {
                Step::Frame(_) => {}
                Step::Closed => {
                    let end = cursor.lsn().get();
                    let files = self.files()?;
                    let next = files.as_ref().and_then(|f| f.successor(number, end));
                    // In the rest of a segment that was full; behind a cut the next one is of another epoch.
                    if next.is_some_and(|next| next.epoch == header.epoch) {
                        return Ok(end);
                    }
                    break;
                }
                // Judged when it is read.
                Step::Bad(_) => break,
            }
        }
        Ok(cursor.lsn().get().max(goal))
    }

    /// Opens a segment, if there is one of this number.
    fn open_segment(&self, number: u64, offset: u64) -> Result<Option<(Cursor, Header)>> {
        let identity = &self.control.identity;
        let path = self.path(number);
        let file = match self.io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, 0, e)),
        };
        match Header::read(&file, identity, number, self.control.segment_bytes)? {
            HeaderFound::Good(header) => {
                let seed = frame::seed(identity, number);
                let segment_bytes = self.control.segment_bytes;
                let cursor = Cursor::new(file, number, seed, segment_bytes, offset);
                Ok(Some((cursor, header)))
            }
            HeaderFound::NotOurs(_) => Ok(None),
            HeaderFound::Unknown(what) => Err(Error::Unsupported { path, what }),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        let name = file_name(self.control.identity.timeline_ordinal, number);
        log_dir(&self.dir).join(name)
    }

    /// One frame, below the durable position.
    fn step(&mut self) -> Result<Stepped> {
        let (number, offset) = (
            self.at / self.control.segment_bytes,
            self.at % self.control.segment_bytes,
        );
        let nothing = |why: &str| Ok(Stepped::Nothing(why.to_owned()));
        if offset < HEADER_BYTES {
            return nothing("no record can stand in a header");
        }
        if self.cursor.as_ref().is_none_or(|c| c.number != number) {
            let opened = self.open_segment(number, offset)?;
            self.cursor = opened.map(|(cursor, _)| cursor);
            self.fresh = self.durable;
        }
        let Some(cursor) = &mut self.cursor else {
            return nothing("its segment is not there");
        };
        if self.at >= self.fresh {
            cursor.refresh();
            self.fresh = self.durable;
        }
        cursor.offset = offset;
        match cursor.step()? {
            Step::Frame(here) if here.end.get() > self.durable => {
                cursor.refresh();
                Ok(Stepped::NotYet)
            }
            Step::Frame(here) => {
                self.at = here.end.get();
                if here.head.kind.holds_records() {
                    self.pending = records_of(Frame {
                        lsn: here.lsn,
                        end: here.end,
                        time: here.head.time,
                        payload: cursor.payload(&here).to_vec(),
                        batch: here.head.kind == FrameKind::Batch,
                    })?;
                    self.pending.reverse();
                }
                Ok(Stepped::On)
            }
            Step::Closed if self.enter_successor(number)? => Ok(Stepped::On),
            Step::Closed => nothing("the segment is closed and none follows it"),
            Step::Bad(fault) => Ok(Stepped::Nothing(fault.to_string())),
        }
    }

    /// Goes on in the segment behind `number`, which is closed at the position; answers whether there is one.
    fn enter_successor(&mut self, number: u64) -> Result<bool> {
        // As a rule it has the next number; where the log was recovered or cut in between, a higher one.
        if let Some((cursor, header)) = self.open_segment(number + 1, HEADER_BYTES)?
            && (header.previous, header.previous_end) == (number, self.at)
        {
            self.at = header.first_lsn();
            self.cursor = Some(cursor);
            self.fresh = self.durable;
            return Ok(true);
        }
        let files = self.files()?;
        let next = files.as_ref().and_then(|f| f.successor(number, self.at));
        if let Some(header) = next {
            self.at = header.first_lsn();
        }
        Ok(next.is_some())
    }

    /// Where the log was cut before the position: says so, and stands behind the cut from then on. A successor's header
    /// names the place where the log was cut, and no position between there and its own first is part of the log.
    fn tell_of_cut(&mut self) -> Result<()> {
        let Some(files) = self.files()? else {
            return Ok(());
        };
        let headers = files.segments.values().filter_map(|f| f.header.as_ref());
        let around = headers.filter(|h| {
            // Before the first segment there was nothing to cut.
            h.previous_end != 0 && h.previous_end < self.at && self.at < h.first_lsn()
        });
        let Some(behind) = around.max_by_key(|h| h.epoch) else {
            return Ok(());
        };
        let told = Error::Cut {
            lsn: Lsn::at(self.at),
            cut: Lsn::at(behind.previous_end),
            next: Lsn::at(behind.first_lsn()),
        };
        self.position = Lsn::at(behind.previous_end);
        self.at = behind.first_lsn();
        Err(told)
    }

    /// Whether a cut before `at` was begun and is not finished: the next open does that, if the holder has died.
    fn cut_reaches(&self, at: u64) -> bool {
        let control = ControlFile::open(&self.io, &self.dir, false);
        let cut = control.ok().and_then(|file| Cut::read(file.current()));
        cut.is_some_and(|cut| cut.at.get() <= at)
    }

    /// What must be there is not: it was given up, or is being moved just now, or is damaged.
    fn look_elsewhere(&mut self, fault: &str, attempts: u32) -> Result<()> {
        self.refresh()?;
        let oldest = self.oldest()?;
        if self.at < oldest {
            let number = oldest / self.control.segment_bytes;
            let header = self.files()?.and_then(|f| f.header(number).cloned());
            match header {
                // All that was given up had been read.
                Some(header) if header.previous_end == self.at => {
                    self.at = header.first_lsn();
                    return Ok(());
                }
                None if attempts < ATTEMPTS => {}
                _ => {
                    return Err(Error::NotFound {
                        lsn: Lsn::at(self.at),
                        what: format!("it was given up; the oldest record kept is at LSN {oldest}"),
                    });
                }
            }
        }
        if attempts < ATTEMPTS {
            self.io.sleep(REST);
            return Ok(());
        }
        let segment_bytes = self.control.segment_bytes;
        Err(Error::Corruption {
            lsn: Lsn::at(self.at),
            path: self.path(self.at / segment_bytes),
            offset: self.at % segment_bytes,
            what: format!(
                "{fault}; but the log was durable up to LSN {}",
                self.durable
            ),
            advice: "Either no record begins there, or the file was damaged after it was written; check the log and the \
                     disk."
                .into(),
        })
    }
}

/// Where a log stands, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// What the control file says.
    pub control: Control,
    /// What the holder, present or past, said last; none where that cannot be read.
    pub positions: Option<Positions>,
    /// The position of the oldest record that is kept.
    pub oldest: Lsn,
    /// Everything before this is known to be durable.
    pub durable: Lsn,
    /// How many files hold log, and how many are prepared for what comes.
    pub segments: u64,
    /// See `segments`.
    pub spare_segments: u64,
}

impl Overview {
    /// Looks at the log in `dir`, of whoever it is. Takes no lock and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`WalReader::open`].
    pub fn of(io: &Io, dir: &Path) -> Result<Overview> {
        let reader = WalReader::open(io, dir, Start::Oldest)?;
        let files = Files::read(io, dir, &reader.control)?;
        let segments = files.segments.values().filter(|f| f.header.is_some());
        let segments = segments.count() as u64;
        Ok(Overview {
            positions: Positions::read(io, dir, &reader.control.identity)?,
            oldest: reader.position,
            durable: reader.durable_lsn(),
            segments,
            spare_segments: files.segments.len() as u64 - segments,
            control: reader.control,
        })
    }
}

/// What a step has led to.
enum Stepped {
    /// A frame, or the next segment.
    On,
    /// The frame reaches beyond what is durable.
    NotYet,
    /// No frame, and why.
    Nothing(String),
}

impl fmt::Debug for WalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalReader({} at {})", self.dir.display(), self.position)
    }
}
