//! Opens a database with a few settings, writes, reads, looks at what opening found.
//!
//! Run with `cargo run -p afterimage --example open -- /tmp/example-db`.

use afterimage::{Durability, Options};

fn main() -> afterimage::Result<()> {
    let directory = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "example-db".to_owned());
    let db = Options::new()
        .buffer_pool_size(16 << 20)
        .synchronous_commit(Durability::Disk)
        .open(&directory)?;
    println!("{}", db.recovery_report());

    let visits = db.table("visits")?;
    let before = db.get(&visits, b"count")?.map_or(0, |bytes| number(&bytes));
    db.put(&visits, b"count", &(before + 1).to_be_bytes())?;
    println!("{directory} has been opened {} times", before + 1);
    println!("tables: {:?}", db.tables()?);

    // Dropping the last handle closes too; closing by hand tells of errors.
    db.close()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}
