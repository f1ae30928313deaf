//! What readers must wait for: the highest commit LSN of what was locked exclusively, remembered after the lock is gone.
//!
//! Locks are released when the commit record is appended, before it is durable (early lock release). Whoever locks the
//! same key or range next sees data that a crash could still take back, so it learns here how far the log must be durable
//! before it may show that data to the outside. Buckets are shared by what hashes to them: a collision makes a reader
//! wait for a commit that it has not seen, never the other way round.

use std::hash::{BuildHasher, Hash};

use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::Lsn;
use foldhash::fast::FixedState;

use super::Resource;

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

    /// `resource`, held exclusively, may have been changed by the transaction that committed at `lsn`. To be called
    /// before any of that transaction's locks is released.
    pub(super) fn raise(&self, resource: &Resource<'_>, lsn: Lsn) {
        match *resource {
            Resource::Range(table, _) => raise(bucket(&self.ranges, table), lsn),
            Resource::Key(table, key) => {
                raise(bucket(&self.keys, (table, key)), lsn);
                raise(bucket(&self.parts, table), lsn);
            }
        }
    }

    /// The highest commit that one who has just been granted `resource` can see through it.
    pub(super) fn seen_through(&self, resource: &Resource<'_>) -> Option<Lsn> {
        let by_range = read(bucket(&self.ranges, resource.table()));
        let part = match *resource {
            Resource::Key(table, key) => read(bucket(&self.keys, (table, key))),
            Resource::Range(table, _) => read(bucket(&self.parts, table)),
        };
        by_range.max(part)
    }
}

fn bucket(buckets: &[AtomicU64], of: impl Hash) -> &AtomicU64 {
    let hash = FixedState::default().hash_one(of);
    &buckets[(hash % buckets.len() as u64) as usize]
}

fn raise(bucket: &AtomicU64, lsn: Lsn) {
    bucket.fetch_max(lsn.get(), Ordering::AcqRel);
}

fn read(bucket: &AtomicU64) -> Option<Lsn> {
    Lsn::new(bucket.load(Ordering::Acquire))
}
