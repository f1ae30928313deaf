//! `SimWorld`: one simulated machine. Holds the disk, the clock, the seed's chance, the hook and the observer, and
//! knows whether the world has crashed. The I/O calls are in `calls`, the threads in `scheduler`.
//!
//! **Crash.** Once the world has crashed, every call of it (I/O, lock, wait, sleep) unwinds with a private payload, by
//! `resume_unwind`, so that no panic hook speaks. Never while the thread unwinds already: what is being dropped then
//! gets an error from I/O calls and plain behaviour from locks. Outside a run of threads free locks can still be taken.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::panicking;
use std::time::Duration;

use super::Hook;
use super::chance::{Chance, fold, mix};
use super::disk::{DiskState, FileId};
use super::observer::{Event, FailSync, Note, Observer};
use super::scheduler::Scheduler;

/// Every simulated process has this id.
pub(crate) const PROCESS_ID: u32 = 4242;

/// 2026-01-01 00:00:00 UTC, when every simulated machine boots: microseconds since the Unix epoch.
const BOOT_MICROS: u64 = 1_767_225_600_000_000;

/// What a crash unwinds with.
pub(crate) struct CrashUnwind;

pub(crate) struct SimWorld {
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
    hook_reads: AtomicBool,
    observer: Mutex<Option<Arc<dyn Observer>>>,
    crashed: AtomicBool,
    /// Nanoseconds since boot.
    clock: AtomicU64,
    /// Microseconds that the wall clock is off; it may also stand still, at a moment that is then not 0.
    wall_jump: AtomicI64,
    wall_stopped: AtomicU64,
    primitives: AtomicU64,
    #[cfg(loom)]
    steps: loom::sync::atomic::AtomicU64,
    pub(super) scheduler: Scheduler,
}

/// What a call changes. Never locked across a yield, a hook or an observer.
pub(super) struct State {
    pub(super) disk: DiskState,
    pub(super) calls: u64,
    pub(super) quota: Option<u64>,
    /// Sizes of writes that are never torn.
    pub(super) atomic: Option<RangeInclusive<usize>>,
    pub(super) sync_faults: Vec<FailSync>,
    /// How many times pages of a file were lost by a failed sync.
    pub(super) failures: BTreeMap<FileId, u64>,
    /// Names of held lock files.
    pub(super) locks: BTreeSet<String>,
    /// One counted token for each open file; handles hold the others.
    pub(super) open: BTreeMap<FileId, Arc<()>>,
    chance: Chance,
    trace: u64,
}

impl State {
    pub(super) fn trace(&mut self, word: u64) {
        self.trace = fold(self.trace, word);
    }

    pub(super) fn failures(&self, file: FileId) -> u64 {
        self.failures.get(&file).copied().unwrap_or(0)
    }
}

