//! The calls on rows beyond put, get and delete: insert, update, compare-and-swap, several at once, ranges and prefixes;
//! and what a call does that waits too long for a lock.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use afterimage::{Database, Durability, Error, Options, Result, Table};
use afterimage_io::sim::{RunEnd, Sim};

fn small(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
}

fn open(sim: &Sim) -> (Database, Table) {
    let db = small(sim).open("db").expect("opens");
    let table = db.table("rows").expect("makes");
    (db, table)
}

#[test]
fn insert_and_update_say_what_was_in_the_way() {
    let (db, table) = open(&Sim::new(1));
    let missing = db.update(&table, b"a", b"1").expect_err("nothing is there");
    assert!(matches!(missing, Error::KeyNotFound), "{missing}");
    db.insert(&table, b"a", b"1").expect("inserts");
    let there = db
        .insert(&table, b"a", b"2")
        .expect_err("something is there");
    assert!(matches!(there, Error::KeyExists), "{there}");
    db.update(&table, b"a", b"2").expect("updates");
    assert_eq!(
        db.get(&table, b"a").expect("gets").as_deref(),
        Some(&b"2"[..])
    );
    // Within a transaction, which goes on.
    let mut tx = db.begin();
    assert!(tx.insert(&table, b"a", b"3").is_err());
    assert!(tx.update(&table, b"b", b"3").is_err());
    tx.insert(&table, b"b", b"3").expect("inserts");
    tx.delete(&table, b"a").expect("deletes");
    tx.insert(&table, b"a", b"4")
        .expect("what is deleted can be inserted");
    tx.commit().expect("commits");
    assert_eq!(
        db.get(&table, b"a").expect("gets").as_deref(),
        Some(&b"4"[..])
    );
    assert_eq!(
        db.get(&table, b"b").expect("gets").as_deref(),
        Some(&b"3"[..])
    );
}

#[test]
fn a_swap_that_is_refused_leaves_no_record() {
    let (db, table) = open(&Sim::new(1));
    db.put(&table, b"a", b"1").expect("puts");
    let records = db.stats().wal_records;
    let mut tx = db.begin();
    assert!(
        !tx.compare_and_swap(&table, b"a", Some(b"2"), Some(b"3"))
            .expect("looks")
    );
    assert!(
        !tx.compare_and_swap(&table, b"b", Some(b"2"), None)
            .expect("looks")
    );
    assert!(
        tx.compare_and_swap(&table, b"b", None, None)
            .expect("looks")
    );
    tx.commit().expect("commits");
    assert!(
        !db.compare_and_swap(&table, b"a", None, Some(b"3"))
            .expect("looks")
    );
    assert_eq!(db.stats().wal_records, records, "nothing was changed");
    assert!(
        db.compare_and_swap(&table, b"a", Some(b"1"), Some(b"3"))
            .expect("swaps")
    );
    assert!(
        db.compare_and_swap(&table, b"a", Some(b"3"), None)
            .expect("swaps")
    );
    assert_eq!(db.get(&table, b"a").expect("gets"), None);
}

#[test]
fn one_of_many_swaps_wins() {
    for seed in 0..30 {
        let sim = Sim::new(seed);
        let (db, table) = open(&sim);
        let wins = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let bodies = (0..5u8).map(|n| {
            let (db, table, wins) = (db.clone(), table.clone(), Arc::clone(&wins));
            let body = move || {
                let won = db.compare_and_swap(&table, b"lease", None, Some(&[n]));
                wins.fetch_add(
                    u64::from(won.expect("looks")),
                    std::sync::atomic::Ordering::Relaxed,
                );
            };
            (
                format!("client {n}"),
                Box::new(body) as Box<dyn FnOnce() + Send>,
            )
        });
        assert_eq!(sim.run_threads(bodies.collect()), RunEnd::Finished);
        assert_eq!(
            wins.load(std::sync::atomic::Ordering::Relaxed),
            1,
            "seed {seed}"
        );
    }
}

#[test]
fn several_keys_are_answered_in_their_own_order() {
    let (db, table) = open(&Sim::new(1));
    for key in [b"a", b"b", b"c"] {
        db.put(&table, key, key).expect("puts");
    }
    let mut tx = db.begin();
    let values = tx.get_many(&table, &["c", "x", "a", "c"]).expect("gets");
    let some = |value: &[u8]| Some(value.to_vec());
    assert_eq!(values, [some(b"c"), None, some(b"a"), some(b"c")]);
    assert_eq!(tx.get_many::<&str>(&table, &[]).expect("gets"), []);
}

