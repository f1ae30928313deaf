//! What the engine counts, as plain data.

use afterimage_log::Waits;

/// A look at the engine's counters and positions; got by [`Database::stats`](crate::Database::stats), or from the
/// `status` file of a database that another process has open. Positions are log positions (LSNs), sizes are bytes,
/// counts are since the database was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Where the next record goes.
    pub next_lsn: u64,
    /// Up to where the log has been handed to the operating system.
    pub written_lsn: u64,
    /// Up to where the log is on stable storage.
    pub durable_lsn: u64,
    /// Where a recovery would begin to redo.
    pub redo_lsn: u64,
    /// The last complete checkpoint.
    pub checkpoint_lsn: u64,
    /// Log written since the redo point, in bytes: what a recovery would read.
    pub checkpoint_age: u64,
    /// The most that this has been: never more than `max_wal_size`.
    pub checkpoint_age_max: u64,
    /// How long a recovery would take now, in microseconds, reckoned from the log, the dirty pages and how long the last one in this
    /// directory has taken. What would have to be taken back of unfinished transactions comes on top.
    pub estimated_recovery_micros: u64,
    /// The setting `max_wal_size`, in bytes.
    pub max_wal_size: u64,
    /// Checkpoints because `checkpoint_timeout` had passed.
    pub checkpoints_timed: u64,
    /// Checkpoints because an eighth of `max_wal_size` had been written since the last one.
    pub checkpoints_paced: u64,
    /// Checkpoints because the log came close to `max_wal_size`: many of them mean a log too small.
    pub checkpoints_forced: u64,
    /// Checkpoints that somebody asked for.
    pub checkpoints_manual: u64,
    /// Checkpoints at a clean stop or at the end of a recovery.
    pub checkpoints_shutdown: u64,
    /// Transactions committed, those of one row included.
    pub commits: u64,
    /// Transactions rolled back.
    pub rollbacks: u64,
    /// Transactions unfinished at this moment that have written something.
    pub active_transactions: u64,
    /// Deadlocks ended.
    pub deadlocks: u64,
    /// Waits for a lock that were given up after `lock_timeout`.
    pub lock_timeouts: u64,
    /// Times a transaction began to wait for a lock.
    pub lock_waits: u64,
    /// Snapshots open at this moment.
    pub snapshots: u64,
    /// The position that the oldest of them reads at; zero if there is none.
    pub snapshot_oldest_lsn: u64,
    /// Snapshots given up because the old versions of rows took more than `version_store_size`.
    pub snapshots_too_old: u64,
    /// Old versions of rows in memory, for snapshots and for what is not yet durable.
    pub versions: u64,
    /// The memory that they take, in bytes.
    pub version_bytes: u64,
    /// Records appended to the log.
    pub wal_records: u64,
    /// Bytes appended to the log.
    pub wal_bytes: u64,
    /// Writes of the log.
    pub wal_writes: u64,
    /// Syncs of the log.
    pub wal_syncs: u64,
    /// Microseconds that a sync of the log takes: a moving average.
    pub wal_sync_micros: u64,
    /// The longest of them, in microseconds: every commit that waited then waited as long.
    pub wal_slowest_sync_micros: u64,
    /// Log segments there are, spare ones included.
    pub wal_segments: u64,
    /// Log segments used again instead of made anew.
    pub wal_segments_recycled: u64,
    /// Pages read from the disk.
    pub pages_read: u64,
    /// Pages written home.
    pub pages_written: u64,
    /// Pages in the file.
    pub pages: u64,
    /// Of those, free ones.
    pub pages_free: u64,
    /// Tables there are.
    pub tables: u64,
    /// Of those, unlogged ones.
    pub unlogged_tables: u64,
    /// Pages in the file of unlogged tables.
    pub unlogged_pages: u64,
    /// Of those, free ones.
    pub unlogged_pages_free: u64,
    /// Bytes kept in memory to take back what unfinished transactions have changed in unlogged tables.
    pub unlogged_kept_bytes: u64,
    /// Pages that have become free because their rows went, and what was left fitted a neighbour.
    pub pages_merged: u64,
    /// Pages of large values and of dropped tables that have become free.
    pub pages_purged: u64,
    /// Frames of the buffer pool.
    pub pool_frames: u64,
    /// Of those, dirty ones.
    pub pool_dirty: u64,
    /// Waits for the write and sync that makes a commit as durable as it is to be. The waits of commits are told apart by
    /// their cause, this one and the six that follow; who did not wait is in none.
    pub wait_sync: Waits,
    /// For a full log buffer to be written out.
    pub wait_log_buffer: Waits,
    /// For room in the log: a segment that had to be made, or pages that had to go home because of `max_wal_size`.
    pub wait_log_space: Waits,
    /// For another transaction's lock; those that are over.
    pub wait_lock: Waits,
    /// For a page to be read.
    pub wait_page_read: Waits,
    /// For a dirty page to go home, because no frame was clean.
    pub wait_clean_frame: Waits,
    /// Before a transaction's first write, because pages went home more slowly than log was written.
    pub wait_throttle: Waits,
}

