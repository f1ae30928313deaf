//! How long a recovery would take: reckoned from what it would have to do, and set right by how long the last ones in this
//! directory have taken.

use std::time::Duration;

/// What a recovery has to do, as far as its time depends on it. What it would take back of unfinished transactions is not
/// in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Records to be examined.
    pub(crate) examined: u64,
    /// Records to be redone, of those.
    pub(crate) redone: u64,
    /// Bytes that a record takes, on the average.
    pub(crate) record_bytes: u64,
    /// Pages to be read and brought up to date.
    pub(crate) pages: u64,
    /// Segments of log to be written anew before, because nothing proves them durable; one, where it is not known.
    pub(crate) unproven: u64,
}

/// Measured, on two processors: nanoseconds for a record that is examined, one that is redone, and a page.
const EXAMINED: u64 = 70;
const REDONE: u64 = 240;
const PAGE: u64 = 7_500;
/// Less than this says nothing about the speed.
const LEARNT_FROM: Duration = Duration::from_millis(150);

/// How fast this machine recovers this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speed {
    /// What a recovery takes whatever the log holds, in microseconds.
    pub(crate) fixed_micros: u32,
    /// What it takes to write a segment anew, likewise.
    pub(crate) segment_micros: u32,
    /// What the rest takes, in thousandths of what is reckoned; `None`: no recovery here was long enough to tell.
    pub(crate) permille: Option<u32>,
}

impl Default for Speed {
    fn default() -> Speed {
        Speed {
            fixed_micros: 15_000,
            segment_micros: 30_000,
            permille: None,
        }
    }
}

/// Making a log takes so many times what a recovery takes to write one of its segments anew: it prepares two, and tries ways to sync
/// unless it is told one.
const SEGMENTS_OF_CREATION: u64 = 3;
/// A moment in which the disk stood still is no rate: no more is believed than so many times what a segment usually takes.
const MOST_OF_CREATION: u32 = 30;

/// What the parts of a recovery took that depend on different things.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    /// What depends on the records.
    pub(crate) records: Duration,
    /// Writing anew what nothing proves durable.
    pub(crate) segments: Duration,
    /// Everything else.
    pub(crate) rest: Duration,
}

impl Load {
    fn reckoned(&self) -> Duration {
        let nanos = (self.examined.saturating_mul(EXAMINED))
            .saturating_add(self.redone.saturating_mul(REDONE))
            .saturating_add(self.pages.saturating_mul(PAGE));
        Duration::from_nanos(nanos)
    }

    fn segments(&self) -> u128 {
        u128::from(self.unproven.max(1))
    }
}

impl Speed {
    /// How long a recovery of this would take.
    pub(crate) fn time(self, load: &Load) -> Duration {
        self.secure(load) + load.reckoned().mul_f64(self.share())
    }

    /// How much log there may be for a recovery to take no longer than `target`, where everything else is as in `load`. Never
    /// less than `least`: there is always something that the last moments have changed.
    pub(crate) fn log_within(self, target: Duration, load: &Load, least: u64) -> u64 {
        // An estimate is one: a fifth is kept.
        let left = (target * 4 / 5).saturating_sub(self.time(&Load {
            examined: 0,
            redone: 0,
            ..*load
        }));
        let record = EXAMINED + REDONE;
        let record = record as f64 * self.share();
        let records = left.as_nanos() as f64 / record;
        ((records * load.record_bytes as f64) as u64).max(least)
    }

    /// What making the log has taught of the disk, before any recovery has.
    pub(crate) fn of_creation(took: Duration) -> Option<Speed> {
        let load = Load {
            unproven: SEGMENTS_OF_CREATION,
            ..Load::default()
        };
        let most = Duration::from_micros(Speed::default().segment_micros.into());
        let took = Took {
            segments: took.min(most * MOST_OF_CREATION),
            ..Took::default()
        };
        Speed::learn(None, &load, &took)
    }

    /// What a recovery has taught that took so long, where so much was `known` before.
    pub(crate) fn learn(known: Option<Speed>, load: &Load, took: &Took) -> Option<Speed> {
        // A disk has minutes of its own: half of what is believed, by ratio, is what was known before.
        let believe = |known: Option<u32>, new: u128| {
            let new = u32::try_from(new).unwrap_or(u32::MAX).max(1);
            let both = |known: u32| (f64::from(known) * f64::from(new)).sqrt() as u32;
            known.map_or(new, |known| both(known).max(1))
        };
        let before = known.unwrap_or_default();
        // What nobody has measured yet is no more than a guess, and gives way to the first who has.
        let of_known = |part: fn(Speed) -> u32| {
            let known = known.map(part);
            known.filter(|known| *known != part(Speed::default()))
        };
        let reckoned = load.reckoned();
        let learnt = Speed {
            fixed_micros: match took.rest.as_micros() {
                0 => before.fixed_micros,
                micros => believe(of_known(|known| known.fixed_micros), micros),
            },
            segment_micros: match took.segments.as_micros() / load.segments() {
                0 => before.segment_micros,
                micros => believe(of_known(|known| known.segment_micros), micros),
            },
            permille: match reckoned < LEARNT_FROM || took.records.is_zero() {
                true => before.permille,
                false => {
                    let permille = took.records.as_micros() * 1000 / reckoned.as_micros();
                    Some(believe(before.permille, permille))
                }
            },
        };
        (learnt != Speed::default()).then_some(learnt)
    }

