//! SIGKILL at a random moment, again and again: the process dies, the page cache stays. This tests the process, not the disk.

use crate::child::{self, Heard, Life};
use crate::dice::Dice;
use crate::job::{Counts, HANG, Job, count};
use crate::work::{self, Plan};
use std::time::Duration;

/// Lives on one database.
const LIVES: u64 = 40;

/// One database, killed `LIVES` times; some kills hit the recovery after the kill before.
pub fn run(job: &Job) -> Result<Counts, String> {
    let mut dice = Dice::new(job.seed);
    let mut counts = Counts::new();
    let dir = job.dir.join("db");
    let mut heard = Heard::default();
    for life in 0..LIVES.min(job.wanted) {
        if job.is_over() {
            break;
        }
        let plan = Plan {
            dir: dir.clone(),
            seed: dice.roll(),
            clients: work::clients(&mut dice),
            transactions: u64::MAX,
            checkpoint_every: 5 + dice.below(60),
            full_is_no_end: false,
        };
        let opened = heard.opened;
        let mut child = Life::begin(&[], &plan, heard)?;
        if !dice.one_in(5) {
            child.wait_until_open(HANG);
        }
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
        child.kill();
        let (status, after, said) = child
            .end(HANG)
            .map_err(|wrong| told(job, life, wrong, &dir))?;
        child::judge(status, &after, &said, true).map_err(|wrong| told(job, life, wrong, &dir))?;
        count(&mut counts, "cuts", 1);
        if after.opened == opened {
            count(&mut counts, "cuts before it was open", 1);
        }
        heard = Heard { cut: None, ..after };
    }
    last_look(job, &dir, heard, &mut counts)?;
    Ok(counts)
}

/// A life in which nothing happens to it, to judge what the last cut has left; adds up what all have said.
///
/// # Errors
/// What is wrong.
pub fn last_look(
    job: &Job,
    dir: &std::path::Path,
    heard: Heard,
    counts: &mut Counts,
) -> Result<(), String> {
    let plan = Plan {
        dir: dir.to_path_buf(),
        seed: job.seed,
        clients: 1,
        transactions: 3,
        checkpoint_every: 2,
        full_is_no_end: false,
    };
    let (status, heard, said) = Life::begin(&[], &plan, heard)?.end(HANG)?;
    child::judge(status, &heard, &said, false).map_err(|wrong| told(job, u64::MAX, wrong, dir))?;
    add_up(&heard, counts);
    Ok(())
}

/// What was said, as counts.
pub fn add_up(heard: &Heard, counts: &mut Counts) {
    count(counts, "acknowledged", heard.books.acknowledged);
    count(counts, "recoveries judged", heard.opened);
    count(counts, "verified", heard.verified);
    count(counts, "checkpoints", heard.checkpoints);
}

fn told(job: &Job, life: u64, wrong: String, dir: &std::path::Path) -> String {
    let kept = job.keep("kill", dir);
    format!("seed {:x}, life {life}: {wrong}; {kept}", job.seed)
}
