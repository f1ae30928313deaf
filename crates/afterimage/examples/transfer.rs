//! Moves money between two accounts: all of it, or none, whatever happens in between.
//!
//! Run with `cargo run -p afterimage --example transfer`.

use afterimage::{Database, Error, Result, Table, Transaction};

fn balance(tx: &mut Transaction, accounts: &Table, name: &str) -> Result<u64> {
    // Read with the intention to write: two transfers then wait for each other instead of deadlocking here.
    let bytes = tx.get_for_update(accounts, name.as_bytes())?;
    Ok(bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

/// False, and nothing changed, if there is not enough.
fn transfer(db: &Database, accounts: &Table, from: &str, to: &str, amount: u64) -> Result<bool> {
    db.transact(|tx| {
        let (source, target) = (balance(tx, accounts, from)?, balance(tx, accounts, to)?);
        let Some(rest) = source.checked_sub(amount) else {
            return Ok(false);
        };
        tx.put(accounts, from.as_bytes(), &rest.to_be_bytes())?;
        tx.put(accounts, to.as_bytes(), &(target + amount).to_be_bytes())?;
        Ok(true)
    })
}

fn main() -> Result<()> {
    let db = Database::open("example-bank")?;
    let accounts = db.table("accounts")?;
    db.put(&accounts, b"alice", &100u64.to_be_bytes())?;
    db.put(&accounts, b"bob", &100u64.to_be_bytes())?;

    println!(
        "30 from alice to bob: {}",
        transfer(&db, &accounts, "alice", "bob", 30)?
    );
    println!(
        "900 from alice to bob: {}",
        transfer(&db, &accounts, "alice", "bob", 900)?
    );

    let mut tx = db.begin();
    for row in tx.scan::<[u8], _>(&accounts, ..)? {
        let (name, bytes) = row?;
        let amount = bytes.try_into().map_or(0, u64::from_be_bytes);
        println!("{:>8} {amount}", String::from_utf8_lossy(&name));
    }
    tx.commit()?;
    match db.close() {
        Err(Error::Closed) => unreachable!("nobody else has closed it"),
        result => result,
    }
}
