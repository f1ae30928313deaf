//! The promise of snapshots: the rows of one moment, whatever happens since; no locks, no waiting, nothing that a crash
//! takes back.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use afterimage::{Database, Durability, Error, Options, Snapshot, Table};
use afterimage_io::sim::{FailSync, Sim, Survival};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn open(sim: &Sim) -> (Database, Table) {
    let options = Options::new().io(sim.io()).background(false);
    let db = options.open("db").unwrap();
    let table = db.table("t").unwrap();
    (db, table)
}

fn all(snapshot: &Snapshot, table: &Table) -> Rows {
    let scan = snapshot.scan::<[u8], _>(table, ..).unwrap();
    let rows = scan.collect::<Result<Rows, _>>().unwrap();
    let scan = snapshot.scan::<[u8], _>(table, ..).unwrap().rev();
    let mut backwards = scan.collect::<Result<Rows, _>>().unwrap();
    backwards.reverse();
    assert_eq!(rows, backwards);
    for (key, value) in &rows {
        assert_eq!(snapshot.get(table, key).unwrap().as_ref(), Some(value));
    }
    let keys: Vec<_> = rows.iter().map(|(key, _)| key).collect();
    let together = snapshot.get_many(table, &keys).unwrap();
    assert!(
        together
            .iter()
            .flatten()
            .eq(rows.iter().map(|(_, value)| value))
    );
    rows
}

fn rows(pairs: &[(&str, &str)]) -> Rows {
    let own = |s: &&str| s.as_bytes().to_vec();
    pairs.iter().map(|(k, v)| (own(k), own(v))).collect()
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let (db, t) = open(&Sim::new(1));
    db.put(&t, b"a", b"1").unwrap();
    db.put(&t, b"b", b"1").unwrap();
    let before = db.snapshot().unwrap();
    db.put(&t, b"a", b"2").unwrap();
    db.delete(&t, b"b").unwrap();
    db.put(&t, b"c", b"2").unwrap();
    let between = db.snapshot().unwrap();
    db.put(&t, b"a", b"3").unwrap();
    db.put(&t, b"b", b"3").unwrap();
    db.delete(&t, b"c").unwrap();
    assert_eq!(all(&before, &t), rows(&[("a", "1"), ("b", "1")]));
    assert_eq!(all(&between, &t), rows(&[("a", "2"), ("c", "2")]));
    let after = db.snapshot().unwrap();
    assert_eq!(all(&after, &t), rows(&[("a", "3"), ("b", "3")]));
    assert_eq!(before.get(&t, b"c").unwrap(), None);
    let many = between.get_many(&t, &["c", "b", "a"]).unwrap();
    assert_eq!(many, [Some(b"2".to_vec()), None, Some(b"2".to_vec())]);
    let prefix = between.scan_prefix(&t, b"c").unwrap().count();
    assert_eq!(prefix, 1);
    assert!(before.lsn() < between.lsn() && between.lsn() < after.lsn());
}

#[test]
fn many_keys_at_once_are_as_one_after_the_other() {
    // The first pool has room for few of the pages, and the second for all.
    for (seed, pages) in [(11, 16), (12, 8000)] {
        let options = Options::new().io(Sim::new(seed).io()).background(false);
        let db = options.buffer_pool_size(pages * 8192).open("db").unwrap();
        let key = |n: u64| (n * 7919 % 3001).to_be_bytes();
        for table in [db.table("logged"), db.unlogged_table("unlogged")] {
            let t = table.unwrap();
            let put = |n: u64, len: u64| {
                let value = vec![n as u8; len as usize];
                db.put(&t, &key(n), &value).unwrap();
            };
            (0..2000).for_each(|n| put(n, n % 150));
            (0..10).for_each(|n| put(n * 60, 20_000));
            let before = db.snapshot_latest().unwrap();
            (0..2000).step_by(3).for_each(|n| put(n, 10));
            (0..2000)
                .step_by(5)
                .for_each(|n| assert!(db.delete(&t, &key(n)).unwrap()));
            let after = db.snapshot_latest().unwrap();
            for snapshot in [&before, &after] {
                for many in [0..0, 0..1, 5..21, 0..17, 0..2200] {
                    let keys: Vec<_> = many.map(key).collect();
                    let one_by_one = keys.iter().map(|key| snapshot.get(&t, key).unwrap());
                    let one_by_one: Vec<_> = one_by_one.collect();
                    assert_eq!(snapshot.get_many(&t, &keys).unwrap(), one_by_one);
                }
            }
            let mut seen = Vec::new();
            let keys = [&key(0)[..], &[0; 5000], &key(1)];
            let refused = after.get_many_with(&t, &keys, |place, _| seen.push(place));
            assert!(matches!(refused, Err(Error::KeyTooLarge { .. })));
            assert_eq!(seen, [], "a key that can be nowhere is refused first");
        }
    }
}

