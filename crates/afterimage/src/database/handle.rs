//! The database handle: opening, closing, one-row operations, and what lies behind them all.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use afterimage_io::sync::{Condvar, Mutex};
use afterimage_io::{Io, JoinHandle, LockAttempt, LockFile, Note, Progress};
use afterimage_log::{ControlFile, Durations, Lsn};

use super::busiest::Busiest;
use super::commits::Commits;
use super::create::{self, Contents};
use super::live::Live;
use super::load;
use super::maintenance::REST;
use super::snapshot::Snapshot;
use super::stats::Stats;
use super::status::{StatusFile, StatusWriter};
use super::table::Table;
use super::transaction::Transaction;
use super::verify::{self, VerifyReport};
use crate::checkpoint::{Cause, Checkpointer, Pace};
use crate::error::{Error, Result};
use crate::options::{Durability, Options};
use crate::recovery::{LastRecovery, Recovered, RecoveryReport, recover};
use crate::transaction::{Done, Outcome, System, Wish};

/// Why the log takes nothing any more behind a close.
pub(super) const CLOSED: &str = "the database has been closed";
/// How often [`Database::transact`] runs its body.
const TRANSACT_ATTEMPTS: u32 = 100;

/// An open database. Cheap to clone; clones are the same database, and may be used from any thread.
///
/// When the last handle (tables and transactions do not count, an unfinished transaction does) is dropped, the database
/// is closed as [`close`](Database::close) does, except that errors go unseen.
///
/// # Examples
///
/// ```
/// use afterimage::Options;
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let options = Options::new().io(world.io()).background(false);
/// let db = options.open("bank")?;
/// let accounts = db.table("accounts")?;
/// db.put(&accounts, b"alice", b"100")?;
/// assert_eq!(db.get(&accounts, b"alice")?.as_deref(), Some(&b"100"[..]));
/// db.close()?;
/// # Ok::<(), afterimage::Error>(())
/// ```
#[derive(Clone)]
pub struct Database {
    handle: Arc<Handle>,
}

/// Goes when the last user goes.
struct Handle {
    shared: Arc<Shared>,
    background: Mutex<Option<JoinHandle>>,
}

/// Counters in which calls that are inside the engine are counted.
const LANES: usize = 64;

/// One of them, alone in its cache line: threads that are counted in different ones do not meet.
#[derive(Default)]
#[repr(align(64))]
struct Lane(AtomicU64);

/// What the handles and the background thread share.
pub(super) struct Shared {
    pub(super) io: Io,
    directory: PathBuf,
    /// As they were at the open; those that change are in `live`.
    pub(super) options: Options,
    pub(super) live: Live,
    pub(super) system: System,
    pub(super) checkpointer: Checkpointer,
    pub(super) status: StatusWriter,
    pub(super) status_written: Mutex<Duration>,
    /// A position that log needed by a recovery was found to begin at: it may begin later by now.
    pub(super) needed_from: AtomicU64,
    /// How fast pages go home.
    pub(super) pace: Mutex<Pace>,
    /// Where the oldest change that is not home began, by the cleaner's last look.
    pub(super) oldest_dirty: AtomicU64,
    /// Waits of first writes for the cleaner.
    pub(super) throttled: Durations,
    pub(super) commits: Commits,
    pub(super) busiest: Mutex<Busiest>,
    /// When it began to be opened, by the world's clock.
    pub(super) opened_at: Duration,
    /// Held by whoever decides whether a checkpoint is due, and takes it.
    pub(super) deciding: Mutex<()>,
    report: RecoveryReport,
    /// This open's recovery, or the last one before it that was one.
    pub(super) last_recovery: Option<LastRecovery>,
    /// Drawn at the open, so that a table of one database is not used in another.
    pub(super) instance: u128,
    closed: AtomicBool,
    /// Calls that are inside the engine at this moment, by the lanes of their threads.
    inside: [Lane; LANES],
    /// Held while the database is open.
    lock: Mutex<Option<LockFile>>,
    stopping: Mutex<bool>,
    stop: Condvar,
}

