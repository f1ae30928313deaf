//! Writes that are never torn: which sizes a file's system, file system and device promise, and the write that asks for it.
//!
//! Linux alone tells (`statx` with `STATX_WRITE_ATOMIC`) and does it (`pwritev2` with `RWF_ATOMIC`), past the page cache only. It drops
//! what the page cache has of the range before and after, so that other descriptions of the file read what was written. Such a write is at
//! the device when it returns, so several are made side by side, or each would wait for the one before it.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::ops::RangeInclusive;
use std::path::Path;

#[cfg(target_os = "linux")]
use crate::direct;
use crate::os_thread;
#[cfg(target_os = "linux")]
use crate::sync_method::{DurableWrites, SyncMethod};

#[cfg(target_os = "linux")]
const PAST_THE_CACHE: DurableWrites = DurableWrites {
    method: SyncMethod::Fdatasync,
    direct: true,
};

/// So many writes are with the device at a time.
const SIDE_BY_SIDE: usize = 8;
/// A thread is started for no fewer than so many.
const EACH: usize = 4;

/// A description of a file for such writes.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "never made"))]
pub(crate) struct AtomicFile {
    file: fs::File,
    sizes: RangeInclusive<usize>,
}

/// Refuses what no disk with these sizes promises to do whole.
pub(crate) fn require(
    sizes: Option<&RangeInclusive<usize>>,
    offset: u64,
    len: usize,
) -> Result<()> {
    let Some(sizes) = sizes else {
        return Err(refused("this file is given no atomic writes".to_owned()));
    };
    let fits = sizes.contains(&len) && len.is_power_of_two() && offset.is_multiple_of(len as u64);
    if fits {
        return Ok(());
    }
    let (least, most) = (sizes.start(), sizes.end());
    Err(refused(format!(
        "an atomic write of {len} bytes at {offset}: it has to be a power of two from {least} to {most}, at a multiple of its size"
    )))
}

/// As [`require`], for every one of these.
pub(crate) fn require_all(
    sizes: Option<&RangeInclusive<usize>>,
    writes: &[(u64, &[u8])],
) -> Result<()> {
    let mut writes = writes.iter();
    writes.try_for_each(|(offset, buf)| require(sizes, *offset, buf.len()))
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::Unsupported, what)
}

impl AtomicFile {
    /// The sizes of writes that are never torn.
    pub(crate) fn sizes(&self) -> RangeInclusive<usize> {
        self.sizes.clone()
    }

    /// As [`File::write_atomic`](crate::File::write_atomic).
    pub(crate) fn write(&self, writes: &[(u64, &[u8])]) -> Result<()> {
        let threads = (writes.len() / EACH).clamp(1, SIDE_BY_SIDE);
        os_thread::side_by_side(threads, |n| {
            let mut own = writes.iter().skip(n).step_by(threads);
            own.try_for_each(|(offset, buf)| self.write_at(*offset, buf))
        })
    }
}

#[cfg(target_os = "linux")]
impl AtomicFile {
    /// Another description of the file at `path`, which is open as `file`; `None` where nothing is promised of it.
    pub(crate) fn open(path: &Path, file: &fs::File) -> Option<AtomicFile> {
        let sizes = promised(file)?;
        let file = direct::open(path, PAST_THE_CACHE).ok()?;
        Some(AtomicFile { file, sizes })
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        require(Some(&self.sizes), offset, buf.len())?;
        direct::aligned(buf, |buf| write(&self.file, offset, buf))
    }
}

/// What the system says of a file. It knows two upper bounds where the file system can do more than the device: what is beyond the lower
/// one is written elsewhere and put in place, which takes longer than two plain writes.
#[cfg(target_os = "linux")]
fn promised(file: &fs::File) -> Option<RangeInclusive<usize>> {
    use rustix::fs::{AtFlags, StatxFlags, statx};

    // Linux 6.11; the library has no name for it.
    const STATX_WRITE_ATOMIC: u32 = 0x0001_0000;
    let wanted = StatxFlags::from_bits_retain(STATX_WRITE_ATOMIC);
    let told = statx(file, "", AtFlags::EMPTY_PATH, wanted).ok()?;
    let (least, most) = (
        told.stx_atomic_write_unit_min as usize,
        match told.stx_atomic_write_unit_max_opt {
            0 => told.stx_atomic_write_unit_max,
            by_the_device => by_the_device,
        } as usize,
    );
    let promised = told.stx_mask & STATX_WRITE_ATOMIC != 0 && 0 < least && least <= most;
    promised.then_some(least..=most)
}

#[cfg(target_os = "linux")]
fn write(file: &fs::File, offset: u64, buf: &[u8]) -> Result<()> {
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};

    // Linux 6.11; the library has no name for it.
    const RWF_ATOMIC: u32 = 0x0000_0040;
    let flags = ReadWriteFlags::from_bits_retain(RWF_ATOMIC);
    let written = loop {
        match pwritev2(file, &[std::io::IoSlice::new(buf)], offset, flags) {
            Err(Errno::INTR) => {}
            end => break end,
        }
    };
    match written {
        Ok(written) if written == buf.len() => Ok(()),
        Ok(written) => Err(Error::new(
            ErrorKind::WriteZero,
            format!(
                "of an atomic write of {} bytes {written} were written",
                buf.len()
            ),
        )),
        Err(error @ (Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)) => Err(refused(format!(
            "the system refuses an atomic write: {error}"
        ))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
impl AtomicFile {
    /// Nothing is promised.
    pub(crate) fn open(_: &Path, _: &fs::File) -> Option<AtomicFile> {
        None
    }

    /// Nobody gets here.
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        require(None, offset, buf.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_at_their_own_multiples() {
        let sizes = 4096..=16384;
        assert!(require(Some(&sizes), 24576, 8192).is_ok());
        for (offset, len) in [(4096, 8192), (0, 2048), (0, 32768), (0, 12288)] {
            let error = require(Some(&sizes), offset, len).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
        assert!(require(None, 0, 4096).is_err());
    }

    /// Where nothing is promised, the write that asks for it all the same is refused, in words, and changes nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_refuses_is_told_apart_and_not_done() {
        let path = std::env::temp_dir().join(format!("afterimage-atomic-{}", std::process::id()));
        fs::write(&path, [7; 8192]).expect("written");
        let mut options = fs::OpenOptions::new();
        let plain = options.read(true).write(true).open(&path).expect("opens");
        let unpromised = promised(&plain).is_none();
        let by_the_cache = Some(plain);
        let past_the_cache = direct::open(&path, PAST_THE_CACHE).ok();
        for file in [by_the_cache, past_the_cache].into_iter().flatten() {
            if unpromised {
                let error = direct::aligned(&[9; 4096], |buf| write(&file, 0, buf));
                let error = error.expect_err("nothing is promised");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert_eq!(fs::read(&path).expect("read"), [7; 8192]);
            }
        }
        fs::remove_file(&path).expect("removed");
    }
}
