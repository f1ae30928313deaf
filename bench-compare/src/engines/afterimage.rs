//! Afterimage's own log, through `Wal`.

use super::{Engine, KEEP, Kind, OURS, Purpose, Recovered, SEGMENT, Writer};
use crate::Result;
use afterimage_io::Io;
use afterimage_log::{ControlFile, Log, LogOptions, Lsn, Ticket, Wal};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

pub const KIND: Kind = Kind {
    name: OURS,
    version: "this tree",
    settings: "defaults (16 MiB segments); stream: 64 MiB segments, prepared before; durable = Ticket::wait; \
               purge = truncate_before, keeping 64 MiB",
    tickets: true,
    open: Some(open),
    recover: Some(recover),
};

/// The largest segments pay where all of the log is written in one go.
const STREAM_SEGMENT: u64 = 64 << 20;

struct Afterimage {
    wal: Wal,
}

fn open(dir: &Path, purpose: Purpose) -> Result<Box<dyn Engine>> {
    let mut options = LogOptions::default();
    if let Purpose::Stream(bytes) = purpose {
        options.segment_bytes = STREAM_SEGMENT;
        // A quarter more than the payload: frames, and what is kept in reserve.
        let segments = (bytes + bytes / 4).div_ceil(STREAM_SEGMENT);
        options.spare_segments = usize::try_from(segments)?.clamp(1, 64);
    } else {
        options.segment_bytes = SEGMENT;
    }
    let wal = Wal::open(&Io::os(), dir, &options)?;
    while wal.stats().spare_segments < options.spare_segments as u64 {
        let _ = wal.step()?;
    }
    Ok(Box::new(Afterimage { wal }))
}

impl Engine for Afterimage {
    fn writer(&self, _thread: usize) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(Appender {
            wal: &self.wal,
            open: VecDeque::new(),
        }))
    }

    fn purge(&self) -> Result<()> {
        let keep_from = self.wal.durable_lsn().get().saturating_sub(KEEP);
        if let Some(lsn) = Lsn::new(keep_from) {
            self.wal.truncate_before(lsn)?;
        }
        Ok(())
    }
}

struct Appender<'a> {
    wal: &'a Wal,
    open: VecDeque<Ticket>,
}

impl Writer for Appender<'_> {
    fn append(&mut self, record: &[u8], durable: bool) -> Result<()> {
        let ticket = self.wal.append(record)?;
        if durable {
            ticket.wait()?;
        }
        Ok(())
    }

    fn start(&mut self, record: &[u8]) -> Result<()> {
        self.open.push_back(self.wal.append(record)?);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(ticket) = self.open.pop_front() {
            ticket.wait()?;
        }
        Ok(())
    }
}

fn recover(dir: &Path) -> Result<Recovered> {
    let io = Io::os();
    let begun = Instant::now();
    let control = ControlFile::open(&io, dir, false)?.current().clone();
    let first = Lsn::new(control.segment_bytes + 4096).ok_or("the log has no first position")?;
    Log::verify(&io, dir, &control, first, &[])?;
    let verify = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let wal = Wal::open(&io, dir, &LogOptions::default())?;
    let open = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut records = 0;
    for record in wal.read(wal.oldest_lsn()) {
        record?;
        records += 1;
    }
    Ok(Recovered {
        records,
        open,
        read: Some(begun.elapsed().as_secs_f64()),
        verify: Some(verify),
    })
}
