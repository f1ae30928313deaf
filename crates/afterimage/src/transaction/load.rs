//! Loading a table: rows in key order become leaves, without locks, versions or records of their own, for nobody else can
//! see them. An owner that has ended, but whom purge is not told of, keeps the tree from being freed while the load is
//! under way; told, it frees all of it, and so does the next open.

use std::io::Read;
use std::sync::Arc;

use afterimage_log::Lsn;

use super::large::{EXTENT_PAGES_MAX, NewValue, failed};
use super::{System, Txn, after_record};
use crate::error::{Error, Result};
use crate::ids::TableId;
use crate::limits::overflow_bytes;
use crate::page::{ADDRESS_BYTES, Address, Extent};
use crate::tree::{Edge, Tree, check_name, pages_for, pending_key, write_page};

/// A load that is under way.
pub(crate) struct Load {
    /// Under whom the tree waits to be freed.
    owner: Lsn,
    edge: Edge,
}

/// Called before each record, without latches: where a load waits until there is room for more log.
pub(crate) type Pace<'a> = dyn Fn() -> Result<()> + 'a;

impl Load {
    /// The number that the table will have.
    pub(crate) fn tree_id(&self) -> TableId {
        self.edge.tree.id()
    }
}

impl System {
    /// Begins to load what is to be the table `name`; leaves are filled to `fill_percent`.
    pub(crate) fn begin_load(&self, name: &str, fill_percent: u8) -> Result<Load> {
        check_name(name)?;
        if self.catalogue.by_name(name).is_some() {
            return Err(Error::TableExists {
                name: name.to_owned(),
            });
        }
        let mut txn = self.begin(None);
        match self.begin_edge(&mut txn, fill_percent) {
            // It ends at once: it holds no log back, and nothing is to be undone.
            Ok(load) => self.commit(txn).map(|_| load),
            Err(error) => {
                self.rollback(txn)?;
                Err(error)
            }
        }
    }

    fn begin_edge(&self, txn: &mut Txn, fill_percent: u8) -> Result<Load> {
        self.begin_chain(txn)?;
        let owner = txn.first().expect("just begun");
        let fill = self.pager.page_size() * usize::from(fill_percent) / 100;
        let purgeable = |ghost: &[u8]| self.is_purgeable(&self.catalogue.pending, ghost);
        let edge = self
            .catalogue
            .begin_load(&self.pager, owner, fill, &purgeable)?;
        Ok(Load { owner, edge })
    }

    /// Adds a row. Its key is above those of all rows before it, and of a length that a page takes.
    pub(crate) fn load_row(
        &self,
        load: &mut Load,
        key: &[u8],
        value: &[u8],
        pace: &Pace<'_>,
    ) -> Result<()> {
        if self.is_large(value.len() as u64) {
            let (len, mut bytes) = (value.len() as u64, value);
            let bytes = &mut bytes;
            return self.load_large(load, key, NewValue { len, bytes }, pace);
        }
        self.turn_if_full(load, key, value.len(), pace)?;
        load.edge.add(key, value, false);
        Ok(())
    }

    /// As [`System::load_row`], with a value that does not stand in its row's cell.
    pub(crate) fn load_large(
        &self,
        load: &mut Load,
        key: &[u8],
        value: NewValue<'_>,
        pace: &Pace<'_>,
    ) -> Result<()> {
        self.turn_if_full(load, key, ADDRESS_BYTES, pace)?;
        pace()?;
        load.edge.make_page(&self.pager)?;
        let tree = &load.edge.tree;
        let (address, extents) = self.load_extents(tree, key, value.len, pace)?;
        self.load_bytes(tree, &extents, value, pace)?;
        load.edge.add(key, &address.encode(), true);
        Ok(())
    }

    fn turn_if_full(
        &self,
        load: &mut Load,
        key: &[u8],
        value_len: usize,
        pace: &Pace<'_>,
    ) -> Result<()> {
        let edge = &mut load.edge;
        if !edge.takes(key, value_len, self.pager.page_size()) {
            pace()?;
            edge.write(&self.pager)?;
            edge.turn(key);
        }
        Ok(())
    }

    /// Gives the row of `key` pages for a value of `len` bytes.
    fn load_extents(
        &self,
        tree: &Tree,
        key: &[u8],
        len: u64,
        pace: &Pace<'_>,
    ) -> Result<(Address, Vec<Extent>)> {
        let mut left = pages_for(len, self.pager.page_size());
        let wanted = |left: u64| left.min(EXTENT_PAGES_MAX) as u32;
        // What nobody needs any more is used before the file grows.
        while self.pager.page_counts().1 < left && self.purge_step()? {}
        pace()?;
        let address = tree.begin_large(&self.pager, key, len, wanted(left))?;
        let (mut before, mut last) = (0, address.first);
        let mut extents = vec![last];
        left -= u64::from(last.pages);
        while left > 0 {
            pace()?;
            let next = tree.extend_large(&self.pager, last, before, wanted(left))?;
            before += u64::from(last.pages);
            left -= u64::from(next.pages);
            last = next;
            extents.push(last);
        }
        Ok((address, extents))
    }

    fn load_bytes(
        &self,
        tree: &Tree,
        extents: &[Extent],
        value: NewValue<'_>,
        pace: &Pace<'_>,
    ) -> Result<()> {
        let in_page = overflow_bytes(self.pager.page_size());
        let (mut buffer, mut position) = (vec![0; in_page], 0);
        for (index, extent) in extents.iter().enumerate() {
            let mut next = extents.get(index + 1).copied();
            for page in extent.ids() {
                let here = (value.len - position).min(in_page as u64) as usize;
                let data = &mut buffer[..here];
                Read::read_exact(value.bytes, data).map_err(failed)?;
                pace()?;
                write_page(&self.pager, tree.id(), page, position, next.take(), data)?;
                position += here as u64;
            }
        }
        Ok(())
    }

    /// Writes the rows that have not been written yet: there are no more.
    pub(crate) fn load_rest(&self, load: &mut Load, pace: &Pace<'_>) -> Result<()> {
        pace()?;
        load.edge.write(&self.pager)
    }

    /// Makes what was loaded the table `name`. Returns it, and up to where the log must be durable before that may be told.
    pub(crate) fn finish_load(
        &self,
        load: &Load,
        name: &str,
        pace: &Pace<'_>,
    ) -> Result<(Arc<Tree>, Lsn)> {
        pace()?;
        let (pager, pending, owner) = (&self.pager, &self.catalogue.pending, load.owner);
        let tree = load.edge.tree.clone();
        let (lsn, leaf) = self.catalogue.finish_load(pager, owner, name, &tree)?;
        let key = pending_key(owner, tree.root());
        self.sparse.note(pending.id(), leaf, &key);
        Ok((tree, after_record(lsn)))
    }

    /// Nothing more is loaded: what is not a table by now is to be freed.
    pub(crate) fn end_load(&self, load: &Load) {
        // Nobody has ever seen it, so nobody's moment has to pass before.
        let long_ago = Lsn::new(1).expect("more than zero");
        self.purge.owner_ended(load.owner, long_ago);
    }
}
