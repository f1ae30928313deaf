//! What the fuzzer runs: for each thing that is read from a disk, a function that takes any bytes and must not panic.
//!
//! Not part of the crate as it is used: built for tests, which run each function over some thousands of mutated seeds,
//! and with `--cfg fuzzing` for the programs in `fuzz/`, whose library mutates by coverage (`cargo xtask fuzz`). Bytes
//! with a wrong checksum are refused at the door, so most functions give them the right one and look at what is behind.

#![allow(clippy::unwrap_used, missing_docs)]

mod directory;
mod files;
mod frames;

use crate::identity::Identity;

/// One target: its name, what it does with an input, and inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frames::frame, seeds: frames::frame_seeds },
    Target { name: "header", run: frames::header, seeds: frames::header_seeds },
    Target { name: "directory", run: directory::directory, seeds: directory::seeds },
    Target { name: "control", run: files::control, seeds: files::control_seeds },
    Target { name: "slot", run: files::slot, seeds: files::slot_seeds },
    Target { name: "positions", run: files::positions, seeds: files::positions_seeds },
    Target { name: "settings", run: files::settings, seeds: files::settings_seeds },
];

/// The target of this name.
///
/// # Panics
///
/// Where there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

const SEGMENT: u64 = 64 << 10;
const IDENTITY: Identity = Identity {
    database_id: 0x1111,
    timeline_id: 0x2222,
    timeline_ordinal: 1,
};

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

    fn short(&mut self) -> u64 {
        u64::from(self.byte()) | u64::from(self.byte()) << 8
    }

    fn word(&mut self) -> u32 {
        (self.short() | self.short() << 16) as u32
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
        seeds.iter().for_each(|seed| (target.run)(seed));
        let mut state = 88_172_645_463_325_252_u64;
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

    #[test]
    fn any_frame() {
        smoke("frame", 20_000);
    }

    #[test]
    fn any_header() {
        smoke("header", 20_000);
    }

    #[test]
    fn any_directory() {
        smoke("directory", 2000);
    }

    #[test]
    fn any_control_file() {
        smoke("control", 3000);
    }

    #[test]
    fn any_slot_file() {
        smoke("slot", 2000);
    }

    #[test]
    fn any_positions() {
        smoke("positions", 5000);
    }

    #[test]
    fn any_settings_file() {
        smoke("settings", 5000);
    }
}
