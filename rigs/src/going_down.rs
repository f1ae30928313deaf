//! The one system call that the standard library does not have: a file system is told that its disk is gone (EXT4_IOC_SHUTDOWN,
//! XFS_IOC_GOINGDOWN: one number). The one file of the rigs with `unsafe`.

#![allow(unsafe_code)]

use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;

/// What the file system does with its journal before it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Writes everything out: a power cut at a quiet moment.
    All = 0,
    /// Writes its journal, and no data.
    Journal = 1,
    /// Nothing: what was not synced is gone.
    Nothing = 2,
}

/// The file system that holds `file` goes down: from now on every call on it answers EIO, until it is mounted again.
///
/// # Errors
/// When it does not know the call, or we are not root.
pub fn go_down(file: &File, flush: Flush) -> std::io::Result<()> {
    const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    // SAFETY: the call of this number reads one u32 through the pointer it is given, and nothing else; `Setter` points to one
    // that lives until the call has returned.
    let done = unsafe { ioctl(file, Setter::<SHUTDOWN, u32>::new(flush as u32)) };
    Ok(done?)
}
