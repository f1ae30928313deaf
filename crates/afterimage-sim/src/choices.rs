//! Every choice of a run, from one stream: the numbers that a seed makes, or bytes. The same stream makes the same choices, on every machine.
//!
//! The drivers draw workloads, schedules, crash points and survivals from here and from nowhere else, so a failure is replayed from one number. A run from a
//! seed can be recorded as bytes, one string for each of its forks; what it did is done again from these, bit for bit, and they can be shortened where a seed
//! cannot. Bytes that have run out are zeroes, and zero is the simplest choice: the first of a list, the smallest number, no.

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
/// A clone of a stream of a seed goes on by itself from the same place; clones of one of bytes read on together.
#[derive(Clone, Debug)]
pub struct Choices {
    source: Source,
    record: Option<(Record, usize)>,
}

#[derive(Clone, Debug)]
enum Source {
    Seed { seed: u64, state: u64 },
    Bytes(Arc<Mutex<Tape>>, usize),
}

/// Strings of bytes, and how far each has been read.
#[derive(Debug)]
struct Tape {
    strings: Vec<(Vec<u8>, usize)>,
    /// How many forks there are.
    given: usize,
    /// Whether all forks read from the first.
    shared: bool,
}

/// Choices as bytes: a string for the stream itself, and one for each fork of it or of its forks, in the order in which they were made. No string ends in a zero,
/// and the last is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings(pub Vec<Vec<u8>>);

/// A piece of a recorded string that belongs together: what was chosen from one [`Choices::mark`] to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose string.
    pub string: usize,
    /// Where in it.
    pub bytes: std::ops::Range<usize>,
    /// The strings of forks that were made meanwhile.
    pub forks: std::ops::Range<usize>,
}

/// The choices made so far by a stream and its forks, as bytes.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    strings: Vec<Vec<u8>>,
    /// Whose, where, and how many strings there were.
    marks: Vec<(usize, usize, usize)>,
}

impl Strings {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether all choices are zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Without zeroes at the end of a string, and empty strings at the end.
    #[must_use]
    pub fn trimmed(mut self) -> Strings {
        for bytes in &mut self.0 {
            let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
            bytes.truncate(end);
        }
        let end = self.0.iter().rposition(|b| !b.is_empty());
        self.0.truncate(end.map_or(0, |n| n + 1));
        self
    }

    /// Two digits a byte, a dot between strings.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        self.0.iter().map(hex).collect::<Vec<_>>().join(".")
    }

    /// What [`Strings::to_hex`] has written; white space does not count.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Strings> {
        let text: String = text.split_whitespace().collect();
        let byte = |pair: &[u8]| {
            let digit = |d: u8| u8::try_from(char::from(d).to_digit(16)?).ok();
            match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            }
        };
        let string = |hex: &str| {
            hex.as_bytes()
                .chunks(2)
                .map(byte)
                .collect::<Option<Vec<u8>>>()
        };
        let strings = text.split('.').map(string).collect::<Option<_>>()?;
        Some(Strings(strings).trimmed())
    }
}

impl Record {
    /// The bytes.
    #[must_use]
    pub fn strings(&self) -> Strings {
        Strings(held(&self.0).strings.clone()).trimmed()
    }

    /// The pieces of them.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let recorded = held(&self.0);
        let next = |n: usize| {
            let (string, start, first) = recorded.marks[n];
            let later = recorded.marks[n + 1..].iter().find(|m| m.0 == string);
            let end = (recorded.strings[string].len(), recorded.strings.len());
            let (bytes, forks) = later.map_or(end, |m| (m.1, m.2));
            // Who else forks meanwhile cannot be told; only the first stream is asked.
            let forks = if string == 0 {
                first..forks
            } else {
                first..first
            };
            Span {
                string,
                bytes: start..bytes,
                forks,
            }
        };
        (0..recorded.marks.len()).map(next).collect()
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

