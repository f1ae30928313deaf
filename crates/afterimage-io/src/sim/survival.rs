//! What a power cut leaves: for each pending operation a *fate*, and the policies that choose them.

use super::chance::Chance;
use super::disk::{PendingKind, PendingOp};

/// The smallest piece a disk writes whole, where nothing else is asked for.
pub const SECTOR_BYTES: u32 = 512;

/// What becomes of one pending operation in a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It never reached the disk.
    Lost,
    /// It reached the disk whole.
    Kept,
    /// A write of which some units (aligned to the file) reached the disk and others did not, as the seed says. One
    /// that spans two units or more is always torn; one within a unit is kept or lost, and so is one that is never torn.
    Torn {
        /// Unit of tearing in bytes: 1, 512 or 4096.
        unit: u32,
        /// Chooses the units.
        seed: u64,
    },
    /// A write of which only the first units reached the disk.
    TornPrefix {
        /// Unit of tearing in bytes: 1, 512 or 4096.
        unit: u32,
        /// How many bytes are kept, rounded down to whole units.
        bytes: u64,
    },
    /// A write that made the file longer: the length is kept, the bytes are not.
    LengthOnly,
    /// A rename after which the file is there under both names.
    BothNames,
}

/// Which pending operations survive a power cut.
///
/// Numbers count [`DiskState::pending`](super::DiskState::pending) from 0, oldest first. Operations that survive are
/// applied in the order they were issued: what a later write has replaced in the page cache cannot come back over it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Survival {
    /// Nothing that was not synced.
    None,
    /// Everything.
    All,
    /// Only this one.
    Only(usize),
    /// All but this one.
    Without(usize),
    /// The first so many.
    Prefix(usize),
    /// Those marked `true`; what the mask does not reach is lost.
    Mask(Vec<bool>),
    /// Any subset, with tears, lengths without data and double names, as the seed says.
    Random {
        /// Chooses everything.
        seed: u64,
    },
    /// Only the newest pending write of each file and the newest name operation of each directory.
    NewestOnly,
    /// Everything, but the newest write is torn.
    TornLast {
        /// Unit of tearing in bytes: 1, 512 or 4096.
        unit: u32,
        /// Chooses the units.
        seed: u64,
    },
    /// Exactly these fates; what the list does not reach is lost.
    Fates(Vec<Fate>),
}

impl Survival {
    /// The fate of each pending operation under this policy.
    pub fn fates(&self, pending: &[PendingOp]) -> Vec<Fate> {
        let keep = |yes: bool| if yes { Fate::Kept } else { Fate::Lost };
        let each = |fate: &dyn Fn(usize) -> Fate| (0..pending.len()).map(fate).collect();
        match self {
            Survival::None => each(&|_| Fate::Lost),
            Survival::All => each(&|_| Fate::Kept),
            Survival::Only(chosen) => each(&|index| keep(index == *chosen)),
            Survival::Without(chosen) => each(&|index| keep(index != *chosen)),
            Survival::Prefix(count) => each(&|index| keep(index < *count)),
            Survival::Mask(mask) => each(&|index| keep(mask.get(index).copied().unwrap_or(false))),
            Survival::Fates(fates) => {
                each(&|index| fates.get(index).copied().unwrap_or(Fate::Lost))
            }
            Survival::Random { seed } => random(*seed, pending),
            Survival::NewestOnly => each(&|index| keep(is_newest(pending, index))),
            Survival::TornLast { unit, seed } => torn_last(*unit, *seed, pending),
        }
    }
}

fn random(seed: u64, pending: &[PendingOp]) -> Vec<Fate> {
    let mut chance = Chance::new(seed);
    // Some cuts keep nearly all, some nearly nothing: most bugs need one of the extremes.
    let keep_of_eight = 1 + chance.below(7);
    pending
        .iter()
        .map(|op| match chance.below(16) {
            0 | 1 if op.is_write() => Fate::Torn {
                unit: [1, SECTOR_BYTES, SECTOR_BYTES, 4096][chance.below(4) as usize],
                seed: chance.next(),
            },
            2 if op.is_write() => Fate::LengthOnly,
            3 if matches!(op.kind, PendingKind::Rename { .. }) => Fate::BothNames,
            _ if chance.below(8) < keep_of_eight => Fate::Kept,
            _ => Fate::Lost,
        })
        .collect()
}

fn is_newest(pending: &[PendingOp], index: usize) -> bool {
    let op = &pending[index];
    !pending[index + 1..]
        .iter()
        .any(|later| later.same_place(op))
}

fn torn_last(unit: u32, seed: u64, pending: &[PendingOp]) -> Vec<Fate> {
    let mut fates = vec![Fate::Kept; pending.len()];
    if let Some(last) = pending.iter().rposition(PendingOp::is_write) {
        fates[last] = Fate::Torn { unit, seed };
    }
    fates
}
