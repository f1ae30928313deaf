//! Reading records back from an open log: one by its position, or all from a position on.
//!
//! What is not written yet is read from the buffer, the rest from the segment files. A reader goes up to where the
//! log ended when it was made, and sees data frames only.

use std::fmt;
use std::sync::Arc;

use afterimage_io::sync::atomic::Ordering;
use afterimage_io::{File, OpenMode};

use crate::buffer::{Buffer, Live};
use crate::bytes::get_u32;
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::frame::{self, Fault, FrameKind, HEAD};
use crate::lsn::Lsn;
use crate::options::HEADER_BYTES;
use crate::segment::file_name;
use crate::shared::Shared;

/// One record, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its first byte.
    pub lsn: Lsn,
    /// Its exclusive end.
    pub end: Lsn,
    /// When it was appended, in microseconds since the Unix epoch, if it is timed.
    pub time: Option<u64>,
    /// What was appended.
    pub payload: Vec<u8>,
    /// Whether the payload is a batch of records, made by `Wal::append_batch`.
    pub batch: bool,
}

/// One record, seen where it stands: for whoever looks at many and keeps few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameView<'a> {
    /// Its first byte.
    pub lsn: Lsn,
    /// Its exclusive end.
    pub end: Lsn,
    /// What was appended.
    pub payload: &'a [u8],
}

impl Frame {
    /// Cuts the payload out of a whole frame.
    pub(crate) fn of(lsn: u64, head: &frame::Head, bytes: &[u8]) -> Frame {
        Frame {
            lsn: Lsn::at(lsn),
            end: Lsn::at(lsn + head.len as u64),
            time: head.time,
            payload: bytes[head.payload_at..head.len].to_vec(),
            batch: head.kind == FrameKind::Batch,
        }
    }
}

impl Buffer {
    /// The segments around `at`, where it lies between the end of a segment and the first position of the next.
    fn between(&self, number: u64, at: u64) -> Option<(Live, Live)> {
        let (last, before) = self.live.range(..=number).next_back()?;
        before.end.filter(|end| *end < at)?;
        let (_, behind) = self.live.range(last + 1..).next()?;
        Some((*before, *behind))
    }

    /// Where to begin to read for `from`: in the rest of a segment that was full, that is the next one.
    fn aligned(&self, from: u64) -> u64 {
        match self.between(from / self.segment_bytes, from) {
            Some((before, behind)) if before.epoch == behind.epoch => behind.first,
            _ => from,
        }
    }

    /// Why there is nothing at `lsn`, in the segment `number`, if it is not part of the log: it was cut off, or given up.
    fn gone(&self, number: u64, lsn: Lsn) -> Option<Error> {
        if let Some((before, behind)) = self.between(number, lsn.get()) {
            // A log that was cut goes on in another epoch.
            return Some(match before.end.filter(|_| before.epoch != behind.epoch) {
                Some(cut) => Error::Cut {
                    lsn,
                    cut: Lsn::at(cut),
                    next: Lsn::at(behind.first),
                },
                None => Error::NotFound {
                    lsn,
                    what: "its segment ends before".into(),
                },
            });
        }
        let kept = self.live.contains_key(&number);
        (!kept).then(|| Error::NotFound {
            lsn,
            what: "its segment is not kept any more".into(),
        })
    }
}

impl Shared {
    fn seed_at(&self, lsn: u64) -> u64 {
        frame::seed(&self.identity, lsn / self.segment_bytes)
    }

    /// See `Log::read`.
    pub(crate) fn read(&self, lsn: Lsn) -> Result<Frame> {
        let at = lsn.get();
        let nothing = |what: &str| Error::NotFound {
            lsn,
            what: what.into(),
        };
        let buffered = {
            let buffer = self.buffer.lock();
            if at >= buffer.next {
                return Err(nothing("the log ends before"));
            }
            buffer.frame_at(at)
        };
        let bytes = match buffered {
            Some(bytes) => bytes,
            None => self.read_file(lsn)?,
        };
        match frame::decode(&bytes, at, self.seed_at(at)) {
            Ok(head) if head.kind.holds_records() => Ok(Frame::of(at, &head, &bytes)),
            Ok(_) => Err(nothing("what stands there is not a record")),
            Err(fault) => Err(self.bad(lsn, &fault)),
        }
    }

