//! The dirty page table: which pages are dirty, by recLSN. So the cleaner finds the oldest, a checkpoint all, and whoever asks how many there
//! are the number, without a look at every frame: a pool has millions of them, and is asked many times a second.
//!
//! A frame changes its page's entry under its own lock, which comes first: the two never disagree.

use std::collections::BTreeSet;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;
use afterimage_log::Lsn;

use crate::ids::PageId;

const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// In the order of the recLSNs.
type Shard = BTreeSet<(Lsn, PageId)>;

pub(super) struct DirtyTable {
    shards: Box<[Mutex<Shard>]>,
}

impl DirtyTable {
    pub(super) fn new(io: &Io) -> DirtyTable {
        DirtyTable {
            shards: (0..SHARDS).map(|_| Mutex::new(io, Shard::new())).collect(),
        }
    }

    /// The page's recLSN was `old`, and is `new` from now on; none: it is clean. Called under the frame's lock.
    pub(super) fn change(&self, page: PageId, old: Option<Lsn>, new: Option<Lsn>) {
        let mut shard = self.shards[(page.get() % SHARDS as u64) as usize].lock();
        if let Some(old) = old {
            assert!(
                shard.remove(&(old, page)),
                "PAGE-2: a dirty page is in the dirty page table at its recLSN"
            );
        }
        if let Some(new) = new {
            assert!(
                shard.insert((new, page)),
                "PAGE-2: a clean page is not in the dirty page table"
            );
        }
    }

    /// How many pages are dirty.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Up to `limit` of the oldest, those with a recLSN below `below` alone if one is given. In no order.
    pub(super) fn oldest(&self, limit: usize, below: Option<Lsn>) -> Vec<(PageId, Lsn)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            found.reserve(shard.len().min(limit));
            let old = shard
                .iter()
                .take_while(|(rec_lsn, _)| below.is_none_or(|below| *rec_lsn < below));
            found.extend(old.take(limit).map(|(rec_lsn, page)| (*page, *rec_lsn)));
        }
        if limit > 0 && limit < found.len() {
            found.select_nth_unstable_by_key(limit, |(page, rec_lsn)| (*rec_lsn, *page));
        }
        found.truncate(limit);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(n: u64) -> Lsn {
        Lsn::new(n).expect("not zero")
    }

    fn table() -> DirtyTable {
        let table = DirtyTable::new(&Io::os());
        for page in 1..=100 {
            table.change(PageId(page), None, Some(lsn(1000 - page)));
        }
        table
    }

    #[test]
    fn the_oldest_come_first_whatever_shard_they_are_in() {
        let table = table();
        let numbers = |limit, below: Option<u64>| {
            let mut found = table.oldest(limit, below.map(lsn));
            found.sort_unstable();
            found
                .into_iter()
                .map(|(page, _)| page.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(3, None), [98, 99, 100]);
        assert_eq!(numbers(usize::MAX, Some(905)), [96, 97, 98, 99, 100]);
        assert_eq!(numbers(2, Some(905)), [99, 100]);
        assert_eq!(numbers(0, None), []);
        assert_eq!(numbers(usize::MAX, None).len(), 100);
    }

    #[test]
    fn a_page_that_is_changed_on_its_way_home_stays() {
        let table = table();
        table.change(PageId(100), Some(lsn(900)), Some(lsn(2000)));
        assert_eq!(table.len(), 100);
        assert_eq!(table.oldest(1, None), [(PageId(99), lsn(901))]);
        table.change(PageId(100), Some(lsn(2000)), None);
        assert_eq!(table.len(), 99);
    }

    #[test]
    #[should_panic(expected = "PAGE-2")]
    fn what_is_clean_cannot_be_cleaned() {
        table().change(PageId(7), Some(lsn(1)), None);
    }

    #[test]
    #[should_panic(expected = "PAGE-2")]
    fn what_is_dirty_becomes_so_once() {
        table().change(PageId(7), None, Some(lsn(993)));
    }
}
