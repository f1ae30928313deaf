//! The settings of one database as a program sets them: unit, bounds and default of each. Names follow what people know
//! from PostgreSQL, InnoDB and RocksDB; `settings.rs` has them by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use afterimage_io::Io;
use afterimage_log::LogOptions;
use afterimage_log::settings::Source;

pub use afterimage_log::Durability;

use crate::observe::{Observing, RecoveryObserver};

/// How to open a database. Start with [`Options::new`], change what you need, end with [`Options::open`].
///
/// What is set here goes over what `settings.toml` in the database's directory says, and that over the defaults.
/// [`Options::set`] takes every setting by its name, also those that have no method.
///
/// # Examples
///
/// ```
/// use afterimage::Options;
/// # let world = afterimage_io::sim::Sim::new(1);
/// # let base = Options::new().io(world.io()).background(false);
/// # let options_new = || base.clone();
/// let db = options_new().buffer_pool_size(16 << 20).open("bank")?;
/// # db.close()?;
/// # Ok::<(), afterimage::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) page_size: usize,
    pub(crate) buffer_pool_size: u64,
    pub(crate) unlogged_pool_size: u64,
    pub(crate) max_wal_size: u64,
    pub(crate) checkpoint_timeout: Duration,
    /// In thousandths.
    pub(crate) completion_target: u64,
    /// Pages a second; `u64::MAX` for as many as there are.
    pub(crate) io_capacity: u64,
    pub(crate) io_capacity_max: u64,
    pub(crate) target_recovery_time: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) version_store_size: u64,
    pub(crate) synchronous_commit: Durability,
    pub(crate) create: bool,
    pub(crate) background: bool,
    pub(crate) io: Io,
    pub(crate) observer: Observing,
    /// The settings of the log: `segment_bytes` is the setting `wal_segment_size`; `background` is not used.
    pub(crate) log: LogOptions,
    /// Which settings somebody has said something about, and where.
    pub(crate) given: BTreeMap<&'static str, Source>,
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

impl Options {
    /// The defaults: 8 KiB pages, a 64 MiB buffer pool, 16 MiB segments, durable commits.
    pub fn new() -> Options {
        Options {
            page_size: 8 << 10,
            buffer_pool_size: 64 << 20,
            unlogged_pool_size: 16 << 20,
            max_wal_size: 1 << 30,
            checkpoint_timeout: Duration::from_secs(300),
            completion_target: 900,
            io_capacity: u64::MAX,
            io_capacity_max: u64::MAX,
            target_recovery_time: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            version_store_size: 64 << 20,
            synchronous_commit: Durability::Disk,
            create: true,
            background: true,
            io: Io::os(),
            observer: Observing::default(),
            log: LogOptions::default(),
            given: BTreeMap::new(),
        }
    }

    /// Bytes in a page: a power of two from 4 KiB to 64 KiB, default 8 KiB. Fixed when the database is created: later
    /// opens take it from the database, and refuse another one.
    pub fn page_size(mut self, bytes: usize) -> Options {
        self.page_size = bytes;
        self.given("page_size")
    }

    /// Memory for cached pages, in bytes: at least 8 pages, default 64 MiB. Too small: pages are read and written
    /// again and again. Too large: the machine swaps.
    ///
    /// All the memory the engine uses is this, and: twice `unlogged_pool_size` where there are unlogged tables, log not yet written (`wal_buffers`, 4 MiB, and as much again while it is being
    /// written), one batch of the doublewrite area (at most 167 pages), during a recovery a quarter of the pool (at most 128 MiB), about 200 bytes for each key that a transaction
    /// has locked, the names of the tables, and 128 KiB of fixed tables.
    pub fn buffer_pool_size(mut self, bytes: u64) -> Options {
        self.buffer_pool_size = bytes;
        self.given("buffer_pool_size")
    }

    /// Memory for cached pages of unlogged tables, in bytes: at least 8 pages, default 16 MiB. Taken when there is the first such
    /// table. As much again, at most, is kept of what unfinished transactions have changed in them, to take it back; who
    /// would go beyond that meets [`Error::TransactionTooBig`](crate::Error::TransactionTooBig). Too small: pages are read
    /// and written again and again, and large transactions fail. Too large: the machine swaps.
    pub fn unlogged_pool_size(mut self, bytes: u64) -> Options {
        self.unlogged_pool_size = bytes;
        self.given("unlogged_pool_size")
    }

    /// Bytes in a log segment: a power of two from 64 KiB (and at least 8 pages) to 1 GiB, default 16 MiB. Fixed when
    /// the database is created, as the page size is.
    pub fn wal_segment_size(mut self, bytes: u64) -> Options {
        self.log.segment_bytes = bytes;
        self.given("wal_segment_size")
    }

    /// For tests: the number of the first segment of the log of a database that is made.
    #[doc(hidden)]
    pub fn first_wal_segment(mut self, number: u64) -> Options {
        self.log.first_segment = number;
        self
    }

    /// The log that crash recovery may have to read, in bytes: at least 4 segments, default 1 GiB. Pages go home as fast as
    /// log is written, so that it stays near half of this; where the disk does not keep up, first writes of transactions are delayed
    /// from nine sixteenths on, by up to 50 ms; nobody passes it. Too small: pages are written home more often, or writers wait.
    /// Too large: recovery takes longer.
    pub fn max_wal_size(mut self, bytes: u64) -> Options {
        self.max_wal_size = bytes;
        self.given("max_wal_size")
    }

    /// The longest time between two checkpoints while there is work: 1 s to 1 day, default 5 min.
    pub fn checkpoint_timeout(mut self, timeout: Duration) -> Options {
        self.checkpoint_timeout = timeout;
        self.given("checkpoint_timeout")
    }

