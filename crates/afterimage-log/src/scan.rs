//! Reads every frame of a log that nobody has open, for dumps and inspections. Writes nothing.
//!
//! It follows the links between segments like recovery, and ends where the frames end; whether they may end there is
//! the question of `examine`, not answered here.

use std::path::{Path, PathBuf};

use afterimage_io::Io;

use crate::control::Control;
use crate::cursor::{Cursor, Step};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::frame::{self, FrameKind};
use crate::lsn::Lsn;
use crate::options::{HEADER_BYTES, check_segment_bytes};
use crate::reader::Frame;

/// One frame of any kind, as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanFrame {
    /// What it is for.
    pub kind: FrameKind,
    /// Its position, end, time and payload.
    pub frame: Frame,
    /// The number of its segment.
    pub segment: u64,
    /// Its place in the segment's file, in bytes.
    pub offset: u64,
    /// The epoch of its segment.
    pub epoch: u64,
    /// What a watermark says: everything before this was durable.
    pub durable: Option<Lsn>,
}

/// Where and why a scan came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanEnd {
    /// The first position that holds no frame.
    pub lsn: Lsn,
    /// The segment file.
    pub path: PathBuf,
    /// The place in the file, in bytes.
    pub offset: u64,
    /// What stands there.
    pub reason: String,
}

/// Reads the frames of a log that is not open.
#[derive(Debug)]
pub struct ScanReader {
    files: Files,
    cursor: Option<Cursor>,
    epoch: u64,
    /// Frames before this are passed over.
    from: u64,
    end: Option<ScanEnd>,
}

impl ScanReader {
    pub(crate) fn open(
        io: &Io,
        dir: &Path,
        control: &Control,
        from: Option<Lsn>,
    ) -> Result<ScanReader> {
        check_segment_bytes(control.segment_bytes)?;
        let files = Files::read(io, dir, control)?;
        let number = match from {
            Some(lsn) => Some(lsn.get() / files.segment_bytes),
            None => files
                .segments
                .iter()
                .find(|(_, f)| f.header.is_some())
                .map(|(number, _)| *number),
        };
        let Some(header) = number.and_then(|n| files.header(n)) else {
            let lsn = from.unwrap_or(Lsn::at(files.segment_bytes + HEADER_BYTES));
            return Err(Error::NotFound {
                lsn,
                what: "no segment holds it".into(),
            });
        };
        let (number, epoch) = (header.number, header.epoch);
        let mut reader = ScanReader {
            files,
            cursor: None,
            epoch,
            from: from.map_or(0, Lsn::get),
            end: None,
        };
        reader.enter(number)?;
        Ok(reader)
    }

    /// The file that is being read.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.cursor
            .as_ref()
            .map_or_else(PathBuf::new, |c| c.path().to_path_buf())
    }

    /// Where and why the scan ended; none while it goes on.
    #[must_use]
    pub fn end(&self) -> Option<&ScanEnd> {
        self.end.as_ref()
    }

    fn enter(&mut self, number: u64) -> Result<()> {
        let seed = frame::seed(&self.files.identity, number);
        let file = self.files.open(number)?;
        self.cursor = Some(Cursor::new(
            file,
            number,
            seed,
            self.files.segment_bytes,
            HEADER_BYTES,
        ));
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<ScanFrame>> {
        while self.end.is_none() {
            let Some(cursor) = &mut self.cursor else {
                return Ok(None);
            };
            match cursor.step()? {
                Step::Frame(here) => {
                    if here.lsn.get() < self.from {
                        continue;
                    }
                    let payload = cursor.payload(&here).to_vec();
                    let durable = match here.head.kind {
                        FrameKind::Watermark => {
                            frame::read_watermark(&payload, cursor.seed).map(|(lsn, _)| lsn)
                        }
                        _ => None,
                    };
                    let frame = Frame {
                        lsn: here.lsn,
                        end: here.end,
                        time: here.head.time,
                        payload,
                        batch: here.head.kind == FrameKind::Batch,
                    };
                    let (segment, offset) = (cursor.number, here.offset);
                    return Ok(Some(ScanFrame {
                        kind: here.head.kind,
                        frame,
                        segment,
                        offset,
                        epoch: self.epoch,
                        durable,
                    }));
                }
                Step::Closed => return self.close().map(Some),
                Step::Bad(fault) => self.end = Some(stopped(cursor, fault.to_string())),
            }
        }
        Ok(None)
    }

    /// The END frame under the cursor; the next step is in the segment that follows.
    fn close(&mut self) -> Result<ScanFrame> {
        let cursor = self
            .cursor
            .as_ref()
            .expect("SCAN-1: a segment is closed under the cursor");
        let (number, lsn) = (cursor.number, cursor.lsn());
        let end = Lsn::at(lsn.get() + frame::END as u64);
        let frame = Frame {
            lsn,
            end,
            time: None,
            payload: Vec::new(),
            batch: false,
        };
        let closed = ScanFrame {
            kind: FrameKind::End,
            frame,
            segment: number,
            offset: cursor.offset,
            epoch: self.epoch,
            durable: None,
        };
        match self
            .files
            .successor(number, lsn.get())
            .map(|h| (h.number, h.epoch))
        {
            Some((next, epoch)) => {
                self.epoch = epoch;
                self.enter(next)?;
            }
            None => {
                self.end = Some(stopped(
                    cursor,
                    "the segment is closed and none follows it".into(),
                ))
            }
        }
        Ok(closed)
    }
}

fn stopped(cursor: &Cursor, reason: String) -> ScanEnd {
    ScanEnd {
        lsn: cursor.lsn(),
        path: cursor.path().to_path_buf(),
        offset: cursor.offset,
        reason,
    }
}

impl Iterator for ScanReader {
    type Item = Result<ScanFrame>;

    fn next(&mut self) -> Option<Result<ScanFrame>> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            self.cursor = None;
        }
        next
    }
}
