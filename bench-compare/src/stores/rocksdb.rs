//! RocksDB: an LSM tree that shares syncs; with locks where a transaction reads what it writes.

use super::{Body, Kind, Part, See, Session, Setup, Store, Tx, found};
use crate::Result;
use crate::keys::{Key, Value};
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBWithThreadMode,
    ErrorKind, MultiThreaded, Options, ReadOptions, Transaction, TransactionDB,
    TransactionDBOptions, TransactionOptions, WriteBatch, WriteOptions,
};
use std::path::Path;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    name: "rocksdb",
    version: "crate 0.25, no compression",
    settings: "block cache = the cache of the plan, bloom filters of 10 bits, index and filters in the cache, increase_parallelism(2), \
               recycle_log_file_num 4, a column family a table; max_total_wal_size where the plan limits the log; puts = a \
               WriteBatch; a thousand gets = MultiGet; where transactions read: TransactionDB, get_for_update; durable = sync=true; \
               load: sync=false in batches of 1000 rows, then flush_wal(sync)",
    tickets: false,
    loads: false,
    open: Some(open),
};

type Plain = DBWithThreadMode<MultiThreaded>;
type Locking = TransactionDB<MultiThreaded>;
type Table<'a> = Arc<BoundColumnFamily<'a>>;

enum Db {
    Plain(Plain),
    Locking(Locking),
}

struct Rocks {
    db: Db,
    durable: bool,
}

fn open(dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.increase_parallelism(2);
    options.set_recycle_log_file_num(4);
    if let Some(log) = setup.log {
        options.set_max_total_wal_size(log);
    }
    if !setup.durable && setup.log.is_some() {
        // A memtable that is written out gives its log up: it is to stay.
        options.set_write_buffer_size(8 << 30);
    }
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(usize::try_from(setup.cache)?));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    options.set_block_based_table_factory(&blocks);
    let families = || {
        let named = Part::ALL.map(|part| ColumnFamilyDescriptor::new(part.name(), options.clone()));
        let default = ColumnFamilyDescriptor::new("default", options.clone());
        named.into_iter().chain([default])
    };
    let db = if setup.transactions {
        let locks = TransactionDBOptions::default();
        let opened = Locking::open_cf_descriptors(&options, &locks, dir, families())?;
        Db::Locking(opened)
    } else {
        Db::Plain(Plain::open_cf_descriptors(&options, dir, families())?)
    };
    Ok(Box::new(Rocks {
        db,
        durable: setup.durable,
    }))
}

impl Rocks {
    fn table(&self, part: Part) -> Result<Table<'_>> {
        let found = match &self.db {
            Db::Plain(db) => db.cf_handle(part.name()),
            Db::Locking(db) => db.cf_handle(part.name()),
        };
        Ok(found.ok_or("the column family is missing")?)
    }
}

impl Store for Rocks {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        let mut tables = Vec::new();
        for part in Part::ALL {
            tables.push(self.table(part)?);
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.durable);
        Ok(Box::new(Seat {
            db: &self.db,
            tables,
            options,
        }))
    }

    fn settle(&self) -> Result<()> {
        match &self.db {
            Db::Plain(db) => Ok(db.flush_wal(true)?),
            Db::Locking(db) => Ok(db.flush_wal(true)?),
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.settle()
    }
}

struct Seat<'a> {
    db: &'a Db,
    tables: Vec<Table<'a>>,
    options: WriteOptions,
}

impl Session for Seat<'_> {
    fn put(&mut self, part: Part, rows: &[(Key, Value)]) -> Result<u64> {
        let Db::Plain(db) = self.db else {
            return self.transact(&mut |tx| {
                rows.iter()
                    .try_for_each(|(key, value)| tx.put(part, key, value))
            });
        };
        let mut batch = WriteBatch::default();
        for (key, value) in rows {
            batch.put_cf(&self.tables[part as usize], key, value);
        }
        db.write_opt(batch, &self.options)?;
        Ok(0)
    }

    fn transact(&mut self, body: &mut Body<'_>) -> Result<u64> {
        let Db::Locking(db) = self.db else {
            return Err("opened without transactions".into());
        };
        for tries in 0.. {
            let tx = db.transaction_opt(&self.options, &TransactionOptions::default());
            let tables = &self.tables;
            let done = match body(&mut Open { tx: &tx, tables }) {
                Ok(()) => tx.commit(),
                Err(error) => match error.downcast::<rocksdb::Error>() {
                    Ok(error) => Err(*error),
                    Err(error) => return Err(error),
                },
            };
            match done {
                Ok(()) => return Ok(tries),
                Err(error) => match error.kind() {
                    ErrorKind::Busy | ErrorKind::TimedOut | ErrorKind::TryAgain => {}
                    _ => return Err(error.into()),
                },
            }
        }
        Err("never".into())
    }

    fn get(&mut self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let table = &self.tables[Part::Rows as usize];
        let value = match self.db {
            Db::Plain(db) => db.get_pinned_cf(table, key)?,
            Db::Locking(db) => db.get_pinned_cf(table, key)?,
        };
        if let Some(value) = &value {
            see(key, value);
        }
        Ok(value.is_some())
    }

    fn get_many(&mut self, keys: &[Key], see: &mut See<'_>) -> Result<u64> {
        let Db::Plain(db) = self.db else {
            return Err("opened with transactions".into());
        };
        let snapshot = db.snapshot();
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        let table = &self.tables[Part::Rows as usize];
        let values = db.batched_multi_get_cf_opt(table, keys, false, &options);
        let mut found = 0;
        for (key, value) in keys.iter().zip(values) {
            if let Some(value) = value? {
                see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, part: Part, from: &Key, most: usize, see: &mut See<'_>) -> Result<u64> {
        let Db::Plain(db) = self.db else {
            return Err("opened with transactions".into());
        };
        // A raw iterator copies nothing.
        let mut rows = db.raw_iterator_cf(&self.tables[part as usize]);
        rows.seek(from);
        let mut found = 0;
        while let (Some((key, value)), true) = (rows.item(), found < most as u64) {
            see(key, value);
            found += 1;
            rows.next();
        }
        rows.status()?;
        Ok(found)
    }
}

struct Open<'a> {
    tx: &'a Transaction<'a, Locking>,
    tables: &'a [Table<'a>],
}

impl Tx for Open<'_> {
    fn take(&mut self, part: Part, key: &Key) -> Result<Value> {
        let table = &self.tables[part as usize];
        found(self.tx.get_for_update_cf(table, key, true)?)
    }

    fn put(&mut self, part: Part, key: &Key, value: &Value) -> Result<()> {
        let table = &self.tables[part as usize];
        Ok(self.tx.put_cf(table, key, value)?)
    }
}
