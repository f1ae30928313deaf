//! What a driver reports when something did not hold: which layer saw it, what it saw, and how to see it again.

use std::fmt;

/// Which part of the harness caught a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// An assertion of the engine, or any other panic.
    Assertion,
    /// An oracle that watched the disk.
    Oracle,
    /// The recovered rows are no prefix of the commits that may be there.
    Model,
    /// The engine refused to open, or to work, where nothing but power was lost.
    Refused,
    /// The check of every byte of the closed database.
    Verify,
    /// The simulated threads waited for each other for ever.
    Deadlock,
    /// A run did not repeat itself from its seed.
    Replay,
    /// Everything held, and something was never tried.
    Coverage,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Assertion => "assertion",
            Layer::Oracle => "oracle",
            Layer::Model => "model",
            Layer::Refused => "refused",
            Layer::Verify => "verify",
            Layer::Deadlock => "deadlock",
            Layer::Replay => "replay",
            Layer::Coverage => "coverage",
        })
    }
}

/// Something that did not hold, before it is known where.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Who saw it.
    pub layer: Layer,
    /// What was seen.
    pub what: String,
}

impl Mismatch {
    /// A mismatch seen by `layer`.
    #[must_use]
    pub fn new(layer: Layer, what: impl Into<String>) -> Mismatch {
        Mismatch {
            layer,
            what: what.into(),
        }
    }
}

/// Failures gathered by a run that goes on after the first: one of each symptom, and how often it came.
#[derive(Debug, Default)]
pub struct Gathered(std::collections::BTreeMap<String, (u64, Box<Failure>)>);

impl Gathered {
    /// Adds a failure; those that differ only in numbers are one.
    pub fn add(&mut self, failure: Box<Failure>) {
        let first = failure.mismatch.what.lines().next().unwrap_or_default();
        let symptom: String = first
            .chars()
            .filter(|c| !c.is_ascii_digit())
            .take(110)
            .collect();
        let entry = self
            .0
            .entry(format!("{}{symptom}", failure.mismatch.layer))
            .or_insert_with(|| (0, failure));
        entry.0 += 1;
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them as one failure; the one that came most often gives its name.
    ///
    /// # Errors
    /// If there is one.
    pub fn verdict(self) -> Result<(), Box<Failure>> {
        let mut all: Vec<(u64, Box<Failure>)> = self.0.into_values().collect();
        all.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        for (n, failure) in all.iter().skip(1) {
            println!("{n} times:\n{failure}\n");
        }
        all.into_iter()
            .next()
            .map_or(Ok(()), |(_, failure)| Err(failure))
    }
}

/// A failure with its place.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What did not hold.
    pub mismatch: Mismatch,
    /// The workload or the seed, the crash points and the survivals, in words.
    pub place: String,
    /// The command that shows it again.
    pub replay: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "FAILED ({}): {}",
            self.mismatch.layer, self.mismatch.what
        )?;
        writeln!(f, "  where:  {}", self.place)?;
        write!(f, "  replay: {}", self.replay)
    }
}
