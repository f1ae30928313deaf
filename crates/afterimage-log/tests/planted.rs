//! The deliberate bugs of the log: each must be noticed by a small scenario. Only in a build with `--cfg planted`.
#![cfg(planted)]
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::{Mutex, PoisonError};

use afterimage_io::planted::{Bug, plant};
use afterimage_io::sim::{FailSync, Sim, Survival, SyncFailure, Verdict};
use common::{Db, Model, recover_and_check};

/// One bug at a time in this process.
static ONE: Mutex<()> = Mutex::new(());

/// Runs `scenario` as it is, which must pass, and with the bug, which must not.
fn caught(bug: Bug, scenario: fn()) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    scenario();
    plant(Some(bug));
    let noticed = std::panic::catch_unwind(scenario).is_err();
    plant(None);
    assert!(
        noticed,
        "{} was not noticed: {}",
        bug.name(),
        bug.describe()
    );
}

/// Crashes at every call of `life`, and recovers from each policy's remains.
fn everywhere(life: fn(&Sim, &Model)) {
    let whole = Sim::new(5);
    life(&whole, &Model::default());
    for at in 0..whole.calls() {
        let (sim, model) = (Sim::new(5), Model::default());
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(sim.catch(|| life(&sim, &model)).is_err());
        let disk = sim.snapshot();
        for policy in [
            Survival::None,
            Survival::All,
            Survival::Only(0),
            Survival::NewestOnly,
        ] {
            let sim = Sim::from_image(1, &disk.crash(&policy));
            let found =
                recover_and_check(&sim.io(), &model, &format!("call {at}, {policy:?}")).numbers();
            let again = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
            let db = recover_and_check(
                &again.io(),
                &model,
                &format!("call {at}, {policy:?}, again"),
            );
            assert_eq!(db.numbers(), found);
        }
    }
}

#[test]
fn stale_records_in_recycled_segments() {
    caught(Bug::StaleRecordValidates, || {
        let (sim, model) = (Sim::new(1), Model::default());
        let mut db = Db::open(&sim.io(), &model).unwrap();
        for round in 0..12 {
            // A watermark and a record fill whole blocks, so the next place is not zeroed by the last block's padding.
            for _ in 0..4 {
                db.put(3 * 4096 - 32 - 16 - 8).unwrap();
            }
            db.checkpoint().unwrap();
            db.put(3 * 4096 - 32 - 16 - 8).unwrap();
            let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
            recover_and_check(&cut.io(), &model, &format!("round {round}"));
        }
    });
}

#[test]
fn a_tail_left_alive() {
    caught(Bug::TailLeftAlive, || {
        let (sim, model) = (Sim::new(1), Model::default());
        let db = Db::open(&sim.io(), &model).unwrap();
        db.put(1000).unwrap();
        // A batch of which only the second half reaches the disk: its first record is lost, others are whole.
        let first = db.log.next_lsn().get();
        // The first record ends with a block, so that writing it again does not clear what stands behind it.
        let fitting = (4096 - (first + 32 + 16 + 8) % 4096) as usize;
        for _ in 0..8 {
            db.append(fitting).unwrap();
        }
        let end = db.log.next_lsn().get();
        sim.set_hook(Some(Box::new(|call, _| {
            if call.kind.syncs() {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(sim.catch(|| db.sync()).is_err());
        let image = sim.snapshot().crash(&Survival::All);
        let mut torn = image.clone();
        torn.write_bytes(
            "db/log/00000001-0000000000000001.log",
            first - common::SEGMENT,
            &[0; 600],
        );
        // The recovered process writes the same sizes again, so the leftovers fit exactly behind them.
        let sim = Sim::from_image(1, &torn);
        let again = recover_and_check(&sim.io(), &model, "torn");
        let (count, new) = (again.numbers().len() as u64, Model::default());
        again.put(fitting).unwrap();
        new.appended
            .store(count + 1, std::sync::atomic::Ordering::Relaxed);
        new.acknowledged
            .store(count + 1, std::sync::atomic::Ordering::Relaxed);
        let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
        recover_and_check(&cut.io(), &new, "the second crash");
        assert!(end > first);
    });
}

#[test]
fn an_acknowledgement_before_the_sync() {
    caught(Bug::AckBeforeSync, || {
        everywhere(|sim, model| {
            let db = Db::open(&sim.io(), model).unwrap();
            for len in [10, 2000, 30] {
                db.put(len).unwrap();
            }
        });
    });
}

#[test]
fn a_tail_believed_from_the_page_cache() {
    caught(Bug::TailNotRewritten, || {
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
    });
}

#[test]
fn a_segment_whose_name_is_not_durable() {
    caught(Bug::SegmentNameNotSynced, || {
        everywhere(|sim, model| {
            let db = Db::open(&sim.io(), model).unwrap();
            for _ in 0..14 {
                db.put(15_000).unwrap();
            }
        });
    });
}