#[test]
fn what_is_unfinished_or_taken_back_is_not_seen_and_nobody_waits() {
    let (db, t) = open(&Sim::new(2));
    db.put(&t, b"a", b"1").unwrap();
    let mut tx = db.begin();
    tx.put(&t, b"a", b"2").unwrap();
    let savepoint = tx.savepoint().unwrap();
    tx.put(&t, b"a", b"3").unwrap();
    tx.put(&t, b"b", b"3").unwrap();
    let one = rows(&[("a", "1")]);
    let early = db.snapshot_latest().unwrap();
    assert_eq!(all(&early, &t), one);
    tx.rollback_to(&savepoint).unwrap();
    assert_eq!(all(&early, &t), one);
    tx.put(&t, b"c", b"4").unwrap();
    assert_eq!(all(&early, &t), one);
    tx.rollback().unwrap();
    assert_eq!(all(&early, &t), one);
    assert_eq!(all(&db.snapshot_latest().unwrap(), &t), one);
    db.put(&t, b"a", b"5").unwrap();
    assert_eq!(all(&early, &t), one);
    // A row locked by a scan's whole table, and by a writer: still nobody waits.
    let mut tx = db.begin();
    tx.put(&t, b"a", b"6").unwrap();
    let _rows = tx.scan::<[u8], _>(&t, ..).unwrap().count();
    assert_eq!(all(&db.snapshot().unwrap(), &t), rows(&[("a", "5")]));
    assert_eq!(db.stats().lock_waits, 0);
}

#[test]
fn only_what_is_durable_is_shown_unless_asked_for() {
    let sim = Sim::new(3);
    let (db, t) = open(&sim);
    db.put(&t, b"a", b"1").unwrap();
    let mut tx = db.begin();
    tx.set_durability(Durability::Memory);
    tx.put(&t, b"a", b"2").unwrap();
    tx.commit().unwrap();
    let durable = db.snapshot().unwrap();
    let latest = db.snapshot_latest().unwrap();
    assert_eq!(all(&durable, &t), rows(&[("a", "1")]));
    assert_eq!(all(&latest, &t), rows(&[("a", "2")]));
    latest.wait(Durability::Disk).unwrap();
    assert_eq!(all(&db.snapshot().unwrap(), &t), rows(&[("a", "2")]));
    let image = sim.snapshot().crash(&Survival::None);
    drop((durable, latest));
    let (db, t) = open(&Sim::from_image(3, &image));
    assert_eq!(db.get(&t, b"a").unwrap().unwrap(), b"2");
}

#[test]
fn it_goes_on_after_the_log_has_failed() {
    let sim = Sim::new(4);
    let (db, t) = open(&sim);
    db.put(&t, b"a", b"1").unwrap();
    let before = db.snapshot().unwrap();
    sim.fail_sync(FailSync::next());
    assert!(db.put(&t, b"a", b"2").unwrap_err().outcome_unknown());
    assert!(matches!(db.get(&t, b"a"), Err(Error::LogFailed { .. })));
    assert_eq!(all(&before, &t), rows(&[("a", "1")]));
    assert_eq!(all(&db.snapshot().unwrap(), &t), rows(&[("a", "1")]));
    assert!(db.snapshot_latest().is_err());
}

#[test]
fn a_scan_that_has_failed_is_over_at_both_ends() {
    let sim = Sim::new(6);
    let options = Options::new()
        .io(sim.io())
        .background(false)
        .version_store_size(64 << 10);
    let db = options.open("db").unwrap();
    let t = db.table("t").unwrap();
    for n in 0..200u32 {
        db.put(&t, &n.to_be_bytes(), &[7; 1000]).unwrap();
    }
    let old = db.snapshot().unwrap();
    let mut scan = old.scan::<[u8], _>(&t, ..).unwrap();
    // The first leaf has been read, and most of it not yet yielded.
    assert!(scan.next_row().unwrap().is_some());
    for n in 0..200u32 {
        db.put(&t, &n.to_be_bytes(), &[8; 1000]).unwrap();
    }
    let failed = scan.next_row_back().unwrap_err();
    assert!(matches!(failed, Error::SnapshotTooOld), "{failed}");
    assert!(scan.next_row().unwrap().is_none());
    assert!(scan.next_row_back().unwrap().is_none());
}

#[test]
fn memory_is_bounded_by_the_oldest_snapshot() {
    let sim = Sim::new(5);
    let options = Options::new()
        .io(sim.io())
        .background(false)
        .version_store_size(64 << 10);
    let db = options.open("db").unwrap();
    let t = db.table("t").unwrap();
    db.put(&t, b"k", b"0").unwrap();
    let old = db.snapshot().unwrap();
    let value = [7; 1000];
    let mut newer = Vec::new();
    for n in 0..200u32 {
        db.put(&t, &n.to_be_bytes(), &value).unwrap();
        db.put(&t, b"k", &value).unwrap();
        if n == 150 {
            newer.push((db.snapshot().unwrap(), n));
        }
        assert!(db.stats().version_bytes <= 70 << 10);
    }
    let too_old = old.get(&t, b"k").unwrap_err();
    assert!(matches!(too_old, Error::SnapshotTooOld), "{too_old}");
    let scanned = old.scan::<[u8], _>(&t, ..).unwrap().next().unwrap();
    assert!(matches!(scanned, Err(Error::SnapshotTooOld)));
    for (snapshot, n) in &newer {
        assert_eq!(all(snapshot, &t).len() as u32, n + 2);
    }
    let stats = db.stats();
    assert_eq!((stats.snapshots, stats.snapshots_too_old), (1, 1));
    drop((old, newer));
    while db.step().unwrap() == afterimage::Progress::Worked {}
    let stats = db.stats();
    assert_eq!(
        (stats.versions, stats.version_bytes, stats.snapshots),
        (0, 0, 0)
    );
}

