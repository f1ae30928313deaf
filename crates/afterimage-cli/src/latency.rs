//! Latencies, counted: one histogram form for everything that is measured, and what is asked of it.

use hdrhistogram::Histogram;
use std::time::Duration;

/// An empty histogram of latencies in nanoseconds: up to a minute, three significant digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .expect("the bounds are constants that the histogram takes")
}

/// A latency as the histogram takes it.
pub fn nanos(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

/// The latency that `part` of all do not exceed.
pub fn quantile(latencies: &Histogram<u64>, part: f64) -> Duration {
    Duration::from_nanos(latencies.value_at_quantile(part))
}
