//! A till that prints receipts too early, found by crashing it: a receipt is a promise, and the payment was not on the disk yet.
//!
//! Run with `cargo run -p afterimage-sim --example receipts`; `crates/afterimage-sim/tests/apps.rs` holds it to what it says here.

use afterimage::{Database, Durability, Result, Table};
use afterimage_sim::{AppResult, Client, Counterexample, Machine, Report, explore};

/// Books a payment, and prints the receipt when the commit is on its way, not when it has arrived.
fn pay_by_ticket(db: &Database, till: &Table, client: &Client) -> Result<()> {
    let mut tx = db.begin();
    tx.put(till, b"payment", b"30")?;
    let ticket = tx.commit_ticket()?;
    client.acknowledge("receipt for 30");
    ticket.wait()
}

/// Books a payment where a power cut may take it back again: that is for what can be lost.
fn pay_in_memory(db: &Database, till: &Table, client: &Client) -> Result<()> {
    let mut tx = db.begin();
    tx.set_durability(Durability::Memory);
    tx.put(till, b"payment", b"30")?;
    tx.commit()?;
    client.acknowledge("receipt for 30");
    Ok(())
}

/// Books a payment, waits until it is durable, and prints the receipt then.
fn pay(db: &Database, till: &Table, client: &Client) -> Result<()> {
    let mut tx = db.begin();
    tx.put(till, b"payment", b"30")?;
    let ticket = tx.commit_ticket()?;
    // Here is time for something else.
    ticket.wait()?;
    client.acknowledge("receipt for 30");
    Ok(())
}

/// A way to take money.
type Pay = fn(&Database, &Table, &Client) -> Result<()>;

/// Crashes a till that takes money in this way.
fn till(pay: Pay) -> std::result::Result<Report, Box<Counterexample>> {
    explore(|machine: &Machine| Ok(machine.options().open("till")?))
        .work(move |db, client| Ok(pay(db, &db.table("till")?, client)?))
        .check(|db, receipts| -> AppResult {
            let paid = db.get(&db.table("till")?, b"payment")?.is_some();
            assert!(receipts.is_empty() || paid, "a receipt, and no payment");
            Ok(())
        })
        .try_run()
}

/// What comes of each way.
///
/// # Errors
/// When crashes do not see which ways are wrong.
pub fn all() -> std::result::Result<String, String> {
    let ways: [(&str, Pay, bool); 3] = [
        ("a ticket that nobody waits for", pay_by_ticket, false),
        ("Durability::Memory", pay_in_memory, false),
        ("a ticket that is waited for", pay, true),
    ];
    let mut told = String::new();
    for (name, pay, right) in ways {
        let end = match till(pay) {
            Ok(report) if right => format!("holds: {report}"),
            Err(e) if !right && e.what().starts_with("a receipt, and no payment") => e.to_string(),
            Ok(report) => return Err(format!("{name}: no crash shows it: {report}")),
            Err(e) => return Err(format!("{name}: {e}")),
        };
        told.push_str(&format!("{name}: {end}\n"));
    }
    Ok(told)
}

#[allow(
    dead_code,
    reason = "the test that runs this file has a main of its own"
)]
fn main() -> std::result::Result<(), String> {
    println!("{}", all()?);
    Ok(())
}
