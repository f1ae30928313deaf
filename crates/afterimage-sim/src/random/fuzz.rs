//! The random driver with any bytes for its choices: what libFuzzer drives (`fuzz/fuzz_targets/episode.rs`). It sees which code a life, a crash and the recovery
//! from it have reached, and prefers the choices that reach more.

use super::episode_of;
use super::found;
use crate::choices::Choices;
use std::time::Duration;

/// Runs the episode that any bytes are.
///
/// # Panics
/// If it fails: with the failure, and the test that it becomes when it is made small.
pub fn run(bytes: &[u8]) {
    if let Err(failure) = episode_of(Choices::from_bytes(bytes), "from the fuzzer") {
        let small = Duration::from_secs(10);
        let found = found::from_choices(Choices::from_bytes(bytes), "the fuzzer", small);
        let test = found.map_or_else(String::new, |f| f.test());
        panic!("{failure}\n\n{test}");
    }
}

/// Choices to begin with: what some seeds choose, cut off after a while.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let of = |seed: u64| {
        let mut choices = Choices::new(seed);
        (0..20 + 10 * seed)
            .map(|_| u8::try_from(choices.below(256)).unwrap_or(0))
            .collect()
    };
    (0..20).map(of).chain([Vec::new()]).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes_are_an_episode_that_holds() {
        for seed in super::seeds().iter().step_by(5) {
            super::run(seed);
        }
    }
}
