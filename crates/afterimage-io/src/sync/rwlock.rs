//! `RwLock`, the latch: many readers or one writer, never poisoned, held briefly.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::gate::{Gate, Release};
use super::primitives::{self, attempt, ignore_poison};
use crate::io::Io;

/// A lock that many may hold to read, or one to write. A panic of its owner does not poison it.
///
/// ```
/// use afterimage_io::{Io, sync::RwLock};
///
/// let io = Io::os();
/// let latch = RwLock::new(&io, vec![1]);
/// latch.write().push(2);
/// assert_eq!(latch.read().len(), 2);
/// ```
pub struct RwLock<T> {
    gate: Gate,
    inner: primitives::RwLock<T>,
}

/// The right to read the value of an [`RwLock`]; dropping it lets go.
#[must_use = "the lock is held only as long as the guard lives"]
pub struct ReadGuard<'a, T> {
    // The order matters, as in `MutexGuard`.
    inner: primitives::RwLockReadGuard<'a, T>,
    _release: Release<'a>,
}

/// The right to change the value of an [`RwLock`]; dropping it lets go.
#[must_use = "the lock is held only as long as the guard lives"]
pub struct WriteGuard<'a, T> {
    inner: primitives::RwLockWriteGuard<'a, T>,
    _release: Release<'a>,
}

impl<T> RwLock<T> {
    /// A free lock in the world of `io`.
    pub fn new(io: &Io, value: T) -> RwLock<T> {
        RwLock {
            gate: Gate::new(io),
            inner: primitives::RwLock::new(value),
        }
    }

    /// Waits until nobody writes, and holds the lock for reading. Never take it twice in one thread: a writer that
    /// waits in between would stop both.
    ///
    /// # Panics
    /// "simulated deadlock" in a simulation without threads, if the lock is taken.
    #[inline]
    pub fn read(&self) -> ReadGuard<'_, T> {
        let inner = match self.gate.simulated() {
            None => ignore_poison(self.inner.read()),
            Some(simulated) => simulated.acquire("read latch", || attempt(self.inner.try_read())),
        };
        self.read_guard(inner)
    }

    /// Waits until nobody reads or writes, and holds the lock alone.
    ///
    /// # Panics
    /// "simulated deadlock" in a simulation without threads, if the lock is taken.
    #[inline]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let inner = match self.gate.simulated() {
            None => ignore_poison(self.inner.write()),
            Some(simulated) => simulated.acquire("write latch", || attempt(self.inner.try_write())),
        };
        self.write_guard(inner)
    }

    /// Holds the lock for reading if nobody writes.
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        let inner = match self.gate.simulated() {
            None => attempt(self.inner.try_read()),
            Some(simulated) => simulated.attempt(|| attempt(self.inner.try_read())),
        };
        inner.map(|inner| self.read_guard(inner))
    }

    /// Holds the lock alone if nobody has it.
    #[inline]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        let inner = match self.gate.simulated() {
            None => attempt(self.inner.try_write()),
            Some(simulated) => simulated.attempt(|| attempt(self.inner.try_write())),
        };
        inner.map(|inner| self.write_guard(inner))
    }

    /// The value, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        ignore_poison(self.inner.get_mut())
    }

    /// The value, out of its lock.
    pub fn into_inner(self) -> T {
        ignore_poison(self.inner.into_inner())
    }

    fn read_guard<'a>(&'a self, inner: primitives::RwLockReadGuard<'a, T>) -> ReadGuard<'a, T> {
        ReadGuard {
            inner,
            _release: self.gate.release(),
        }
    }

    fn write_guard<'a>(&'a self, inner: primitives::RwLockWriteGuard<'a, T>) -> WriteGuard<'a, T> {
        WriteGuard {
            inner,
            _release: self.gate.release(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match attempt(self.inner.try_read()) {
            Some(value) => f.debug_tuple("RwLock").field(&*value).finish(),
            None => f.write_str("RwLock(<locked>)"),
        }
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
