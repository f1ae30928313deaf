//! The whole log in many schedules: appenders with every kind of promise, followers inside and outside, slots, segments that
//! are switched, given up and recycled under them, cuts, power lost at any moment. Built only with `--cfg shuttle`.
//!
//! The code is the real one, on the simulated disk; shuttle decides at every lock, wait, atomic and disk call who goes on:
//! at random, and by priorities that change a few times only (PCT), which finds what needs a long stretch of one thread.
//! What every schedule must leave: each reader has seen the log's records in the log's order, without a hole that it was
//! not told of; what was acknowledged is on the disk; and nobody sleeps for ever, which shuttle reports as a deadlock.
//!
//! `SCHEDULES` (200 of each kind for each model) and `SCHEDULES_SEED` (1) choose how many and which; with `--cfg planted` too,
//! `SCHEDULES_BUG` switches a planted bug on, to see it found.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, missing_docs)]

mod cut;
mod life;
mod readers;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use afterimage_io::planted::{self, Bug};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

fn number(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

/// Runs the model in schedules of both kinds.
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let bug = std::env::var("SCHEDULES_BUG").ok();
    let known = |known: &Bug| Some(known.name()) == bug.as_deref();
    planted::plant(Bug::ALL.iter().copied().find(known));
    let seed = number("SCHEDULES_SEED", 1);
    let many = number("SCHEDULES", 200) as usize;
    let model = Arc::new(model);
    let random = RandomScheduler::new_from_seed(seed, many);
    run(name, "random", &model, random);
    let priorities = PctScheduler::new_from_seed(seed, 3, many);
    run(name, "priorities", &model, priorities);
}

fn run(
    name: &str,
    kind: &str,
    model: &Arc<impl Fn() + Send + Sync + 'static>,
    scheduler: impl Scheduler + 'static,
) {
    let mut config = shuttle::Config::new();
    // Orderings weaker than `SeqCst` are loom's part.
    config.silence_warnings = true;
    config.stack_size = 1 << 18;
    config.max_steps = shuttle::MaxSteps::FailAfter(1_000_000);
    let (runs, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let (counted, model) = (Arc::clone(&runs), Arc::clone(model));
    shuttle::Runner::new(scheduler, config).run(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!(
        "{name}, {kind}: {} schedules in {} ms",
        runs.load(Ordering::Relaxed),
        begun.elapsed().as_millis()
    );
}
