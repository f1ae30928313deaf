//! `WaitWord`: a number to wait on (a futex). One system call wakes a whole flush group, and nobody needs a mutex.

use std::fmt;

use super::gate::Gate;
use super::primitives::atomic::Ordering;
use crate::io::Io;

/// A counter that threads wait on until it changes. It wraps around after 2^32 wake-ups.
///
/// The waiter's protocol: [`load`](WaitWord::load), look whether there is anything to wait for, then
/// [`wait`](WaitWord::wait) for that value to change. The waker's: make it so, then wake. Whatever the waker wrote
/// before is visible to who saw the new value.
///
/// ```
/// use afterimage_io::{Io, sync::WaitWord};
///
/// let word = WaitWord::new(&Io::os());
/// let before = word.load();
/// word.wake_all();
/// word.wait(before); // returns at once: the word has moved on
/// ```
pub struct WaitWord {
    gate: Gate,
    word: Word,
}

impl WaitWord {
    /// A word in the world of `io`, at 0.
    pub fn new(io: &Io) -> WaitWord {
        WaitWord {
            gate: Gate::new(io),
            word: Word::new(),
        }
    }

    /// The word now.
    #[inline]
    pub fn load(&self) -> u32 {
        self.word.load()
    }

    /// Waits while the word is `expected`. Returns at once if it is not, and may return while it still is.
    ///
    /// # Panics
    /// "simulated deadlock" in a simulation without threads: nobody could change it.
    pub fn wait(&self, expected: u32) {
        match self.gate.simulated() {
            None => self.word.wait(expected),
            Some(simulated) => {
                simulated.world.yield_point();
                if self.load() == expected {
                    simulated.world.block("wait word", simulated.id, None);
                }
            }
        }
    }

    /// Adds one and wakes all who wait.
    pub fn wake_all(&self) {
        self.word.add_one();
        match self.gate.simulated() {
            None => self.word.wake_all(),
            Some(simulated) => simulated.world.wake_all(simulated.id),
        }
    }

    /// Adds one and wakes one of those who wait.
    pub fn wake_one(&self) {
        self.word.add_one();
        match self.gate.simulated() {
            None => self.word.wake_one(),
            Some(simulated) => simulated.world.wake_one(simulated.id),
        }
    }
}

impl fmt::Debug for WaitWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitWord")
    }
}

/// The real form: a futex on the systems that have one.
#[cfg(not(any(loom, shuttle)))]
struct Word(std::sync::atomic::AtomicU32);

#[cfg(not(any(loom, shuttle)))]
impl Word {
    fn new() -> Word {
        Word(std::sync::atomic::AtomicU32::new(0))
    }

    fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn wait(&self, expected: u32) {
        atomic_wait::wait(&self.0, expected);
    }

    fn wake_all(&self) {
        atomic_wait::wake_all(&self.0);
    }

    fn wake_one(&self) {
        atomic_wait::wake_one(&self.0);
    }
}

/// What the model checkers understand: the same promises from a mutex and a condition variable.
#[cfg(any(loom, shuttle))]
struct Word {
    value: super::primitives::atomic::AtomicU32,
    lock: super::primitives::Mutex<()>,
    changed: super::primitives::Condvar,
}

#[cfg(any(loom, shuttle))]
impl Word {
    fn new() -> Word {
        Word {
            value: super::primitives::atomic::AtomicU32::new(0),
            lock: super::primitives::Mutex::new(()),
            changed: super::primitives::Condvar::new(),
        }
    }

    fn load(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    fn add_one(&self) {
        // Under the lock, so that a waiter cannot look before and fall asleep after.
        let _guard = super::primitives::ignore_poison(self.lock.lock());
        self.value.fetch_add(1, Ordering::Release);
    }

    fn wait(&self, expected: u32) {
        let guard = super::primitives::ignore_poison(self.lock.lock());
        if self.load() == expected {
            drop(super::primitives::ignore_poison(self.changed.wait(guard)));
        }
    }

    fn wake_all(&self) {
        self.changed.notify_all();
    }

    fn wake_one(&self) {
        self.changed.notify_one();
    }
}
