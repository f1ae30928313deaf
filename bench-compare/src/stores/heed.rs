//! LMDB, by way of heed: a copy-on-write B-tree in a memory map; one writer at a time.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RwTxn};
use std::ops::Bound;
use std::path::Path;

pub const KIND: Kind = Kind {
    name: "heed",
    version: "0.23.1 (LMDB)",
    settings: "map_size 16 GiB, default flags: two syncs a commit; its cache is the system's, whatever the plan says; it has no log; \
               load: NO_SYNC in transactions of 1000 rows, then force_sync",
    tickets: false,
    loads: false,
    open: Some(open),
};

/// How large it may become, in bytes.
const MAP: usize = 16 << 30;
const READERS: u32 = 256;

type Rows = Database<'static, Bytes, Bytes>;

struct Lmdb {
    env: Env,
    tables: [Rows; Part::ALL.len()],
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP).max_dbs(8).max_readers(READERS);
    let env = opened(options, dir, setup.durable)?;
    let tables = env
        .create_databases_and_commit(env.write_txn()?, |opener, tx| {
            let [a, b, c, d] = Part::ALL;
            let mut table = |part: Part| opener.create_database(tx, Some(part.name()));
            let tables = [table(a)?, table(b)?, table(c)?, table(d)?];
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
        })?
        .unwrap_commit();
    Ok(Box::new(Lmdb { env, tables }))
}

#[expect(unsafe_code, reason = "heed opens a map in no other way")]
fn opened(mut options: EnvOpenOptions, dir: &Path, durable: bool) -> Result<Env> {
    // SAFETY: the files are in a directory that this process alone works in, and nobody changes them but LMDB. Without
    // syncs a crash of the machine may tear the map: it is never opened again after one.
    unsafe {
        if !durable {
            options.flags(EnvFlags::NO_SYNC);
        }
        Ok(options.open(dir)?)
    }
}

impl Lmdb {
    fn table(&self, part: Part) -> &Rows {
        &self.tables[part as usize]
    }

    fn write(&self, work: &mut dyn FnMut(&mut RwTxn<'_>) -> Result<()>) -> Result<u64> {
        let mut tx = self.env.write_txn()?;
        work(&mut tx)?;
        tx.commit()?;
        // One writer at a time: nobody is in the way of another.
        Ok(0)
    }
}

impl Store for Lmdb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat { store: self }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

struct Seat<'a> {
    store: &'a Lmdb,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        let table = self.store.table(part);
        self.store.write(&mut |tx| {
            for (key, value) in rows {
                table.put(tx, key, value)?;
            }
            Ok(())
        })
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        let store = self.store;
        store.write(&mut |tx| body(&mut Open { store, tx }))
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        Ok(self.get_many(std::slice::from_ref(key), see)? == 1)
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.env.read_txn()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.store.table(Part::Rows).get(&tx, key)? {
                see(key, value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.env.read_txn()?;
        let range = (Bound::Included(from.as_slice()), Bound::Unbounded);
        let mut found = 0;
        for row in self.store.table(part).range(&tx, &range)?.take(most) {
            let (key, value) = row?;
            see(key, value);
            found += 1;
        }
        Ok(found)
    }
}

struct Open<'a, 'e> {
    store: &'a Lmdb,
    tx: &'a mut RwTxn<'e>,
}

impl Tx for Open<'_, '_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        found(self.store.table(part).get(self.tx, key)?)
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        Ok(self.store.table(part).put(self.tx, key, value)?)
    }
}
