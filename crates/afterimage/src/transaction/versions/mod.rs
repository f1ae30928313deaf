//! Old versions of rows, in memory: what lets a snapshot read without locks while writers go on.
//!
//! Before a row is changed, its before-image is kept here with the status of the transaction that changes it. A view (a
//! snapshot at an LSN) takes the row as it is on the page and goes back through the row's versions, newest first, over
//! every change whose commit is not before the view's LSN; what stood before the last of those is what it sees. A
//! change that was taken back needs no care: what stood before it is what stands now.
//!
//! A version is given up when no view can need it: its commit is before the *horizon*, which is the durable LSN or the oldest view,
//! whichever is older; or its change was taken back. Ghosts on pages stay until their versions have gone. (Version
//! chains on top of in-place updates: Larson et al., "High-Performance Concurrency Control Mechanisms for Main-Memory
//! Databases", VLDB 2011, section 2; here in front of pages, and for read-only views alone.)
//!
//! Everything about one row happens under its leaf's latch, taken before the mutex of the row's shard; so a reader sees
//! page and versions of one moment.

#[cfg(all(test, any(loom, shuttle)))]
mod models;
mod shard;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::Lsn;

use crate::buffer::Counter;
use crate::ids::TableId;
use crate::page::Stored;
use shard::{Row, Shard};
pub(crate) use view::View;
use view::Views;

/// Enough that writers seldom meet in one.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };
/// Versions looked at again for each one that is added: more than one, so that what can go does go.
const SWEEP: usize = 2;

/// How the transaction that made a version has ended, if it has.
#[derive(Debug, Default)]
pub(crate) struct Status(AtomicU64);

const TAKEN_BACK: u64 = u64::MAX;

impl Status {
    /// To be called inside the reservation of the commit record: whoever knows an LSN behind it sees it.
    pub(super) fn commit(&self, lsn: Lsn) {
        let before = self.0.swap(lsn.get(), Ordering::AcqRel);
        debug_assert_eq!(before, 0, "VER-1: a transaction ends once");
    }

    /// Every change has been taken back.
    pub(super) fn take_back(&self) {
        let before = self.0.swap(TAKEN_BACK, Ordering::AcqRel);
        debug_assert_eq!(before, 0, "VER-1: a transaction ends once");
    }

    /// Whether a view at `lsn` sees the changes.
    fn is_before(&self, lsn: Lsn) -> bool {
        let status = self.0.load(Ordering::Acquire);
        status != 0 && status < lsn.get()
    }

    /// Whether no view from `horizon` on needs to know what was before.
    fn is_settled(&self, horizon: Lsn) -> bool {
        self.0.load(Ordering::Acquire) == TAKEN_BACK || self.is_before(horizon)
    }
}

/// All old versions of one database, and the views that need them.
pub(crate) struct Versions {
    shards: Box<[Mutex<Shard>]>,
    views: Mutex<Views>,
    /// Versions settled below this may go. Only grows; may lag.
    horizon: AtomicU64,
    /// The horizon of the last whole sweep.
    swept: AtomicU64,
    count: AtomicU64,
    bytes: AtomicU64,
    /// Bytes that views may make us keep.
    limit: u64,
    /// Bytes at which the next look for relief is worth it.
    relieve_at: AtomicU64,
    pub(crate) too_old: Counter,
}

/// What is kept, and for whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct VersionStats {
    pub(crate) versions: u64,
    pub(crate) bytes: u64,
    pub(crate) views: u64,
    pub(crate) oldest_view: Option<Lsn>,
}

