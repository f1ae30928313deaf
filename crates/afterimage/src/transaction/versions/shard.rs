//! The versions of some of the rows, and the order in which they are looked at for going.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::ops::AddAssign;
use std::sync::Arc;

use afterimage_log::Lsn;
use foldhash::fast::FixedState;

use super::Status;
use crate::ids::TableId;
use crate::page::Stored;

/// Bytes that a version takes beside its value and a share of its key: places in two queues, a status, the allocator.
const OVERHEAD: u64 = 128;

type Chains = HashMap<Arc<[u8]>, Chain, FixedState>;

/// Rows by table and key, each with its versions, oldest first.
#[derive(Default)]
pub(super) struct Shard {
    tables: HashMap<TableId, Chains, FixedState>,
    /// One entry for each version; the row's oldest is meant.
    order: VecDeque<Place>,
}

/// Where a version was put, and by whom: whose end is not yet settled need not be looked for.
struct Place {
    table: TableId,
    key: Arc<[u8]>,
    by: Arc<Status>,
}

/// The versions of one row. Mostly there is one.
struct Chain {
    key: Arc<[u8]>,
    oldest: Version,
    /// Oldest first.
    newer: VecDeque<Version>,
}

impl Chain {
    fn newest(&self) -> &Version {
        self.newer.back().unwrap_or(&self.oldest)
    }

    fn newest_first(&self) -> impl Iterator<Item = &Version> {
        self.newer.iter().rev().chain([&self.oldest])
    }
}

struct Version {
    by: Arc<Status>,
    before: Option<Stored<'static>>,
}

impl Version {
    fn bytes(&self, key: &[u8]) -> u64 {
        OVERHEAD
            + key.len() as u64
            + self
                .before
                .as_ref()
                .map_or(0, |value| value.bytes.len() as u64)
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

    pub(super) fn holds(&self, table: TableId, key: &[u8]) -> bool {
        self.tables
            .get(&table)
            .is_some_and(|chains| chains.contains_key(key))
    }

    /// Keeps what a row was before its change `by` somebody. Of several changes by the same one the first counts.
    pub(super) fn push(
        &mut self,
        table: TableId,
        key: &[u8],
        by: &Arc<Status>,
        before: Option<Stored<'_>>,
    ) -> Sum {
        let chains = self.tables.entry(table).or_default();
        let version = |before: Option<Stored<'_>>| Version {
            by: Arc::clone(by),
            before: before.map(Stored::into_owned),
        };
        let (key, bytes_added) = match chains.get_mut(key) {
            Some(chain) if Arc::ptr_eq(&chain.newest().by, by) => return Sum::default(),
            Some(chain) => {
                let version = version(before);
                let bytes = version.bytes(key);
                chain.newer.push_back(version);
                (Arc::clone(&chain.key), bytes)
            }
            None => {
                let (oldest, key) = (version(before), Arc::<[u8]>::from(key));
                let bytes = oldest.bytes(&key);
                let chain = Chain {
                    key: Arc::clone(&key),
                    oldest,
                    newer: VecDeque::new(),
                };
                chains.insert(Arc::clone(&key), chain);
                (key, bytes)
            }
        };
        let by = Arc::clone(by);
        self.order.push_back(Place { table, key, by });
        Sum {
            added: 1,
            bytes_added,
            ..Sum::default()
        }
    }

    /// What stood before the oldest change that a view at `lsn` does not see; `None` if it sees them all.
    pub(super) fn before(
        &self,
        table: TableId,
        key: &[u8],
        lsn: Lsn,
    ) -> Option<Option<&Stored<'static>>> {
        let chain = self.tables.get(&table)?.get(key)?;
        let unseen = chain
            .newest_first()
            .take_while(|version| !version.by.is_before(lsn));
        unseen.last().map(|version| version.before.as_ref())
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
            let Place { table, key, by } = place;
            let chains = self.tables.get_mut(&table);
            let chains = chains.expect("VER-3: each place in the order is a version's");
            let Entry::Occupied(mut entry) = chains.entry(key) else {
                panic!("VER-3: each place in the order is a version's");
            };
            let chain = entry.get_mut();
            // One before it may not be: a change was taken back above one that is not yet durable.
            if !chain.oldest.by.is_settled(horizon) {
                let key = Arc::clone(&chain.key);
                self.order.push_back(Place { table, key, by });
                continue;
            }
            sum.removed += 1;
            sum.bytes_removed += chain.oldest.bytes(&chain.key);
            match chain.newer.pop_front() {
                Some(next) => chain.oldest = next,
                None => _ = entry.remove(),
            }
        }
        self.shrink();
        sum
    }

    /// Memory that a burst has taken goes back.
    fn shrink(&mut self) {
        if self.order.capacity() > 1024 && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.tables.retain(|_, chains| !chains.is_empty());
            for chains in self.tables.values_mut() {
                chains.shrink_to(chains.len() * 2);
            }
        }
    }
}

#[cfg(test)]
impl Shard {
    /// Breaks it on purpose.
    pub(super) fn forget_chains(&mut self) {
        self.tables.clear();
    }
}
