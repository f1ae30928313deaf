#![doc = include_str!("../README.md")]

mod atomic;
mod direct;
mod file;
mod io;
mod lock;
mod mode;
mod os;
mod os_thread;
mod overlay;
mod panicked;
pub mod planted;
pub mod sim;
pub mod sync;
mod sync_method;
mod thread;

pub use file::File;
pub use io::Io;
pub use lock::{LockAttempt, LockFile};
pub use mode::OpenMode;
pub use panicked::{Panicked, is_unwinding};
pub use sim::Note;
pub use sync_method::{DurableWrites, SyncMethod};
pub use thread::JoinHandle;

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
