//! The engine's settings by name: its own table beside the log's, `DIR/settings.toml`, and the checks that refuse a bad
//! value, by name, before anything is touched. What is given in code or by `--set` goes over the file, and the file
//! over the defaults.

use std::path::Path;
use std::time::Duration;

use afterimage_log::LogOptions;
use afterimage_log::settings::{self as log, Kind, Setting, SettingInfo, Source};
use afterimage_log::units::write_size;

use crate::error::{Error, Result};
use crate::limits::{
    PAGE_SIZE_MAX, PAGE_SIZE_MIN, POOL_FRAMES_MIN, SEGMENT_BYTES_MIN, SEGMENT_PAGES_MIN,
};
use crate::options::{Durability, Options};

/// Fewest segments that `max_wal_size` may be.
const WAL_SEGMENTS_MIN: u64 = 4;
/// The levels, in the order of the words of `synchronous_commit`.
const LEVELS: [Durability; 3] = [Durability::Memory, Durability::Os, Durability::Disk];

/// Settings that do nothing yet for a database, even where the log alone has them.
const LATER: &[&str] = &[
    "archive_timeout",
    "idle_replication_slot_timeout",
    "max_slot_wal_keep_size",
    "recycle_behind_slots",
    "wal_level",
];

/// The engine's own settings. Where the log has one of the same name, this is the one that counts.
const TABLE: &[Setting<Options>] = &[
    Setting {
        name: "page_size",
        what: "the size of a page",
        kind: Kind::PowerOfTwo(PAGE_SIZE_MIN as u64, PAGE_SIZE_MAX as u64),
        word: None,
        also: "",
        too_low: "short keys and values only (an eighth and a quarter of it); higher trees",
        too_high: "a small change makes a large page be written",
        changes_while_running: false,
        fixed_at_creation: true,
        get: |o| o.page_size as u64,
        set: |o, value| o.page_size = value as usize,
    },
    Setting {
        name: "buffer_pool_size",
        what: "memory for pages",
        kind: Kind::Size((POOL_FRAMES_MIN * PAGE_SIZE_MIN) as u64, 16 << 40),
        word: None,
        also: "at least 8 pages",
        too_low: "pages are read and written again and again",
        too_high: "the machine swaps",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.buffer_pool_size,
        set: |o, value| o.buffer_pool_size = value,
    },
    Setting {
        name: "unlogged_pool_size",
        what: "memory for pages of unlogged tables, once there are any; and as much again for taking changes of them back",
        kind: Kind::Size((POOL_FRAMES_MIN * PAGE_SIZE_MIN) as u64, 16 << 40),
        word: None,
        also: "at least 8 pages",
        too_low: "pages are read and written again and again; large transactions fail",
        too_high: "the machine swaps",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.unlogged_pool_size,
        set: |o, value| o.unlogged_pool_size = value,
    },
    Setting {
        name: "max_wal_size",
        what: "the log that crash recovery may have to read; pages are written so that it holds",
        kind: Kind::Size(WAL_SEGMENTS_MIN * SEGMENT_BYTES_MIN, 1024 << 40),
        word: None,
        also: "at least 4 times wal_segment_size",
        too_low: "pages are written home more often",
        too_high: "recovery takes longer, and the log more room",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| o.max_wal_size,
        set: |o, value| o.max_wal_size = value,
    },
    Setting {
        name: "checkpoint_timeout",
        what: "the longest time between two checkpoints while there is work",
        kind: Kind::Duration(Duration::from_secs(1), Duration::from_secs(86_400)),
        word: None,
        also: "",
        too_low: "the control file and two records are written for little",
        too_high: "after a time of little work recovery begins far back",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| u64::try_from(o.checkpoint_timeout.as_nanos()).unwrap_or(u64::MAX),
        set: |o, value| o.checkpoint_timeout = Duration::from_nanos(value),
    },
    Setting {
        name: "checkpoint_completion_target",
        what: "the part of checkpoint_timeout over which a checkpoint by time spreads its pages",
        kind: Kind::Share(100, 1000),
        word: None,
        also: "",
        too_low: "pages are written in bursts, which commits have to share the disk with",
        too_high: "1: no time is left where a checkpoint's last pages take longer",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| o.completion_target,
        set: |o, value| o.completion_target = value,
    },
    Setting {
        name: "io_capacity",
        what: "how many pages a second go home ahead of need while the log is within its target, half of max_wal_size",
        kind: Kind::Count(1, 10_000_000),
        word: Some(("unlimited", u64::MAX)),
        also: "",
        too_low: "the log grows beyond its target, and io_capacity_max counts",
        too_high: "many pages that are due at once are written at once, and commits share the disk with them",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| o.io_capacity,
        set: |o, value| o.io_capacity = value,
    },
    Setting {
        name: "io_capacity_max",
        what: "the same where the log is beyond its target, reached at five eighths of max_wal_size",
        kind: Kind::Count(1, 10_000_000),
        word: Some(("unlimited", u64::MAX)),
        also: "at least io_capacity",
        too_low: "first writes are delayed although the disk could do more",
        too_high: "a log beyond its target takes as much of the disk as there is",
        changes_while_running: true,
        fixed_at_creation: false,
        get: |o| o.io_capacity_max,
        set: |o, value| o.io_capacity_max = value,
    },
    Setting {
        name: "target_recovery_time",
        what: "how long a recovery may take, as far as that can be reckoned; pages are written so that it holds",
        kind: Kind::Duration(Duration::from_millis(100), Duration::from_secs(86_400)),
        word: None,
        also: "",
        too_low: "pages are written home again and again",
        too_high: "only max_wal_size bounds how long a recovery takes",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| u64::try_from(o.target_recovery_time.as_nanos()).unwrap_or(u64::MAX),
        set: |o, value| o.target_recovery_time = Duration::from_nanos(value),
    },
    Setting {
        name: "lock_timeout",
        what: "how long a call waits for a lock before it gives up",
        kind: Kind::Duration(Duration::from_millis(1), Duration::from_secs(86_400)),
        word: Some(("off", u64::MAX)),
        also: "",
        too_low: "calls fail that only had to wait their turn",
        too_high: "calls hang behind a transaction that somebody has left open",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| u64::try_from(o.lock_timeout.as_nanos()).unwrap_or(u64::MAX),
        set: |o, value| {
            o.lock_timeout = match value {
                u64::MAX => Duration::MAX,
                nanos => Duration::from_nanos(nanos),
            };
        },
    },
    Setting {
        name: "version_store_size",
        what: "memory for old versions of rows, which snapshots read",
        kind: Kind::Size(64 << 10, 1 << 40),
        word: None,
        also: "",
        too_low: "long snapshots end with SnapshotTooOld",
        too_high: "a forgotten snapshot takes all of it",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| o.version_store_size,
        set: |o, value| o.version_store_size = value,
    },
    Setting {
        name: "synchronous_commit",
        what: "what a commit waits for, unless its transaction says otherwise",
        kind: Kind::OneOf(&["memory|off", "os", "disk|on"]),
        word: None,
        also: "",
        too_low: "memory: a crash of the process loses the last commits; os: a power failure does",
        too_high: "disk: a commit takes as long as a sync, alone or shared",
        changes_while_running: false,
        fixed_at_creation: false,
        get: |o| {
            let level = LEVELS.iter().position(|l| *l == o.synchronous_commit);
            level.unwrap_or(LEVELS.len()) as u64
        },
        set: |o, value| {
            if let Some(level) = LEVELS.get(value as usize) {
                o.synchronous_commit = *level;
            }
        },
    },
];

