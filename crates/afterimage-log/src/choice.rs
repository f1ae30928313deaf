//! Which way of making a write durable is the fastest here: tried out once, when the log is made.
//!
//! The file that is written to is a prepared segment, with the zeroes it is full of, so nothing is changed. Each way has a
//! block of its own, and goes on to the next after many writes, as commits do. The ways take turns, because disks have moods; the median counts, and the plain way stays unless another is clearly faster.
//! The control file remembers the outcome (decision 0011).

use std::fmt;
use std::path::Path;

use afterimage_io::{DurableWrites, Io, OpenMode, SyncMethod};

use crate::options::{BLOCK, HEADER_BYTES, LogOptions};

/// Each way is tried so often, but no longer than [`LIMIT`] in all.
const ROUNDS: u64 = 101;
/// A way writes its block so often, and goes on to another: about as many small commits fit one.
const SAME_BLOCK: u64 = 16;
/// In nanoseconds.
const LIMIT: u128 = 150_000_000;
/// Where a plain durable write takes longer, several flushes are under way at once: `sync.rs` has the same bound.
pub(crate) const SLOW: u64 = SyncChoice::SLOW_NANOS;

/// How flushes are made durable, and what was seen when that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncChoice {
    /// The way.
    pub writes: DurableWrites,
    /// How long a durable write of a block took this way, the median in nanoseconds; 0 where nothing was tried.
    pub nanos: u32,
    /// The same for a write and `fdatasync`.
    pub plain_nanos: u32,
}

impl SyncChoice {
    /// Another way must be at least so much faster than the plain one, in percent.
    pub const GAIN_PERCENT: u64 = 2;
    /// Where a plain durable write takes so long or longer, in nanoseconds, several flushes at once gain more than a
    /// faster single one, and only plain ones may overlap.
    pub const SLOW_NANOS: u64 = 500_000;

    /// What `wal_sync_method = auto` with `wal_direct_io = auto` chooses, given how many nanoseconds a durable write of a
    /// block takes in the middle, each way once: the fastest if it is clearly faster than the plain one, and the disk
    /// is not slow.
    ///
    /// ```
    /// use afterimage_io::{DurableWrites, SyncMethod};
    /// use afterimage_log::SyncChoice;
    ///
    /// let direct = DurableWrites { method: SyncMethod::OpenDatasync, direct: true };
    /// let choice = SyncChoice::among(&[(DurableWrites::PLAIN, 55_000), (direct, 41_000)]);
    /// assert_eq!(choice.writes, direct);
    /// ```
    #[must_use]
    pub fn among(measured: &[(DurableWrites, u64)]) -> SyncChoice {
        best(DurableWrites::PLAIN, measured)
    }

    pub(crate) fn untried(writes: DurableWrites) -> SyncChoice {
        SyncChoice {
            writes,
            nanos: 0,
            plain_nanos: 0,
        }
    }
}

impl fmt::Display for SyncChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.writes)?;
        if self.nanos == 0 {
            return Ok(());
        }
        let time = |nanos: u32| format!("{:.1} us", f64::from(nanos) / 1e3);
        let this = time(self.nanos);
        if self.writes == DurableWrites::PLAIN {
            return write!(
                f,
                " (when the log was made: {this} a durable block; nothing else was clearly faster)"
            );
        }
        let plain = time(self.plain_nanos);
        write!(
            f,
            " (when the log was made: {this} a durable block, fdatasync {plain})"
        )
    }
}

/// The way that the options ask for; what they leave open is as it was recorded, or plain.
pub(crate) fn asked(options: &LogOptions, recorded: Option<SyncChoice>) -> SyncChoice {
    let recorded = recorded.unwrap_or(SyncChoice::untried(DurableWrites::PLAIN));
    let writes = over(options, recorded.writes);
    match writes == recorded.writes {
        true => recorded,
        false => SyncChoice::untried(writes),
    }
}

/// This way, but for what the options say.
fn over(options: &LogOptions, writes: DurableWrites) -> DurableWrites {
    DurableWrites {
        method: options.wal_sync_method.unwrap_or(writes.method),
        direct: options.wal_direct_io.unwrap_or(writes.direct),
    }
}

