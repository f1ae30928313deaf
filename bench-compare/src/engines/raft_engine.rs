//! raft-engine: the log that TiKV keeps its replicated logs in, with group commit.
//!
//! A thread has a region of its own, as a replicated log would; an entry is the record as a protobuf `bytes` value.

use super::{Engine, KEEP, Kind, Purpose, Recovered, SEGMENT, Writer};
use crate::Result;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, LogBatch, MessageExt, ReadableSize};
use std::path::Path;
use std::time::Instant;

pub const KIND: Kind = Kind {
    name: "raft-engine",
    version: "0.4.2",
    settings: "one region a thread, no compression, files of 16 MiB (default 128; stream: 64), purge at 64 MiB (default 10 GiB), \
               prefill-for-recycle on (default off); durable = Engine::write(sync = true); purge = compact_to, purge_expired_files",
    tickets: false,
    open: Some(open),
    recover: Some(recover),
};

/// What an entry is: the record itself says its index, in its first 8 bytes.
struct Entries;

impl MessageExt for Entries {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry
            .value
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

struct Raft {
    engine: raft_engine::Engine,
}

fn config(dir: &Path, purpose: Purpose) -> Result<Config> {
    let mut config = Config {
        dir: dir.to_str().ok_or("the path is not UTF-8")?.to_owned(),
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(SEGMENT),
        purge_threshold: ReadableSize(KEEP),
        prefill_for_recycle: true,
        ..Config::default()
    };
    match purpose {
        Purpose::Durable => {}
        Purpose::Stream(bytes) => {
            config.target_file_size = ReadableSize(4 * SEGMENT);
            config.purge_threshold = ReadableSize(bytes.max(4 * SEGMENT));
        }
        Purpose::Fill => {
            config.prefill_for_recycle = false;
            config.purge_threshold = ReadableSize::gb(10);
        }
    }
    Ok(config)
}

fn open(dir: &Path, purpose: Purpose) -> Result<Box<dyn Engine>> {
    let engine = raft_engine::Engine::open(config(dir, purpose)?)?;
    Ok(Box::new(Raft { engine }))
}

impl Engine for Raft {
    fn writer(&self, thread: usize) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Appender {
            engine: &self.engine,
            region: thread as u64 + 1,
            batch: LogBatch::default(),
            entry: [BytesValue::new()],
        }))
    }

    fn purge(&self) -> Result<()> {
        for region in self.engine.raft_groups() {
            if let Some(last) = self.engine.last_index(region) {
                self.engine.compact_to(region, last);
            }
        }
        self.engine.purge_expired_files()?;
        Ok(())
    }
}

struct Appender<'a> {
    engine: &'a raft_engine::Engine,
    region: u64,
    batch: LogBatch,
    entry: [BytesValue; 1],
}

impl Writer for Appender<'_> {
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()> {
        self.entry[0].value.clear();
        self.entry[0].value.extend_from_slice(record);
        self.batch
            .add_entries::<Entries>(self.region, &self.entry)?;
        self.engine.write(&mut self.batch, durable)?;
        Ok(())
    }
}

fn recover(dir: &Path) -> Result<Recovered> {
    let config = config(dir, Purpose::Fill)?;
    let begun = Instant::now();
    let engine = raft_engine::Engine::open(config)?;
    let open = begun.elapsed().as_secs_f64();
    let found = |region| Some(engine.last_index(region)? + 1 - engine.first_index(region)?);
    Ok(Recovered {
        records: engine.raft_groups().into_iter().filter_map(found).sum(),
        open,
        read: None,
        verify: None,
    })
}
