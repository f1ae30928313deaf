//! The power goes at every single call, and every kind of remains is recovered from.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use afterimage_io::sim::{DiskState, Image, Sim, Survival, Verdict};
use afterimage_log::LogOptions;
use common::{Db, Model, dir, options, recover_and_check};

/// Appends, syncs, segment borders, idleness, truncation, a segment closed by hand, a clean stop, an open without one.
fn life(sim: &Sim, model: &Model) {
    life_with(sim, model, &options());
}

fn life_with(sim: &Sim, model: &Model, options: &LogOptions) {
    let io = sim.io();
    let open = || Db::open_in(&io, dir(), model, options).unwrap();
    let mut db = open();
    for len in [10, 3000, 0, 9000] {
        db.put(len).unwrap();
    }
    db.append(100).unwrap();
    sim.advance_clock(Duration::from_millis(300));
    for _ in 0..4 {
        let _ = db.log.step().unwrap();
    }
    // Batches of several records, over segment borders.
    for _ in 0..6 {
        db.append(15_000).unwrap();
        db.append(7).unwrap();
        db.append(14_000).unwrap();
        db.sync().unwrap();
    }
    assert!(db.checkpoint().unwrap() > 0);
    for len in [12_000, 5, 16_000, 16_000, 16_000, 4_000] {
        db.put(len).unwrap();
    }
    db.log.switch_segment().unwrap();
    db.put(30).unwrap();
    db.close().unwrap();
    let db = open();
    for len in [1, 2000, 16_000] {
        db.put(len).unwrap();
    }
    db.append(1000).unwrap();
    drop(db);
    // The process is gone without a word; the machine lives on.
    let db = open();
    db.model.appended.store(
        db.numbers().last().unwrap() + 1,
        std::sync::atomic::Ordering::Relaxed,
    );
    for len in [3, 15_000, 15_000, 15_000, 15_000] {
        db.put(len).unwrap();
    }
}

/// Runs `body` on a world that crashes before call `at`; the disk at that moment, or none if it was never reached.
fn crash_at(sim: &Sim, at: u64, body: impl FnOnce()) -> Option<DiskState> {
    sim.set_hook(Some(Box::new(move |call, _| {
        if call.index == at {
            Verdict::Crash
        } else {
            Verdict::Continue
        }
    })));
    let ended = sim.catch(body);
    ended.is_err().then(|| sim.snapshot())
}

fn policies(disk: &DiskState, seed: u64) -> Vec<Survival> {
    let pending = disk.pending().len();
    let mut policies = vec![Survival::None, Survival::All, Survival::NewestOnly];
    for i in 0..pending.min(8) {
        // The oldest and the newest are the interesting ones.
        policies.push(Survival::Only(i));
        policies.push(Survival::Without(pending - 1 - i));
    }
    for unit in [1, 512, 4096] {
        policies.push(Survival::TornLast { unit, seed });
    }
    policies.push(Survival::Random { seed });
    policies.push(Survival::Random { seed: !seed });
    policies
}

/// Recovery, then a second one without anything in between: the same records. And it can go on.
fn check_image(image: &Image, model: &Model, context: &str) {
    let sim = Sim::from_image(1, image);
    let db = recover_and_check(&sim.io(), model, context);
    let first = db.numbers();
    drop(db);
    let again = Sim::from_image(2, &sim.snapshot().crash(&Survival::None));
    let db = recover_and_check(&again.io(), model, context);
    assert_eq!(first, db.numbers(), "{context}: the second recovery");
    db.put(500).unwrap();
    db.put(16_000).unwrap();
}

#[test]
fn a_crash_at_every_call_loses_nothing_acknowledged() {
    crash_at_every_call(&options());
}

#[test]
fn neither_does_it_with_padded_flushes_and_files_used_again() {
    crash_at_every_call(&LogOptions {
        wal_pad_flush: true,
        min_wal_size: 1 << 30,
        max_wal_size: 1 << 30,
        ..options()
    });
}

fn crash_at_every_call(options: &LogOptions) {
    let life = |sim: &Sim, model: &Model| life_with(sim, model, options);
    let whole = Sim::new(7);
    life(&whole, &Model::default());
    let calls = whole.calls();
    assert!(calls > 100, "the life has only {calls} calls");
    let mut states = 0;
    for at in 0..calls {
        let (sim, model) = (Sim::new(7), Model::default());
        let Some(disk) = crash_at(&sim, at, || life(&sim, &model)) else {
            panic!("call {at} was not reached")
        };
        for policy in policies(&disk, at) {
            check_image(
                &disk.crash(&policy),
                &model,
                &format!("call {at}, {policy:?}"),
            );
            states += 1;
        }
    }
    println!("{calls} calls, {states} crash states");
}

#[test]
fn a_crash_in_recovery_converges() {
    let whole = Sim::new(7);
    life(&whole, &Model::default());
    let mut states = 0;
    for at in (0..whole.calls()).step_by(5) {
        let (sim, model) = (Sim::new(7), Model::default());
        let Some(disk) = crash_at(&sim, at, || life(&sim, &model)) else {
            panic!("call {at} was not reached")
        };
        for policy in [
            Survival::None,
            Survival::All,
            Survival::TornLast {
                unit: 512,
                seed: at,
            },
        ] {
            let image = disk.crash(&policy);
            for within in 0.. {
                let context = format!("call {at}, {policy:?}, then call {within} of recovery");
                let sim = Sim::from_image(3, &image);
                let Some(disk) = crash_at(&sim, within, || {
                    drop(Db::open(&sim.io(), &Model::default()))
                }) else {
                    break;
                };
                for policy in [
                    Survival::None,
                    Survival::All,
                    Survival::Random { seed: within },
                ] {
                    check_image(
                        &disk.crash(&policy),
                        &model,
                        &format!("{context}, {policy:?}"),
                    );
                    states += 1;
                }
            }
        }
    }
    println!("{states} crash states");
}

#[test]
fn a_killed_process_on_a_living_machine_loses_nothing() {
    let whole = Sim::new(9);
    life(&whole, &Model::default());
    for at in 0..whole.calls() {
        let (sim, model) = (Sim::new(9), Model::default());
        let Some(disk) = crash_at(&sim, at, || life(&sim, &model)) else {
            panic!("call {at} was not reached")
        };
        // The page cache has everything; then the power goes, too, after the recovery.
        let context = format!("killed at call {at}");
        let restarted = Sim::from_state(4, &disk.restart());
        let db = recover_and_check(&restarted.io(), &model, &context);
        let found = db.numbers();
        drop(db);
        let cut = Sim::from_image(5, &restarted.snapshot().crash(&Survival::None));
        assert_eq!(
            recover_and_check(&cut.io(), &model, &context).numbers(),
            found,
            "{context}"
        );
    }
}
