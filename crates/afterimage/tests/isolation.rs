//! The promise: transactions are serializable; conflicts wait; a deadlock ends at once and is retried; what anybody was
//! told is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage::{Database, Durability, Error, Options, Result, Table, Transaction};
use afterimage_io::sim::{RunEnd, Sim};

const ACCOUNTS: u64 = 6;
const START: u64 = 100;

fn small(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20)
}

fn read(tx: &mut Transaction, table: &Table, account: u64) -> Result<u64> {
    let bytes = tx
        .get(table, &account.to_be_bytes())?
        .expect("every account is there");
    Ok(u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
}

fn transfer(db: &Database, table: &Table, from: u64, to: u64, amount: u64) -> Result<()> {
    db.transact(|tx| {
        // Both are read before either is written: upgrades, and so deadlocks, are certain.
        let (source, target) = (read(tx, table, from)?, read(tx, table, to)?);
        let amount = amount.min(source);
        tx.put(table, &from.to_be_bytes(), &(source - amount).to_be_bytes())?;
        tx.put(table, &to.to_be_bytes(), &(target + amount).to_be_bytes())
    })
}

fn fill(db: &Database) -> Table {
    let table = db.table("accounts").expect("creates");
    for account in 0..ACCOUNTS {
        db.put(&table, &account.to_be_bytes(), &START.to_be_bytes())
            .expect("puts");
    }
    table
}

fn sum(db: &Database, table: &Table) -> u64 {
    let rows = db.transact(|tx| tx.scan::<[u8], _>(table, ..)?.collect::<Result<Vec<_>>>());
    let rows = rows.expect("reads");
    rows.iter()
        .map(|(_, value)| u64::from_be_bytes(value.as_slice().try_into().expect("eight bytes")))
        .sum()
}

#[test]
fn money_is_neither_made_nor_lost_under_any_schedule() {
    let mut deadlocks = 0;
    for seed in 0..40 {
        let sim = Sim::new(seed);
        let db = small(&sim).open("bank").expect("opens");
        let table = fill(&db);
        let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        for client in 0..3u64 {
            let (db, table) = (db.clone(), table.clone());
            let body = move || {
                for n in 0..8 {
                    let (from, to) = ((client + n) % ACCOUNTS, (client * 3 + n * 5 + 1) % ACCOUNTS);
                    if from != to {
                        transfer(&db, &table, from, to, 7 + n).expect("transfers");
                    }
                    if n % 4 == 3 {
                        assert_eq!(
                            sum(&db, &table),
                            ACCOUNTS * START,
                            "a scan sees whole transactions, seed {seed}"
                        );
                    }
                }
            };
            bodies.push((format!("client {client}"), Box::new(body)));
        }
        let end = sim.run_threads(bodies);
        assert!(matches!(end, RunEnd::Finished), "seed {seed}: {end:?}");
        assert_eq!(sum(&db, &table), ACCOUNTS * START, "seed {seed}");
        deadlocks += db.stats().deadlocks;
    }
    assert!(deadlocks > 0, "the schedules had no deadlock to end");
}

#[test]
fn real_threads_on_a_real_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let db = Options::new()
        .open(directory.path().join("bank"))
        .expect("opens");
    let table = fill(&db);
    std::thread::scope(|scope| {
        for client in 0..8u64 {
            let (db, table) = (&db, &table);
            scope.spawn(move || {
                for n in 0..100 {
                    let (from, to) = (
                        (client + n) % ACCOUNTS,
                        (client * 7 + n * 11 + 1) % ACCOUNTS,
                    );
                    if from != to {
                        transfer(db, table, from, to, n % 13).expect("transfers");
                    }
                }
            });
        }
    });
    assert_eq!(sum(&db, &table), ACCOUNTS * START);
    assert!(db.verify().expect("looks").is_clean());
    let stats = db.stats();
    assert!(
        stats.wal_syncs < stats.commits,
        "commits share syncs: {stats:?}"
    );
    db.close().expect("closes");
    let db = Database::open(directory.path().join("bank")).expect("opens again");
    assert!(db.recovery_report().clean);
    assert_eq!(
        sum(&db, &db.table("accounts").expect("there")),
        ACCOUNTS * START
    );
}

