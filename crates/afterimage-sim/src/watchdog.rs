//! The watchdog: a simulated machine that works for longer than anybody's patience has gone astray, and is switched off.
//!
//! The scheduler sees when everybody waits. It cannot see threads that go round and round, each time finding that nothing has changed; only a clock of the
//! outer world can tell, and that is the one thing here that a seed does not repeat exactly. A run that hits it has failed in any case.

use afterimage_io::sim::Sim;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// How long one piece of a simulated life may take. It needs milliseconds. Counted in rounds of the patrol, so that a
/// process that is itself stopped for a while is not taken for one gone astray.
static PATIENCE: AtomicU64 = AtomicU64::new(20);
const ROUND: Duration = Duration::from_millis(500);

static NEXT: AtomicU64 = AtomicU64::new(0);
static WATCHED: Mutex<BTreeMap<u64, (Duration, Sim, bool)>> = Mutex::new(BTreeMap::new());

/// How long one piece of a simulated life may take.
#[must_use]
pub fn patience() -> Duration {
    Duration::from_secs(PATIENCE.load(Ordering::Relaxed))
}

/// Sets the patience, in seconds: who wants to look at what has gone astray with a debugger needs a lot of it.
pub fn set_patience(seconds: u64) {
    PATIENCE.store(seconds, Ordering::Relaxed);
}

fn watched() -> MutexGuard<'static, BTreeMap<u64, (Duration, Sim, bool)>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `life` on this machine; the flag says whether the machine had to be switched off.
pub fn watch<T>(sim: &Sim, life: impl FnOnce() -> T) -> (T, bool) {
    static START: Once = Once::new();
    START.call_once(|| drop(std::thread::spawn(patrol)));
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    watched().insert(id, (Duration::ZERO, sim.clone(), false));
    let end = life();
    let off = watched().remove(&id).is_some_and(|(_, _, off)| off);
    (end, off)
}

fn patrol() {
    loop {
        std::thread::sleep(ROUND);
        let astray: Vec<Sim> = watched()
            .values_mut()
            .filter_map(|w| {
                w.0 += ROUND;
                if w.2 && w.0 > 3 * patience() {
                    give_up();
                }
                if w.2 || w.0 <= patience() {
                    return None;
                }
                w.2 = true;
                Some(w.1.clone())
            })
            .collect();
        for sim in astray {
            sim.crash_now();
        }
    }
}

/// A machine that has been switched off for so long must have ended: its threads unwind at their next call. One of them makes none.
fn give_up() -> ! {
    eprintln!(
        "a simulated thread waits for something that is not simulated (a lock of std held across a call of the database, a channel, another process): \
         this can only be ended from outside"
    );
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_that_ends_is_left_alone() {
        let sim = Sim::new(1);
        assert_eq!(watch(&sim, || 7), (7, false));
        assert!(!sim.io().has_crashed());
    }
}
