//! Space: segment borders, recycling, a full disk and its end; and what a failed write or sync does.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use afterimage_io::sim::{FailSync, Sim, Survival, SyncFailure};
use afterimage_log::{Error, Log, LogOptions, Lsn};
use common::{Db, Model, SEGMENT, is_full, recover_and_check};

#[test]
fn frames_of_every_size_cross_every_border() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    let max = db.log.max_payload() - 8;
    for len in (0..max).step_by(509).chain([max]) {
        db.append(len).unwrap();
        if len % 3 == 0 {
            db.sync().unwrap();
        }
    }
    let numbers = db.numbers();
    assert_eq!(numbers.len() as u64, numbers.last().unwrap() + 1);
    db.sync().unwrap();
    assert_eq!(db.numbers(), numbers);
    let too_large = db.log.reserve(1 << 20).and_then(|mut space| {
        db.log.append(
            &mut space,
            &vec![0; db.log.max_payload() + 1],
            false,
            |_, _| (),
        )
    });
    assert!(matches!(too_large, Err(Error::TooLarge { .. })));
}

#[test]
fn a_segment_can_be_filled_to_its_last_byte() {
    // One frame that ends exactly where END must begin, one byte less, one byte more.
    for spare in [0, 1, 2, 8, 9, 100] {
        let (sim, model) = (Sim::new(1), Model::default());
        let db = Db::open(&sim.io(), &model).unwrap();
        for _ in 0..3 {
            db.put(15_000).unwrap();
        }
        let rest = 2 * SEGMENT - db.log.next_lsn().get();
        // Without the frame's head, its number, its batch's watermark and END.
        let len = (rest - 16 - 8 - 32 - 8 - spare) as usize & !1;
        db.put(len.min(15_000)).unwrap();
        if len > 15_000 {
            db.put(len - 15_000 - 32 - 16 - 8).unwrap();
        }
        for _ in 0..3 {
            db.put(3).unwrap();
        }
        let found = db.numbers();
        let image = sim.snapshot().crash(&Survival::None);
        assert_eq!(
            recover_and_check(&Sim::from_image(1, &image).io(), &model, "border").numbers(),
            found
        );
    }
}

#[test]
fn given_up_segments_are_used_again_and_their_records_never_return() {
    let (sim, model) = (Sim::new(1), Model::default());
    let mut db = Db::open(&sim.io(), &model).unwrap();
    for round in 0..40 {
        // The same sizes every time: old frames stand exactly where new ones will be looked for.
        for _ in 0..4 {
            db.put(12_000).unwrap();
        }
        db.checkpoint().unwrap();
        let image = sim.snapshot().crash(&Survival::None);
        recover_and_check(
            &Sim::from_image(1, &image).io(),
            &model,
            &format!("round {round}"),
        );
    }
    let stats = db.log.stats();
    assert!(stats.segments_recycled > 10, "{stats:?}");
    assert!(stats.segments <= 3, "{stats:?}");
    assert!(sim.snapshot().files().count() < 10);
    let gone = db.log.read(Lsn::new(SEGMENT + 4096 + 32).unwrap());
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}

#[test]
fn a_full_disk_refuses_writers_and_nothing_else_and_is_over_when_there_is_room() {
    let (sim, model) = (Sim::new(1), Model::default());
    let mut db = Db::open(&sim.io(), &model).unwrap();
    sim.set_quota(Some(5 * SEGMENT));
    let refused = loop {
        if let Err(e) = db.put(10_000) {
            break e;
        }
    };
    assert!(is_full(&refused), "{refused}");
    assert!(db.log.failure().is_none());
    // Reading, waiting, background work and even a crash go on as before.
    let found = db.numbers();
    db.sync().unwrap();
    let _ = db.log.step().unwrap();
    let small = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    small.set_quota(Some(5 * SEGMENT));
    let recovered = recover_and_check(&small.io(), &model, "full disk");
    assert_eq!(recovered.numbers(), found);
    assert!(recovered.put(100).is_ok_and(|()| true) || is_full(&recovered.put(100).unwrap_err()));
    // There is room again, by a checkpoint or by someone else's doing.
    assert!(db.checkpoint().unwrap() > 0);
    db.put(10_000).unwrap();
    sim.set_quota(None);
    for _ in 0..20 {
        db.put(10_000).unwrap();
    }
}