/// The log's settings that a database has too.
fn of_the_log() -> impl Iterator<Item = &'static Setting<LogOptions>> {
    log::TABLE
        .iter()
        .filter(|s| log::find(TABLE, s.name).is_none() && !LATER.contains(&s.name))
}

impl Options {
    /// Sets a setting by its name, as `--set` and `settings.toml` do: `set("buffer_pool_size", "64MiB")`. The names are
    /// those of `docs/settings.md`.
    ///
    /// # Examples
    ///
    /// ```
    /// use afterimage::Options;
    ///
    /// let options = Options::new().set("wal_buffers", "16MiB")?.set("synchronous_commit", "memory")?;
    /// let misspelt = options.set("wal_bufers", "16MiB").unwrap_err();
    /// assert_eq!(misspelt.to_string(), "there is no setting wal_bufers; did you mean wal_buffers?");
    /// # Ok::<(), afterimage::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSetting`]; [`Error::BadOption`] for a value that is not taken, or a setting that does nothing yet.
    pub fn set(mut self, name: &str, value: &str) -> Result<Options> {
        self.put(name, value, Source::Set)?;
        Ok(self)
    }

    /// The settings with their values, and where each came from. `DIR/settings.toml` and what is fixed in a database that
    /// is there count once it is opened; [`inspect::settings`](crate::inspect::settings) looks at both.
    pub fn settings(&self) -> Vec<SettingInfo> {
        let source = |name| *self.given.get(name).unwrap_or(&Source::Default);
        let own = TABLE.iter().map(|s| s.info(self, source(s.name)));
        let logs = of_the_log().map(|s| s.info(&self.log, source(s.name)));
        own.chain(logs).collect()
    }