    /// What a recovery takes of what is reckoned, as far as that is known.
    fn share(self) -> f64 {
        f64::from(self.permille.unwrap_or(1000).max(1)) / 1000.0
    }

    /// What does not depend on the records.
    fn secure(self, load: &Load) -> Duration {
        let segments = f64::from(self.segment_micros) * load.segments() as f64;
        Duration::from_micros(u64::from(self.fixed_micros) + segments as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        examined: 7_000_000,
        redone: 3_500_000,
        record_bytes: 150,
        pages: 20_000,
        unproven: 1,
    };

    fn learn(known: Option<Speed>, load: &Load, secs: u64, segments: u64, rest: u64) -> Speed {
        let took = Took {
            records: Duration::from_secs(secs),
            segments: Duration::from_millis(segments),
            rest: Duration::from_millis(rest),
        };
        Speed::learn(known, load, &took).expect("it has taught something")
    }

    #[test]
    fn what_a_recovery_took_is_what_the_next_is_said_to_take() {
        let speed = learn(None, &LOAD, 7, 150, 50);
        let said = speed.time(&LOAD).as_secs_f64();
        assert!((said - 7.2).abs() < 0.02, "{said}");
        // Too little to learn from, but for what does not depend on it.
        let little = Load {
            examined: 7000,
            redone: 7000,
            pages: 10,
            ..LOAD
        };
        let next = learn(Some(speed), &little, 1, 600, 200);
        assert_eq!(
            (next.segment_micros, next.fixed_micros, next.permille),
            (300_000, 100_000, speed.permille)
        );
        let nothing = Took::default();
        assert_eq!(Speed::learn(Some(speed), &LOAD, &nothing), Some(speed));
        assert_eq!(Speed::learn(None, &LOAD, &nothing), None);
        // Whoever has seen nothing but that knows nothing of the rest.
        let first = learn(None, &little, 1, 200, 50);
        assert_eq!((first.segment_micros, first.permille), (200_000, None));
    }

    #[test]
    fn a_disk_shows_how_slow_it_is_when_the_log_is_made() {
        let slow = Speed::of_creation(Duration::from_millis(900)).expect("it has");
        assert_eq!((slow.segment_micros, slow.permille), (300_000, None));
        assert_eq!(slow.fixed_micros, Speed::default().fixed_micros);
        let usual = Speed::default().time(&LOAD);
        assert_eq!(slow.time(&LOAD), usual + Duration::from_millis(270));
        assert_eq!(Speed::of_creation(Duration::ZERO), None);
        let stood_still = Speed::of_creation(Duration::from_secs(60));
        assert_eq!(stood_still, Some(slow));
        // What a recovery then sees counts as much.
        let next = learn(Some(slow), &LOAD, 2, 75, 50);
        assert_eq!((next.segment_micros, next.fixed_micros), (150_000, 50_000));
    }

    #[test]
    fn a_log_that_nothing_proves_durable_is_written_anew_first() {
        let forty = Load {
            unproven: 40,
            ..LOAD
        };
        // Learnt from one segment, and told of forty; and the other way round.
        let said = learn(None, &LOAD, 7, 50, 100).time(&forty).as_secs_f64();
        assert!((said - 9.1).abs() < 0.02, "{said}");
        let said = learn(None, &forty, 7, 2000, 100).time(&LOAD).as_secs_f64();
        assert!((said - 7.15).abs() < 0.02, "{said}");
    }

    #[test]
    fn one_slow_recovery_is_believed_by_half_and_a_slow_machine_in_the_end() {
        let once = |known, secs| learn(known, &LOAD, secs, 50, 50);
        let usual = once(None, 2);
        let slow = once(Some(usual), 8).time(&LOAD).as_secs_f64();
        assert!((slow - 4.1).abs() < 0.05, "{slow}");
        let settled = (0..4).fold(usual, |speed, _| once(Some(speed), 8));
        let settled = settled.time(&LOAD).as_secs_f64();
        assert!((7.0..8.2).contains(&settled), "{settled}");
    }

    #[test]
    fn so_much_log_as_is_allowed_takes_no_longer_than_allowed() {
        let speed = Speed {
            fixed_micros: 50_000,
            segment_micros: 50_000,
            permille: Some(3000),
        };
        for target in [1, 2, 10, 30, 3600].map(Duration::from_secs) {
            let log = speed.log_within(target, &LOAD, 1 << 20);
            let then = Load {
                examined: log / LOAD.record_bytes,
                redone: log / LOAD.record_bytes,
                ..LOAD
            };
            let time = speed.time(&then);
            assert!(time <= target, "{target:?}: {time:?}");
            assert!(
                time * 3 > target * 2 || log == 1 << 20,
                "{target:?}: {time:?}"
            );
        }
        let short = speed.log_within(Duration::from_millis(50), &LOAD, 1 << 20);
        assert_eq!(short, 1 << 20);
    }
}
