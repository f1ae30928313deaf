//! Everything that blocks. Each primitive is made from an [`Io`](crate::Io) and behaves as that world does: in the
//! real world it is the standard library's with one predictable branch in front; in a simulation it asks the
//! scheduler, so that a seed decides who runs. None of them poisons: a panic while a lock is held is the owner's to
//! remember. With `--cfg loom` or `--cfg shuttle` the real forms are those model checkers' own.

mod condvar;
mod gate;
mod mutex;
mod primitives;
mod rwlock;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod wait_word;

pub use condvar::Condvar;
pub use mutex::{Mutex, MutexGuard};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use wait_word::WaitWord;

/// Atomics, from the standard library or from the model checker the build is for. No scheduler looks at them: a loop
/// that waits for one to change must call [`Io::yield_now`](crate::Io::yield_now).
pub mod atomic {
    pub use super::primitives::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}