    /// The bytes of the frame at `lsn`, from its file.
    fn read_file(&self, lsn: Lsn) -> Result<Vec<u8>> {
        // Most records are small: one read usually brings the whole frame.
        const GUESS: usize = 512;
        let offset = lsn.get() % self.segment_bytes;
        if offset < HEADER_BYTES {
            return Err(Error::NotFound {
                lsn,
                what: "no record can stand in a header".into(),
            });
        }
        let file = self.open_for_reading(lsn)?;
        let failed = |e| Error::io("read", file.path(), offset, e);
        let mut bytes = vec![0; GUESS.min((self.segment_bytes - offset) as usize)];
        if bytes.len() < HEAD {
            return Err(self.bad(lsn, &Fault::Length(0)));
        }
        file.read_exact_at(offset, &mut bytes).map_err(failed)?;
        let len = frame::bounded_length(get_u32(&bytes, 0), offset, self.segment_bytes)
            .map_err(|fault| self.bad(lsn, &fault))?;
        let have = bytes.len().min(len);
        bytes.resize(len, 0);
        file.read_exact_at(offset + have as u64, &mut bytes[have..])
            .map_err(failed)?;
        Ok(bytes)
    }

    /// The file that holds `lsn`; the last one used is kept open.
    fn open_for_reading(&self, lsn: Lsn) -> Result<File> {
        let number = lsn.get() / self.segment_bytes;
        {
            let buffer = self.buffer.lock();
            if let Some(gone) = buffer.gone(number, lsn) {
                return Err(gone);
            }
            if buffer.current().number == number {
                return Ok(buffer.current().file.clone());
            }
        }
        let mut reading = self.reading.lock();
        if let Some((_, file)) = reading.as_ref().filter(|(n, _)| *n == number) {
            return Ok(file.clone());
        }
        let path = self
            .dir
            .join(file_name(self.identity.timeline_ordinal, number));
        let file = self
            .io
            .open(&path, OpenMode::Read)
            .map_err(|e| Error::io("open", &path, 0, e))?;
        *reading = Some((number, file.clone()));
        Ok(file)
    }

    /// Bytes that should be a frame and are not: damage, unless the segment has been given up meanwhile.
    fn bad(&self, lsn: Lsn, fault: &Fault) -> Error {
        // Bytes that are written and not durable cannot be judged: when a sync fails, older ones may take their place.
        let next = self.next.load(Ordering::Acquire);
        if self.durable.load(Ordering::Acquire) <= lsn.get()
            && lsn.get() < next
            && let Err(e) = self.flush_to(next)
        {
            return self.check().err().unwrap_or(e);
        }
        let (number, offset) = (
            lsn.get() / self.segment_bytes,
            lsn.get() % self.segment_bytes,
        );
        if let Some(gone) = self.buffer.lock().gone(number, lsn) {
            return gone;
        }
        Error::Corruption {
            lsn,
            path: self.dir.join(file_name(self.identity.timeline_ordinal, number)),
            offset,
            what: fault.to_string(),
            advice: "Either no record begins there, or the file was damaged after it was written; check the log and \
                     the disk, and restore the segment from an archive or a standby."
                .into(),
        }
    }
}

/// Reads records forward, up to where the log ended when the reader was made.
pub struct Reader {
    log: Arc<Shared>,
    at: u64,
    upto: u64,
    /// The file being read, and how far it may be believed: what was written when its bytes were read.
    cursor: Option<Cursor>,
    written: u64,
    ended: bool,
}

impl Reader {
    pub(crate) fn new(log: &Arc<Shared>, from: Lsn) -> Reader {
        let upto = log.next.load(Ordering::Acquire);
        let at = log.buffer.lock().aligned(from.get());
        Reader {
            log: Arc::clone(log),
            at,
            upto,
            cursor: None,
            written: 0,
            ended: false,
        }
    }

    /// Where the next record is looked for.
    #[must_use]
    pub fn position(&self) -> Lsn {
        Lsn::at(self.at)
    }

    /// From here on it reads up to `upto`.
    pub(crate) fn extend(&mut self, upto: u64) {
        self.upto = upto;
    }

    /// Goes on reading at `at`, the first position of a segment.
    pub(crate) fn jump(&mut self, at: u64) {
        self.at = at;
        self.cursor = None;
    }

