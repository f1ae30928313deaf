//! The promise: the file does not grow when the data does not, whatever comes and goes: rows at random, a queue, all of a
//! table; and no crash in the middle of it loses a row or a page.

#![allow(
    clippy::disallowed_types,
    reason = "a hook collects disk states, and nobody waits for it"
)]

use std::sync::{Arc, Mutex};

use afterimage::{Database, Options, Progress, Table};
use afterimage_io::sim::{DiskState, Sim, Survival, Verdict};

const PAGE: u64 = 4096;

fn open(sim: &Sim, frames: u64) -> (Database, Table) {
    open_with(sim, frames, 256 << 10)
}

fn open_with(sim: &Sim, frames: u64, max_wal_size: u64) -> (Database, Table) {
    let db = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(PAGE as usize)
        .buffer_pool_size(frames * PAGE)
        .wal_segment_size(64 << 10)
        .max_wal_size(max_wal_size)
        .open("d")
        .expect("opens");
    let table = db.table("t").expect("is there");
    (db, table)
}

fn settle(db: &Database) {
    while db.step().expect("steps") == Progress::Worked {}
}

fn assert_sound(db: &Database) {
    let report = db.verify().expect("verifies");
    assert!(report.is_clean(), "{:?}", report.findings);
}

fn used(db: &Database) -> u64 {
    let stats = db.stats();
    stats.pages - stats.pages_free
}

fn key(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

/// A number that looks like chance.
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    n ^ n >> 29
}

/// Puts rows in transactions of a hundred.
fn put(db: &Database, table: &Table, numbers: impl Iterator<Item = u64>, len: usize) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(100) {
        db.transact(|tx| {
            some.iter()
                .try_for_each(|n| tx.put(table, &key(*n), &vec![*n as u8; len]))
        })
        .expect("puts");
    }
}

fn delete(db: &Database, table: &Table, numbers: impl Iterator<Item = u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(100) {
        db.transact(|tx| {
            some.iter()
                .try_for_each(|n| tx.delete(table, &key(*n)).map(drop))
        })
        .expect("deletes");
    }
}

#[test]
fn a_queue_takes_no_more_room_than_what_is_in_it() {
    let sim = Sim::new(1);
    let (db, table) = open(&sim, 16);
    put(&db, &table, 0..2000, 100);
    settle(&db);
    let pages = db.stats().pages;
    for round in 0..20 {
        put(&db, &table, 2000 + round * 500..2500 + round * 500, 100);
        delete(&db, &table, round * 500..round * 500 + 500);
        settle(&db);
    }
    settle(&db);
    let live = 2000 * 112 / PAGE;
    assert!(used(&db) <= live * 3 / 2, "{} pages for {live}", used(&db));
    assert!(
        db.stats().pages <= pages * 3 / 2,
        "{} after {pages}",
        db.stats().pages
    );
    assert_sound(&db);
}

#[test]
fn rows_that_come_and_go_at_random_leave_half_the_file_in_use() {
    let sim = Sim::new(2);
    let (db, table) = open(&sim, 16);
    let rows = 3000;
    put(&db, &table, 0..rows, 100);
    settle(&db);
    let pages = db.stats().pages;
    for round in 0..10 {
        let some = |salt: u64| (0..1000).map(move |n| mix(n + salt * 7919) % (1 << 20));
        put(&db, &table, some(round).map(|n| n + rows), 100);
        delete(&db, &table, some(round).map(|n| n + rows));
        settle(&db);
    }
    let live = rows * 112 / PAGE;
    assert!(used(&db) <= live * 3 / 2, "{} pages for {live}", used(&db));
    assert!(
        db.stats().pages <= pages * 2,
        "{} after {pages}",
        db.stats().pages
    );
    assert_sound(&db);
    let mut tx = db.begin();
    let count = tx.scan::<[u8], _>(&table, ..).expect("scans").count();
    assert_eq!(count as u64, rows);
}

#[test]
fn a_table_that_is_emptied_is_one_page_again() {
    let sim = Sim::new(3);
    // Room for the log of one transaction that deletes all of it.
    let (db, table) = open_with(&sim, 16, 16 << 20);
    let before = used(&db);
    for wanted in [3000, 20_000] {
        put(&db, &table, (0..wanted).map(|n| mix(n) >> 8), 60);
        let mut tx = db.begin();
        let deleted = tx.delete_range::<[u8], _>(&table, ..).expect("deletes");
        assert_eq!(deleted, wanted);
        settle(&db);
        assert!(used(&db) > before, "it may still be rolled back");
        tx.commit().expect("commits");
        settle(&db);
        assert_eq!(used(&db), before);
        assert_sound(&db);
    }
    // And so it is when the rows were never there.
    let mut tx = db.begin();
    for n in 0..2000 {
        tx.put(&table, &key(n), &[1; 60]).expect("puts");
    }
    tx.rollback().expect("rolls back");
    settle(&db);
    assert_eq!(used(&db), before);
    put(&db, &table, 0..100, 60);
    assert_sound(&db);
}

/// The longest keys make the widest separators: pages of two or three levels come and go.
#[test]
fn trees_of_long_keys_shrink_as_they_grew() {
    let sim = Sim::new(4);
    let (db, table) = open(&sim, 16);
    let before = used(&db);
    let long = |n: u64| [&vec![b'k'; 504][..], &key(mix(n))].concat();
    for n in 0..400 {
        db.put(&table, &long(n), b"v").expect("puts");
    }
    for n in 0..400 {
        assert!(db.delete(&table, &long(n)).expect("deletes"));
        if n % 50 == 0 {
            settle(&db);
            assert_sound(&db);
        }
    }
    settle(&db);
    assert_eq!(used(&db), before);
    assert_sound(&db);
}

