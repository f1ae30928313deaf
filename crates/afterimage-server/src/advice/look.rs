//! What the rules look at: the numbers of a status, and its settings by name.

use std::ops::Deref;
use std::time::Duration;

use afterimage::{Stats, StatusFile};
use afterimage_log::units::{parse_duration, parse_size};

/// A status, with settings that can be asked for.
pub(super) struct Look<'a> {
    pub(super) status: &'a StatusFile,
}

impl Deref for Look<'_> {
    type Target = Stats;
    fn deref(&self) -> &Stats {
        &self.status.stats
    }
}

impl<'a> Look<'a> {
    pub(super) fn new(status: &'a StatusFile) -> Look<'a> {
        Look { status }
    }

    /// A setting as it would be written; empty where the status does not tell it.
    pub(super) fn setting(&self, name: &str) -> &'a str {
        let mut settings = self.status.settings.iter();
        let found = settings.find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// A setting in bytes; `None` for a word, or where it is not told.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        parse_size(self.setting(name)).ok()
    }

    /// A setting as a time, likewise.
    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        parse_duration(self.setting(name)).ok()
    }

    pub(super) fn uptime(&self) -> Duration {
        Duration::from_micros(self.uptime_micros)
    }

    /// Log written, bytes a second, over the time that the database has been open.
    pub(super) fn log_a_second(&self) -> f64 {
        self.wal_bytes as f64 / self.uptime().as_secs_f64().max(0.001)
    }
}
