//! One sentence for a tired person: is the database well, and if not, what does it wait for. Judged by the last few seconds;
//! the worst thing wins, and what it is about is said in the next sentence.
//!
//! This is about now. What should be set otherwise in the long run is `advise`'s to say.

use super::look::{Look, State};
use super::point::Point;
use crate::units::{about, number, size};
use afterimage::{Pin, PinHolder};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Points that are judged: the last so many seconds.
pub(super) const POINTS: usize = 10;
/// A status file is rewritten twice a second: from this age on its process does not work, or is stopped.
const STALE: Duration = Duration::from_secs(5);
/// Callers waiting on average, from which on a wait is worth a word.
const SOME: f64 = 0.2;
/// A sync that takes longer than this makes every commit slow.
const SLOW_SYNC: f64 = 0.010;
/// And than this, very slow.
const VERY_SLOW_SYNC: f64 = 0.050;

/// Syncs from which on one in a hundred means something.
const MANY_SYNCS: f64 = 50.0;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Good,
    /// Worth a look.
    Warning,
    /// Somebody should act.
    Bad,
}

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in one word that stays while the numbers change.
    pub about: String,
    /// The sentence.
    pub headline: String,
    /// The next one: what is behind it, and where to look.
    pub detail: String,
}

fn verdict(
    level: Level,
    about: &str,
    headline: impl Into<String>,
    detail: impl Into<String>,
) -> Verdict {
    Verdict {
        level,
        about: about.to_owned(),
        headline: headline.into(),
        detail: detail.into(),
    }
}

/// Judges the latest points (newest first), with a look of now.
pub(super) fn judge(now: Option<&Look>, latest: &[&Point], wall_micros: u64) -> Verdict {
    let Some(now) = now else {
        let detail = "Opening the database writes a status file; there is none that can be read.";
        return verdict(
            Level::Bad,
            "nothing",
            "There is nothing to be seen here",
            detail,
        );
    };
    absent(now, wall_micros).unwrap_or_else(|| working(now, latest))
}

/// What there is to say of a database that nobody works with.
fn absent(now: &Look, wall_micros: u64) -> Option<Verdict> {
    let age = Duration::from_micros(wall_micros.saturating_sub(now.status.written_at_micros));
    let last = format!("The numbers are from {} ago.", about(age.as_secs_f64()));
    match now.state {
        State::Closed => Some(verdict(
            Level::Warning,
            "closed",
            "The database has been closed",
            last,
        )),
        State::Gone => {
            let recovery = about(now.status.stats.estimated_recovery_micros as f64 / 1e6);
            let detail = format!("The next open recovers, in about {recovery}. {last}");
            let headline = format!(
                "Process {} has gone without closing the database",
                now.status.pid
            );
            Some(verdict(Level::Bad, "gone", headline, detail))
        }
        State::Running | State::NotClosed if age > STALE => {
            let headline = format!(
                "No word from process {} for {}",
                now.status.pid,
                about(age.as_secs_f64())
            );
            let detail = "It rewrites its status file twice a second. It may be stopped, or waiting for a disk that does not answer.";
            Some(verdict(Level::Bad, "silent", headline, detail))
        }
        State::Running | State::NotClosed => None,
    }
}

fn working(now: &Look, latest: &[&Point]) -> Verdict {
    let Some(newest) = latest.first() else {
        return verdict(
            Level::Good,
            "begun",
            "Just begun to look",
            "The first rates are there in a second.",
        );
    };
    let mean = Mean(latest);
    let commits = mean.of(|point| point.commits);
    let waiting = |cause: &str| mean.of(|point| point.waiting.get(cause).copied().unwrap_or(0.0));
    let rate = format!("{} commits/s", number(commits));
    let found = [
        log_space(now, newest, waiting("log_space"), &rate),
        throttled(newest, waiting("throttle"), &rate),
        frames(newest, waiting("clean_frame"), &rate),
        slow_syncs(latest, &rate),
        held_back(now, newest, &rate),
        locks(waiting("lock"), waiting("sync"), &rate),
        log_buffer(waiting("log_buffer"), &rate),
        page_reads(newest, waiting("page_read"), waiting("sync"), &rate),
    ];
    let worst = found
        .into_iter()
        .flatten()
        .rev()
        .max_by_key(|verdict| verdict.level);
    worst.unwrap_or_else(|| well(commits, waiting("sync"), newest, &rate))
}

/// Means over the points.
struct Mean<'a>(&'a [&'a Point]);

impl Mean<'_> {
    fn of(&self, value: impl Fn(&Point) -> f64) -> f64 {
        let passed: f64 = self.0.iter().map(|point| point.seconds).sum();
        let all = self.0.iter().map(|point| value(point) * point.seconds);
        all.sum::<f64>() / passed.max(f64::MIN_POSITIVE)
    }
}

fn log_space(now: &Look, newest: &Point, waiting: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME).then(|| {
        let holder = now.status.pins.first().map_or_else(String::new, |pin| format!(" The log is held by {}.", holder(pin)));
        let headline = format!("Commits wait for log space: {rate}, {waiting:.1} callers stand still");
        let detail = format!(
            "{} of {} of log are in use.{holder} A larger max_wal_size, or a disk that takes pages faster, makes room.",
            size(newest.checkpoint_age),
            size(newest.max_wal_size)
        );
        verdict(Level::Bad, "log space", headline, detail)
    })
}