/// The power goes while pages are merged: at every call to the disk.
#[test]
fn a_crash_while_pages_are_merged_loses_nothing() {
    let sim = Sim::new(5);
    let (db, table) = open(&sim, 8);
    put(&db, &table, 0..400, 100);
    settle(&db);
    db.checkpoint().expect("checkpoints");
    let images = Arc::new(Mutex::new(Vec::new()));
    let taken = images.clone();
    sim.set_hook(Some(Box::new(move |_, disk: &DiskState| {
        let mut taken = taken.lock().expect("one thread");
        for survival in [Survival::None, Survival::All, Survival::NewestOnly] {
            taken.push(disk.crash(&survival));
        }
        Verdict::Continue
    })));
    for n in 0..4 {
        delete(
            &db,
            &table,
            (n * 100..n * 100 + 100).filter(|n| n % 10 != 0),
        );
        settle(&db);
    }
    put(&db, &table, 1000..1100, 100);
    settle(&db);
    sim.set_hook(None);
    let images = std::mem::take(&mut *images.lock().expect("one thread"));
    assert!(images.len() > 50, "{} states", images.len());
    for image in images {
        let sim = Sim::from_image(1, &image);
        let (db, table) = open(&sim, 8);
        let mut tx = db.begin();
        let rows = tx.scan::<[u8], _>(&table, ..).expect("scans");
        let keys: Vec<Vec<u8>> = rows.map(|row| row.expect("reads").0).collect();
        tx.commit().expect("commits");
        let tens = keys.iter().filter(|key| {
            let n = u64::from_be_bytes(key[..].try_into().expect("eight bytes"));
            n < 400 && n % 10 == 0
        });
        assert_eq!(tens.count(), 40, "what was not deleted is there");
        let gone = 360 - (keys.len() as i64 - 40);
        assert!(gone % 90 == 0 || gone == 260, "whole transactions: {gone}");
        settle(&db);
        assert_sound(&db);
    }
}

fn file_pages(sim: &Sim) -> u64 {
    let file = sim
        .io()
        .open("d/pages".as_ref(), afterimage_io::OpenMode::Read);
    file.expect("is there").len().expect("has a length") / PAGE
}

/// More than one allocation map's pages come and go, and come again.
#[test]
fn a_file_that_was_long_is_given_back() {
    let sim = Sim::new(6);
    let (db, table) = open_with(&sim, 16, 128 << 20);
    let long = vec![7; 40 << 20];
    for _ in 0..2 {
        put(&db, &table, 0..100, 100);
        db.put(&table, b"long", &long).expect("puts");
        assert_eq!(
            db.shrink_file().expect("looks"),
            0,
            "nothing is free at the end, but for a few"
        );
        assert!(file_pages(&sim) > 10_000);
        assert!(db.delete(&table, b"long").expect("deletes"));
        settle(&db);
        let given = db.shrink_file().expect("shrinks");
        assert!(given > 39 << 20, "{given} bytes");
        assert!(file_pages(&sim) < 100, "{} pages", file_pages(&sim));
        assert_eq!(db.stats().pages, file_pages(&sim));
        assert_sound(&db);
        let (image, seed) = (sim.snapshot().crash(&Survival::None), 1);
        let (again, table) = open_with(&Sim::from_image(seed, &image), 16, 128 << 20);
        assert_eq!(again.get(&table, b"long").expect("gets"), None);
        assert_sound(&again);
    }
}

/// The power goes while the file is cut, and grows again: at every call to the disk.
#[test]
fn a_crash_while_the_file_is_cut_loses_nothing() {
    let sim = Sim::new(7);
    let (db, table) = open_with(&sim, 8, 2 << 20);
    put(&db, &table, 0..10, 100);
    db.put(&table, b"long", &[7; 300_000]).expect("puts");
    put(&db, &table, 10..20, 900);
    let images = Arc::new(Mutex::new(Vec::new()));
    let taken = images.clone();
    sim.set_hook(Some(Box::new(move |_, disk: &DiskState| {
        let mut taken = taken.lock().expect("one thread");
        for survival in [Survival::None, Survival::All, Survival::NewestOnly] {
            taken.push(disk.crash(&survival));
        }
        Verdict::Continue
    })));
    for _ in 0..2 {
        delete(&db, &table, 10..20);
        assert!(db.delete(&table, b"long").expect("deletes"));
        settle(&db);
        assert!(db.shrink_file().expect("shrinks") > 100_000);
        put(&db, &table, 10..20, 900);
        db.put(&table, b"long", &[7; 300_000]).expect("puts");
    }
    sim.set_hook(None);
    let images = std::mem::take(&mut *images.lock().expect("one thread"));
    for image in images.into_iter().step_by(2) {
        let sim = Sim::from_image(1, &image);
        let (db, table) = open_with(&sim, 8, 2 << 20);
        let long = db.get(&table, b"long").expect("gets");
        assert!(long.is_none_or(|long| long == [7; 300_000]));
        for n in 0..10 {
            assert_eq!(
                db.get(&table, &key(n)).expect("gets"),
                Some(vec![n as u8; 100])
            );
        }
        put(&db, &table, 20..40, 900);
        settle(&db);
        assert_sound(&db);
    }
}
