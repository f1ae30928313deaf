//! What to do with each family of errors: try again, give up, look, repair. Two threads lock the same two rows in
//! opposite order, so deadlocks are certain; `transact` hides them, and by hand it looks like this.
//!
//! Run with `cargo run -p afterimage --example retry`.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own: the clock and the threads are its user's"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use afterimage::{Database, Result, Table};

static RETRIES: AtomicU64 = AtomicU64::new(0);

fn add_one(db: &Database, table: &Table, first: &[u8], second: &[u8]) -> Result<()> {
    loop {
        let mut tx = db.begin();
        let result = bump(&mut tx, table, first).and_then(|()| bump(&mut tx, table, second));
        let error = match result.and_then(|()| tx.commit()) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.is_retryable() {
            // Rolled back when it was dropped: nothing of it is there, so trying again is safe.
            RETRIES.fetch_add(1, Ordering::Relaxed);
        } else if error.outcome_unknown() {
            eprintln!(
                "reopen the database, look whether it is there, and only then decide: {error}"
            );
            return Err(error);
        } else if error.is_corruption() {
            eprintln!("stop, keep a copy of the directory, restore from a backup: {error}");
            return Err(error);
        } else {
            return Err(error);
        }
    }
}

fn bump(tx: &mut afterimage::Transaction, table: &Table, key: &[u8]) -> Result<()> {
    let count = tx
        .get_for_update(table, key)?
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    tx.put(table, key, &(count + 1).to_be_bytes())
}

fn main() -> Result<()> {
    let db = Database::open("example-retry")?;
    let table = db.table("counters")?;
    db.put(&table, b"left", &0u64.to_be_bytes())?;
    db.put(&table, b"right", &0u64.to_be_bytes())?;
    std::thread::scope(|scope| {
        for (first, second) in [
            (b"left".as_slice(), b"right".as_slice()),
            (b"right", b"left"),
        ] {
            let (db, table) = (&db, &table);
            scope.spawn(move || (0..200).try_for_each(|_| add_one(db, table, first, second)));
        }
    });
    let left = db
        .get(&table, b"left")?
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    println!(
        "left = {left} after {} retries",
        RETRIES.load(Ordering::Relaxed)
    );
    assert_eq!(left, 400);
    db.close()
}
