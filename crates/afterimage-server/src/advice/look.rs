//! What the rules look at: the numbers of a status, since the open or since a setting was last changed, and its settings by name.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use afterimage::{Stats, StatusFile};
use afterimage_log::units::{parse_duration, parse_size};

/// A status, with settings that can be asked for.
pub(super) struct Look<'a> {
    pub(super) status: &'a StatusFile,
    fields: BTreeMap<&'static str, u64>,
}

/// In less time than this a rate is no rate.
const RATE_MIN: Duration = Duration::from_secs(60);

impl Deref for Look<'_> {
    type Target = Stats;
    fn deref(&self) -> &Stats {
        &self.status.stats
    }
}

impl<'a> Look<'a> {
    pub(super) fn new(status: &'a StatusFile) -> Look<'a> {
        Look {
            status,
            fields: status.stats.fields().into_iter().collect(),
        }
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

    /// How much of this number ([`Stats::fields`]) has come since a setting was last changed, or since the open.
    pub(super) fn since_set(&self, name: &str) -> u64 {
        let mut before = self.status.at_last_set.iter();
        let before = before.find(|(found, _)| found == name);
        let now = self.fields.get(name).copied().unwrap_or(0);
        now.saturating_sub(before.map_or(0, |(_, value)| *value))
    }

    /// The part that this is of the time that the database has been open.
    pub(super) fn part_of_uptime(&self, waited: Duration) -> f64 {
        let uptime = Duration::from_micros(self.uptime_micros);
        waited.as_secs_f64() / uptime.as_secs_f64().max(0.001)
    }

    /// Log written, bytes a second; `None` before there is enough time to say.
    pub(super) fn log_a_second(&self) -> Option<f64> {
        let over = Duration::from_micros(self.since_set("uptime_micros"));
        (over >= RATE_MIN).then(|| self.since_set("wal_bytes") as f64 / over.as_secs_f64())
    }

    /// Whether a recovery now would take longer than it may.
    pub(super) fn is_recovery_long(&self) -> bool {
        self.estimated_recovery_micros > self.target_recovery_micros
    }
}