#[test]
fn what_is_reserved_can_be_appended_on_a_full_disk() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    let mut held = db.log.reserve(100_000).unwrap();
    sim.set_quota(Some(sim.snapshot().files().map(|(_, len)| len).sum()));
    while db.put(1000).is_ok() {}
    // The worst order: frames that just do not fit, each in a batch of its own.
    while held.bytes() > 16_000 {
        let end = db
            .log
            .append(&mut held, &vec![7; 15_900], false, |_, _| ())
            .unwrap()
            .end;
        db.log.wait_durable(end).unwrap();
    }
    while held.bytes() > 20 {
        let end = db
            .log
            .append(&mut held, &[1; 10], false, |_, _| ())
            .unwrap()
            .end;
        db.log.wait_durable(end).unwrap();
    }
}

#[test]
fn a_failed_sync_stops_the_log_for_ever_and_the_truth_is_told() {
    for failure in [
        SyncFailure::CacheKeepsNew,
        SyncFailure::CacheReverts,
        SyncFailure::NothingHappened,
    ] {
        let (sim, model) = (Sim::new(1), Model::default());
        let db = Db::open(&sim.io(), &model).unwrap();
        db.put(100).unwrap();
        let ticket = db.log.ticket(db.append(50).unwrap());
        sim.fail_sync(FailSync::next().leaving(failure));
        assert!(db.put(100).unwrap_err().outcome_unknown());
        assert!(ticket.is_durable().unwrap_err().outcome_unknown());
        assert!(db.sync().unwrap_err().outcome_unknown());
        assert!(matches!(db.put(1), Err(Error::Failed { .. })));
        assert!(matches!(db.log.step(), Err(Error::Failed { .. })));
        assert!(
            db.log
                .failure()
                .is_some_and(|reason| reason.contains("sync"))
        );
        let calls = sim.calls();
        drop(db);
        assert_eq!(sim.calls(), calls, "nothing is written after a stop");
        // The process starts again on the same machine; then the power goes.
        let again = Sim::from_state(1, &sim.snapshot().restart());
        let db = recover_and_check(&again.io(), &model, "after a failed sync");
        let found = db.numbers();
        drop(db);
        let cut = Sim::from_image(1, &again.snapshot().crash(&Survival::None));
        assert_eq!(
            recover_and_check(&cut.io(), &model, "after the power cut").numbers(),
            found,
            "{failure:?}"
        );
    }
}

#[test]
fn nothing_handed_out_ever_comes_back() {
    let (sim, model) = (Sim::new(1), Model::default());
    let mut image = {
        let db = Db::open(&sim.io(), &model).unwrap();
        db.put(10).unwrap();
        sim.snapshot().crash(&Survival::None)
    };
    let mut highest = 0;
    for _ in 0..5 {
        let sim = Sim::from_image(1, &image);
        let db = Db::open(&sim.io(), &Model::default()).unwrap();
        let next = db.log.next_lsn().get();
        assert!(next > highest, "{next} after {highest}");
        // Appended over several segments, written perhaps, never made durable.
        let mut space = db.log.reserve(140_000).unwrap();
        for _ in 0..9 {
            highest = db
                .log
                .append(&mut space, &[9; 15_000], false, |_, _| ())
                .unwrap()
                .end
                .get();
        }
        drop(space);
        image = sim.snapshot().crash(&Survival::None);
    }
}

#[test]
fn times_do_not_run_backwards_over_a_restart() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    let mut last = 0;
    let mut space = db.log.reserve(10_000).unwrap();
    for _ in 0..10 {
        db.log
            .append(&mut space, b"", true, |_, time| {
                assert!(time >= last);
                last = time;
            })
            .unwrap();
    }
    db.log.wait_durable(db.log.next_lsn()).unwrap();
    let image = sim.snapshot().crash(&Survival::None);
    let sim = Sim::from_image(1, &image);
    let db = Db::open(&sim.io(), &Model::default()).unwrap();
    assert_eq!(db.found.as_ref().unwrap().last_time, last);
    let mut space = db.log.reserve(100).unwrap();
    db.log
        .append(&mut space, b"", true, |_, time| assert!(time >= last))
        .unwrap();
}

#[test]
fn spare_segments_are_made_in_the_background() {
    let (sim, model) = (Sim::new(1), Model::default());
    let options = LogOptions {
        spare_segments: 3,
        ..common::options()
    };
    let db = Db::open_in(&sim.io(), common::dir(), &model, &options).unwrap();
    for _ in 0..10 {
        let _ = db.log.step().unwrap();
    }
    assert_eq!(db.log.stats().spare_segments, 4);
    let prepared = db.log.stats().segments_prepared;
    let space = db.log.reserve(100_000).unwrap();
    assert_eq!(
        db.log.stats().segments_prepared,
        prepared,
        "the writer did not have to make one"
    );
    drop(space);
    assert_eq!(Log::frame_bytes(10, true), 26);
}
