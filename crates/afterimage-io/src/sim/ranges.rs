//! Which blocks of a file have space on the disk: a set of ranges in whole blocks, for the quota.

use std::collections::BTreeMap;
use std::ops::Range;

use super::content::BLOCK_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Start to end in bytes, whole blocks, neither overlapping nor touching.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds the blocks that a range of bytes touches.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = whole_blocks(&range);
        // Whatever overlaps or touches becomes part of the new range.
        while let Some((&before, &stop)) = self.0.range(..=end).next_back() {
            if stop < start {
                break;
            }
            start = start.min(before);
            end = end.max(stop);
            self.0.remove(&before);
        }
        self.0.insert(start, end);
    }

    /// Gives back the blocks wholly at or above `len`.
    pub(crate) fn truncate(&mut self, len: u64) {
        let len = len.div_ceil(BLOCK) * BLOCK;
        drop(self.0.split_off(&len));
        if let Some(mut last) = self.0.last_entry() {
            let end = (*last.get()).min(len);
            last.insert(end);
        }
    }

    /// Bytes in all.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// How many bytes of `range`, from its start, can be written when `room` bytes are left for new blocks.
    pub(crate) fn fitting(&self, range: &Range<u64>, mut room: u64) -> u64 {
        let (mut at, end) = whole_blocks(range);
        while at < end {
            let here = self
                .0
                .range(..=at)
                .next_back()
                .filter(|(_, stop)| **stop > at);
            if let Some((_, &stop)) = here {
                at = stop;
                continue;
            }
            let gap_end = self
                .0
                .range(at..)
                .next()
                .map_or(end, |(&next, _)| next.min(end));
            let free = (room / BLOCK * BLOCK).min(gap_end - at);
            at += free;
            room -= free;
            if at < gap_end {
                break;
            }
        }
        at.clamp(range.start, range.end) - range.start
    }
}

fn whole_blocks(range: &Range<u64>) -> (u64, u64) {
    (
        range.start / BLOCK * BLOCK,
        range.end.div_ceil(BLOCK) * BLOCK,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_shrink() {
        let mut ranges = Ranges::default();
        ranges.insert(0..1);
        ranges.insert(8192..8193);
        assert_eq!(ranges.total(), 8192);
        ranges.insert(4096..8192);
        assert_eq!(ranges.0, BTreeMap::from([(0, 12288)]));
        ranges.insert(0..5);
        assert_eq!(ranges.total(), 12288);
        ranges.truncate(4097);
        assert_eq!(ranges.total(), 8192);
        ranges.truncate(0);
        assert_eq!(ranges.total(), 0);
    }

    #[test]
    fn what_fits() {
        let mut ranges = Ranges::default();
        ranges.insert(4096..8192);
        assert_eq!(ranges.fitting(&(0..4096), 4096), 4096);
        assert_eq!(ranges.fitting(&(0..4096), 4095), 0);
        assert_eq!(ranges.fitting(&(4100..8000), 0), 3900);
        assert_eq!(ranges.fitting(&(4100..9000), 0), 4092);
        assert_eq!(ranges.fitting(&(100..20_000), 8192), 12288 - 100);
        assert_eq!(ranges.fitting(&(100..20_000), 1 << 20), 19_900);
    }
}
