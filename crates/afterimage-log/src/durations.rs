//! How long things take: waits, syncs, commits, checkpoints, each kind as a histogram of plain counters.
//!
//! Who is counted pays two looks at the clock and five additions. The buckets are fixed: four in each doubling of the time,
//! so that what is told is at most an eighth off (below eight microseconds: one of them), and histograms of several threads, or of two moments, add and subtract.

use std::time::Duration;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};

/// Buckets of equal width in each doubling of the time.
const PARTS: u64 = 4;
/// From a microsecond to 2^36 of them, 19 hours.
const BUCKETS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 140 };

/// Off only where it is measured what counting costs: `cargo xtask cost`.
const COUNTED: bool = !cfg!(unmeasured);
/// Whether those under way are counted too; models have enough orders to look at.
const COUNTS_UNDER_WAY: bool = !cfg!(any(loom, shuttle));

/// Durations of one kind, counted; told as a [`Histogram`].
#[derive(Debug)]
pub struct Durations {
    under_way: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

impl Default for Durations {
    fn default() -> Durations {
        Durations {
            under_way: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            nanos: AtomicU64::new(0),
            longest_nanos: AtomicU64::new(0),
        }
    }
}

impl Durations {
    /// Does what takes time, and counts how long it took; meanwhile it is [under way](Durations::under_way). After a panic it stays so.
    pub fn during<R>(&self, io: &Io, work: impl FnOnce() -> R) -> R {
        if !COUNTED {
            return work();
        }
        if COUNTS_UNDER_WAY {
            self.under_way.fetch_add(1, Ordering::Relaxed);
        }
        let began = io.now();
        let result = work();
        self.add(io.now().saturating_sub(began));
        if COUNTS_UNDER_WAY {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    /// How many have begun and not ended: what the histogram will count, however long that takes.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Counts one that took so long.
    pub fn add(&self, took: Duration) {
        if !COUNTED {
            return;
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // A look first: nearly never is one the longest.
        if nanos > self.longest_nanos.load(Ordering::Relaxed) {
            self.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        // Last: whoever sees it counted sees how long it was.
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Release);
    }

    /// None took longer.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_nanos.load(Ordering::Relaxed))
    }

    /// What all of these come to together.
    pub fn told<'a>(all: impl IntoIterator<Item = &'a Durations>) -> Histogram {
        let mut sum = Histogram::default();
        for one in all {
            let counts = one.buckets.iter().map(|n| n.load(Ordering::Acquire));
            for (bucket, count) in counts.enumerate() {
                sum.put(bucket, count);
            }
            let nanos = one.nanos.load(Ordering::Relaxed);
            sum.nanos = sum.nanos.saturating_add(nanos);
            let longest = one.longest_nanos.load(Ordering::Relaxed);
            sum.longest_nanos = sum.longest_nanos.max(longest);
        }
        sum
    }
}

/// Durations of one kind: how many there were, how long they took in all, the longest, and how they are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket; none behind the last that counts something.
    counts: Vec<u64>,
    nanos: u64,
    longest_nanos: u64,
}

impl Histogram {
    fn put(&mut self, bucket: usize, count: u64) {
        if count == 0 {
            return;
        }
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        let sum = |sum: u64, n: &u64| sum.saturating_add(*n);
        self.counts.iter().fold(0, sum)
    }

    /// How long in all.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// None took longer.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.longest_nanos)
    }

    /// The mean; zero where there are none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.nanos / self.count().max(1))
    }

    /// So many of a thousand took no longer, to an eighth or a microsecond; 500 asks for the middle one. Zero where there are none.
    #[must_use]
    pub fn permille(&self, permille: u64) -> Duration {
        let count = u128::from(self.count());
        let mut left = (count * u128::from(permille)).div_ceil(1000).max(1);
        for (bucket, in_bucket) in self.counts.iter().enumerate() {
            left = left.saturating_sub(u128::from(*in_bucket));
            if left == 0 {
                let middle = Duration::from_micros(middle(bucket));
                return middle.min(self.max());
            }
        }
        Duration::ZERO
    }

    /// The buckets that count something: the longest time that is in it, in microseconds, and how many are. The last bucket there is has no
    /// longest, and says `u64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (upper(bucket), *count))
    }

    /// How many took no longer than this power of two, in microseconds. Exact, because a bucket ends there.
    #[must_use]
    pub fn within_micros(&self, power_of_two: u64) -> u64 {
        debug_assert!(power_of_two.is_power_of_two());
        let within = self.buckets().filter(|(upper, _)| *upper <= power_of_two);
        within.map(|(_, count)| count).sum()
    }

    /// What has come since `earlier`, a look at the same durations. The longest is that of all, unless the buckets say that it was
    /// before.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut since = Histogram {
            nanos: self.nanos.saturating_sub(earlier.nanos),
            ..Histogram::default()
        };
        for (bucket, count) in self.counts.iter().enumerate() {
            let before = earlier.counts.get(bucket).copied().unwrap_or(0);
            since.put(bucket, count.saturating_sub(before));
        }
        let last = since.counts.len().checked_sub(1);
        let most = last.map_or(0, |last| upper(last).saturating_mul(1000));
        since.longest_nanos = self.longest_nanos.min(most);
        since
    }

    /// In one line of words, for a file.
    #[must_use]
    pub fn to_words(&self) -> String {
        use std::fmt::Write as _;
        let mut words = format!("{} {}", self.nanos, self.longest_nanos);
        let counts = self.counts.iter().enumerate();
        for (bucket, count) in counts.filter(|(_, count)| **count > 0) {
            let _ = write!(words, " {bucket}:{count}");
        }
        words
    }

    /// What [`to_words`](Histogram::to_words) has written; `None` for anything else.
    #[must_use]
    pub fn from_words(words: &str) -> Option<Histogram> {
        let mut words = words.split(' ');
        let mut histogram = Histogram {
            nanos: words.next()?.parse().ok()?,
            longest_nanos: words.next()?.parse().ok()?,
            ..Histogram::default()
        };
        for word in words {
            let (bucket, count) = word.split_once(':')?;
            let bucket: usize = bucket.parse().ok()?;
            if bucket >= BUCKETS {
                return None;
            }
            histogram.put(bucket, count.parse().ok()?);
        }
        Some(histogram)
    }
}

