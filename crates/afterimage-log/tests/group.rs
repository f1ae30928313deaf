//! Many threads on one log, under the seeded scheduler: no ack without durability, no waiter forgotten.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use afterimage_io::sim::{DiskState, Event, FailSync, Observer, RunEnd, Sim, Survival};
use afterimage_io::{Note, SyncMethod};
use afterimage_log::{Durability, Log, LogOptions};
use common::{Db, Model, SEGMENT, recover_and_check};

/// What is acknowledged must be on disk, byte by byte: asked of the disk, not of the log.
struct Acknowledged(AtomicU64);

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

fn run(
    seed: u64,
    threads: usize,
    commits: usize,
    prepare: impl FnOnce(&Sim),
) -> (Sim, Model, RunEnd, Log) {
    let (sim, model) = (Sim::new(seed), Model::default());
    let options = LogOptions {
        flushes_in_flight: (seed % 4) as usize,
        commit_delay: Duration::from_micros(seed % 3),
        commit_siblings: 2,
        // Every fifth seed by durable writes instead of writes and syncs.
        wal_sync_method: seed.is_multiple_of(5).then_some(SyncMethod::OpenDatasync),
        ..common::options()
    };
    let db = Db::open_in(&sim.io(), common::dir(), &model, &options).unwrap();
    sim.set_observer(Some(Arc::new(Acknowledged(AtomicU64::new(0)))));
    prepare(&sim);
    let bodies = (0..threads).map(|t| {
        let (log, model) = (db.log.clone(), model.clone());
        let body = move || {
            for i in 0..commits {
                if commit(&log, &model, (t * 37 + i * 911) % 3000).is_err() {
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

fn count(log: &Log, from: u64) -> u64 {
    log.reader(afterimage_log::Lsn::new(from).unwrap())
        .map(|f| f.map(|_| 1))
        .sum::<Result<u64, _>>()
        .unwrap()
}

#[test]
fn everybody_is_served_and_nothing_is_acknowledged_early() {
    for seed in 0..60 {
        let (sim, model, end, log) = run(seed, 5, 12, |_| ());
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
        assert!(model.acknowledged.load(Ordering::Relaxed) >= 48);
        assert_eq!(count(&log, SEGMENT + 4096), 60);
        // Who waited for the operating system only leaves bytes that the next flush must cover.
        log.wait_durable(log.next_lsn()).unwrap();
        let stats = log.stats();
        assert_eq!(stats.durable_lsn, stats.next_lsn);
        assert!(stats.syncs <= 65, "{stats:?}");
        drop(sim);
    }
}

#[test]
fn a_crash_among_many_threads_keeps_what_was_acknowledged() {
    for seed in 0..60 {
        let at = 40 + seed * 3;
        let (sim, model, end, log) = run(seed, 4, 30, |sim| {
            sim.set_hook(Some(Box::new(move |call, _| {
                if call.index == at {
                    afterimage_io::sim::Verdict::Crash
                } else {
                    afterimage_io::sim::Verdict::Continue
                }
            })));
        });
        if end == RunEnd::Finished {
            continue;
        }
        assert_eq!(end, RunEnd::Crashed, "seed {seed}");
        drop(log);
        for policy in [
            Survival::None,
            Survival::All,
            Survival::NewestOnly,
            Survival::Random { seed },
        ] {
            let booted = Sim::from_image(1, &sim.snapshot().crash(&policy));
            let db = Db::open(&booted.io(), &Model::default()).unwrap();
            let found = count(&db.log, SEGMENT + 4096);
            let (acked, appended) = (
                model.acknowledged.load(Ordering::Relaxed),
                model.appended.load(Ordering::Relaxed),
            );
            assert!(
                (acked..=appended).contains(&found),
                "seed {seed}, {policy:?}: {acked} <= {found} <= {appended}"
            );
        }
    }
}

#[test]
fn a_failed_sync_is_told_to_every_waiter() {
    for seed in 0..60 {
        let (sim, model, end, log) = run(seed, 6, 10, |sim| {
            sim.fail_sync(FailSync::next().on(".log").after(seed % 4))
        });
        // Nobody hangs, whoever waited for the failed flush or for the one after it.
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
        assert!(log.failure().is_some());
        let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
        let db = Db::open(&cut.io(), &Model::default()).unwrap();
        assert!(
            count(&db.log, SEGMENT + 4096) >= model.acknowledged.load(Ordering::Relaxed),
            "seed {seed}"
        );
    }
}

#[test]
fn tickets_are_kept_by_a_thread_that_comes_and_goes() {
    for seed in 0..20 {
        let (sim, model) = (Sim::new(seed), Model::default());
        let options = LogOptions {
            background: true,
            ..common::options()
        };
        let db = Db::open_in(&sim.io(), common::dir(), &model, &options).unwrap();
        let (log, io) = (db.log.clone(), sim.io());
        let body = move || {
            for _ in 0..3 {
                let tickets: Vec<_> = (0..10)
                    .map(|_| {
                        let mut space = log.reserve(100).unwrap();
                        log.ticket(
                            log.append(&mut space, &[0; 50], false, |_, _| ())
                                .unwrap()
                                .end,
                        )
                    })
                    .collect();
                while !tickets.iter().all(|t| t.is_durable().unwrap()) {
                    io.sleep(Duration::from_millis(1));
                }
                // Long enough for the thread to end; the next tickets start another.
                io.sleep(Duration::from_secs(3));
            }
        };
        let end = sim.run_threads(vec![("client".into(), Box::new(body))]);
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
    }
}

#[test]
fn memory_commits_are_durable_after_the_delay() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    let end = db.append(100).unwrap();
    db.log.note_memory_commit();
    let _ = db.log.step().unwrap();
    assert!(db.log.durable_lsn() < end);
    sim.advance_clock(Duration::from_millis(250));
    let _ = db.log.step().unwrap();
    assert!(db.log.durable_lsn() >= end);
    db.model.acknowledged.store(1, Ordering::Relaxed);
    let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    recover_and_check(&cut.io(), &model, "after the delay");
}
