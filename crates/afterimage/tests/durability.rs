//! The promise: what was acknowledged is there after any stop, and nothing half done is.
//!
//! Public API only, in a simulated world that loses its power. The exhaustive form of these checks is the crash
//! simulation of `afterimage-sim`; here are the cases that a reader of the README would try.

use std::collections::BTreeMap;

use afterimage::{Database, Durability, Options};
use afterimage_io::sim::{Sim, Survival};

fn options(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(8 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
}

fn open(sim: &Sim) -> Database {
    options(sim).open("bank").expect("opens")
}

/// What a power cut leaves, with none of the unsynced writes.
fn power_cut(sim: &Sim, survival: &Survival) -> Sim {
    Sim::from_image(7, &sim.snapshot().crash(survival))
}

fn contents(db: &Database, table: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let table = db.table(table).expect("there");
    let mut tx = db.begin();
    let rows = tx
        .scan::<[u8], _>(&table, ..)
        .expect("scans")
        .collect::<Result<_, _>>()
        .expect("reads");
    tx.commit().expect("ends");
    rows
}

#[test]
fn a_put_survives_a_clean_stop_and_a_power_cut() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.table("t").expect("creates");
    db.put(&table, b"k", b"v").expect("puts");
    let cut = power_cut(&sim, &Survival::None);
    let after = open(&cut);
    assert_eq!(
        after
            .get(&after.table("t").expect("there"), b"k")
            .expect("gets"),
        Some(b"v".to_vec())
    );
    assert!(!after.recovery_report().clean);
    assert!(after.verify().expect("looks").is_clean());
    db.close().expect("closes");
    let again = open(&Sim::from_image(8, &sim.snapshot().crash(&Survival::None)));
    assert!(again.recovery_report().clean);
    assert_eq!(
        again
            .get(&again.table("t").expect("there"), b"k")
            .expect("gets"),
        Some(b"v".to_vec())
    );
}

#[test]
fn thousands_of_rows_through_eight_frames() {
    let sim = Sim::new(2);
    let db = open(&sim);
    let table = db.table("t").expect("creates");
    let mut model = BTreeMap::new();
    for n in 0..3000u64 {
        let key = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40)
            .to_be_bytes()
            .to_vec();
        let value = vec![n as u8; (n % 300) as usize];
        db.put(&table, &key, &value).expect("puts");
        model.insert(key.clone(), value);
        if n % 7 == 0 {
            db.delete(&table, &key).expect("deletes");
            model.remove(&key);
        }
    }
    assert_eq!(contents(&db, "t"), model);
    let report = db.verify().expect("looks");
    assert!(report.is_clean(), "{report:?}");
    let after = open(&power_cut(&sim, &Survival::None));
    assert_eq!(contents(&after, "t"), model);
    let report = after.verify().expect("looks");
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn an_unfinished_transaction_leaves_nothing() {
    let sim = Sim::new(3);
    let db = open(&sim);
    let table = db.table("t").expect("creates");
    for n in 0..200u32 {
        db.put(&table, &n.to_be_bytes(), b"before").expect("puts");
    }
    let mut tx = db.begin();
    for n in 0..200u32 {
        tx.put(&table, &n.to_be_bytes(), b"after!").expect("puts");
        tx.put(&table, &(n + 1000).to_be_bytes(), &[7; 200])
            .expect("puts");
    }
    // Steal: the unfinished changes reach the disk, log and pages.
    db.checkpoint().expect("checkpoints");
    let cut = power_cut(&sim, &Survival::All);
    drop(tx);
    let expected: BTreeMap<_, _> = (0..200u32)
        .map(|n| (n.to_be_bytes().to_vec(), b"before".to_vec()))
        .collect();
    assert_eq!(contents(&db, "t"), expected, "rolled back when dropped");
    let after = open(&cut);
    assert_eq!(after.recovery_report().losers, 1);
    assert!(after.recovery_report().undone >= 400);
    assert_eq!(contents(&after, "t"), expected);
    assert!(after.verify().expect("looks").is_clean());
}

#[test]
fn memory_commits_come_back_as_a_prefix() {
    let sim = Sim::new(4);
    let db = options(&sim)
        .synchronous_commit(Durability::Memory)
        .open("bank")
        .expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..50u32 {
        db.put(&table, &n.to_be_bytes(), b"x").expect("puts");
    }
    for survival in [Survival::None, Survival::All] {
        let after = open(&power_cut(&sim, &survival));
        let rows = contents(&after, "t");
        let prefix: Vec<_> = (0..rows.len() as u32)
            .map(|n| n.to_be_bytes().to_vec())
            .collect();
        assert_eq!(rows.keys().cloned().collect::<Vec<_>>(), prefix);
    }
}

#[test]
fn either_control_copy_is_enough_after_a_long_transaction() {
    let sim = Sim::new(9);
    let db = open(&sim);
    let table = db.table("t").expect("creates");
    let mut long = db.begin();
    long.put(&table, b"long", b"1").expect("puts");
    // Three segments of other people's work.
    for n in 0..900u32 {
        db.put(&table, &n.to_be_bytes(), &[n as u8; 150])
            .expect("puts");
    }
    // This copy names the long transaction's first record; the next one does not need it any more.
    db.checkpoint().expect("checkpoints");
    long.commit().expect("commits");
    db.put(&table, b"last", b"2").expect("puts");
    db.checkpoint().expect("checkpoints");
    let image = sim.snapshot().crash(&Survival::None);
    for copy in [0u64, 4096] {
        let mut damaged = image.clone();
        damaged.flip_bit("bank/control", copy + 40, 3);
        let after = open(&Sim::from_image(10, &damaged));
        let rows = contents(&after, "t");
        assert_eq!(rows.len(), 902, "with copy {} lost", copy / 4096);
        assert!(after.verify().expect("looks").is_clean());
    }
}

#[test]
fn an_allocation_map_of_zeroes_is_damage_and_no_short_file() {
    let sim = Sim::new(1);
    let db = open(&sim);
    let table = db.table("t").expect("creates");
    db.put(&table, b"k", b"v").expect("puts");
    db.close().expect("closes");
    let mut image = sim.snapshot().crash(&Survival::All);
    image.write_bytes("bank/pages", 4096, &[0; 4096]);
    let damaged = Sim::from_image(2, &image);
    let error = options(&damaged).open("bank").expect_err("page 1 is gone");
    assert!(error.is_corruption(), "{error}");
    assert!(error.to_string().contains("page 1 "), "{error}");
}
