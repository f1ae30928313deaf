//! SQLite in WAL mode: a row a record, and every commit synced.

use super::{Engine, Kind, Purpose, Recovered, Writer};
use crate::Result;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;
use std::path::Path;
use std::time::Instant;

pub const KIND: Kind = Kind {
    name: "sqlite",
    version: "rusqlite 0.41 (bundled)",
    settings: "journal_mode=WAL, synchronous=FULL (stream, fill: OFF; fill: no checkpoints), one connection under a fair \
               mutex, a prepared insert of one row a transaction; rows are not deleted, the WAL is bounded by its checkpoints",
    tickets: false,
    open: Some(open),
    recover: Some(recover),
};

const FILE: &str = "log.sqlite";

struct Sqlite {
    connection: Mutex<Connection>,
    synced: bool,
}

fn open(dir: &Path, purpose: Purpose) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(dir)?;
    let connection = Connection::open(dir.join(FILE))?;
    let synced = purpose == Purpose::Durable;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "OFF" })?;
    if purpose == Purpose::Fill {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    }
    connection.execute_batch("CREATE TABLE log (id INTEGER PRIMARY KEY, record BLOB)")?;
    Ok(Box::new(Sqlite {
        connection: Mutex::new(connection),
        synced,
    }))
}

impl Engine for Sqlite {
    fn writer(&self, _thread: usize) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Turn { sqlite: self }))
    }
}

struct Turn<'a> {
    sqlite: &'a Sqlite,
}

impl Writer for Turn<'_> {
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()> {
        let connection = self.sqlite.connection.lock();
        if durable && !self.sqlite.synced {
            // The last record of many that were not synced: its commit syncs the WAL, and with it all of them.
            connection.pragma_update(None, "synchronous", "FULL")?;
        }
        connection
            .prepare_cached("INSERT INTO log (record) VALUES (?1)")?
            .execute([record])?;
        MutexGuard::unlock_fair(connection);
        Ok(())
    }
}

fn recover(dir: &Path) -> Result<Recovered> {
    let begun = Instant::now();
    let connection = Connection::open(dir.join(FILE))?;
    // The first read brings the index of the WAL back.
    let last: i64 = connection.query_row("SELECT max(id) FROM log", [], |row| row.get(0))?;
    let open = begun.elapsed().as_secs_f64();
    Ok(Recovered {
        records: u64::try_from(last)?,
        open,
        read: None,
        verify: None,
    })
}