    fn put(&mut self, name: &str, value: &str, source: Source) -> Result<()> {
        let name = if let Some(setting) = log::find(TABLE, name) {
            setting.apply(self, value)?;
            setting.name
        } else if let Some(setting) = of_the_log().find(|s| s.name == name) {
            setting.apply(&mut self.log, value)?;
            setting.name
        } else {
            let own = TABLE.iter().map(|s| s.name);
            let known: Vec<_> = own.chain(of_the_log().map(|s| s.name)).collect();
            let later = if LATER.contains(&name) {
                LATER
            } else {
                log::LATER
            };
            return Err(log::refuse(name, later, &known).into());
        };
        self.given.insert(name, source);
        Ok(())
    }

    /// Takes from `directory/settings.toml` what was not set before.
    pub(crate) fn with_file(mut self, directory: &Path) -> Result<Options> {
        for found in log::read_file(&self.io, directory)? {
            let source = Source::File { line: found.line };
            let given = self.given.get(found.name.as_str()) == Some(&Source::Set);
            // What the file says must be right even where it does not count.
            let mut scratch = Options::new();
            let reader = if given { &mut scratch } else { &mut self };
            reader
                .put(&found.name, &found.value, source)
                .map_err(|e| Error::from(log::in_file(directory, found.line, e)))?;
        }
        Ok(self)
    }

    /// Takes over what was fixed when the database was made.
    ///
    /// # Errors
    ///
    /// `FixedAtCreation` where something else was asked for.
    pub(crate) fn adopt(mut self, page_size: u32, segment_bytes: u64) -> Result<Options> {
        let fixed = [
            ("page_size", self.page_size as u64, u64::from(page_size)),
            ("wal_segment_size", self.log.segment_bytes, segment_bytes),
        ];
        for (name, asked, existing) in fixed {
            if asked != existing && self.given.contains_key(name) {
                return Err(Error::FixedAtCreation {
                    name,
                    asked: write_size(asked),
                    existing: write_size(existing),
                });
            }
            self.given.insert(name, Source::Creation);
        }
        self.page_size = page_size as usize;
        self.log.segment_bytes = segment_bytes;
        Ok(self)
    }

    /// Whether the log, too, has a setting of this name.
    pub(crate) fn is_of_the_log(name: &str) -> bool {
        log::find(log::TABLE, name).is_some()
    }

    /// Refuses a known setting that stays as it is while the database is open.
    pub(crate) fn check_changes(&self, name: &str) -> Result<()> {
        let own = log::find(TABLE, name);
        if let Some(setting) = own.filter(|s| !s.changes_while_running) {
            return Err(log::stays(setting).into());
        }
        let of_the_log = of_the_log().find(|s| s.name == name);
        match of_the_log.filter(|s| !s.changes_while_running) {
            Some(setting) => Err(log::stays(setting).into()),
            None => Ok(()),
        }
    }

    /// Refuses what is out of its bounds, by name.
    pub(crate) fn check(&self) -> Result<()> {
        TABLE.iter().try_for_each(|s| s.check(self))?;
        log::TABLE.iter().try_for_each(|s| s.check(&self.log))?;
        Ok(())
    }

    /// Refuses what contradicts something else, by name: once it is known what is fixed.
    pub(crate) fn check_together(&self) -> Result<()> {
        let bad = |name, what| Err(Error::BadOption { name, what });
        let (page, segment) = (self.page_size as u64, self.log.segment_bytes);
        for (name, pool) in [
            ("buffer_pool_size", self.buffer_pool_size),
            ("unlogged_pool_size", self.unlogged_pool_size),
        ] {
            if pool < POOL_FRAMES_MIN as u64 * page {
                let (pool, page) = (write_size(pool), write_size(page));
                let what = format!("{pool} is less than {POOL_FRAMES_MIN} pages of {page}");
                return bad(name, what);
            }
        }
        if segment < SEGMENT_PAGES_MIN * page {
            let (segment, page) = (write_size(segment), write_size(page));
            let what = format!("{segment} is less than {SEGMENT_PAGES_MIN} pages of {page}");
            return bad("wal_segment_size", what);
        }
        if self.max_wal_size < WAL_SEGMENTS_MIN * segment {
            let (max, segment) = (write_size(self.max_wal_size), write_size(segment));
            let what = format!("{max} is less than {WAL_SEGMENTS_MIN} segments of {segment}");
            return bad("max_wal_size", what);
        }
        if self.io_capacity_max < self.io_capacity {
            // `unlimited` is more than any number.
            let value = |of: u64| match of {
                u64::MAX => "unlimited".to_owned(),
                pages => pages.to_string(),
            };
            let (max, usual) = (value(self.io_capacity_max), value(self.io_capacity));
            let what = format!("{max} is less than io_capacity, {usual}");
            return bad("io_capacity_max", what);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_setting() {
        let document = include_str!("../../../docs/settings.md");
        log::check_document(document, "## Of a database", TABLE);
    }

    #[test]
    fn what_acts_is_not_said_to_do_nothing() {
        for name in LATER {
            let acts = log::find(TABLE, name).is_some();
            assert!(!acts, "{name} acts now: take it out of LATER");
        }
    }
}
