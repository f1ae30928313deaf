//! Signatures first.
use crate::lsn::Lsn;
use crate::tail::Tail;
use std::path::PathBuf;

/// One segment of the log, as found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The segment's number.
    pub number: u64,
    /// The epoch it was begun in.
    pub epoch: u64,
    /// The position of its first frame.
    pub first: Lsn,
    /// The exclusive end of its last frame (END not counted).
    pub end: Lsn,
    /// The file.
    pub path: PathBuf,
}

/// The result of a read-only look at a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The exclusive end of the log: the first position that holds no whole record.
    pub end: Lsn,
    /// The highest position that is proven to have been durable.
    pub watermark: Lsn,
    /// How the log ends.
    pub verdict: Tail,
    /// The segments that hold log, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Data frames seen from where the look began.
    pub records: u64,
    /// The last time in the log, in microseconds since the Unix epoch; 0 if none was seen.
    pub last_time: u64,
}
