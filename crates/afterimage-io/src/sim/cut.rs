//! What a power cut leaves of a `DiskState`: the durable view, and of the pending operations what their fates say.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::chance::Chance;
use super::content::Content;
use super::disk::{DiskState, FileId, Names, Node, PendingOp};
use super::image::{Entry, Image};
use super::survival::{Fate, Survival};

impl DiskState {
    /// The disk after a power cut.
    pub fn crash(&self, policy: &Survival) -> Image {
        let fates = policy.fates(&self.pending);
        let mut contents: BTreeMap<FileId, Content> = BTreeMap::new();
        let mut names = Names::clone(&self.durable);
        for (op, fate) in self.pending.iter().zip(fates) {
            if fate == Fate::Lost {
                continue;
            }
            match op.file.filter(|_| op.is_content()) {
                Some(id) => {
                    let content = contents.entry(id);
                    let content = content.or_insert_with(|| self.inode(id).durable.clone());
                    op.apply_fate(content, fate);
                }
                None => op.apply_to_names(&mut names, fate == Fate::BothNames),
            }
        }
        let entry = |node: Node| match node {
            Node::Dir => Entry::Dir,
            Node::File(id) => {
                let content = contents.get(&id);
                Entry::File(content.unwrap_or_else(|| &self.inode(id).durable).clone())
            }
        };
        Image::new(
            names
                .iter()
                .map(|(name, node)| (Arc::clone(name), entry(*node)))
                .collect(),
        )
    }
}

impl PendingOp {
    fn apply_fate(&self, content: &mut Content, fate: Fate) {
        let Some(range) = self.write_range() else {
            // A length is set or not: there is nothing to tear.
            self.apply_to(content);
            return;
        };
        match if self.atomic { undivided(fate) } else { fate } {
            Fate::Lost => {}
            Fate::Kept | Fate::BothNames => self.apply_to(content),
            Fate::LengthOnly => content.set_len(content.len().max(range.end)),
            Fate::TornPrefix { unit, bytes } => {
                let unit = u64::from(unit);
                let end = range.start.saturating_add(bytes).min(range.end) / unit * unit;
                if end > range.start {
                    self.apply_part(content, range.start..end);
                }
            }
            Fate::Torn { unit, seed } => {
                for part in torn(&range, u64::from(unit), seed) {
                    self.apply_part(content, part);
                }
            }
        }
    }
}

/// What a write that is never torn meets where another one would be.
fn undivided(fate: Fate) -> Fate {
    match fate {
        Fate::Torn { seed, .. } if Chance::new(seed).below(2) == 0 => Fate::Kept,
        Fate::Torn { .. } | Fate::TornPrefix { .. } | Fate::LengthOnly => Fate::Lost,
        whole => whole,
    }
}

/// The parts of a write that reached the disk. Units are aligned to the file; of two or more, at least one is written
/// and at least one is not.
fn torn(range: &Range<u64>, unit: u64, seed: u64) -> Vec<Range<u64>> {
    let mut chance = Chance::new(seed);
    let first = range.start / unit;
    let units = range.end.div_ceil(unit) - first;
    if units < 2 {
        return vec![range.clone()]
            .into_iter()
            .filter(|_| chance.below(2) == 0)
            .collect();
    }
    let cut = 1 + chance.below(units - 1);
    let kept: Vec<Range<u64>> = match chance.below(4) {
        0 => vec![0..cut, units..units],
        1 => vec![0..0, cut..units],
        2 => {
            let start = chance.below(units);
            let end = start + 1 + chance.below((units - start).min(units - 1));
            vec![0..start, end..units]
        }
        _ => scattered(units, &mut chance),
    };
    let bytes = |kept: Range<u64>| {
        let start = ((first + kept.start) * unit).max(range.start);
        start..((first + kept.end) * unit).min(range.end)
    };
    kept.into_iter()
        .filter(|kept| !kept.is_empty())
        .map(bytes)
        .collect()
}

/// A random subset of the units, neither none nor all, in runs: byte by byte it would be noise, and slow.
fn scattered(units: u64, chance: &mut Chance) -> Vec<Range<u64>> {
    let longest = units.div_ceil(64);
    let lost = chance.below(units);
    let kept = (lost + 1) % units;
    let mut runs = Vec::new();
    let mut at = 0;
    while at < units {
        let end = (at + 1 + chance.below(longest)).min(units);
        let keep = chance.below(2) == 0;
        for unit in at..end {
            if unit == kept || (keep && unit != lost) {
                runs.push(unit..unit + 1);
            }
        }
        at = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tear_keeps_some_and_loses_some() {
        for seed in 0..2000 {
            for (range, unit) in [
                (0..8192, 512),
                (100..1100, 512),
                (5..9, 1),
                (4000..5000, 4096),
            ] {
                let parts = torn(&range, unit, seed);
                let kept: u64 = parts.iter().map(|part| part.end - part.start).sum();
                assert!(
                    kept > 0 && kept < range.end - range.start,
                    "{seed} {range:?} {parts:?}"
                );
                for part in &parts {
                    assert!(part.start >= range.start && part.end <= range.end);
                    assert!(part.start == range.start || part.start.is_multiple_of(unit));
                    assert!(part.end == range.end || part.end.is_multiple_of(unit));
                }
            }
        }
    }

    #[test]
    fn one_unit_is_all_or_nothing() {
        let outcomes: Vec<_> = (0..50)
            .map(|seed| torn(&(10..20), 512, seed).len())
            .collect();
        assert!(outcomes.contains(&0) && outcomes.contains(&1));
    }
}
