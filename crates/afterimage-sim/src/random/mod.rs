//! The random driver: concurrent clients under the seeded scheduler, trouble at a random moment, recovery under trouble, and on.
//!
//! One seed makes one *episode*: a database is created and lives through a few lives. In each, two to four clients work until their plan is done or trouble
//! stops them; then the machine loses its power, or only the process dies, or the database is closed. Its recovery is interrupted up to three times, which makes four crashes in a row. After each
//! recovery the rows must be what some prefix of the commits left. At the end come twenty more transactions, a close, and the check of every byte.

pub mod board;
pub mod client;
mod echo;
mod episode;
pub mod found;
pub mod fuzz;
mod loads;
mod side;
pub mod trouble;

pub use episode::{episode, episode_of};
pub use found::found;

use crate::choices::Choices;
use crate::failure::{Failure, Layer, Mismatch};
use crate::kinds::Kinds;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What happened in one episode, or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Episodes.
    pub episodes: u64,
    /// Times that clients worked.
    pub lives: u64,
    /// Power cuts and killed processes.
    pub crashes: u64,
    /// Recoveries that came to their end, by how many crashes in a row were before them.
    pub in_a_row: [u64; 4],
    /// Recovered databases compared with the model.
    pub verified: u64,
    /// Transactions begun.
    pub transactions: u64,
    /// Transactions acknowledged as durable.
    pub acknowledged: u64,
    /// Deadlocks ended.
    pub deadlocks: u64,
    /// Transactions rolled back because they held too much log.
    pub too_much: u64,
    /// Lives in which the engine stopped after an error.
    pub stops: u64,
    /// Lives on a disk that was full or nearly.
    pub full: u64,
    /// Pages that became free because a neighbour took their rows.
    pub merged: u64,
    /// Pages of large values that became free.
    pub purged: u64,
    /// Folds the trace hashes of all worlds: equal runs have equal traces.
    pub trace: u64,
    /// What the recoveries met, by kinds of records.
    pub kinds: Kinds,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        self.episodes += other.episodes;
        self.lives += other.lives;
        self.crashes += other.crashes;
        for (mine, theirs) in self.in_a_row.iter_mut().zip(other.in_a_row) {
            *mine += theirs;
        }
        self.verified += other.verified;
        self.transactions += other.transactions;
        self.acknowledged += other.acknowledged;
        self.deadlocks += other.deadlocks;
        self.too_much += other.too_much;
        self.stops += other.stops;
        self.full += other.full;
        self.merged += other.merged;
        self.purged += other.purged;
        self.trace ^= other.trace;
        self.kinds.add(&other.kinds);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three, four] = self.in_a_row;
        writeln!(
            f,
            "episodes        {:>10} with {} lives, {} crashes, {} stops after an error, {} full disks",
            self.episodes, self.lives, self.crashes, self.stops, self.full
        )?;
        writeln!(
            f,
            "transactions    {:>10} begun, {} acknowledged, {} deadlocks, {} rolled back for holding too much log",
            self.transactions, self.acknowledged, self.deadlocks, self.too_much
        )?;
        writeln!(
            f,
            "pages           {:>10} merged, {} of large values freed",
            self.merged, self.purged
        )?;
        write!(
            f,
            "verified        {:>10} recovered databases; after one crash {one}, two in a row {two}, three {three}, four {four}",
            self.verified
        )
    }
}

/// Runs episodes from `first` on (each the next number) until `limit` has passed, `count` are done or one fails.
///
/// # Errors
/// The first failure.
pub fn run(
    first: u64,
    count: Option<u64>,
    limit: Option<Duration>,
    workers: usize,
    stop: &AtomicBool,
) -> Result<Tally, Box<Failure>> {
    let mut failed = None;
    let tally = run_all(first, count, limit, workers, stop, &mut |failure| {
        stop.store(true, Ordering::Relaxed);
        failed.get_or_insert(failure);
    });
    failed.map_or(Ok(tally), Err)
}

/// As [`run`], but goes on after a failure, which `failed` is told.
pub fn run_all(
    first: u64,
    count: Option<u64>,
    limit: Option<Duration>,
    workers: usize,
    stop: &AtomicBool,
    failed: &mut (dyn FnMut(Box<Failure>) + Send),
) -> Tally {
    let deadline = limit.map(|l| Instant::now() + l);
    let next = AtomicU64::new(0);
    let result = Mutex::new((Tally::default(), failed));
    let work = || {
        while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|d| Instant::now() < d) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if count.is_some_and(|c| n >= c) {
                return;
            }
            let end = episode(first.wrapping_add(n));
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            match end {
                Ok(tally) => result.0.add(&tally),
                Err(failure) => (result.1)(failure),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(work);
        }
    });
    result
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// Runs one episode three times, from its seed, recorded, and from the record's bytes: the traces must be equal, or a seed is worth nothing.
///
/// # Errors
/// The episode's failure, or that it did not repeat itself.
pub fn replays(seed: u64) -> Result<(), Box<Failure>> {
    let first = episode(seed)?;
    let (choices, record) = Choices::new(seed).recorded();
    let second = episode_of(choices, &format!("--seed {seed}"))?;
    let third = episode_of(Choices::from_strings(&record.strings()), "from bytes")?;
    if first == second && first == third {
        return Ok(());
    }
    let what = format!("runs of one seed differ:\n  {first:?}\n  {second:?}\n  {third:?}");
    Err(Box::new(Failure {
        mismatch: Mismatch::new(Layer::Replay, what),
        place: format!("seed {seed}"),
        replay: format!("cargo xtask sim --seed {seed}"),
    }))
}
