//! Clients that commit: threads that put a row each time, durably, as fast as they are answered (a closed loop).

use super::calibrate::{latencies, nanos};
use crate::rng::Rng;
use afterimage::{Database, Stats, Table};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Rows in the table, written before anything is measured.
pub const ROWS: u64 = 100_000;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;
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
    /// The engine's counters at its begin.
    pub before: Stats,
    /// And at its end.
    pub after: Stats,
}

/// Runs `clients` threads: warm-up, then `length` counted.
pub fn run(
    db: &Database,
    table: &Table,
    clients: u32,
    length: Duration,
    seed: u64,
) -> afterimage::Result<Counted> {
    let phase = AtomicU8::new(WARMING);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let phase = &phase;
                scope.spawn(move || {
                    commit_until_over(db, table, Rng::for_stream(seed, u64::from(client)), phase)
                })
            })
            .collect();
        thread::sleep(WARM_UP);
        let before = db.stats();
        let start = Instant::now();
        phase.store(COUNTED, Ordering::Relaxed);
        thread::sleep(length);
        phase.store(OVER, Ordering::Relaxed);
        let length = start.elapsed();
        let after = db.stats();
        let mut all = latencies();
        for thread in threads {
            let one = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.add(one).expect("all histograms have the same bounds");
        }
        Ok(Counted {
            length,
            latencies: all,
            before,
            after,
        })
    })
}

fn commit_until_over(
    db: &Database,
    table: &Table,
    mut rng: Rng,
    phase: &AtomicU8,
) -> afterimage::Result<Histogram<u64>> {
    let mut latencies = latencies();
    loop {
        let (key, value) = (key(rng.below(ROWS)), value(&mut rng));
        let start = Instant::now();
        db.put(table, &key, &value)?;
        match phase.load(Ordering::Relaxed) {
            COUNTED => latencies.saturating_record(nanos(start.elapsed())),
            OVER => return Ok(latencies),
            _ => {}
        }
    }
}
