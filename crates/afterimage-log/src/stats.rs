//! What the log counts about itself.

use afterimage_io::sync::atomic::AtomicU64;

use crate::choice::SyncChoice;
use crate::durations::Durations;
use crate::lsn::Lsn;

/// A look at the log's counters and positions. Counters begin at zero when the log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStats {
    /// Data records appended.
    pub records: u64,
    /// Bytes appended, frames of every kind included.
    pub bytes: u64,
    /// Write calls made for batches.
    pub writes: u64,
    /// Sync calls made for batches.
    pub syncs: u64,
    /// Bytes written for batches, whole blocks.
    pub bytes_written: u64,
    /// Segments made ahead of use.
    pub segments_prepared: u64,
    /// Segments that were given a new number instead of being removed.
    pub segments_recycled: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Flushes begun, each with one write or sync for each segment that it touches.
    pub flushes: u64,
    /// Commits that waited for a flush, by the flush that carried them: over [`flushes`](LogStats::flushes) what one sync serves.
    pub flush_commits: u64,
    /// Commits on their way when a flush began, in it or in others: over [`flushes`](LogStats::flushes) how many commit at a time.
    pub flush_writers: u64,
    /// How often a reservation had to wait because the buffer was full.
    pub wal_buffers_full: u64,
    /// Slots that were given up at a limit or for a full disk.
    pub slots_lost: u64,
    /// How long a write or sync that makes a batch durable takes, in microseconds: a moving average.
    pub sync_micros: u64,
    /// The longest of them since the log was opened, in microseconds. Everybody who waited then waited as long.
    pub slowest_sync_micros: u64,
    /// What background work last met with, and has not got over: preparing segments, limits of slots, the control file.
    pub background_error: Option<String>,
    /// Segments that hold log now.
    pub segments: u64,
    /// Segments prepared and not yet used.
    pub spare_segments: u64,
    /// The size of a segment in bytes.
    pub segment_bytes: u64,
    /// How flushes are made durable, and why.
    pub sync_choice: SyncChoice,
    /// The position of the oldest record that can still be read.
    pub oldest_lsn: Lsn,
    /// Everything before this is durable.
    pub durable_lsn: Lsn,
    /// Everything before this has been handed to the operating system.
    pub written_lsn: Lsn,
    /// Where the next record will stand, or before.
    pub next_lsn: Lsn,
}

/// The counters behind [`LogStats`] that are not kept under the buffer's mutex.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub writes: AtomicU64,
    pub syncs: AtomicU64,
    pub bytes_written: AtomicU64,
    pub prepared: AtomicU64,
    pub recycled: AtomicU64,
    pub removed: AtomicU64,
    pub flushes: AtomicU64,
    pub flush_commits: AtomicU64,
    pub flush_writers: AtomicU64,
    pub buffers_full: AtomicU64,
    pub slots_lost: AtomicU64,
    /// How many segments were made ready, by whatever way; tells a waiter that someone else has.
    pub made: AtomicU64,
}

/// How long syncs took, and how long those who use the log have waited, by what for.
#[derive(Debug, Default)]
pub struct LogTimes {
    /// The writes or syncs that made batches durable.
    pub sync: Durations,
    /// Waits for the write and sync that makes what was appended as durable as was asked.
    pub wait_sync: Durations,
    /// Waits for a full buffer to be written out.
    pub wait_buffer: Durations,
    /// Waits for room in the log: a segment that had to be made first, or older log that had to become needless.
    pub wait_space: Durations,
}