#[test]
fn prefixes_and_ranges() {
    let (db, table) = open(&Sim::new(1));
    let keys: [&[u8]; 9] = [
        b"",
        b"a",
        b"a\xFF",
        b"a\xFF\xFF",
        b"a\xFF\xFFz",
        b"b",
        b"b1",
        b"\xFF",
        b"\xFF\xFF1",
    ];
    for key in keys {
        db.put(&table, key, b"").expect("puts");
    }
    let mut tx = db.begin();
    for prefix in [
        &b""[..],
        b"a",
        b"a\xFF",
        b"a\xFF\xFF",
        b"b",
        b"c",
        b"\xFF",
        b"\xFF\xFF",
    ] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let scan = tx.scan_prefix(&table, prefix).expect("scans");
        let found: Vec<_> = scan.map(|row| row.expect("reads").0).collect();
        assert!(
            found.iter().eq(expected.iter().copied()),
            "{prefix:?}: {found:?}"
        );
        let scan = tx.scan_prefix(&table, prefix).expect("scans");
        let back: Vec<_> = scan.rev().map(|row| row.expect("reads").0).collect();
        assert!(
            back.iter().rev().eq(expected.iter().copied()),
            "{prefix:?}: {back:?}"
        );
    }
    let range = (Bound::Excluded(&b"a"[..]), Bound::Included(&b"b"[..]));
    assert_eq!(
        tx.delete_range::<[u8], _>(&table, range).expect("deletes"),
        4
    );
    assert_eq!(
        tx.delete_range::<[u8], _>(&table, range).expect("deletes"),
        0
    );
    tx.commit().expect("commits");
    let mut tx = db.begin();
    let left = tx.scan::<[u8], _>(&table, ..).expect("scans");
    let left: Vec<_> = left.map(|row| row.expect("reads").0).collect();
    assert_eq!(left, [&b""[..], b"a", b"b1", b"\xFF", b"\xFF\xFF1"]);
}

#[test]
fn a_large_range_goes_and_comes_back() {
    let (db, table) = open(&Sim::new(1));
    db.transact(|tx| {
        (0..3000u32).try_for_each(|n| tx.put(&table, &n.to_be_bytes(), b"some value"))
    })
    .expect("fills");
    let count = |db: &Database| {
        let mut tx = db.begin();
        let scan = tx.scan::<[u8], _>(&table, ..).expect("scans");
        scan.map(|row| row.map(|_| 1))
            .sum::<Result<u32>>()
            .expect("reads")
    };
    let mut tx = db.begin();
    let middle = 1000u32.to_be_bytes()..2000u32.to_be_bytes();
    assert_eq!(
        tx.delete_range::<[u8; 4], _>(&table, middle.clone())
            .expect("deletes"),
        1000
    );
    tx.rollback().expect("takes back");
    assert_eq!(count(&db), 3000);
    let deleted = db.transact(|tx| tx.delete_range::<[u8; 4], _>(&table, middle.clone()));
    assert_eq!(deleted.expect("deletes"), 1000);
    assert_eq!(count(&db), 2000);
}

#[test]
fn a_wait_for_a_lock_ends_and_the_transaction_goes_on() {
    let sim = Sim::new(1);
    let db = small(&sim)
        .lock_timeout(Duration::from_millis(50))
        .open("db")
        .expect("opens");
    let table = db.table("rows").expect("makes");
    let mut holder = db.begin();
    holder.put(&table, b"held", b"1").expect("puts");
    let mut tx = db.begin();
    tx.put(&table, b"other", b"1").expect("puts");
    let began = sim.io().now();
    let refused = tx.get(&table, b"held").expect_err("it is held");
    assert!(matches!(refused, Error::LockTimeout { .. }), "{refused}");
    assert!(sim.io().now() - began >= Duration::from_millis(50));
    tx.set_lock_timeout(Duration::ZERO);
    assert!(tx.put(&table, b"held", b"2").is_err());
    assert!(
        db.get(&table, b"held").is_err(),
        "a read waits for its lock too"
    );
    assert!(db.put(&table, b"held", b"2").is_err());
    assert_eq!(db.stats().lock_timeouts, 4);
    holder.commit().expect("commits");
    tx.put(&table, b"held", b"3").expect("it is free now");
    tx.commit().expect("commits");
    assert_eq!(
        db.get(&table, b"held").expect("gets").as_deref(),
        Some(&b"3"[..])
    );
    assert_eq!(
        db.get(&table, b"other").expect("gets").as_deref(),
        Some(&b"1"[..])
    );
}

