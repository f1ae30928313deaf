//! Files: their names, their space, and when one is given up.

use std::path::Path;

use afterimage_io::sim::{Sim, Survival};
use afterimage_log::{Start, Wal};

use crate::common::{self, Db, Model, SEGMENT, is_full, recover_and_check};
use crate::everywhere;

pub fn a_segment_whose_name_is_not_durable() {
    everywhere(|sim, model| {
        let db = Db::open(&sim.io(), model).unwrap();
        for _ in 0..14 {
            db.put(15_000).unwrap();
        }
    });
}

pub fn a_disk_that_fills_up() {
    let (sim, model) = (Sim::new(1), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    sim.set_quota(Some(4 * SEGMENT));
    let refused = loop {
        if let Err(e) = db.put(10_000) {
            break e;
        }
    };
    assert!(is_full(&refused), "{refused}");
    assert_eq!(db.log.failure(), None, "a full disk is met before a write");
}

pub fn a_birth() {
    everywhere(|sim, model| drop(Db::open(&sim.io(), model).unwrap()));
}

fn open(sim: &Sim) -> Wal {
    Wal::open(&sim.io(), Path::new("q"), &common::options()).unwrap()
}

fn fill(wal: &Wal) {
    for _ in 0..16 {
        wal.append(&[7; 12_000]).unwrap().wait().unwrap();
    }
}

pub fn a_slot_holds_the_log() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("reader", Start::Oldest).unwrap();
    fill(&wal);
    wal.truncate_before(wal.durable_lsn()).unwrap();
    let slot = wal.slot("reader").unwrap();
    let read = wal.read(slot.position()).map(|record| record.unwrap());
    assert_eq!(read.count(), 16);
}

pub fn the_log_is_cut_in_front() {
    let (sim, model) = (Sim::new(1), Model::default());
    let mut db = Db::open(&sim.io(), &model).unwrap();
    let mut places = Vec::new();
    for _ in 0..16 {
        places.push(db.log.next_lsn());
        db.put(12_000).unwrap();
    }
    // Recovery is to begin in the middle of the log: at a watermark, in the middle of a segment.
    let from = places[8];
    let mut control = db.control.current().clone();
    control.client[..8].copy_from_slice(&from.get().to_le_bytes());
    for _ in 0..2 {
        db.control.write(&control).unwrap();
    }
    db.log.truncate_before(from).unwrap();
    let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    recover_and_check(&cut.io(), &model, "cut in front");
}

pub fn a_slot_moves() {
    let sim = Sim::new(1);
    let wal = open(&sim);
    wal.create_slot("reader", Start::Oldest).unwrap();
    fill(&wal);
    let mut slot = wal.slot("reader").unwrap();
    slot.advance(wal.durable_lsn()).unwrap();
    let at = slot.position();
    wal.truncate_before(at).unwrap();
    let cut = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
    let wal = open(&cut);
    assert_eq!(wal.slot("reader").unwrap().position(), at);
}
