//! surrealkv: an LSM tree with a commit pipeline that shares syncs; optimistic concurrency control.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use std::path::Path;
use surrealkv::{Durability, Error, LSMIterator, Mode, Transaction, Tree, TreeBuilder};
use tokio::runtime::{Builder, Runtime};

pub const KIND: Kind = Kind {
    name: "surrealkv",
    version: "1.2.0",
    settings: "block cache = the cache of the plan; a runtime of two threads, block_on(commit) by each of ours; puts in WriteOnly \
               transactions; tried again at once on a conflict; durable = Durability::Immediate; load: Eventual in transactions \
               of 1000 rows, then flush_wal(sync); one table: the others' keys begin with another letter",
    tickets: false,
    loads: false,
    open: Some(open),
};

struct Surreal {
    tree: Tree,
    runtime: Runtime,
    durability: Durability,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    let tree = TreeBuilder::new()
        .with_path(dir.to_path_buf())
        .with_block_cache_capacity(setup.cache)
        .build()?;
    drop(inside);
    let durability = if setup.durable {
        Durability::Immediate
    } else {
        Durability::Eventual
    };
    Ok(Box::new(Surreal {
        tree,
        runtime,
        durability,
    }))
}

/// Keys of rows are digits; those of the other tables have a letter in the place of the first.
fn key_of(part: Part, key: &Key) -> Key {
    let mut key = *key;
    match part {
        Part::Rows => {}
        Part::Tellers => key[0] = b't',
        Part::Branches => key[0] = b'b',
        Part::History => key[0] = b'h',
    }
    key
}

impl Surreal {
    /// Runs it until nobody else was in the way; how often it had to begin anew.
    fn write(
        &self,
        mode: Mode,
        work: &mut dyn FnMut(&mut Transaction) -> Result<()>,
    ) -> Result<u64> {
        for tries in 0.. {
            let mut tx = self.tree.begin_with_mode(mode)?;
            tx.set_durability(self.durability);
            let done = match work(&mut tx) {
                Ok(()) => self.runtime.block_on(tx.commit()),
                Err(error) => match error.downcast::<Error>() {
                    Ok(error) => Err(*error),
                    Err(error) => return Err(error),
                },
            };
            match done {
                Err(Error::TransactionWriteConflict | Error::TransactionRetry) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(tries),
            }
        }
        Err("never".into())
    }
}

impl Store for Surreal {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat { store: self }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.tree.flush_wal(true)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}

struct Seat<'a> {
    store: &'a Surreal,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        self.store.write(Mode::WriteOnly, &mut |tx| {
            for (key, value) in rows {
                tx.set(&key_of(part, key), value)?;
            }
            Ok(())
        })
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        self.store
            .write(Mode::ReadWrite, &mut |tx| body(&mut Open { tx }))
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        Ok(self.get_many(std::slice::from_ref(key), see)? == 1)
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.tree.begin_with_mode(Mode::ReadOnly)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = tx.get(key)? {
                see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.tree.begin_with_mode(Mode::ReadOnly)?;
        let (from, to) = (key_of(part, from), key_of(part, &[b'9'; 16]));
        let mut rows = tx.range(&from, &to)?;
        rows.seek_first()?;
        let mut found = 0;
        while rows.valid() && found < most as u64 {
            see(rows.key().user_key(), &rows.value_ref()?);
            found += 1;
            rows.next()?;
        }
        Ok(found)
    }
}

struct Open<'a> {
    tx: &'a mut Transaction,
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        found(self.tx.get_for_update(&key_of(part, key))?)
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        Ok(self.tx.set(&key_of(part, key), value)?)
    }
}
