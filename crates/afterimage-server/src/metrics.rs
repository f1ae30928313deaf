//! A look at a database as OpenMetrics text, which Prometheus and those who speak its language read. One table says for each number
//! which metric it is: a number of [`Stats`](afterimage::Stats) without a line here does not pass the tests.
//!
//! Names are those that people know from PostgreSQL, where there is such a thing; units are in the name, always bytes and seconds.

use std::collections::BTreeMap;
use std::fmt;

use afterimage::{Histogram, PinHolder, StatusFile};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::live::State;

/// What an answer with this text says that it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text.
pub fn text(status: &StatusFile) -> String {
    let mut registry = Registry::with_prefix("afterimage");
    registry.register_collector(Box::new(Look(status.clone())));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// What a number is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Things,
    Bytes,
    /// Told in seconds.
    Micros,
}

/// A number of the status: its name there, its name as a metric, and what it says.
struct Metric {
    field: &'static str,
    name: &'static str,
    unit: In,
    kind: MetricType,
    help: &'static str,
}

const fn counter(field: &'static str, name: &'static str, unit: In, help: &'static str) -> Metric {
    let kind = MetricType::Counter;
    Metric {
        field,
        name,
        unit,
        kind,
        help,
    }
}

const fn gauge(field: &'static str, name: &'static str, unit: In, help: &'static str) -> Metric {
    let kind = MetricType::Gauge;
    Metric {
        field,
        name,
        unit,
        kind,
        help,
    }
}

use In::{Bytes, Micros, Things};

