//! Settings that change while the database is open: `Database::set`, and where those who heed them read them.

use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::settings::SettingInfo;

use super::handle::{Database, Shared};
use crate::checkpoint::Limits;
use crate::error::Result;
use crate::options::Options;

/// The settings as they are now.
pub(super) struct Live {
    max_wal_size: AtomicU64,
    /// In nanoseconds.
    checkpoint_timeout: AtomicU64,
    completion_target: AtomicU64,
    io_capacity: AtomicU64,
    io_capacity_max: AtomicU64,
    /// All of them, with where each came from. Held while one changes.
    shown: Mutex<Options>,
    /// What [`JUDGED`] were when one last changed.
    at_last_set: Mutex<Vec<(String, u64)>>,
}

/// Numbers by which settings that change are judged. After a change it is what has come since that counts.
const JUDGED: &[&str] = &[
    "uptime_micros",
    "wal_bytes",
    "checkpoints_timed",
    "checkpoints_paced",
    "checkpoints_forced",
    "checkpoints_manual",
    "checkpoint_interval_count",
    "checkpoint_interval_micros",
    "wait_throttle_count",
    "wait_throttle_micros",
    "wal_flushes",
    "wal_flush_commits",
    "wal_flush_writers",
];

impl Live {
    pub(super) fn new(io: &Io, options: &Options) -> Live {
        let live = Live {
            max_wal_size: AtomicU64::new(0),
            checkpoint_timeout: AtomicU64::new(0),
            completion_target: AtomicU64::new(0),
            io_capacity: AtomicU64::new(0),
            io_capacity_max: AtomicU64::new(0),
            shown: Mutex::new(io, options.clone()),
            at_last_set: Mutex::new(io, Vec::new()),
        };
        live.take(options);
        live
    }

    fn take(&self, options: &Options) {
        let timeout = u64::try_from(options.checkpoint_timeout.as_nanos()).unwrap_or(u64::MAX);
        for (live, value) in [
            (&self.max_wal_size, options.max_wal_size),
            (&self.checkpoint_timeout, timeout),
            (&self.completion_target, options.completion_target),
            (&self.io_capacity, options.io_capacity),
            (&self.io_capacity_max, options.io_capacity_max),
        ] {
            live.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn max_wal_size(&self) -> u64 {
        self.max_wal_size.load(Ordering::Relaxed)
    }

    /// All of them, with where each came from.
    pub(super) fn settings(&self) -> Vec<SettingInfo> {
        self.shown.lock().settings()
    }

    /// What the numbers were that settings are judged by, when one last changed; empty if none has.
    pub(super) fn at_last_set(&self) -> Vec<(String, u64)> {
        self.at_last_set.lock().clone()
    }

    pub(super) fn limits(&self) -> Limits {
        let timeout = self.checkpoint_timeout.load(Ordering::Relaxed);
        Limits {
            max_wal_size: self.max_wal_size(),
            horizon: u64::MAX,
            checkpoint_timeout: Duration::from_nanos(timeout),
            completion_target: self.completion_target.load(Ordering::Relaxed),
            io_capacity: self.io_capacity.load(Ordering::Relaxed),
            io_capacity_max: self.io_capacity_max.load(Ordering::Relaxed),
        }
    }
}

impl Database {
    /// Changes a setting by its name while the database is open: one of those for which
    /// [`SettingInfo::changes_while_running`] says so. It counts from the next time that somebody looks, and until the
    /// database is closed: nothing is written down. With a smaller `max_wal_size` the next writers bring pages home until
    /// it holds, and a transaction that holds back more is rolled back.
    ///
    /// ```
    /// # let world = afterimage_io::sim::Sim::new(1);
    /// # let db = afterimage::Options::new().io(world.io()).background(false).open("bank")?;
    /// db.set("max_wal_size", "4GiB")?;
    /// db.set("io_capacity", "2000")?;
    /// let stays = db.set("page_size", "16KiB").unwrap_err();
    /// assert_eq!(stays.to_string(), "setting page_size: it was fixed when this was made, and never changes");
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSetting`](crate::Error::UnknownSetting); [`Error::BadOption`](crate::Error::BadOption) for a value that is not
    /// taken or contradicts another setting, and for a setting that does not change. Nothing has been changed then.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.enter()?.set(name, value)
    }

    /// The settings as they are now, and where each came from.
    pub fn settings(&self) -> Vec<SettingInfo> {
        self.shared().live.settings()
    }
}

impl Shared {
    fn set(&self, name: &str, value: &str) -> Result<()> {
        let mut shown = self.live.shown.lock();
        let changed = shown.clone().set(name, value)?;
        changed.check_changes(name)?;
        changed.check_together()?;
        if Options::is_of_the_log(name) {
            self.system.pager.log.set(name, value)?;
        }
        self.live.take(&changed);
        *shown = changed;
        if name == "max_wal_size" {
            self.checkpointer.restart_age_max();
        }
        let judged = self.stats().fields().into_iter();
        let judged = judged.filter(|(name, _)| JUDGED.contains(name));
        let judged = judged.map(|(name, value)| (name.to_owned(), value));
        *self.live.at_last_set.lock() = judged.collect();
        Ok(())
    }
}