    /// The part of `checkpoint_timeout` over which a checkpoint by time spreads its pages: 0.1 to 1, default 0.9; thousandths count.
    pub fn checkpoint_completion_target(mut self, part: f64) -> Options {
        // What is no part of 1 is refused by the open.
        self.completion_target = (part * 1000.0).round() as u64;
        self.given("checkpoint_completion_target")
    }

    /// How many pages a second go home ahead of need while the log is within its target, half of `max_wal_size`: 1 to 10
    /// million, `u64::MAX` (the default) for as many as the pace of the log asks for. That pace is even by itself; a limit is for a disk that
    /// is shared. Too small: the log grows beyond its target, and `io_capacity_max` counts. Pages that go home so that others have
    /// room in the pool are beside it.
    pub fn io_capacity(mut self, pages: u64) -> Options {
        self.io_capacity = pages;
        self.given("io_capacity")
    }

    /// As [`io_capacity`](Options::io_capacity), and no less, where the log is beyond its target: from five eighths of
    /// `max_wal_size` on. Default `u64::MAX`, no limit. Too small: first writes are delayed although the disk could do more.
    pub fn io_capacity_max(mut self, pages: u64) -> Options {
        self.io_capacity_max = pages;
        self.given("io_capacity_max")
    }

    /// How long a recovery may take: 100 ms to 1 day, default 30 s. Pages are written and checkpoints taken so that it is
    /// reckoned to take no longer ([`Stats::estimated_recovery_micros`](crate::Stats::estimated_recovery_micros)); what would have
    /// to be taken back of unfinished transactions comes on top. `max_wal_size` holds as well.
    pub fn target_recovery_time(mut self, time: Duration) -> Options {
        self.target_recovery_time = time;
        self.given("target_recovery_time")
    }

    /// How long a commit at [`Durability::Memory`] stays in memory before it is written and synced: 1 ms to 10 s, default
    /// 200 ms. The background thread does it, between its other work: a slow disk stretches the time by what a write of
    /// pages takes.
    pub fn wal_writer_delay(mut self, delay: Duration) -> Options {
        self.log.wal_writer_delay = delay;
        self.given("wal_writer_delay")
    }

    /// How long the leader of a flush waits for more commits to join, once `commit_siblings` others wait: 0 to 100 ms,
    /// default 0. On the devices measured it does not pay (docs/decisions/0010): every commit waits that long.
    pub fn commit_delay(mut self, delay: Duration) -> Options {
        self.log.commit_delay = delay;
        self.given("commit_delay")
    }

    /// How many others must wait before `commit_delay` is waited for: 0 to 1000, default 5.
    pub fn commit_siblings(mut self, count: usize) -> Options {
        self.log.commit_siblings = count;
        self.given("commit_siblings")
    }

    /// How much log may wait in memory before whoever appends writes it out, in bytes: 64 KiB to 1 GiB, default 4 MiB. Too small:
    /// transactions wait for the disk before they commit. Too large: memory that is seldom used.
    pub fn wal_buffers(mut self, bytes: u64) -> Options {
        self.log.wal_buffers = bytes;
        self.given("wal_buffers")
    }

    /// Memory, in bytes, that old versions of rows may take so that snapshots can go on reading: 64 KiB to 1 TiB, default 64 MiB.
    /// What unfinished transactions have changed counts, and stays in any case. Too small: long readers meet
    /// [`Error::SnapshotTooOld`](crate::Error::SnapshotTooOld). Too large: one forgotten snapshot takes all of it.
    pub fn version_store_size(mut self, bytes: u64) -> Options {
        self.version_store_size = bytes;
        self.given("version_store_size")
    }

    /// How long a call waits for a lock before it answers [`Error::LockTimeout`](crate::Error::LockTimeout): 1 ms to 1 day, default
    /// 10 s, [`Duration::MAX`] for ever. A deadlock is found at once and needs no timeout; this is for a transaction that
    /// somebody has left open. Too short: calls fail that only had to wait their turn. Too long: they hang behind it.
    pub fn lock_timeout(mut self, timeout: Duration) -> Options {
        self.lock_timeout = timeout;
        self.given("lock_timeout")
    }

    /// What commits wait for unless a transaction says otherwise. Default [`Durability::Disk`].
    pub fn synchronous_commit(mut self, durability: Durability) -> Options {
        self.synchronous_commit = durability;
        self.given("synchronous_commit")
    }

    /// Whether [`open`](Options::open) makes a database where there is none. Default true.
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// Whether a background thread cleans pages and takes checkpoints. Default true. Without it the calls that need
    /// such work do it themselves, and [`Database::step`](crate::Database::step) does one piece of it.
    pub fn background(mut self, background: bool) -> Options {
        self.background = background;
        self
    }

    /// The world to run in: the real one by default, a simulated or read-only one for tests and tools.
    pub fn io(mut self, io: Io) -> Options {
        self.io = io;
        self
    }

    /// Tells `observer` every step of the recovery that the open makes, if it has to make one. Redo is slower then: it takes one
    /// record after the other.
    pub fn observer(mut self, observer: Arc<dyn RecoveryObserver>) -> Options {
        self.observer = Observing(Some(observer));
        self
    }

    pub(crate) fn frames(&self) -> usize {
        usize::try_from(self.buffer_pool_size / self.page_size as u64).unwrap_or(usize::MAX)
    }

    /// Places for pages of unlogged tables.
    pub(crate) fn unlogged_frames(&self) -> usize {
        usize::try_from(self.unlogged_pool_size / self.page_size as u64).unwrap_or(usize::MAX)
    }

    /// Remembers that the program has said this: it goes over the settings file.
    fn given(mut self, name: &'static str) -> Options {
        self.given.insert(name, Source::Set);
        self
    }
}
