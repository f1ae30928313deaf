//! The load: threads in a closed loop, each with its next record as soon as the last one is durable.
//!
//! After the warm-up a window is counted: appends that were finished in it, with their latencies, the device's counters
//! and the process's CPU time at both of its ends.

use crate::device::{self, Counters, Device};
use crate::engines::{Engine, Writer};
use crate::{Result, Values, machine};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the oldest log is given up.
const PURGE: Duration = Duration::from_millis(100);

/// What is done to an engine.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Threads.
    pub threads: usize,
    /// Appends that each has under way.
    pub in_flight: usize,
    /// Bytes of a record.
    pub bytes: usize,
    /// How long it runs before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What all threads look at.
struct Shared {
    phase: AtomicU8,
    counts: Vec<AtomicU64>,
    latencies: Mutex<Histogram<u64>>,
    error: Mutex<Option<String>>,
}

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// Runs the load, and says what it came to.
pub fn run(engine: &dyn Engine, load: &Load, device: Option<&Device>) -> Result<Values> {
    let shared = Shared {
        phase: AtomicU8::new(WARMING),
        counts: (0..load.threads).map(|_| AtomicU64::new(0)).collect(),
        latencies: Mutex::new(latencies()?),
        error: Mutex::new(None),
    };
    let ready = Barrier::new(load.threads + 1);
    let window = std::thread::scope(|scope| {
        for thread in 0..load.threads {
            let (shared, ready) = (&shared, &ready);
            scope.spawn(move || {
                let done = client(engine, thread, load, shared, ready);
                note(shared, done);
            });
        }
        scope.spawn(|| purge(engine, &shared));
        ready.wait();
        sleep_unless_failed(load.warm_up, &shared);
        let before = Look::now(&shared, device);
        shared.phase.store(COUNTING, Ordering::SeqCst);
        sleep_unless_failed(load.measure, &shared);
        let after = Look::now(&shared, device);
        shared.phase.store(OVER, Ordering::SeqCst);
        (before, after)
    });
    let failed = shared
        .error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let latencies = shared
        .latencies
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(values(&window.0, &window.1, &latencies))
}

fn note(shared: &Shared, done: Result<()>) {
    if let Err(error) = done {
        let mut first = shared.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error.to_string());
        shared.phase.store(OVER, Ordering::SeqCst);
    }
}

fn sleep_unless_failed(length: Duration, shared: &Shared) {
    let begun = Instant::now();
    while shared.phase.load(Ordering::SeqCst) != OVER && begun.elapsed() < length {
        std::thread::sleep((length - begun.elapsed().min(length)).min(PURGE));
    }
}

fn purge(engine: &dyn Engine, shared: &Shared) {
    while shared.phase.load(Ordering::SeqCst) != OVER {
        note(shared, engine.purge());
        std::thread::sleep(PURGE);
    }
}

fn client(
    engine: &dyn Engine,
    thread: usize,
    load: &Load,
    shared: &Shared,
    ready: &Barrier,
) -> Result<()> {
    let writer = engine.writer(thread);
    ready.wait();
    let mut writer = writer?;
    let mut record = Record::new(load.bytes, thread as u64);
    let mut latencies = latencies()?;
    let mut begun = VecDeque::with_capacity(load.in_flight);
    loop {
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == OVER {
            break;
        }
        let start = Instant::now();
        let took = if load.in_flight > 1 {
            writer.start(record.next())?;
            begun.push_back(start);
            if begun.len() < load.in_flight {
                continue;
            }
            finish(writer.as_mut(), &mut begun)?
        } else {
            writer.append(record.next(), true)?;
            start.elapsed()
        };
        shared.counts[thread].fetch_add(1, Ordering::Relaxed);
        if phase == COUNTING {
            latencies.saturating_record(u64::try_from(took.as_nanos())?);
        }
    }
    while !begun.is_empty() {
        finish(writer.as_mut(), &mut begun)?;
    }
    let mut all = shared
        .latencies
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    all.add(&latencies)?;
    Ok(())
}

