//! The name of one crash state, short enough for a command line: which run, which fault, which power cuts.

use crate::choices::Strings;
use crate::cut::Trail;
use std::fmt;
use std::str::FromStr;

/// A failure that the disk of the exploration can have, beside losing power. Each is opt-in: see [`Explore::faults`](super::Explore::faults).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// From one call on nothing more fits on the disk: writes that need room fail with `StorageFull`. After the crash there is room again.
    DiskFull,
    /// One sync fails with `EIO`. As on Linux the page cache goes on to show the new bytes, the next sync says that all is well, and the disk has the old
    /// bytes.
    SyncFails,
    /// One write fails with `EIO` and changes nothing.
    WriteFails,
}

impl Fault {
    const ALL: [Fault; 3] = [Fault::DiskFull, Fault::SyncFails, Fault::WriteFails];

    fn name(self) -> &'static str {
        match self {
            Fault::DiskFull => "full",
            Fault::SyncFails => "sync",
            Fault::WriteFails => "write",
        }
    }
}

/// What a run's choices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Seed(u64),
    Strings(Strings),
}

/// One crash state: the run, the fault at one of its calls, and the cuts, the first in the run, each further one inside the recovery from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) run: Run,
    pub(super) fault: Option<(Fault, u64)>,
    pub(super) trail: Trail,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Run::Seed(seed) => write!(f, "{seed}"),
            Run::Strings(strings) => write!(f, "x{}", strings.to_hex()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.run)?;
        if let Some((fault, call)) = self.fault {
            write!(f, "/{}-{call}", fault.name())?;
        }
        write!(f, "{}", self.trail)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let bad = || format!("not a crash state: {text:?}; copy it from the failure that named it");
        let (head, trail) = text.split_at(text.find('@').unwrap_or(text.len()));
        let (run, fault) = match head.split_once('/') {
            None => (head, None),
            Some((run, fault)) => (run, Some(read_fault(fault).ok_or_else(bad)?)),
        };
        let run = match run.strip_prefix('x') {
            Some(hex) => Run::Strings(Strings::from_hex(hex).ok_or_else(bad)?),
            None => Run::Seed(run.parse().map_err(|_| bad())?),
        };
        let trail = trail.parse().map_err(|_| bad())?;
        Ok(Place { run, fault, trail })
    }
}

fn read_fault(text: &str) -> Option<(Fault, u64)> {
    let (name, call) = text.split_once('-')?;
    let fault = Fault::ALL.into_iter().find(|f| f.name() == name)?;
    Some((fault, call.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_it_was_written() {
        for text in ["7@17.4@3.0", "0", "x00ff..01/sync-12@31.1", "3/full-1@9.2"] {
            let place: Place = text.parse().expect("it is one");
            assert_eq!(place.to_string(), text);
        }
        for wrong in [
            "",
            "seven@1.1",
            "7@1",
            "xabc@1.1",
            "7/flood-3@1.1",
            "7/full@1.1",
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
