//! Rows with large values: what it takes beside the row's own record to write, replace and delete them.
//!
//! The bytes go to pages that were set aside for them, in records that belong to no transaction. Until the transaction
//! commits with their address in its row, these pages are pending: a crash or a rollback at any place leaves them to purge.

use std::io::Read;

use afterimage_io::planted::{self, Bug};
use afterimage_log::{Log, Lsn};

use super::wish::{Outcome, Wish};
use super::work::check_value_size;
use super::{Chain, Mode, System, Txn};
use crate::error::{Error, Result};
use crate::limits::overflow_bytes;
use crate::page::{Address, Extent, Stored};
use crate::record::{Change, Record};
use crate::tree::{Large, Tree, pages_for, pending_key, pending_value, write_page};

/// Payload bytes of a begin record.
const BEGIN_BYTES: usize = 1;
/// A value's pages are set aside in runs of at most so many.
pub(super) const EXTENT_PAGES_MAX: u64 = 4096;

/// A value that is to become a row's.
pub(crate) struct NewValue<'a> {
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Gives the bytes.
    pub(crate) bytes: &'a mut dyn Read,
}

impl System {
    /// The value that is stored so. What an address leads to must be kept from being freed: by a lock on its row, or a view
    /// that sees it.
    pub(crate) fn load(&self, tree: &Tree, stored: Stored<'_>) -> Result<Vec<u8>> {
        match stored.address() {
            Some(address) => {
                let pager = self.pager_of(tree);
                Large::new(pager, tree.id(), address)?.read_all(pager)
            }
            None => Ok(stored.bytes.into_owned()),
        }
    }

    /// Makes what `reader` gives the value of `key`.
    pub(crate) fn put_reader(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        value: NewValue<'_>,
    ) -> Result<()> {
        self.check_sizes(key, &[])?;
        check_value_size(value.len)?;
        if !self.is_large(value.len) {
            let mut bytes = vec![0; value.len as usize];
            value.bytes.read_exact(&mut bytes).map_err(failed)?;
            return self.write(txn, tree, key, Wish::Put(&bytes)).map(drop);
        }
        self.lock_row(txn, tree, key, Mode::Exclusive)?;
        let result = self.write_large(txn, tree, key, Wish::Put(&[]), Some(value));
        self.doom_unless_harmless(txn, &result);
        result.map(drop)
    }

    /// The value of `key`, locked shared, to be read piece by piece while the transaction goes on.
    pub(crate) fn get_reader(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
    ) -> Result<Option<Found>> {
        self.check_sizes(key, &[])?;
        self.lock_row(txn, tree, key, Mode::Shared)?;
        let stored = tree.read(self.pager_of(tree), key, |_, value| {
            value.map(Stored::into_owned)
        })?;
        stored.map(|stored| self.found(tree, stored)).transpose()
    }

    /// The value that is stored so, to be read piece by piece.
    pub(crate) fn found(&self, tree: &Tree, stored: Stored<'_>) -> Result<Found> {
        Ok(match stored.address() {
            Some(address) => Found::Large(Large::new(self.pager_of(tree), tree.id(), address)?),
            None => Found::Small(stored.bytes.into_owned()),
        })
    }

    /// Fulfils `wish` where the value that comes (`value`, or else the wish's own) or the one that goes is a large one. The
    /// row is locked. After `DiskFull` and `Reader` the transaction is as it was.
    pub(super) fn write_large(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        wish: Wish<'_>,
        value: Option<NewValue<'_>>,
    ) -> Result<Outcome> {
        let before = tree.read(self.pager_of(tree), key, |_, value| {
            value.map(Stored::into_owned)
        })?;
        let outcome = self.outcome(tree, wish, before.as_ref())?;
        let comes = value.is_some() || wish.value().is_some();
        if !outcome.fulfilled || !(comes || before.is_some()) {
            return Ok(outcome);
        }
        // For taking back what was done when the disk turns out to be full half way.
        let extra = self.pager.log.reserve(self.finish_bytes())?;
        self.begin_chain(txn)?;
        let mark = self.mark(txn, 0);
        let done = self.exchange(txn, tree, key, wish, before, value);
        if let Err(Error::DiskFull { .. } | Error::Reader { .. }) = done
            && let Err(error) = self.undo_down_to(txn, mark, extra)
        {
            txn.doomed = Some(error.clone());
            return Err(error);
        }
        done.map(|()| outcome)
    }

    /// What comes of `wish`. A swap has to see the whole of a large value.
    fn outcome(&self, tree: &Tree, wish: Wish<'_>, before: Option<&Stored<'_>>) -> Result<Outcome> {
        let bytes = match (before, wish) {
            (Some(before), Wish::Swap(Some(_), _)) => self.load(tree, before.reborrow())?.into(),
            (Some(before), _) => before.reborrow().bytes,
            (None, _) => return Ok(wish.outcome(None)),
        };
        Ok(wish.outcome(Some(&bytes)))
    }

