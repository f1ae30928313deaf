//! How fast pages go home, and how long a writer waits for them: arithmetic alone, reckoned from how much log there is since
//! the oldest change that is not home yet, its age.
//!
//! Pages are due up to a position in the log, the goal. It moves on with the log, by more or less than the log does: by
//! nearly nothing while the age is small, as fast at half of `max_wal_size`, faster beyond (the idea, and the exponent, are
//! InnoDB's). So the age settles near its target, nothing is written where nothing is logged, and what became dirty
//! at one moment is spread over the time that there is. Beside it a checkpoint by time has its pages home after
//! `checkpoint_completion_target` of `checkpoint_timeout`, at an even pace. Where `target_recovery_time` allows less log than
//! `max_wal_size`, pages and checkpoints go by that; who waits, and what is forced, goes by `max_wal_size` alone.
//!
//! ```text
//! age, in parts of max_wal_size   0 ........ 1/2 .. 9/16 ..... 13/16 ... 7/8 .. 15/16
//! the cleaner                     slower than  | faster than the log
//! first writes                                     wait: 0 ............. 50 ms
//! checkpoints                     every 1/8, sooner from 5/8   forced           and nobody goes on
//! ```

use std::time::Duration;

use super::Cause;
use crate::buffer::Haste;

/// The settings that say how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_wal_size: u64,
    /// Log that a recovery reads within `target_recovery_time`: the pace keeps to the smaller of the two.
    pub(crate) horizon: u64,
    pub(crate) checkpoint_timeout: Duration,
    /// In thousandths.
    pub(crate) completion_target: u64,
    /// Pages a second; `u64::MAX` for as many as there are.
    pub(crate) io_capacity: u64,
    pub(crate) io_capacity_max: u64,
}

impl Limits {
    /// What the pace keeps to.
    fn bound(&self) -> u64 {
        self.max_wal_size.min(self.horizon)
    }
}

/// Where things stand. All but the times are positions in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) now: Duration,
    /// The log's end.
    pub(crate) next: u64,
    /// The oldest recLSN; the log's end where no page is dirty.
    pub(crate) oldest: u64,
    /// The last checkpoint, its redo point, and how long ago it was.
    pub(crate) checkpoint: u64,
    pub(crate) redo: u64,
    pub(crate) since: Duration,
}

/// Pages that are due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Those with a recLSN below this.
    pub(crate) below: u64,
    /// No more than so many of them.
    pub(crate) pages: usize,
    /// A batch that is not full is to wait for more no longer.
    pub(crate) at_once: bool,
    pub(crate) haste: Haste,
}

/// A batch that is not full waits no longer than this: a sync costs the same for one page and for a hundred.
const GATHER: Duration = Duration::from_millis(100);
/// Beyond this age, in shares of its target, the disk's queue is the cleaner's: first writes would wait, too.
const PRESSED: f64 = 9.0 / 8.0;
/// The longest that a first write waits.
const DELAY_MAX: Duration = Duration::from_millis(50);
/// Delays shorter than this are left out: the system's timers are not so fine.
const DELAY_MIN: Duration = Duration::from_micros(50);

/// Where the cleaner has come to.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The log's end, and the time, at the last look.
    next: u64,
    looked: Duration,
    goal: u64,
    /// When the last batch was written.
    wrote: Duration,
    /// Pages that may be written by `io_capacity`.
    allowed: f64,
}

impl Pace {
    pub(crate) fn new(now: Duration, next: u64) -> Pace {
        Pace {
            next,
            looked: now,
            goal: 0,
            wrote: now,
            allowed: 0.0,
        }
    }

    /// What is due now; to be called again and again.
    pub(crate) fn due(&mut self, limits: &Limits, at: &Standing) -> Due {
        let target = (limits.bound() / 2) as f64;
        let share = |from: u64| at.next.saturating_sub(from) as f64 / target;
        let goal = self.goal.max(at.oldest);
        let pressure = share(goal) * share(goal).sqrt();
        let logged = at.next.saturating_sub(self.next) as f64;
        let goal = goal.saturating_add((logged * pressure) as u64);
        // However slow it was until now: what is this far back is due.
        let farthest = at.next.saturating_sub(limits.bound() / 8 * 5);
        let goal = goal.max(farthest).min(at.next);
        self.goal = goal.max(by_time(limits, at));
        self.next = self.next.max(at.next);
        let passed = at.now.saturating_sub(self.looked).as_secs_f64();
        self.looked = at.now;
        let age = share(at.oldest);
        let rate = capacity(limits, age);
        // What was not used is kept for as long as a batch is gathered.
        let most = (rate * GATHER.as_secs_f64()).max(1.0);
        self.allowed = (self.allowed + rate * passed).min(most);
        Due {
            below: self.goal,
            pages: self.allowed as usize,
            at_once: age > 1.0 || at.now.saturating_sub(self.wrote) >= GATHER,
            haste: match age > PRESSED {
                true => Haste::Pressed,
                false => Haste::Ahead,
            },
        }
    }

