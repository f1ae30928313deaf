//! The simulated world: one machine with a disk that can lose power at every call, a clock that only moves when
//! told, and threads of which a seed decides who runs. Replayed from a seed it does the same thing again.

mod calls;
mod chance;
mod changes;
mod content;
mod cut;
mod disk;
mod file;
mod image;
mod names;
mod observer;
mod ranges;
mod scheduler;
mod survival;
mod threads;
mod world;

use std::any::Any;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use file::SimFile;
pub(crate) use world::{PROCESS_ID, SimWorld};

pub use disk::{DiskState, PendingKind, PendingOp};
pub use image::Image;
pub use observer::{
    CallInfo, CallKind, Event, FailSync, Misread, Note, Observer, SyncFailure, Verdict,
};
pub use survival::{Fate, SECTOR_BYTES, Survival};

/// A hook: asked about each call with the disk as it is before.
pub type Hook = Box<dyn FnMut(&CallInfo<'_>, &DiskState) -> Verdict + Send>;

/// A thread's name and what it does.
pub type Body = (String, Box<dyn FnOnce() + Send>);

/// How a run of threads ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// All threads ended by themselves.
    Finished,
    /// The world crashed; all threads have unwound.
    Crashed,
    /// Everybody waited for somebody: each thread's name and what it waited for. All threads have unwound, as after
    /// a crash.
    Deadlock(Vec<String>),
}

/// A simulated machine. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct Sim {
    world: Arc<SimWorld>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sim")
    }
}

impl Sim {
    /// A machine with an empty disk.
    pub fn new(seed: u64) -> Sim {
        Sim::from_state(seed, &DiskState::default())
    }

    /// A machine that boots from a disk image: all of it durable, nothing pending.
    pub fn from_image(seed: u64, image: &Image) -> Sim {
        Sim::from_state(seed, &DiskState::from_image(image))
    }

    /// A machine whose process starts on a disk as it is, with pending writes and page cache: what a killed process
    /// leaves on a machine that lives on. See [`DiskState::restart`].
    pub fn from_state(seed: u64, state: &DiskState) -> Sim {
        Sim {
            world: Arc::new(SimWorld::new(seed, state.clone())),
        }
    }

    pub(crate) fn world(&self) -> &Arc<SimWorld> {
        &self.world
    }

    /// The disk as it is now. Cheap: everything is shared until it changes.
    pub fn snapshot(&self) -> DiskState {
        self.world.snapshot()
    }

    /// Asks `hook` about every call that can change the disk or make it durable, before it takes effect.
    pub fn set_hook(&self, hook: Option<Hook>) {
        self.world.set_hook(hook);
    }

    /// Whether the hook is asked about reads and other looks too; they are then numbered among the calls.
    pub fn set_hook_reads(&self, reads: bool) {
        self.world.set_hook_reads(reads);
    }

    /// Tells `observer` every event.
    pub fn set_observer(&self, observer: Option<Arc<dyn Observer>>) {
        self.world.set_observer(observer);
    }

    /// Bytes the files may take; beyond it writes get `StorageFull`.
    pub fn set_quota(&self, bytes: Option<u64>) {
        self.world.set_quota(bytes);
    }

    /// The sizes of writes that this machine's disk never tears (see [`File::atomic_sizes`](crate::File::atomic_sizes)). None, unless
    /// this is said; it can change while files are open. Other writes are torn as ever.
    pub fn set_atomic_writes(&self, sizes: Option<RangeInclusive<usize>>) {
        self.world.set_atomic_writes(sizes);
    }

    /// Lets a later sync fail as real file systems fail it.
    pub fn fail_sync(&self, fail: FailSync) {
        self.world.fail_sync(fail);
    }

    /// How many calls the hook was, or would have been, asked about.
    pub fn calls(&self) -> u64 {
        self.world.calls()
    }

    /// Crashes the world from outside: the next call of every thread unwinds.
    pub fn crash_now(&self) {
        self.world.crash();
    }

    /// Moves the simulated clock on.
    pub fn advance_clock(&self, by: Duration) {
        self.world.advance_clock(by);
    }

    /// Sets the wall clock forward or back by so many microseconds, as a person or a time server does. The other clock,
    /// which timers go by, takes no notice.
    pub fn jump_wall_clock(&self, micros: i64) {
        self.world.jump_wall_clock(micros);
    }

    /// Lets the wall clock stand still, or go on with the time that has passed meanwhile.
    pub fn stop_wall_clock(&self, stop: bool) {
        self.world.stop_wall_clock(stop);
    }

    /// Runs threads under the seeded scheduler until all have ended, those they spawn included.
    ///
    /// They are real threads of which exactly one runs at a time; who is next is the seed's choice at every lock, wait
    /// and I/O call. When all wait, simulated time jumps to the next one's deadline.
    ///
    /// # Panics
    /// Goes on with a thread's panic, unless somebody joined it, after all threads have ended.
    pub fn run_threads(&self, bodies: Vec<Body>) -> RunEnd {
        SimWorld::run_threads(&self.world, bodies)
    }

    /// A hash of every call and every scheduling choice so far: equal for equal seeds and programs.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace_hash()
    }

    /// Runs `body` in this thread, and stops the unwinding of a simulated crash.
    ///
    /// # Errors
    /// [`Crashed`] if the world crashed inside. Any other panic goes on.
    pub fn catch<T>(&self, body: impl FnOnce() -> T) -> Result<T, Crashed> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).map_err(|payload| {
            if is_crash(&*payload) {
                Crashed
            } else {
                std::panic::resume_unwind(payload)
            }
        })
    }
}

/// The simulated world crashed inside [`Sim::catch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed;

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated world has crashed")
    }
}

impl std::error::Error for Crashed {}

/// Whether a caught panic is the unwinding of a simulated crash.
pub fn is_crash(payload: &(dyn Any + Send)) -> bool {
    payload.is::<world::CrashUnwind>()
}