fn finish(writer: &mut dyn Writer, begun: &mut VecDeque<Instant>) -> Result<Duration> {
    writer.finish()?;
    let start = begun.pop_front().ok_or("nothing is under way")?;
    Ok(start.elapsed())
}

/// Appends without waiting for the disk until `bytes` are appended or `longest` has passed, then waits for all of it.
pub fn stream(
    engine: &dyn Engine,
    record_bytes: usize,
    bytes: u64,
    longest: Duration,
) -> Result<Values> {
    let mut writer = engine.writer(0)?;
    let mut record = Record::new(record_bytes, 0);
    let (begun, cpu) = (Instant::now(), cpu());
    let mut appended = 0;
    while appended < bytes {
        // The clock is asked once in a hundred records: it costs as much as an append.
        for _ in 0..100 {
            writer.append(record.next(), false)?;
            appended += record_bytes as u64;
        }
        if begun.elapsed() > longest {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu_took = self::cpu() - cpu;
    writer.append(record.next(), true)?;
    let records = appended as f64 / record_bytes as f64;
    Ok(Values::from([
        ("mb_per_s".into(), appended as f64 / took / 1e6),
        (
            "mb_per_s_synced".into(),
            appended as f64 / begun.elapsed().as_secs_f64() / 1e6,
        ),
        ("appends_per_s".into(), records / took),
        ("cpu_us".into(), cpu_took * 1e6 / records),
        ("appended_mb".into(), appended as f64 / 1e6),
    ]))
}

/// One end of the window.
struct Look {
    at: Instant,
    appends: u64,
    cpu: f64,
    machine_cpu: f64,
    device: Option<Counters>,
}

impl Look {
    fn now(shared: &Shared, device: Option<&Device>) -> Look {
        Look {
            appends: shared
                .counts
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .sum(),
            device: device.and_then(Device::counters),
            cpu: cpu(),
            machine_cpu: machine::busy(),
            at: Instant::now(),
        }
    }
}

fn values(before: &Look, after: &Look, latencies: &Histogram<u64>) -> Values {
    let seconds = (after.at - before.at).as_secs_f64();
    let appends = (after.appends - before.appends) as f64;
    let micros = |part| latencies.value_at_quantile(part) as f64 / 1e3;
    let mut values = Values::from([
        ("appends_per_s".into(), appends / seconds),
        ("p50_us".into(), micros(0.5)),
        ("p99_us".into(), micros(0.99)),
        ("max_us".into(), latencies.max() as f64 / 1e3),
        ("cpu_us".into(), (after.cpu - before.cpu) * 1e6 / appends),
    ]);
    let others = (after.machine_cpu - before.machine_cpu) - (after.cpu - before.cpu);
    values.insert("others_cpus".into(), others.max(0.0) / seconds);
    if let Some(counted) = device::between(before.device, after.device) {
        values.insert(
            "flushes_per_append".into(),
            counted.flushes as f64 / appends,
        );
        values.insert(
            "device_bytes_per_append".into(),
            counted.written as f64 / appends,
        );
    }
    values
}

/// CPU time of this process so far, in seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Records that differ, of bytes that do not compress: a counter, then noise.
pub struct Record {
    bytes: Vec<u8>,
    next: u64,
}

impl Record {
    /// Records of `len` bytes, at least 8.
    pub fn new(len: usize, seed: u64) -> Record {
        let mut state = seed;
        let mut noise = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) & 0xFF) as u8
        };
        Record {
            bytes: (0..len.max(8)).map(|_| noise()).collect(),
            next: 0,
        }
    }

    /// The next one: its first 8 bytes count from 1, little endian.
    pub fn next(&mut self) -> &[u8] {
        self.next += 1;
        self.bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        &self.bytes
    }
}