    /// So many of them have gone home.
    pub(crate) fn wrote(&mut self, now: Duration, pages: usize) {
        self.allowed -= pages as f64;
        self.wrote = now;
    }
}

/// Below what pages are due for the next checkpoint by time.
fn by_time(limits: &Limits, at: &Standing) -> u64 {
    let spread = limits.checkpoint_timeout.as_secs_f64() * limits.completion_target as f64 / 1000.0;
    let part = at.since.as_secs_f64() / spread.max(1e-3);
    if part >= 1.0 {
        // Those that the checkpoint's own record was first to change, too.
        return at.checkpoint.saturating_add(1);
    }
    let way = at.checkpoint.saturating_sub(at.redo) as f64;
    at.redo.saturating_add((way * part) as u64)
}

/// Pages a second at this age, in shares of its target: `io_capacity` up to there, `io_capacity_max` from five quarters of it on.
fn capacity(limits: &Limits, age: f64) -> f64 {
    let (usual, most) = (limits.io_capacity as f64, limits.io_capacity_max as f64);
    usual + (most - usual) * ((age - 1.0) * 4.0).clamp(0.0, 1.0)
}

/// How long a first write waits at this age, if it does: the fourth power makes it as long as it takes, over a wide range, with
/// little change of the age.
pub(crate) fn delay(max_wal_size: u64, age: u64) -> Option<Duration> {
    let from = max_wal_size / 16 * 9;
    if age <= from {
        return None;
    }
    let part = (age - from) as f64 / (max_wal_size / 16 * 5) as f64;
    let delay = DELAY_MAX.mul_f64(part.min(1.0).powi(4));
    (delay >= DELAY_MIN).then_some(delay)
}

/// The age at which a checkpoint is forced. Without a background thread nobody waits for pages that go home: writers see to
/// it, and sooner.
pub(crate) fn forced_at(max_wal_size: u64, background: bool) -> u64 {
    let sixteenths = if background { 13 } else { 12 };
    max_wal_size / 16 * sixteenths
}

