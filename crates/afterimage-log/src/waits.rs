//! Waits, told apart by their cause: how many there were and how long they took, as a histogram of plain counters.
//!
//! Who does not wait pays nothing; who does pays two looks at the clock and three additions.

use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};

use crate::units::micros;

/// Buckets of equal width in each doubling of the time: what is told is at most an eighth off.
const PARTS: u64 = 4;
/// From a microsecond to 2^36 of them, 19 hours.
const BUCKETS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 140 };

/// Waits of one cause, told in [`Waits`].
#[derive(Debug)]
pub struct WaitTimes {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

/// How many waits there were, how long they took in all, the middle one, the one that 1 in 100 exceeds, the longest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// How many.
    pub count: u64,
    /// How long in all, in microseconds.
    pub micros: u64,
    /// Half of them took no longer, to an eighth.
    pub p50_micros: u64,
    /// 99 of 100 took no longer, to an eighth.
    pub p99_micros: u64,
    /// None took longer.
    pub max_micros: u64,
}

impl Default for WaitTimes {
    fn default() -> WaitTimes {
        WaitTimes {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            nanos: AtomicU64::new(0),
            longest_nanos: AtomicU64::new(0),
        }
    }
}

impl WaitTimes {
    /// Does what has to be waited for, and counts how long it took.
    pub fn during<R>(&self, io: &Io, wait: impl FnOnce() -> R) -> R {
        let began = io.now();
        let result = wait();
        self.add(io.now().saturating_sub(began));
        result
    }

    /// Counts one that took so long.
    pub fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros(took))].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        // A look first: nearly never is one the longest.
        if nanos > self.longest_nanos.load(Ordering::Relaxed) {
            self.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// What all of these come to together.
    #[must_use]
    pub fn told(all: &[&WaitTimes]) -> Waits {
        let counts: Vec<u64> = (0..BUCKETS)
            .map(|bucket| {
                let of = |times: &&WaitTimes| times.buckets[bucket].load(Ordering::Relaxed);
                all.iter().map(of).sum()
            })
            .collect();
        let count: u64 = counts.iter().sum();
        let longest = all.iter().map(|t| t.longest_nanos.load(Ordering::Relaxed));
        let max_micros = longest.max().unwrap_or(0).div_ceil(1000);
        let nanos: u64 = all.iter().map(|t| t.nanos.load(Ordering::Relaxed)).sum();
        // The bucket in which the wait is that so many percent do not exceed.
        let percentile = |percent: u64| {
            let mut left = (count * percent).div_ceil(100);
            let found = counts.iter().position(|in_bucket| {
                left = left.saturating_sub(*in_bucket);
                left == 0
            });
            let bucket = if count == 0 { None } else { found };
            bucket.map_or(0, |bucket| middle(bucket).min(max_micros))
        };
        Waits {
            count,
            micros: nanos / 1000,
            p50_micros: percentile(50),
            p99_micros: percentile(99),
            max_micros,
        }
    }
}

/// The first [`PARTS`] buckets are for single microseconds, then each doubling has as many.
fn bucket(micros: u64) -> usize {
    if micros < PARTS {
        return (micros as usize).min(BUCKETS - 1);
    }
    let doubling = u64::from(micros.ilog2() - PARTS.ilog2());
    let part = (micros >> doubling) - PARTS;
    (((doubling + 1) * PARTS + part) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> u64 {
    let (doubling, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    if doubling == 0 {
        return part;
    }
    let width = 1 << (doubling - 1);
    (PARTS + part) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_an_eighth_wide_on_either_side() {
        let mut before = 0;
        for micros in (0..100_000).chain((17..36).map(|n| (1 << n) - 1)) {
            let found = bucket(micros);
            assert!(found == before || found == before + 1 || micros > 99_999);
            before = found;
            let middle = middle(found);
            assert!(middle.abs_diff(micros) * 8 <= micros, "{micros}: {middle}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_told_is_what_was() {
        let (a, b) = (WaitTimes::default(), WaitTimes::default());
        assert_eq!(WaitTimes::told(&[&a, &b]), Waits::default());
        for n in 0..990 {
            let times = if n % 2 == 0 { &a } else { &b };
            times.add(Duration::from_micros(100));
        }
        for _ in 0..10 {
            b.add(Duration::from_millis(50));
        }
        let waits = WaitTimes::told(&[&a, &b]);
        assert_eq!(waits.count, 1000);
        assert_eq!(waits.micros, 99_000 + 500_000);
        assert!(waits.p50_micros.abs_diff(100) < 13, "{waits:?}");
        assert!(waits.p99_micros.abs_diff(100) < 13, "{waits:?}");
        assert_eq!(waits.max_micros, 50_000);
        b.add(Duration::from_millis(50));
        let waits = WaitTimes::told(&[&a, &b]);
        assert!(waits.p99_micros.abs_diff(50_000) < 6300, "{waits:?}");
    }
}
