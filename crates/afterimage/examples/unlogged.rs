//! What a log costs, and what goes without it: the same rows into a logged and an unlogged table, one transaction a row and a
//! hundred rows a transaction, alternately; then a clean close, which keeps both.
//!
//! Run with `cargo run --release -p afterimage --example unlogged`.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own: the clock is its user's"
)]

use std::time::{Duration, Instant};

use afterimage::{Database, Durability, Options, Result, Table};

/// How long each way to write is measured, each time.
const TURN: Duration = Duration::from_millis(500);
const TURNS: u32 = 6;
const VALUE: [u8; 100] = [7; 100];

/// One way to write rows, and how many it has written in how long.
struct Way {
    name: &'static str,
    table: Table,
    rows_a_commit: u64,
    durability: Durability,
    rows: u64,
    time: Duration,
}

impl Way {
    fn turn(&mut self, db: &Database) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < TURN {
            let mut tx = db.begin();
            tx.set_durability(self.durability);
            for _ in 0..self.rows_a_commit {
                // Numbers far apart: all over the table, not at its end.
                let key = self.rows.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 200_000;
                tx.put(&self.table, &key.to_be_bytes(), &VALUE)?;
                self.rows += 1;
            }
            tx.commit()?;
        }
        self.time += began.elapsed();
        Ok(())
    }

    fn rate(&self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64()
    }
}

fn main() -> Result<()> {
    let options = Options::new().unlogged_pool_size(64 << 20);
    let db = options.clone().open("example-unlogged")?;
    let (logged, unlogged) = (db.table("logged")?, db.unlogged_table("unlogged")?);
    let way = |name, table: &Table, rows_a_commit, durability| Way {
        name,
        table: table.clone(),
        rows_a_commit,
        durability,
        rows: 0,
        time: Duration::ZERO,
    };
    let (disk, memory) = (Durability::Disk, Durability::Memory);
    let mut ways = [
        way("unlogged, a row a commit", &unlogged, 1, disk),
        way("logged, a row a commit", &logged, 1, disk),
        way("logged, a row a commit, in memory", &logged, 1, memory),
        way("unlogged, 100 rows a commit", &unlogged, 100, disk),
        way("logged, 100 rows a commit", &logged, 100, disk),
        way("logged, 100 rows a commit, in memory", &logged, 100, memory),
    ];
    for _ in 0..TURNS {
        for way in &mut ways {
            way.turn(&db)?;
        }
    }
    let (mut unlogged, mut rows) = (0.0, 0);
    for way in &ways {
        if !way.table.is_unlogged() {
            let times = unlogged / way.rate();
            println!(
                "{:38} {:>10.0} rows/s; unlogged {times:.1} times that",
                way.name,
                way.rate()
            );
        } else {
            unlogged = way.rate();
            println!("{:38} {unlogged:>10.0} rows/s", way.name);
        }
        rows += way.rows;
    }
    println!("{rows} rows in all, {} bytes of log", db.stats().wal_bytes);
    let count = |db: &Database| -> Result<usize> {
        let table = db.table("unlogged")?;
        let mut tx = db.begin();
        Ok(tx.scan::<[u8], _>(&table, ..)?.count())
    };
    let rows = count(&db)?;
    db.close()?;
    let db = options.open("example-unlogged")?;
    println!(
        "{rows} unlogged rows before the close, {} after it",
        count(&db)?
    );
    db.close()
}
