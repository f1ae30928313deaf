//! `Mutex`: one owner at a time, never poisoned.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::gate::{Gate, Release};
use super::primitives::{self, attempt, ignore_poison};
use crate::io::Io;

/// A lock around a value. A panic of its owner does not poison it.
///
/// ```
/// use afterimage_io::{Io, sync::Mutex};
///
/// let io = Io::os();
/// let count = Mutex::new(&io, 0);
/// *count.lock() += 1;
/// assert_eq!(*count.lock(), 1);
/// ```
pub struct Mutex<T> {
    gate: Gate,
    inner: primitives::Mutex<T>,
}

/// The right to the value of a [`Mutex`]; dropping it unlocks.
#[must_use = "the lock is held only as long as the guard lives"]
pub struct MutexGuard<'a, T> {
    // The order matters: the real lock is let go first, then the scheduler is told.
    pub(super) inner: primitives::MutexGuard<'a, T>,
    _release: Release<'a>,
    pub(super) mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex in the world of `io`.
    pub fn new(io: &Io, value: T) -> Mutex<T> {
        Mutex {
            gate: Gate::new(io),
            inner: primitives::Mutex::new(value),
        }
    }

    /// Waits for the lock and takes it.
    ///
    /// # Panics
    /// "simulated deadlock" in a simulation without threads, if the lock is taken.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let inner = match self.gate.simulated() {
            None => ignore_poison(self.inner.lock()),
            Some(simulated) => simulated.acquire("mutex", || attempt(self.inner.try_lock())),
        };
        self.guard(inner)
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let inner = match self.gate.simulated() {
            None => attempt(self.inner.try_lock()),
            Some(simulated) => simulated.attempt(|| attempt(self.inner.try_lock())),
        };
        inner.map(|inner| self.guard(inner))
    }

    /// The value, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        ignore_poison(self.inner.get_mut())
    }

    /// The value, out of its mutex.
    pub fn into_inner(self) -> T {
        ignore_poison(self.inner.into_inner())
    }

    pub(super) fn guard<'a>(&'a self, inner: primitives::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            inner,
            _release: self.gate.release(),
            mutex: self,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never locks through the gate: printing must not be a step of the simulation.
        match attempt(self.inner.try_lock()) {
            Some(value) => f.debug_tuple("Mutex").field(&*value).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
