//! Which way of making a write durable is the fastest here: tried out once, when the log is made.
//!
//! The file that is written to is a prepared segment, with the zeroes it is full of, so nothing is changed. The ways
//! take turns, because disks have moods; the median counts, and the plain way stays unless another is clearly faster.

use std::path::Path;

use afterimage_io::{DurableWrites, Io, OpenMode, SyncMethod};

use crate::options::{BLOCK, HEADER_BYTES, LogOptions};

/// Each way is tried so often, but no longer than [`LIMIT`] in all.
const ROUNDS: u64 = 21;
/// In nanoseconds.
const LIMIT: u128 = 150_000_000;
/// Another way must be at least so much faster than the plain one, in percent.
const GAIN: u64 = 7;

/// The way that the options ask for; what they leave open is as it was recorded, or plain.
pub(crate) fn asked(options: &LogOptions, recorded: Option<DurableWrites>) -> DurableWrites {
    let recorded = recorded.unwrap_or(DurableWrites::PLAIN);
    DurableWrites {
        method: options.wal_sync_method.unwrap_or(recorded.method),
        direct: options.wal_direct_io.unwrap_or(recorded.direct),
    }
}

/// The way for a new log: `prepared` is a segment that is not yet used.
pub(crate) fn choose(io: &Io, options: &LogOptions, prepared: &Path) -> DurableWrites {
    let plain = asked(options, None);
    let open = options.wal_sync_method.is_none() || options.wal_direct_io.is_none();
    if !open || io.is_simulated() {
        return plain;
    }
    let mut ways = Vec::new();
    for method in SyncMethod::ALL {
        for direct in [false, true] {
            let way = DurableWrites { method, direct };
            // What the system does not offer is no candidate.
            if asked(options, Some(way)) == way
                && let Ok(file) = io.open_durable(prepared, OpenMode::ReadWrite, way)
            {
                ways.push((way, file, Vec::new()));
            }
        }
    }
    let block = vec![0; BLOCK as usize];
    let blocks = options.segment_bytes / BLOCK - HEADER_BYTES / BLOCK;
    let began = io.now();
    for round in 0..ROUNDS {
        for (n, (_, file, times)) in ways.iter_mut().enumerate() {
            let at = HEADER_BYTES + (round * 8 + n as u64) % blocks * BLOCK;
            let before = io.now();
            if file.write_all_at_durably(at, &block).is_ok() {
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
    best(plain, &measured)
}

fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// The fastest, if it is clearly faster than the plain way.
fn best(plain: DurableWrites, measured: &[(DurableWrites, u64)]) -> DurableWrites {
    let Some((way, time)) = measured.iter().min_by_key(|(_, time)| *time) else {
        return plain;
    };
    let usual = measured.iter().find(|(way, _)| *way == plain);
    match usual {
        Some((_, usual)) if time * 100 > usual * (100 - GAIN) => plain,
        _ => *way,
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
        assert_eq!(best(plain, &[]), plain);
        assert_eq!(best(plain, &[(plain, 100), (DIRECT, 95)]), plain);
        assert_eq!(best(plain, &[(plain, 100), (DIRECT, 80)]), DIRECT);
        assert_eq!(best(plain, &[(DIRECT, 80)]), DIRECT, "the plain way failed");
    }

    #[test]
    fn what_is_asked_for_is_not_weighed() {
        let options = LogOptions {
            wal_sync_method: Some(SyncMethod::Fsync),
            ..LogOptions::default()
        };
        assert_eq!(asked(&options, Some(DIRECT)).method, SyncMethod::Fsync);
        assert!(asked(&options, Some(DIRECT)).direct);
        assert_eq!(asked(&LogOptions::default(), Some(DIRECT)), DIRECT);
    }
}