fn throttled(newest: &Point, waiting: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME).then(|| {
        let headline = format!("Writers are slowed down: {rate}, {waiting:.1} callers wait their turn");
        let detail = format!(
            "Pages go home at {} a second, more slowly than log is written. The log stands at {} of {}.",
            number(newest.pages_written),
            size(newest.checkpoint_age),
            size(newest.max_wal_size)
        );
        let near = newest.checkpoint_age * 10 > newest.max_wal_size * 9;
        verdict(if near { Level::Bad } else { Level::Warning }, "throttle", headline, detail)
    })
}

fn frames(newest: &Point, waiting: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME).then(|| {
        let headline = format!("Callers wait for a clean page frame: {rate}");
        let detail = format!(
            "{} of {} frames are dirty. A larger buffer_pool_size helps, or a disk that takes pages faster.",
            number(newest.dirty as f64),
            number(newest.frames as f64)
        );
        verdict(Level::Warning, "clean frame", headline, detail)
    })
}

/// One slow sync among a few is an accident, which half of them is not.
fn slow_syncs(latest: &[&Point], rate: &str) -> Option<Verdict> {
    let mean = Mean(latest);
    let passed: f64 = latest.iter().map(|point| point.seconds).sum();
    let many = mean.of(|point| point.syncs) * passed >= MANY_SYNCS;
    let (how_many, time) = match many {
        true => (
            "1 sync in 100",
            mean.of(|point| point.sync_p99.unwrap_or(0.0)),
        ),
        false => (
            "every other sync",
            mean.of(|point| point.sync_p50.unwrap_or(0.0)),
        ),
    };
    if time <= SLOW_SYNC {
        return None;
    }
    let level = if time > VERY_SLOW_SYNC {
        Level::Bad
    } else {
        Level::Warning
    };
    let headline = format!(
        "The disk is slow: {rate}, {how_many} takes {} or more",
        about(time)
    );
    let detail = "Every commit waits for a sync. The command afterimage test-sync says what this disk can do, and which way is the fastest.";
    Some(verdict(level, "sync", headline, detail))
}

/// A transaction that holds back more than half of the log that there may be.
fn held_back(now: &Look, newest: &Point, rate: &str) -> Option<Verdict> {
    let pin = now
        .status
        .pins
        .iter()
        .find(|pin| matches!(pin.holder, PinHolder::Transaction { .. }))?;
    (pin.bytes > newest.max_wal_size / 2).then(|| {
        let headline = format!(
            "An old transaction holds back {} of log: {rate}",
            size(pin.bytes)
        );
        let detail = format!(
            "It is {}. When that comes to {} it is rolled back.",
            holder(pin),
            size(newest.max_wal_size)
        );
        verdict(Level::Warning, "old transaction", headline, detail)
    })
}

fn locks(waiting: f64, for_sync: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME.max(for_sync)).then(|| {
        let headline = format!("Transactions wait for each other: {rate}, {waiting:.1} callers wait for locks");
        let detail = "More wait for rows that others have locked than for the disk. Shorter transactions, or fewer that change the same rows, help.";
        verdict(Level::Warning, "locks", headline, detail)
    })
}

fn log_buffer(waiting: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME).then(|| {
        let headline = format!("Writers wait for the log buffer: {rate}");
        let detail =
            "Log is made faster than it is written out. A larger wal_buffers takes up bursts.";
        verdict(Level::Warning, "log buffer", headline, detail)
    })
}

fn page_reads(newest: &Point, waiting: f64, for_sync: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME.max(for_sync)).then(|| {
        let headline = format!(
            "Callers wait for pages to be read: {rate}, {} pages/s from the disk",
            number(newest.pages_read)
        );
        let detail =
            "What is in use does not fit the buffer pool. A larger buffer_pool_size helps.";
        verdict(Level::Warning, "page reads", headline, detail)
    })
}

fn well(commits: f64, for_sync: f64, newest: &Point, rate: &str) -> Verdict {
    let recovery = about(newest.recovery);
    let killed = format!("Were it killed now, it would be back in about {recovery}.");
    if commits < 0.05 {
        return verdict(
            Level::Good,
            "idle",
            "Idle: nothing is being committed",
            killed,
        );
    }
    let sync = newest
        .sync_p50
        .map_or_else(String::new, |p50| format!(" A sync takes {}", about(p50)));
    let shared = newest.commits_per_sync.map_or_else(String::new, |n| {
        format!(" and serves {} commits", number(n))
    });
    let detail = match sync.is_empty() {
        true => killed,
        false => format!("{}{shared}. {killed}", sync.trim_start()),
    };
    let waits = if for_sync > SOME {
        "nobody waits for anything but the disk"
    } else {
        "nobody waits"
    };
    verdict(
        Level::Good,
        "healthy",
        format!("Healthy: {rate}, {waits}"),
        detail,
    )
}

/// Who holds the log, as part of a sentence.
fn holder(pin: &Pin) -> String {
    match &pin.holder {
        PinHolder::Transaction { label, age, .. } => {
            let name = match label.as_str() {
                "" => "a transaction without a label".to_owned(),
                label => format!("the transaction \"{label}\""),
            };
            format!("{name}, begun {} ago", about(age.as_secs_f64()))
        }
        PinHolder::DirtyPage { page } => format!("page {page}, which waits to be written home"),
        PinHolder::Checkpoint => "the last two checkpoints".to_owned(),
        _ => "something that this version does not know".to_owned(),
    }
}
