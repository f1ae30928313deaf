//! What the engine counts, as plain data, and where it is looked up.

use std::time::Duration;

use afterimage_log::{Durations, Histogram, Lsn};

use super::handle::Shared;
use crate::buffer::{Counter, Counters, Pager};

/// A look at the engine's counters and positions; got by [`Database::stats`](crate::Database::stats), or from the
/// `status` file of a database that another process has open. Positions are log positions (LSNs), sizes are bytes,
/// times are microseconds, counts are since the database was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How long the database has been open, in microseconds: what counts are a rate over.
    pub uptime_micros: u64,
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
    /// The most that this has been since the open, or since `max_wal_size` was last changed: never more than `max_wal_size` was.
    pub checkpoint_age_max: u64,
    /// How long a recovery would take now, in microseconds, reckoned from the log, the dirty pages and how long the last ones in this
    /// directory have taken. What would have to be taken back of unfinished transactions comes on top.
    pub estimated_recovery_micros: u64,
    /// The setting `target_recovery_time`, in microseconds.
    pub target_recovery_micros: u64,
    /// Log that a recovery within `target_recovery_time` is reckoned to read, in bytes: pages and checkpoints keep to the smaller of it and
    /// `max_wal_size`.
    pub target_recovery_bytes: u64,
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
    /// How long ago the last checkpoint was.
    pub checkpoint_since_micros: u64,
    /// How long writing pages home took, in all: copies for the doublewrite area, and homes. Pages go home all the time, not only in
    /// checkpoints; this is all of it.
    pub checkpoint_write_micros: u64,
    /// How long the syncs behind these writes took, in all.
    pub checkpoint_sync_micros: u64,
    /// Transactions committed, those of one row included.
    pub commits: u64,
    /// Of those, acknowledged at level `Memory`: a crash of the process can lose the last `wal_writer_delay` of them.
    pub commits_memory: u64,
    /// Acknowledged at level `Os`: a power failure can lose the last `wal_writer_delay` of them.
    pub commits_os: u64,
    /// Acknowledged at level `Disk`.
    pub commits_disk: u64,
    /// For which a ticket was given.
    pub commits_ticket: u64,
    /// Of rows of unlogged tables alone: a crash empties these, whatever level was asked for.
    pub commits_unlogged: u64,
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
    /// The setting `version_store_size`, in bytes.
    pub version_store_size: u64,
    /// Records appended to the log.
    pub wal_records: u64,
    /// Bytes appended to the log.
    pub wal_bytes: u64,
    /// The most of them within one `checkpoint_timeout`, since the open or since that was last changed.
    pub wal_busiest_bytes: u64,
    /// Bytes written for them, whole blocks.
    pub wal_bytes_written: u64,
    /// Writes of the log.
    pub wal_writes: u64,
    /// Syncs of the log.
    pub wal_syncs: u64,
    /// Flushes of the log that were begun for commits, each with one sync, or two where it crosses into a new segment.
    pub wal_flushes: u64,
    /// Commits that waited for a flush, by the flush that carried them: over `wal_flushes` how many share one.
    pub wal_flush_commits: u64,
    /// Commits on their way as a flush began, in it or in others: over `wal_flushes` how many commit at a time.
    pub wal_flush_writers: u64,
    /// How often a write waited for a full log buffer to be written out, `wal_buffers`.
    pub wal_buffers_full: u64,
    /// Microseconds that a sync of the log takes: a moving average.
    pub wal_sync_micros: u64,
    /// The longest of them, in microseconds: every commit that waited then waited as long.
    pub wal_slowest_sync_micros: u64,
    /// The number of the segment that is being written.
    pub wal_segment: u64,
    /// Bytes in a segment.
    pub wal_segment_size: u64,
    /// Log segments that hold log.
    pub wal_segments: u64,
    /// Log segments that are prepared for it, beside these.
    pub wal_segments_spare: u64,
    /// Log segments used again instead of made anew.
    pub wal_segments_recycled: u64,
    /// Bytes in a page.
    pub page_size: u64,
    /// Times that a page of rows was looked for.
    pub page_lookups: u64,
    /// Of those, a page of an unlogged table.
    pub unlogged_page_lookups: u64,
    /// Pages that were not in memory then, those on the way to them included.
    pub pages_missed: u64,
    /// Of those, pages of unlogged tables.
    pub unlogged_pages_missed: u64,
    /// Pages read from the disk, by a recovery too.
    pub pages_read: u64,
    /// Pages written home.
    pub pages_written: u64,
    /// Of those, by writes that the disk promises never to tear, without a copy in the doublewrite area.
    pub pages_written_atomically: u64,
    /// 1 if pages go home so at this moment, 0 if they go by way of the doublewrite area. The first page of the file always does.
    pub page_writes_atomic: u64,
    /// Times that the disk refused such a write though it had promised it, and the pages went by way of the doublewrite area.
    pub atomic_writes_refused: u64,
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
    /// Frames of the pool of unlogged tables, once there are any.
    pub unlogged_pool_frames: u64,
    /// Of those, dirty ones.
    pub unlogged_pool_dirty: u64,
    /// How long calls have waited for a clean frame of that pool, in microseconds; it is in `wait_clean_frame` too.
    pub unlogged_clean_frame_micros: u64,
    /// Callers that wait at this moment, by the causes of the histograms below, where a wait is counted when it ends.
    pub waiting_sync: u64,
    /// For the log buffer.
    pub waiting_log_buffer: u64,
    /// For room in the log.
    pub waiting_log_space: u64,
    /// For a lock.
    pub waiting_lock: u64,
    /// For a page to be read.
    pub waiting_page_read: u64,
    /// For a clean frame.
    pub waiting_clean_frame: u64,
    /// For the cleaner.
    pub waiting_throttle: u64,
    /// The records of the log by their kind, most bytes first. What they do not add up to of `wal_bytes` is the log's own: watermarks,
    /// and what ends a segment.
    pub records: Vec<RecordStats>,
    /// The syncs of the log, each with the write that it makes durable where that is one call.
    pub sync: Histogram,
    /// Commits at level `Os` or `Disk`, from the call to its return; those at `Memory` wait for nothing. Of a one-row write it is the whole
    /// call.
    pub commit: Histogram,
    /// Checkpoints, the pages that they had to bring home included.
    pub checkpoint: Histogram,
    /// The time from one checkpoint to the next, of those that nobody asked for.
    pub checkpoint_interval: Histogram,
    /// Waits for the write and sync that makes a commit as durable as it is to be. The waits of commits are told apart by
    /// their cause, this one and the six that follow; who did not wait is in none.
    pub wait_sync: Histogram,
    /// For a full log buffer to be written out.
    pub wait_log_buffer: Histogram,
    /// For room in the log: a segment that had to be made, or pages that had to go home because of `max_wal_size`.
    pub wait_log_space: Histogram,
    /// For another transaction's lock; those that are over.
    pub wait_lock: Histogram,
    /// For a page to be read.
    pub wait_page_read: Histogram,
    /// For a dirty page to go home, because no frame was clean.
    pub wait_clean_frame: Histogram,
    /// Before a transaction's first write, because pages went home more slowly than log was written.
    pub wait_throttle: Histogram,
}

