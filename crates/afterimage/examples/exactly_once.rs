//! Exactly once: payments come through a log, and each is booked in one transaction with the position behind it. Whatever
//! is killed when, no payment is lost and none is booked twice.
//!
//! ```text
//! exactly_once DIR add      adds a payment for each line `NAME AMOUNT` of stdin, and prints it once it is on disk
//! exactly_once DIR work     books payments until it is killed; it may run while some are added, and while none are
//! exactly_once DIR show     prints the balances
//! ```
//!
//! The log is in `DIR/queue`, the database in `DIR/bank`. They may be on different disks: nothing has to happen in both at
//! once. `crates/afterimage-log/examples/queue.rs` has what can be had without a database.

use std::io::BufRead;
use std::path::Path;

use afterimage::{Database, Io, Lsn, Table, Transaction};
use afterimage_log::{LogOptions, Record, Slot, Start, Wal, WalReader};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WORKER: &str = "booking";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [dir, "add"] => add(Path::new(dir)),
        [dir, "work"] => work(Path::new(dir)),
        [dir, "show"] => show(Path::new(dir)),
        _ => Err("usage: exactly_once DIR add | work | show".into()),
    }
}

fn add(dir: &Path) -> Result<()> {
    let (io, queue) = (Io::os(), dir.join("queue"));
    std::fs::create_dir_all(dir)?;
    let wal = Wal::open(&io, &queue, &LogOptions::from_file(&io, &queue)?)?;
    if wal.slots()?.is_empty() {
        wal.create_slot(WORKER, Start::Oldest)?;
    }
    for payment in std::io::stdin().lock().lines() {
        let payment = payment?;
        wal.append(payment.as_bytes())?.wait()?;
        println!("added {payment}");
    }
    Ok(wal.close()?)
}

fn work(dir: &Path) -> Result<()> {
    let (io, queue) = (Io::os(), dir.join("queue"));
    let db = Database::open(dir.join("bank"))?;
    let (balances, places) = (db.table("balances")?, db.table("places")?);
    // The slot holds the payments back until they are booked. Where to go on, the database knows.
    let mut slot = Slot::open(&io, &queue, WORKER)?;
    let place = db.get(&places, WORKER.as_bytes())?;
    let place = place.map_or(Some(slot.position()), |bytes| Lsn::new(number(&bytes)));
    let mut payments = WalReader::open(&io, &queue, Start::At(place.ok_or("no position")?))?;
    loop {
        let payment = payments.next()?;
        db.transact(|tx| book(tx, &balances, &places, &payment))?;
        // If it is killed before this, the slot stays behind, which does no harm. A sync for each could be saved: every
        // hundredth time would do.
        slot.advance(payment.next)?;
        println!("booked {}", String::from_utf8_lossy(&payment.payload));
    }
}

/// The effect and the position behind it: both or neither.
fn book(
    tx: &mut Transaction,
    balances: &Table,
    places: &Table,
    payment: &Record,
) -> afterimage::Result<()> {
    let text = String::from_utf8_lossy(&payment.payload);
    if let Some((name, amount)) = text.split_once(' ') {
        let balance = tx.get_for_update(balances, name.as_bytes())?;
        let balance = balance.map_or(0, |bytes| number(&bytes)) + amount.parse().unwrap_or(0);
        tx.put(balances, name.as_bytes(), &balance.to_be_bytes())?;
    }
    let place = payment.next.get().to_be_bytes();
    tx.put(places, WORKER.as_bytes(), &place)
}

fn show(dir: &Path) -> Result<()> {
    let db = Database::open(dir.join("bank"))?;
    let balances = db.table("balances")?;
    let mut tx = db.begin();
    for row in tx.scan::<[u8], _>(&balances, ..)? {
        let (name, balance) = row?;
        println!("{} {}", String::from_utf8_lossy(&name), number(&balance));
    }
    Ok(db.close()?)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}