    /// The next record; none where the end that was set is reached.
    pub(crate) fn advance(&mut self) -> Result<Option<Frame>> {
        self.advance_to(|head, lsn, payload| Frame {
            lsn,
            end: Lsn::at(lsn.get() + head.len as u64),
            time: head.time,
            payload: payload.to_vec(),
            batch: head.kind == FrameKind::Batch,
        })
    }

    /// Shows the next record without copying it, and answers what `see` makes of it; none at the end.
    ///
    /// # Errors
    ///
    /// As reading one: `Corruption`, `Io`.
    #[inline]
    pub fn see_next<T>(&mut self, mut see: impl FnMut(FrameView<'_>) -> T) -> Result<Option<T>> {
        self.advance_to(|head, lsn, payload| {
            let end = Lsn::at(lsn.get() + head.len as u64);
            see(FrameView { lsn, end, payload })
        })
    }

    #[inline]
    fn advance_to<T>(
        &mut self,
        mut make: impl FnMut(&frame::Head, Lsn, &[u8]) -> T,
    ) -> Result<Option<T>> {
        while self.at < self.upto {
            if self.at >= self.written {
                self.written = self.log.written.load(Ordering::Acquire);
                if let Some(cursor) = &mut self.cursor {
                    cursor.refresh();
                }
            }
            let found = if self.at < self.written {
                self.step_in_file(&mut make)?
            } else {
                self.step_in_memory(&mut make)?
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// One step in the file: a record, or none where the step met something else.
    #[inline]
    fn step_in_file<T>(
        &mut self,
        make: &mut impl FnMut(&frame::Head, Lsn, &[u8]) -> T,
    ) -> Result<Option<T>> {
        let shared = &self.log;
        let number = self.at / shared.segment_bytes;
        let offset = self.at % shared.segment_bytes;
        let cursor = match &mut self.cursor {
            Some(cursor) if cursor.number == number => cursor,
            _ if offset < HEADER_BYTES => {
                return Err(shared.bad(Lsn::at(self.at), &Fault::Nothing));
            }
            other => {
                let file = shared.open_for_reading(Lsn::at(self.at))?;
                other.insert(Cursor::new(
                    file,
                    number,
                    shared.seed_at(self.at),
                    shared.segment_bytes,
                    offset,
                ))
            }
        };
        cursor.offset = offset;
        match cursor.step() {
            Ok(Step::Frame(here)) => {
                self.at = here.end.get();
                let found = here.head.kind.holds_records();
                Ok(found.then(|| make(&here.head, here.lsn, cursor.payload(&here))))
            }
            Ok(Step::Closed) => {
                self.at = self.next_segment(number)?;
                Ok(None)
            }
            Ok(Step::Bad(fault)) => {
                self.cursor = None;
                Err(shared.bad(Lsn::at(self.at), &fault))
            }
            Err(error) => {
                self.cursor = None;
                Err(error)
            }
        }
    }

    fn step_in_memory<T>(
        &mut self,
        make: &mut impl FnMut(&frame::Head, Lsn, &[u8]) -> T,
    ) -> Result<Option<T>> {
        let shared = &self.log;
        let Some(bytes) = shared.buffer.lock().frame_at(self.at) else {
            // It has been written meanwhile; or the position was never that of a frame.
            if shared.written.load(Ordering::Acquire) > self.at {
                return Ok(None);
            }
            return Err(shared.bad(Lsn::at(self.at), &Fault::Nothing));
        };
        let Some(head) = frame::split(&bytes) else {
            return Err(shared.bad(Lsn::at(self.at), &Fault::Checksum));
        };
        match head.kind {
            FrameKind::End => self.at = self.next_segment(self.at / shared.segment_bytes)?,
            FrameKind::Data | FrameKind::Batch => {
                let made = make(&head, Lsn::at(self.at), &bytes[head.payload_at..head.len]);
                self.at += head.len as u64;
                return Ok(Some(made));
            }
            // A watermark in memory may not have been filled yet.
            FrameKind::Watermark | FrameKind::Pad => self.at += head.len as u64,
        }
        Ok(None)
    }

    fn next_segment(&self, number: u64) -> Result<u64> {
        let next = self.log.successor(number).map(|(_, first)| first);
        next.ok_or_else(|| self.log.bad(Lsn::at(self.at), &Fault::Short))
    }
}

impl Iterator for Reader {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Result<Frame>> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader(at {}, up to {})", self.at, self.upto)
    }
}
