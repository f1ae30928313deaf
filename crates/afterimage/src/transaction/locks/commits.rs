//! What readers must wait for: the highest commit LSN of what was locked exclusively, remembered after the lock is gone.
//!
//! Locks are released when the commit record is appended, before it is durable (early lock release). Whoever locks the
//! same key or range next sees data that a crash could still take back, so it learns here how far the log must be durable
//! before it may show that data to the outside. Buckets are shared by what hashes to them: a collision makes a reader
//! wait for a commit that it has not seen, never the other way round.
//!
//! And whether there may be a writer at all: readers ask that far more often than anybody writes, and should not come to the lock
//! table's mutex for it.

use std::hash::{BuildHasher, Hash};

use afterimage_io::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use afterimage_log::Lsn;
use foldhash::fast::FixedState;

use super::Resource;
use crate::ids::TableId;

/// 32 KiB: with a few hundred commits in flight, a collision with one of them is rare. (A model checker has few atomics.)
const KEY_BUCKETS: usize = if cfg!(loom) { 2 } else { 4096 };
const TABLE_BUCKETS: usize = if cfg!(loom) { 1 } else { 256 };

/// The remembered commit LSNs; zero is "none". They only grow.
pub(super) struct Commits {
    /// Of keys.
    keys: Box<[AtomicU64]>,
    /// Of tables, raised by whoever changed any of the table's keys: for whoever reads a range of them.
    parts: Box<[AtomicU64]>,
    /// Of tables, raised by whoever held a range exclusively and so needed no key locks: for every reader.
    ranges: Box<[AtomicU64]>,
}

impl Commits {
    pub(super) fn new() -> Commits {
        let zeroes = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Commits {
            keys: zeroes(KEY_BUCKETS),
            parts: zeroes(TABLE_BUCKETS),
            ranges: zeroes(TABLE_BUCKETS),
        }
    }

    /// The key with this [`place`], held exclusively, may have been changed by the transaction that committed at `lsn`. To be
    /// called, as the next two are, before the transaction is counted out of the [`Writers`] of the same, and before any of its
    /// locks is released.
    pub(super) fn raise_key(&self, place: usize, lsn: Lsn) {
        raise(&self.keys[place], lsn);
    }

    /// Some key of the table.
    pub(super) fn raise_part(&self, table: TableId, lsn: Lsn) {
        raise(bucket(&self.parts, table), lsn);
    }

    /// Some range of the table.
    pub(super) fn raise_range(&self, table: TableId, lsn: Lsn) {
        raise(bucket(&self.ranges, table), lsn);
    }

    /// The highest commit that one who has just been granted `resource` can see through it.
    pub(super) fn seen_through(&self, resource: &Resource<'_>) -> Option<Lsn> {
        match *resource {
            Resource::Key(table, key) => self.seen_through_key(table, place(table, key)),
            Resource::Range(table, _) => {
                let part = read(bucket(&self.parts, table));
                part.max(read(bucket(&self.ranges, table)))
            }
        }
    }

    /// As [`Commits::seen_through`], for a key by its [`place`].
    pub(super) fn seen_through_key(&self, table: TableId, place: usize) -> Option<Lsn> {
        let key = read(&self.keys[place]);
        key.max(read(bucket(&self.ranges, table)))
    }
}

/// How many owners hold what hashes to a bucket exclusively, and how many hold ranges so.
pub(super) struct Writers {
    keys: Box<[AtomicU32]>,
    ranges: AtomicU32,
}

impl Writers {
    pub(super) fn new() -> Writers {
        Writers {
            keys: (0..KEY_BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            ranges: AtomicU32::new(0),
        }
    }

    /// To be called by an owner to whom `resource` was granted exclusively, before it latches what it is going to change.
    pub(super) fn add(&self, resource: &Resource<'_>) {
        self.of(resource).fetch_add(1, Ordering::AcqRel);
    }

    /// To be called once for each [`Writers::add`], when the owner's end is in the log: of a key with this [`place`].
    pub(super) fn remove_key(&self, place: usize) {
        leave(&self.keys[place]);
    }

    /// Of ranges.
    pub(super) fn remove_ranges(&self) {
        leave(&self.ranges);
    }

    fn of(&self, resource: &Resource<'_>) -> &AtomicU32 {
        match *resource {
            Resource::Range(..) => &self.ranges,
            Resource::Key(table, key) => &self.keys[place(table, key)],
        }
    }

    /// False: nobody holds the key with this [`place`] exclusively who can have changed it by now. Asked under the latch of the key's
    /// page.
    pub(super) fn may_hold(&self, place: usize) -> bool {
        let is_held = |count: &AtomicU32| count.load(Ordering::Acquire) > 0;
        // The key first: an owner goes over from keys to a range that holds them, and is counted there before it is not counted here.
        is_held(&self.keys[place]) || is_held(&self.ranges)
    }
}

fn leave(count: &AtomicU32) {
    let before = count.fetch_sub(1, Ordering::AcqRel);
    assert!(before > 0, "LOCK-4: a writer leaves as often as it came");
}

/// A key's bucket, among the commits and among the writers.
pub(super) fn place(table: TableId, key: &[u8]) -> usize {
    let hash = FixedState::default().hash_one((table, key));
    (hash % KEY_BUCKETS as u64) as usize
}

fn bucket<T>(buckets: &[T], of: impl Hash) -> &T {
    let hash = FixedState::default().hash_one(of);
    &buckets[(hash % buckets.len() as u64) as usize]
}

fn raise(bucket: &AtomicU64, lsn: Lsn) {
    bucket.fetch_max(lsn.get(), Ordering::AcqRel);
}

fn read(bucket: &AtomicU64) -> Option<Lsn> {
    Lsn::new(bucket.load(Ordering::Acquire))
}
