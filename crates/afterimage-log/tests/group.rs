//! Many threads on one log, under the seeded scheduler: no ack without durability, no waiter forgotten.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use afterimage_io::sim::{FailSync, RunEnd, Sim, Survival};
use afterimage_log::LogOptions;
use common::clients::{count, run};
use common::{Db, Model, SEGMENT, recover_and_check};

#[test]
fn everybody_is_served_and_nothing_is_acknowledged_early() {
    for seed in 0..60 {
        let (sim, model, end, log) = run(seed, 5, 12, 3000, |_| ());
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
        let (sim, model, end, log) = run(seed, 4, 30, 3000, |sim| {
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
        let (sim, model, end, log) = run(seed, 6, 10, 3000, |sim| {
            sim.fail_sync(FailSync::next().on("-0000000000000001.log").after(seed % 4))
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

/// Nobody calls `step`: what else is done in the background may take long, and must not make these late.
#[test]
fn memory_commits_have_a_timer_of_their_own_while_there_are_any() {
    let (sim, model) = (Sim::new(1), Model::default());
    let options = LogOptions {
        background: true,
        ..common::options()
    };
    let db = Db::open_in(&sim.io(), common::dir(), &model, &options).unwrap();
    let (log, io) = (db.log.clone(), sim.io());
    let body = move || {
        let append = || {
            let mut space = log.reserve(100).unwrap();
            let appended = log.append(&mut space, &[0; 50], false, |_, _| ());
            log.note_memory_commit();
            appended.unwrap().end
        };
        // The second time the thread has ended, the third time it is at work for tickets.
        for round in 0..3 {
            let first = append();
            io.sleep(Duration::from_millis(150));
            let second = append();
            if round == 2 {
                let _ = log.ticket(first).is_durable().unwrap();
                io.sleep(Duration::from_millis(10));
                assert!(log.durable_lsn() >= first, "the ticket has had it flushed");
                let _ = append();
            } else {
                assert!(log.durable_lsn() < first, "round {round}");
            }
            io.sleep(Duration::from_millis(60));
            assert!(log.durable_lsn() >= second, "round {round}");
            io.sleep(Duration::from_secs(3));
            assert_eq!(log.durable_lsn(), log.next_lsn(), "round {round}");
        }
    };
    let end = sim.run_threads(vec![("client".into(), Box::new(body))]);
    assert_eq!(end, RunEnd::Finished);
}
