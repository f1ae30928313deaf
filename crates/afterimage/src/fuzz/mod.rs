//! What the fuzzer runs: for each thing that the engine reads from a disk, a function that takes any bytes and must not panic.
//!
//! Not part of the crate as it is used: built for tests, which run each function over some thousands of mutated seeds,
//! and with `--cfg fuzzing` for the programs in `fuzz/`, whose library mutates by coverage (`cargo xtask fuzz`). Bytes
//! with a wrong checksum are refused at the door, so most functions give them the right one and look at what is behind.

#![allow(clippy::unwrap_used, missing_docs)]

mod database;
mod pages;
mod records;
mod words;

/// One target: its name, what it does with an input, and inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "record", run: records::record, seeds: records::seeds },
    Target { name: "page", run: pages::page, seeds: pages::seeds },
    Target { name: "words", run: words::words, seeds: words::seeds },
    Target { name: "database", run: database::database, seeds: database::seeds },
];

/// The target of this name.
///
/// # Panics
///
/// Where there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

/// Small pages, so that an input can hold one.
const PAGE: usize = 4096;

/// An input, taken apart from its front; zeroes where it ends.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        front
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn short(&mut self) -> usize {
        usize::from(self.byte()) | usize::from(self.byte()) << 8
    }

    /// Fewer than `most` bytes.
    fn piece(&mut self, most: u8) -> &'a [u8] {
        let len = usize::from(self.byte() % most);
        self.take(len)
    }

    /// So many bytes, filled up with zeroes.
    fn block(&mut self, len: usize) -> Vec<u8> {
        let mut block = self.take(len).to_vec();
        block.resize(len, 0);
        block
    }
}

/// CRC-32C (Castagnoli), as everything on the disk is sealed with.
fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes a few bytes as simple fuzzers do: flips, small numbers, moved and doubled pieces.
    fn mutate(seed: &[u8], next: &mut impl FnMut() -> u64) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + next() % 6 {
            let at = next() as usize % (bytes.len() + 1);
            let value = next();
            match next() % 7 {
                0 if at < bytes.len() => bytes[at] ^= 1 << (value % 8),
                1 if at < bytes.len() => bytes[at] = value as u8,
                2 if at < bytes.len() => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][value as usize % 5],
                3 => bytes.truncate(at),
                4 => bytes.insert(at, value as u8),
                5 if at < bytes.len() => {
                    let piece = bytes[at..(at + value as usize % 32).min(bytes.len())].to_vec();
                    let to = next() as usize % (bytes.len() + 1);
                    bytes.splice(to..to, piece);
                }
                _ => bytes.extend_from_slice(&value.to_le_bytes()),
            }
        }
        bytes
    }

    fn smoke(name: &str, runs: u64) {
        let target = target(name);
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty());
        for seed in &seeds {
            let end = std::panic::catch_unwind(|| (target.run)(seed));
            assert!(end.is_ok(), "{name}, seed {seed:?}");
        }
        // Where there is no fuzzer: FUZZ_RUNS=1000000 FUZZ_SEED=7 cargo test -p afterimage --lib fuzz::
        let given = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let runs = given("FUZZ_RUNS").unwrap_or(runs);
        let mut state = 88_172_645_463_325_252_u64.wrapping_add(given("FUZZ_SEED").unwrap_or(0));
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for run in 0..runs {
            let input = mutate(&seeds[run as usize % seeds.len()], &mut next);
            let end = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(end.is_ok(), "{name}, run {run}: input {input:?}");
        }
    }

    /// What was found, and must not come again.
    const FOUND: &[(&str, &[u8])] = &[
        // Removing no cells "fitted" pages of every kind, which were then stamped.
        ("record", &[5, 1, 1, 7, 0, 7, 0]),
        // A link to a page of other keys sent a scan back to where it had been.
        (
            "database",
            &[
                0, 14, 0, 2, 3, 0, 6, 1, 2, 3, 4, 5, 6, 7, 249, 39, 41, 46, 126, 159, 208, 2,
            ],
        ),
        // A root that is a leaf of some keys only: a scan stood still at its fence.
        ("database", &[0, 6, 1, 5, 36]),
        // A file that was cut: pages behind its end were taken for free when it grew. By now it is refused before that.
        ("database", &[0, 2, 252, 2, 4, 5]),
    ];

    #[test]
    fn what_was_found() {
        for (name, input) in FOUND {
            (target(name).run)(input);
        }
    }

    #[test]
    fn any_record() {
        smoke("record", 20_000);
    }

    #[test]
    fn any_page() {
        smoke("page", 10_000);
    }

    #[test]
    fn any_words() {
        smoke("words", 10_000);
    }

    #[test]
    fn any_database() {
        smoke("database", 300);
    }
}
