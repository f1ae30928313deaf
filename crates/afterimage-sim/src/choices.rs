//! Every choice of a run, drawn from one seed: the same seed makes the same choices, on every machine.
//!
//! The drivers draw workloads, schedules, crash points and survivals from here and from nowhere else, so a failure is replayed from one number.

/// A small seeded source of choices (SplitMix64: one word of state, good enough to choose with, not for secrets).
///
/// ```
/// use afterimage_sim::choices::Choices;
/// let (mut a, mut b) = (Choices::new(7), Choices::new(7));
/// assert_eq!(a.below(1000), b.below(1000));
/// ```
#[derive(Clone, Debug)]
pub struct Choices {
    state: u64,
}

impl Choices {
    /// The stream of choices that `seed` names.
    #[must_use]
    pub fn new(seed: u64) -> Choices {
        Choices {
            state: mix(seed ^ 0x5AF7_E81A_6E00_0001),
        }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number in `0..bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.word() % bound }
    }

    /// An index in `0..len`; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of `from`.
    ///
    /// # Panics
    /// If `from` is empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        assert!(!from.is_empty(), "a choice needs something to choose from");
        &from[self.index(from.len())]
    }

    /// A new, independent stream.
    pub fn fork(&mut self) -> Choices {
        Choices::new(self.word())
    }
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
    }
}
