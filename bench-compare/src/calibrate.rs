//! What one durable write of 4 KiB costs here and now: the unit in which appends are measured.
//!
//! Three ways, in turns, over a file that was written before (so that a sync has no metadata to write): write and
//! fdatasync, O_DSYNC, and O_DSYNC past the page cache. The best of them over the whole run is the unit.

use crate::Result;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of a write, in bytes.
pub const BLOCK: usize = 4096;
/// The size of the file, in bytes.
const FILE: u64 = 16 << 20;
/// Writes a second, by method.
pub type Singles = BTreeMap<String, f64>;

/// One way of a durable write.
struct Method {
    name: &'static str,
    flags: OFlags,
    sync: bool,
}

const METHODS: [Method; 3] = [
    Method {
        name: "write+fdatasync",
        flags: OFlags::empty(),
        sync: true,
    },
    Method {
        name: "O_DSYNC",
        flags: OFlags::DSYNC,
        sync: false,
    },
    Method {
        name: "O_DIRECT|O_DSYNC",
        flags: OFlags::DSYNC.union(OFlags::DIRECT),
        sync: false,
    },
];

/// The file, opened in each way that the file system takes, and a buffer that direct writes accept.
pub struct Calibration {
    files: Vec<(&'static Method, File)>,
    buffer: Vec<u8>,
    aligned: usize,
    next: u64,
}

impl Calibration {
    /// Writes the file in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let path = dir.join("calibration");
        drop(written_file(&path, FILE, 0)?);
        let open = |method: &'static Method| {
            let flags = i32::try_from(method.flags.bits()).ok()?;
            let file = OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(&path);
            Some((method, file.ok()?))
        };
        let buffer = vec![0x5A; 2 * BLOCK];
        let aligned = buffer.as_ptr().align_offset(BLOCK);
        Ok(Self {
            files: METHODS.iter().filter_map(open).collect(),
            buffer,
            aligned,
            next: 0,
        })
    }

    /// Writes a second by each method: the median of `slices` slices of `length` each, in turns.
    pub fn run(&mut self, slices: usize, length: Duration) -> Result<Singles> {
        let mut rates: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for _ in 0..slices {
            for index in 0..self.files.len() {
                let rate = self.slice(index, length)?;
                let name = self.files[index].0.name.to_owned();
                rates.entry(name).or_default().push(rate);
            }
        }
        Ok(rates
            .into_iter()
            .map(|(name, rates)| (name, crate::median(&rates)))
            .collect())
    }

    /// Writes a second by the best method of `singles`, during `length`.
    pub fn pulse(&mut self, singles: &Singles, length: Duration) -> Result<f64> {
        let best = singles.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let is_best =
            |(method, _): &(&Method, File)| best.is_some_and(|(name, _)| name == method.name);
        let index = self.files.iter().position(is_best);
        self.slice(index.ok_or("nothing was calibrated")?, length)
    }

    fn slice(&mut self, index: usize, length: Duration) -> Result<f64> {
        let (method, file) = &self.files[index];
        let (begun, mut writes) = (Instant::now(), 0);
        while begun.elapsed() < length || writes == 0 {
            self.next += 1;
            let block = &mut self.buffer[self.aligned..self.aligned + BLOCK];
            block[..8].copy_from_slice(&self.next.to_le_bytes());
            file.write_all_at(block, self.next * BLOCK as u64 % FILE)?;
            if method.sync {
                file.sync_data()?;
            }
            writes += 1;
        }
        Ok(f64::from(writes) / begun.elapsed().as_secs_f64())
    }
}

/// A new file of `size` bytes, all of them written and durable.
pub fn written_file(path: &Path, size: u64, byte: u8) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(path)?;
    let chunk = vec![byte; 1 << 20];
    let mut at = 0;
    while at < size {
        let len = usize::try_from((size - at).min(chunk.len() as u64))?;
        file.write_all_at(&chunk[..len], at)?;
        at += len as u64;
    }
    file.sync_all()?;
    Ok(file)
}