impl Versions {
    /// None yet; `limit` bytes of them may be kept for views.
    pub(super) fn new(io: &Io, limit: u64) -> Versions {
        Versions {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(io, Shard::default()))
                .collect(),
            views: Mutex::new(io, Views::default()),
            horizon: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            limit,
            relieve_at: AtomicU64::new(limit),
            too_old: Counter::default(),
        }
    }

    fn shard(&self, row: Row<'_>) -> &Mutex<Shard> {
        // The low bits choose places in the shard's own map.
        &self.shards[(row.hash >> 32) as usize % SHARDS]
    }

    fn horizon(&self) -> Option<Lsn> {
        Lsn::new(self.horizon.load(Ordering::Acquire))
    }

    /// A transaction is about to change a row that is `before` now, under its lock and the leaf's exclusive latch. More
    /// than once for one row is as good as once.
    pub(super) fn keep(
        &self,
        table: TableId,
        key: &[u8],
        by: &Arc<Status>,
        before: Option<Stored<'_>>,
        durable: Lsn,
    ) {
        let row = Row::of(table, key);
        let change = {
            let mut shard = self.shard(row).lock();
            let mut change = shard.push(row, by, before);
            if let Some(horizon) = self.horizon() {
                change += shard.sweep(horizon, SWEEP);
            }
            // Counted before the row is changed: whoever finds zero under a leaf's latch needs none of its versions.
            self.account(&change);
            change
        };
        if change.removed == 0 && self.horizon() < Some(durable) {
            self.advance_horizon(durable);
        }
    }

    fn account(&self, change: &shard::Sum) {
        let count = change.added.wrapping_sub(change.removed);
        let bytes = change.bytes_added.wrapping_sub(change.bytes_removed);
        // Mostly as many come as go: then nothing is written that everybody writes.
        for (counter, change) in [(&self.count, count), (&self.bytes, bytes)] {
            if change != 0 {
                counter.fetch_add(change, Ordering::AcqRel);
            }
        }
    }

    /// What may go now: `durable` is the durable LSN, or was a moment ago.
    fn advance_horizon(&self, durable: Lsn) {
        let horizon = self.horizon_now(durable);
        self.horizon.fetch_max(horizon.get(), Ordering::AcqRel);
    }

    /// What ended before this did so for good, and no view needs what was there before it.
    pub(super) fn horizon_now(&self, durable: Lsn) -> Lsn {
        let views = self.views.lock();
        let oldest = views
            .oldest()
            .filter(|_| !planted::active(Bug::VersionsGone));
        oldest.map_or(durable, |oldest| oldest.min(durable))
    }

    /// Whether a row has versions: then its ghost must stay.
    pub(super) fn holds(&self, table: TableId, key: &[u8]) -> bool {
        let row = || Row::of(table, key);
        !self.is_empty() && self.shard(row()).lock().holds(row())
    }

    /// None at all.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// What `view` sees of a row that is `now` on its page, under the leaf's latch.
    pub(super) fn seen<'a>(
        &self,
        view: &View,
        table: TableId,
        key: &[u8],
        now: Option<Stored<'a>>,
    ) -> Option<Stored<'a>> {
        if self.is_empty() {
            return now;
        }
        let row = Row::of(table, key);
        let shard = self.shard(row).lock();
        shard.before(row, view.lsn()).unwrap_or(now)
    }

    /// Opens a view where `look` says: a position no older than the durable LSN, and the first record of the oldest transaction
    /// that had not ended before it. Commits before the position are seen, others not.
    pub(super) fn open_view(&self, look: impl FnOnce() -> (Lsn, Lsn)) -> Arc<View> {
        // Under the mutex: whoever computes a horizon after this knows the view, and one computed before is no higher than
        // the durable LSN was.
        let mut views = self.views.lock();
        let (lsn, low) = look();
        let view = views.open(lsn, low);
        debug_assert!(
            self.horizon().is_none_or(|horizon| horizon <= lsn)
                || planted::active(Bug::VersionsGone),
            "VER-2: nothing that a view needs has gone"
        );
        view
    }

    /// The view is not read any more.
    pub(super) fn close_view(&self, view: &View) {
        self.views.lock().close(view);
    }

    /// Where the horizon has moved since the last time, looks at every version once, and gives up what can go. True if
    /// something did. Without latches.
    pub(super) fn sweep(&self, durable: Lsn) -> bool {
        if self.is_empty() {
            return false;
        }
        self.advance_horizon(durable);
        let Some(horizon) = self.horizon() else {
            return false;
        };
        if self.swept.swap(horizon.get(), Ordering::AcqRel) == horizon.get() {
            return false;
        }
        let mut any = false;
        for shard in &self.shards {
            let mut shard = shard.lock();
            let most = shard.len();
            let change = shard.sweep(horizon, most);
            self.account(&change);
            any |= change.removed > 0;
        }
        any
    }

    /// Where more is kept than may be: gives up what can go, and then the oldest views, one after the other. What
    /// unfinished transactions have changed cannot go; its bound is that of the transaction. Without latches.
    pub(super) fn relieve(&self, durable: Lsn) {
        if self.bytes.load(Ordering::Acquire) <= self.relieve_at.load(Ordering::Acquire) {
            return;
        }
        loop {
            self.sweep(durable);
            let bytes = self.bytes.load(Ordering::Acquire);
            if bytes <= self.limit || !self.views.lock().give_up_oldest(durable) {
                let next = (bytes + self.limit / 4).max(self.limit);
                self.relieve_at.store(next, Ordering::Release);
                return;
            }
            self.too_old.add(1);
        }
    }

    /// Whether more is kept than may be.
    pub(super) fn are_too_many(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > self.limit
    }

    pub(super) fn stats(&self) -> VersionStats {
        let views = self.views.lock();
        VersionStats {
            versions: self.count.load(Ordering::Acquire),
            bytes: self.bytes.load(Ordering::Acquire),
            views: views.count() as u64,
            oldest_view: views.oldest(),
        }
    }
}
