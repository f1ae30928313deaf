//! A close while others work: a call that was inside has happened wholly or not at all, and what nobody committed is gone.
//! In a simulated world, whose scheduler tries many orders of the threads.

#![allow(
    clippy::disallowed_types,
    reason = "what a thread was told is handed out, and nobody waits for it"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use afterimage::{Database, Error, LoadOptions, Options};
use afterimage_io::sim::{RunEnd, Sim};

fn open(sim: &Sim) -> Database {
    let options = Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(16 * 4096)
        .unlogged_pool_size(16 * 4096)
        .wal_segment_size(64 << 10)
        .max_wal_size(1 << 20);
    options.open("shop").expect("opens")
}

fn value(db: &Database, table: &str, key: &[u8]) -> Option<Vec<u8>> {
    let table = db.table(table).expect("is there");
    db.get(&table, key).expect("reads")
}

type Told<T> = Arc<Mutex<Option<T>>>;

fn tell<T>(told: &Told<T>, what: T) {
    *told.lock().expect("nobody panics") = Some(what);
}

/// A handle is dropped just as the database is being closed, and somebody inside waits for its lock.
#[test]
fn what_a_dropped_transaction_wrote_is_neither_seen_nor_written_over() {
    let (mut put, mut refused) = (0, 0);
    for seed in 0..300 {
        let sim = Sim::new(seed);
        let db = open(&sim);
        let table = db.table("t").expect("makes");
        db.put(&table, b"k", b"before").expect("puts");
        let mut open_one = db.begin();
        open_one.put(&table, b"k", b"dirty").expect("puts");
        let (written, read): (Told<bool>, Told<Option<Vec<u8>>>) = Default::default();
        let io = sim.io();
        let bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = vec![
            ("drop".into(), {
                let io = io.clone();
                Box::new(move || {
                    io.sleep(Duration::from_micros(50 + seed % 7 * 40));
                    drop(open_one);
                })
            }),
            ("put".into(), {
                let (db, table, written) = (db.clone(), table.clone(), written.clone());
                Box::new(move || tell(&written, db.put(&table, b"k", b"after").is_ok()))
            }),
            ("get".into(), {
                let (db, table, read) = (db.clone(), table.clone(), read.clone());
                Box::new(move || tell(&read, db.get(&table, b"k").unwrap_or_default()))
            }),
            ("close".into(), {
                let io = io.clone();
                Box::new(move || {
                    io.sleep(Duration::from_micros(50 + seed % 5 * 60));
                    db.close().expect("closes");
                })
            }),
        ];
        assert_eq!(sim.run_threads(bodies), RunEnd::Finished, "seed {seed}");
        let read = read.lock().expect("nobody panics").take().flatten();
        assert_ne!(read.as_deref(), Some(&b"dirty"[..]), "seed {seed}");
        let acknowledged = written.lock().expect("nobody panics").take();
        let found = value(&open(&sim), "t", b"k");
        let expected: &[u8] = match acknowledged {
            Some(true) => b"after",
            _ => b"before",
        };
        assert_eq!(found.as_deref(), Some(expected), "seed {seed}");
        *if acknowledged == Some(true) {
            &mut put
        } else {
            &mut refused
        } += 1;
    }
    assert!(
        put > 10 && refused > 10,
        "{put} went through, {refused} did not"
    );
}

/// One who has written unlogged rows waits for a lock as the database is closed, and is told that it did not commit.
#[test]
fn a_clean_close_keeps_no_unlogged_row_that_was_not_committed() {
    let (mut committed, mut not) = (0, 0);
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let db = open(&sim);
        let table = db.unlogged_table("u").expect("makes");
        let mut holder = db.begin();
        holder.put(&table, b"b", b"held").expect("puts");
        let told: Told<bool> = Told::default();
        let io = sim.io();
        let bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = vec![
            ("waits".into(), {
                let (db, table, told) = (db.clone(), table.clone(), told.clone());
                Box::new(move || {
                    let mut tx = db.begin();
                    let done = tx.put(&table, b"a", b"new").is_ok()
                        && tx.put(&table, b"b", b"new").is_ok();
                    tell(&told, tx.commit().is_ok() && done);
                })
            }),
            ("holds".into(), {
                let io = io.clone();
                Box::new(move || {
                    io.sleep(Duration::from_micros(50 + seed % 7 * 40));
                    drop(holder);
                })
            }),
            ("closes".into(), {
                let io = io.clone();
                Box::new(move || {
                    io.sleep(Duration::from_micros(50 + seed % 5 * 60));
                    db.close().expect("closes");
                })
            }),
        ];
        assert_eq!(sim.run_threads(bodies), RunEnd::Finished, "seed {seed}");
        let acknowledged = told.lock().expect("nobody panics").take() == Some(true);
        let db = open(&sim);
        assert!(db.recovery_report().clean, "seed {seed}");
        let expected = acknowledged.then_some(&b"new"[..]);
        for key in [b"a", b"b"] {
            assert_eq!(value(&db, "u", key).as_deref(), expected, "seed {seed}");
        }
        *if acknowledged {
            &mut committed
        } else {
            &mut not
        } += 1;
    }
    assert!(committed > 10 && not > 10, "{committed} and {not}");
}

/// A load that is being finished gives way to the close, and leaves no table; or it was faster, and leaves a whole one.
#[test]
fn a_close_does_not_wait_for_the_end_of_a_load() {
    let (mut loaded, mut refused) = (0, 0);
    for seed in 0..60 {
        let sim = Sim::new(seed);
        let db = open(&sim);
        let options = LoadOptions::new().sort_memory(64 << 10);
        let mut load = db.load_table("t", options).expect("begins");
        for n in (0..600u32).rev() {
            load.push(&n.to_be_bytes(), &[n as u8; 300])
                .expect("pushes");
        }
        let told: Told<Result<(), Error>> = Told::default();
        let io = sim.io();
        let bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = vec![
            ("loads".into(), {
                let told = told.clone();
                Box::new(move || tell(&told, load.finish().map(drop)))
            }),
            ("closes".into(), {
                Box::new(move || {
                    // The load is inside by then.
                    io.sleep(Duration::from_micros(50 + seed % 12 * 1000));
                    db.close().expect("closes");
                })
            }),
        ];
        assert_eq!(sim.run_threads(bodies), RunEnd::Finished, "seed {seed}");
        let told = told.lock().expect("nobody panics").take();
        let db = open(&sim);
        let names = db.tables().expect("lists");
        match told.expect("it came back") {
            Ok(()) => {
                assert_eq!(names, ["t"], "seed {seed}");
                let first = value(&db, "t", &0u32.to_be_bytes());
                assert_eq!(first, Some(vec![0; 300]), "seed {seed}");
                loaded += 1;
            }
            Err(Error::Closed) => {
                assert!(names.is_empty(), "seed {seed}: {names:?}");
                refused += 1;
            }
            Err(other) => panic!("seed {seed}: {other}"),
        }
        assert!(db.verify().expect("looks").is_clean(), "seed {seed}");
    }
    assert!(
        loaded > 5 && refused > 5,
        "{loaded} were loaded, {refused} were not"
    );
}