pub(super) fn held<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimWorld {
    pub(super) fn new(seed: u64, disk: DiskState) -> SimWorld {
        SimWorld {
            state: Mutex::new(State {
                disk,
                calls: 0,
                quota: None,
                atomic: None,
                sync_faults: Vec::new(),
                failures: BTreeMap::new(),
                locks: BTreeSet::new(),
                open: BTreeMap::new(),
                chance: Chance::new(mix(seed)),
                trace: mix(seed),
            }),
            hook: Mutex::new(None),
            hook_reads: AtomicBool::new(false),
            observer: Mutex::new(None),
            crashed: AtomicBool::new(false),
            clock: AtomicU64::new(0),
            wall_jump: AtomicI64::new(0),
            wall_stopped: AtomicU64::new(0),
            primitives: AtomicU64::new(0),
            #[cfg(loom)]
            steps: loom::sync::atomic::AtomicU64::new(0),
            scheduler: Scheduler::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }

    pub(super) fn snapshot(&self) -> DiskState {
        self.state().disk.clone()
    }

    pub(super) fn set_hook(&self, hook: Option<Hook>) {
        // Dropped after the lock is let go: what a hook owns may ask this world something.
        let _old = std::mem::replace(&mut *held(&self.hook), hook);
    }

    pub(super) fn set_hook_reads(&self, reads: bool) {
        self.hook_reads.store(reads, Ordering::Relaxed);
    }

    pub(super) fn hooks_reads(&self) -> bool {
        self.hook_reads.load(Ordering::Relaxed)
    }

    /// The hook, taken out while it is asked: it may itself look at this world.
    pub(super) fn take_hook(&self) -> Option<Hook> {
        held(&self.hook).take()
    }

    /// Puts the hook back, unless it has set another one.
    pub(super) fn return_hook(&self, hook: Hook) {
        held(&self.hook).get_or_insert(hook);
    }

    pub(super) fn set_observer(&self, observer: Option<Arc<dyn Observer>>) {
        *held(&self.observer) = observer;
    }

    pub(super) fn set_quota(&self, bytes: Option<u64>) {
        self.state().quota = bytes;
    }

    pub(super) fn set_atomic_writes(&self, sizes: Option<RangeInclusive<usize>>) {
        self.state().atomic = sizes;
    }

    pub(super) fn fail_sync(&self, fail: FailSync) {
        self.state().sync_faults.push(fail);
    }

    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn trace_hash(&self) -> u64 {
        mix(fold(self.state().trace, self.scheduler.trace()))
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        let observer = held(&self.observer).clone();
        if let Some(observer) = observer {
            observer.event(&self.snapshot(), event);
        }
    }

    pub(crate) fn note(&self, note: Note) {
        self.tell(&Event::Note(note));
    }

    // Crash.

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Acquire)
    }

    /// From now on every call of this world unwinds.
    pub(super) fn crash(&self) {
        if !self.crashed.swap(true, Ordering::AcqRel) {
            self.scheduler.wake_everyone();
            self.tell(&Event::Crashed);
        }
    }

    /// After a deadlock: as a crash, but the disk's observer has nothing to see.
    pub(super) fn abandon(&self) {
        self.crashed.store(true, Ordering::Release);
    }

    /// Unwinds if the world has crashed and the thread does not unwind already.
    pub(super) fn feel_crash(&self) {
        if self.has_crashed() && !panicking() {
            resume_unwind(Box::new(CrashUnwind));
        }
    }

    // Time and chance.

    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.load(Ordering::Relaxed))
    }

    pub(crate) fn wall_clock(&self) -> u64 {
        match self.wall_stopped.load(Ordering::Relaxed) {
            0 => {
                let honest = BOOT_MICROS + self.clock.load(Ordering::Relaxed) / 1000;
                honest.saturating_add_signed(self.wall_jump.load(Ordering::Relaxed))
            }
            stopped => stopped,
        }
    }

    pub(super) fn jump_wall_clock(&self, micros: i64) {
        self.wall_jump.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn stop_wall_clock(&self, stop: bool) {
        let stopped = if stop { self.wall_clock() } else { 0 };
        self.wall_stopped.store(stopped, Ordering::Relaxed);
    }

    pub(super) fn advance_clock(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX / 2);
        self.clock.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Moves the clock on to a moment, if it is not there yet.
    pub(super) fn advance_clock_to(&self, moment: Duration) {
        let nanos = u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX / 2);
        self.clock.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(crate) fn random(&self) -> u128 {
        let mut state = self.state();
        (u128::from(state.chance.next()) << 64) | u128::from(state.chance.next())
    }

    pub(crate) fn sleep(&self, duration: Duration) {
        self.yield_point();
        self.block("sleep", self.new_primitive(), Some(duration));
        self.feel_crash();
    }

    // What the blocking primitives ask.

    pub(crate) fn new_primitive(&self) -> u64 {
        self.primitives.fetch_add(1, Ordering::Relaxed)
    }

    /// Here another thread may run, and here a crash is felt.
    pub(crate) fn yield_point(&self) {
        self.feel_crash();
        #[cfg(any(loom, shuttle))]
        if !panicking() {
            self.checked_step();
        }
        if self.scheduler.is_running() && !panicking() {
            self.scheduler.maybe_switch(self);
            self.feel_crash();
        }
    }

    /// Where the model checker may switch: shuttle at a yield; loom, to which a yield says that this thread has nothing to
    /// do, at an atomic that all threads change.
    #[cfg(any(loom, shuttle))]
    fn checked_step(&self) {
        #[cfg(loom)]
        self.steps
            .fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
        #[cfg(not(loom))]
        crate::os_thread::yield_now();
    }

    /// As `yield_point`, for taking a lock. Once the threads of a crashed world have ended, whoever looks at what they
    /// left, or drops it, may still lock what is free.
    pub(crate) fn lock_point(&self) {
        if self.scheduler.is_running() || !self.has_crashed() {
            self.yield_point();
        }
    }

    pub(crate) fn yield_now(&self) {
        self.feel_crash();
        // A loop that waits for a moment to come must see time pass.
        self.advance_clock(Duration::from_micros(1));
        #[cfg(any(loom, shuttle))]
        crate::os_thread::yield_now();
        if self.scheduler.is_running() {
            self.scheduler.yield_to_others(self);
            self.feel_crash();
        }
    }

    /// Sleeps until this primitive is woken or the time is over; `true` in the latter case.
    ///
    /// # Panics
    /// Where nobody could ever wake: "simulated deadlock".
    pub(crate) fn block(&self, what: &'static str, id: u64, timeout: Option<Duration>) -> bool {
        self.feel_crash();
        if self.scheduler.is_running() {
            let timed_out = self.scheduler.block(self, what, id, timeout);
            self.feel_crash();
            return timed_out;
        }
        match timeout {
            Some(timeout) => {
                self.advance_clock(timeout);
                true
            }
            None => {
                panic!("simulated deadlock: waiting for a {what} that no other thread can release")
            }
        }
    }

    pub(crate) fn wake_all(&self, id: u64) {
        if self.scheduler.is_running() {
            self.scheduler.wake_all(id);
        }
    }

    pub(crate) fn wake_one(&self, id: u64) {
        if self.scheduler.is_running() {
            self.scheduler.wake_one(id);
        }
    }

    /// A seed for one run of threads.
    pub(super) fn next_seed(&self) -> u64 {
        self.state().chance.next()
    }
}