/// The records of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordStats {
    /// What they are: `insert`, `commit`, `split`, ...
    pub kind: String,
    /// How many were appended.
    pub records: u64,
    /// Their bytes in the log.
    pub bytes: u64,
}

impl Stats {
    /// The part of lookups that found their page in memory: 1 is all. `None` before there was one.
    pub fn buffer_hit_rate(&self) -> Option<f64> {
        let missed = self.pages_missed.min(self.page_lookups);
        (self.page_lookups > 0).then(|| 1.0 - missed as f64 / self.page_lookups as f64)
    }

    /// Commits that one flush of the log served. `None` before there was one.
    pub fn commits_per_sync(&self) -> Option<f64> {
        (self.wal_flushes > 0).then(|| self.wal_flush_commits as f64 / self.wal_flushes as f64)
    }
}

macro_rules! fields {
    ([$($name:ident),* $(,)?], [$($histogram:ident),* $(,)?]) => {
        impl Stats {
            /// Every number's name and value, in a fixed order: for printing, for metrics. Those of a histogram are named
            /// `wait_sync_count`, `wait_sync_micros`, `_p50_micros`, `_p99_micros`, `_max_micros`; all of it is in
            /// [`histograms`](Stats::histograms).
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                let mut fields = self.numbers();
                $({
                    let times = &self.$histogram;
                    fields.extend([
                        (concat!(stringify!($histogram), "_count"), times.count()),
                        (concat!(stringify!($histogram), "_micros"), micros(times.total())),
                        (concat!(stringify!($histogram), "_p50_micros"), micros(times.permille(500))),
                        (concat!(stringify!($histogram), "_p99_micros"), micros(times.permille(990))),
                        (concat!(stringify!($histogram), "_max_micros"), micros(times.max())),
                    ]);
                })*
                fields
            }

            /// Those of them that are no histogram's.
            pub fn numbers(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// The histograms by their names: `sync`, `commit`, ..., `wait_sync`, ...
            pub fn histograms(&self) -> Vec<(&'static str, &Histogram)> {
                vec![$((stringify!($histogram), &self.$histogram)),*]
            }

            /// The waits by their cause: `sync`, `log_buffer`, ...
            pub fn waits(&self) -> Vec<(&'static str, &Histogram)> {
                let all = self.histograms().into_iter();
                all.filter_map(|(name, times)| Some((name.strip_prefix("wait_")?, times)))
                    .collect()
            }

            /// Callers that wait at this moment, by the same causes.
            pub fn waiting(&self) -> Vec<(&'static str, u64)> {
                let all = self.numbers().into_iter();
                all.filter_map(|(name, callers)| Some((name.strip_prefix("waiting_")?, callers)))
                    .collect()
            }

            /// Sets the number of this name; false if there is none.
            pub(crate) fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }

            /// Sets the histogram of this name; false if there is none.
            pub(crate) fn set_histogram(&mut self, name: &str, times: Histogram) -> bool {
                match name {
                    $(stringify!($histogram) => self.$histogram = times,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

fields!(
    [
        uptime_micros,
        next_lsn,
        written_lsn,
        durable_lsn,
        redo_lsn,
        checkpoint_lsn,
        checkpoint_age,
        checkpoint_age_max,
        estimated_recovery_micros,
        target_recovery_micros,
        target_recovery_bytes,
        max_wal_size,
        checkpoints_timed,
        checkpoints_paced,
        checkpoints_forced,
        checkpoints_manual,
        checkpoints_shutdown,
        checkpoint_since_micros,
        checkpoint_write_micros,
        checkpoint_sync_micros,
        commits,
        commits_memory,
        commits_os,
        commits_disk,
        commits_ticket,
        commits_unlogged,
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
        version_store_size,
        wal_records,
        wal_bytes,
        wal_busiest_bytes,
        wal_bytes_written,
        wal_writes,
        wal_syncs,
        wal_flushes,
        wal_flush_commits,
        wal_flush_writers,
        wal_buffers_full,
        wal_sync_micros,
        wal_slowest_sync_micros,
        wal_segment,
        wal_segment_size,
        wal_segments,
        wal_segments_spare,
        wal_segments_recycled,
        page_size,
        page_lookups,
        unlogged_page_lookups,
        pages_missed,
        unlogged_pages_missed,
        pages_read,
        pages_written,
        pages_written_atomically,
        page_writes_atomic,
        atomic_writes_refused,
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
        unlogged_pool_frames,
        unlogged_pool_dirty,
        unlogged_clean_frame_micros,
        waiting_sync,
        waiting_log_buffer,
        waiting_log_space,
        waiting_lock,
        waiting_page_read,
        waiting_clean_frame,
        waiting_throttle,
    ],
    [
        sync,
        commit,
        checkpoint,
        checkpoint_interval,
        wait_sync,
        wait_log_buffer,
        wait_log_space,
        wait_lock,
        wait_page_read,
        wait_clean_frame,
        wait_throttle,
    ]
);

impl Shared {
    pub(super) fn stats(&self) -> Stats {
        let pager = &self.system.pager;
        // Parts before what they are parts of: in one look no part is more than the whole.
        let records = self.records();
        let [memory, os, disk, ticket, not_logged] = self.commits.by_level();
        let pages_written_atomically = pager.counters.pages_atomic.get();
        let log = pager.log.stats();
        let (pages, pages_free) = pager.page_counts();
        let (lock_waits, wait_lock, waiting_lock) = self.system.lock_waits();
        let times = pager.log.times();
        let live = self.live.limits();
        let busiest =
            self.busiest
                .lock()
                .look(self.io.now(), log.next_lsn.get(), live.checkpoint_timeout);
        let (versions, snapshots_too_old) = self.system.version_stats();
        let checkpoints = &self.checkpointer.counters;
        let catalogue = &self.system.catalogue;
        let unlogged = catalogue.unlogged().map(|file| &file.pager);
        let unlogged_pages = unlogged.map_or((0, 0), Pager::page_counts);
        let both = |counter: fn(&Counters) -> &Counter| {
            let unlogged = unlogged.map_or(0, |pager| counter(&pager.counters).get());
            counter(&pager.counters).get() + unlogged
        };
        let pagers = || [Some(pager), unlogged].into_iter().flatten();
        let waited = |times: fn(&Counters) -> &Durations| {
            Durations::told(pagers().map(|pager| times(&pager.counters)))
        };
        let waiting = |times: fn(&Counters) -> &Durations| {
            let callers = pagers().map(|pager| times(&pager.counters).under_way());
            callers.sum::<u64>()
        };
        let lookups = unlogged.map_or(0, Pager::lookups);
        let missed = unlogged.map_or(0, |pager| pager.counters.pages_missed.get());
        let frame_waits = unlogged.map(|pager| &pager.counters.clean_frame);
        let of = |counter: fn(&Counters) -> &Counter| both(counter) / 1000;
        let (tables, unlogged_tables) = catalogue.counts();
        Stats {
            uptime_micros: micros(self.io.now().saturating_sub(self.opened_at)),
            next_lsn: log.next_lsn.get(),
            written_lsn: log.written_lsn.get(),
            durable_lsn: log.durable_lsn.get(),
            redo_lsn: self.checkpointer.redo_lsn().map_or(0, Lsn::get),
            checkpoint_lsn: self.checkpointer.checkpoint_lsn().map_or(0, Lsn::get),
            checkpoint_age: self.checkpointer.age(&pager.log),
            checkpoint_age_max: self.checkpointer.age_max(&pager.log),
            estimated_recovery_micros: micros(self.estimated_recovery()),
            target_recovery_micros: micros(self.options.target_recovery_time),
            target_recovery_bytes: self.limits().horizon,
            max_wal_size: live.max_wal_size,
            checkpoints_timed: checkpoints.timed.get(),
            checkpoints_paced: checkpoints.paced.get(),
            checkpoints_forced: checkpoints.forced.get(),
            checkpoints_manual: checkpoints.manual.get(),
            checkpoints_shutdown: checkpoints.shutdown.get(),
            checkpoint_since_micros: micros(self.checkpointer.since_last(&self.io)),
            checkpoint_write_micros: of(|counters| &counters.write_nanos),
            checkpoint_sync_micros: of(|counters| &counters.sync_nanos),
            commits: self.system.counters.commits.get(),
            commits_memory: memory,
            commits_os: os,
            commits_disk: disk,
            commits_ticket: ticket,
            commits_unlogged: not_logged,
            rollbacks: self.system.counters.rollbacks.get(),
            active_transactions: self.system.active.count() as u64,
            deadlocks: self.system.deadlocks(),
            lock_timeouts: self.system.lock_timeouts(),
            lock_waits,
            snapshots: versions.views,
            snapshot_oldest_lsn: versions.oldest_view.map_or(0, Lsn::get),
            snapshots_too_old,
            versions: versions.versions,
            version_bytes: versions.bytes,
            version_store_size: self.options.version_store_size,
            wal_records: log.records,
            wal_bytes: log.bytes,
            wal_busiest_bytes: busiest,
            wal_bytes_written: log.bytes_written,
            wal_writes: log.writes,
            wal_syncs: log.syncs,
            wal_flushes: log.flushes,
            wal_flush_commits: log.flush_commits,
            wal_flush_writers: log.flush_writers,
            wal_buffers_full: log.wal_buffers_full,
            wal_sync_micros: log.sync_micros,
            wal_slowest_sync_micros: log.slowest_sync_micros,
            wal_segment: log.next_lsn.get() / log.segment_bytes,
            wal_segment_size: log.segment_bytes,
            wal_segments: log.segments,
            wal_segments_spare: log.spare_segments,
            wal_segments_recycled: log.segments_recycled,
            page_size: pager.page_size() as u64,
            page_lookups: pager.lookups() + lookups,
            unlogged_page_lookups: lookups,
            pages_missed: pager.counters.pages_missed.get() + missed,
            unlogged_pages_missed: missed,
            pages_read: both(|counters| &counters.pages_read),
            pages_written: both(|counters| &counters.pages_written),
            pages_written_atomically,
            page_writes_atomic: u64::from(pager.writes_atomically()),
            atomic_writes_refused: pager.counters.atomic_refused.get(),
            pages,
            pages_free,
            tables,
            unlogged_tables,
            unlogged_pages: unlogged_pages.0,
            unlogged_pages_free: unlogged_pages.1,
            unlogged_kept_bytes: self.system.kept_bytes(),
            pages_merged: both(|counters| &counters.pages_merged),
            pages_purged: both(|counters| &counters.pages_purged),
            pool_frames: pager.frame_count() as u64,
            pool_dirty: pager.dirty_count() as u64,
            unlogged_pool_frames: unlogged.map_or(0, |pager| pager.frame_count() as u64),
            unlogged_pool_dirty: unlogged.map_or(0, |pager| pager.dirty_count() as u64),
            unlogged_clean_frame_micros: micros(Durations::told(frame_waits).total()),
            waiting_sync: times.wait_sync.under_way(),
            waiting_log_buffer: times.wait_buffer.under_way(),
            waiting_log_space: times.wait_space.under_way(),
            waiting_lock,
            waiting_page_read: waiting(|counters| &counters.page_read),
            waiting_clean_frame: waiting(|counters| &counters.clean_frame),
            waiting_throttle: self.throttled.under_way(),
            records,
            sync: Durations::told([&times.sync]),
            commit: self.commits.took(),
            checkpoint: Durations::told([&checkpoints.took]),
            checkpoint_interval: Durations::told([&checkpoints.apart]),
            wait_sync: Durations::told([&times.wait_sync]),
            wait_log_buffer: Durations::told([&times.wait_buffer]),
            wait_log_space: Durations::told([&times.wait_space]),
            wait_lock,
            wait_page_read: waited(|counters| &counters.page_read),
            wait_clean_frame: waited(|counters| &counters.clean_frame),
            wait_throttle: Durations::told([&self.throttled]),
        }
    }

    /// The records by kind, most bytes first.
    fn records(&self) -> Vec<RecordStats> {
        let told = self.system.pager.records.told().into_iter();
        let mut records: Vec<_> = told
            .map(|(kind, records, bytes)| RecordStats {
                kind: kind.name().to_owned(),
                records,
                bytes,
            })
            .collect();
        records.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
        records
    }
}
