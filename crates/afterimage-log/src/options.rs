//! What a log is told when it is made or opened.

use std::time::Duration;

use afterimage_io::SyncMethod;

use crate::error::{Error, Result};

/// The first bytes of every segment, which hold its header.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// The log is written in whole blocks of this size, or of the disk's sectors where it is written past the page cache.
pub(crate) const BLOCK: u64 = 4096;
/// The most flushes that may be under way.
pub(crate) const MOST_FLIGHTS: usize = 16;
/// No frame is larger than this, however large the segments are.
const LARGEST_FRAME: u64 = 1 << 20;

/// The settings of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The size of a segment file in bytes: a power of two from 64 KiB to 1 GiB, fixed when the log is made.
    /// 16 MiB by default.
    pub segment_bytes: u64,
    /// How many segments are kept prepared ahead of the one in use, 1 to 64; 1 by default. One more is kept and never
    /// written into: it is what recovery needs on a full disk.
    pub spare_segments: usize,
    /// How long a commit that did not ask for the disk may stay in memory, and how long the log is idle before a
    /// watermark proves its last batch. 200 ms by default.
    pub wal_writer_delay: Duration,
    /// How long the leader of a flush waits for more commits to join, once at least `commit_siblings` others wait. Zero
    /// by default: on the devices measured it does not pay (docs/decisions/0010).
    pub commit_delay: Duration,
    /// How many others must wait before `commit_delay` is waited for; 5 by default.
    pub commit_siblings: usize,
    /// How many flushes may be under way at once, 1 to 16; 0, the default, lets the log decide by how long a sync takes.
    pub flushes_in_flight: usize,
    /// How many bytes may wait in memory before an append writes them out, 64 KiB to 1 GiB; 4 MiB by default.
    pub wal_buffers: u64,
    /// How many bytes of log, in whole segments, one slot may hold back before it is given up; 1 GiB by default,
    /// `u64::MAX` for no limit. A full disk is a limit of its own: see [`Wal::create_slot`](crate::Wal::create_slot).
    pub max_slot_wal_keep_size: u64,
    /// How long a slot may go without being owned or moved before it is given up, by the wall clock; 7 days by default,
    /// `Duration::MAX` for no limit.
    pub idle_replication_slot_timeout: Duration,
    /// Whether a `Wal` that has slots gives up by itself what all of them have passed; false by default: then only what
    /// `truncate_before` was asked for. Lost slots count as slots that have passed everything. A log that has no slot
    /// at all keeps everything.
    pub recycle_behind_slots: bool,
    /// How much log, in files in use and prepared, is kept by giving old files new numbers instead of removing them; 80 MiB by default.
    /// No more than `max_wal_size` counts.
    pub min_wal_size: u64,
    /// How much log, in files in use and prepared, may be kept so where it has been needed between two calls of `truncate_before`; 1 GiB
    /// by default. It does not bound the log that nobody gives up.
    pub max_wal_size: u64,
    /// How long records may stand in a segment before it is closed and the next one is begun, so that it can be
    /// archived; `Duration::MAX`, the default, for ever.
    pub archive_timeout: Duration,
    /// Whether a flush fills its last block up, so that no later flush writes that block again; false by default. For
    /// disks that may damage a block while they write the same bytes to it once more.
    pub wal_pad_flush: bool,
    /// How a flush is made durable; none, the default, is what was found to be the fastest when the log was made.
    pub wal_sync_method: Option<SyncMethod>,
    /// Whether flushes pass the page cache by; none, the default, is what was found to be the fastest.
    pub wal_direct_io: Option<bool>,
    /// Whether the log may start a thread for tickets that nobody waits for; true by default. Without it,
    /// `Log::step` does that work.
    pub background: bool,
    /// For tests: the number of the first segment of a log that is made, 1 by default. So they begin where positions are
    /// large.
    #[doc(hidden)]
    pub first_segment: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            segment_bytes: 16 << 20,
            spare_segments: 1,
            wal_writer_delay: Duration::from_millis(200),
            commit_delay: Duration::ZERO,
            commit_siblings: 5,
            flushes_in_flight: 0,
            wal_buffers: 4 << 20,
            max_slot_wal_keep_size: 1 << 30,
            idle_replication_slot_timeout: Duration::from_secs(7 * 24 * 3600),
            recycle_behind_slots: false,
            min_wal_size: 80 << 20,
            max_wal_size: 1 << 30,
            archive_timeout: Duration::MAX,
            wal_pad_flush: false,
            wal_sync_method: None,
            wal_direct_io: None,
            background: true,
            first_segment: 1,
        }
    }
}

/// Refuses a segment size outside its bounds.
pub(crate) fn check_segment_bytes(bytes: u64) -> Result<()> {
    if bytes.is_power_of_two() && (64 << 10..=1 << 30).contains(&bytes) {
        return Ok(());
    }
    let what = format!("{bytes} is not a power of two from 64 KiB to 1 GiB");
    Err(Error::BadOption {
        name: "wal_segment_size",
        what,
    })
}

/// The largest frame, header included, that a log with segments of this size takes.
pub(crate) const fn max_frame(segment_bytes: u64) -> u64 {
    let quarter = segment_bytes / 4;
    if quarter < LARGEST_FRAME {
        quarter
    } else {
        LARGEST_FRAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked() {
        assert!(LogOptions::default().check().is_ok());
        for segment_bytes in [0, 1 << 15, (1 << 16) + 1, 1 << 31] {
            assert!(
                LogOptions {
                    segment_bytes,
                    ..LogOptions::default()
                }
                .check()
                .is_err()
            );
        }
        for spare_segments in [0, 65] {
            assert!(
                LogOptions {
                    spare_segments,
                    ..LogOptions::default()
                }
                .check()
                .is_err()
            );
        }
    }

    #[test]
    fn the_largest_frame_is_a_quarter_segment_or_a_mebibyte() {
        assert_eq!(max_frame(64 << 10), 16 << 10);
        assert_eq!(max_frame(16 << 20), 1 << 20);
    }
}
