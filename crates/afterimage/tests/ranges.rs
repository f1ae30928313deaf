//! What a scan locks: every key of the range that it has seen, those that do not exist included, and none beside it.
//!
//! Whether a key is locked is asked by a writer that does not wait.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use afterimage::{Database, Durability, Error, Options, Result, Table};
use afterimage_io::sim::{RunEnd, Sim};

fn open(seed: u64) -> (Sim, Database, Table) {
    let sim = Sim::new(seed);
    let options = Options::new().io(sim.io()).background(false);
    let options = options.page_size(4096).wal_segment_size(64 << 10);
    let db = options
        .buffer_pool_size(64 * 4096)
        .max_wal_size(4 << 20)
        .open("db")
        .expect("opens");
    let table = db.table("t").expect("creates");
    (sim, db, table)
}

fn fill(db: &Database, table: &Table, keys: &[&str]) {
    let mut tx = db.begin();
    for key in keys {
        tx.put(table, key.as_bytes(), b"v").expect("puts");
    }
    tx.commit().expect("commits");
}

/// Would a writer of `key` have to wait?
fn is_locked(db: &Database, table: &Table, key: &[u8]) -> bool {
    let mut writer = db.begin();
    writer.set_lock_timeout(Duration::ZERO);
    let answer = writer.put(table, key, b"new");
    writer.rollback().expect("goes back");
    match answer {
        Ok(()) => false,
        Err(Error::LockTimeout { .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

fn assert_locked(db: &Database, table: &Table, locked: &[&str], free: &[&str]) {
    for key in locked {
        assert!(is_locked(db, table, key.as_bytes()), "{key:?} is free");
    }
    for key in free {
        assert!(!is_locked(db, table, key.as_bytes()), "{key:?} is locked");
    }
}

fn keys(rows: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Vec<String> {
    let key = |row: Result<(Vec<u8>, Vec<u8>)>| String::from_utf8(row.expect("reads").0);
    rows.map(|row| key(row).expect("text")).collect()
}

#[test]
fn a_scan_keeps_phantoms_out_of_its_range_and_nobody_out_of_the_rest() {
    let (_sim, db, table) = open(1);
    fill(&db, &table, &["b", "d", "f", "h"]);
    let mut tx = db.begin();
    let range = b"c".as_slice()..b"g".as_slice();
    assert_eq!(
        keys(tx.scan(&table, range.clone()).expect("scans")),
        ["d", "f"]
    );
    let within = ["c", "c1", "d", "e", "f", "f2", "fzzz"];
    assert_locked(&db, &table, &within, &["b", "bzz", "g", "g1", "h", "", "z"]);
    let mut other = db.begin();
    other.set_lock_timeout(Duration::ZERO);
    let waits = |answer: Result<bool>| matches!(answer, Err(Error::LockTimeout { .. }));
    assert!(waits(other.delete(&table, b"d")));
    assert!(
        waits(other.delete(&table, b"e")),
        "who knows that it is not there"
    );
    assert!(waits(other.insert(&table, b"e", b"").map(|()| true)));
    assert!(waits(
        other.delete_range(&table, b"f".as_slice()..).map(|_| true)
    ));
    let shared = other.scan(&table, range.clone()).expect("scans");
    assert_eq!(keys(shared), ["d", "f"], "readers share");
    assert!(other.delete(&table, b"h").expect("beside it"));
    other.commit().expect("commits");
    assert_eq!(keys(tx.scan(&table, range).expect("scans")), ["d", "f"]);
    tx.commit().expect("ends");
    assert_locked(&db, &table, &[], &within);
}

#[test]
fn a_scan_that_stops_early_locks_no_farther() {
    let (_sim, db, table) = open(2);
    let numbers: Vec<String> = (0..400).map(|n| format!("{n:03}")).collect();
    fill(
        &db,
        &table,
        &numbers.iter().map(String::as_str).collect::<Vec<_>>(),
    );

    let mut tx = db.begin();
    let ten = tx
        .scan(&table, b"100".as_slice()..)
        .expect("scans")
        .take(10);
    assert_eq!(keys(ten), numbers[100..110]);
    assert_locked(
        &db,
        &table,
        &["100", "1085", "109"],
        &["099", "0999", "1090", "110", "200"],
    );
    tx.rollback().expect("ends");

    let mut tx = db.begin();
    let back = tx
        .scan(&table, b"100".as_slice()..=b"300")
        .expect("scans")
        .rev()
        .take(3);
    assert_eq!(keys(back), ["300", "299", "298"]);
    assert_locked(
        &db,
        &table,
        &["298", "2980", "300"],
        &["2979", "3000", "301", "100"],
    );
    tx.rollback().expect("ends");

    let mut tx = db.begin();
    let mut both = tx
        .scan(&table, b"100".as_slice()..b"200".as_slice())
        .expect("scans");
    assert_eq!(keys(both.by_ref().take(2)), ["100", "101"]);
    assert_eq!(keys(both.rev().take(2)), ["199", "198"]);
    assert_locked(
        &db,
        &table,
        &["1001", "101", "198", "1999"],
        &["1010", "150", "1979", "200"],
    );
    tx.rollback().expect("ends");

    // Not even looked at: nothing is locked.
    let mut tx = db.begin();
    drop(tx.scan::<[u8], _>(&table, ..).expect("scans"));
    assert_locked(&db, &table, &[], &["", "000", "399", "4"]);
}

#[test]
fn what_is_not_there_is_locked_too() {
    let (_sim, db, table) = open(3);
    let mut tx = db.begin();
    assert_eq!(tx.get(&table, b"k").expect("gets"), None);
    assert_locked(&db, &table, &["k"], &["j", "k0", ""]);
    let none = tx.scan(&table, b"p".as_slice()..=b"q").expect("scans");
    assert_eq!(keys(none), [] as [&str; 0]);
    assert_locked(&db, &table, &["k", "p", "pp", "q"], &["o", "q0", "r"]);
    assert_eq!(
        keys(tx.scan_prefix(&table, b"s").expect("scans")),
        [] as [&str; 0]
    );
    assert_locked(&db, &table, &["s", "s\u{7f}"], &["r", "t"]);
    let backwards = tx.scan(&table, ..b"c".as_slice()).expect("scans").rev();
    assert_eq!(keys(backwards), [] as [&str; 0]);
    assert_locked(&db, &table, &["", "a", "bzz"], &["c", "d"]);
    let empty = tx
        .scan(&table, b"z".as_slice()..b"x".as_slice())
        .expect("scans");
    assert_eq!(keys(empty), [] as [&str; 0]);
    assert_locked(&db, &table, &[], &["x", "y", "z"]);
}

#[test]
fn a_range_delete_has_its_range_to_itself() {
    let (_sim, db, table) = open(4);
    fill(&db, &table, &["a", "c", "e", "g"]);
    let mut tx = db.begin();
    assert_eq!(
        tx.delete_range(&table, b"b".as_slice()..b"f".as_slice())
            .expect("deletes"),
        2
    );
    assert_locked(
        &db,
        &table,
        &["b", "c", "d", "ezz"],
        &["a", "azz", "f", "g"],
    );
    let mut reader = db.begin();
    reader.set_lock_timeout(Duration::ZERO);
    assert!(matches!(
        reader.get(&table, b"d"),
        Err(Error::LockTimeout { .. })
    ));
    assert_eq!(reader.get(&table, b"a").expect("gets"), Some(b"v".to_vec()));
    let mut rows = reader.scan::<[u8], _>(&table, ..).expect("scans");
    assert_eq!(rows.next().expect("there").expect("reads").0, b"a");
    assert!(matches!(rows.next(), Some(Err(Error::LockTimeout { .. }))));
    assert!(
        rows.next().is_none(),
        "after an error there is nothing more"
    );
    drop(rows);
    reader.rollback().expect("ends");
    tx.rollback().expect("goes back");
    let mut tx = db.begin();
    assert_eq!(
        keys(tx.scan::<[u8], _>(&table, ..).expect("scans")),
        ["a", "c", "e", "g"]
    );
}

#[test]
fn a_scan_sees_its_own_changes_and_waits_for_those_of_others() {
    let (_sim, db, table) = open(5);
    fill(&db, &table, &["a", "c", "e"]);
    let mut tx = db.begin();
    tx.put(&table, b"b", b"mine").expect("puts");
    tx.delete(&table, b"c").expect("deletes");
    assert_eq!(
        keys(tx.scan::<[u8], _>(&table, ..).expect("scans")),
        ["a", "b", "e"]
    );
    tx.put(&table, b"d", b"mine")
        .expect("puts into what it has scanned");
    assert_eq!(
        keys(tx.scan::<[u8], _>(&table, ..).expect("scans").rev()),
        ["e", "d", "b", "a"]
    );
    let mut other = db.begin();
    other.set_lock_timeout(Duration::ZERO);
    let mut rows = other.scan::<[u8], _>(&table, ..).expect("scans");
    assert_eq!(
        rows.next().expect("there").expect("reads").0,
        b"a",
        "nobody has changed it"
    );
    assert!(
        matches!(rows.next(), Some(Err(Error::LockTimeout { .. }))),
        "up to a row that may go away"
    );
    drop(rows);
    tx.rollback().expect("goes back");
    assert_eq!(
        keys(other.scan::<[u8], _>(&table, ..).expect("scans")),
        ["a", "c", "e"]
    );
}

/// Whoever reads the range learns of a commit in it that is not durable yet; also of one that has left no row.
#[test]
fn what_a_scan_was_told_is_durable() {
    for what in ["changed", "deleted", "inserted", "range"] {
        let (_sim, db, table) = open(6);
        fill(&db, &table, &["b", "d"]);
        let mut writer = db.begin();
        writer.set_durability(Durability::Memory);
        match what {
            "changed" => writer.put(&table, b"b", b"new").expect("puts"),
            "deleted" => assert!(writer.delete(&table, b"b").expect("deletes")),
            "inserted" => writer.insert(&table, b"c", b"new").expect("inserts"),
            _ => _ = writer.delete_range::<[u8], _>(&table, ..).expect("deletes"),
        }
        writer.commit().expect("commits");
        assert!(
            db.stats().durable_lsn < db.stats().next_lsn,
            "not on disk yet"
        );
        let mut reader = db.begin();
        reader
            .scan(&table, b"a".as_slice()..b"cz".as_slice())
            .expect("scans")
            .for_each(drop);
        reader.commit().expect("ends");
        let stats = db.stats();
        assert_eq!(stats.durable_lsn, stats.next_lsn, "{what}");
    }
}

/// Random tables of many leaves, random ranges, read a bit from both ends: the rows are the model's, and of all keys
/// there could be exactly those are locked that it has shown to be there or not.
#[test]
fn exactly_what_was_seen_is_locked() {
    const UNIVERSE: u64 = 120;
    let key = |n: u64| n.to_be_bytes()[7..].to_vec();
    for seed in 0..40 {
        let (sim, db, table) = open(seed);
        let io = sim.io();
        let below = |bound: u64| (io.random() % u128::from(bound)) as u64;
        let mut model = BTreeMap::new();
        for _ in 0..60 {
            let n = below(UNIVERSE);
            // Few rows on a page.
            let value = vec![7; below(700) as usize];
            db.put(&table, &key(n), &value).expect("puts");
            model.insert(key(n), value);
        }
        for _ in 0..20 {
            let n = below(UNIVERSE);
            db.delete(&table, &key(n)).expect("deletes");
            model.remove(&key(n));
        }
        let bound = |open: u64| match below(3) {
            0 => Bound::Included(key(below(UNIVERSE))),
            1 => Bound::Excluded(key(below(UNIVERSE))),
            _ if open == 0 => Bound::Unbounded,
            _ => Bound::Included(key(below(UNIVERSE))),
        };
        let range = (bound(below(2)), bound(below(2)));
        let in_range = |key: &[u8]| {
            let low = match &range.0 {
                Bound::Included(low) => key >= &low[..],
                Bound::Excluded(low) => key > &low[..],
                Bound::Unbounded => true,
            };
            let high = match &range.1 {
                Bound::Included(high) => key <= &high[..],
                Bound::Excluded(high) => key < &high[..],
                Bound::Unbounded => true,
            };
            low && high
        };
        let expected: Vec<_> = model.iter().filter(|(key, _)| in_range(key)).collect();
        let (front, back) = (below(12) as usize, below(12) as usize);
        let mut tx = db.begin();
        let mut scan = tx.scan::<Vec<u8>, _>(&table, range.clone()).expect("scans");
        let from_front: Vec<_> = scan
            .by_ref()
            .take(front)
            .map(|row| row.expect("reads"))
            .collect();
        let from_back: Vec<_> = scan
            .rev()
            .take(back)
            .map(|row| row.expect("reads"))
            .collect();
        let met = front + back > expected.len();
        let front_rows = &expected[..front.min(expected.len())];
        let back_rows = &expected[front_rows.len().max(expected.len().saturating_sub(back))..];
        let owned = |rows: &mut dyn Iterator<Item = &(&Vec<u8>, &Vec<u8>)>| -> Vec<_> {
            rows.map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect()
        };
        assert_eq!(from_front, owned(&mut front_rows.iter()), "seed {seed}");
        assert_eq!(from_back, owned(&mut back_rows.iter().rev()), "seed {seed}");
        for n in 0..UNIVERSE {
            let key = key(n);
            let by_front = front_rows.last().is_some_and(|(last, _)| key <= **last);
            let by_back = back_rows.first().is_some_and(|(first, _)| key >= **first);
            let seen = in_range(&key) && (met || by_front || by_back);
            assert_eq!(
                is_locked(&db, &table, &key),
                seen,
                "seed {seed}: key {n} of {range:?}"
            );
        }
    }
}

/// Each counts the rows of a range and adds one if there are fewer than three. Of two that saw the same two rows, only
/// one may.
#[test]
fn no_write_skew_over_a_range_under_any_schedule() {
    const MOST: usize = 3;
    let (mut deadlocks, mut full) = (0, 0);
    for seed in 0..60 {
        let (sim, db, table) = open(seed);
        let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        for client in 0..4u64 {
            let (db, table) = (db.clone(), table.clone());
            let body = move || {
                for n in 0..4u64 {
                    let room = [b'r', (n % 2) as u8];
                    let guest = [&room[..], &[(seed % 7) as u8, client as u8, n as u8]].concat();
                    db.transact(|tx| {
                        let guests = if (client + n) % 2 == 0 {
                            tx.scan_prefix(&table, &room)?
                                .collect::<Result<Vec<_>>>()?
                                .len()
                        } else {
                            let rows = tx.scan_prefix(&table, &room)?;
                            rows.rev().collect::<Result<Vec<_>>>()?.len()
                        };
                        assert!(guests <= MOST, "seed {seed}: {guests} guests");
                        if guests < MOST {
                            tx.insert(&table, &guest, b"")?;
                        } else if client == 0 {
                            tx.delete_range(&table, room.as_slice()..guest.as_slice())?;
                        }
                        Ok(())
                    })
                    .expect("commits");
                }
            };
            bodies.push((format!("client {client}"), Box::new(body)));
        }
        let end = sim.run_threads(bodies);
        assert!(matches!(end, RunEnd::Finished), "seed {seed}: {end:?}");
        let mut tx = db.begin();
        for room in 0..2 {
            let guests = tx
                .scan_prefix(&table, &[b'r', room])
                .expect("scans")
                .count();
            assert!(
                guests <= MOST,
                "seed {seed}: {guests} guests in room {room}"
            );
            full += usize::from(guests == MOST);
        }
        deadlocks += db.stats().deadlocks;
    }
    assert!(
        deadlocks > 0 && full > 0,
        "{deadlocks} deadlocks, {full} full rooms"
    );
}
