//! `max_wal_size` is a hard bound on the log that a recovery needs: whoever holds it back too long, or writes too much at
//! once, is rolled back and told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use afterimage::{Database, Error, Options, PinHolder, Result, Table, Transaction};
use afterimage_io::sim::{RunEnd, Sim, Survival};

const MAX: u64 = 1 << 20;
const SEGMENT: u64 = 64 << 10;

fn options(sim: &Sim) -> Options {
    let options = Options::new().io(sim.io()).background(false);
    let options = options.page_size(4096).buffer_pool_size(64 * 4096);
    options.wal_segment_size(SEGMENT).max_wal_size(MAX)
}

fn open(seed: u64) -> (Sim, Database, Table) {
    let sim = Sim::new(seed);
    let db = options(&sim).open("db").expect("opens");
    let table = db.table("t").expect("creates");
    (sim, db, table)
}

/// Whatever a recovery would need now: all that is held back by more than the last checkpoints.
fn needed(db: &Database) -> u64 {
    let stats = db.stats();
    let pins = db.pins().expect("open");
    let transactions = pins
        .iter()
        .filter(|pin| matches!(pin.holder, PinHolder::Transaction { .. }));
    let oldest = transactions.map(|pin| pin.bytes).max().unwrap_or(0);
    oldest.max(stats.next_lsn - stats.redo_lsn)
}

fn write(db: &Database, table: &Table, bytes: u64) {
    let before = db.stats().next_lsn;
    for n in 0u64.. {
        db.put(table, &(n % 50).to_be_bytes(), &[n as u8; 800])
            .expect("puts");
        assert!(needed(db) <= MAX, "{} bytes", needed(db));
        if n % 64 == 0 {
            let _ = db.step().expect("works");
        }
        if db.stats().next_lsn > before + bytes {
            return;
        }
    }
}

fn is_too_old(answer: &Result<()>) -> bool {
    matches!(answer, Err(Error::TransactionTooOld { max: MAX, held }) if *held <= MAX)
}

#[test]
fn an_idle_transaction_holds_no_more_log_than_the_bound_and_is_told() {
    let (_sim, db, table) = open(1);
    write(&db, &table, 3 * MAX);
    let mut idle = db.begin();
    idle.set_label("lunch");
    idle.put(&table, b"idle", b"1").expect("puts");
    write(&db, &table, MAX / 4);
    let pins = db.pins().expect("open");
    let lunch = pins.iter().find(
        |pin| matches!(&pin.holder, PinHolder::Transaction { label, .. } if label == "lunch"),
    );
    let lunch = lunch.expect("it holds the log").lsn;
    write(&db, &table, MAX / 2);
    let stats = db.stats();
    assert!(stats.redo_lsn > lunch, "checkpoints go on beside it");
    // All older log is given up; what is kept is what its undo needs, and a few segments to come.
    let kept = stats.wal_segments * SEGMENT;
    assert!(
        kept < stats.next_lsn - lunch + 6 * SEGMENT,
        "{kept} bytes: {stats:?}"
    );
    write(&db, &table, 10 * MAX);
    assert_eq!(db.stats().active_transactions, 0, "the engine has ended it");
    assert!(db.stats().wal_segments * SEGMENT < 2 * MAX);
    assert_eq!(db.get(&table, b"idle").expect("free to be read"), None);
    assert!(is_too_old(&idle.put(&table, b"more", b"1")));
    assert!(is_too_old(&idle.get(&table, b"idle").map(drop)));
    assert!(is_too_old(&idle.savepoint().map(drop)));
    assert!(is_too_old(&idle.commit()));
    assert_eq!(db.stats().rollbacks, 1);
    assert!(db.verify().expect("looks").is_clean());
}

#[test]
fn a_reader_is_never_too_old() {
    let (_sim, db, table) = open(2);
    db.put(&table, b"k", b"v").expect("puts");
    let mut reader = db.begin();
    assert_eq!(reader.get(&table, b"k").expect("gets"), Some(b"v".to_vec()));
    write(&db, &table, 10 * MAX);
    assert_eq!(reader.get(&table, b"k").expect("gets"), Some(b"v".to_vec()));
    reader
        .put(&table, b"k", b"new")
        .expect("its first record is of now");
    reader.commit().expect("commits");
    assert_eq!(db.get(&table, b"k").expect("gets"), Some(b"new".to_vec()));
}

