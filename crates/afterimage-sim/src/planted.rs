//! The test of the tests: each deliberate bug of the engine is switched on, and the drivers, which know nothing of it, have to find it.

use crate::corruption;
use crate::engine::Engine;
use crate::exhaustive;
use crate::failure::Failure;
use crate::oracle::Layout;
use crate::random;
use afterimage_io::planted::{self, Bug};
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bugs that the drivers meet late or never: they need damage, a slot, a border met to the byte, flushes that overlap. The
/// scenarios of the log (`crates/afterimage-log/tests/planted`) hunt for them; here only who names them does.
pub const BY_SCENARIO: [&str; 17] = [
    "T1", "T1b", "T4", "T9", "T11c", "T11d", "T11e", "T16", "T20", "T26b", "T27", "T56", "end-B",
    "end-C", "end-D", "end-E", "end-F",
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
        scope.spawn(|| {
            // A hundredth of what CI damages: for those bugs that only damage shows.
            let (_, failures) = corruption::run(1, 1009, &stop);
            if let Err(failure) = failures.verdict() {
                found("corruption", failure);
            }
        });
        scope.spawn(|| match random::run(1, None, Some(cap), threads, &stop) {
            Ok(tally) => drop(states.fetch_add(tally.verified, Ordering::Relaxed)),
            Err(failure) => found("random", failure),
        });
    });
    planted::plant(None);
    let caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (states, elapsed) = (states.load(Ordering::Relaxed), started.elapsed());
    if let Some((driver, failure)) = &caught {
        let kill = Kill {
            bug: bug.name().to_string(),
            layer: format!("{}, {driver}", failure.mismatch.layer),
            states,
            seconds: elapsed.as_secs_f64(),
        };
        kill.note();
    }
    Hunt {
        bug,
        caught,
        states,
        elapsed,
    }
}

/// The bugs named, or all that are the drivers' to find.
///
/// # Errors
/// A name that is none.
pub fn named(names: &[String]) -> Result<Vec<Bug>, String> {
    if names.is_empty() {
        let others = |name: &str| BY_SCENARIO.contains(&name) || BY_HISTORY.contains(&name);
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

/// One bug killed once: a line of the file that `PLANTED_RESULTS` names, which every layer that hunts adds to.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// The bug's name.
    pub bug: String,
    /// Who killed it.
    pub layer: String,
    /// Crash states verified until then; 0 where that is not what the layer counts.
    pub states: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Kill {
    /// Adds this kill to the file that `PLANTED_RESULTS` names, if it names one.
    pub fn note(&self) {
        let Some(path) = std::env::var_os("PLANTED_RESULTS") else {
            return;
        };
        let bug = Bug::ALL.iter().find(|bug| bug.name() == self.bug);
        let line = format!(
            "{}\t{}\t{}\t{:.3}\t{}\n",
            self.bug,
            self.layer,
            self.states,
            self.seconds,
            bug.map_or("", |bug| bug.describe())
        );
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            eprintln!("{}: {error}", path.display());
        }
    }

    /// Reads such a line.
    #[must_use]
    pub fn read(line: &str) -> Option<Kill> {
        let mut words = line.split('\t');
        let mut next = || words.next();
        Some(Kill {
            bug: next()?.to_string(),
            layer: next()?.to_string(),
            states: next()?.parse().ok()?,
            seconds: next()?.parse().ok()?,
        })
    }
}

/// All bugs there are, and for each the layer that was quickest to kill it.
pub struct Verdict(Vec<(Bug, Option<Kill>)>);

impl Verdict {
    /// Of all that the layers noted.
    #[must_use]
    pub fn of(noted: &str) -> Verdict {
        let kills: Vec<Kill> = noted.lines().filter_map(Kill::read).collect();
        let quickest = |bug: &Bug| {
            let mine = kills.iter().filter(|kill| kill.bug == bug.name());
            mine.min_by(|a, b| a.seconds.total_cmp(&b.seconds)).cloned()
        };
        Verdict(Bug::ALL.iter().map(|bug| (*bug, quickest(bug))).collect())
    }

    /// A line for each that nobody killed: for the report, which knows no list of them.
    #[must_use]
    pub fn alive_lines(&self) -> String {
        let alive = self.0.iter().filter(|(_, kill)| kill.is_none());
        alive
            .map(|(bug, _)| format!("{}\t\t\t\t{}\n", bug.name(), bug.describe()))
            .collect()
    }

    /// Those that nobody killed.
    #[must_use]
    pub fn alive(&self) -> Vec<&'static str> {
        let alive = self.0.iter().filter(|(_, kill)| kill.is_none());
        alive.map(|(bug, _)| bug.name()).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18} {:>8} {:>9}  killed by", "bug", "states", "time")?;
        for (bug, kill) in &self.0 {
            match kill {
                Some(k) => writeln!(
                    f,
                    "{:<18} {:>8} {:>7.2} s  {}",
                    k.bug, k.states, k.seconds, k.layer
                )?,
                None => writeln!(
                    f,
                    "{:<18} {:>8} {:>9}  NOBODY: {}",
                    bug.name(),
                    "",
                    "",
                    bug.describe()
                )?,
            }
        }
        let mut times: Vec<f64> = self
            .0
            .iter()
            .filter_map(|(_, k)| Some(k.as_ref()?.seconds))
            .collect();
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let worst = times.last().copied().unwrap_or_default();
        write!(
            f,
            "{} of {} planted bugs killed; median {median:.2} s, worst {worst:.2} s",
            times.len(),
            self.0.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_kill_of_each_bug_counts_and_none_is_forgotten() {
        let all: String = Bug::ALL
            .iter()
            .skip(1)
            .map(|bug| format!("{}\tmodel, random\t12\t0.5\n", bug.name()))
            .collect();
        let verdict = Verdict::of(&format!("{all}T2\tscenario\t0\t0.001\nnonsense\n"));
        assert_eq!(verdict.alive(), [Bug::ALL[0].name()]);
        let told = verdict.to_string();
        assert!(
            told.contains("0.00 s  scenario") && told.contains("NOBODY"),
            "{told}"
        );
        assert!(
            told.ends_with(&format!(
                "{} of {} planted bugs killed; median 0.50 s, worst 0.50 s",
                Bug::ALL.len() - 1,
                Bug::ALL.len()
            )),
            "{told}"
        );
    }

    #[test]
    fn hunted_elsewhere_are_bugs_that_there_are() {
        let all = |name: &&str| Bug::ALL.iter().any(|bug| bug.name() == *name);
        assert!(BY_SCENARIO.iter().chain(&BY_HISTORY).all(all));
        assert!(Bug::ALL.len() >= 60);
    }
}
