//! What is on its way into a table that is being loaded: rows as bytes, and the files that take those which memory does not
//! hold. Nothing in those files has to survive a crash, so they are never synced.
//!
//! ```text
//! row   large 1 | key length 2 | value length 2 | key | value
//! ```
//!
//! A large value's bytes stand in a file by themselves; in its row stand their offset and length, 8 bytes each, and their
//! checksum. In a file the row's checksum (CRC-32C, 4 bytes) stands before it: a disk that has lost a bit meanwhile must not
//! make a row of it that looks like any other.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;

use afterimage_io::{File, Io, OpenMode};
use crc_fast::{CrcAlgorithm, Digest};

use crate::error::{Error, Result};
use crate::transaction::read_failed;

const HEAD: usize = 5;
const SUM: usize = 4;
/// What stands for a large value in its row.
const PLACE: usize = 16 + SUM;
const CRC: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;
/// Bytes of a large value that are in memory at once.
const PIECE: u64 = 256 << 10;

fn crc32c(bytes: &[u8]) -> u32 {
    // Computed as 64 bits; the upper half is zero.
    crc_fast::checksum(CRC, bytes) as u32
}

/// A value on its way.
pub(super) enum Value<'a> {
    /// It will stand in its row's cell.
    Small(Cow<'a, [u8]>),
    Large {
        len: u64,
        bytes: &'a mut dyn Read,
    },
}

impl<'a> Value<'a> {
    /// The next `len` bytes of `reader`.
    pub(super) fn of(len: u64, reader: &'a mut dyn Read, is_large: bool) -> Result<Value<'a>> {
        if is_large {
            return Ok(Value::Large { len, bytes: reader });
        }
        let mut bytes = vec![0; len as usize];
        reader.read_exact(&mut bytes).map_err(read_failed)?;
        Ok(Value::Small(bytes.into()))
    }
}

/// How many bytes a row takes.
pub(super) fn row_bytes(key: &[u8], value: &[u8]) -> usize {
    HEAD + key.len() + value.len()
}

/// Puts a row behind others. What stands for a large value is its place.
pub(super) fn append_row(out: &mut Vec<u8>, key: &[u8], value: &[u8], large: bool) {
    out.push(u8::from(large));
    // Neither is longer than a quarter of the largest page.
    for len in [key.len(), value.len()] {
        out.extend_from_slice(&(len as u16).to_le_bytes());
    }
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// A row as it stands among others.
pub(super) struct Row<'a> {
    pub(super) key: &'a [u8],
    value: &'a [u8],
    large: bool,
    /// All of it, as [`append_row`] has put it there.
    pub(super) bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// The row that `bytes` begin with; `None`: there are too few of them.
    pub(super) fn first_of(bytes: &'a [u8]) -> Option<Row<'a>> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let len = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let (key, rest) = rest.split_at_checked(len(1))?;
        let value = rest.get(..len(3))?;
        Some(Row {
            key,
            value,
            large: head[0] != 0,
            bytes: &bytes[..row_bytes(key, value)],
        })
    }

    /// Shows the row to `emit`; a large value is read from `values`.
    pub(super) fn emit(&self, values: &Spilled, emit: &mut Emit<'_>) -> Result<()> {
        if !self.large {
            return emit(self.key, Value::Small(self.value.into()));
        }
        let mut bytes = values.value(self.value);
        let len = bytes.left;
        let bytes = &mut bytes;
        emit(self.key, Value::Large { len, bytes })
    }
}

/// Takes rows, in order.
pub(super) type Emit<'e> = dyn FnMut(&[u8], Value<'_>) -> Result<()> + 'e;

/// A file, made when it is first needed.
pub(super) struct Spilled {
    io: Io,
    path: PathBuf,
    file: Option<File>,
    end: u64,
}

impl Spilled {
    pub(super) fn new(io: &Io, path: PathBuf) -> Spilled {
        Spilled {
            io: io.clone(),
            path,
            file: None,
            end: 0,
        }
    }

    /// Makes the file, if there is none.
    pub(super) fn make(&mut self) -> Result<()> {
        if self.file.is_none() {
            let made = self.io.open(&self.path, OpenMode::CreateNew);
            self.file = Some(made.map_err(|e| Error::io(&self.path, "create", &e))?);
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.make()?;
        let file = self.file.as_ref().expect("it has just been made");
        let written = file.write_all_at(self.end, bytes);
        written.map_err(|e| Error::io(&self.path, "write", &e))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Puts a large value into the file. Returns what stands for it in its row.
    pub(super) fn append_value(&mut self, len: u64, bytes: &mut dyn Read) -> Result<[u8; PLACE]> {
        let at = (u128::from(len) << 64 | u128::from(self.end)).to_le_bytes();
        let mut sum = Digest::new(CRC);
        let mut piece = vec![0; len.min(PIECE) as usize];
        let mut left = len;
        while left > 0 {
            let here = &mut piece[..left.min(PIECE) as usize];
            bytes.read_exact(here).map_err(read_failed)?;
            self.append(here)?;
            sum.update(here);
            left -= here.len() as u64;
        }
        let mut place = [0; PLACE];
        place[..16].copy_from_slice(&at);
        place[16..].copy_from_slice(&(sum.finalize() as u32).to_le_bytes());
        Ok(place)
    }

    fn value(&self, place: &[u8]) -> SpilledValue<'_> {
        let (place, sum) = place.split_first_chunk().expect("as written");
        let place = u128::from_le_bytes(*place);
        SpilledValue {
            spilled: self,
            at: place as u64,
            left: (place >> 64) as u64,
            sum: Digest::new(CRC),
            written: u32::from_le_bytes(*sum.first_chunk().expect("as written")),
        }
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.read_exact_at(at, into)
    }

    /// What is in the file is not needed any more. If it cannot be removed, the next open does it.
    pub(super) fn remove(&mut self) {
        self.end = 0;
        if self.file.take().is_some() {
            let _ = self.io.remove_file(&self.path);
        }
    }
}

struct SpilledValue<'s> {
    spilled: &'s Spilled,
    at: u64,
    left: u64,
    /// Of what was read until now.
    sum: Digest,
    /// Of all of it, as it was written.
    written: u32,
}

