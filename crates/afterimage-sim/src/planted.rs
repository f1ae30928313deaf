//! The test of the tests: each deliberate bug of the engine is switched on, and the drivers, which know nothing of it, have to find it.

use crate::engine::Engine;
use crate::exhaustive;
use crate::failure::Failure;
use crate::oracle::Layout;
use crate::random;
use afterimage_io::planted::{self, Bug};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bugs that have to be caught; the others are bonus.
pub const REQUIRED: [&str; 29] = [
    "T2",
    "T5",
    "T10",
    "T11",
    "T12",
    "T13",
    "T17",
    "T22",
    "T26",
    "T30",
    "T31",
    "T32",
    "T33",
    "T34",
    "T35",
    "T38",
    "T40",
    "T41",
    "T42",
    "T43",
    "T44",
    "T44b",
    "T46",
    "unlogged-kept",
    "unlogged-rollback",
    "unlogged-close",
    "load-leak",
    "load-early",
    "load-kept",
];

/// Bugs that the drivers meet late or never: they need damage, a slot, a border met to the byte, flushes that overlap. The
/// scenarios of the log (`crates/afterimage-log/tests/planted`) hunt for them; here only who names them does.
pub const BY_SCENARIO: [&str; 12] = [
    "T1", "T1b", "T4", "T9", "T11c", "T11d", "T11e", "T16", "T20", "T26b", "T27", "T56",
];

/// Bugs of isolation: the checker of histories hunts for them (`check-history weakened`).
pub const BY_HISTORY: [&str; 6] = [
    "no-read-locks",
    "early-read-unlock",
    "scan-without-lock",
    "scan-without-gaps",
    "early-write-unlock",
    "early-answer",
];

/// Bugs of the buffer pool: its models under loom find them (`crates/afterimage/src/buffer/models.rs`).
pub const BY_MODEL: [&str; 2] = ["evict", "in-flight"];

/// What became of one bug.
pub struct Hunt {
    /// The bug.
    pub bug: Bug,
    /// What found it, if anything did: the driver's name and the failure.
    pub caught: Option<(&'static str, Box<Failure>)>,
    /// States verified by both drivers until then.
    pub states: u64,
    /// Wall-clock time.
    pub elapsed: Duration,
}

impl Hunt {
    /// Whether the bug had to be caught and was not.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.caught.is_none() && REQUIRED.contains(&self.bug.name())
    }
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, what) = match &self.caught {
            Some((driver, failure)) => {
                let first = failure
                    .mismatch
                    .what
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_string();
                (format!("{}, {driver}", failure.mismatch.layer), first)
            }
            None => ("NOT CAUGHT".to_string(), String::new()),
        };
        let short: String = what.chars().take(90).collect();
        write!(
            f,
            "{:<13} {:<22} {:>7} {:>7.2} s  {}\n{:14}{short}",
            self.bug.name(),
            by,
            self.states,
            self.elapsed.as_secs_f64(),
            self.bug.describe(),
            ""
        )
    }
}

/// Switches `bug` on and lets both drivers run until one finds it or `cap` has passed.
#[must_use]
pub fn hunt(bug: Bug, cap: Duration, workers: usize) -> Hunt {
    let started = Instant::now();
    planted::plant(Some(bug));
    let stop = AtomicBool::new(false);
    let states = AtomicU64::new(0);
    let threads = workers.saturating_sub(1).max(1);
    let caught: Mutex<Option<(&'static str, Box<Failure>)>> = Mutex::default();
    let found = |driver, failure| {
        stop.store(true, Ordering::Relaxed);
        caught
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert((driver, failure));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let config = exhaustive::Config {
                limit: Some(cap),
                deeper_one_in: 200,
                ..exhaustive::Config::default()
            };
            match exhaustive::run::<Engine>(&Layout::small(), &config, &stop) {
                Ok(counts) => drop(states.fetch_add(counts.all_verified(), Ordering::Relaxed)),
                Err(failure) => found("exhaustive", failure),
            }
        });
        scope.spawn(|| match random::run(1, None, Some(cap), threads, &stop) {
            Ok(tally) => drop(states.fetch_add(tally.verified, Ordering::Relaxed)),
            Err(failure) => found("random", failure),
        });
    });
    planted::plant(None);
    let caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    Hunt {
        bug,
        caught,
        states: states.load(Ordering::Relaxed),
        elapsed: started.elapsed(),
    }
}

/// The bugs named, or all that are the drivers' to find.
///
/// # Errors
/// A name that is none.
pub fn named(names: &[String]) -> Result<Vec<Bug>, String> {
    if names.is_empty() {
        let others = |name: &str| {
            let elsewhere: [&[&str]; 3] = [&BY_SCENARIO, &BY_HISTORY, &BY_MODEL];
            elsewhere.iter().any(|list| list.contains(&name))
        };
        let ours = |bug: &&Bug| !others(bug.name());
        return Ok(Bug::ALL.iter().filter(ours).copied().collect());
    }
    names
        .iter()
        .map(|n| {
            Bug::ALL
                .iter()
                .copied()
                .find(|b| b.name() == n)
                .ok_or_else(|| format!("no such bug: {n}"))
        })
        .collect()
}
