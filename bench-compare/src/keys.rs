//! What is written and read: records, keys of 16 digits, values that do not compress, and chance that is the same in every run.

use crate::plan::VALUE;

/// A key: 16 digits, with zeros before them.
pub type Key = [u8; 16];
/// A value.
pub type Value = [u8; VALUE];

/// The key of a number.
pub fn key(mut number: u64) -> Key {
    let mut key = [b'0'; 16];
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    key
}

/// splitmix64: small, fast, and good enough to choose rows.
#[derive(Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// From 0 up to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A value that does not compress.
    pub fn value(&mut self) -> Value {
        let mut value = [0; VALUE];
        for part in value.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
        value
    }
}

fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The numbers below `count` in an order by chance.
pub fn shuffled(count: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    let mut random = Random::new(count);
    for at in (1..numbers.len()).rev() {
        let other = random.below(at as u64 + 1) as usize;
        numbers.swap(at, other);
    }
    numbers
}

/// YCSB's scrambled Zipf distribution with 0.99: few rows are wanted by most, and they lie anywhere.
#[derive(Clone)]
pub struct Zipf {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

const THETA: f64 = 0.99;

impl Zipf {
    /// Over the numbers below `count`.
    pub fn new(count: u64) -> Zipf {
        let zeta = |count: u64| (1..=count).map(|n| (n as f64).powf(-THETA)).sum::<f64>();
        let all = zeta(count);
        Zipf {
            count,
            zeta: all,
            alpha: 1.0 / (1.0 - THETA),
            eta: (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - zeta(2) / all),
        }
    }

    /// One of them.
    pub fn next(&self, random: &mut Random) -> u64 {
        let u = random.share();
        let wanted = u * self.zeta;
        let rank = if wanted < 1.0 {
            0
        } else if wanted < 1.0 + 0.5f64.powf(THETA) {
            1
        } else {
            let share = self.eta.mul_add(u, 1.0 - self.eta).powf(self.alpha);
            ((self.count as f64 * share) as u64).min(self.count - 1)
        };
        mix(rank.wrapping_add(0x9E37_79B9_7F4A_7C15)) % self.count
    }
}

/// Records that differ, of bytes that do not compress: a counter, then noise.
pub struct Record {
    bytes: Vec<u8>,
    next: u64,
}

impl Record {
    /// Records of `len` bytes, at least 8.
    pub fn new(len: usize, seed: u64) -> Record {
        let mut random = Random::new(seed);
        Record {
            bytes: (0..len.max(8)).map(|_| random.next() as u8).collect(),
            next: 0,
        }
    }

    /// The next one: its first 8 bytes count from 1, little endian.
    pub fn next(&mut self) -> &[u8] {
        self.next += 1;
        self.bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        assert_eq!(&key(1234), b"0000000000001234");
        assert!(key(9) < key(10));
    }

    #[test]
    fn shuffled_has_every_number_once() {
        let mut numbers = shuffled(1000);
        assert_ne!(numbers[..5], [0, 1, 2, 3, 4]);
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..1000));
    }

    #[test]
    fn a_few_rows_are_wanted_by_most() {
        let (zipf, mut random) = (Zipf::new(10_000), Random::new(1));
        let mut counts = vec![0u32; 10_000];
        for _ in 0..100_000 {
            counts[zipf.next(&mut random) as usize] += 1;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let hundred: u32 = counts[..100].iter().sum();
        // A hundredth of the rows: about half of the wishes; by plain chance it would be a hundredth.
        assert!((40_000..65_000).contains(&hundred), "{hundred}");
    }
}
