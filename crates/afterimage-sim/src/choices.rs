//! Every choice of a run, from one stream: the numbers that a seed makes, or a string of bytes. The same stream makes the same choices, on every machine.
//!
//! The drivers draw workloads, schedules, crash points and survivals from here and from nowhere else, so a failure is replayed from one number. A run from a
//! seed can be recorded as bytes; what it did is done again from these, bit for bit, and they can be shortened where a seed cannot. Bytes that have run out are
//! zeroes, and zero is the simplest choice: the first of a list, the smallest number, no.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stream of choices (from a seed: SplitMix64, good enough to choose with, not for secrets).
///
/// ```
/// use afterimage_sim::choices::Choices;
/// let (mut a, mut b) = (Choices::new(7), Choices::new(7));
/// assert_eq!(a.below(1000), b.below(1000));
/// assert_eq!(Choices::from_bytes(&[5]).below(100), 5);
/// ```
///
/// A clone of a stream of a seed goes on by itself from the same place. Clones and forks of a stream of bytes all read from the one string.
#[derive(Clone, Debug)]
pub struct Choices {
    source: Source,
    record: Option<Record>,
}

#[derive(Clone, Debug)]
enum Source {
    Seed { seed: u64, state: u64 },
    Bytes(Arc<Mutex<Tape>>),
}

#[derive(Debug)]
struct Tape {
    bytes: Vec<u8>,
    at: usize,
}

/// The choices made so far by a stream and its forks, as bytes.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Vec<u8>>>);

impl Record {
    /// The bytes; zeroes at their end are left away.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = held(&self.0).clone();
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
        bytes.truncate(end);
        bytes
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Choices {
    /// The stream of choices that `seed` names.
    #[must_use]
    pub fn new(seed: u64) -> Choices {
        let state = mix(seed ^ 0x5AF7_E81A_6E00_0001);
        Choices {
            source: Source::Seed { seed, state },
            record: None,
        }
    }

    /// The stream of choices that `bytes` are, and zeroes for ever behind them. Any bytes are a legal stream.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Choices {
        let (bytes, at) = (bytes.to_vec(), 0);
        Choices {
            source: Source::Bytes(Arc::new(Mutex::new(Tape { bytes, at }))),
            record: None,
        }
    }

    /// This stream, with everything that it and its forks choose from now on recorded: [`Choices::from_bytes`] of the record chooses the same.
    #[must_use]
    pub fn recorded(mut self) -> (Choices, Record) {
        let record = Record::default();
        self.record = Some(record.clone());
        (self, record)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        let word = self.draw(8, |state| {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(*state)
        });
        self.note(word, 8);
        word
    }

    /// What a simulated world is made from, its schedule and its random numbers: the seed itself, or the next eight bytes.
    pub fn world_seed(&mut self) -> u64 {
        let seed = match &self.source {
            Source::Seed { seed, .. } => *seed,
            Source::Bytes(_) => self.draw(8, |_| 0),
        };
        self.note(seed, 8);
        seed
    }

    /// A number in `0..bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let number = self.number(bound);
        self.note(number, width(bound));
        number
    }

    /// An index in `0..len`; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        let number = self.number(denominator);
        let last = denominator.saturating_sub(1);
        // Among the bytes "no" is 0 and "yes" the highest; the seeds were there first and have it the other way round.
        let of_seeds = match self.source {
            Source::Seed { .. } => number,
            Source::Bytes(_) => last - number,
        };
        self.note(last - of_seeds, width(denominator));
        of_seeds < numerator
    }

    /// One of `from`.
    ///
    /// # Panics
    /// If `from` is empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        assert!(!from.is_empty(), "a choice needs something to choose from");
        &from[self.index(from.len())]
    }

    /// A new stream: independent of this one if it is made from a seed; of bytes, another hand on the same string.
    pub fn fork(&mut self) -> Choices {
        let record = self.record.take();
        let mut fork = match self.source {
            Source::Seed { .. } => Choices::new(self.word()),
            Source::Bytes(_) => self.clone(),
        };
        self.record.clone_from(&record);
        fork.record = record;
        fork
    }

    fn number(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let next = |state: &mut u64| {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(*state)
        };
        self.draw(width(bound), next) % bound
    }

    fn draw(&mut self, bytes: usize, next: impl FnOnce(&mut u64) -> u64) -> u64 {
        match &mut self.source {
            Source::Seed { state, .. } => next(state),
            Source::Bytes(tape) => held(tape).next(bytes),
        }
    }

    fn note(&self, value: u64, bytes: usize) {
        if let Some(record) = &self.record {
            held(&record.0).extend_from_slice(&value.to_le_bytes()[..bytes]);
        }
    }
}

impl Tape {
    fn next(&mut self, bytes: usize) -> u64 {
        let mut word = [0; 8];
        for byte in &mut word[..bytes] {
            *byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.at += 1;
        }
        u64::from_le_bytes(word)
    }
}

/// How many bytes hold every number below `bound`.
fn width(bound: u64) -> usize {
    let bits = u64::BITS - bound.saturating_sub(1).leading_zeros();
    bits.div_ceil(8) as usize
}

/// Scrambles 64 bits: every input bit reaches every output bit.
#[must_use]
pub fn mix(word: u64) -> u64 {
    let mut z = word;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_does_not() {
        let draw = |seed| {
            let mut c = Choices::new(seed);
            (0..32).map(|_| c.below(1 << 40)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn choices_stay_in_bounds() {
        let mut c = Choices::new(3);
        assert_eq!(c.below(0), 0);
        assert!((0..1000).all(|_| c.below(7) < 7));
        assert!((0..1000).any(|_| c.chance(1, 3)));
        let mut b = Choices::from_bytes(&[255; 40]);
        assert!((0..40).all(|_| b.below(7) < 7));
    }

    /// Draws of every kind, from a stream and from forks of it in turns.
    fn mixed(choices: &mut Choices) -> Vec<u64> {
        let mut drawn = vec![choices.world_seed()];
        let mut forks = [choices.fork(), choices.fork()];
        for n in 0..200 {
            let c = match n % 3 {
                0 => &mut *choices,
                n => &mut forks[n - 1],
            };
            drawn.extend([
                c.below(n as u64),
                c.below(100_000_000),
                c.word(),
                u64::from(c.chance(1, 3)),
                *c.pick(&[7, 8, 9]),
                c.below(1 << 63),
            ]);
        }
        drawn
    }

    #[test]
    fn a_record_chooses_what_the_seed_chose() {
        for seed in 0..50 {
            let drawn = mixed(&mut Choices::new(seed));
            let (mut recorded, record) = Choices::new(seed).recorded();
            assert_eq!(mixed(&mut recorded), drawn);
            let (mut again, second) = Choices::from_bytes(&record.bytes()).recorded();
            assert_eq!(mixed(&mut again), drawn);
            assert_eq!(second.bytes(), record.bytes());
        }
    }

    #[test]
    fn where_the_bytes_end_everything_is_simple() {
        let mut c = Choices::from_bytes(&[]);
        assert_eq!((c.below(9), c.word(), c.world_seed()), (0, 0, 0));
        assert!(!c.chance(8, 9) && c.chance(9, 9));
        assert_eq!(c.fork().pick(&["first", "second"]), &"first");
    }
}
