//! Leaves that rows have been deleted from: where it may pay to merge. Kept in memory, and only so many of them; where there
//! are more, their tables are walked through once instead.

use std::collections::BTreeMap;
use std::ops::Bound;

use afterimage_io::Io;
use afterimage_io::sync::Mutex;

use super::System;
use crate::error::{Error, Result};
use crate::ids::{PageId, TableId};
use crate::tree::Merged;

/// Most leaves that are remembered one by one: with keys of 1 KiB, a mebibyte.
const LEAVES_MAX: usize = 1024;
/// With so many remembered, whoever writes merges a few.
const LEAVES_HELP: usize = 256;

type Place = (TableId, PageId);

pub(super) struct Sparse {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Each leaf with a key that it covered.
    leaves: BTreeMap<Place, Vec<u8>>,
    /// The last one looked at: they take turns.
    last: Option<Place>,
    /// Tables to be walked through, each with the key from which on.
    walks: BTreeMap<TableId, Walk>,
}

struct Walk {
    next: Vec<u8>,
    /// Something was missed since the walk began: it begins again when it is over.
    again: bool,
}

/// Where to look.
enum Candidate {
    Leaf(Place, Vec<u8>),
    Walk(TableId, Vec<u8>),
}

impl Sparse {
    pub(super) fn new(io: &Io) -> Sparse {
        Sparse {
            inner: Mutex::new(io, Inner::default()),
        }
    }

    /// The row of `key`, on leaf `page`, has gone.
    pub(super) fn note(&self, table: TableId, page: PageId, key: &[u8]) {
        let mut inner = self.inner.lock();
        let place = (table, page);
        if inner.leaves.contains_key(&place) {
            return;
        }
        if inner.leaves.len() < LEAVES_MAX {
            inner.leaves.insert(place, key.to_vec());
            return;
        }
        let from_the_start = Walk {
            next: Vec::new(),
            again: false,
        };
        let walk = inner.walks.entry(table).or_insert(from_the_start);
        walk.again |= !walk.next.is_empty();
    }

    fn count(&self) -> usize {
        self.inner.lock().leaves.len()
    }

    fn take(&self) -> Option<Candidate> {
        let mut inner = self.inner.lock();
        let behind = inner.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut next = inner.leaves.range((behind, Bound::Unbounded)).next();
        if next.is_none() {
            next = inner.leaves.first_key_value();
        }
        if let Some((&place, _)) = next {
            inner.last = Some(place);
            let key = inner.leaves.remove(&place);
            return key.map(|key| Candidate::Leaf(place, key));
        }
        let (table, walk) = inner.walks.first_key_value()?;
        Some(Candidate::Walk(*table, walk.next.clone()))
    }

    /// The walk through `table` goes on at `next`; `None`: it is at the end.
    fn walked(&self, table: TableId, next: Option<Vec<u8>>) {
        let mut inner = self.inner.lock();
        let Some(walk) = inner.walks.get_mut(&table) else {
            return;
        };
        match next {
            Some(next) => walk.next = next,
            None if walk.again => {
                walk.next.clear();
                walk.again = false;
            }
            None => drop(inner.walks.remove(&table)),
        }
    }
}

impl System {
    /// Looks at one place where rows have gone, and merges what has become too small there. False if there was no such place,
    /// or nothing can be done yet.
    ///
    /// # Errors
    ///
    /// `DiskFull` where there is no log space for it: it is tried again.
    pub(crate) fn merge_step(&self) -> Result<bool> {
        match self.sparse.take() {
            None => Ok(false),
            Some(Candidate::Leaf((table, page), key)) => {
                let merged = self.merge_around(table, &key);
                if let Ok(Merged::Later) | Err(Error::DiskFull { .. }) = merged {
                    self.sparse.note(table, page, &key);
                }
                Ok(merged? != Merged::Later)
            }
            Some(Candidate::Walk(table, key)) => {
                if self.merge_around(table, &key)? == Merged::Later {
                    return Ok(false);
                }
                let next = match self.catalogue.by_id(table) {
                    Some(tree) => tree.next_leaf(self.pager_of(&tree), &key)?,
                    None => None,
                };
                self.sparse.walked(table, next);
                Ok(true)
            }
        }
    }

    /// A writer takes part when there is more to merge than one thread gets done.
    pub(crate) fn help_to_merge(&self) -> Result<()> {
        if self.sparse.count() < LEAVES_HELP {
            return Ok(());
        }
        match self.merge_step() {
            Err(Error::DiskFull { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn merge_around(&self, table: TableId, key: &[u8]) -> Result<Merged> {
        let Some(tree) = self.catalogue.by_id(table) else {
            return Ok(Merged::Nothing);
        };
        loop {
            match tree.merge_at(self.pager_of(&tree), key, &|ghost| {
                self.is_purgeable(&tree, ghost)
            }) {
                Ok(Merged::Done) => {}
                // Whoever needs a damaged page is told; what is small beside it stays small.
                Err(error) if error.is_corruption() => return Ok(Merged::Nothing),
                result => return result,
            }
        }
    }
}
