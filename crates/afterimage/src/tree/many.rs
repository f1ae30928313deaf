//! Many keys at once: what takes time in going to a row is memory that is not in the processor's caches, a wait for each page and
//! each cell. Where it is known to which rows somebody will go, the memory of all of them is asked for before any of it is waited for.

use afterimage_log::Lsn;

use super::Tree;
use super::descend::Seek;
use crate::buffer::{Leaves, Pager};
use crate::error::Result;
use crate::page::{Fan, Stored};

pub(crate) use crate::buffer::CALLED_UP;

impl Tree {
    /// The leaves of these keys, as many as a permit allows, as far as they can be had without waiting, and with what a search for the key
    /// looks at in the processor's cache.
    pub(crate) fn leaves<'p>(&self, pager: &'p Pager, keys: &[&[u8]]) -> Leaves<'p> {
        let way = |key| move |fan: &Fan| self.step(fan, Seek::Key(key));
        let leaves = pager.leaves(self.root, keys.iter().copied().map(way));
        let found = leaves.iter().flatten();
        let mut sum = found.fold(0, |sum, leaf| sum ^ leaf.call_up());
        for (leaf, key) in leaves.iter().zip(keys) {
            if let Some(leaf) = leaf.as_deref().filter(|leaf| self.is_own(leaf)) {
                sum ^= leaf.call_up_cell(key);
            }
        }
        std::hint::black_box(sum);
        leaves
    }

    /// As [`Tree::read`], for many keys, in any order; `look` is told the place of the key among them.
    pub(crate) fn read_many(
        &self,
        pager: &Pager,
        keys: &[&[u8]],
        mut look: impl FnMut(usize, Option<Lsn>, Option<Stored<'_>>),
    ) -> Result<()> {
        let most = pager.leaves_at_once();
        for (group, keys) in keys.chunks(most).enumerate() {
            self.read_group(pager, keys, |place, lsn, stored| {
                look(group * most + place, lsn, stored);
            })?;
        }
        Ok(())
    }

    fn read_group(
        &self,
        pager: &Pager,
        keys: &[&[u8]],
        mut look: impl FnMut(usize, Option<Lsn>, Option<Stored<'_>>),
    ) -> Result<()> {
        let permit = pager.permit();
        let leaves = self.leaves(pager, keys);
        let mut left = [false; CALLED_UP];
        for (place, (leaf, key)) in leaves.iter().zip(keys).enumerate() {
            let Some(leaf) = leaf else {
                left[place] = true;
                continue;
            };
            self.check_arrival(pager, leaf, Some(0))?;
            let cell = self.find(pager, leaf, key)?;
            look(place, leaf.lsn(), cell.map(|cell| cell.stored()));
        }
        pager.count_lookups(leaves.iter().flatten().count() as u64);
        drop((leaves, permit));
        for (place, key) in keys.iter().enumerate().filter(|(place, _)| left[*place]) {
            self.read(pager, key, |lsn, stored| look(place, lsn, stored))?;
        }
        Ok(())
    }
}
