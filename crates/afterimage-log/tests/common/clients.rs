//! Clients of one log as threads of a simulated world, and the observer that asks the disk, not the log, whether what was
//! acknowledged is on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use afterimage_io::sim::{DiskState, Event, Observer, RunEnd, Sim};
use afterimage_io::{Note, SyncMethod};
use afterimage_log::{Durability, Log, LogOptions};

use super::{Db, Model, SEGMENT};

/// What is acknowledged must be on disk, byte by byte: asked of the disk, not of the log.
#[derive(Default)]
pub struct Acknowledged(AtomicU64);

impl Observer for Acknowledged {
    fn event(&self, disk: &DiskState, event: &Event<'_>) {
        let Event::Note(Note::Acknowledged { upto }) = event else {
            return;
        };
        let before = self.0.fetch_max(*upto, Ordering::Relaxed);
        // All of the segment up to there, and all of the segments before.
        for number in before.max(SEGMENT) / SEGMENT..=upto / SEGMENT {
            let path = format!("db/log/00000001-{number:016X}.log");
            let path = std::path::Path::new(&path);
            if disk.cached_len(path).is_some() {
                let end = (upto - number * SEGMENT).min(SEGMENT);
                // The last block may be on its way again with the same bytes: the bytes are what counts.
                let durable = disk.read_durable(path, 0, end as usize);
                assert!(
                    durable.is_some() && durable == disk.read_cached(path, 0, end as usize),
                    "segment {number} up to {end}"
                );
                assert!(
                    disk.is_name_durable(path),
                    "the name of segment {number} is not durable"
                );
            }
        }
    }
}

fn commit(log: &Log, model: &Model, len: usize) -> Result<(), afterimage_log::Error> {
    let mut space = log.reserve(Log::frame_bytes(8 + len, false))?;
    let mut n = 0;
    // The number is taken inside the append, so that numbers are in log order; the payload tells nothing here.
    let end = log
        .append(&mut space, &vec![1; 8 + len], false, |_, _| {
            n = model.appended.fetch_add(1, Ordering::Relaxed) + 1
        })?
        .end;
    if len.is_multiple_of(5) {
        log.wait(end, Durability::Os)?;
        assert!(log.written_lsn() >= end);
        return Ok(());
    }
    log.wait_durable(end)?;
    model.acknowledged.fetch_max(n, Ordering::Relaxed);
    Ok(())
}

/// So many threads, each with so many commits of less than `largest` bytes; the seed chooses how many flushes may be under
/// way.
pub fn run(
    seed: u64,
    threads: usize,
    commits: usize,
    largest: usize,
    prepare: impl FnOnce(&Sim),
) -> (Sim, Model, RunEnd, Log) {
    let (sim, model) = (Sim::new(seed), Model::default());
    let options = LogOptions {
        flushes_in_flight: (seed % 4) as usize,
        commit_delay: Duration::from_micros(seed % 3),
        commit_siblings: 2,
        wal_pad_flush: seed.is_multiple_of(3),
        // Every fifth seed by durable writes instead of writes and syncs.
        wal_sync_method: seed.is_multiple_of(5).then_some(SyncMethod::OpenDatasync),
        // Every seventh past the page cache, in sectors.
        wal_direct_io: seed.is_multiple_of(7).then_some(true),
        ..super::options()
    };
    let db = Db::open_in(&sim.io(), super::dir(), &model, &options).unwrap();
    sim.set_observer(Some(Arc::new(Acknowledged::default())));
    prepare(&sim);
    let bodies = (0..threads).map(|t| {
        let (log, model) = (db.log.clone(), model.clone());
        let body = move || {
            for i in 0..commits {
                if commit(&log, &model, (t * 37 + i * 911) % largest).is_err() {
                    return;
                }
            }
        };
        (
            format!("client {t}"),
            Box::new(body) as Box<dyn FnOnce() + Send>,
        )
    });
    let end = sim.run_threads(bodies.collect());
    (sim, model, end, db.log)
}

/// How many records can be read from `from` on.
pub fn count(log: &Log, from: u64) -> u64 {
    log.reader(afterimage_log::Lsn::new(from).unwrap())
        .map(|f| f.map(|_| 1))
        .sum::<Result<u64, _>>()
        .unwrap()
}