    /// A transaction has its id from its first record; pages that wait for it stand under its id.
    pub(super) fn begin_chain(&self, txn: &mut Txn) -> Result<()> {
        if txn.chain.is_some() {
            return Ok(());
        }
        let finish = self.finish_bytes();
        let log = &self.pager.log;
        let mut space = log.reserve(Log::frame_bytes(BEGIN_BYTES, false) + finish)?;
        let begin = |lsn, _| self.active.wrote(lsn, lsn);
        let appended = self
            .pager
            .append(&mut space, &Record::Begin, false, begin)?;
        txn.chain = Some(Chain {
            id: appended.lsn,
            last: appended.lsn,
        });
        txn.undo_space = Some(space.split(finish));
        Ok(())
    }

    /// Writes the new value's pages, changes the row, and says in the pending-free tree which pages are in use from now on
    /// and which are not.
    fn exchange(
        &self,
        txn: &mut Txn,
        tree: &Tree,
        key: &[u8],
        wish: Wish<'_>,
        before: Option<Stored<'static>>,
        value: Option<NewValue<'_>>,
    ) -> Result<()> {
        let owner = txn.chain.expect("begun before").id;
        let old = match before.as_ref().and_then(Stored::address) {
            Some(address) => {
                let pager = self.pager_of(tree);
                Large::new(pager, tree.id(), address)?.extents(pager)?
            }
            None => Vec::new(),
        };
        let (after, new) = match value {
            Some(value) => {
                txn.leaves_pages = true;
                let (address, extents) = self.write_value(owner, tree, value)?;
                let pages: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
                if tree.is_logged() {
                    txn.logged += pages * self.pager.page_size() as u64;
                }
                (Some(address.stored()), extents)
            }
            None => (wish.value().map(Stored::from), Vec::new()),
        };
        let after_len = after.as_ref().map_or(0, |after| after.bytes.len());
        self.write_row(txn, tree, key, after_len, &mut |_| {
            let before = before.as_ref().map(Stored::reborrow);
            Some(Change::of(before, after.as_ref().map(Stored::reborrow)).into_owned())
        })?;
        let pending = self.catalogue.pending_of(tree);
        for extent in new {
            let key = pending_key(owner, extent.first);
            self.write_row(txn, pending, &key, 0, &mut |entry| {
                entry.map(|entry| Change::of(Some(entry), None).into_owned())
            })?;
        }
        txn.leaves_pages |= !old.is_empty();
        if planted::active(Bug::FreedUncommitted) {
            self.purge.owner_ended(owner, owner);
        }
        for extent in old {
            let (key, value) = (pending_key(owner, extent.first), pending_value(extent));
            self.write_row(txn, pending, &key, value.len(), &mut |entry| {
                Some(Change::of(entry, Some(Stored::from(&value))).into_owned())
            })?;
        }
        Ok(())
    }

    /// Puts a value into pages of its own, which stay pending.
    fn write_value(
        &self,
        owner: Lsn,
        tree: &Tree,
        value: NewValue<'_>,
    ) -> Result<(Address, Vec<Extent>)> {
        let extents = self.allocate(owner, tree, pages_for(value.len, self.pager.page_size()))?;
        let in_page = overflow_bytes(self.pager.page_size());
        let mut buffer = vec![0; in_page];
        let mut position = 0;
        for (index, extent) in extents.iter().enumerate() {
            let mut next = extents.get(index + 1).copied();
            for page in extent.ids() {
                let here = (value.len - position).min(in_page as u64) as usize;
                let data = &mut buffer[..here];
                value.bytes.read_exact(data).map_err(failed)?;
                write_page(
                    self.pager_of(tree),
                    tree.id(),
                    page,
                    position,
                    next.take(),
                    data,
                )?;
                position += here as u64;
            }
        }
        let address = Address {
            first: extents[0],
            len: value.len,
        };
        Ok((address, extents))
    }

    /// Sets pages aside for `owner`, where those of `tree` are.
    fn allocate(&self, owner: Lsn, tree: &Tree, pages: u64) -> Result<Vec<Extent>> {
        let (pager, pending) = (self.pager_of(tree), self.catalogue.pending_of(tree));
        let purgeable = |ghost: &[u8]| self.is_purgeable(pending, ghost);
        let (mut left, mut extents) = (pages, Vec::new());
        while left > 0 {
            // What nobody needs any more is used before the file grows.
            while pager.page_counts().1 < left && self.purge_step()? {}
            // The file's growth takes a sync. One of the log, which nobody has asked for yet, may make it unnecessary.
            if !pager.is_logged() && pager.page_counts().1 < left && self.purge.is_waiting() {
                let log = &self.pager.log;
                log.wait_durable(log.next_lsn())?;
                while pager.page_counts().1 < left && self.purge_step()? {}
            }
            let wanted = left.min(EXTENT_PAGES_MAX) as u32;
            let extent = pending.allocate_extent(pager, owner, wanted, &purgeable)?;
            left -= u64::from(extent.pages);
            extents.push(extent);
        }
        Ok(extents)
    }
}

/// A value that was found.
pub(crate) enum Found {
    Small(Vec<u8>),
    Large(Large),
}

pub(crate) fn failed(error: std::io::Error) -> Error {
    Error::Reader {
        what: error.to_string(),
    }
}
