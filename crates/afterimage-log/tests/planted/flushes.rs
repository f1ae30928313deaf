//! Flushes: what is acknowledged when, and what becomes of those who wait when one fails.

use std::path::Path;
use std::sync::atomic::Ordering;

use afterimage_io::sim::{CallKind, FailSync, RunEnd, Sim, Survival, SyncFailure, Verdict};
use afterimage_log::{Horizon, Wal};

use crate::common::clients::{count, run};
use crate::common::{self, Db, Model, SEGMENT, recover_and_check};
use crate::everywhere;

pub fn an_acknowledgement_before_the_sync() {
    everywhere(|sim, model| {
        let db = Db::open(&sim.io(), model).unwrap();
        for len in [10, 2000, 30] {
            db.put(len).unwrap();
        }
    });
}

/// The observer asks the disk at every acknowledgement.
pub fn flushes_that_end_out_of_order() {
    for seed in 0..80 {
        let (_, _, end, _) = run(seed, 6, 8, 16_000, |_| ());
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
    }
}

pub fn followers_and_tickets() {
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let options = afterimage_log::LogOptions {
            background: false,
            ..common::options()
        };
        let wal = Wal::open(&sim.io(), Path::new("q"), &options).unwrap();
        let mut follower = wal.follow(wal.oldest_lsn(), Horizon::Durable);
        let writer = move || {
            for n in 0..4 {
                wal.append(&[n]).unwrap().wait().unwrap();
            }
            // Open until the follower has seen all: a close would wake it.
            std::mem::forget(wal);
        };
        let reader = move || {
            for n in 0..4 {
                assert_eq!(follower.next().unwrap().payload, [n]);
            }
        };
        let end = sim.run_threads(vec![
            ("writer".into(), Box::new(writer)),
            ("reader".into(), Box::new(reader)),
        ]);
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
    }
}

/// Nobody hangs, and nothing that was acknowledged is lost.
pub fn a_failed_sync_among_many() {
    let mut failed = 0;
    for seed in 0..120 {
        let (sim, model, end, log) = run(seed, 6, 10, 16_000, |sim| {
            sim.fail_sync(FailSync::next().on(".log").after(2 + seed % 12))
        });
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
        failed += u64::from(log.failure().is_some());
        let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
        let found = count(&recover(&cut).log, SEGMENT + 4096);
        let acknowledged = model.acknowledged.load(Ordering::Relaxed);
        assert!(
            found >= acknowledged,
            "seed {seed}: {found} of {acknowledged}"
        );
    }
    assert!(failed > 60, "{failed}");
}

/// The sync fails of whoever comes first where two flushes have written to one file.
pub fn one_failure_of_two_flushes() {
    let mut failed = 0;
    for seed in 0..200 {
        let (sim, model, end, log) = run(4 * seed + 2, 6, 10, 6000, |sim| {
            let mut writes = 0;
            sim.set_hook(Some(Box::new(move |call, _| {
                let log = call.path.ends_with(".log");
                match call.kind {
                    CallKind::Write if log => writes += 1,
                    CallKind::Sync if log && std::mem::take(&mut writes) > 1 => {
                        return Verdict::FailSync(SyncFailure::CacheKeepsNew);
                    }
                    _ => {}
                }
                Verdict::Continue
            })));
        });
        assert_eq!(end, RunEnd::Finished, "seed {seed}");
        failed += u64::from(log.failure().is_some());
        let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
        let found = count(&recover(&cut).log, SEGMENT + 4096);
        let acknowledged = model.acknowledged.load(Ordering::Relaxed);
        assert!(
            found >= acknowledged,
            "seed {seed}: {found} of {acknowledged}"
        );
    }
    assert!(failed > 60, "{failed}");
}

fn recover(sim: &Sim) -> Db {
    Db::open(&sim.io(), &Model::default()).unwrap()
}

pub fn a_tail_believed_from_the_page_cache() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(5000).unwrap();
    sim.fail_sync(FailSync::next().leaving(SyncFailure::CacheKeepsNew));
    assert!(db.put(9000).is_err());
    drop(db);
    let restarted = Sim::from_state(1, &sim.snapshot().restart());
    let db = recover_and_check(&restarted.io(), &model, "restart");
    let found = db.numbers();
    db.put(10).unwrap();
    let cut = Sim::from_image(1, &restarted.snapshot().crash(&Survival::None));
    let numbers = recover_and_check(&cut.io(), &Model::clone(&db.model), "power cut").numbers();
    assert!(numbers.starts_with(&found));
}

pub fn a_failed_sync() {
    for after in 0..3 {
        let (sim, model) = (Sim::new(1), Model::default());
        let db = Db::open(&sim.io(), &model).unwrap();
        sim.fail_sync(FailSync::next().on(".log").after(after));
        while db.put(3000).is_ok() && model.appended.load(Ordering::Relaxed) < 6 {}
        let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
        recover_and_check(&cut.io(), &model, &format!("after {after} syncs"));
    }
}

pub fn a_write_that_stops_half_way() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(3000).unwrap();
    let mut writes = 0;
    sim.set_hook(Some(Box::new(move |call, _| {
        writes += u64::from(call.kind == CallKind::Write && call.path.ends_with(".log"));
        match (call.kind, writes) {
            (CallKind::Write, 1) => Verdict::Short(4096),
            (CallKind::Write, 2) => Verdict::Error(std::io::ErrorKind::StorageFull),
            _ => Verdict::Continue,
        }
    })));
    while db.put(9000).is_ok() && model.appended.load(Ordering::Relaxed) < 6 {}
    sim.set_hook(None);
    for survival in [Survival::None, Survival::All] {
        let cut = Sim::from_image(1, &sim.snapshot().crash(&survival));
        recover_and_check(&cut.io(), &model, &format!("{survival:?}"));
    }
}
