//! What lies in the log directory: which files there are, which of them hold log, and which follows which.
//!
//! A segment's successor is the one whose header names it as previous, with the exact LSN at which it ended; of
//! several the one of the highest epoch, because an older one is what a cut left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use afterimage_io::{File, Io, OpenMode};

use crate::control::Control;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::lsn::Lsn;
use crate::segment::{Header, HeaderFound, file_name, log_dir, parse_name};

/// One file with a segment's name.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    /// Its header, where that is intact and its own.
    pub header: Option<Header>,
    /// Where it is not: why.
    pub why_not: &'static str,
}

/// One segment of a log, as found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The segment's number.
    pub number: u64,
    /// The epoch it was begun in.
    pub epoch: u64,
    /// The position of its first frame.
    pub first: Lsn,
    /// The exclusive end of its last frame, END not counted.
    pub end: Lsn,
    /// The file.
    pub path: PathBuf,
}

/// The files of a log.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub io: Io,
    /// The directory with the segments.
    pub dir: PathBuf,
    pub identity: Identity,
    pub segment_bytes: u64,
    /// The segments of this timeline by number.
    pub segments: BTreeMap<u64, SegmentFile>,
    /// Files that an interrupted recovery left: their names end in `.tmp`.
    pub temporary: Vec<String>,
    /// The highest segment number that any file bears, of whatever timeline; 0 for none.
    pub highest: u64,
}

impl Files {
    /// Lists the directory and reads every header.
    pub(crate) fn read(io: &Io, dir: &Path, control: &Control) -> Result<Files> {
        let (identity, segment_bytes) = (control.identity, control.segment_bytes);
        let mut files = Files {
            io: io.clone(),
            dir: log_dir(dir),
            identity,
            segment_bytes,
            segments: BTreeMap::new(),
            temporary: Vec::new(),
            highest: 0,
        };
        for name in io
            .list_dir(&files.dir)
            .map_err(|e| Error::io("list", &files.dir, 0, e))?
        {
            let parsed = parse_name(&name);
            if let Some((_, number, _)) = parsed {
                // Room for a few thousand segments more must remain, or positions would run over.
                if number >= u64::MAX / segment_bytes - 4096 {
                    let what = "its segment number is beyond the end of the log".into();
                    return Err(Error::Unsupported {
                        path: files.dir.join(name),
                        what,
                    });
                }
                files.highest = files.highest.max(number);
            }
            match parsed {
                Some((ordinal, number, false))
                    if ordinal == identity.timeline_ordinal && number > 0 =>
                {
                    let file = files.look_at(number)?;
                    files.segments.insert(number, file);
                }
                _ if name.ends_with(".tmp") => files.temporary.push(name),
                _ => {}
            }
        }
        Ok(files)
    }

    fn look_at(&self, number: u64) -> Result<SegmentFile> {
        let file = self.open(number)?;
        match Header::read(&file, &self.identity, number, self.segment_bytes)? {
            HeaderFound::Good(header) => Ok(SegmentFile {
                header: Some(header),
                why_not: "",
            }),
            HeaderFound::NotOurs(why_not) => Ok(SegmentFile {
                header: None,
                why_not,
            }),
            HeaderFound::Unknown(what) => Err(Error::Unsupported {
                path: self.path(number),
                what,
            }),
        }
    }

    /// Where the segment of this number is, or would be.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir
            .join(file_name(self.identity.timeline_ordinal, number))
    }

    /// Opens a segment for reading.
    pub(crate) fn open(&self, number: u64) -> Result<File> {
        let path = self.path(number);
        self.io
            .open(&path, OpenMode::Read)
            .map_err(|e| Error::io("open", &path, 0, e))
    }

    /// The header of a segment that holds log.
    pub(crate) fn header(&self, number: u64) -> Option<&Header> {
        self.segments.get(&number)?.header.as_ref()
    }

    /// The segment that follows `number`, which ended at `end`.
    pub(crate) fn successor(&self, number: u64, end: u64) -> Option<&Header> {
        let later = self
            .segments
            .range(number + 1..)
            .filter_map(|(_, f)| f.header.as_ref());
        later
            .filter(|h| h.previous == number && h.previous_end == end)
            .max_by_key(|h| (h.epoch, h.number))
    }
}

/// The refusal of a segment whose header, at the file's first byte, is damaged.
pub(crate) fn unusable(files: &Files, at: Lsn, why: &str) -> Error {
    let mut error = damage(files, at, format!("the segment cannot be used: {why}"));
    if let Error::Corruption { offset, .. } = &mut error {
        *offset = 0;
    }
    error
}

/// The refusal, with the place and what can be done.
pub(crate) fn damage(files: &Files, at: Lsn, what: String) -> Error {
    let (number, offset) = (
        at.get() / files.segment_bytes,
        at.get() % files.segment_bytes,
    );
    Error::Corruption {
        lsn: at,
        path: files.path(number),
        offset,
        what,
        advice: format!(
            "Nothing was changed. Put segment {number} back from an archive, a backup or a standby and open again; \
             keep a copy of the damaged file, it is evidence."
        ),
    }
}
