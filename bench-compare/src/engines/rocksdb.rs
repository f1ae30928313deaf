//! RocksDB, reduced to its write-ahead log as far as that goes.
//!
//! The record is a blob that goes to the log alone (`PutLogData`). With it goes a put of 16 bytes under the thread's own
//! key: RocksDB gives no sequence number to a batch without one. So the memtable holds the versions of a few small keys.

use super::{Engine, KEEP, Kind, Purpose, Recovered, Writer};
use crate::Result;
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use std::path::Path;
use std::time::Instant;

pub const KIND: Kind = Kind {
    name: "rocksdb",
    version: "crate 0.25",
    settings: "the record as a blob for the log alone (put_log_data) and a put of 8 + 8 bytes; max_total_wal_size 64 MiB, \
               recycle_log_file_num 4, increase_parallelism(2), no compression; fill: write_buffer_size 4 GiB; durable = sync=true",
    tickets: false,
    open: Some(open),
    recover: Some(recover),
};

struct Rocks {
    db: DB,
}

fn options(purpose: Purpose) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.increase_parallelism(2);
    if purpose == Purpose::Fill {
        // A memtable that is written out gives its log up: it is to stay.
        options.set_write_buffer_size(4 << 30);
    } else {
        options.set_max_total_wal_size(KEEP);
        options.set_recycle_log_file_num(4);
    }
    options
}

fn open(dir: &Path, purpose: Purpose) -> Result<Box<dyn Engine>> {
    let db = DB::open(&options(purpose), dir)?;
    Ok(Box::new(Rocks { db }))
}

impl Engine for Rocks {
    fn writer(&self, thread: usize) -> Result<Box<dyn Writer + '_>> {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Box::new(Appender {
            db: &self.db,
            key: (thread as u64).to_be_bytes(),
            synced,
            unsynced: WriteOptions::default(),
        }))
    }
}

struct Appender<'a> {
    db: &'a DB,
    key: [u8; 8],
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl Writer for Appender<'_> {
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_log_data(record);
        batch.put(self.key, &record[..8]);
        let options = if durable {
            &self.synced
        } else {
            &self.unsynced
        };
        self.db.write_opt(batch, options)?;
        Ok(())
    }
}

fn recover(dir: &Path) -> Result<Recovered> {
    let begun = Instant::now();
    let db = DB::open(&options(Purpose::Fill), dir)?;
    let open = begun.elapsed().as_secs_f64();
    let last = db.get(0u64.to_be_bytes())?.unwrap_or_default();
    let records = last
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Ok(Recovered {
        records,
        open,
        read: None,
        verify: None,
    })
}
