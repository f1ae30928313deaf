//! `File`: positioned reads and writes and the syncs, over an open file of any world. The retry rules are here, once:
//! short reads and writes and `Interrupted` are tried again, everything else is the caller's to judge. A failed sync
//! is never retried (the next one may say OK and mean nothing).

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic;
use crate::direct;
use crate::os::OsFile;
use crate::overlay::OverlayFile;
use crate::sim::SimFile;

/// Zeroes are written in pieces of this size where the world has no shorter way.
const PREFILL_BYTES: usize = 256 * 1024;

/// An open file. Cloning gives another handle on the same open file; it has no position.
#[derive(Clone)]
pub struct File {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    kind: Kind,
    /// What its durable writes have to be whole multiples of; none where anything goes.
    direct: Option<usize>,
}

enum Kind {
    Os(OsFile),
    Overlay(OverlayFile),
    Sim(SimFile),
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.inner.path.display())
    }
}

impl File {
    pub(crate) fn os(file: OsFile, path: &Path) -> File {
        File::of(Kind::Os(file), path)
    }

    pub(crate) fn overlay(file: OverlayFile, path: &Path) -> File {
        File::of(Kind::Overlay(file), path)
    }

    pub(crate) fn simulated(file: SimFile, path: &Path) -> File {
        File::of(Kind::Sim(file), path)
    }

    fn of(kind: Kind, path: &Path) -> File {
        let path = path.to_owned();
        File {
            inner: Arc::new(Inner {
                path,
                kind,
                direct: None,
            }),
        }
    }

    /// The same file, just opened and not yet shared, whose durable writes are whole blocks of this size.
    pub(crate) fn by_blocks(self, block: usize) -> File {
        let inner = Arc::into_inner(self.inner).expect("nobody else has it yet");
        let direct = Some(block);
        File {
            inner: Arc::new(Inner { direct, ..inner }),
        }
    }

