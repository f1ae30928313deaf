//! Commits without waiting: one thread has hundreds of commits on their way to the disk, and answers each caller when
//! its own is there.
//!
//! Run with `cargo run --release -p afterimage --example tickets`.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own: the clock and the threads are its user's"
)]

use std::collections::VecDeque;
use std::time::Instant;

use afterimage::{Database, Result};

fn main() -> Result<()> {
    let db = Database::open("example-tickets")?;
    let table = db.table("events")?;
    let (began, count) = (Instant::now(), 20_000u32);
    let mut on_the_way = VecDeque::new();
    for n in 0..count {
        let mut tx = db.begin();
        tx.put(&table, &n.to_be_bytes(), b"something happened")?;
        on_the_way.push_back((n, tx.commit_ticket()?));
        // Commits become durable in order: what is durable is at the front.
        while let Some((_, ticket)) = on_the_way.front() {
            if !ticket.is_durable()? && on_the_way.len() < 512 {
                break;
            }
            ticket.wait()?;
            let (_answered, _) = on_the_way.pop_front().expect("there is a front");
        }
    }
    for (_, ticket) in on_the_way {
        ticket.wait()?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let syncs = db.stats().wal_syncs;
    println!("{count} durable commits by one thread in {seconds:.2} s, {syncs} syncs");
    db.close()
}
