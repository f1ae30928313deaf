//! The lock that says "one process at a time": what an attempt came to, and the guard that holds it.

use std::fmt;

/// What an attempt to take a lock file came to.
#[derive(Debug)]
pub enum LockAttempt {
    /// The lock is ours until the guard is dropped.
    Acquired(LockFile),
    /// Somebody holds it.
    Held {
        /// The holder's process id, where it could be read.
        pid: Option<u32>,
    },
}

/// A held lock; dropping it lets go.
pub struct LockFile {
    // Held only for its end: closing the file, or dropping the simulated claim, is what releases the lock.
    _holder: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl LockFile {
    pub(crate) fn new(holder: Option<Box<dyn std::any::Any + Send + Sync>>) -> LockFile {
        LockFile { _holder: holder }
    }
}

impl fmt::Debug for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockFile")
    }
}

/// The process id that a lock file's content names.
pub(crate) fn parse_pid(content: &[u8]) -> Option<u32> {
    std::str::from_utf8(content).ok()?.trim().parse().ok()
}
