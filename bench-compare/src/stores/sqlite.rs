//! SQLite in WAL mode, every commit synced; one connection a thread, writers in a fair queue.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension};
use std::path::{Path, PathBuf};

pub const KIND: Kind = Kind {
    name: "sqlite",
    version: "rusqlite 0.41 (bundled)",
    settings: "journal_mode=WAL, synchronous=FULL, cache_size = the cache of the plan, 64 MiB at most, a connection; mmap_size 2 GiB \
               where the data is to be cached; tables WITHOUT ROWID; one connection a thread, a fair mutex round each \
               writing transaction; wal_autocheckpoint where the plan limits the log; prepared statements; load: \
               synchronous=OFF in transactions of 1000 rows, then a checkpoint with FULL",
    tickets: false,
    loads: false,
    open: Some(open),
};

const FILE: &str = "store.sqlite";
/// The most that a connection gets as its cache, in bytes: each has its own.
const CACHE_MOST: u64 = 64 << 20;
/// What the data is mapped with where it is to be in memory, in bytes.
const MAP: u64 = 2 << 30;
const PAGE: u64 = 4096;

struct Sqlite {
    file: PathBuf,
    setup: Setup,
    writers: Mutex<()>,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let store = Sqlite {
        file: dir.join(FILE),
        setup: *setup,
        writers: Mutex::new(()),
    };
    let connection = store.connect(setup.durable)?;
    for part in Part::ALL {
        let name = part.name();
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {name} (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"
        ))?;
    }
    // The last connection that is closed checkpoints: this one is forgotten where a log is to be left.
    if setup.durable || setup.log.is_none() {
        drop(connection);
    } else {
        std::mem::forget(connection);
    }
    Ok(Box::new(store))
}

impl Sqlite {
    fn connect(&self, durable: bool) -> Result<Connection> {
        let connection = Connection::open(&self.file)?;
        let set =
            |name: &str, value: &dyn rusqlite::ToSql| connection.pragma_update(None, name, value);
        set("journal_mode", &"WAL")?;
        set("synchronous", &if durable { "FULL" } else { "OFF" })?;
        let kib = i64::try_from(self.setup.cache.min(CACHE_MOST) >> 10)?;
        set("cache_size", &-kib)?;
        if self.setup.cache > CACHE_MOST {
            set("mmap_size", &i64::try_from(MAP)?)?;
        }
        if let Some(log) = self.setup.log {
            set("wal_autocheckpoint", &i64::try_from(log / PAGE)?)?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}

impl Store for Sqlite {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat {
            store: self,
            connection: self.connect(self.setup.durable)?,
        }))
    }

    fn settle(&self) -> Result<()> {
        let connection = self.connect(true)?;
        if self.setup.log.is_none() {
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        } else {
            // The commit of a row that says so syncs the log, and with it all that is in it.
            let sql = "INSERT OR REPLACE INTO history VALUES ('settled', '')";
            connection.execute_batch(sql)?;
            std::mem::forget(connection);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.settle()
    }
}

struct Seat<'a> {
    store: &'a Sqlite,
    connection: Connection,
}

fn put(connection: &Connection, part: Part, key: &Key, value: &Value) -> Result<()> {
    let sql = match part {
        Part::Rows => "INSERT INTO rows VALUES (?1, ?2) ON CONFLICT DO UPDATE SET v = ?2",
        Part::Tellers => "INSERT INTO tellers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET v = ?2",
        Part::Branches => "INSERT INTO branches VALUES (?1, ?2) ON CONFLICT DO UPDATE SET v = ?2",
        Part::History => "INSERT INTO history VALUES (?1, ?2) ON CONFLICT DO UPDATE SET v = ?2",
    };
    connection.prepare_cached(sql)?.execute((key, value))?;
    Ok(())
}

impl Seat<'_> {
    fn write(&self, work: &mut dyn FnMut(&Connection) -> Result<()>) -> Result<u64> {
        let turn = self.store.writers.lock();
        let run = |sql: &str| -> Result<()> {
            self.connection.prepare_cached(sql)?.execute(())?;
            Ok(())
        };
        run("BEGIN IMMEDIATE")?;
        let done = work(&self.connection);
        run(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        MutexGuard::unlock_fair(turn);
        // One writer at a time: nobody is in the way of another.
        done.map(|()| 0)
    }

    fn read(&self, work: &mut dyn FnMut() -> Result<u64>) -> Result<u64> {
        self.connection.prepare_cached("BEGIN")?.execute(())?;
        let done = work();
        self.connection.prepare_cached("COMMIT")?.execute(())?;
        done
    }

    fn one(&self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let sql = "SELECT v FROM rows WHERE k = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement
            .query_row([key], |row| {
                see(key, row.get_ref(0)?.as_blob()?);
                Ok(())
            })
            .optional()?;
        Ok(found.is_some())
    }
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        self.write(&mut |connection| {
            rows.iter()
                .try_for_each(|(key, value)| put(connection, part, key, value))
        })
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        self.write(&mut |connection| body(&mut Open { connection }))
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        self.one(key, see)
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        self.read(&mut || {
            let mut found = 0;
            for key in keys {
                found += u64::from(self.one(key, see)?);
            }
            Ok(found)
        })
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let sql = match part {
            Part::Rows => "SELECT k, v FROM rows WHERE k >= ?1 ORDER BY k LIMIT ?2",
            Part::Tellers => "SELECT k, v FROM tellers WHERE k >= ?1 ORDER BY k LIMIT ?2",
            Part::Branches => "SELECT k, v FROM branches WHERE k >= ?1 ORDER BY k LIMIT ?2",
            Part::History => "SELECT k, v FROM history WHERE k >= ?1 ORDER BY k LIMIT ?2",
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(-1);
        let mut rows = statement.query((from, most))?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            see(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            found += 1;
        }
        Ok(found)
    }
}

struct Open<'a> {
    connection: &'a Connection,
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        let sql = match part {
            Part::Rows => "SELECT v FROM rows WHERE k = ?1",
            Part::Tellers => "SELECT v FROM tellers WHERE k = ?1",
            Part::Branches => "SELECT v FROM branches WHERE k = ?1",
            Part::History => "SELECT v FROM history WHERE k = ?1",
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([key])?;
        let row = rows.next()?.ok_or("a row is missing")?;
        found(Some(row.get_ref(0)?.as_blob()?))
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        put(self.connection, part, key, value)
    }
}