/// The numbers that are a metric each. Units are added to the names, and `_total` to those of counters.
const METRICS: &[Metric] = &[
    gauge(
        "uptime_micros",
        "uptime",
        Micros,
        "How long the database has been open.",
    ),
    counter(
        "wal_records",
        "wal_records",
        Things,
        "Records appended to the log.",
    ),
    counter("wal_bytes", "wal", Bytes, "Bytes appended to the log."),
    counter(
        "wal_bytes_written",
        "wal_written",
        Bytes,
        "Bytes of log handed to the operating system, whole blocks.",
    ),
    counter("wal_writes", "wal_writes", Things, "Writes of the log."),
    counter("wal_syncs", "wal_syncs", Things, "Syncs of the log."),
    counter(
        "wal_flushes",
        "wal_flushes",
        Things,
        "Flushes of the log: a group of commits each.",
    ),
    counter(
        "wal_flush_commits",
        "wal_flush_commits",
        Things,
        "Commits that flushes carried; over wal_flushes the commits a sync.",
    ),
    counter(
        "wal_flush_writers",
        "wal_flush_writers",
        Things,
        "Commits on their way as each flush began; over wal_flushes how many commit at a time.",
    ),
    counter(
        "wal_buffers_full",
        "wal_buffers_full",
        Things,
        "Writes that waited for a full log buffer.",
    ),
    gauge(
        "wal_busiest_bytes",
        "wal_busiest",
        Bytes,
        "The most log within one checkpoint_timeout.",
    ),
    gauge(
        "wal_sync_micros",
        "wal_sync_average",
        Micros,
        "A sync of the log, as a moving average.",
    ),
    gauge(
        "wal_slowest_sync_micros",
        "wal_sync_longest",
        Micros,
        "The longest sync of the log.",
    ),
    gauge(
        "wal_segment",
        "wal_segment",
        Things,
        "The number of the segment that is being written.",
    ),
    gauge(
        "wal_segment_size",
        "wal_segment_size",
        Bytes,
        "Bytes in a segment.",
    ),
    gauge(
        "wal_segments",
        "wal_segments",
        Things,
        "Segments that hold log.",
    ),
    gauge(
        "wal_segments_spare",
        "wal_segments_spare",
        Things,
        "Segments prepared for the log.",
    ),
    counter(
        "wal_segments_recycled",
        "wal_segments_recycled",
        Things,
        "Segments used again instead of made anew.",
    ),
    gauge(
        "next_lsn",
        "wal_next_lsn",
        Things,
        "Where the next record goes.",
    ),
    gauge(
        "written_lsn",
        "wal_written_lsn",
        Things,
        "Up to where the log is handed to the operating system.",
    ),
    gauge(
        "durable_lsn",
        "wal_durable_lsn",
        Things,
        "Up to where the log is on stable storage.",
    ),
    gauge(
        "redo_lsn",
        "redo_lsn",
        Things,
        "Where a recovery would begin to redo.",
    ),
    gauge(
        "checkpoint_lsn",
        "checkpoint_lsn",
        Things,
        "The last complete checkpoint.",
    ),
    gauge(
        "checkpoint_age",
        "checkpoint_age",
        Bytes,
        "Log since the redo point: what a recovery would read.",
    ),
    gauge(
        "checkpoint_age_max",
        "checkpoint_age_max",
        Bytes,
        "The most that this has been.",
    ),
    gauge(
        "max_wal_size",
        "max_wal_size",
        Bytes,
        "The setting: never is the checkpoint age more.",
    ),
    gauge(
        "estimated_recovery_micros",
        "estimated_recovery",
        Micros,
        "How long a recovery would take now.",
    ),
    gauge(
        "target_recovery_micros",
        "target_recovery",
        Micros,
        "The setting target_recovery_time.",
    ),
    gauge(
        "target_recovery_bytes",
        "target_recovery",
        Bytes,
        "Log that a recovery within target_recovery_time is reckoned to read.",
    ),
    counter(
        "checkpoints_timed",
        "checkpoints_timed",
        Things,
        "Checkpoints because checkpoint_timeout had passed.",
    ),
    counter(
        "checkpoints_paced",
        "checkpoints_paced",
        Things,
        "Checkpoints because an eighth of max_wal_size had been written.",
    ),
    counter(
        "checkpoints_forced",
        "checkpoints_forced",
        Things,
        "Checkpoints because the log came close to max_wal_size.",
    ),
    counter(
        "checkpoints_manual",
        "checkpoints_manual",
        Things,
        "Checkpoints that somebody asked for.",
    ),
    counter(
        "checkpoints_shutdown",
        "checkpoints_shutdown",
        Things,
        "Checkpoints at a clean stop or the end of a recovery.",
    ),
    counter(
        "checkpoint_write_micros",
        "checkpoint_write",
        Micros,
        "Time in writes of pages that went home.",
    ),
    counter(
        "checkpoint_sync_micros",
        "checkpoint_sync",
        Micros,
        "Time in the syncs behind these writes.",
    ),
    gauge(
        "checkpoint_since_micros",
        "checkpoint_since",
        Micros,
        "How long ago the last checkpoint was.",
    ),
    counter("commits", "commits", Things, "Transactions committed."),
    counter(
        "rollbacks",
        "rollbacks",
        Things,
        "Transactions rolled back.",
    ),
    gauge(
        "active_transactions",
        "active_transactions",
        Things,
        "Unfinished transactions that have written something.",
    ),
    counter("deadlocks", "deadlocks", Things, "Deadlocks ended."),
    counter(
        "lock_waits",
        "lock_waits",
        Things,
        "Waits for a lock begun.",
    ),
    counter(
        "lock_timeouts",
        "lock_timeouts",
        Things,
        "Waits for a lock given up after lock_timeout.",
    ),
    gauge("snapshots", "snapshots", Things, "Snapshots open."),
    gauge(
        "snapshot_oldest_lsn",
        "snapshot_oldest_lsn",
        Things,
        "What the oldest snapshot reads at; 0 for none.",
    ),
    counter(
        "snapshots_too_old",
        "snapshots_too_old",
        Things,
        "Snapshots given up because of version_store_size.",
    ),
    gauge(
        "versions",
        "versions",
        Things,
        "Old versions of rows in memory.",
    ),
    gauge(
        "version_bytes",
        "version",
        Bytes,
        "The memory of old versions of rows.",
    ),
    gauge(
        "version_store_size",
        "version_store_size",
        Bytes,
        "The setting: the most of it.",
    ),
    gauge("page_size", "page_size", Bytes, "Bytes in a page."),
    counter(
        "unlogged_page_lookups",
        "unlogged_page_lookups",
        Things,
        "Times that a page of an unlogged table was looked for; in page_lookups too.",
    ),
    counter(
        "unlogged_pages_missed",
        "unlogged_pages_missed",
        Things,
        "Of these, pages that were not in memory; in pages_missed too.",
    ),
    counter(
        "page_lookups",
        "page_lookups",
        Things,
        "Times that a page of rows was looked for.",
    ),
    counter(
        "pages_missed",
        "pages_missed",
        Things,
        "Pages that were not in memory then, those on the way to them included.",
    ),
    counter(
        "pages_read",
        "pages_read",
        Things,
        "Pages read from the disk.",
    ),
    counter(
        "pages_written",
        "pages_written",
        Things,
        "Pages written home.",
    ),
    counter(
        "pages_written_atomically",
        "pages_written_atomically",
        Things,
        "Of those, by writes that the disk never tears, without a copy.",
    ),
    gauge(
        "page_writes_atomic",
        "page_writes_atomic",
        Things,
        "1 if pages go home so, 0 if they go by way of the doublewrite area.",
    ),
    counter(
        "atomic_writes_refused",
        "atomic_writes_refused",
        Things,
        "Times that the disk refused such a write though it had promised it.",
    ),
    counter(
        "pages_merged",
        "pages_merged",
        Things,
        "Pages that have become free because their rows went.",
    ),
    counter(
        "pages_purged",
        "pages_purged",
        Things,
        "Pages of large values and dropped tables that have become free.",
    ),
    gauge("pages", "pages", Things, "Pages in the file."),
    gauge("pages_free", "pages_free", Things, "Of those, free ones."),
    gauge(
        "pool_frames",
        "buffers",
        Things,
        "Pages that the buffer pool has room for.",
    ),
    gauge("pool_dirty", "buffers_dirty", Things, "Dirty pages in it."),
    gauge("tables", "tables", Things, "Tables."),
    gauge(
        "unlogged_tables",
        "unlogged_tables",
        Things,
        "Of those, unlogged ones.",
    ),
    gauge(
        "unlogged_pages",
        "unlogged_pages",
        Things,
        "Pages in the file of unlogged tables.",
    ),
    gauge(
        "unlogged_pages_free",
        "unlogged_pages_free",
        Things,
        "Of those, free ones.",
    ),
    gauge(
        "unlogged_kept_bytes",
        "unlogged_kept",
        Bytes,
        "Memory to take back changes of unlogged tables.",
    ),
    gauge(
        "unlogged_pool_frames",
        "unlogged_buffers",
        Things,
        "Pages that the pool of unlogged tables has room for.",
    ),
    gauge(
        "unlogged_pool_dirty",
        "unlogged_buffers_dirty",
        Things,
        "Dirty pages in it.",
    ),
    counter(
        "unlogged_clean_frame_micros",
        "unlogged_wait_clean_frame",
        Micros,
        "Waits for a clean frame of it, in all; in the waits for clean_frame too.",
    ),
];

