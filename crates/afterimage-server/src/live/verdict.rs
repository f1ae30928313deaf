//! One sentence for a tired person: is the database well, and if not, what does it wait for. Judged by the last few seconds;
//! the worst thing wins, and what it is about is said in the next sentence.
//!
//! This is about now. What should be set otherwise in the long run is `advise`'s to say.

use super::look::{Look, State};
use super::point::Point;
use crate::units::{about, number, size};
use afterimage::{Pin, PinHolder, Stats};
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
/// What callers wait for, in words.
const CAUSES: [(&str, &str); 7] = [
    ("sync", "the disk's sync"),
    ("log_space", "log space"),
    ("throttle", "pages to go home"),
    ("clean_frame", "a clean page frame"),
    ("lock", "locks"),
    ("log_buffer", "the log buffer"),
    ("page_read", "pages to be read"),
];

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
    stopped(now)
        .or_else(|| absent(now, wall_micros))
        .unwrap_or_else(|| working(now, latest))
}

/// What there is to say of an engine that has stopped, whatever else.
fn stopped(now: &Look) -> Option<Verdict> {
    let why = now.status.failed.as_ref()?;
    let what = match now.state {
        State::Running | State::NotClosed => {
            "Every call answers LogFailed. Close the database and open it again"
        }
        State::Closed | State::Gone => "Nobody has it open any more. Open it again",
    };
    let detail = format!(
        "{what}: what was acknowledged is there. If it comes again, the disk fails: the system's log says more."
    );
    let headline = format!("The engine has stopped: {why}");
    Some(verdict(Level::Bad, "stopped", headline, detail))
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
    let waiting = |cause: &str| mean.of(|point| waited_for(point, cause));
    let rate = format!("{} commits/s", number(commits));
    let found = [
        hung(now, latest),
        log_space(now, newest, waiting("log_space"), &rate),
        throttled(newest, waiting("throttle"), &rate),
        frames(now, waiting("clean_frame"), &rate),
        slow_syncs(latest, &rate),
        held_back(now, newest, &rate),
        locks(waiting("lock"), waiting("sync"), &rate),
        log_buffer(waiting("log_buffer"), &rate),
        page_reads(now, newest, waiting("page_read"), waiting("sync"), &rate),
    ];
    let worst = found
        .into_iter()
        .flatten()
        .rev()
        .max_by_key(|verdict| verdict.level);
    worst.unwrap_or_else(|| well(now, commits, waiting, newest, &rate))
}

