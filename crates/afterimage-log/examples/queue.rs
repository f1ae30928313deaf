//! A work queue: one process adds jobs, others work on them, each from its own place, which is a slot of the log.
//!
//! What happens to the job that a worker is at when it is killed depends on when the place moves on:
//! before the work, and no job is done twice, but this one may be lost (at most once); or after it, and no job is lost, but
//! this one may be done twice (at least once). Exactly once takes a database that holds the effect and the place together:
//! `crates/afterimage/examples/exactly_once.rs`.
//!
//! ```text
//! queue DIR subscribe WORKER...     makes a place for each worker; jobs from then on are kept for it
//! queue DIR add                     adds a job for each line of stdin, and prints it once it is on disk
//! queue DIR at-most-once WORKER     works until it is killed; it may run while jobs are added, and while none are
//! queue DIR at-least-once WORKER
//! ```

use std::io::BufRead;
use std::path::Path;

use afterimage_log::{Io, LogOptions, Slot, Start, Wal, WalReader};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [dir, "subscribe", ref workers @ ..] => subscribe(Path::new(dir), workers),
        [dir, "add"] => add(Path::new(dir)),
        [dir, "at-most-once", worker] => work(Path::new(dir), worker, true),
        [dir, "at-least-once", worker] => work(Path::new(dir), worker, false),
        _ => Err("usage: queue DIR subscribe WORKER... | add | at-most-once WORKER | at-least-once WORKER".into()),
    }
}

fn open(dir: &Path) -> Result<Wal> {
    let options = LogOptions {
        // A job that every worker is past is given up. A worker that stays away for a week, or for 1 GiB of jobs, loses
        // its place (settings `idle_replication_slot_timeout` and `max_slot_wal_keep_size`): no dead worker fills the disk.
        recycle_behind_slots: true,
        ..LogOptions::from_file(&Io::os(), dir)?
    };
    Ok(Wal::open(&Io::os(), dir, &options)?)
}

fn subscribe(dir: &Path, workers: &[&str]) -> Result<()> {
    let wal = open(dir)?;
    for worker in workers {
        wal.create_slot(worker, Start::End)?;
    }
    Ok(wal.close()?)
}

fn add(dir: &Path) -> Result<()> {
    let wal = open(dir)?;
    for job in std::io::stdin().lock().lines() {
        let job = job?;
        wal.append(job.as_bytes())?.wait()?;
        println!("added {job}");
    }
    Ok(wal.close()?)
}

fn work(dir: &Path, worker: &str, at_most_once: bool) -> Result<()> {
    // Neither takes the log's lock: it may be open in another process, or nowhere.
    let mut place = Slot::open(&Io::os(), dir, worker)?;
    let mut jobs = WalReader::open(&Io::os(), dir, Start::At(place.position()))?;
    loop {
        let job = jobs.next()?;
        if at_most_once {
            place.advance(job.next)?;
        }
        println!("did {}", String::from_utf8_lossy(&job.payload));
        if !at_most_once {
            place.advance(job.next)?;
        }
    }
}
