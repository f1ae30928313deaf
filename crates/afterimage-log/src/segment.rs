//! The segment file: its name, its header, how it is made before it is used.
//!
//! A segment is written full of zeroes and synced together with its name before an LSN inside it is handed out, so
//! that the sync of a commit never waits for file-system metadata, and a full disk is met here and nowhere else. The
//! header goes to disk with the segment's first batch: a file whose header does not name its own number is prepared,
//! not used. That is also how recycling works: an old file gets a future number by renaming, and its stale contents
//! cannot validate under the new one. Bytes: `docs/format.md`, "Segments".

use std::path::{Path, PathBuf};

use afterimage_io::planted::{self, Bug};
use afterimage_io::{DurableWrites, File, Io, OpenMode};

use crate::bytes::{get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::error::{Error, Result, is_full};
use crate::frame::{self, crc32c};
use crate::identity::Identity;
use crate::options::{BLOCK, HEADER_BYTES};

const MAGIC: &[u8; 8] = b"AFTRLOG1";
const VERSION: u32 = 1;
/// How much of the first block the header uses; the rest is zero.
pub(crate) const USED: usize = 256;
const CHECKSUM_CRC32C: u32 = 1;

/// The directory of the segments in a database directory.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// The name of a segment file.
pub(crate) fn file_name(ordinal: u32, number: u64) -> String {
    format!("{ordinal:08X}-{number:016X}.log")
}

/// The timeline's ordinal and the segment number in a file name, and whether it is a file on its way to removal.
pub(crate) fn parse_name(name: &str) -> Option<(u32, u64, bool)> {
    let (stem, temporary) = match name.strip_suffix(".log") {
        Some(stem) => (stem, false),
        None => (name.strip_suffix(".tmp")?, true),
    };
    let (ordinal, number) = stem.split_once('-')?;
    let hex = |s: &str, len: usize| {
        s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
    };
    if !hex(ordinal, 8) || !hex(number, 16) {
        return None;
    }
    let (ordinal, number) = (
        u32::from_str_radix(ordinal, 16).ok()?,
        u64::from_str_radix(number, 16).ok()?,
    );
    Some((ordinal, number, temporary))
}

/// What the first 256 bytes of a used segment say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub identity: Identity,
    pub epoch: u64,
    pub number: u64,
    /// The segment before this one, 0 for none, and the LSN at which it ended.
    pub previous: u64,
    pub previous_end: u64,
    pub segment_bytes: u64,
}

/// What stands where a header should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    Good(Header),
    /// No header, a damaged one, or one of another segment, database or timeline: not in use here.
    NotOurs(&'static str),
    /// Intact, and of a format this version does not know.
    Unknown(String),
}

impl Header {
    pub(crate) fn first_lsn(&self) -> u64 {
        self.number * self.segment_bytes + HEADER_BYTES
    }

