//! Power cuts: which survivals are tried at a crash point, and the trail that names one crash state so that it can be made again.

use crate::bytes::{SEGMENT_HEADER, frame_word};
use afterimage_io::sim::{DiskState, Fate, Image, PendingKind, PendingOp, Survival};
use std::fmt;
use std::path::Path;
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
        self.0
            .iter()
            .try_for_each(|c| write!(f, "@{}.{}", c.call, c.survival))
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Trail, String> {
        let bad = || format!("not a trail: {text:?} (write @call.survival, once for each crash)");
        let cut = |part: &str| {
            let (call, survival) = part.split_once('.')?;
            Some(Cut {
                call: call.parse().ok()?,
                survival: survival.parse().ok()?,
            })
        };
        text.split('@')
            .filter(|p| !p.is_empty())
            .map(|p| cut(p).ok_or_else(bad))
            .collect::<Result<_, _>>()
            .map(Trail)
    }
}

/// How many survivals there are for so many pending operations, tears at frame borders not counted.
#[must_use]
pub fn survival_count(pending: usize) -> usize {
    match pending {
        0 => 1,
        1 => 2 + TEARS,
        n => 2 + 2 * n + TEARS,
    }
}

/// How many random ways of tearing the last write are tried.
const TEARS: usize = 6;
/// The most borders between frames at which the last write of the log is torn.
const BORDERS: usize = 12;

/// Every survival that is tried of `disk`: none, all, torn last writes (at 512 B three times, at 4 KiB, at a byte twice), each pending operation alone, each one
/// missing; and if the last write is one of the log, that write cut off at each border between its new frames.
#[must_use]
pub fn survivals(disk: &DiskState) -> Vec<Survival> {
    let pending = disk.pending();
    let last_write = pending.iter().rposition(PendingOp::is_write);
    let mut list = vec![Survival::None];
    if pending.is_empty() {
        return list;
    }
    list.push(Survival::All);
    let torn = |unit, seed| Survival::TornLast { unit, seed };
    list.extend([
        torn(512, 2),
        torn(512, 3),
        torn(512, 4),
        torn(4096, 5),
        torn(1, 6),
        torn(1, 7),
    ]);
    if pending.len() > 1 {
        list.extend((0..pending.len()).map(Survival::Only));
        list.extend((0..pending.len()).map(Survival::Without));
    }
    let borders = last_write.map_or(Vec::new(), |n| borders(disk, &pending[n]));
    let mut fates = vec![Fate::Kept; pending.len()];
    list.extend(borders.into_iter().map(|bytes| {
        if let Some(n) = last_write {
            fates[n] = Fate::TornPrefix { unit: 1, bytes };
        }
        Survival::Fates(fates.clone())
    }));
    list
}

/// The lengths at which a write to a segment of the log ends exactly between two frames, from the first byte on that it changes.
fn borders(disk: &DiskState, op: &PendingOp) -> Vec<u64> {
    let (PendingKind::Write { offset, len }, true) = (op.kind(), op.path().ends_with(".log"))
    else {
        return Vec::new();
    };
    let (path, offset, end) = (Path::new(op.path()), *offset, offset + len);
    let read = |from: u64| {
        let len = usize::try_from(end - from).unwrap_or(0);
        Some((
            disk.read_cached(path, from, len)?,
            disk.read_durable(path, from, len)?,
        ))
    };
    let Some((new, old)) = read(offset) else {
        return Vec::new();
    };
    let Some(changed) = new.iter().zip(&old).position(|(n, o)| n != o) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER;
    while at < end {
        if at > offset + changed as u64 {
            found.push(at - offset);
        }
        match disk
            .read_cached(path, at, 8)
            .as_deref()
            .and_then(frame_word)
        {
            Some(frame) => at += u64::from(frame.length),
            None => break,
        }
    }
    let step = found.len().div_ceil(BORDERS).max(1);
    found.into_iter().rev().step_by(step).collect()
}

/// The image that the `index`-th survival leaves of `disk`; an index too high counts from the start again.
#[must_use]
pub fn cut(disk: &DiskState, index: usize) -> Image {
    let list = survivals(disk);
    disk.crash(&list[index % list.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_io::OpenMode;
    use afterimage_io::sim::Sim;

    #[test]
    fn a_trail_reads_back_as_it_was_written() {
        let trail = Trail::default()
            .then(Cut {
                call: 17,
                survival: 4,
            })
            .then(Cut {
                call: 3,
                survival: 0,
            });
        assert_eq!(trail.to_string(), "@17.4@3.0");
        assert_eq!("@17.4@3.0".parse(), Ok(trail));
        assert!("@17".parse::<Trail>().is_err());
    }

    #[test]
    fn the_survivals_of_three_pending_writes_are_all_there() {
        let sim = Sim::new(1);
        let file = sim
            .io()
            .open(Path::new("f"), OpenMode::Create)
            .expect("creates");
        for n in 0..2 {
            file.write_all_at(n * 5000, &[1; 2000]).expect("writes");
        }
        let disk = sim.snapshot();
        let all: Vec<String> = survivals(&disk).iter().map(|s| format!("{s:?}")).collect();
        assert_eq!(all.len(), survival_count(disk.pending().len()));
        for wanted in [
            "None",
            "All",
            "Only(0)",
            "Only(2)",
            "Without(0)",
            "Without(2)",
        ] {
            assert!(
                all.iter().any(|s| s == wanted),
                "{wanted} is missing from {all:?}"
            );
        }
        assert!(all.iter().any(|s| s.starts_with("TornLast")));
    }

    #[test]
    fn a_write_of_the_log_is_torn_between_its_new_frames() {
        let sim = Sim::new(1);
        let file = sim
            .io()
            .open(Path::new("s.log"), OpenMode::Create)
            .expect("creates");
        file.prefill(0, 16384).expect("fills");
        file.sync_all().expect("syncs");
        sim.io().sync_dir(Path::new("")).expect("syncs");
        let frame = |fill: u8| [&(100u32 | 1 << 24).to_le_bytes(), [fill; 96].as_slice()].concat();
        file.write_all_at(4096, &frame(1)).expect("writes");
        file.sync().expect("syncs");
        file.write_all_at(4096, &[frame(1), frame(2), frame(3)].concat())
            .expect("writes");
        let torn = |s: &Survival| matches!(s, Survival::Fates(f) if matches!(f.last(), Some(Fate::TornPrefix { .. })));
        let disk = sim.snapshot();
        let images: Vec<Vec<u8>> = survivals(&disk)
            .iter()
            .filter(|s| torn(s))
            .filter_map(|s| disk.crash(s).read("s.log", 4096, 300))
            .collect();
        assert_eq!(
            images.len(),
            1,
            "one border is behind the first new byte and before the end"
        );
        assert_eq!(images[0], [frame(1), frame(2), vec![0; 100]].concat());
    }
}
