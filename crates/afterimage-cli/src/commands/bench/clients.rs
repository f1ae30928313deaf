//! Clients that commit: threads that put a row each time, durably, as fast as they are answered (a closed loop).

use crate::failure::Failure;
use crate::latency::{latencies, nanos};
use crate::open::{from_engine, from_log};
use crate::rng::Rng;
use afterimage::{Database, Table};
use afterimage_log::Wal;
use hdrhistogram::Histogram;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Rows in the table, written before anything is measured.
pub const ROWS: u64 = 100_000;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;
/// Bytes of a record, where the log is measured alone.
pub const RECORD_BYTES: usize = 128;
/// What is done but not counted, so that the counted part starts in the steady state.
const WARM_UP: Duration = Duration::from_secs(1);

const WARMING: u8 = 0;
const COUNTED: u8 = 1;
const OVER: u8 = 2;

/// The key of a row: 16 bytes.
pub fn key(row: u64) -> [u8; 16] {
    let mut key = *b"key-000000000000";
    let digits = format!("{row:012}");
    key[4..].copy_from_slice(digits.as_bytes());
    key
}

/// A random value of [`VALUE_BYTES`].
pub fn value(rng: &mut Rng) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    for chunk in value.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
    }
    value
}

/// What the clients came to, in the counted time.
pub struct Counted {
    /// How long that was.
    pub length: Duration,
    /// One latency a commit.
    pub latencies: Histogram<u64>,
    /// What the subject had counted at its begin.
    pub before: Counters,
    /// And at its end.
    pub after: Counters,
}

/// What is measured.
pub enum Subject {
    /// Autocommit puts into a table.
    Engine(Database, Table),
    /// Appends to a log that is nothing else.
    Log(Wal),
}

/// What the subject counts about itself.
pub struct Counters {
    pub commits: u64,
    pub wal_syncs: u64,
    pub wal_bytes: u64,
}

impl Subject {
    /// One durable commit.
    fn commit(&self, row: u64, value: &[u8]) -> Result<(), Failure> {
        match self {
            Subject::Engine(db, table) => db
                .put(table, &key(row), value)
                .map_err(|e| from_engine(e, Path::new("the database"))),
            Subject::Log(wal) => {
                let mut record = [0; RECORD_BYTES];
                record[..16].copy_from_slice(&key(row));
                record[16..16 + value.len()].copy_from_slice(value);
                let appended = wal.append(&record).and_then(|ticket| ticket.wait());
                appended.map_err(|e| from_log(e, Path::new("the log")))
            }
        }
    }

    fn counters(&self) -> Counters {
        match self {
            Subject::Engine(db, _) => {
                let stats = db.stats();
                Counters {
                    commits: stats.commits,
                    wal_syncs: stats.wal_syncs,
                    wal_bytes: stats.wal_bytes,
                }
            }
            Subject::Log(wal) => {
                let stats = wal.stats();
                Counters {
                    commits: stats.records,
                    wal_syncs: stats.syncs,
                    wal_bytes: stats.bytes,
                }
            }
        }
    }

    /// A log grows until it is told what is not needed any more; an engine tells its log by itself.
    fn keep_small(&self) -> Result<(), Failure> {
        if let Subject::Log(wal) = self {
            let given_up = wal.truncate_before(wal.durable_lsn());
            given_up.map_err(|e| from_log(e, Path::new("the log")))?;
        }
        Ok(())
    }
}

/// Runs `clients` threads: warm-up, then `length` counted.
pub fn run(
    subject: &Subject,
    clients: u32,
    length: Duration,
    seed: u64,
) -> Result<Counted, Failure> {
    let phase = AtomicU8::new(WARMING);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let phase = &phase;
                scope.spawn(move || {
                    commit_until_over(subject, Rng::for_stream(seed, u64::from(client)), phase)
                })
            })
            .collect();
        let warmed = rest(subject, WARM_UP);
        let before = subject.counters();
        let start = Instant::now();
        phase.store(COUNTED, Ordering::Relaxed);
        let rested = rest(subject, length);
        phase.store(OVER, Ordering::Relaxed);
        let length = start.elapsed();
        let after = subject.counters();
        let mut all = latencies();
        for thread in threads {
            let one = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.add(one).expect("all histograms have the same bounds");
        }
        warmed.and(rested).map(|()| Counted {
            length,
            latencies: all,
            before,
            after,
        })
    })
}

/// Lets the clients work.
fn rest(subject: &Subject, length: Duration) -> Result<(), Failure> {
    let until = Instant::now() + length;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::sleep(left.min(Duration::from_millis(100)));
        subject.keep_small()?;
    }
    Ok(())
}

fn commit_until_over(
    subject: &Subject,
    mut rng: Rng,
    phase: &AtomicU8,
) -> Result<Histogram<u64>, Failure> {
    let mut latencies = latencies();
    loop {
        let (row, value) = (rng.below(ROWS), value(&mut rng));
        let start = Instant::now();
        subject.commit(row, &value)?;
        match phase.load(Ordering::Relaxed) {
            COUNTED => latencies.saturating_record(nanos(start.elapsed())),
            OVER => return Ok(latencies),
            _ => {}
        }
    }
}
