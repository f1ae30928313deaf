//! Loses power in the middle of a transaction, in a simulated world, and shows what recovery makes of it.
//!
//! Run with `cargo run -p afterimage --example crash`.

use afterimage::{Options, Result};
use afterimage_io::sim::{Sim, Survival};

fn main() -> Result<()> {
    let machine = Sim::new(42);
    let db = Options::new()
        .io(machine.io())
        .background(false)
        .open("bank")?;
    let accounts = db.table("accounts")?;
    db.put(&accounts, b"alice", b"100")?;
    db.put(&accounts, b"bob", b"100")?;

    let mut tx = db.begin();
    tx.put(&accounts, b"alice", b"70")?;
    // The checkpoint carries the unfinished change to the disk: "steal". It must be possible to take it back.
    db.checkpoint()?;

    // The power goes. Of what was written and not synced, this time everything has reached the disk.
    let image = machine.snapshot().crash(&Survival::All);
    let after = Options::new()
        .io(Sim::from_image(43, &image).io())
        .background(false)
        .open("bank")?;
    println!("{}", after.recovery_report());
    let accounts = after.table("accounts")?;
    for name in ["alice", "bob"] {
        let balance = after.get(&accounts, name.as_bytes())?.unwrap_or_default();
        println!("{name:>6} has {}", String::from_utf8_lossy(&balance));
    }
    Ok(())
}