#[test]
fn a_writer_waits_for_a_reader_and_nobody_sees_half() {
    let directory = tempfile::tempdir().expect("a directory");
    let db = Database::open(directory.path().join("bank")).expect("opens");
    let table = fill(&db);
    let mut reader = db.begin();
    assert_eq!(read(&mut reader, &table, 1).expect("reads"), START);
    let order = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (db, table_of_writer, order_of_writer) = (&db, &table, order.clone());
        let writer = scope.spawn(move || {
            db.put(table_of_writer, &1u64.to_be_bytes(), &5u64.to_be_bytes())
                .expect("puts");
            order_of_writer.store(1, Ordering::SeqCst);
        });
        assert_eq!(
            read(&mut reader, &table, 1).expect("reads"),
            START,
            "it cannot change"
        );
        assert_eq!(order.load(Ordering::SeqCst), 0, "the writer waits");
        reader.commit().expect("ends");
        writer.join().expect("ends");
    });
    assert_eq!(
        db.get(&table, &1u64.to_be_bytes()).expect("gets"),
        Some(5u64.to_be_bytes().to_vec())
    );
}

#[test]
fn what_a_reader_was_told_is_durable() {
    let sim = Sim::new(5);
    let db = small(&sim).open("bank").expect("opens");
    let table = db.table("t").expect("creates");
    let mut tx = db.begin();
    tx.put(&table, b"k", b"v").expect("puts");
    tx.set_durability(Durability::Memory);
    tx.commit().expect("commits");
    let stats = db.stats();
    assert!(stats.durable_lsn < stats.next_lsn, "not on disk yet");
    // The reader, at the default level, waits for the commit that it has seen.
    assert_eq!(db.get(&table, b"k").expect("gets"), Some(b"v".to_vec()));
    assert_eq!(db.stats().durable_lsn, db.stats().next_lsn);
}

#[test]
fn a_ticket_tells_when_it_is_on_disk() {
    let sim = Sim::new(6);
    let db = small(&sim).open("bank").expect("opens");
    let table = db.table("t").expect("creates");
    let mut tx = db.begin();
    tx.put(&table, b"k", b"v").expect("puts");
    let ticket = tx.commit_ticket().expect("commits");
    assert!(!ticket.is_durable().expect("knows"));
    assert!(ticket.lsn().is_some());
    ticket.wait().expect("waits");
    assert!(ticket.is_durable().expect("knows"));
    let nothing = db.begin().commit_ticket().expect("commits");
    assert!(nothing.is_durable().expect("knows") && nothing.lsn().is_none());
}

#[test]
fn a_deadlocked_transaction_says_so_and_can_only_go_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let db = Database::open(directory.path().join("bank")).expect("opens");
    let table = fill(&db);
    let mut older = db.begin();
    let mut younger = db.begin();
    older
        .put(&table, &0u64.to_be_bytes(), b"old")
        .expect("puts");
    younger
        .put(&table, &1u64.to_be_bytes(), b"young")
        .expect("puts");
    std::thread::scope(|scope| {
        let table = &table;
        let blocked = scope.spawn(move || {
            older
                .put(table, &1u64.to_be_bytes(), b"old")
                .and_then(|()| older.commit())
        });
        let error = younger
            .put(table, &0u64.to_be_bytes(), b"young")
            .expect_err("a deadlock");
        assert!(matches!(error, Error::Deadlock) && error.is_retryable());
        assert!(
            matches!(younger.get(table, b"x"), Err(Error::Deadlock)),
            "only rollback is left"
        );
        younger.rollback().expect("goes back");
        blocked.join().expect("ends").expect("the older one wins");
    });
    assert_eq!(
        db.get(&table, &1u64.to_be_bytes()).expect("gets"),
        Some(b"old".to_vec())
    );
}
