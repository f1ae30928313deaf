//! The load: threads in a closed loop, each with its next operation as soon as the last one is done.
//!
//! After the warm-up a window is counted: operations that were finished in it, with their latencies, the device's counters
//! and the process's CPU time at both of its ends.

use crate::device::{self, Counters, Device};
use crate::{Result, Values, machine};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the subject is tended.
const TEND: Duration = Duration::from_millis(100);

/// What a load is done to.
pub trait Subject: Sync {
    /// What one thread works through.
    fn client(&self, thread: usize) -> Result<Box<dyn Client + '_>>;

    /// What it counts itself, by name; the window's share of each is told per operation.
    fn counted(&self) -> Result<Values> {
        Ok(Values::new())
    }

    /// What is to be done about ten times a second meanwhile.
    fn tend(&self) -> Result<()> {
        Ok(())
    }
}

/// One thread's way to work.
pub trait Client {
    /// One operation, from its beginning until it is done; how often it had to begin anew.
    fn once(&mut self) -> Result<u64>;

    /// Begins one operation.
    fn start(&mut self) -> Result<()> {
        Err("no tickets".into())
    }

    /// Waits until the oldest one is done.
    fn finish(&mut self) -> Result<()> {
        Err("no tickets".into())
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Threads.
    pub threads: usize,
    /// Operations that each has under way.
    pub in_flight: usize,
    /// How long it runs before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub measure: Duration,
}

/// What all threads look at.
struct Shared {
    phase: AtomicU8,
    counts: Vec<AtomicU64>,
    retries: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
    error: Mutex<Option<String>>,
}

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// Runs the load, and says what it came to.
pub fn run(subject: &dyn Subject, load: &Load, device: Option<&Device>) -> Result<Values> {
    let shared = Shared {
        phase: AtomicU8::new(WARMING),
        retries: AtomicU64::new(0),
        counts: (0..load.threads).map(|_| AtomicU64::new(0)).collect(),
        latencies: Mutex::new(latencies()?),
        error: Mutex::new(None),
    };
    let ready = Barrier::new(load.threads + 1);
    let window = std::thread::scope(|scope| {
        for thread in 0..load.threads {
            let (shared, ready) = (&shared, &ready);
            scope.spawn(move || {
                let done = client(subject, thread, load, shared, ready);
                note(shared, done);
            });
        }
        scope.spawn(|| tend(subject, &shared));
        ready.wait();
        sleep_unless_failed(load.warm_up, &shared);
        let before = Look::now(subject, &shared, device);
        shared.phase.store(COUNTING, Ordering::SeqCst);
        sleep_unless_failed(load.measure, &shared);
        let after = Look::now(subject, &shared, device);
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
        std::thread::sleep((length - begun.elapsed().min(length)).min(TEND));
    }
}

fn tend(subject: &dyn Subject, shared: &Shared) {
    while shared.phase.load(Ordering::SeqCst) != OVER {
        note(shared, subject.tend());
        std::thread::sleep(TEND);
    }
}

fn client(
    subject: &dyn Subject,
    thread: usize,
    load: &Load,
    shared: &Shared,
    ready: &Barrier,
) -> Result<()> {
    let client = subject.client(thread);
    ready.wait();
    let mut client = client?;
    let mut latencies = latencies()?;
    let mut begun = VecDeque::with_capacity(load.in_flight);
    loop {
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == OVER {
            break;
        }
        let start = Instant::now();
        let took = if load.in_flight > 1 {
            client.start()?;
            begun.push_back(start);
            if begun.len() < load.in_flight {
                continue;
            }
            finish(client.as_mut(), &mut begun)?
        } else {
            let retries = client.once()?;
            if retries > 0 {
                shared.retries.fetch_add(retries, Ordering::Relaxed);
            }
            start.elapsed()
        };
        shared.counts[thread].fetch_add(1, Ordering::Relaxed);
        if phase == COUNTING {
            latencies.saturating_record(u64::try_from(took.as_nanos())?);
        }
    }
    while !begun.is_empty() {
        finish(client.as_mut(), &mut begun)?;
    }
    let mut all = shared
        .latencies
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    all.add(&latencies)?;
    Ok(())
}

fn finish(client: &mut dyn Client, begun: &mut VecDeque<Instant>) -> Result<Duration> {
    client.finish()?;
    let start = begun.pop_front().ok_or("nothing is under way")?;
    Ok(start.elapsed())
}

/// One end of the window.
struct Look {
    at: Instant,
    done: u64,
    retries: u64,
    cpu: f64,
    machine_cpu: f64,
    device: Option<Counters>,
    counted: Values,
}

impl Look {
    fn now(subject: &dyn Subject, shared: &Shared, device: Option<&Device>) -> Look {
        Look {
            retries: shared.retries.load(Ordering::Relaxed),
            done: shared
                .counts
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .sum(),
            device: device.and_then(Device::counters),
            cpu: cpu(),
            machine_cpu: machine::busy(),
            counted: subject.counted().unwrap_or_default(),
            at: Instant::now(),
        }
    }
}

fn values(before: &Look, after: &Look, latencies: &Histogram<u64>) -> Values {
    let seconds = (after.at - before.at).as_secs_f64();
    let done = (after.done - before.done) as f64;
    let micros = |part| latencies.value_at_quantile(part) as f64 / 1e3;
    let mut values = Values::from([
        ("per_s".into(), done / seconds),
        ("p50_us".into(), micros(0.5)),
        ("p99_us".into(), micros(0.99)),
        ("p999_us".into(), micros(0.999)),
        ("max_us".into(), latencies.max() as f64 / 1e3),
        ("cpu_us".into(), (after.cpu - before.cpu) * 1e6 / done),
    ]);
    let retries = (after.retries - before.retries) as f64;
    values.insert("retries_each".into(), retries / done);
    let others = (after.machine_cpu - before.machine_cpu) - (after.cpu - before.cpu);
    values.insert("others_cpus".into(), others.max(0.0) / seconds);
    for (name, now) in &after.counted {
        let counted = now - before.counted.get(name).copied().unwrap_or(0.0);
        values.insert(format!("{name}_each"), counted / done);
    }
    if let Some(counted) = device::between(before.device, after.device) {
        values.insert("flushes_each".into(), counted.flushes as f64 / done);
        values.insert("device_bytes_each".into(), counted.written as f64 / done);
    }
    values
}

/// CPU time of this process so far, in seconds.
pub fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

pub fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}