/// Which checkpoint is due, if one is. `idle`: log that gathers without anybody working.
pub(crate) fn due_checkpoint(
    limits: &Limits,
    at: &Standing,
    background: bool,
    idle: bool,
) -> Option<Cause> {
    let max = limits.max_wal_size;
    if at.next.saturating_sub(at.redo) > forced_at(max, background) {
        return Some(Cause::Forced);
    }
    let bound = limits.bound();
    let late = at.next.saturating_sub(at.redo) > bound / 8 * 5;
    let helps = at.oldest.saturating_sub(at.redo) > bound / 16;
    if at.next.saturating_sub(at.checkpoint) > bound / 8 || (late && helps) {
        return Some(Cause::Paced);
    }
    // Where nothing was written since, one more brings the redo point to the last one, whose pages are home by now.
    let worth_it = !idle || at.redo < at.checkpoint;
    let home = at.oldest > at.checkpoint;
    (at.since >= limits.checkpoint_timeout && worth_it && home).then_some(Cause::Timed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 256 << 20;

    fn limits() -> Limits {
        Limits {
            max_wal_size: MAX,
            horizon: u64::MAX,
            checkpoint_timeout: Duration::from_secs(300),
            completion_target: 900,
            io_capacity: u64::MAX,
            io_capacity_max: u64::MAX,
        }
    }

    /// A database that was just checkpointed at the end of its log.
    fn fresh(next: u64) -> Standing {
        Standing {
            now: Duration::ZERO,
            next,
            oldest: next,
            checkpoint: next,
            redo: next,
            since: Duration::ZERO,
        }
    }

    /// A disk that keeps up: the age comes to its target and stays there, and pages never go home in a burst.
    #[test]
    fn the_age_settles_at_half_of_the_bound() {
        for start in [1 << 20, 1 << 60] {
            let mut at = fresh(start);
            let mut pace = Pace::new(at.now, at.next);
            let mut ages = Vec::new();
            for _ in 0..4000 {
                at.next += MAX / 400;
                at.now += Duration::from_millis(20);
                let due = pace.due(&limits(), &at);
                assert!(due.below >= at.oldest, "it never goes back");
                let step = due.below - at.oldest;
                assert!(step <= MAX / 300, "a burst of {step} bytes");
                at.oldest = due.below;
                ages.push((at.next - at.oldest) as f64 / MAX as f64);
            }
            let last = &ages[2000..];
            let (low, high) = (
                last.iter().copied().fold(1.0, f64::min),
                ages.iter().copied().fold(0.0, f64::max),
            );
            assert!(low > 0.45 && high < 0.55, "{low} to {high}");
        }
    }

    /// Everything becomes dirty within 5 MiB of log, as when updates begin at random places: it is spread over ten times
    /// as much.
    #[test]
    fn what_became_dirty_at_one_moment_does_not_go_home_at_one() {
        let mut at = fresh(1 << 30);
        let begin = at.next;
        let mut pace = Pace::new(at.now, at.next);
        let (mut first, mut last) = (None, 0);
        while at.oldest < begin + (5 << 20) {
            at.next += 1 << 18;
            at.oldest = at.oldest.max(pace.due(&limits(), &at).below);
            if at.oldest > begin + 1000 {
                first = first.or(Some(at.next));
            }
            last = at.next;
        }
        let over = last - first.expect("it began");
        assert!(over > 25 << 20 && over < MAX / 4, "{over} bytes");
    }

    #[test]
    fn nothing_is_due_where_nothing_is_logged_but_for_a_checkpoint_by_time() {
        let mut at = fresh(1 << 30);
        let mut pace = Pace::new(at.now, at.next);
        at.next += 10 << 20;
        at.checkpoint = at.next;
        let early = pace.due(&limits(), &at).below;
        for second in 1..=300 {
            at.now = Duration::from_secs(second);
            at.since = at.now;
            let due = pace.due(&limits(), &at).below;
            // Its pages are home after nine tenths of the time, evenly.
            let even = at.redo + (10 << 20) * second.min(270) / 270;
            assert!(due.abs_diff(even.max(early)) < 10_000, "{second} s: {due}");
            assert_eq!(due > at.checkpoint, second >= 270, "{second} s");
        }
    }

    #[test]
    fn io_capacity_is_kept_and_under_pressure_the_other() {
        let limits = Limits {
            io_capacity: 1000,
            io_capacity_max: 4000,
            ..limits()
        };
        for (age, rate) in [(MAX / 4, 1000), (MAX / 16 * 9, 2500), (MAX / 4 * 3, 4000)] {
            let mut at = fresh(1 << 30);
            let mut pace = Pace::new(at.now, at.next);
            at.oldest -= age;
            at.redo = at.oldest;
            let mut pages = 0;
            for _ in 0..500 {
                at.now += Duration::from_millis(20);
                let due = pace.due(&limits, &at);
                assert!(due.pages <= rate / 10, "{} at once", due.pages);
                pages += due.pages;
                pace.wrote(at.now, due.pages);
            }
            let per_second = pages / 10;
            assert!(
                per_second.abs_diff(rate) <= rate / 50,
                "{per_second} for {rate}"
            );
        }
    }

    #[test]
    fn those_who_commit_come_first_until_first_writes_would_wait() {
        for part in 0..=64 {
            let mut at = fresh(1 << 30);
            at.oldest -= MAX / 64 * part;
            let due = Pace::new(at.now, at.next).due(&limits(), &at);
            let pressed = due.haste == Haste::Pressed;
            assert_eq!(pressed, part > 36, "{part}");
            let waits = delay(MAX, at.next - at.oldest).is_some();
            assert!(pressed || !waits, "{part}");
        }
    }

    #[test]
    fn a_delay_grows_smoothly_and_is_bounded() {
        let mut before = Duration::ZERO;
        for part in 0..=1600 {
            let delay = delay(MAX, MAX / 1600 * part).unwrap_or_default();
            assert!(delay >= before && delay <= DELAY_MAX);
            assert!(delay - before < Duration::from_micros(800), "a cliff");
            assert_eq!(delay > Duration::ZERO, part > 988, "{part}");
            before = delay;
        }
        assert_eq!(before, DELAY_MAX);
        assert_eq!(delay(u64::MAX, 5), None);
    }

    #[test]
    fn a_checkpoint_by_time_waits_until_its_pages_are_home() {
        let limits = limits();
        let mut at = fresh(1 << 30);
        let checkpointer = |at: &Standing, idle| due_checkpoint(&limits, at, true, idle);
        at.next += 1 << 20;
        at.oldest = at.checkpoint;
        at.since = Duration::from_secs(299);
        assert_eq!(checkpointer(&at, false), None);
        at.since = Duration::from_secs(301);
        assert_eq!(checkpointer(&at, false), None, "a page is not home");
        at.oldest += 1;
        assert_eq!(checkpointer(&at, false), Some(Cause::Timed));
        assert_eq!(checkpointer(&at, true), None, "nobody has worked");
        at.redo -= 1;
        assert_eq!(checkpointer(&at, true), Some(Cause::Timed), "it helps");
        at.next = at.checkpoint + MAX / 8 + 1;
        assert_eq!(checkpointer(&at, false), Some(Cause::Paced));
        at.checkpoint = at.next;
        at.redo = at.next - MAX / 8 * 5 - 1;
        at.oldest = at.redo + MAX / 16;
        assert_eq!(checkpointer(&at, false), None, "it would not help much");
        at.oldest += 1;
        assert_eq!(checkpointer(&at, false), Some(Cause::Paced));
        at.redo = at.next - MAX / 16 * 13 - 1;
        assert_eq!(checkpointer(&at, false), Some(Cause::Forced));
    }
}