#[test]
fn ghosts_stay_while_a_snapshot_sees_their_rows() {
    let (db, t) = open(&Sim::new(6));
    let value = vec![1; 700];
    for n in 0..60u32 {
        db.put(&t, &n.to_be_bytes(), &value).unwrap();
    }
    let full = db.snapshot().unwrap();
    for n in 0..60u32 {
        db.delete(&t, &n.to_be_bytes()).unwrap();
    }
    // Room is wanted on the same pages, again and again.
    for round in 0..3u8 {
        for n in 0..60u32 {
            let mut key = n.to_be_bytes().to_vec();
            key.push(round);
            db.put(&t, &key, &value).unwrap();
        }
    }
    let seen = all(&full, &t);
    assert_eq!(seen.len(), 60);
    assert!(seen.iter().all(|(key, v)| key.len() == 4 && *v == value));
    assert_eq!(all(&db.snapshot().unwrap(), &t).len(), 180);
}

#[test]
fn readers_see_the_same_sum_while_money_moves() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().open(dir.path().join("db")).unwrap();
    let t = db.table("accounts").unwrap();
    const ACCOUNTS: u64 = 50;
    for n in 0..ACCOUNTS {
        db.put(&t, &n.to_be_bytes(), &100u64.to_be_bytes()).unwrap();
    }
    let writing = AtomicUsize::new(4);
    let (db, t, writing) = (&db, &t, &writing);
    thread::scope(|scope| {
        for writer in 0..4u64 {
            scope.spawn(move || {
                for n in 0..400u64 {
                    let (from, to) = ((n * 7 + writer) % ACCOUNTS, (n * 13 + 5) % ACCOUNTS);
                    if from == to {
                        continue;
                    }
                    db.transact(|tx| {
                        let (a, b) = (from.min(to), from.max(to));
                        let mut read = |n: u64| {
                            let value = tx.get_for_update(t, &n.to_be_bytes())?.unwrap();
                            Ok::<_, Error>(u64::from_be_bytes(value.try_into().unwrap()))
                        };
                        let (x, y) = (read(a)?, read(b)?);
                        let moved = u64::from(x > 0);
                        tx.put(t, &a.to_be_bytes(), &(x - moved).to_be_bytes())?;
                        tx.put(t, &b.to_be_bytes(), &(y + moved).to_be_bytes())
                    })
                    .unwrap();
                }
                writing.fetch_sub(1, Relaxed);
            });
        }
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                scope.spawn(move || {
                    let mut seen = 0;
                    let mut last = None;
                    while writing.load(Relaxed) > 0 || seen < 10 {
                        let snapshot = if reader == 0 {
                            db.snapshot_latest().unwrap()
                        } else {
                            db.snapshot().unwrap()
                        };
                        let rows = snapshot.scan::<[u8], _>(t, ..).unwrap();
                        let sum: u64 = rows
                            .map(|row| u64::from_be_bytes(row.unwrap().1.try_into().unwrap()))
                            .sum();
                        assert_eq!(sum, ACCOUNTS * 100);
                        assert!(last.is_none_or(|last| last <= snapshot.lsn()));
                        last = Some(snapshot.lsn());
                        seen += 1;
                    }
                    seen
                })
            })
            .collect();
        for reader in readers {
            assert!(reader.join().unwrap() >= 10);
        }
    });
}

#[test]
fn large_values_stay_while_a_snapshot_sees_them() {
    let (db, t) = open(&Sim::new(8));
    let old = vec![1; 100_000];
    db.put(&t, b"a", &old).unwrap();
    db.put(&t, b"b", &old).unwrap();
    let before = db.snapshot().unwrap();
    let mut reader = before.get_reader(&t, b"a").unwrap().unwrap();
    let mut piece = [0; 10];
    assert_eq!(reader.read_at(50_000, &mut piece).unwrap(), 10);
    for n in 2..6 {
        db.put(&t, b"a", &vec![n; 100_000]).unwrap();
        db.delete(&t, b"b").unwrap();
        while db.step().unwrap() == afterimage::Progress::Worked {}
    }
    assert_eq!(reader.read_at(99_995, &mut piece).unwrap(), 5);
    assert_eq!(
        all(&before, &t),
        [(b"a".to_vec(), old.clone()), (b"b".to_vec(), old)]
    );
    let held = db.stats().pages_free;
    drop(reader);
    drop(before);
    while db.step().unwrap() == afterimage::Progress::Worked {}
    assert!(
        db.stats().pages_free >= held + 24,
        "two old values are freed"
    );
    assert!(db.verify().unwrap().findings.is_empty());
}
