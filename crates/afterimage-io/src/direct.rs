//! Writes that pass the page cache by: the flags, and the memory they want.
//!
//! A direct write takes its bytes straight from memory, which must begin on a block boundary; so bytes that do not are
//! copied into memory that does. That copy is what direct input and output costs here.

use std::fs;
use std::io::{Error, ErrorKind, Result};

use crate::sync_method::{DurableWrites, SyncMethod};

/// What the memory of a direct write is a multiple of, and its offset and length where nothing finer is offered.
pub(crate) const ALIGNMENT: usize = 4096;
/// What every disk counts in. None offers less.
pub(crate) const SECTOR: usize = 512;

/// What offset and length of direct writes to this file are multiples of: the sectors of its disk, where the system says how large they are.
#[cfg(target_os = "linux")]
pub(crate) fn block(file: &fs::File) -> usize {
    use rustix::fs::{AtFlags, StatxFlags, statx};

    // Linux 6.1; before, and where the file system does not know, it says nothing.
    let told = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    told.map_or(0, |told| told.stx_dio_offset_align as usize)
        .checked_next_power_of_two()
        .filter(|block| (SECTOR..ALIGNMENT).contains(block))
        .unwrap_or(ALIGNMENT)
}

/// What offset and length of direct writes to this file are multiples of.
#[cfg(not(target_os = "linux"))]
pub(crate) fn block(_: &fs::File) -> usize {
    ALIGNMENT
}

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
pub(crate) fn check_aligned(offset: u64, len: usize, block: usize) -> Result<()> {
    if offset.is_multiple_of(block as u64) && len.is_multiple_of(block) {
        return Ok(());
    }
    let what =
        format!("a direct write of {len} bytes at {offset} is not one of whole blocks of {block}");
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
        assert!(check_aligned(8192, 4096, 4096).is_ok());
        assert!(check_aligned(1, 4096, 4096).is_err());
        assert!(check_aligned(4096, 100, 4096).is_err());
        assert!(check_aligned(512, 4096, 4096).is_err());
        assert!(check_aligned(512, 1024, 512).is_ok());
        assert!(check_aligned(512, 1000, 512).is_err());
    }
}
