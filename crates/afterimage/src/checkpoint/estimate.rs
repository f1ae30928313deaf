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
const EXAMINED: u64 = 90;
const REDONE: u64 = 350;
const PAGE: u64 = 12_000;
/// Less than this says nothing about the speed.
const LEARNT_FROM: Duration = Duration::from_millis(150);

/// How fast this machine recovers this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speed {
    /// What making safe takes, and the checkpoint at the end, in microseconds for each segment that is written anew.
    pub(crate) secure_micros: u32,
    /// What the rest takes, in thousandths of what is reckoned; `None`: no recovery here was long enough to tell.
    pub(crate) permille: Option<u32>,
}

impl Default for Speed {
    fn default() -> Speed {
        Speed {
            secure_micros: 50_000,
            permille: None,
        }
    }
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

    /// What a recovery has taught that took so long for what depends on the records, and so long for making safe and the checkpoint
    /// at the end, where so much was `known` before.
    pub(crate) fn learn(
        known: Option<Speed>,
        load: &Load,
        took: Duration,
        secured: Duration,
    ) -> Option<Speed> {
        // A disk has minutes of its own: half of what is believed, by ratio, is what was known before.
        let believe = |known: Option<u32>, new: u128| {
            let new = u32::try_from(new).unwrap_or(u32::MAX).max(1);
            let both = |known: u32| (f64::from(known) * f64::from(new)).sqrt() as u32;
            known.map_or(new, |known| both(known).max(1))
        };
        let before = known.unwrap_or_default();
        let reckoned = load.reckoned();
        let learnt = Speed {
            secure_micros: match secured.as_micros() / load.segments() {
                0 => before.secure_micros,
                micros => believe(known.map(|known| known.secure_micros), micros),
            },
            permille: match reckoned < LEARNT_FROM || took.is_zero() {
                true => before.permille,
                false => {
                    let permille = took.as_micros() * 1000 / reckoned.as_micros();
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

    fn secure(self, load: &Load) -> Duration {
        Duration::from_micros(u64::from(self.secure_micros)).mul_f64(load.segments() as f64)
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

    fn learn(known: Option<Speed>, load: &Load, took: Duration, secured: Duration) -> Speed {
        Speed::learn(known, load, took, secured).expect("it has taught something")
    }

    #[test]
    fn what_a_recovery_took_is_what_the_next_is_said_to_take() {
        let (took, secured) = (Duration::from_secs(7), Duration::from_millis(200));
        let speed = learn(None, &LOAD, took, secured);
        let said = speed.time(&LOAD).as_secs_f64();
        assert!((said - 7.2).abs() < 0.02, "{said}");
        // Too little to learn from, but for what does not depend on it.
        let little = Load {
            examined: 7000,
            redone: 7000,
            pages: 10,
            ..LOAD
        };
        let next = learn(
            Some(speed),
            &little,
            Duration::from_secs(1),
            Duration::from_millis(50),
        );
        assert_eq!(
            (next.secure_micros, next.permille),
            (100_000, speed.permille)
        );
        let nothing = Speed::learn(Some(speed), &LOAD, Duration::ZERO, Duration::ZERO);
        assert_eq!(nothing, Some(speed));
        assert_eq!(
            Speed::learn(None, &LOAD, Duration::ZERO, Duration::ZERO),
            None
        );
        // Whoever has seen nothing but that knows nothing of the rest.
        let first = learn(None, &little, Duration::from_secs(1), secured);
        assert_eq!((first.secure_micros, first.permille), (200_000, None));
    }

    #[test]
    fn a_log_that_nothing_proves_durable_is_written_anew_first() {
        let forty = Load {
            unproven: 40,
            ..LOAD
        };
        let (took, secured) = (Duration::from_secs(7), Duration::from_secs(2));
        let speed = learn(None, &forty, took, secured);
        let said = speed.time(&forty).as_secs_f64();
        assert!((said - 9.0).abs() < 0.02, "{said}");
        let said = speed.time(&LOAD).as_secs_f64();
        assert!((said - 7.05).abs() < 0.02, "{said}");
    }

    #[test]
    fn one_slow_recovery_is_believed_by_half_and_a_slow_machine_in_the_end() {
        let secured = Duration::from_millis(100);
        let once = |known, secs| learn(known, &LOAD, Duration::from_secs(secs), secured);
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
            secure_micros: 100_000,
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
