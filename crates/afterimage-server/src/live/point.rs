//! What happened between two looks: rates, percentiles of that time alone, and where things stood at its end. One point of
//! every chart.

use super::look::Look;
use afterimage::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened in one interval, mostly a second. Times are seconds, sizes are bytes, rates are a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The end of the interval, in seconds since the Unix epoch.
    pub at: f64,
    /// Its length.
    pub seconds: f64,
    /// Transactions committed.
    pub commits: f64,
    /// Transactions rolled back.
    pub rollbacks: f64,
    /// Half of the commits were answered no later.
    pub commit_p50: Option<f64>,
    /// 99 of 100 were answered no later.
    pub commit_p99: Option<f64>,
    /// Log bytes appended.
    pub log_bytes: f64,
    /// Syncs of the log.
    pub syncs: f64,
    /// Commits that shared a sync; none where there was no sync.
    pub commits_per_sync: Option<f64>,
    /// Half of the syncs took no longer.
    pub sync_p50: Option<f64>,
    /// 99 of 100 took no longer.
    pub sync_p99: Option<f64>,
    /// Pages read from the disk.
    pub pages_read: f64,
    /// Pages written home.
    pub pages_written: f64,
    /// How many callers waited, on average, by cause. A wait that takes longer than the interval is in each that it takes.
    pub waiting: BTreeMap<String, f64>,
    /// Log since the redo point: what a recovery would read.
    pub checkpoint_age: u64,
    /// Its bound.
    pub max_wal_size: u64,
    /// Checkpoints that ended in the interval.
    pub checkpoints: Checkpoints,
    /// How long a recovery would take.
    pub recovery: f64,
    /// How long it may.
    pub target_recovery: f64,
    /// The part of lookups of pages that found them in memory.
    pub hit_rate: Option<f64>,
    /// Frames of the buffer pool.
    pub frames: u64,
    /// Of those, dirty ones.
    pub dirty: u64,
    /// Log segments that hold log.
    pub segments: u64,
    /// Segments that are prepared for it.
    pub spare: u64,
    /// Unfinished transactions that have written something.
    pub active: u64,
    /// Snapshots open.
    pub snapshots: u64,
    /// Memory of old versions of rows.
    pub version_bytes: u64,
}

/// Checkpoints by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoints {
    /// By time.
    pub timed: u64,
    /// By the amount of log.
    pub paced: u64,
    /// Because the log came close to its bound.
    pub forced: u64,
    /// Asked for.
    pub manual: u64,
    /// At a stop or after a recovery.
    pub shutdown: u64,
}

impl Checkpoints {
    /// All of them.
    pub fn all(self) -> u64 {
        self.timed + self.paced + self.forced + self.manual + self.shutdown
    }
}

