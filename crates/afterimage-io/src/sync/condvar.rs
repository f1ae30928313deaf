//! `Condvar`: waiting for a change of what a `Mutex` guards. Wake-ups may be spurious: always wait in a loop.

use std::fmt;
use std::time::Duration;

use super::gate::{Gate, Simulated};
use super::mutex::MutexGuard;
use super::primitives::{self, ignore_poison};
use crate::io::Io;

/// A place to wait for what another thread will change under a [`Mutex`](super::Mutex).
///
/// A notification that comes when nobody waits is lost, in the simulation as in the real world.
pub struct Condvar {
    gate: Gate,
    inner: primitives::Condvar,
}

impl Condvar {
    /// A condition variable in the world of `io`.
    pub fn new(io: &Io) -> Condvar {
        Condvar {
            gate: Gate::new(io),
            inner: primitives::Condvar::new(),
        }
    }

    /// Unlocks, waits for a notification, locks again. May wake without one.
    ///
    /// # Panics
    /// "simulated deadlock" in a simulation without threads: nobody could notify.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        match self.gate.simulated() {
            None => {
                let (mutex, inner) = real(guard);
                mutex.guard(ignore_poison(self.inner.wait(inner)))
            }
            Some(simulated) => wait_simulated(simulated, guard, None).0,
        }
    }

    /// As [`Condvar::wait`], but no longer than `timeout`; `true` if the time ran out first.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        match self.gate.simulated() {
            None => {
                let (mutex, inner) = real(guard);
                let (inner, result) = ignore_poison(self.inner.wait_timeout(inner, timeout));
                (mutex.guard(inner), result.timed_out())
            }
            Some(simulated) => wait_simulated(simulated, guard, Some(timeout)),
        }
    }

    /// Wakes one of those who wait, if any.
    pub fn notify_one(&self) {
        match self.gate.simulated() {
            None => self.inner.notify_one(),
            Some(simulated) => simulated.world.wake_one(simulated.id),
        }
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        match self.gate.simulated() {
            None => self.inner.notify_all(),
            Some(simulated) => simulated.world.wake_all(simulated.id),
        }
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

/// The guard's real half; there is no scheduler to tell about it.
fn real<'a, T>(guard: MutexGuard<'a, T>) -> (&'a super::Mutex<T>, primitives::MutexGuard<'a, T>) {
    let MutexGuard { inner, mutex, .. } = guard;
    (mutex, inner)
}

fn wait_simulated<'a, T>(
    simulated: &Simulated,
    guard: MutexGuard<'a, T>,
    timeout: Option<Duration>,
) -> (MutexGuard<'a, T>, bool) {
    let mutex = guard.mutex;
    // Nobody else runs before `block` hands the baton on, so unlocking and going to sleep are one step.
    drop(guard);
    let timed_out = simulated.world.block("condition", simulated.id, timeout);
    (mutex.lock(), timed_out)
}