#[test]
fn a_transaction_too_big_is_rolled_back_and_says_so() {
    let (_sim, db, table) = open(3);
    db.put(&table, &5u64.to_be_bytes(), b"before")
        .expect("puts");
    let mut big = db.begin();
    let mut answer = Ok(());
    let mut rows = 0u64;
    while answer.is_ok() {
        answer = big.put(&table, &rows.to_be_bytes(), &[1; 800]);
        assert!(needed(&db) <= MAX);
        rows += 1;
    }
    assert!(rows > MAX / 800 / 4, "{rows} rows are not much");
    let is_too_big = |answer: &Result<()>| matches!(answer, Err(Error::TransactionTooBig { max: MAX, bytes }) if *bytes > MAX / 2);
    assert!(is_too_big(&answer), "{answer:?}");
    assert_eq!(db.stats().active_transactions, 0, "taken back at once");
    assert_eq!(
        db.get(&table, &5u64.to_be_bytes()).expect("gets"),
        Some(b"before".to_vec())
    );
    assert!(is_too_big(&big.put(&table, b"k", b"v")));
    big.rollback().expect("it has been already");
    write(&db, &table, 3 * MAX);
    assert!(db.verify().expect("looks").is_clean());
}

#[test]
fn a_range_delete_too_big_is_rolled_back() {
    let (_sim, db, table) = open(4);
    for n in 0..3000u64 {
        db.put(&table, &n.to_be_bytes(), &[3; 400]).expect("puts");
    }
    let answer = db.transact(|tx| tx.delete_range::<[u8], _>(&table, ..));
    assert!(
        matches!(answer, Err(Error::TransactionTooBig { .. })),
        "{answer:?}"
    );
    let rows = db.transact(|tx| Ok(tx.scan::<[u8], _>(&table, ..)?.count()));
    assert_eq!(rows.expect("reads"), 3000);
    assert!(db.verify().expect("looks").is_clean());
}

/// Whatever the transaction does at the moment: waiting for a lock, rolling back to a savepoint, scanning, committing.
#[test]
fn it_is_ended_under_any_schedule_and_whatever_it_does() {
    let (mut ended, mut committed) = (0, 0);
    for seed in 0..12 {
        let (sim, db, table) = open(seed);
        let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        let over = Arc::new(AtomicBool::new(false));
        let results = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        for client in 0..3u64 {
            let (db, table, over, io) = (db.clone(), table.clone(), over.clone(), sim.io());
            let results = results.clone();
            let body = move || {
                while !over.load(Ordering::Relaxed) {
                    let mut tx = db.begin();
                    let result = slow(&mut tx, &table, client, &io);
                    let result = result.and_then(|()| tx.commit());
                    match result {
                        Ok(()) => drop(results.1.fetch_add(1, Ordering::Relaxed)),
                        Err(Error::TransactionTooOld { .. }) => {
                            results.0.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::Deadlock) => {}
                        Err(other) => panic!("seed {seed}: {other}"),
                    }
                }
            };
            bodies.push((format!("client {client}"), Box::new(body)));
        }
        let writing = (db.clone(), table.clone(), over);
        let body = move || {
            let (db, table, over) = writing;
            write(&db, &table, 4 * MAX);
            over.store(true, Ordering::Relaxed);
        };
        bodies.push(("writer".to_owned(), Box::new(body)));
        let end = sim.run_threads(bodies);
        assert!(matches!(end, RunEnd::Finished), "seed {seed}: {end:?}");
        assert_eq!(db.stats().active_transactions, 0);
        let mut tx = db.begin();
        for row in tx.scan(&table, b"pair".as_slice()..).expect("scans") {
            let (key, value) = row.expect("reads");
            assert_eq!(value.len(), 3, "seed {seed}: half a transaction at {key:?}");
        }
        tx.commit().expect("ends");
        assert!(db.verify().expect("looks").is_clean(), "seed {seed}");
        ended += results.0.load(Ordering::Relaxed);
        committed += results.1.load(Ordering::Relaxed);
    }
    assert!(
        ended > 10 && committed > 10,
        "{ended} ended, {committed} committed"
    );
}

/// Writes the same three rows as others do, slowly: first one byte, at last three.
fn slow(tx: &mut Transaction, table: &Table, client: u64, io: &afterimage_io::Io) -> Result<()> {
    let rest = |most: u64| {
        let micros = (io.random() % u128::from(most * 1000)) as u64;
        io.sleep(std::time::Duration::from_micros(micros));
    };
    for length in 1..=3 {
        let savepoint = tx.savepoint()?;
        for n in 0..3 {
            let key = [&b"pair"[..], &[(client + n) as u8 % 4]].concat();
            tx.put(table, &key, &vec![client as u8; length])?;
            rest(40);
        }
        if length == 2 {
            tx.rollback_to(&savepoint)?;
        }
        tx.scan(table, b"pair".as_slice()..)?
            .try_for_each(|row| row.map(drop))?;
        rest(40);
    }
    Ok(())
}