/// The levels of commits, each a label; the number's name begins with `commits_`.
const LEVELS: [&str; 5] = ["memory", "os", "disk", "ticket", "unlogged"];

/// The histograms that are a metric each: the name, the name as a metric, the shortest and the longest bucket as a power of two of
/// microseconds, and what it says. Waits are one metric, with the cause as a label. The unit is in the name alone: a line of its own for
/// it is allowed, and yet there are readers that refuse one for a histogram.
const HISTOGRAMS: &[(&str, &str, [u32; 2], &str)] = &[
    ("sync", "wal_sync_seconds", SHORT, "Syncs of the log."),
    (
        "commit",
        "commit_seconds",
        SHORT,
        "Commits at level os or disk, from the call to its return.",
    ),
    (
        "checkpoint",
        "checkpoint_seconds",
        SHORT,
        "Checkpoints, the pages that they had to bring home included.",
    ),
    (
        "checkpoint_interval",
        "checkpoint_interval_seconds",
        LONG,
        "From one checkpoint to the next, of those that nobody asked for.",
    ),
];
/// From 4 microseconds to a minute.
const SHORT: [u32; 2] = [2, 26];
/// From a second to more than two hours.
const LONG: [u32; 2] = [20, 33];

#[derive(Debug)]
struct Look(StatusFile);

impl Collector for Look {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Look(status) = self;
        let numbers: BTreeMap<_, _> = status.stats.numbers().into_iter().collect();
        let number = |field: &str| numbers.get(field).copied().unwrap_or(0);
        for metric in METRICS {
            let unit = metric.unit.unit();
            let mut told =
                encoder.encode_descriptor(metric.name, metric.help, unit.as_ref(), metric.kind)?;
            tell(&mut told, metric, number(metric.field))?;
        }
        let up = State::of(status) == State::Running;
        let help =
            "1 while a process has the database open; at 0 every other number is what it left.";
        encoder
            .encode_descriptor("up", help, None, MetricType::Gauge)?
            .encode_gauge(&u64::from(up))?;
        let (help, written) = ("When these numbers were taken.", Unit::Seconds);
        encoder
            .encode_descriptor("status_timestamp", help, Some(&written), MetricType::Gauge)?
            .encode_gauge(&(status.written_at_micros as f64 / 1e6))?;
        let help = "Commits by what acknowledged them.";
        let mut told =
            encoder.encode_descriptor("commits_by_level", help, None, MetricType::Counter)?;
        for level in LEVELS {
            let count = number(&format!("commits_{level}"));
            told.encode_family(&[("level", level)])?
                .encode_counter::<NoLabels, _, u64>(&count, None)?;
        }
        let help = "Callers that wait at this moment, by their cause.";
        let mut told = encoder.encode_descriptor("waiting", help, None, MetricType::Gauge)?;
        for (cause, callers) in status.stats.waiting() {
            told.encode_family(&[("cause", cause)])?
                .encode_gauge(&callers)?;
        }
        let help =
            "1 once the engine has stopped: every call answers LogFailed until it is opened again.";
        encoder
            .encode_descriptor("failed", help, None, MetricType::Gauge)?
            .encode_gauge(&u64::from(status.failed.is_some()))?;
        self.records(&mut encoder)?;
        self.pins(&mut encoder)?;
        self.histograms(&mut encoder)
    }
}