impl Read for SpilledValue<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.left.min(into.len() as u64);
        let into = &mut into[..count as usize];
        self.spilled.read(self.at, into)?;
        self.at += count;
        self.left -= count;
        self.sum.update(into);
        if self.left == 0 && count > 0 && self.sum.clone().finalize() as u32 != self.written {
            let what = format!(
                "a large value that waits in {} is damaged there",
                self.spilled.path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(count as usize)
    }
}

/// Rows that are written to the end of a file, in pieces.
pub(super) struct Pieces<'s> {
    spilled: &'s mut Spilled,
    piece: Vec<u8>,
}

impl<'s> Pieces<'s> {
    /// `bytes`: how long a piece is.
    pub(super) fn new(spilled: &'s mut Spilled, bytes: usize) -> Pieces<'s> {
        let piece = Vec::with_capacity(bytes);
        Pieces { spilled, piece }
    }

    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<()> {
        if self.piece.len() + SUM + row.bytes.len() > self.piece.capacity() {
            self.spilled.append(&self.piece)?;
            self.piece.clear();
        }
        let sum = crc32c(row.bytes).to_le_bytes();
        self.piece.extend_from_slice(&sum);
        self.piece.extend_from_slice(row.bytes);
        Ok(())
    }

    /// Writes what is left. Returns where the rows end.
    pub(super) fn end(self) -> Result<u64> {
        self.spilled.append(&self.piece)?;
        Ok(self.spilled.end)
    }
}

/// Rows of a file that are in order, read from the first to the last.
pub(super) struct Run {
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    from: usize,
    /// Where the row's key stands in the buffer; `None`: there are no more rows.
    key: Option<Range<usize>>,
}

impl Run {
    /// The rows that stand from `at` on, up to `end`.
    pub(super) fn new(at: u64, end: u64) -> Run {
        Run {
            at,
            end,
            buffer: Vec::new(),
            from: 0,
            key: None,
        }
    }

    pub(super) fn row(&self) -> Option<Row<'_>> {
        Row::first_of(self.buffer.get(self.from + SUM..)?)
    }

    /// Begins to read, `bytes` at a time.
    pub(super) fn begin(&mut self, spilled: &Spilled, bytes: usize) -> Result<()> {
        self.buffer = Vec::with_capacity(bytes);
        self.fill(spilled)?;
        self.check(spilled)
    }

    /// Goes on to the next row, if there is one.
    pub(super) fn next(&mut self, spilled: &Spilled) -> Result<()> {
        self.from += self.row().map_or(0, |row| SUM + row.bytes.len());
        if self.row().is_none() && self.at < self.end {
            self.fill(spilled)?;
        }
        self.check(spilled)
    }

    /// The row that stands here is the one that was written; or there are no more.
    fn check(&mut self, spilled: &Spilled) -> Result<()> {
        let rest = &self.buffer[self.from..];
        let sound = self
            .row()
            .filter(|row| rest[..SUM] == crc32c(row.bytes).to_le_bytes());
        if sound.is_some() || rest.is_empty() {
            let key = self.from + SUM + HEAD;
            self.key = sound.map(|row| key..key + row.key.len());
            return Ok(());
        }
        let place = format!(
            "{} at byte {}",
            spilled.path.display(),
            self.at - rest.len() as u64
        );
        Err(Error::Corruption {
            place,
            what: "a row on its way into a table is not as it was written".to_owned(),
            advice: "load the table again, and have a look at the disk".to_owned(),
        })
    }

    fn fill(&mut self, spilled: &Spilled) -> Result<()> {
        self.buffer.drain(..self.from);
        self.from = 0;
        let (kept, left) = (self.buffer.len(), self.end - self.at);
        let more = left.min((self.buffer.capacity() - kept) as u64);
        self.buffer.resize(kept + more as usize, 0);
        let read = spilled.read(self.at, &mut self.buffer[kept..]);
        read.map_err(|e| Error::io(&spilled.path, "read", &e))?;
        self.at += more;
        Ok(())
    }

    /// By their keys; a run without rows comes last.
    pub(super) fn order(&self, other: &Run) -> Ordering {
        match (&self.key, &other.key) {
            (Some(one), Some(two)) => self.buffer[one.clone()].cmp(&other.buffer[two.clone()]),
            (one, two) => one.is_none().cmp(&two.is_none()),
        }
    }
}
