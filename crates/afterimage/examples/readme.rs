//! The program on README's first screen, compiled and run, so that it is never a lie. `cargo xtask tidy` compares them.

use afterimage::Database;

fn main() -> afterimage::Result<()> {
    let db = Database::open("bank")?; // makes the directory, or recovers what is there
    let accounts = db.table("accounts")?;
    db.put(&accounts, b"alice", b"100")?; // on disk when it returns

    db.transact(|tx| {
        // both rows, or neither
        tx.put(&accounts, b"alice", b"70")?;
        tx.put(&accounts, b"bob", b"30")
    })?;

    assert_eq!(db.get(&accounts, b"bob")?.as_deref(), Some(&b"30"[..]));
    db.close()
}