/// For exemplars, which there are none of.
type NoLabels = [(&'static str, &'static str); 0];

fn tell(told: &mut MetricEncoder<'_>, metric: &Metric, n: u64) -> fmt::Result {
    match (metric.kind, metric.unit) {
        (MetricType::Counter, Micros) => told.encode_counter::<NoLabels, _, u64>(&seconds(n), None),
        (MetricType::Counter, _) => told.encode_counter::<NoLabels, _, u64>(&n, None),
        (_, Micros) => told.encode_gauge(&seconds(n)),
        _ => told.encode_gauge(&n),
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl In {
    fn unit(self) -> Option<Unit> {
        match self {
            Things => None,
            Bytes => Some(Unit::Bytes),
            Micros => Some(Unit::Seconds),
        }
    }
}

impl Look {
    fn records(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kinds = &self.0.stats.records;
        let (bytes, counter) = (Unit::Bytes, MetricType::Counter);
        let help = "Records in the log by kind.";
        let mut told = encoder.encode_descriptor("wal_kind_records", help, None, counter)?;
        for kind in kinds {
            told.encode_family(&[("kind", kind.kind.as_str())])?
                .encode_counter::<NoLabels, _, u64>(&kind.records, None)?;
        }
        let help = "Bytes of records in the log by kind.";
        let mut told = encoder.encode_descriptor("wal_kind", help, Some(&bytes), counter)?;
        for kind in kinds {
            told.encode_family(&[("kind", kind.kind.as_str())])?
                .encode_counter::<NoLabels, _, u64>(&kind.bytes, None)?;
        }
        Ok(())
    }

    /// The most that each kind of holder keeps.
    fn pins(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut held = BTreeMap::from([("transaction", 0), ("dirty page", 0), ("checkpoint", 0)]);
        for pin in &self.0.pins {
            let holder = match pin.holder {
                PinHolder::Transaction { .. } => "transaction",
                PinHolder::DirtyPage { .. } => "dirty page",
                PinHolder::Checkpoint => "checkpoint",
                _ => continue,
            };
            held.entry(holder)
                .and_modify(|most| *most = pin.bytes.max(*most));
        }
        let help = "Log that is kept for the oldest need of each kind.";
        let mut told =
            encoder.encode_descriptor("wal_held", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for (holder, bytes) in held {
            told.encode_family(&[("holder", holder)])?
                .encode_gauge(&bytes)?;
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = &self.0.stats;
        let all = stats.histograms();
        for (name, metric, bounds, help) in HISTOGRAMS {
            let Some((_, times)) = all.iter().find(|(found, _)| found == name) else {
                continue;
            };
            let mut told = encoder.encode_descriptor(metric, help, None, MetricType::Histogram)?;
            tell_histogram(&mut told, times, *bounds)?;
        }
        let help = "Waits of those who use the database, by their cause.";
        let mut told =
            encoder.encode_descriptor("wait_seconds", help, None, MetricType::Histogram)?;
        for (cause, times) in stats.waits() {
            let labels = [("cause", cause)];
            tell_histogram(&mut told.encode_family(&labels)?, times, SHORT)?;
        }
        Ok(())
    }
}

fn tell_histogram(
    told: &mut MetricEncoder<'_>,
    times: &Histogram,
    [from, to]: [u32; 2],
) -> fmt::Result {
    let (mut buckets, mut below) = (Vec::new(), 0);
    for power in from..=to {
        let within = times.within_micros(1 << power);
        buckets.push((seconds(1 << power), within - below));
        below = within;
    }
    let count = times.count();
    buckets.push((f64::INFINITY, count - below));
    let total = times.total().as_secs_f64();
    told.encode_histogram::<NoLabels>(total, count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage::Stats;

    #[test]
    fn every_number_and_histogram_is_a_metric_and_every_metric_a_number() {
        let stats = Stats::default();
        let mut told: Vec<String> = METRICS.iter().map(|m| m.field.to_owned()).collect();
        told.extend(LEVELS.map(|level| format!("commits_{level}")));
        let waiting = stats.waiting();
        told.extend(waiting.iter().map(|(cause, _)| format!("waiting_{cause}")));
        let causes = waiting.into_iter().map(|(cause, _)| cause);
        let ended = stats.waits().into_iter().map(|(cause, _)| cause);
        assert!(causes.eq(ended), "what can be waited for can be under way");
        let mut there: Vec<String> = stats
            .numbers()
            .iter()
            .map(|(n, _)| (*n).to_owned())
            .collect();
        told.sort();
        there.sort();
        assert_eq!(told, there);
        for (name, _) in stats.histograms() {
            let is_told = HISTOGRAMS.iter().any(|(told, ..)| *told == name);
            assert!(is_told || name.starts_with("wait_"), "{name}");
        }
    }
}