    /// The choices that `bytes` are, for the stream and all its forks together, and zeroes for ever behind them. Any bytes are legal.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Choices {
        Choices::from_tape(vec![(bytes.to_vec(), 0)], true)
    }

    /// The choices that were recorded as these strings. Any strings are legal.
    #[must_use]
    pub fn from_strings(strings: &Strings) -> Choices {
        let strings = strings.0.iter().map(|bytes| (bytes.clone(), 0)).collect();
        Choices::from_tape(strings, false)
    }

    fn from_tape(strings: Vec<(Vec<u8>, usize)>, shared: bool) -> Choices {
        let tape = Tape {
            strings,
            given: 0,
            shared,
        };
        Choices {
            source: Source::Bytes(Arc::new(Mutex::new(tape)), 0),
            record: None,
        }
    }

    /// This stream, with everything that it and its forks choose from now on recorded: [`Choices::from_strings`] of the record chooses the same.
    #[must_use]
    pub fn recorded(mut self) -> (Choices, Record) {
        let record = Record::default();
        held(&record.0).strings.push(Vec::new());
        self.record = Some((record.clone(), 0));
        (self, record)
    }

    /// Here begins a piece that could be left out: a life, a transaction.
    pub fn mark(&self) {
        if let Some((record, mine)) = &self.record {
            let mut recorded = held(&record.0);
            let place = (*mine, recorded.strings[*mine].len(), recorded.strings.len());
            recorded.marks.push(place);
        }
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
            Source::Bytes(..) => self.draw(8, |_| 0),
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
            Source::Bytes(..) => last - number,
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

    /// A new stream, independent of this one; where all read from one string ([`Choices::from_bytes`]), another reader of it.
    pub fn fork(&mut self) -> Choices {
        let record = self.record.take();
        let mut fork = match &self.source {
            Source::Seed { .. } => Choices::new(self.word()),
            Source::Bytes(tape, _) => Choices {
                source: Source::Bytes(Arc::clone(tape), held(tape).give_out()),
                record: None,
            },
        };
        fork.record = record.as_ref().map(|(record, _)| {
            let mut recorded = held(&record.0);
            recorded.strings.push(Vec::new());
            (record.clone(), recorded.strings.len() - 1)
        });
        self.record = record;
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
            Source::Bytes(tape, mine) => held(tape).next(*mine, bytes),
        }
    }

    fn note(&self, value: u64, bytes: usize) {
        if let Some((record, mine)) = &self.record {
            held(&record.0).strings[*mine].extend_from_slice(&value.to_le_bytes()[..bytes]);
        }
    }
}

impl Tape {
    /// The string of a new fork.
    fn give_out(&mut self) -> usize {
        if self.shared {
            return 0;
        }
        self.given += 1;
        self.given
    }

    fn next(&mut self, string: usize, bytes: usize) -> u64 {
        let mut word = [0; 8];
        if let Some((string, at)) = self.strings.get_mut(string) {
            for byte in &mut word[..bytes] {
                *byte = string.get(*at).copied().unwrap_or(0);
                *at += 1;
            }
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
            let strings = record.strings();
            assert_eq!(strings.0.len(), 3);
            assert_eq!(
                Strings::from_hex(&strings.to_hex()).as_ref(),
                Some(&strings)
            );
            let (mut again, second) = Choices::from_strings(&strings).recorded();
            assert_eq!(mixed(&mut again), drawn);
            assert_eq!(second.strings(), strings);
        }
    }

    #[test]
    fn one_string_for_all_is_recorded_as_one_for_each() {
        let bytes: Vec<u8> = (1..=255).cycle().take(20_000).collect();
        let (mut shared, record) = Choices::from_bytes(&bytes).recorded();
        let drawn = mixed(&mut shared);
        assert_eq!(mixed(&mut Choices::from_strings(&record.strings())), drawn);
        assert_ne!(mixed(&mut Choices::from_bytes(&bytes[1..])), drawn);
    }

    #[test]
    fn a_span_is_what_was_chosen_between_marks() {
        let (mut c, record) = Choices::new(1).recorded();
        c.word();
        for _ in 0..2 {
            c.mark();
            c.below(200);
            let mut fork = c.fork();
            fork.mark();
            fork.below(200);
        }
        let span = |string, bytes, forks| Span {
            string,
            bytes,
            forks,
        };
        assert_eq!(
            record.spans(),
            [
                span(0, 8..9, 1..2),
                span(1, 0..1, 2..2),
                span(0, 9..10, 2..3),
                span(2, 0..1, 3..3),
            ]
        );
    }

    #[test]
    fn digits_are_read_or_refused() {
        let read = |text| Strings::from_hex(text).map(|s| s.0);
        assert_eq!(
            read("0 1\n02.. ff"),
            Some(vec![vec![1, 2], vec![], vec![255]])
        );
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read("00.00"), Some(vec![]));
        assert!(read("012").is_none() && read("0g").is_none());
    }

    #[test]
    fn where_the_bytes_end_everything_is_simple() {
        let mut c = Choices::from_bytes(&[]);
        assert_eq!((c.below(9), c.word(), c.world_seed()), (0, 0, 0));
        assert!(!c.chance(8, 9) && c.chance(9, 9));
        assert_eq!(c.fork().pick(&["first", "second"]), &"first");
    }
}
