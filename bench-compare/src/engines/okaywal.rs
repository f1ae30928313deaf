//! okaywal: the write-ahead log of Khonsu Labs, with group commit.

use super::{Engine, Kind, Purpose, Recovered, SEGMENT, Writer};
use crate::Result;
use okaywal::{
    Configuration, Entry, EntryId, EntryWriter, LogManager, LogVoid, ReadChunkResult,
    SegmentReader, WriteAheadLog,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub const KIND: Kind = Kind {
    name: "okaywal",
    version: "0.3.1",
    settings: "segments of 16 MiB (default 1), checkpoint at 12 MiB (default 0.75), a manager that keeps nothing; durable = \
               EntryWriter::commit of one chunk; without sync it has nothing, so there an entry holds 1 MiB of chunks",
    tickets: false,
    open: Some(open),
    recover: Some(recover),
};

/// Bytes of records in one entry where no record need be durable at once.
const ENTRY: usize = 1 << 20;

struct Okay {
    log: WriteAheadLog,
}

fn configuration(dir: &Path, purpose: Purpose) -> Result<Configuration> {
    let checkpoint = match purpose {
        // A checkpoint gives the log up: it is to stay.
        Purpose::Fill => 1 << 40,
        Purpose::Durable | Purpose::Stream(_) => SEGMENT / 4 * 3,
    };
    Ok(Configuration::default_for(dir)
        .preallocate_bytes(u32::try_from(SEGMENT)?)
        .checkpoint_after_bytes(checkpoint))
}

fn open(dir: &Path, purpose: Purpose) -> Result<Box<dyn Engine>> {
    let log = configuration(dir, purpose)?.open(LogVoid)?;
    Ok(Box::new(Okay { log }))
}

impl Engine for Okay {
    fn writer(&self, _thread: usize) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Appender {
            log: &self.log,
            entry: None,
            held: 0,
        }))
    }
}

struct Appender<'a> {
    log: &'a WriteAheadLog,
    entry: Option<EntryWriter<'a>>,
    held: usize,
}

impl Writer for Appender<'_> {
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()> {
        let mut entry = match self.entry.take() {
            Some(entry) => entry,
            None => self.log.begin_entry()?,
        };
        entry.write_chunk(record)?;
        self.held += record.len();
        if durable || self.held >= ENTRY {
            self.held = 0;
            entry.commit()?;
        } else {
            self.entry = Some(entry);
        }
        Ok(())
    }
}

/// Counts what it is handed at an open.
#[derive(Debug)]
struct Counter {
    records: Arc<AtomicU64>,
}

impl LogManager for Counter {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            chunk.read_all()?;
            self.records.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

fn recover(dir: &Path) -> Result<Recovered> {
    let records = Arc::new(AtomicU64::new(0));
    let counter = Counter {
        records: Arc::clone(&records),
    };
    let begun = Instant::now();
    let log = configuration(dir, Purpose::Fill)?.open(counter)?;
    let open = begun.elapsed().as_secs_f64();
    drop(log);
    Ok(Recovered {
        records: records.load(Ordering::Relaxed),
        open,
        read: None,
        verify: None,
    })
}