#[test]
fn a_timeout_among_many_waiters_lets_the_others_pass() {
    for seed in 0..60 {
        let sim = Sim::new(seed);
        let db = small(&sim)
            .lock_timeout(Duration::from_millis(3))
            .open("db")
            .expect("opens");
        let table = db.table("rows").expect("makes");
        let bodies = (0..6u64).map(|n| {
            let (db, table, io) = (db.clone(), table.clone(), sim.io());
            let body = move || {
                for _ in 0..4 {
                    let mut tx = db.begin();
                    match tx.put(&table, b"hot", &[n as u8]) {
                        Ok(()) => {
                            io.sleep(Duration::from_millis(1 + n % 3));
                            tx.commit().expect("commits");
                        }
                        Err(Error::LockTimeout { .. }) => tx.rollback().expect("rolls back"),
                        Err(e) => panic!("{e}"),
                    }
                }
            };
            (
                format!("client {n}"),
                Box::new(body) as Box<dyn FnOnce() + Send>,
            )
        });
        assert_eq!(
            sim.run_threads(bodies.collect()),
            RunEnd::Finished,
            "seed {seed}"
        );
        db.put(&table, b"hot", b"free")
            .expect("nobody holds it any more");
        assert_eq!(db.stats().active_transactions, 0);
    }
}

/// What an update costs in the log, frame and all, far on in a log.
#[test]
fn an_update_takes_little_log() {
    let sim = Sim::new(1);
    let options = small(&sim)
        .first_wal_segment(1 << 30)
        .wal_segment_size(16 << 20)
        .max_wal_size(64 << 20)
        .synchronous_commit(Durability::Memory);
    let db = options.open("db").expect("opens");
    let table = db.table("rows").expect("makes");
    let mut state = 1_u64;
    let mut random = || {
        // xorshift: no two values have much in common.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut value = move || -> [u8; 100] { std::array::from_fn(|_| random() as u8) };
    let key = |n: u64| format!("{n:016}");
    let (rows, mut last) = (2000_u64, Vec::new());
    for n in 0..rows {
        last.push(value());
        db.put(&table, key(n).as_bytes(), &last[n as usize])
            .expect("puts");
    }
    let log = || db.stats().wal_bytes;
    let each = |before: u64| (log() - before).div_ceil(rows);
    let before = log();
    for n in 0..rows {
        last[n as usize] = value();
        db.put(&table, key(n).as_bytes(), &last[n as usize])
            .expect("puts");
    }
    let whole = each(before);
    assert!(whole <= 164, "{whole} bytes for 100 that are all others");
    let before = log();
    for n in 0..rows {
        last[n as usize][40..48].copy_from_slice(&value()[..8]);
        db.put(&table, key(n).as_bytes(), &last[n as usize])
            .expect("puts");
    }
    let part = each(before);
    assert!(part <= 72, "{part} bytes for 8 of 100");
    println!("{whole} bytes of log for an update, {part} where 8 bytes change");
}

/// Three ways to read, one buffer: what was in it is gone, also where nothing is found, and large values come the same way.
#[test]
fn a_buffer_takes_one_value_after_the_other() {
    let (db, table) = open(&Sim::new(1));
    let large = vec![7; 40_000];
    db.put(&table, b"small", b"1").expect("puts");
    db.put(&table, b"large", &large).expect("puts");
    let mut tx = db.begin();
    let snapshot = db.snapshot().expect("opens");
    type Read<'a> = dyn FnMut(&[u8], &mut Vec<u8>) -> Result<bool> + 'a;
    let ways: [&mut Read<'_>; 3] = [
        &mut |key, value| db.get_into(&table, key, value),
        &mut |key, value| snapshot.get_into(&table, key, value),
        &mut |key, value| tx.get_into(&table, key, value),
    ];
    for read in ways {
        let mut value = b"left over".to_vec();
        assert!(read(b"large", &mut value).expect("reads"));
        assert_eq!(value, large);
        assert!(read(b"small", &mut value).expect("reads"));
        assert_eq!(value, b"1");
        assert!(!read(b"none", &mut value).expect("reads"));
        assert!(value.is_empty());
    }
}
