//! One row: a kind of durable write, done again and again in its turns, and what that came to.

use super::file::{FILE_BYTES, TestFile};
use crate::failure::Failure;
use crate::latency::{latencies, nanos, quantile};
use crate::rng::Rng;
use afterimage_io::{DurableWrites, File};
use hdrhistogram::Histogram;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Commits in a group.
pub const GROUP: u64 = 100;
/// Bytes of a commit.
pub const COMMIT_BYTES: usize = 128;
/// What the log puts before each: length, kind, checksum, time.
const FRAME_BYTES: usize = 16;

/// Bytes that the log has to write for so many commits in one sync.
pub fn group_bytes(commits: u64) -> usize {
    commits as usize * (COMMIT_BYTES + FRAME_BYTES)
}

/// What a way that is not offered would have to write whole ones of.
const PAGE_CACHE: u64 = 4096;

/// Bytes as they are spoken of.
pub fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ => format!("{} KiB", bytes >> 10),
    }
}

/// What is written where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One block behind the other, begun anew at the file's end.
    Sequential,
    /// The same, and each write is a group of so many commits.
    Commits(u64),
    /// At random places.
    Random,
    /// So many threads, each sequentially in a part of the file of its own.
    Threads(u32),
}

/// A kind of durable write, and how long those took that were done so far.
pub struct Row {
    pub shape: Shape,
    pub writes: DurableWrites,
    pub bytes: usize,
    /// The file; or why this way is not offered here.
    file: Result<File, String>,
    latencies: Histogram<u64>,
    busy: Duration,
}

/// What a row came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// How many writes there were.
    pub writes: u64,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Outcome {
    pub fn p50_nanos(&self) -> u64 {
        nanos(self.p50)
    }
}

impl Row {
    /// The row, not yet measured, of writes of so many bytes, and what is missing of a whole block by this way. That the plain way does
    /// not work is a failure; that another does not is a finding.
    pub fn new(
        file: &TestFile,
        shape: Shape,
        writes: DurableWrites,
        bytes: usize,
    ) -> Result<Self, Failure> {
        let file = match file.open(writes) {
            Ok(file) => Ok(file),
            Err(e) if writes == DurableWrites::PLAIN => {
                return Err(Failure::refused(format!("a durable write failed: {e}")));
            }
            Err(e) => Err(e.to_string()),
        };
        let block = file.as_ref().map_or(PAGE_CACHE, File::block) as usize;
        Ok(Self {
            shape,
            writes,
            bytes: bytes.next_multiple_of(block),
            file,
            latencies: latencies(),
            busy: Duration::ZERO,
        })
    }

    /// Whether it can be done here; why not.
    pub fn offered(&self) -> Result<(), &str> {
        self.file.as_ref().map(|_| ()).map_err(String::as_str)
    }

    /// Its name for a person who waits.
    pub fn label(&self) -> String {
        format!("{}, {}", self.writes, size(self.bytes))
    }

    /// Writes for `turn`, and once at least.
    pub fn run(&mut self, turn: Duration) -> io::Result<()> {
        let Ok(file) = &self.file else { return Ok(()) };
        let begun = Instant::now();
        let row: &Row = self;
        let worker = |thread| Worker { file, row, thread };
        let done = match self.shape {
            Shape::Threads(threads) if threads > 1 => thread::scope(|scope| {
                let running: Vec<_> = (0..threads)
                    .map(|n| {
                        let worker = worker(n);
                        scope.spawn(move || worker.run(turn))
                    })
                    .collect();
                running
                    .into_iter()
                    .map(|thread| {
                        let joined = thread.join();
                        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect::<io::Result<Vec<_>>>()
            })?,
            _ => vec![worker(0).run(turn)?],
        };
        self.busy += begun.elapsed();
        for one in done {
            self.latencies
                .add(one)
                .expect("all histograms have the same bounds");
        }
        Ok(())
    }

    /// What it came to; none where it is not offered.
    pub fn result(&self) -> Option<Outcome> {
        (!self.latencies.is_empty()).then(|| Outcome {
            writes: self.latencies.len(),
            per_second: self.latencies.len() as f64 / self.busy.as_secs_f64(),
            p50: quantile(&self.latencies, 0.5),
            p99: quantile(&self.latencies, 0.99),
        })
    }
}

/// One thread of a row's turn.
struct Worker<'a> {
    file: &'a File,
    row: &'a Row,
    thread: u32,
}

impl Worker<'_> {
    fn run(&self, turn: Duration) -> io::Result<Histogram<u64>> {
        let threads = match self.row.shape {
            Shape::Threads(threads) => u64::from(threads),
            _ => 1,
        };
        let bytes = self.row.bytes as u64;
        let blocks = FILE_BYTES / threads / bytes;
        let from = u64::from(self.thread) * (FILE_BYTES / threads);
        // Where the last turn ended, and another sequence of places than it had.
        let done = self.row.latencies.len() / threads;
        let mut rng = Rng::for_stream(done, u64::from(self.thread));
        let mut block = vec![0; self.row.bytes];
        for chunk in block.chunks_mut(8) {
            chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
        }
        let mut latencies = latencies();
        let begun = Instant::now();
        for next in done.. {
            let place = match self.row.shape {
                Shape::Random => rng.below(blocks),
                _ => next % blocks,
            };
            block[..8].copy_from_slice(&next.to_le_bytes());
            let before = Instant::now();
            self.file
                .write_all_at_durably(from + place * bytes, &block)?;
            latencies.saturating_record(nanos(before.elapsed()));
            if begun.elapsed() >= turn {
                break;
            }
        }
        Ok(latencies)
    }
}