macro_rules! fields {
    ([$($name:ident),* $(,)?], [$($wait:ident),* $(,)?]) => {
        impl Stats {
            /// Every field's name and value, in a fixed order: for printing, for the `status` file, for metrics. Those of
            /// waits are named `wait_sync_count`, `wait_sync_micros`, `_p50_micros`, `_p99_micros`, `_max_micros`.
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                let mut fields = vec![$((stringify!($name), self.$name)),*];
                $(fields.extend([
                    (concat!(stringify!($wait), "_count"), self.$wait.count),
                    (concat!(stringify!($wait), "_micros"), self.$wait.micros),
                    (concat!(stringify!($wait), "_p50_micros"), self.$wait.p50_micros),
                    (concat!(stringify!($wait), "_p99_micros"), self.$wait.p99_micros),
                    (concat!(stringify!($wait), "_max_micros"), self.$wait.max_micros),
                ]);)*
                fields
            }

            /// The waits by their cause: `sync`, `log_buffer`, ...
            pub fn waits(&self) -> Vec<(&'static str, Waits)> {
                vec![$((&stringify!($wait)["wait_".len()..], self.$wait)),*]
            }

            /// Sets the field of this name; false if there is none.
            pub(crate) fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    $(concat!(stringify!($wait), "_count") => self.$wait.count = value,
                    concat!(stringify!($wait), "_micros") => self.$wait.micros = value,
                    concat!(stringify!($wait), "_p50_micros") => self.$wait.p50_micros = value,
                    concat!(stringify!($wait), "_p99_micros") => self.$wait.p99_micros = value,
                    concat!(stringify!($wait), "_max_micros") => self.$wait.max_micros = value,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

fields!(
    [
        next_lsn,
        written_lsn,
        durable_lsn,
        redo_lsn,
        checkpoint_lsn,
        checkpoint_age,
        checkpoint_age_max,
        estimated_recovery_micros,
        max_wal_size,
        checkpoints_timed,
        checkpoints_paced,
        checkpoints_forced,
        checkpoints_manual,
        checkpoints_shutdown,
        commits,
        rollbacks,
        active_transactions,
        deadlocks,
        lock_timeouts,
        lock_waits,
        snapshots,
        snapshot_oldest_lsn,
        snapshots_too_old,
        versions,
        version_bytes,
        wal_records,
        wal_bytes,
        wal_writes,
        wal_syncs,
        wal_sync_micros,
        wal_slowest_sync_micros,
        wal_segments,
        wal_segments_recycled,
        pages_read,
        pages_written,
        pages,
        pages_free,
        tables,
        unlogged_tables,
        unlogged_pages,
        unlogged_pages_free,
        unlogged_kept_bytes,
        pages_merged,
        pages_purged,
        pool_frames,
        pool_dirty,
    ],
    [
        wait_sync,
        wait_log_buffer,
        wait_log_space,
        wait_lock,
        wait_page_read,
        wait_clean_frame,
        wait_throttle,
    ]
);
