//! Power cuts: which survivals are tried at a crash point, and the trail that names one crash state so that it can be made again.

use afterimage_io::sim::{DiskState, Image, Survival};
use std::fmt;
use std::str::FromStr;

/// Where the power was cut and what survived: the I/O call (the first is 1) and the place of the survival in [`survivals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The I/O call before which the power was cut, counted from the start of this life of the store.
    pub call: u64,
    /// The index of the survival.
    pub survival: usize,
}

/// The cuts that lead to a crash state: the first in the workload, each further one inside the recovery from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(pub Vec<Cut>);

impl Trail {
    /// This trail, and then `cut`.
    #[must_use]
    pub fn then(&self, cut: Cut) -> Trail {
        Trail(self.0.iter().copied().chain([cut]).collect())
    }

    /// How many crashes it is deep.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|c| write!(f, "@{}.{}", c.call, c.survival))
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Trail, String> {
        let bad = || format!("not a trail: {text:?} (write @call.survival, once for each crash)");
        let cut = |part: &str| {
            let (call, survival) = part.split_once('.')?;
            Some(Cut { call: call.parse().ok()?, survival: survival.parse().ok()? })
        };
        text.split('@').filter(|p| !p.is_empty()).map(|p| cut(p).ok_or_else(bad)).collect::<Result<_, _>>().map(Trail)
    }
}

/// How many survivals [`survivals`] lists for so many pending operations.
#[must_use]
pub fn survival_count(pending: usize) -> usize {
    match pending {
        0 => 1,
        1 => 2 + TEARS,
        n => 2 + 2 * n + TEARS,
    }
}

/// How many ways of tearing the last write are tried.
const TEARS: usize = 6;

/// The `index`-th survival of a disk with so many pending operations: none, all, torn last writes (at 512 B three times, at 4 KiB, at a byte twice), each pending operation alone,
/// each one missing.
#[must_use]
pub fn survival(pending: usize, index: usize) -> Survival {
    match index {
        0 => Survival::None,
        1 => Survival::All,
        2..=4 => Survival::TornLast { unit: 512, seed: index as u64 },
        5 => Survival::TornLast { unit: 4096, seed: index as u64 },
        6 | 7 => Survival::TornLast { unit: 1, seed: index as u64 },
        i if i < 2 + TEARS + pending => Survival::Only(i - 2 - TEARS),
        i => Survival::Without(i - 2 - TEARS - pending),
    }
}

/// Every survival that is tried of `disk`, with its index.
pub fn survivals(disk: &DiskState) -> impl Iterator<Item = (usize, Survival)> + use<> {
    let pending = disk.pending().len();
    (0..survival_count(pending)).map(move |i| (i, survival(pending, i)))
}

/// The image that the `index`-th survival leaves of `disk`.
#[must_use]
pub fn cut(disk: &DiskState, index: usize) -> Image {
    disk.crash(&survival(disk.pending().len(), index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_reads_back_as_it_was_written() {
        let trail = Trail::default().then(Cut { call: 17, survival: 4 }).then(Cut { call: 3, survival: 0 });
        assert_eq!(trail.to_string(), "@17.4@3.0");
        assert_eq!("@17.4@3.0".parse(), Ok(trail));
        assert!("@17".parse::<Trail>().is_err());
    }

    #[test]
    fn the_survivals_of_three_pending_writes_are_all_there() {
        let all: Vec<String> = (0..survival_count(3)).map(|i| format!("{:?}", survival(3, i))).collect();
        for wanted in ["None", "All", "Only(0)", "Only(2)", "Without(0)", "Without(2)"] {
            assert!(all.iter().any(|s| s == wanted), "{wanted} is missing from {all:?}");
        }
        assert!(all.iter().any(|s| s.starts_with("TornLast")));
    }
}
