//! Signatures first.
use crate::error::Result;
use crate::lsn::Lsn;
use std::path::PathBuf;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A record of the log's user.
    Data,
    /// Says how far the log was durable.
    Watermark,
    /// Fills space.
    Pad,
    /// Closes a segment.
    End,
}

/// One record, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it stands.
    pub lsn: Lsn,
    /// The exclusive end.
    pub end: Lsn,
    /// When it was appended, in microseconds since the Unix epoch, if it is timed.
    pub time: Option<u64>,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Reads records forward.
#[derive(Debug)]
pub struct Reader {
    _x: (),
}
impl Iterator for Reader {
    type Item = Result<Frame>;
    fn next(&mut self) -> Option<Result<Frame>> {
        unimplemented!()
    }
}

/// One frame of any kind, as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanFrame {
    /// Its kind.
    pub kind: FrameKind,
    /// Where it stands, its end, its time, its payload.
    pub frame: Frame,
    /// The number of its segment.
    pub segment: u64,
    /// Its place in the segment's file.
    pub offset: u64,
    /// The epoch of its segment.
    pub epoch: u64,
    /// What a watermark says: everything before this was durable.
    pub durable: Option<Lsn>,
}
/// Reads every frame of a log that nobody has opened.
#[derive(Debug)]
pub struct ScanReader {
    _x: (),
}
impl ScanReader {
    /// The file being read.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        unimplemented!()
    }
}
impl Iterator for ScanReader {
    type Item = Result<ScanFrame>;
    fn next(&mut self) -> Option<Result<ScanFrame>> {
        unimplemented!()
    }
}
