//! `transact`: what is tried again, how often, after what pauses, and at what age.

#![allow(
    clippy::disallowed_methods,
    reason = "a thread that goes on behind the closure that began it"
)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{JoinHandle, spawn, yield_now};
use std::time::Duration;

use afterimage::{Database, Error, Io, Options, Result, Table, Transaction};
use afterimage_io::sim::Sim;

fn open(io: Io) -> (Database, Table) {
    let options = Options::new().io(io).background(false);
    let db = options.open("db").expect("opens");
    let table = db.table("t").expect("creates");
    (db, table)
}

/// For real threads.
fn on_disk() -> (Database, Table, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let db = Options::new().open(directory.path()).expect("opens");
    let table = db.table("t").expect("creates");
    (db, table, directory)
}

/// `tx` and `other` each hold what the other one wants; `tx` asks last. What it is told, and what the other one is.
fn embrace(
    db: &Database,
    table: &Table,
    tx: &mut Transaction,
    mut other: Transaction,
) -> (Result<()>, JoinHandle<Result<()>>) {
    tx.put(table, b"x", b"tx").expect("free");
    other.put(table, b"y", b"other").expect("free");
    let before = db.stats().lock_waits;
    let its_table = table.clone();
    let other = spawn(move || {
        other.put(&its_table, b"x", b"other")?;
        other.commit()
    });
    while db.stats().lock_waits == before {
        yield_now();
    }
    (tx.put(table, b"y", b"tx"), other)
}

#[test]
fn the_age_of_the_first_attempt_is_kept() {
    let (db, table, _directory) = on_disk();
    let mut other = None;
    let mut attempts = 0;
    db.transact(|tx| {
        attempts += 1;
        let Some(other) = other.take() else {
            // Younger than the first attempt, older than a second one would be by itself.
            other = Some(db.begin());
            return Err(Error::Deadlock);
        };
        let (told, other) = embrace(&db, &table, tx, other);
        let other = other.join().expect("does not panic");
        assert!(matches!(other, Err(Error::Deadlock)), "{other:?}");
        told
    })
    .expect("it is the older one");
    assert_eq!(attempts, 2);
    assert_eq!(
        db.get(&table, b"y").expect("reads").as_deref(),
        Some(&b"tx"[..])
    );
}

#[test]
fn it_gives_up_after_a_hundred_attempts_with_growing_pauses() {
    let sim = Sim::new(1);
    let (db, table) = open(sim.io());
    let begun = RefCell::new(Vec::new());
    let answer: Result<()> = db.transact(|tx| {
        begun.borrow_mut().push(sim.io().now());
        tx.put(&table, b"k", b"v")?;
        Err(Error::Deadlock)
    });
    assert!(matches!(answer, Err(Error::Deadlock)), "{answer:?}");
    assert_eq!(db.get(&table, b"k").expect("reads"), None, "all taken back");
    let begun = begun.into_inner();
    assert_eq!(begun.len(), 100);
    // Simulated time: it passes where somebody sleeps.
    let pauses: Vec<Duration> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut expected = Duration::from_micros(20);
    for pause in pauses {
        assert!(pause >= expected, "{pause:?}");
        assert!(pause < expected + Duration::from_millis(1), "{pause:?}");
        expected = (expected * 2).min(Duration::from_millis(5));
    }
}

#[test]
fn only_what_a_new_attempt_can_mend_is_tried_again() {
    let (db, table) = open(Sim::new(1).io());
    db.insert(&table, b"there", b"").expect("inserts");
    let mut held = db.begin();
    held.put(&table, b"held", b"").expect("free");
    let attempts = |body: &dyn Fn(&mut Transaction) -> Result<()>| {
        let mut attempts = 0;
        let answer = db.transact(|tx| {
            attempts += 1;
            tx.set_lock_timeout(Duration::ZERO);
            tx.put(&table, b"k", b"v")?;
            body(tx)
        });
        assert_eq!(db.get(&table, b"k").expect("reads"), None, "taken back");
        (attempts, answer)
    };
    let exists = attempts(&|tx| tx.insert(&table, b"there", b""));
    assert!(matches!(exists, (1, Err(Error::KeyExists))), "{exists:?}");
    let missing = attempts(&|tx| tx.update(&table, b"missing", b""));
    assert!(
        matches!(missing, (1, Err(Error::KeyNotFound))),
        "{missing:?}"
    );
    // It has waited long enough.
    let timeout = attempts(&|tx| tx.put(&table, b"held", b""));
    assert!(
        matches!(timeout, (1, Err(Error::LockTimeout { .. }))),
        "{timeout:?}"
    );
    let panicked = catch_unwind(AssertUnwindSafe(|| attempts(&|_| panic!("in the body"))));
    assert!(panicked.is_err());
    assert_eq!(db.get(&table, b"k").expect("is not locked"), None);
}

#[test]
fn a_deadlock_that_the_body_keeps_to_itself_is_tried_again_too() {
    let (db, table, _directory) = on_disk();
    let mut older = Some(db.begin());
    let mut other = None;
    let mut attempts = 0;
    db.transact(|tx| {
        attempts += 1;
        if let Some(older) = older.take() {
            let (told, thread) = embrace(&db, &table, tx, older);
            assert!(matches!(told, Err(Error::Deadlock)), "{told:?}");
            other = Some(thread);
            return Ok(());
        }
        tx.put(&table, b"y", b"tx")
    })
    .expect("commits");
    assert_eq!(attempts, 2);
    let other = other.expect("began").join().expect("does not panic");
    other.expect("it was the older one");
    let get = |key: &[u8]| db.get(&table, key).expect("reads");
    assert_eq!(get(b"x").as_deref(), Some(&b"other"[..]));
    assert_eq!(get(b"y").as_deref(), Some(&b"tx"[..]));
}
