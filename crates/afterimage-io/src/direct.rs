//! Writes that pass the page cache by: the flags, and the memory they want.
//!
//! A direct write takes its bytes straight from memory, which must begin on a block boundary; so bytes that do not are
//! copied into memory that does. That copy is what direct input and output costs here.

use std::fs;
use std::io::{Error, ErrorKind, Result};

use crate::sync_method::{DurableWrites, SyncMethod};

/// What offset, length and memory of a direct write are multiples of.
pub(crate) const ALIGNMENT: usize = 4096;

/// Opens for writing in this way a file that exists.
#[cfg(target_os = "linux")]
pub(crate) fn open(path: &std::path::Path, how: DurableWrites) -> Result<fs::File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;

    let mut flags = match how.method {
        SyncMethod::OpenDatasync => OFlags::DSYNC,
        SyncMethod::OpenSync => OFlags::SYNC,
        SyncMethod::Fdatasync | SyncMethod::Fsync => OFlags::empty(),
    };
    if how.direct {
        flags |= OFlags::DIRECT;
    }
    let opened = fs::OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    opened.map_err(|e| match e.kind() {
        ErrorKind::InvalidInput if how.direct => {
            unsupported("this file system has no direct input and output")
        }
        _ => e,
    })
}

/// Opens for writing in this way a file that exists.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open(path: &std::path::Path, how: DurableWrites) -> Result<fs::File> {
    if how.direct || how.method.by_write() {
        return Err(unsupported("this system is given only fdatasync and fsync"));
    }
    fs::OpenOptions::new().write(true).open(path)
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, what)
}

/// Refuses what the system would refuse with fewer words.
pub(crate) fn check_aligned(offset: u64, len: usize) -> Result<()> {
    if offset.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT) {
        return Ok(());
    }
    let what = format!(
        "a direct write of {len} bytes at {offset} is not one of whole blocks of {ALIGNMENT}"
    );
    Err(Error::new(ErrorKind::InvalidInput, what))
}

/// Calls `write` with the same bytes in memory that begins on a block boundary.
pub(crate) fn aligned<T>(bytes: &[u8], write: impl FnOnce(&[u8]) -> T) -> T {
    if (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
        return write(bytes);
    }
    let mut memory = vec![0; bytes.len() + ALIGNMENT];
    let from = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let place = &mut memory[from..from + bytes.len()];
    place.copy_from_slice(bytes);
    write(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_holds_the_same() {
        let bytes: Vec<u8> = (0..9000u32).map(|n| n as u8).collect();
        for from in [0, 1, 7, 100] {
            aligned(&bytes[from..], |same| {
                assert_eq!(same, &bytes[from..]);
                assert!((same.as_ptr() as usize).is_multiple_of(ALIGNMENT));
            });
        }
    }

    #[test]
    fn whole_blocks_only() {
        assert!(check_aligned(8192, 4096).is_ok());
        assert!(check_aligned(1, 4096).is_err());
        assert!(check_aligned(4096, 100).is_err());
    }
}
