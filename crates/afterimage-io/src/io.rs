//! `Io`, the cheap handle on a world. Every crate above this one gets its files, time, chance, threads and
//! blocking from here, so that one engine runs in the real world, in a world that changes nothing (overlay) and in
//! a simulated one, without a type parameter. Each method only picks the world; the work is in `os`, `overlay` and `sim`.

use std::fmt;
use std::io::Result;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::direct;
use crate::file::File;
use crate::lock::LockAttempt;
use crate::mode::OpenMode;
use crate::os::OsWorld;
use crate::os_thread;
use crate::overlay::OverlayWorld;
use crate::sim::{Note, Sim, SimWorld};
use crate::sync_method::DurableWrites;
use crate::thread::JoinHandle;

/// A handle on a world: the files, clock, randomness and threads a storage engine may use.
///
/// Cloning is cheap and gives another handle on the *same* world.
///
/// ```
/// use std::path::Path;
/// use afterimage_io::{OpenMode, sim::Sim};
///
/// # fn main() -> std::io::Result<()> {
/// let machine = Sim::new(7);
/// let io = machine.io();
/// let file = io.open(Path::new("greeting"), OpenMode::Create)?;
/// file.write_all_at(0, b"hello")?;
/// let mut bytes = [0; 5];
/// file.read_exact_at(0, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Io {
    pub(crate) world: World,
}

#[derive(Clone)]
pub(crate) enum World {
    Os(Arc<OsWorld>),
    Overlay(Arc<OverlayWorld>),
    Sim(Arc<SimWorld>),
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.world {
            World::Os(_) => "Io(os)",
            World::Overlay(_) => "Io(overlay)",
            World::Sim(_) => "Io(simulated)",
        })
    }
}

impl Io {
    /// The real world: the operating system's files, clock and threads.
    pub fn os() -> Io {
        Io {
            world: World::Os(Arc::new(OsWorld::new())),
        }
    }

    /// The same real world on a disk whose every sync takes `delay` longer: how a slower disk would change a
    /// measurement. It holds for files opened through the handle returned; overlay and simulated worlds stay as they are.
    #[must_use]
    pub fn with_sync_delay(self, delay: Duration) -> Io {
        match self.world {
            World::Os(world) => Io {
                world: World::Os(Arc::new(world.with_sync_delay(delay))),
            },
            world => Io { world },
        }
    }

    /// A world that reads real files and changes no byte of them.
    ///
    /// Every write, new name, rename and removal is kept in memory and is forgotten with the last handle; syncs do
    /// nothing. What a recovery *would* do can be tried here on a database that must not be touched.
    pub fn overlay() -> Io {
        Io {
            world: World::Overlay(Arc::new(OverlayWorld::new())),
        }
    }

    pub(crate) fn sim_world(&self) -> Option<&Arc<SimWorld>> {
        match &self.world {
            World::Sim(world) => Some(world),
            _ => None,
        }
    }

    /// Opens a file. A file that is made gets mode 0600; its name is durable only after [`Io::sync_dir`] of its parent.
    ///
    /// # Errors
    /// `NotFound` if the file (or, when making one, its directory) is not there; `AlreadyExists` for
    /// [`OpenMode::CreateNew`] of an existing file; whatever else the world says.
    pub fn open(&self, path: &Path, how: OpenMode) -> Result<File> {
        match &self.world {
            World::Os(world) => Ok(File::os(world.open(path, how)?, path)),
            World::Overlay(world) => Ok(File::overlay(world.open(path, how)?, path)),
            World::Sim(world) => Ok(File::simulated(world.open(path, how)?, path)),
        }
    }

    /// As [`Io::open`], and says how [`File::write_all_at_durably`] is to make its writes durable. Other writes, syncs and
    /// reads of the file stay ordinary.
    ///
    /// # Errors
    /// As [`Io::open`]; `Unsupported` where the system or the file system does not offer this way.
    pub fn open_durable(&self, path: &Path, how: OpenMode, writes: DurableWrites) -> Result<File> {
        match &self.world {
            World::Os(world) => {
                let file = world.open_durable(path, how, writes)?;
                Ok(match file.direct_block() {
                    Some(block) => File::os(file, path).by_blocks(block),
                    None => File::os(file, path),
                })
            }
            World::Sim(_) if writes.direct => Ok(self.open(path, how)?.by_blocks(direct::SECTOR)),
            World::Overlay(_) | World::Sim(_) => self.open(path, how),
        }
    }