impl Options {
    /// Opens the database in `directory`, creating it where there is none, and recovers it where it was not closed.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for a setting out of bounds, [`Error::SettingsFile`] for one in `settings.toml`,
    /// [`Error::FixedAtCreation`] for one that can no longer be chosen, [`Error::InUse`] while somebody has it open,
    /// [`Error::NotADatabase`] where there is none (or something else), [`Error::Unsupported`] for a newer format,
    /// [`Error::Corruption`] where acknowledged data is damaged, [`Error::PageCorrupt`] where a page that opening needs is,
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(directory.as_ref(), self)
    }
}

impl Database {
    /// Opens the database in `directory` with the default settings, creating it where there is none.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Database> {
        Options::new().open(directory)
    }

    pub(crate) fn open_with(directory: &Path, options: Options) -> Result<Database> {
        let _opening = tracing::info_span!("open", directory = %directory.display()).entered();
        let options = options.with_file(directory)?;
        options.check()?;
        let io = options.io.clone();
        let contents = create::look(&io, directory)?;
        if matches!(contents, Contents::Nothing) {
            if !options.create {
                let what = "there is no database here, and `create` is off".to_owned();
                return Err(Error::NotADatabase {
                    path: directory.to_owned(),
                    what,
                });
            }
            options.check_together()?;
            create::make_directory(&io, directory)?;
        }
        let opened_at = io.now();
        let lock = take_lock(&io, directory)?;
        // Looked at again under the lock: somebody may just have made it.
        let recovered = match create::look(&io, directory)? {
            Contents::Nothing => create::create(&io, directory, &options)?,
            Contents::Database => open_existing(&io, directory, &options)?,
        };
        let last_recovery = last_recovery(&io, directory, &recovered.report);
        let status = tidy_up(&io, directory)
            .and_then(|()| StatusWriter::open(&io, directory))
            .inspect_err(|_| close_again(&recovered))?;
        let Recovered {
            system,
            checkpointer,
            report,
        } = recovered;
        let next = system.pager.log.next_lsn().get();
        let options = options.adopt(
            system.pager.page_size() as u32,
            system.pager.log.stats().segment_bytes,
        )?;
        let shared = Arc::new(Shared {
            live: Live::new(&io, &options),
            pace: Mutex::new(&io, Pace::new(io.now(), next)),
            oldest_dirty: AtomicU64::new(next),
            throttled: Durations::default(),
            commits: Commits::new(&io),
            busiest: Mutex::new(&io, Busiest::default()),
            opened_at,
            system,
            checkpointer,
            status,
            status_written: Mutex::new(&io, io.now()),
            needed_from: AtomicU64::new(0),
            deciding: Mutex::new(&io, ()),
            report,
            last_recovery,
            directory: directory.to_owned(),
            instance: io.random(),
            closed: AtomicBool::new(false),
            inside: std::array::from_fn(|_| Lane::default()),
            lock: Mutex::new(&io, Some(lock)),
            stopping: Mutex::new(&io, false),
            stop: Condvar::new(&io),
            options,
            io: io.clone(),
        });
        shared.write_status(false);
        io.note(Note::RecoveryEnded);
        let handle = Arc::new(Handle {
            shared,
            background: Mutex::new(&io, None),
        });
        // From here on whatever goes wrong closes it in good order.
        if handle.shared.options.background {
            *handle.background.lock() = Some(start_background(&handle.shared)?);
        }
        Ok(Database { handle })
    }

    /// The latest committed value of `key`. Waits for a transaction that has it locked for writing, and until the
    /// commit that wrote it is as durable as this database's commits are.
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::PageCorrupt`], [`Error::Io`], [`Error::LogFailed`], [`Error::Deadlock`] never.
    pub fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let there = self.get_into(table, key, &mut value)?;
        Ok(there.then_some(value))
    }

    /// As [`get`](Database::get), into a buffer of the caller's, in place of what is in it; false, and nothing in it, where there is no
    /// value. For those who read much: a buffer that is used again costs no memory to be taken. After an error what is in it means nothing.
    ///
    /// # Errors
    ///
    /// As [`get`](Database::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let accounts = db.table("accounts")?;
    /// db.put(&accounts, b"alice", b"100")?;
    /// let mut value = Vec::new();
    /// assert!(db.get_into(&accounts, b"alice", &mut value)?);
    /// assert_eq!(value, b"100");
    /// assert!(!db.get_into(&accounts, b"bob", &mut value)?);
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn get_into(&self, table: &Table, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let shared = self.enter()?;
        shared.check_table(table)?;
        let (there, seen) = shared.system.read_committed(&table.tree, key, value)?;
        shared.wait(seen, shared.options.synchronous_commit)?;
        Ok(there)
    }

    /// Makes `value` the value of `key`, in a transaction of its own: when this returns, the change is as durable as
    /// `synchronous_commit` says (by default: on stable storage).
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::DiskFull`] with nothing changed; [`Error::LogFailed`],
    /// [`Error::OutcomeUnknown`] once the engine has stopped.
    pub fn put(&self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.autocommit(table, key, Wish::Put(value)).map(drop)
    }

    /// Gives `key` a value, if it has none, in a transaction of its own.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`] where it has one; else as [`put`](Database::put).
    pub fn insert(&self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.autocommit(table, key, Wish::Insert(value))?.must()
    }

    /// Changes the value of `key`, if it has one, in a transaction of its own.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotFound`] where it has none; else as [`put`](Database::put).
    pub fn update(&self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.autocommit(table, key, Wish::Update(value))?.must()
    }

    /// Makes `new` of `expected` in one step, in a transaction of its own; `None` is no value. False, and nothing changed,
    /// where something else is there.
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let leases = db.table("leases")?;
    /// assert!(db.compare_and_swap(&leases, b"printer", None, Some(b"alice"))?);
    /// assert!(!db.compare_and_swap(&leases, b"printer", None, Some(b"bruno"))?);
    /// assert!(db.compare_and_swap(&leases, b"printer", Some(b"alice"), None)?);
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`put`](Database::put).
    #[must_use = "false: somebody else was first"]
    pub fn compare_and_swap(
        &self,
        table: &Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let outcome = self.autocommit(table, key, Wish::Swap(expected, new))?;
        Ok(outcome.fulfilled)
    }

    /// Deletes `key`, in a transaction of its own. True if it was there.
    ///
    /// # Errors
    ///
    /// As [`put`](Database::put).
    pub fn delete(&self, table: &Table, key: &[u8]) -> Result<bool> {
        Ok(self.autocommit(table, key, Wish::Delete)?.existed)
    }

    fn autocommit(&self, table: &Table, key: &[u8], wish: Wish<'_>) -> Result<Outcome> {
        let _committing = tracing::trace_span!("autocommit").entered();
        let shared = self.enter()?;
        shared.check_table(table)?;
        let level = shared.options.synchronous_commit;
        let began = shared.commits.begin(level);
        shared.before_first_write(table)?;
        shared.keep_bound(None, table.log_bytes(wish))?;
        if table.is_unlogged() {
            shared.keep_memory(None)?;
        }
        let done = shared.system.autocommit(&table.tree, key, wish)?;
        let Done {
            outcome,
            has_committed,
            end,
        } = done;
        shared.wait(end, level)?;
        if has_committed {
            shared
                .commits
                .acknowledged(level, !table.is_unlogged(), began);
        }
        Ok(outcome)
    }

    /// Begins a transaction. It ends with [`Transaction::commit`] or [`Transaction::rollback`]; dropped, it is rolled
    /// back. On a closed database every call of it answers [`Error::Closed`].
    pub fn begin(&self) -> Transaction {
        self.begin_at_age(None)
    }

    fn begin_at_age(&self, age: Option<u64>) -> Transaction {
        let shared = &self.handle.shared;
        let seat = shared.system.seat(age);
        Transaction::new(self.clone(), seat, shared.options.synchronous_commit)
    }

    /// Runs `body` in a transaction and commits it; runs it again, in a new one that counts as old as the first, when it
    /// was chosen to end a deadlock: up to 100 times, after pauses from 20 microseconds to 5 ms. Because its age stays, it is
    /// soon the oldest, and then no victim any more. `body` must have no effects outside the transaction.
    ///
    /// # Errors
    ///
    /// What `body` returns (then the transaction is rolled back), and what [`Transaction::commit`] returns;
    /// [`Error::Deadlock`] after the last attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let accounts = db.table("accounts")?;
    /// db.transact(|tx| {
    ///     tx.put(&accounts, b"alice", b"90")?;
    ///     tx.put(&accounts, b"bob", b"110")
    /// })?;
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn transact<T>(&self, mut body: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        let mut age = None;
        let mut pause = Duration::from_micros(20);
        for attempt in 1.. {
            let mut tx = self.begin_at_age(age);
            age = Some(tx.age());
            let result = match body(&mut tx) {
                Ok(value) => tx.commit().map(|()| value),
                Err(error) => tx.rollback().and(Err(error)),
            };
            match result {
                Err(error) if error.is_retryable() && attempt < TRANSACT_ATTEMPTS => {
                    self.handle.shared.io.sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(5));
                }
                result => return result,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Writes every page home that is dirty now, and takes a checkpoint: a recovery from here on has little to do. Other
    /// work goes on meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`], [`Error::LogFailed`], [`Error::Io`].
    pub fn checkpoint(&self) -> Result<()> {
        let shared = self.enter()?;
        shared.system.check_running()?;
        let (system, below) = (&shared.system, shared.system.pager.log.next_lsn());
        shared
            .checkpointer
            .take_behind(system, Cause::Manual, below)
    }

    /// Gives free pages at the end of the file `pages` back to the file system, but for a few; returns how many bytes. Moves no
    /// row: pages in use near the end keep the file long. Writes every dirty page home and takes two checkpoints. Other
    /// work goes on meanwhile, except that the file does not grow.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`], with nothing given back; [`Error::LogFailed`], [`Error::Io`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// let films = db.table("films")?;
    /// db.put(&films, b"1", &vec![7; 1 << 20])?;
    /// db.delete(&films, b"1")?;
    /// while db.step()? == afterimage::Progress::Worked {}
    /// let given_back = db.shrink_file()?;
    /// assert!(given_back > 1_000_000, "{given_back} bytes");
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    pub fn shrink_file(&self) -> Result<u64> {
        let shared = self.enter()?;
        shared.system.check_running()?;
        let (system, pager) = (&shared.system, &shared.system.pager);
        pager.shrink_file(|| {
            // One for each copy of the control file.
            let (taken, below) = (&shared.checkpointer, pager.log.next_lsn());
            taken.take_behind(system, Cause::Manual, below)?;
            taken.take(system, Cause::Manual)
        })
    }

    /// What opening this database found and did.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.handle.shared.report
    }

    /// The counters and positions of this moment.
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }

    /// Counters, settings and pins of this moment: what other processes read in the `status` file, where it is up to half a second old.
    pub fn status(&self) -> StatusFile {
        let shared = &self.handle.shared;
        shared.status_now(shared.closed.load(Ordering::Acquire))
    }

    /// The database's directory.
    pub fn directory(&self) -> &Path {
        &self.handle.shared.directory
    }

    /// Does one piece of background work; for programs and tests that opened with
    /// [`background(false)`](Options::background).
    ///
    /// # Errors
    ///
    /// [`Error::LogFailed`], [`Error::Io`].
    pub fn step(&self) -> Result<Progress> {
        self.enter()?.step()
    }

    /// The database as it is on stable storage now: a moment to read at, without locks. What [`commit`](Transaction::commit)
    /// has acknowledged at level `Disk` is seen; nothing that is seen can be taken back by a crash.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let view = self.enter()?.system.open_view(false);
        Ok(Snapshot::new(self.clone(), view))
    }

    /// The database as it is after the last commit, durable or not. [`Snapshot::wait`] waits until what it shows is durable;
    /// until then a crash could take it back.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::LogFailed`].
    pub fn snapshot_latest(&self) -> Result<Snapshot> {
        let inside = self.enter()?;
        inside.system.check_running()?;
        let view = inside.system.open_view(true);
        Ok(Snapshot::new(self.clone(), view))
    }

    /// Checks every page, every tree, the allocation map and the whole log. Others may go on reading and writing: at most,
    /// the splitting of a page waits until 32 others of its tree have been looked at. Rows are then counted as they come and go.
    ///
    /// # Errors
    ///
    /// What keeps it from looking; damage is in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        verify::verify(&self.enter()?.system)
    }

    /// Writes everything home and closes the database for all handles; the next open has nothing to recover. Unfinished
    /// transactions are left to that recovery; but where there are unlogged tables, which a recovery would empty, they are
    /// rolled back.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if it is closed already, [`Error::LogFailed`] if the engine had stopped; then too the
    /// database is closed.
    pub fn close(self) -> Result<()> {
        if self.handle.shared.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.handle.shutdown()
    }

    /// Enters the engine, unless the database has been closed.
    pub(super) fn enter(&self) -> Result<Inside<'_>> {
        self.handle.shared.enter()
    }

    /// The shared part, closed or not.
    pub(super) fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("directory", &self.handle.shared.directory)
            .finish_non_exhaustive()
    }
}

