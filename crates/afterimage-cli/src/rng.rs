//! A small seeded generator (splitmix64), so that a printed seed repeats a demo's and a benchmark's choices exactly.
//!
//! It decides amounts, accounts and the moments of the kills; nothing that needs to be unpredictable.

/// A splitmix64 generator. Equal seeds give equal sequences, on every platform and in every version.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for the `stream`-th user of one seed: their sequences do not follow each other.
    pub fn for_stream(seed: u64, stream: u64) -> Self {
        let mut parent = Self::new(seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        Self::new(parent.next())
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound` (`bound` at least 1); the bias of at most `bound / 2^64` does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // The published first outputs for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut rng = Rng::for_stream(7, 3);
        for bound in 1..200 {
            assert!(rng.below(bound) < bound);
            assert!((0.0..1.0).contains(&rng.fraction()));
        }
        assert_ne!(Rng::for_stream(7, 1).next(), Rng::for_stream(7, 2).next());
    }
}