fn waited_for(point: &Point, cause: &str) -> f64 {
    point.waiting.get(cause).copied().unwrap_or(0.0)
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

/// Somebody waits for a sync, and for seconds none has ended.
fn hung(now: &Look, latest: &[&Point]) -> Option<Verdict> {
    let callers = now.status.stats.waiting_sync;
    let without = latest
        .iter()
        .take_while(|point| point.sync_p50.is_none() && waited_for(point, "sync") >= 1.0);
    let since: f64 = without.map(|point| point.seconds).sum();
    (callers > 0 && since > 0.0).then(|| {
        let headline = format!(
            "The disk does not answer: {} for a sync, for {} or longer",
            callers_wait(callers as f64),
            about(since)
        );
        let detail = "Commits go on when the sync ends, and nothing is lost by waiting. The system's log may say what the disk does.";
        verdict(Level::Bad, "hung", headline, detail)
    })
}

fn callers_wait(callers: f64) -> String {
    match callers {
        1.0 => "1 caller waits".to_owned(),
        callers => format!("{} callers wait", number(callers)),
    }
}

fn log_space(now: &Look, newest: &Point, waiting: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME).then(|| {
        let holder = now.status.pins.first().map_or_else(String::new, |pin| format!(" The log is held by {}.", holder(pin)));
        let headline = format!("Commits wait for log space: {rate}, {waiting:.1} callers stand still");
        let held = now.status.pins.first().map_or(0, |pin| pin.bytes);
        let needed = newest.checkpoint_age.max(held);
        if needed / 3 < newest.max_wal_size / 4 {
            let detail = format!(
                "Not for lack of it, {} of {} of log are in use: files for it have to be made. A higher spare_segments keeps more of them ready.",
                size(needed),
                size(newest.max_wal_size)
            );
            return verdict(Level::Warning, "log segments", headline, detail);
        }
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

fn frames(now: &Look, waiting: f64, rate: &str) -> Option<Verdict> {
    (waiting > SOME).then(|| {
        let headline = format!("Callers wait for a clean page frame: {rate}");
        let (setting, dirty, frames) = dirtier_pool(&now.status.stats);
        let detail = format!(
            "{} of {} frames are dirty. A larger {setting} helps, or a disk that takes pages faster.",
            number(dirty as f64),
            number(frames as f64)
        );
        verdict(Level::Warning, "clean frame", headline, detail)
    })
}

/// The pool with fewer clean frames: its setting, dirty frames, all frames.
fn dirtier_pool(stats: &Stats) -> (&'static str, u64, u64) {
    let (dirty, frames) = (stats.unlogged_pool_dirty, stats.unlogged_pool_frames);
    match dirty * stats.pool_frames > stats.pool_dirty * frames {
        true => ("unlogged_pool_size", dirty, frames),
        false => ("buffer_pool_size", stats.pool_dirty, stats.pool_frames),
    }
}

/// One slow sync among a few is an accident, which half of them is not.
fn slow_syncs(latest: &[&Point], rate: &str) -> Option<Verdict> {
    let syncs = |point: &Point| point.syncs * point.seconds;
    // Over the intervals that had one; the more, the more it says.
    let usual = |time: fn(&Point) -> Option<f64>| {
        let times = latest.iter();
        let times = times.filter_map(|point| Some((time(point)?, syncs(point).max(1.0))));
        let sum = |sum: (f64, f64), (time, syncs)| (sum.0 + time * syncs, sum.1 + syncs);
        let (all, syncs) = times.fold((0.0, 0.0), sum);
        all / syncs.max(1.0)
    };
    let many = latest.iter().map(|point| syncs(point)).sum::<f64>() >= MANY_SYNCS;
    let (how_many, time) = match many {
        true => ("1 sync in 100", usual(|point| point.sync_p99)),
        false => ("every other sync", usual(|point| point.sync_p50)),
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
            size(newest.max_wal_size - newest.max_wal_size / 16)
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

fn page_reads(
    now: &Look,
    newest: &Point,
    waiting: f64,
    for_sync: f64,
    rate: &str,
) -> Option<Verdict> {
    (waiting > SOME.max(for_sync)).then(|| {
        let headline = format!(
            "Callers wait for pages to be read: {rate}, {} pages/s from the disk",
            number(newest.pages_read)
        );
        let detail = match now.status.stats.unlogged_tables {
            0 => "What is in use does not fit the buffer pool. A larger buffer_pool_size helps.",
            _ => "What is in use does not fit its pool. A larger buffer_pool_size helps, or unlogged_pool_size where the tables are unlogged.",
        };
        verdict(Level::Warning, "page reads", headline, detail)
    })
}

fn well(
    now: &Look,
    commits: f64,
    mean: impl Fn(&str) -> f64,
    newest: &Point,
    rate: &str,
) -> Verdict {
    let recovery = about(newest.recovery);
    let killed = format!("Were it killed now, it would be back in about {recovery}.");
    let waits = waits(&now.status.stats, &mean);
    let told = match waits.as_slice() {
        [] => "nobody waits".to_owned(),
        [(_, "sync", _)] if commits >= 0.05 => "nobody waits for anything but the disk".to_owned(),
        some => {
            let each = some.iter();
            let each: Vec<_> = each
                .map(|(callers, _, cause)| format!("{} for {cause}", number(*callers)))
                .collect();
            format!("callers wait, {}", each.join(", "))
        }
    };
    if commits < 0.05 && waits.is_empty() {
        let headline = "Idle: nothing is being committed";
        return verdict(Level::Good, "idle", headline, killed);
    }
    if commits < 0.05 {
        let lasts = waits.iter().any(|(_, cause, _)| mean(cause) > SOME);
        let level = if lasts { Level::Warning } else { Level::Good };
        let headline = format!("Nothing is being committed: {told}");
        return verdict(level, "waiting", headline, killed);
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
    verdict(
        Level::Good,
        "healthy",
        format!("Healthy: {rate}, {told}"),
        detail,
    )
}

/// Who waits, most callers first: how many on average, or now where that is not worth a word; the cause, and in words.
fn waits(stats: &Stats, mean: impl Fn(&str) -> f64) -> Vec<(f64, &'static str, &'static str)> {
    let now = stats.waiting();
    let callers = |cause: &str| {
        let now = now.iter().find(|(found, _)| *found == cause);
        let usual = Some(mean(cause)).filter(|mean| *mean > SOME);
        usual.unwrap_or(now.map_or(0.0, |(_, callers)| *callers as f64))
    };
    let all = CAUSES.iter();
    let all = all.map(|(cause, words)| (callers(cause), *cause, *words));
    let mut waits: Vec<_> = all.filter(|(callers, ..)| *callers > 0.0).collect();
    waits.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
    waits
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

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage::Options;
    use afterimage_io::sim::Sim;

    /// A look at a database that is well.
    fn look() -> Look {
        let io = Sim::new(3).io();
        let options = Options::new().io(io.clone()).background(false);
        let mut status = options.open("db").expect("opens").status();
        status.written_at_micros = 0;
        status.pins.clear();
        Look {
            clock: Duration::ZERO,
            state: State::Running,
            status,
        }
    }

    fn point(waiting: &[(&str, f64)]) -> Point {
        let waiting = waiting.iter();
        Point {
            seconds: 1.0,
            commits: 1000.0,
            syncs: 100.0,
            sync_p50: Some(0.001),
            sync_p99: Some(0.002),
            max_wal_size: 1 << 30,
            waiting: waiting
                .map(|(cause, n)| ((*cause).to_owned(), *n))
                .collect(),
            ..Point::default()
        }
    }

    fn of(look: &Look, points: &[Point]) -> Verdict {
        judge(Some(look), &points.iter().collect::<Vec<_>>(), 0)
    }

    #[test]
    fn an_engine_that_has_stopped_is_bad_before_everything_else() {
        let mut look = look();
        look.status.failed = Some("sync of log/1 failed: input/output error".to_owned());
        let idle = Point {
            seconds: 1.0,
            ..Point::default()
        };
        for state in [State::Running, State::Closed, State::Gone] {
            look.state = state;
            let told = of(&look, std::slice::from_ref(&idle));
            assert_eq!((told.level, told.about.as_str()), (Level::Bad, "stopped"));
            assert!(told.headline.contains("input/output error"), "{told:?}");
            assert!(
                told.detail.to_lowercase().contains("open it again"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_sync_that_does_not_end_is_no_idleness() {
        let mut look = look();
        let nothing = |sync| Point {
            commits: 0.0,
            syncs: 0.0,
            sync_p50: None,
            sync_p99: None,
            ..point(&[("sync", sync)])
        };
        assert_eq!(of(&look, &[nothing(0.0)]).about, "idle");
        look.status.stats.waiting_sync = 8;
        let begun = of(&look, &[nothing(0.0)]);
        assert_eq!(begun.about, "waiting");
        assert!(
            begun.headline.contains("8 for the disk's sync"),
            "{begun:?}"
        );
        let hung = of(
            &look,
            &[nothing(8.0), nothing(8.0), point(&[("sync", 7.0)])],
        );
        assert_eq!((hung.level, hung.about.as_str()), (Level::Bad, "hung"));
        assert!(
            hung.headline
                .contains("8 callers wait for a sync, for 2.0 s"),
            "{hung:?}"
        );
        look.status.stats.waiting_sync = 0;
        look.status.stats.waiting_lock = 1;
        let lock = of(&look, &[nothing(0.0)]);
        assert!(lock.headline.contains("1 for locks"), "{lock:?}");
    }

    #[test]
    fn every_cause_that_matters_is_named() {
        let look = look();
        let only_sync = of(&look, &[point(&[("sync", 8.0)])]);
        assert!(
            only_sync
                .headline
                .ends_with("nobody waits for anything but the disk")
        );
        assert!(of(&look, &[point(&[])]).headline.ends_with("nobody waits"));
        let both = of(
            &look,
            &[point(&[("lock", 7.0), ("sync", 8.0), ("page_read", 0.1)])],
        );
        assert_eq!(both.level, Level::Good);
        let waits = "callers wait, 8 for the disk's sync, 7 for locks";
        assert!(both.headline.ends_with(waits), "{both:?}");
        let reads = of(&look, &[point(&[("sync", 2.0), ("page_read", 1.5)])]);
        assert!(
            reads.headline.contains("1.5 for pages to be read"),
            "{reads:?}"
        );
        let locks = of(&look, &[point(&[("lock", 9.0), ("sync", 8.0)])]);
        assert_eq!(locks.about, "locks");
        for (cause, _) in look.status.stats.waits() {
            assert!(CAUSES.iter().any(|(told, _)| *told == cause), "{cause}");
        }
    }

    #[test]
    fn seconds_without_a_sync_say_nothing_of_syncs() {
        let look = look();
        let without = Point {
            syncs: 0.0,
            sync_p50: None,
            sync_p99: None,
            ..point(&[])
        };
        let slow = Point {
            sync_p99: Some(0.08),
            ..point(&[])
        };
        let told = of(
            &look,
            &[without.clone(), without.clone(), slow.clone(), without],
        );
        assert_eq!((told.level, told.about.as_str()), (Level::Bad, "sync"));
        assert!(told.headline.contains("80 ms"), "{told:?}");
        let few = Point { syncs: 1.0, ..slow };
        let told = of(&look, &[few, point(&[])]);
        assert_eq!(told.about, "healthy", "one of a hundred and one: {told:?}");
    }

    #[test]
    fn log_space_is_lacking_or_only_its_files_are() {
        let look = look();
        let at = |age| Point {
            checkpoint_age: age,
            ..point(&[("log_space", 3.0)])
        };
        let full = of(&look, &[at(1020 << 20)]);
        assert_eq!((full.level, full.about.as_str()), (Level::Bad, "log space"));
        assert!(full.detail.contains("max_wal_size"), "{full:?}");
        let files = of(&look, &[at(30 << 20)]);
        assert_eq!(
            (files.level, files.about.as_str()),
            (Level::Warning, "log segments")
        );
        assert!(files.detail.contains("spare_segments"), "{files:?}");
        assert!(!files.detail.contains("max_wal_size"), "{files:?}");
    }
}