fn take_lock(io: &Io, directory: &Path) -> Result<LockFile> {
    let path = directory.join("lock");
    match io.try_lock(&path) {
        Ok(LockAttempt::Acquired(lock)) => Ok(lock),
        Ok(LockAttempt::Held { pid }) => Err(Error::InUse {
            path: directory.to_owned(),
            pid,
        }),
        Err(e) => Err(Error::io(path, "lock", &e)),
    }
}

fn open_existing(io: &Io, directory: &Path, options: &Options) -> Result<Recovered> {
    io.note(Note::RecoveryBegan);
    let control =
        ControlFile::open(io, directory, true).inspect_err(|_| io.note(Note::RecoveryRefused))?;
    recover(io, directory, control, options)
}

/// Removes what a creation or a load that was cut off has left.
fn tidy_up(io: &Io, directory: &Path) -> Result<()> {
    create::finish(io, directory)?;
    load::remove_leftovers(io, directory)
}

/// The open failed after all. Where the last stop was a clean one, this is one too: unlogged rows are still there.
fn close_again(recovered: &Recovered) {
    if recovered.report.clean {
        // At worst it counts as one that was not, as after a crash here.
        let _ = recovered.checkpointer.close(&recovered.system);
    }
}

fn start_background(shared: &Arc<Shared>) -> Result<JoinHandle> {
    let working = shared.clone();
    let body = move || {
        loop {
            let progress = working.enter().and_then(|inside| inside.step());
            let mut stopping = working.stopping.lock();
            match progress {
                // The engine has stopped; whoever writes next will be told, and whoever looks on, here.
                Err(_) if working.system.check_running().is_err() => {
                    drop(stopping);
                    working.write_status(false);
                    return;
                }
                Ok(Progress::Worked) => {}
                Ok(_) | Err(_) if !*stopping => {
                    stopping = working.stop.wait_timeout(stopping, REST).0
                }
                _ => {}
            }
            if *stopping {
                return;
            }
        }
    };
    shared
        .io
        .spawn("afterimage", body)
        .map_err(|e| Error::io(&shared.directory, "start the background thread for", &e))
}

