//! What one durable write costs here and now: the unit in which commits are measured.
//!
//! The best that a single writer can do with buffered files: 4 KiB over a file that was written before (so that a sync
//! has no file-system metadata to write), then fdatasync; one after the other, the next when the last is durable.

use crate::latency::{latencies, nanos, quantile};
use afterimage_io::{File, Io, OpenMode};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
/// Enough that the file is not one hot block; small enough to be written in a moment.
const BLOCKS: u64 = 1024;

/// A pre-written file to write to.
pub struct Calibration {
    file: File,
    next: u64,
    block: Vec<u8>,
}

/// What a run of single durable writes came to.
#[derive(Clone, Debug)]
pub struct Single {
    /// Writes a second.
    pub per_second: f64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Calibration {
    /// Writes the file in `dir`, and makes it durable.
    pub fn new(io: &Io, dir: &Path) -> io::Result<Self> {
        let file = io.open(&dir.join("calibration"), OpenMode::Create)?;
        file.prefill(0, BLOCKS * BLOCK as u64)?;
        file.sync_all()?;
        io.sync_dir(dir)?;
        Ok(Self {
            file,
            next: 0,
            block: vec![0; BLOCK],
        })
    }

    /// Single durable writes for `length`.
    pub fn run(&mut self, length: Duration) -> io::Result<Single> {
        let mut latencies = latencies();
        let start = Instant::now();
        while start.elapsed() < length || latencies.is_empty() {
            latencies.saturating_record(nanos(self.write()?));
        }
        Ok(Single {
            per_second: latencies.len() as f64 / start.elapsed().as_secs_f64(),
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
        })
    }

    fn write(&mut self) -> io::Result<Duration> {
        self.next += 1;
        self.block[..8].copy_from_slice(&self.next.to_le_bytes());
        let start = Instant::now();
        self.file
            .write_all_at(self.next % BLOCKS * BLOCK as u64, &self.block)?;
        self.file.sync()?;
        Ok(start.elapsed())
    }
}