    /// As [`Io::open`], and asks which writes to the file are never torn ([`File::atomic_sizes`]), for
    /// [`File::write_atomic`]. Other writes, syncs and reads stay ordinary.
    ///
    /// # Errors
    /// As [`Io::open`]. That nothing is promised is no error.
    pub fn open_atomic(&self, path: &Path, how: OpenMode) -> Result<File> {
        match &self.world {
            World::Os(world) => Ok(File::os(world.open_atomic(path, how)?, path)),
            World::Overlay(_) => self.open(path, how),
            World::Sim(world) => Ok(File::simulated(world.open_atomic(path, how)?, path)),
        }
    }

    /// Makes one directory, mode 0700. Its name is durable only after [`Io::sync_dir`] of its parent.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `NotFound` if the parent is missing.
    pub fn create_dir(&self, path: &Path) -> Result<()> {
        match &self.world {
            World::Os(world) => world.create_dir(path),
            World::Overlay(world) => world.create_dir(path),
            World::Sim(world) => world.create_dir(path),
        }
    }

    /// Renames a file, replacing `to` if it exists: at no moment is `to` absent or a mixture.
    ///
    /// # Errors
    /// `NotFound` if `from` is not there.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match &self.world {
            World::Os(world) => world.rename(from, to),
            World::Overlay(world) => world.rename(from, to),
            World::Sim(world) => world.rename(from, to),
        }
    }

    /// Removes a file's name.
    ///
    /// # Errors
    /// `NotFound` if it is not there.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        match &self.world {
            World::Os(world) => world.remove_file(path),
            World::Overlay(world) => world.remove_file(path),
            World::Sim(world) => world.remove_file(path),
        }
    }

    /// Makes the names in a directory durable: every create, rename and removal in it that came before.
    ///
    /// The empty path is the current directory, so `path.parent()` can be given as it is.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory; an I/O error if the device refuses.
    pub fn sync_dir(&self, path: &Path) -> Result<()> {
        match &self.world {
            World::Os(world) => world.sync_dir(path),
            World::Overlay(world) => world.sync_dir(path),
            World::Sim(world) => world.sync_dir(path),
        }
    }

    /// The names in a directory (files and directories), sorted; names only, not whole paths.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory; `InvalidData` for a name that is not Unicode.
    pub fn list_dir(&self, path: &Path) -> Result<Vec<String>> {
        match &self.world {
            World::Os(world) => world.list_dir(path),
            World::Overlay(world) => world.list_dir(path),
            World::Sim(world) => world.list_dir(path),
        }
    }

    /// Whether a file or directory of this name exists.
    ///
    /// # Errors
    /// When the world cannot tell (no permission, for example).
    pub fn exists(&self, path: &Path) -> Result<bool> {
        match &self.world {
            World::Os(world) => world.exists(path),
            World::Overlay(world) => world.exists(path),
            World::Sim(world) => world.exists(path),
        }
    }

    /// Whether a directory of this name exists.
    ///
    /// # Errors
    /// When the world cannot tell (no permission, for example).
    pub fn is_dir(&self, path: &Path) -> Result<bool> {
        match &self.world {
            World::Os(world) => world.is_dir(path),
            World::Overlay(world) => world.is_dir(path),
            World::Sim(world) => world.is_dir(path),
        }
    }

    /// Tries to take the lock that `path` stands for, and never waits for it.
    ///
    /// The file is made if need be and holds its owner's process id in decimal. The lock ends when the
    /// [`LockFile`](crate::LockFile) is dropped, and when its process dies; the file stays. The overlay world takes a
    /// shared lock on an existing file, writes nothing, and refuses while an owner lives.
    ///
    /// # Errors
    /// Only if the file cannot be made or looked at; a lock somebody holds is [`LockAttempt::Held`], not an error.
    pub fn try_lock(&self, path: &Path) -> Result<LockAttempt> {
        match &self.world {
            World::Os(world) => world.try_lock(path),
            World::Overlay(world) => world.try_lock(path),
            World::Sim(world) => world.try_lock(path),
        }
    }

    /// Time since this world began. Never goes back.
    pub fn now(&self) -> Duration {
        match &self.world {
            World::Os(world) => world.now(),
            World::Overlay(world) => world.os().now(),
            World::Sim(world) => world.now(),
        }
    }

    /// Microseconds since the Unix epoch by the wall clock, which may jump.
    pub fn wall_clock(&self) -> u64 {
        match &self.world {
            World::Os(world) => world.wall_clock(),
            World::Overlay(world) => world.os().wall_clock(),
            World::Sim(world) => world.wall_clock(),
        }
    }

    /// 128 random bits, fit for identifiers: from the operating system, or in a simulation from its seed.
    pub fn random(&self) -> u128 {
        match &self.world {
            World::Os(world) => world.random(),
            World::Overlay(world) => world.os().random(),
            World::Sim(world) => world.random(),
        }
    }

    /// Waits. In a simulation only the simulated clock moves.
    pub fn sleep(&self, duration: Duration) {
        match &self.world {
            World::Os(_) | World::Overlay(_) => os_thread::sleep(duration),
            World::Sim(world) => world.sleep(duration),
        }
    }

    /// Lets other threads run: for a loop that waits for something without a lock or a wait of this crate. In a
    /// simulation nobody else runs until the thread does something of this kind.
    pub fn yield_now(&self) {
        match &self.world {
            World::Os(_) | World::Overlay(_) => os_thread::yield_now(),
            World::Sim(world) => world.yield_now(),
        }
    }

    /// How many lanes are worth having: twice as many as the machine has processors, 64 at most, so that threads that run at the same
    /// time mostly have different ones. One in a simulated world.
    pub fn lanes(&self) -> usize {
        match self.world {
            World::Sim(_) => 1,
            _ => os_thread::processors().saturating_mul(2).min(64),
        }
    }

    /// Which of `lanes` is the calling thread's: threads get them in turns, so that what each writes much can lie apart. Always
    /// the first in a simulated world, where the order in which threads come is not the world's.
    pub fn lane(&self, lanes: usize) -> usize {
        match self.world {
            World::Sim(_) => 0,
            _ => os_thread::number() % lanes,
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// When the operating system has no more threads; `Unsupported` in a simulation outside
    /// [`Sim::run_threads`](crate::sim::Sim::run_threads).
    pub fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle> {
        match &self.world {
            World::Os(_) | World::Overlay(_) => JoinHandle::real(name, body),
            World::Sim(world) => JoinHandle::simulated(world, name, body),
        }
    }

    /// How many threads can run at the same time; in a simulation always two, so that a seed means the same on every machine.
    pub fn processors(&self) -> usize {
        match &self.world {
            World::Os(_) | World::Overlay(_) => {
                std::thread::available_parallelism().map_or(1, usize::from)
            }
            World::Sim(_) => 2,
        }
    }

    /// This process's id; a fixed number in a simulation.
    pub fn process_id(&self) -> u32 {
        match &self.world {
            World::Os(_) | World::Overlay(_) => std::process::id(),
            World::Sim(_) => crate::sim::PROCESS_ID,
        }
    }

    /// Whether this world is a simulation.
    pub fn is_simulated(&self) -> bool {
        self.sim_world().is_some()
    }

    /// Whether this (simulated) world has crashed: whoever is being dropped must then write and append nothing.
    pub fn has_crashed(&self) -> bool {
        self.sim_world().is_some_and(|world| world.has_crashed())
    }

    /// Tells the simulation's observer something that a disk cannot see. Does nothing where nobody observes.
    pub fn note(&self, note: Note) {
        if let Some(world) = self.sim_world() {
            world.note(note);
        }
    }
}

impl Sim {
    /// The handle on this world that the engine gets.
    pub fn io(&self) -> Io {
        Io {
            world: World::Sim(Arc::clone(self.world())),
        }
    }
}