impl Handle {
    /// Stops the background thread, then writes everything home. The first caller does it; later ones find it done.
    fn shutdown(&self) -> Result<()> {
        let shared = &self.shared;
        if shared.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let _closing = tracing::info_span!("close").entered();
        *shared.stopping.lock() = true;
        shared.stop.notify_all();
        if let Some(thread) = self.background.lock().take() {
            // A panic in there has stopped the engine: that is reported below.
            let _ = thread.join();
        }
        // Whoever is inside comes out: by itself, or because its wait for a lock is ended.
        while shared.is_anyone_inside() {
            shared.system.end_lock_waits("the database is being closed");
            shared.io.sleep(Duration::from_micros(100));
        }
        let result = shared.write_everything_home();
        // From here on the files may be somebody else's.
        shared.system.pager.log.fail(CLOSED.to_owned());
        shared.write_status(true);
        *shared.lock.lock() = None;
        result
    }
}

/// What the status file is to say of recoveries: this open's, or, behind a clean stop, what it said before.
fn last_recovery(io: &Io, directory: &Path, report: &RecoveryReport) -> Option<LastRecovery> {
    if report.created {
        return None;
    }
    if !report.clean {
        return Some(LastRecovery::new(io.wall_clock(), report.clone()));
    }
    StatusFile::read(io, directory).ok().flatten()?.recovery
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In a simulated world that has lost its power nothing can be written any more.
        if !self.shared.io.has_crashed() {
            let _ = self.shutdown();
        }
    }
}

