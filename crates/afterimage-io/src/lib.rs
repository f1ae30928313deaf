#![doc = include_str!("../README.md")]

mod file;
mod io;
mod lock;
mod os;
mod overlay;
pub mod planted;
pub mod sim;
pub mod sync;
mod thread;

pub use file::File;
pub use io::{Io, OpenMode};
pub use lock::{LockAttempt, LockFile};
pub use sim::observer::Note;
pub use thread::{JoinHandle, Panicked, is_unwinding};

/// What one step of background work came to.
///
/// Background work is written as step functions: on threads in production, one step at a time in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// There was nothing to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
}