/// The way for a new log: `prepared` is a segment that is not yet used.
pub(crate) fn choose(io: &Io, options: &LogOptions, prepared: &Path) -> SyncChoice {
    let open = options.wal_sync_method.is_none() || options.wal_direct_io.is_none();
    if !open || io.is_simulated() {
        return asked(options, None);
    }
    let mut ways = Vec::new();
    for method in SyncMethod::ALL {
        for direct in [false, true] {
            let way = DurableWrites { method, direct };
            // What the system does not offer is no candidate.
            if over(options, way) == way
                && let Ok(file) = io.open_durable(prepared, OpenMode::ReadWrite, way)
            {
                ways.push((way, file, Vec::new()));
            }
        }
    }
    let zeroes = [0; BLOCK as usize];
    let blocks = options.segment_bytes / BLOCK - HEADER_BYTES / BLOCK;
    let began = io.now();
    for round in 0..ROUNDS {
        for (n, (_, file, times)) in ways.iter_mut().enumerate() {
            let own = round / SAME_BLOCK * 8 + n as u64;
            let at = HEADER_BYTES + own % blocks * BLOCK;
            let before = io.now();
            // As large as a small commit's write would be.
            let block = &zeroes[..file.block() as usize];
            if file.write_all_at_durably(at, block).is_ok() {
                times.push((io.now() - before).as_nanos() as u64);
            }
        }
        if (io.now() - began).as_nanos() > LIMIT {
            break;
        }
    }
    let measured: Vec<_> = ways
        .into_iter()
        .filter_map(|(way, _, times)| Some((way, median(times)?)))
        .collect();
    best(over(options, DurableWrites::PLAIN), &measured)
}

fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// The fastest, if it is clearly faster than the plain way, and the disk is a fast one.
fn best(plain: DurableWrites, measured: &[(DurableWrites, u64)]) -> SyncChoice {
    let Some((way, time)) = measured.iter().min_by_key(|(_, time)| *time) else {
        return SyncChoice::untried(plain);
    };
    let usual = measured.iter().find(|(way, _)| *way == plain);
    let usual = usual.map(|(_, usual)| *usual);
    let (writes, time) = match usual {
        Some(usual) if usual >= SLOW || time * 100 > usual * (100 - SyncChoice::GAIN_PERCENT) => {
            (plain, usual)
        }
        _ => (*way, *time),
    };
    let nanos = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    SyncChoice {
        writes,
        nanos: nanos(time),
        plain_nanos: nanos(usual.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: DurableWrites = DurableWrites {
        method: SyncMethod::OpenDatasync,
        direct: true,
    };

    #[test]
    fn the_plain_way_stays_unless_another_is_clearly_faster() {
        let plain = DurableWrites::PLAIN;
        let chosen = |measured: &[_]| best(plain, measured).writes;
        assert_eq!(chosen(&[]), plain);
        assert_eq!(chosen(&[(plain, 100), (DIRECT, 99)]), plain);
        assert_eq!(chosen(&[(plain, 100), (DIRECT, 98)]), DIRECT);
        assert_eq!(chosen(&[(DIRECT, 80)]), DIRECT, "the plain way failed");
        assert_eq!(
            chosen(&[(plain, 600_000), (DIRECT, 300_000)]),
            plain,
            "a slow disk"
        );
    }

    #[test]
    fn it_says_why() {
        let choice = best(
            DurableWrites::PLAIN,
            &[(DurableWrites::PLAIN, 55_321), (DIRECT, 41_000)],
        );
        assert_eq!(
            choice.to_string(),
            "open_datasync, direct (when the log was made: 41.0 us a durable block, fdatasync 55.3 us)"
        );
        let choice = SyncChoice::untried(DIRECT);
        assert_eq!(choice.to_string(), "open_datasync, direct");
    }

    #[test]
    fn what_is_asked_for_is_not_weighed() {
        let options = LogOptions {
            wal_sync_method: Some(SyncMethod::Fsync),
            ..LogOptions::default()
        };
        let recorded = SyncChoice {
            nanos: 1000,
            ..SyncChoice::untried(DIRECT)
        };
        let asked_for = asked(&options, Some(recorded));
        assert_eq!(asked_for.writes.method, SyncMethod::Fsync);
        assert!(asked_for.writes.direct);
        assert_eq!(asked_for.nanos, 0, "nobody has tried this one");
        assert_eq!(asked(&LogOptions::default(), Some(recorded)), recorded);
    }
}