impl Point {
    /// What happened between two looks at one opening of a database. `None` if no time has passed, or the database has been
    /// opened anew: its counters then begin again.
    pub fn between(before: &Look, after: &Look) -> Option<Point> {
        let passed = after.clock.checked_sub(before.clock)?.as_secs_f64();
        let (old, new) = (&before.status.stats, &after.status.stats);
        let anew = before.status.pid != after.status.pid || new.uptime_micros < old.uptime_micros;
        if passed <= 0.0 || anew {
            return None;
        }
        let many = |old: u64, new: u64| new.saturating_sub(old);
        let rate = |old, new| short(many(old, new) as f64 / passed);
        let waits = old.waits().into_iter().zip(new.waits());
        let callers = old.waiting().into_iter().zip(new.waiting());
        let waiting = waits.zip(callers).map(|((old, new), (then, now))| {
            let ended = ended_in(&new.1.since(old.1), passed) / passed;
            // Who waits at both ends of the interval is in no histogram yet.
            let still = then.1.min(now.1) as f64;
            (new.0.to_owned(), short(ended.max(still)))
        });
        let (commit, sync) = (new.commit.since(&old.commit), new.sync.since(&old.sync));
        let flushes = many(old.wal_flushes, new.wal_flushes);
        let lookups = many(old.page_lookups, new.page_lookups);
        let missed = many(old.pages_missed, new.pages_missed);
        Some(Point {
            at: (after.status.written_at_micros as f64 / 1e3).round() / 1e3,
            seconds: short(passed),
            commits: rate(old.commits, new.commits),
            rollbacks: rate(old.rollbacks, new.rollbacks),
            commit_p50: within(&commit, 500),
            commit_p99: within(&commit, 990),
            sync_p50: within(&sync, 500),
            sync_p99: within(&sync, 990),
            log_bytes: rate(old.wal_bytes, new.wal_bytes),
            syncs: rate(old.wal_syncs, new.wal_syncs),
            commits_per_sync: part(many(old.wal_flush_commits, new.wal_flush_commits), flushes),
            pages_read: rate(old.pages_read, new.pages_read),
            pages_written: rate(old.pages_written, new.pages_written),
            waiting: waiting.collect(),
            checkpoint_age: new.checkpoint_age,
            max_wal_size: new.max_wal_size,
            checkpoints: Checkpoints {
                timed: many(old.checkpoints_timed, new.checkpoints_timed),
                paced: many(old.checkpoints_paced, new.checkpoints_paced),
                forced: many(old.checkpoints_forced, new.checkpoints_forced),
                manual: many(old.checkpoints_manual, new.checkpoints_manual),
                shutdown: many(old.checkpoints_shutdown, new.checkpoints_shutdown),
            },
            recovery: new.estimated_recovery_micros as f64 / 1e6,
            target_recovery: new.target_recovery_micros as f64 / 1e6,
            hit_rate: (lookups > 0)
                .then(|| 1.0 - short(missed.min(lookups) as f64 / lookups as f64)),
            frames: new.pool_frames,
            dirty: new.pool_dirty,
            segments: new.wal_segments,
            spare: new.wal_segments_spare,
            active: new.active_transactions,
            snapshots: new.snapshots,
            version_bytes: new.version_bytes,
        })
    }
}

/// How long so many of a thousand took at most, in seconds.
fn within(times: &Histogram, permille: u64) -> Option<f64> {
    (times.count() > 0).then(|| short(times.permille(permille).as_secs_f64()))
}

/// How much of these waits was in an interval of so many seconds at whose end they were over.
fn ended_in(times: &Histogram, seconds: f64) -> f64 {
    let within = times.buckets().map(|(upper, count)| {
        let upper = (upper as f64 / 1e6).min(seconds);
        upper * count as f64
    });
    within.sum::<f64>().min(times.total().as_secs_f64())
}

fn part(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| short(some as f64 / all as f64))
}

/// Four significant digits: what a chart can show, in few bytes.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::State;
    use afterimage::Options;
    use afterimage_io::sim::Sim;
    use afterimage_log::Durations;
    use std::time::Duration;

    fn looks() -> [Look; 2] {
        let options = Options::new().io(Sim::new(3).io()).background(false);
        let status = options.open("db").expect("opens").status();
        [1, 2].map(|second| Look {
            clock: Duration::from_secs(second),
            state: State::Running,
            status: status.clone(),
        })
    }

    fn waiting(before: &Look, after: &Look) -> f64 {
        let point = Point::between(before, after).expect("a second has passed");
        point.waiting["sync"]
    }

    #[test]
    fn who_waits_all_the_time_is_seen_before_it_ends_and_not_all_at_once_when_it_does() {
        let [mut before, mut after] = looks();
        after.status.stats.waiting_sync = 8;
        assert_eq!(waiting(&before, &after), 0.0, "just begun");
        before.status.stats.waiting_sync = 9;
        assert_eq!(waiting(&before, &after), 8.0);
        let ended = Durations::default();
        (0..8).for_each(|_| ended.add(Duration::from_secs(60)));
        before.status.stats.waiting_sync = 8;
        after.status.stats.waiting_sync = 0;
        after.status.stats.wait_sync = Durations::told([&ended]);
        assert_eq!(waiting(&before, &after), 8.0);
        let short = Durations::default();
        (0..100).for_each(|_| short.add(Duration::from_millis(5)));
        after.status.stats.wait_sync = Durations::told([&short]);
        assert!((waiting(&before, &after) - 0.5).abs() < 0.001);
    }
}
