//! The versions of some of the rows, and the order in which they are looked at for going.
//!
//! Versions come with each write and go soon after, so each is one piece of memory and is found with one look: by the hash of its row, worked
//! out once. Rows of one hash, if there ever are any, share a chain, and are told apart by what stands in it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::ops::AddAssign;
use std::sync::Arc;

use afterimage_log::Lsn;
use foldhash::fast::FixedState;

use super::Status;
use crate::ids::TableId;
use crate::page::Stored;

/// Bytes that a version takes beside its value and a share of its key: places in two queues, a status, the allocator.
const OVERHEAD: u64 = 128;

/// Versions whose memory a shard keeps when they go, at most.
const SPARE: usize = 64;
/// Bytes of one of them, at most: rows are small, but for some. All shards together keep 2 MiB.
const SPARE_BYTES: usize = 512;

/// Which row is meant.
#[derive(Clone, Copy)]
pub(super) struct Row<'k> {
    pub(super) hash: u64,
    pub(super) table: TableId,
    pub(super) key: &'k [u8],
}

impl Row<'_> {
    pub(super) fn of(table: TableId, key: &[u8]) -> Row<'_> {
        let hash = FixedState::default().hash_one((table, key));
        Row { hash, table, key }
    }
}

/// Takes a hash as it is.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a hash is written as a number")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Rows by their hash, each with its versions, oldest first.
#[derive(Default)]
pub(super) struct Shard {
    chains: HashMap<u64, Chain, BuildHasherDefault<AsIs>>,
    /// One entry for each version; its chain's oldest is meant.
    order: VecDeque<Place>,
    /// Memory of versions that have gone, for those to come: as many come as go, and an allocator is slow with what lives that long.
    spare: Vec<Vec<u8>>,
}

/// Where a version was put, and by whom: whose end is not yet settled need not be looked for.
struct Place {
    hash: u64,
    by: Arc<Status>,
}

/// The versions of the rows of one hash. Mostly there is one.
struct Chain {
    oldest: Version,
    /// Oldest first.
    newer: VecDeque<Version>,
}

impl Chain {
    /// Those of one row.
    fn newest_first<'c>(&'c self, row: Row<'c>) -> impl Iterator<Item = &'c Version> {
        let all = self.newer.iter().rev().chain([&self.oldest]);
        all.filter(move |version| version.is_of(row))
    }
}

struct Version {
    by: Arc<Status>,
    table: TableId,
    /// The key, and behind it what stood there before.
    bytes: Vec<u8>,
    key_len: usize,
    before: Before,
}

/// What stood there before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Value,
    /// The address of a large value.
    Address,
}

impl Version {
    /// In this memory.
    fn new(
        row: Row<'_>,
        by: &Arc<Status>,
        before: Option<Stored<'_>>,
        mut bytes: Vec<u8>,
    ) -> Version {
        let (before, value) = match &before {
            None => (Before::Nothing, &[][..]),
            Some(Stored { bytes, large: true }) => (Before::Address, &bytes[..]),
            Some(Stored { bytes, .. }) => (Before::Value, &bytes[..]),
        };
        bytes.clear();
        bytes.reserve_exact(row.key.len() + value.len());
        bytes.extend_from_slice(row.key);
        bytes.extend_from_slice(value);
        Version {
            by: Arc::clone(by),
            table: row.table,
            bytes,
            key_len: row.key.len(),
            before,
        }
    }

    fn is_of(&self, row: Row<'_>) -> bool {
        self.table == row.table && self.bytes[..self.key_len] == *row.key
    }

    fn before(&self) -> Option<Stored<'_>> {
        let stored = || Stored {
            bytes: self.bytes[self.key_len..].into(),
            large: self.before == Before::Address,
        };
        (self.before != Before::Nothing).then(stored)
    }

    /// Of its memory, which may have been a larger version's.
    fn bytes(&self) -> u64 {
        OVERHEAD + self.bytes.capacity() as u64
    }
}

