//! The surge: commits that come at intended times, whatever the engine does, first at a base rate and then at fifty times that.
//!
//! A latency counts from the intended time, so that a stall is paid by everybody who would have come during it. What is
//! still waiting at the end is waited for a while, then counted as never served.

use crate::load::{self, Load, Subject, latencies};
use crate::plan::{SURGE_TIMES, StorePlan};
use crate::{Result, Values, median};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long those who wait at the end are still served, in seconds.
const GRACE: u64 = 5;

/// When each commit is meant to begin.
struct Schedule {
    calm_s: f64,
    surge_s: f64,
    base: f64,
    high: f64,
}

impl Schedule {
    /// The intended beginning of a commit, in seconds from the start; none where there is none so late.
    fn at(&self, number: u64) -> Option<f64> {
        let number = number as f64;
        let (before, during) = (self.calm_s * self.base, self.surge_s * self.high);
        if number < before {
            Some(number / self.base)
        } else if number < before + during {
            Some(self.calm_s + (number - before) / self.high)
        } else {
            let after = (number - before - during) / self.base;
            (after < self.calm_s).then_some(self.calm_s + self.surge_s + after)
        }
    }

    fn surging(&self, at: f64) -> bool {
        (self.calm_s..self.calm_s + self.surge_s).contains(&at)
    }

    fn length(&self) -> f64 {
        2.0 * self.calm_s + self.surge_s
    }
}

/// What all threads share.
struct Shared {
    next: AtomicU64,
    seconds: Vec<AtomicU64>,
    unserved: AtomicU64,
    surge: Mutex<Histogram<u64>>,
    error: Mutex<Option<String>>,
}

/// Finds out what the engine can do, runs the surge at its share of that, and says what it came to.
pub fn run(subject: &dyn Subject, plan: &StorePlan) -> Result<Values> {
    // Here and now: a machine is not as fast at one hour as at another. And not from the first second on: the rate before pages
    // go home, or tables are merged, is not one that can be kept up.
    let flat_out = Load {
        threads: plan.surge_threads,
        in_flight: 1,
        warm_up: Duration::from_secs(plan.surge_warm_up_s),
        measure: Duration::from_secs(plan.surge_own_s),
    };
    let own = load::run(subject, &flat_out, None)?;
    let own = own.get("per_s").copied().ok_or("nothing was done")?;
    let high = own * plan.surge_share;
    let schedule = Schedule {
        calm_s: plan.surge_calm_s as f64,
        surge_s: plan.surge_s as f64,
        base: high / SURGE_TIMES,
        high,
    };
    let length = schedule.length() as usize + GRACE as usize;
    let shared = Shared {
        next: AtomicU64::new(0),
        seconds: (0..=length).map(|_| AtomicU64::new(0)).collect(),
        unserved: AtomicU64::new(0),
        surge: Mutex::new(latencies()?),
        error: Mutex::new(None),
    };
    let before = subject.counted()?;
    let ready = Barrier::new(plan.surge_threads);
    let start = Mutex::new(None);
    std::thread::scope(|scope| {
        for thread in 0..plan.surge_threads {
            let (shared, schedule, ready, start) = (&shared, &schedule, &ready, &start);
            scope.spawn(move || {
                if let Err(error) = serve(subject, thread, schedule, shared, ready, start) {
                    let mut first = shared.error.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(error.to_string());
                }
            });
        }
    });
    let after = subject.counted()?;
    let error = shared.error.into_inner();
    if let Some(error) = error.unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let surge = shared.surge.into_inner();
    let surge = surge.unwrap_or_else(PoisonError::into_inner);
    let seconds: Vec<f64> = shared
        .seconds
        .iter()
        .map(|count| count.load(Ordering::Relaxed) as f64)
        .collect();
    let micros = |part| surge.value_at_quantile(part) as f64 / 1e3;
    let mut values = Values::from([
        ("own_per_s".into(), own),
        ("offered_per_s".into(), high),
        ("p50_us".into(), micros(0.5)),
        ("p99_us".into(), micros(0.99)),
        ("p999_us".into(), micros(0.999)),
        ("max_us".into(), surge.max() as f64 / 1e3),
        (
            "unserved".into(),
            shared.unserved.load(Ordering::Relaxed) as f64,
        ),
    ]);
    let surging: Vec<f64> = (0..seconds.len())
        .filter(|second| schedule.surging(*second as f64))
        .map(|second| seconds[second])
        .collect();
    let middle = median(&surging);
    let worst = surging.iter().copied().fold(f64::MAX, f64::min);
    values.insert("median_second".into(), middle);
    values.insert("worst_second".into(), worst);
    values.insert("worst_share".into(), worst / middle);
    for (second, count) in seconds.iter().enumerate() {
        values.insert(format!("second_{second:04}"), *count);
    }
    for (name, now) in after {
        if name.starts_with("most_") {
            values.insert(name, now);
            continue;
        }
        let counted = now - before.get(&name).copied().unwrap_or(0.0);
        values.insert(format!("{name}_in_all"), counted);
    }
    Ok(values)
}

fn serve(
    subject: &dyn Subject,
    thread: usize,
    schedule: &Schedule,
    shared: &Shared,
    ready: &Barrier,
    start: &Mutex<Option<Instant>>,
) -> Result<()> {
    let client = subject.client(thread);
    ready.wait();
    let mut client = client?;
    let start = {
        let mut start = start.lock().unwrap_or_else(PoisonError::into_inner);
        *start.get_or_insert_with(Instant::now)
    };
    let end = schedule.length() + GRACE as f64;
    let mut surge = latencies()?;
    while let Some(at) = schedule.at(shared.next.fetch_add(1, Ordering::Relaxed)) {
        if start.elapsed().as_secs_f64() > end {
            shared.unserved.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let intended = start + Duration::from_secs_f64(at);
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        client.once()?;
        let took = intended.elapsed();
        if schedule.surging(at) {
            surge.saturating_record(u64::try_from(took.as_nanos())?);
        }
        let second = start.elapsed().as_secs() as usize;
        if let Some(count) = shared.seconds.get(second) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut all = shared.surge.lock().unwrap_or_else(PoisonError::into_inner);
    all.add(&surge)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_surges_in_the_middle() {
        let schedule = Schedule {
            calm_s: 10.0,
            surge_s: 20.0,
            base: 2.0,
            high: 100.0,
        };
        assert_eq!(schedule.at(0), Some(0.0));
        assert_eq!(schedule.at(20), Some(10.0));
        assert_eq!(schedule.at(20 + 1000), Some(20.0));
        assert_eq!(schedule.at(20 + 2000), Some(30.0));
        assert_eq!(schedule.at(20 + 2000 + 19), Some(39.5));
        assert_eq!(schedule.at(20 + 2000 + 20), None);
        assert!(schedule.surging(10.0) && !schedule.surging(30.0));
    }
}