/// The first [`PARTS`] buckets are for single microseconds, then each doubling has as many. A bucket holds what is longer than the
/// one before it, up to its own end.
fn bucket(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1000).saturating_sub(1);
    if micros < PARTS {
        return (micros as usize).min(BUCKETS - 1);
    }
    let doubling = u64::from(micros.ilog2() - PARTS.ilog2());
    let part = (micros >> doubling) - PARTS;
    (((doubling + 1) * PARTS + part) as usize).min(BUCKETS - 1)
}

/// Where a bucket begins, and how wide it is, in microseconds.
fn place(bucket: usize) -> (u64, u64) {
    let (doubling, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match doubling {
        0 => (part, 1),
        _ => ((PARTS + part) << (doubling - 1), 1 << (doubling - 1)),
    }
}

/// The longest time that a bucket holds, in microseconds.
fn upper(bucket: usize) -> u64 {
    if bucket + 1 == BUCKETS {
        return u64::MAX;
    }
    let (from, width) = place(bucket);
    from + width
}

/// The middle of a bucket, in microseconds, rounded up.
fn middle(bucket: usize) -> u64 {
    let (from, width) = place(bucket);
    from + width.div_ceil(2)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_an_eighth_wide_on_either_side_and_ends_where_it_says() {
        let mut before = 0;
        let all = (1..100_000_u64).chain((17..36).map(|n| (1 << n) - 1));
        for micros in all {
            let found = bucket(micros * 1000);
            assert!(found == before || found == before + 1 || micros > 99_999);
            before = found;
            let off = middle(found).abs_diff(micros);
            assert!(off * 8 <= micros, "{micros}: {}", middle(found));
            assert!(upper(found) >= micros);
            assert!(found == 0 || upper(found - 1) < micros);
            // A moment longer than the bucket's end is in the next one.
            assert_eq!(bucket(upper(found) * 1000), found);
            assert_eq!(bucket(upper(found) * 1000 + 1), found + 1);
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_told_is_what_was() {
        let (a, b) = (Durations::default(), Durations::default());
        assert_eq!(Durations::told([&a, &b]), Histogram::default());
        assert_eq!(Histogram::default().permille(990), Duration::ZERO);
        for n in 0..990 {
            let durations = if n % 2 == 0 { &a } else { &b };
            durations.add(Duration::from_micros(100));
        }
        for _ in 0..10 {
            b.add(Duration::from_millis(50));
        }
        let told = Durations::told([&a, &b]);
        assert_eq!(told.count(), 1000);
        assert_eq!(told.total(), Duration::from_millis(99 + 500));
        let micros = |permille| told.permille(permille).as_micros() as u64;
        assert!(micros(500).abs_diff(100) < 13, "{told:?}");
        assert!(micros(990).abs_diff(100) < 13, "{told:?}");
        assert!(micros(991).abs_diff(50_000) < 6300, "{told:?}");
        assert_eq!(told.max(), Duration::from_millis(50));
        assert_eq!(told.within_micros(64), 0);
        assert_eq!(told.within_micros(128), 990);
        assert_eq!(told.within_micros(1 << 16), 1000);
        assert_eq!(told.buckets().map(|(_, n)| n).sum::<u64>(), 1000);
    }

    #[test]
    fn what_has_not_ended_is_under_way() {
        let (io, durations) = (afterimage_io::sim::Sim::new(1).io(), Durations::default());
        assert_eq!(durations.under_way(), 0);
        durations.during(&io, || {
            durations.during(&io, || assert_eq!(durations.under_way(), 2));
            assert_eq!(durations.under_way(), 1);
            assert_eq!(Durations::told([&durations]).count(), 1);
        });
        assert_eq!(durations.under_way(), 0);
    }

    #[test]
    fn what_came_since_is_told_alone_and_words_come_back() {
        let durations = Durations::default();
        durations.add(Duration::from_secs(3));
        let before = Durations::told([&durations]);
        durations.add(Duration::from_micros(7));
        durations.add(Duration::from_micros(900));
        let after = Durations::told([&durations]);
        let since = after.since(&before);
        assert_eq!(since.count(), 2);
        assert_eq!(since.total(), Duration::from_micros(907));
        assert!(since.max() < Duration::from_millis(2), "{since:?}");
        for histogram in [Histogram::default(), before, after, since] {
            let words = histogram.to_words();
            assert_eq!(Histogram::from_words(&words), Some(histogram), "{words}");
        }
        for wrong in ["", "1", "1 2 3", "1 2 140:1", "1 2 3:x", "a b"] {
            assert_eq!(Histogram::from_words(wrong), None, "{wrong}");
        }
    }
}