/// What has come and gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) added: u64,
    pub(super) removed: u64,
    pub(super) bytes_added: u64,
    pub(super) bytes_removed: u64,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Sum) {
        self.added += other.added;
        self.removed += other.removed;
        self.bytes_added += other.bytes_added;
        self.bytes_removed += other.bytes_removed;
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn holds(&self, row: Row<'_>) -> bool {
        let chain = self.chains.get(&row.hash);
        chain.is_some_and(|chain| chain.newest_first(row).next().is_some())
    }

    /// Keeps what a row was before its change `by` somebody. Of several changes by the same one the first counts.
    #[inline]
    pub(super) fn push(
        &mut self,
        row: Row<'_>,
        by: &Arc<Status>,
        before: Option<Stored<'_>>,
    ) -> Sum {
        let bytes_added = match self.chains.entry(row.hash) {
            Entry::Occupied(mut entry) => {
                let chain = entry.get_mut();
                let newest = chain.newest_first(row).next();
                if newest.is_some_and(|newest| Arc::ptr_eq(&newest.by, by)) {
                    return Sum::default();
                }
                let memory = self.spare.pop().unwrap_or_default();
                let version = Version::new(row, by, before, memory);
                let bytes = version.bytes();
                chain.newer.push_back(version);
                bytes
            }
            Entry::Vacant(entry) => {
                let memory = self.spare.pop().unwrap_or_default();
                let oldest = Version::new(row, by, before, memory);
                let bytes = oldest.bytes();
                let newer = VecDeque::new();
                entry.insert(Chain { oldest, newer });
                bytes
            }
        };
        let (hash, by) = (row.hash, Arc::clone(by));
        self.order.push_back(Place { hash, by });
        Sum {
            added: 1,
            bytes_added,
            ..Sum::default()
        }
    }

    /// What stood before the oldest change that a view at `lsn` does not see; `None` if it sees them all.
    pub(super) fn before(&self, row: Row<'_>, lsn: Lsn) -> Option<Option<Stored<'static>>> {
        let chain = self.chains.get(&row.hash)?;
        let unseen = chain
            .newest_first(row)
            .take_while(|version| !version.by.is_before(lsn));
        let version = unseen.last()?;
        Some(version.before().map(Stored::into_owned))
    }

    /// Looks at `most` versions, and lets those go that are settled below `horizon` and the oldest of their row.
    pub(super) fn sweep(&mut self, horizon: Lsn, most: usize) -> Sum {
        let mut sum = Sum::default();
        for _ in 0..most {
            let Some(place) = self.order.pop_front() else {
                break;
            };
            if !place.by.is_settled(horizon) {
                self.order.push_back(place);
                continue;
            }
            let Entry::Occupied(mut entry) = self.chains.entry(place.hash) else {
                panic!("VER-3: each place in the order is a version's");
            };
            let chain = entry.get_mut();
            // One before it may not be: a change was taken back above one that is not yet durable.
            if !chain.oldest.by.is_settled(horizon) {
                self.order.push_back(place);
                continue;
            }
            sum.removed += 1;
            sum.bytes_removed += chain.oldest.bytes();
            let gone = match chain.newer.pop_front() {
                Some(next) => std::mem::replace(&mut chain.oldest, next),
                None => entry.remove().oldest,
            };
            if self.spare.len() < SPARE && gone.bytes.capacity() <= SPARE_BYTES {
                self.spare.push(gone.bytes);
            }
        }
        self.shrink();
        sum
    }

    /// Memory that a burst has taken goes back.
    fn shrink(&mut self) {
        if self.order.capacity() > 1024 && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.chains.shrink_to(self.chains.len() * 2);
        }
    }
}

#[cfg(test)]
impl Shard {
    /// Bytes of each piece of memory that is kept for versions to come.
    pub(super) fn spare(&self) -> Vec<usize> {
        self.spare.iter().map(Vec::capacity).collect()
    }

    /// Breaks it on purpose.
    pub(super) fn forget_chains(&mut self) {
        self.chains.clear();
    }
}