impl Shared {
    fn write_everything_home(&self) -> Result<()> {
        self.system.check_running()?;
        if self.system.catalogue.unlogged().is_some() {
            self.system.end_everybody(&Error::Closed)?;
        }
        if self.system.active.count() > 0 {
            let log = &self.system.pager.log;
            return Ok(log.wait_durable(log.next_lsn())?);
        }
        self.checkpointer.close(&self.system)
    }

    /// Counts a call as inside the engine until its guard goes.
    fn enter(&self) -> Result<Inside<'_>> {
        let lane = self.io.lane(LANES);
        self.inside[lane].0.fetch_add(1, Ordering::SeqCst);
        let inside = Inside {
            shared: self,
            lane,
            unwinding_before: afterimage_io::is_unwinding(),
        };
        // Counted first, looked at second: who closes does it the other way round, so one sees the other.
        self.check_open()?;
        Ok(inside)
    }

    fn is_anyone_inside(&self) -> bool {
        let counts = self.inside.iter();
        counts
            .map(|lane| lane.0.load(Ordering::SeqCst))
            .any(|count| count > 0)
    }

    /// # Errors
    ///
    /// `Closed` once somebody closes the database, though whoever is inside may still work.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::SeqCst) {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }

    pub(super) fn check_table(&self, table: &Table) -> Result<()> {
        if table.instance == self.instance {
            return Ok(());
        }
        let what = "it was opened by another database handle; open it again here".to_owned();
        Err(Error::BadTableName {
            name: table.name().to_owned(),
            what,
        })
    }

    /// Waits until the log is durable up to `end`, or sees to it that it soon will be, as `durability` asks.
    pub(super) fn wait(&self, end: Option<Lsn>, durability: Durability) -> Result<()> {
        let (Some(end), log) = (end, &self.system.pager.log) else {
            return Ok(());
        };
        Ok(log.wait(end, durability)?)
    }
}

/// A call that is inside the engine. If it panics, the engine stops: what the panic left half done in memory is never
/// written.
pub(super) struct Inside<'a> {
    shared: &'a Shared,
    lane: usize,
    /// A caller's panic that rolls its transaction back on the way is no panic of the engine.
    unwinding_before: bool,
}

impl std::ops::Deref for Inside<'_> {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        self.shared
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let panicked = afterimage_io::is_unwinding() && !self.unwinding_before;
        if panicked && !self.shared.io.has_crashed() {
            self.shared
                .system
                .pager
                .log
                .fail("a panic inside the engine".to_owned());
        }
        self.shared.inside[self.lane]
            .0
            .fetch_sub(1, Ordering::SeqCst);
    }
}