    /// The path this file was opened by: for messages, since the file may have another name by now.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Reads once at `offset`, perhaps fewer bytes than asked for; 0 at and beyond the end.
    ///
    /// # Errors
    /// What the world says, `Interrupted` included.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        match &self.inner.kind {
            Kind::Os(file) => file.read_at(offset, buf),
            Kind::Overlay(file) => file.read_at(offset, buf),
            Kind::Sim(file) => file.read_at(offset, buf),
        }
    }

    /// Says that `len` bytes from `offset` on will be read soon, so that the system can begin to fetch them. Promises nothing, and
    /// cannot fail.
    pub fn will_read(&self, offset: u64, len: u64) {
        if let Kind::Os(file) = &self.inner.kind {
            file.will_read(offset, len);
        }
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; the buffer may then be partly filled.
    pub fn read_exact_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        while !buf.is_empty() {
            match self.read_at(offset, buf) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buf = &mut buf[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `buf` at `offset`, growing the file if need be. Not durable before [`File::sync`].
    ///
    /// # Errors
    /// What the world says; any part of the range may then have been written.
    pub fn write_all_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.write_all(offset, buf, Durability::AtSync)
    }

    /// Bytes that durable writes do well to be whole multiples of, and to begin at multiples of: where they pass the page cache by, they
    /// must be, and it is what the disk's sectors are, 512 to 4096; elsewhere it is a page of the page cache, 4096.
    pub fn block(&self) -> u64 {
        self.inner.direct.unwrap_or(direct::ALIGNMENT) as u64
    }

    /// Writes all of `buf` at `offset` and returns when this range is durable.
    ///
    /// Promises nothing about bytes outside the range, as a write with `O_DSYNC` promises nothing: earlier writes to
    /// this file may still be lost. How it is done was said when the file was opened
    /// ([`Io::open_durable`](crate::Io::open_durable)).
    ///
    /// # Errors
    /// What the world says. The range may be written, written in part, or not; nothing of it may be relied on. `InvalidInput`, and nothing is
    /// written, where the writes pass the page cache by and this is not one of whole [blocks](File::block).
    pub fn write_all_at_durably(&self, offset: u64, buf: &[u8]) -> Result<()> {
        if let Some(block) = self.inner.direct {
            direct::check_aligned(offset, buf.len(), block)?;
        }
        match &self.inner.kind {
            Kind::Os(file) => file.write_durably(offset, buf),
            Kind::Overlay(_) | Kind::Sim(_) => self.write_all(offset, buf, Durability::AtOnce),
        }
    }

    /// The sizes of the writes that a power cut leaves whole or undone, and never in part: powers of two from the first to the last of these, each
    /// at a multiple of itself. `None` where nothing is promised: the file was not opened by
    /// [`Io::open_atomic`](crate::Io::open_atomic), or the system, the file system or the device does not say so.
    pub fn atomic_sizes(&self) -> Option<RangeInclusive<usize>> {
        match &self.inner.kind {
            Kind::Os(file) => file.atomic_sizes(),
            Kind::Overlay(_) => None,
            Kind::Sim(file) => file.atomic_sizes(),
        }
    }

    /// Writes each of these at its offset so that none is ever torn; where the disk is a real one, several at a time. Not durable before
    /// [`File::sync`]: until then each may be lost, in any order.
    ///
    /// # Errors
    /// `Unsupported` where no write of such a size is given, or not any more (the device may be another one by now): asking again is in
    /// vain. `WouldBlock` where the page cache was in the way. Whatever else the world says. Each of the ranges then holds its old bytes or
    /// its new ones.
    pub fn write_atomic(&self, writes: &[(u64, &[u8])]) -> Result<()> {
        match &self.inner.kind {
            Kind::Os(file) => file.write_atomic(writes),
            Kind::Overlay(_) => atomic::require_all(None, writes),
            Kind::Sim(file) => {
                let mut writes = writes.iter();
                writes.try_for_each(|(offset, buf)| retry(|| file.write_atomic_at(*offset, buf)))
            }
        }
    }

    /// Makes durable every write to this file, and its length, that came before the call (`fdatasync`). The file's
    /// *name* needs [`Io::sync_dir`](crate::Io::sync_dir).
    ///
    /// # Errors
    /// After an error nothing is known about the bytes not yet synced, and a later sync that says OK proves nothing
    /// about them: stop writing and reopen.
    pub fn sync(&self) -> Result<()> {
        match &self.inner.kind {
            Kind::Os(file) => file.sync_data(),
            Kind::Overlay(_) => Ok(()),
            Kind::Sim(file) => file.sync(),
        }
    }

    /// As [`File::sync`], and the file's times and mode too (`fsync`).
    ///
    /// # Errors
    /// As [`File::sync`].
    pub fn sync_all(&self) -> Result<()> {
        match &self.inner.kind {
            Kind::Os(file) => file.sync_all(),
            Kind::Overlay(_) => Ok(()),
            Kind::Sim(file) => file.sync(),
        }
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the world says.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a file's length is a question to the system that can fail"
    )]
    pub fn len(&self) -> Result<u64> {
        match &self.inner.kind {
            Kind::Os(file) => file.len(),
            Kind::Overlay(file) => Ok(file.len()),
            Kind::Sim(file) => file.len(),
        }
    }

    /// Cuts the file to `len` bytes, or grows it with zeroes that take no space yet. Durable after [`File::sync`].
    ///
    /// # Errors
    /// What the world says.
    pub fn set_len(&self, len: u64) -> Result<()> {
        match &self.inner.kind {
            Kind::Os(file) => file.set_len(len),
            Kind::Overlay(file) => file.set_len(len),
            Kind::Sim(file) => file.set_len(len),
        }
    }

    /// Writes zeroes over `from..to`, so that later writes there need neither space nor metadata.
    ///
    /// # Errors
    /// `StorageFull` if there is no room; part of the range may then have been written.
    pub fn prefill(&self, from: u64, to: u64) -> Result<()> {
        if let Kind::Sim(file) = &self.inner.kind {
            return retry(|| file.prefill(from, to));
        }
        let zeroes = vec![0; PREFILL_BYTES];
        let mut at = from;
        while at < to {
            let piece =
                usize::try_from(to - at).map_or(PREFILL_BYTES, |left| left.min(PREFILL_BYTES));
            self.write_all_at(at, &zeroes[..piece])?;
            at += piece as u64;
        }
        Ok(())
    }

    fn write_all(&self, mut offset: u64, mut buf: &[u8], durable: Durability) -> Result<()> {
        while !buf.is_empty() {
            match self.write_once(offset, buf, durable) {
                Ok(0) => {
                    return Err(Error::new(
                        ErrorKind::WriteZero,
                        "the file takes no more bytes",
                    ));
                }
                Ok(written) => {
                    buf = &buf[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_once(&self, offset: u64, buf: &[u8], durable: Durability) -> Result<usize> {
        match &self.inner.kind {
            Kind::Os(file) => file.write_at(offset, buf),
            Kind::Overlay(file) => file.write_at(offset, buf),
            Kind::Sim(file) => file.write_at(offset, buf, durable == Durability::AtOnce),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    AtSync,
    AtOnce,
}

fn retry(mut call: impl FnMut() -> Result<()>) -> Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
