//! fjall: an LSM tree with a journal; transactions by the single-writer kind.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use fjall::{
    KeyspaceCreateOptions, PersistMode, Readable, SingleWriterTxDatabase, SingleWriterTxKeyspace,
    SingleWriterWriteTx,
};
use std::path::Path;

pub const KIND: Kind = Kind {
    name: "fjall",
    version: "3.1.13",
    settings: "SingleWriterTxDatabase; cache_size; max_journaling_size where the plan limits the log (64 MiB at least); puts = a batch of \
               the inner database, else write_tx; durable = durability(SyncData), inside the journal's mutex: no group \
               commit; load: batches of 1000 rows without, then persist(SyncAll)",
    tickets: false,
    loads: false,
    open: Some(open),
};

/// The least that it takes, in bytes.
const JOURNAL_LEAST: u64 = 64 << 20;

struct Fjall {
    db: SingleWriterTxDatabase,
    tables: Vec<SingleWriterTxKeyspace>,
    durability: Option<PersistMode>,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let mut builder = SingleWriterTxDatabase::builder(dir).cache_size(setup.cache);
    if let Some(log) = setup.log {
        builder = builder.max_journaling_size(log.max(JOURNAL_LEAST));
    }
    let db = builder.open()?;
    let mut tables = Vec::new();
    for part in Part::ALL {
        tables.push(db.keyspace(part.name(), KeyspaceCreateOptions::default)?);
    }
    let durability = setup.durable.then_some(PersistMode::SyncData);
    Ok(Box::new(Fjall {
        db,
        tables,
        durability,
    }))
}

impl Fjall {
    fn table(&self, part: Part) -> &SingleWriterTxKeyspace {
        &self.tables[part as usize]
    }
}

impl Store for Fjall {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat { store: self }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.settle()
    }
}

struct Seat<'a> {
    store: &'a Fjall,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        let mut batch = self.store.db.inner().batch();
        batch = batch.durability(self.store.durability);
        let table = self.store.table(part).inner();
        for (key, value) in rows {
            batch.insert(table, key.as_slice(), value.as_slice());
        }
        batch.commit()?;
        Ok(0)
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        let store = self.store;
        let tx = store.db.write_tx().durability(store.durability);
        let mut open = Open { store, tx };
        body(&mut open)?;
        open.tx.commit()?;
        // One writer at a time: nobody is in the way of another.
        Ok(0)
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let value = self.store.table(Part::Rows).get(key)?;
        if let Some(value) = &value {
            see(key, value);
        }
        Ok(value.is_some())
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.db.read_tx();
        let mut found = 0;
        for key in keys {
            if let Some(value) = tx.get(self.store.table(Part::Rows), key)? {
                see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.db.read_tx();
        let mut found = 0;
        for row in tx
            .range(self.store.table(part), from.as_slice()..)
            .take(most)
        {
            let (key, value) = row.into_inner()?;
            see(&key, &value);
            found += 1;
        }
        Ok(found)
    }
}

struct Open<'a> {
    store: &'a Fjall,
    tx: SingleWriterWriteTx<'a>,
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        found(self.tx.get(self.store.table(part), key)?)
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        let table = self.store.table(part);
        self.tx.insert(table, key.as_slice(), value.as_slice());
        Ok(())
    }
}