    /// The header as a whole block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut b = vec![0; HEADER_BYTES as usize];
        b[..8].copy_from_slice(MAGIC);
        put_u32(&mut b, 8, VERSION);
        put_u32(&mut b, 12, USED as u32);
        // 16..32: required and optional features, none yet.
        put_u128(&mut b, 32, self.identity.database_id);
        put_u128(&mut b, 48, self.identity.timeline_id);
        put_u32(&mut b, 64, self.identity.timeline_ordinal);
        put_u32(&mut b, 68, CHECKSUM_CRC32C);
        put_u64(&mut b, 72, self.epoch);
        put_u64(&mut b, 80, self.number);
        put_u64(&mut b, 88, self.first_lsn());
        put_u64(&mut b, 96, self.previous);
        put_u64(&mut b, 104, self.previous_end);
        // 112..140: parent timeline, switch LSN, key id: zero until timelines switch and frames are encrypted.
        put_u32(&mut b, 140, BLOCK as u32);
        put_u64(&mut b, 144, self.segment_bytes);
        let crc = crc32c(&b[..USED - 4]);
        put_u32(&mut b, USED - 4, crc);
        b
    }

    /// Reads the header of the file that bears `number` in the log of `identity`.
    pub(crate) fn decode(
        b: &[u8],
        identity: &Identity,
        number: u64,
        segment_bytes: u64,
    ) -> HeaderFound {
        if b.len() < USED || b[..8] != *MAGIC {
            return HeaderFound::NotOurs("it has no header");
        }
        let used = get_u32(b, 12) as usize;
        if !(20..=b.len()).contains(&used) || get_u32(b, used - 4) != crc32c(&b[..used - 4]) {
            return HeaderFound::NotOurs("its header is damaged");
        }
        let version = get_u32(b, 8);
        if version != VERSION || used != USED {
            return HeaderFound::Unknown(format!("segment format version {version}"));
        }
        if get_u64(b, 80) != number {
            return HeaderFound::NotOurs("its header is of another segment");
        }
        let found = Identity {
            database_id: get_u128(b, 32),
            timeline_id: get_u128(b, 48),
            timeline_ordinal: get_u32(b, 64),
        };
        if found != *identity {
            return HeaderFound::NotOurs("it belongs to another database or timeline");
        }
        if get_u64(b, 16) != 0 || get_u32(b, 68) != CHECKSUM_CRC32C || get_u32(b, 136) != 0 {
            return HeaderFound::Unknown(
                "a required feature, checksum or key of a newer version".into(),
            );
        }
        let header = Header {
            identity: found,
            epoch: get_u64(b, 72),
            number,
            previous: get_u64(b, 96),
            previous_end: get_u64(b, 104),
            segment_bytes: get_u64(b, 144),
        };
        let fits = number
            .checked_mul(segment_bytes)
            .and_then(|n| n.checked_add(segment_bytes))
            .is_some();
        if header.segment_bytes != segment_bytes || !fits || get_u64(b, 88) != header.first_lsn() {
            return HeaderFound::NotOurs("its size or first LSN is not that of this log");
        }
        HeaderFound::Good(header)
    }

    /// Reads the header of an open segment file.
    pub(crate) fn read(
        file: &File,
        identity: &Identity,
        number: u64,
        segment_bytes: u64,
    ) -> Result<HeaderFound> {
        let mut block = vec![0; HEADER_BYTES as usize];
        match file.read_exact_at(0, &mut block) {
            Ok(()) => Ok(Header::decode(&block, identity, number, segment_bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Ok(HeaderFound::NotOurs("it is too short"))
            }
            Err(e) => Err(Error::io("read", file.path(), 0, e)),
        }
    }
}

/// A segment file that is open for writing.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub number: u64,
    pub seed: u64,
    /// The LSN of the file's first byte.
    pub base: u64,
    pub path: PathBuf,
    pub file: File,
}

impl OpenSegment {
    pub(crate) fn new(
        identity: &Identity,
        number: u64,
        segment_bytes: u64,
        path: PathBuf,
        file: File,
    ) -> OpenSegment {
        OpenSegment {
            number,
            seed: frame::seed(identity, number),
            base: number * segment_bytes,
            path,
            file,
        }
    }

    /// The same segment, its durable writes made in this way.
    pub(crate) fn written_by(self, io: &Io, writes: DurableWrites) -> Result<OpenSegment> {
        if writes == DurableWrites::PLAIN {
            return Ok(self);
        }
        let opened = io.open_durable(&self.path, OpenMode::ReadWrite, writes);
        let file = opened.map_err(|e| Error::io("open", &self.path, 0, e))?;
        Ok(OpenSegment { file, ..self })
    }
}

/// Makes a segment file full of zeroes, durable together with its name.
///
/// A file that could not be finished is removed again: its space is needed, and a sync that failed is not retried on it.
pub(crate) fn prepare(io: &Io, path: &Path, segment_bytes: u64) -> Result<File> {
    match fill(io, path, segment_bytes) {
        Ok(file) => Ok(file),
        Err(e) => {
            // Best effort: what remains is found and replaced by the next attempt or the next open.
            let _ = io.remove_file(path);
            Err(e)
        }
    }
}

fn fill(io: &Io, path: &Path, segment_bytes: u64) -> Result<File> {
    let failed = |op: &'static str, e: std::io::Error| {
        if is_full(&e) {
            Error::DiskFull {
                path: path.to_path_buf(),
                needed: segment_bytes,
            }
        } else {
            Error::io(op, path, 0, e)
        }
    };
    if io.exists(path).map_err(|e| failed("look for", e))? {
        io.remove_file(path).map_err(|e| failed("remove", e))?;
    }
    let file = io
        .open(path, OpenMode::CreateNew)
        .map_err(|e| failed("make", e))?;
    if planted::active(Bug::SegmentNotFilled) {
        return file
            .set_len(segment_bytes)
            .map(|()| file)
            .map_err(|e| failed("resize", e));
    }
    file.prefill(0, segment_bytes)
        .map_err(|e| failed("prefill", e))?;
    file.sync_all().map_err(|e| failed("sync", e))?;
    Ok(file)
}

/// Makes the names in the log directory durable.
pub(crate) fn sync_names(io: &Io, dir: &Path) -> Result<()> {
    if planted::active(Bug::SegmentNameNotSynced) {
        return Ok(());
    }
    io.sync_dir(dir)
        .map_err(|e| Error::io("sync directory", dir, 0, e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
