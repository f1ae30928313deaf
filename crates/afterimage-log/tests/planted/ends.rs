//! Where the log ends, and what stands there: damage, zeroes, leftovers, borders.

use afterimage_io::sim::{Image, Sim, Survival, Verdict};
use afterimage_log::Durability;

use crate::common::{self, Db, Model, SEGMENT, recover_and_check};
use crate::everywhere;

const FIRST: &str = "db/log/00000001-0000000000000001.log";

pub fn damage_before_a_watermark() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    for _ in 0..4 {
        db.put(100).unwrap();
    }
    let mut image = sim.snapshot().crash(&Survival::None);
    image.flip_bit(FIRST, 4096 + 32 + 40, 3);
    match Db::open(&Sim::from_image(1, &image).io(), &Model::default()) {
        Ok(db) => panic!(
            "acknowledged records are cut off without a word: {:?}",
            db.found
        ),
        Err(e) => assert!(e.is_corruption(), "{e}"),
    }
}

pub fn torn_batches() {
    everywhere(|sim, model| {
        let db = Db::open(&sim.io(), model).unwrap();
        // Several batches without a sync between them: a later one may survive an earlier one.
        for len in [5000, 9000, 700] {
            let end = db.append(len).unwrap();
            db.log.wait(end, Durability::Os).unwrap();
        }
        db.put(100).unwrap();
    });
}

pub fn stale_records_in_recycled_segments() {
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
}

pub fn zeroes_behind_the_end() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(100).unwrap();
    db.close().unwrap();
    let db = recover_and_check(&sim.io(), &model, "after a clean stop");
    db.put(3).unwrap();
    let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    let found = recover_and_check(&cut.io(), &db.model, "after a crash")
        .found
        .unwrap();
    assert_eq!(found.verdict, afterimage_log::Tail::Open);
}

pub fn lengths_that_cannot_be() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(100).unwrap();
    let end = db.log.next_lsn().get() - SEGMENT;
    let image = sim.snapshot().crash(&Survival::None);
    for len in [1, 3, 7, 9, 0x00FF_FFFF] {
        let mut torn = image.clone();
        torn.write_bytes(FIRST, end, &(len | 1u32 << 24).to_le_bytes());
        recover_and_check(
            &Sim::from_image(1, &torn).io(),
            &model,
            &format!("length {len}"),
        );
    }
}

pub fn a_tail_left_alive() {
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
}

pub fn frames_that_fit_exactly() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    for _ in 0..3 {
        db.put(16_000).unwrap();
    }
    let rest = 2 * SEGMENT - db.log.next_lsn().get();
    // Without the frame's head, its number, its batch's watermark and END, which then ends with the segment.
    let len = (rest - 16 - 8 - 32 - 8) as usize;
    assert!(len.is_multiple_of(2) && len < 16_000, "{len}");
    db.put(len).unwrap();
    db.put(3).unwrap();
    assert_eq!(db.numbers().len(), 5);
    let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    recover_and_check(&cut.io(), &model, "exact fit");
}

/// A log that was stopped cleanly, and has lost its last record since: nothing is open about that.
pub fn a_log_that_ends_before_its_clean_stop() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(100).unwrap();
    let last = db.log.next_lsn().get() - SEGMENT;
    db.put(100).unwrap();
    db.close().unwrap();
    let mut image = sim.snapshot().crash(&Survival::None);
    image.write_bytes(FIRST, last, &[0; 4096]);
    match Db::open(&Sim::from_image(1, &image).io(), &Model::default()) {
        Ok(db) => panic!(
            "a record of a clean stop is gone without a word: {:?}",
            db.found
        ),
        Err(e) => assert!(e.is_corruption(), "{e}"),
    }
}

/// After a clean stop the end is where it was left, whatever stands behind it.
pub fn a_clean_stop_in_a_used_file() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(100).unwrap();
    db.close().unwrap();
    let mut image = sim.snapshot().crash(&Survival::None);
    let found = |image: &Image| {
        let db = recover_and_check(&Sim::from_image(1, image).io(), &model, "a clean stop");
        db.found.unwrap()
    };
    let end = found(&image).end.get() - SEGMENT;
    image.write_bytes(FIRST, end, &[0xA5; 512]);
    let found = found(&image);
    assert_eq!(found.verdict, afterimage_log::Tail::Clean, "{found:?}");
}

/// What a crash interrupted is cut off, and a log that it did not interrupt is told to be whole.
pub fn an_end_after_a_crash() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(100).unwrap();
    let end = db.log.next_lsn().get() - SEGMENT;
    let mut image = sim.snapshot().crash(&Survival::None);
    let found = |image: &Image, context: &str| {
        let db = recover_and_check(&Sim::from_image(1, image).io(), &model, context);
        db.found.unwrap().verdict
    };
    assert_eq!(found(&image, "whole"), afterimage_log::Tail::Open);
    image.write_bytes(FIRST, end, &[0xA5; 512]);
    let torn = found(&image, "torn");
    assert!(
        matches!(torn, afterimage_log::Tail::Torn { .. }),
        "{torn:?}"
    );
}

/// The later of two batches reached the disk, and the earlier did not.
pub fn a_gap_before_a_batch() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(3000).unwrap();
    let from = db.log.next_lsn().get() - SEGMENT;
    for len in [5000, 9000] {
        let end = db.append(len).unwrap();
        db.log.wait(end, Durability::Os).unwrap();
    }
    let mut image = sim.snapshot().crash(&Survival::All);
    image.write_bytes(FIRST, from, &[0; 4096]);
    let found = recover_and_check(&Sim::from_image(1, &image).io(), &model, "a gap").found;
    let verdict = found.unwrap().verdict;
    assert!(
        matches!(verdict, afterimage_log::Tail::Torn { .. }),
        "{verdict:?}"
    );
}