#[test]
fn a_crash_with_an_old_transaction_open_reads_no_more_than_the_bound() {
    let (sim, db, table) = open(6);
    write(&db, &table, 2 * MAX);
    let mut old = db.begin();
    old.put(&table, b"old", b"1").expect("puts");
    write(&db, &table, MAX / 4 * 3);
    assert_eq!(db.stats().active_transactions, 1);
    let image = sim.snapshot().crash(&Survival::None);
    let sim = Sim::from_image(7, &image);
    let db = options(&sim).open("db").expect("recovers");
    let report = db.recovery_report();
    assert!(report.log_bytes <= MAX, "{report:?}");
    assert_eq!(report.losers, 1);
    let table = db.table("t").expect("there");
    assert_eq!(db.get(&table, b"old").expect("gets"), None);
}

/// A rollback that needs more pages than are held in reserve stops the engine where the disk is full. Nothing is lost: an open
/// is refused until there is room, and then finishes it.
#[test]
fn a_rollback_that_finds_the_disk_full_is_finished_when_there_is_room() {
    let sim = Sim::new(5);
    let options = || options(&sim).max_wal_size(4 * MAX);
    let db = options().open("db").expect("opens");
    let table = db.table("t").expect("creates");
    let key = |n: u64| (2 * n).to_be_bytes();
    for n in 0..400 {
        db.put(&table, &key(n), &[1; 900]).expect("puts");
    }
    while db.step().expect("works") == afterimage::Progress::Worked {}
    let mut shrinking = db.begin();
    for n in 0..400 {
        shrinking.put(&table, &key(n), &[2]).expect("puts");
    }
    // What it has left free is filled by others, and the disk is full behind them.
    let between = |n: u64| (2 * n + 1).to_be_bytes();
    for n in 0..400 {
        db.put(&table, &between(n), &[3; 850]).expect("puts");
    }
    let used: u64 = sim.snapshot().files().map(|(_, len)| len).sum();
    sim.set_quota(Some(used));
    let mut n = 400;
    while db.put(&table, &between(n), &[4; 900]).is_ok() {
        n += 1;
    }
    let answer = shrinking.rollback();
    assert!(answer.is_err(), "there are pages enough for it");
    let stopped = db.put(&table, b"k", b"v").expect_err("it has stopped");
    assert!(matches!(stopped, Error::LogFailed { .. }), "{stopped}");
    drop(db);
    let image = sim.snapshot().crash(&Survival::All);
    let sim = Sim::from_image(6, &image);
    let options = || self::options(&sim).max_wal_size(4 * MAX);
    sim.set_quota(Some(used));
    let refused = options().open("db").map(drop).expect_err("no room");
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    sim.set_quota(None);
    let db = options().open("db").expect("there is room");
    let table = db.table("t").expect("there");
    for n in 0..400 {
        let found = db.get(&table, &key(n)).expect("reads");
        assert_eq!(found.as_deref(), Some(&[1; 900][..]), "row {n}");
        let found = db.get(&table, &between(n)).expect("reads");
        assert_eq!(found.as_deref(), Some(&[3; 850][..]), "row between {n}");
    }
    assert!(db.verify().expect("looks").is_clean());
}

/// A put that finds no room for its page has kept the row's old version by then: that goes again, or it would hold back all later ones.
#[test]
fn a_put_that_finds_the_disk_full_leaves_no_version() {
    let sim = Sim::new(8);
    let db = options(&sim).max_wal_size(4 * MAX).open("db");
    let db = db.expect("opens");
    let table = db.table("t").expect("creates");
    let settle = || while db.step().expect("works") == afterimage::Progress::Worked {};
    for n in 0..50_u64 {
        db.put(&table, &n.to_be_bytes(), &[1; 900]).expect("puts");
    }
    settle();
    let used: u64 = sim.snapshot().files().map(|(_, len)| len).sum();
    sim.set_quota(Some(used));
    let mut more = (50_u64..).map(|n| db.put(&table, &n.to_be_bytes(), &[1; 900]));
    let refused = more.find_map(Result::err).expect("it is full");
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    sim.set_quota(None);
    db.put(&table, b"later", b"1").expect("there is room");
    settle();
    assert_eq!(db.stats().versions, 0, "nobody needs any");
}
