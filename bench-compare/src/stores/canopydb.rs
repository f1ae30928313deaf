//! canopydb: a copy-on-write B-tree behind a log; writers at once, by optimistic concurrency control.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use canopydb::{Database, DbOptions, EnvOptions, Error, Tree, WriteTransaction};
use std::path::Path;

pub const KIND: Kind = Kind {
    name: "canopydb",
    version: "0.2.5",
    settings: "page_cache_size; max_wal_size where the plan limits the log; begin_write_concurrent, tried again at once on \
               WriteConflict; durable = commit_with(sync = true); load: sync = false in transactions of 1000 rows, then Database::sync",
    tickets: false,
    loads: false,
    open: Some(open),
};

struct Canopy {
    db: Database,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let mut environment = EnvOptions::new(dir);
    environment.page_cache_size = usize::try_from(setup.cache)?;
    if let Some(log) = setup.log {
        environment.max_wal_size = log;
    }
    let db = Database::with_options(environment, DbOptions::new())?;
    let tx = db.begin_write()?;
    for part in Part::ALL {
        tx.get_or_create_tree(part.name().as_bytes())?;
    }
    tx.commit_with(true)?;
    Ok(Box::new(Canopy {
        db,
        durable: setup.durable,
    }))
}

impl Canopy {
    /// Runs it until nobody else was in the way; how often it had to begin anew.
    fn write(&self, work: &mut dyn FnMut(&WriteTransaction) -> Result<()>) -> Result<u64> {
        for tries in 0.. {
            let tx = self.db.begin_write_concurrent()?;
            let done = match work(&tx) {
                Ok(()) => tx.commit_with(self.durable).map(drop),
                Err(error) => match error.downcast::<Error>() {
                    Ok(error) => Err(*error),
                    Err(error) => return Err(error),
                },
            };
            match done {
                Err(Error::WriteConflict) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(tries),
            }
        }
        Err("never".into())
    }
}

impl Store for Canopy {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Seat { store: self }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }
}

struct Seat<'a> {
    store: &'a Canopy,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        self.store.write(&mut |tx| {
            let mut tree = tx.get_or_create_tree(part.name().as_bytes())?;
            for (key, value) in rows {
                tree.insert(key, value)?;
            }
            Ok(())
        })
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        self.store.write(&mut |tx| {
            let trees = [const { None }; Part::ALL.len()];
            body(&mut Open { tx, trees })
        })
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        Ok(self.get_many(std::slice::from_ref(key), see)? == 1)
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.db.begin_read()?;
        let tree = tx.get_tree(Part::Rows.name().as_bytes())?;
        let tree = tree.ok_or("the table is missing")?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = tree.get(key)? {
                see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let tx = self.store.db.begin_read()?;
        let tree = tx.get_tree(part.name().as_bytes())?;
        let tree = tree.ok_or("the table is missing")?;
        let mut found = 0;
        for row in tree.range(from.as_slice()..)?.take(most) {
            let (key, value) = row?;
            see(&key, &value);
            found += 1;
        }
        Ok(found)
    }
}

/// Each tree is opened when it is first wanted.
struct Open<'a> {
    tx: &'a WriteTransaction,
    trees: [Option<Tree<'a>>; Part::ALL.len()],
}

impl<'a> Open<'a> {
    fn tree(&mut self, part: Part) -> Result<&mut Tree<'a>> {
        let place = &mut self.trees[part as usize];
        if place.is_none() {
            *place = Some(self.tx.get_or_create_tree(part.name().as_bytes())?);
        }
        Ok(place.as_mut().ok_or("the tree was opened")?)
    }
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        found(self.tree(part)?.get(key)?)
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        Ok(self.tree(part)?.insert(key, value)?)
    }
}
