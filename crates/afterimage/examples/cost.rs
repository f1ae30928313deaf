//! What one call takes, told again and again: for `cargo xtask cost`, which puts two builds of this beside each other. Each line on standard
//! input names a kind of work; the answer is the nanoseconds of one operation, of a batch that takes some tens of milliseconds.
//!
//! cargo run --release --example cost -- DIR

use std::io::{BufRead, Write};

use afterimage::{Database, Durability, Io, Options, Table};

const ROWS: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("a directory is wanted")?;
    let options = Options::new().buffer_pool_size(128 << 20);
    let db = options.synchronous_commit(Durability::Memory).open(&dir)?;
    let table = db.table("rows")?;
    for first in (0..ROWS).step_by(1000) {
        db.transact(|tx| {
            (first..first + 1000).try_for_each(|n| tx.put(&table, &key(n), &[1; 100]))
        })?;
    }
    let mut drawn = 1;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let nanos = batch(&db, &table, &line?, &mut drawn)?;
        println!("{nanos}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

/// Nanoseconds of one of many.
fn batch(db: &Database, table: &Table, work: &str, drawn: &mut u64) -> afterimage::Result<u128> {
    let mut next = || {
        *drawn = drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        key((*drawn >> 33) % ROWS)
    };
    let mut value = Vec::new();
    let times: u128 = match work {
        "get" => 50_000,
        "put" => 10_000,
        "transaction of 3" => 4_000,
        _ => 400,
    };
    let io = Io::os();
    let began = io.now();
    for n in 0..times {
        let new = [n as u8; 100];
        match work {
            "get" => drop(db.get_into(table, &next(), &mut value)?),
            "put" => db.put(table, &next(), &new)?,
            "transaction of 3" => {
                let mut tx = db.begin();
                for _ in 0..3 {
                    tx.put(table, &next(), &new)?;
                }
                tx.commit()?;
            }
            // "durable transaction of 3"
            _ => {
                let mut tx = db.begin();
                tx.set_durability(Durability::Disk);
                for _ in 0..3 {
                    tx.put(table, &next(), &new)?;
                }
                tx.commit()?;
            }
        }
    }
    Ok((io.now() - began).as_nanos() / times)
}
