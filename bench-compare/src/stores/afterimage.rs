//! Afterimage: the transactional store.

use super::{Body, Kind, OURS, Part, See, Session, Setup, Store, Tx, found};
use crate::keys::{Key, Value};
use crate::{Result, Values};
use afterimage::{
    CommitTicket, Database, Durability, Error, LoadOptions, Options, Table, Transaction,
};
use std::collections::VecDeque;
use std::path::Path;

pub const KIND: Kind = Kind {
    name: OURS,
    version: "this tree",
    settings: "defaults, but for buffer_pool_size (the cache of the plan), and max_wal_size where the plan limits the log; one \
               row = Database::put, more = a transaction; reads = Database::get_into, Snapshot::get_many_with and next_row; durable = what a commit is by \
               default; load: Durability::Memory in transactions of 1000 rows, then a durable one; special load = load_table",
    tickets: true,
    loads: true,
    open: Some(open),
};

/// The default page size, in bytes.
const PAGE: u64 = 8 << 10;

struct Afterimage {
    db: Database,
    tables: Vec<Table>,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let mut options = Options::new().buffer_pool_size(setup.cache);
    if let Some(log) = setup.log {
        options = options.max_wal_size(log);
    }
    if !setup.durable {
        options = options.synchronous_commit(Durability::Memory);
    }
    let db = options.open(dir)?;
    let mut tables = Vec::new();
    for part in Part::ALL {
        tables.push(db.table(part.name())?);
    }
    Ok(Box::new(Afterimage { db, tables }))
}

impl Afterimage {
    fn table(&self, part: Part) -> &Table {
        &self.tables[part as usize]
    }
}

impl Store for Afterimage {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat {
            store: self,
            open: VecDeque::new(),
            value: Vec::new(),
        }))
    }

    fn settle(&self) -> Result<()> {
        let mut tx = self.db.begin();
        tx.set_durability(Durability::Disk);
        tx.put(self.table(Part::History), b"settled", b"")?;
        tx.commit()?;
        let mut tx = self.db.begin();
        tx.delete(self.table(Part::History), b"settled")?;
        Ok(tx.commit()?)
    }

    fn counted(&self) -> Result<Values> {
        let stats = self.db.stats();
        let waits = stats.waits().into_iter();
        let waits = waits.map(|(cause, waits)| {
            (
                format!("wait_{cause}_ms"),
                waits.total().as_secs_f64() * 1e3,
            )
        });
        Ok(waits
            .chain([
                ("log_bytes".into(), stats.wal_bytes as f64),
                ("page_bytes".into(), (stats.pages_written * PAGE) as f64),
                ("forced_checkpoints".into(), stats.checkpoints_forced as f64),
                ("frame_waits".into(), stats.wait_clean_frame.count() as f64),
                // More than this a recovery would never have had to read.
                ("most_log_needed".into(), stats.checkpoint_age_max as f64),
                (
                    "most_delay_us".into(),
                    stats.wait_throttle.max().as_secs_f64() * 1e6,
                ),
            ])
            .collect())
    }

    fn load(&self, rows: &mut dyn Iterator<Item = (Key, Value)>) -> Result<()> {
        self.db.drop_table(Part::Rows.name())?;
        let mut load = self.db.load_table(Part::Rows.name(), LoadOptions::new())?;
        for (key, value) in rows {
            load.push(&key, &value)?;
        }
        load.finish()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

struct Seat<'a> {
    store: &'a Afterimage,
    open: VecDeque<CommitTicket>,
    /// What was read last.
    value: Vec<u8>,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        let (db, table) = (&self.store.db, self.store.table(part));
        if let [(key, value)] = rows {
            db.put(table, key, value)?;
            return Ok(0);
        }
        let mut tries = 0;
        db.transact(|tx| {
            tries += 1;
            rows.iter()
                .try_for_each(|(key, value)| tx.put(table, key, value))
        })?;
        Ok(tries - 1)
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        let mut tries = 0;
        // What the body says otherwise than in our own errors is carried past `transact`.
        let mut other = None;
        let done = self.store.db.transact(|tx| {
            tries += 1;
            let store = self.store;
            body(&mut Open { store, tx }).map_err(|error| match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => {
                    other = Some(error);
                    Error::Closed
                }
            })
        });
        match other {
            Some(error) => Err(error),
            None => Ok(done.map(|()| tries - 1)?),
        }
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let (db, table) = (&self.store.db, self.store.table(Part::Rows));
        let there = db.get_into(table, key, &mut self.value)?;
        if there {
            see(key, &self.value);
        }
        Ok(there)
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let snapshot = self.store.db.snapshot()?;
        let mut found = 0;
        snapshot.get_many_with(self.store.table(Part::Rows), keys, |place, value| {
            if let Some(value) = value {
                see(&keys[place], value);
                found += 1;
            }
        })?;
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let snapshot = self.store.db.snapshot()?;
        let mut rows = snapshot.scan(self.store.table(part), from.as_slice()..)?;
        let mut found = 0;
        while found < most as u64
            && let Some((key, value)) = rows.next_row()?
        {
            see(key, value);
            found += 1;
        }
        Ok(found)
    }

    fn start(&mut self, key: &Key, value: &Value) -> Result<()> {
        loop {
            let mut tx = self.store.db.begin();
            match tx.put(self.store.table(Part::Rows), key, value) {
                Err(error) if error.is_retryable() => continue,
                put => put?,
            }
            self.open.push_back(tx.commit_ticket()?);
            return Ok(());
        }
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(ticket) = self.open.pop_front() {
            ticket.wait()?;
        }
        Ok(())
    }
}

struct Open<'a> {
    store: &'a Afterimage,
    tx: &'a mut Transaction,
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        found(self.tx.get_for_update(self.store.table(part), key)?)
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        Ok(self.tx.put(self.store.table(part), key, value)?)
    }
}
