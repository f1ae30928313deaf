//! From the root to a leaf, latch by latch.

use afterimage_io::planted::{self, Bug};

use super::Tree;
use crate::buffer::{Exclusive, Pager, Shared};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::TREE_LEVEL_MAX;
use crate::page::{Fan, Kind, Page};

/// Which leaf to go to.
#[derive(Clone, Copy)]
pub(super) enum Seek<'a> {
    /// The one that covers this key.
    Key(&'a [u8]),
    /// The one that covers the keys just below this one.
    Before(&'a [u8]),
    /// The rightmost.
    Last,
}

impl Seek<'_> {
    fn child(self, page: &Page) -> PageId {
        let index = match self {
            Seek::Key(key) => page.child_for(key).0,
            Seek::Before(key) => match page.search(key) {
                Ok(index) | Err(index) => index.saturating_sub(1),
            },
            Seek::Last => page.cell_count() - 1,
        };
        page.child(index)
    }

    /// Is what is sought on this page, or below it?
    fn is_on(self, page: &Page) -> bool {
        match self {
            Seek::Key(key) => page.covers(key),
            Seek::Before(key) => {
                page.low_fence().is_none_or(|low| low < key)
                    && page.high_fence().is_none_or(|high| key <= high)
            }
            Seek::Last => page.high_fence().is_none(),
        }
    }
}

enum Leaf<'p> {
    Shared(Shared<'p>),
    Exclusive(Exclusive<'p>),
}

impl<'p> Leaf<'p> {
    /// Latches a page that is in memory.
    fn latch(pager: &'p Pager, page: PageId, exclusive: bool) -> Option<Leaf<'p>> {
        match exclusive {
            true => pager.exclusive(page).map(Leaf::Exclusive),
            false => pager.shared(page).map(Leaf::Shared),
        }
    }

    fn page(&self) -> &Page {
        match self {
            Leaf::Shared(page) => page,
            Leaf::Exclusive(page) => page,
        }
    }
}

impl Tree {
    pub(super) fn leaf_shared<'p>(&self, pager: &'p Pager, seek: Seek<'_>) -> Result<Shared<'p>> {
        let leaf = self.leaf_unchecked(pager, seek)?;
        self.check_keys(pager, &leaf, seek)?;
        Ok(leaf)
    }

    /// As [`Tree::leaf_shared`], for a caller who sees to it that the leaf is the one that was sought: who finds the key has seen it,
    /// everybody else asks [`Tree::check_keys`].
    pub(super) fn leaf_unchecked<'p>(
        &self,
        pager: &'p Pager,
        seek: Seek<'_>,
    ) -> Result<Shared<'p>> {
        match self.descend(pager, seek, false, 0)? {
            Leaf::Shared(leaf) => Ok(leaf),
            Leaf::Exclusive(_) => unreachable!("a shared leaf was asked for"),
        }
    }

    pub(super) fn leaf_exclusive<'p>(&self, pager: &'p Pager, key: &[u8]) -> Result<Exclusive<'p>> {
        self.inner_exclusive(pager, key, 0)
    }

    /// As [`Tree::leaf_unchecked`], exclusively.
    pub(super) fn leaf_exclusive_unchecked<'p>(
        &self,
        pager: &'p Pager,
        key: &[u8],
    ) -> Result<Exclusive<'p>> {
        self.exclusive(pager, key, 0)
    }

    /// The page of `level` that covers `key`, latched exclusively. For an inner one the caller holds the structure mutex.
    pub(super) fn inner_exclusive<'p>(
        &self,
        pager: &'p Pager,
        key: &[u8],
        level: u8,
    ) -> Result<Exclusive<'p>> {
        let page = self.exclusive(pager, key, level)?;
        self.check_keys(pager, &page, Seek::Key(key))?;
        Ok(page)
    }

    fn exclusive<'p>(&self, pager: &'p Pager, key: &[u8], level: u8) -> Result<Exclusive<'p>> {
        match self.descend(pager, Seek::Key(key), true, level)? {
            Leaf::Exclusive(page) => Ok(page),
            Leaf::Shared(_) => unreachable!("an exclusive page was asked for"),
        }
    }

    /// Goes down to the page of `level`. Every latch but the last is shared, and none is held over a load.
    fn descend<'p>(
        &self,
        pager: &'p Pager,
        seek: Seek<'_>,
        exclusive: bool,
        level: u8,
    ) -> Result<Leaf<'p>> {
        if let Some(leaf) = self.by_copies(pager, seek, exclusive, level)? {
            return Ok(leaf);
        }
        loop {
            if let Some(leaf) = self.try_descend(pager, seek, exclusive, level)? {
                return Ok(leaf);
            }
        }
    }

    /// Where to go from a page of which this is a copy; `None` if it is not on the way.
    pub(super) fn step(&self, fan: &Fan, seek: Seek<'_>) -> Option<PageId> {
        let page = fan.page();
        match seek {
            _ if !self.is_own(page) => None,
            Seek::Key(key) => fan.child_for(key),
            _ => seek.is_on(page).then(|| seek.child(page)),
        }
    }

    /// The page of `level`, if copies of those above it lead there, and it is in memory: nothing else is latched.
    fn by_copies<'p>(
        &self,
        pager: &'p Pager,
        seek: Seek<'_>,
        exclusive: bool,
        level: u8,
    ) -> Result<Option<Leaf<'p>>> {
        let Some(guess) = pager.guess(self.root, level, |fan| self.step(fan, seek)) else {
            return Ok(None);
        };
        let found = Leaf::latch(pager, guess.child, exclusive);
        let Some(found) = found.filter(|_| guess.holds()) else {
            return Ok(None);
        };
        // Its lines come all at once, and not one after the other, as a search would ask for them.
        std::hint::black_box(found.page().call_up());
        self.check_arrival(pager, found.page(), Some(level))?;
        Ok(Some(found))
    }

    /// `None`: the tree has changed under way, start again.
    fn try_descend<'p>(
        &self,
        pager: &'p Pager,
        seek: Seek<'_>,
        exclusive: bool,
        level: u8,
    ) -> Result<Option<Leaf<'p>>> {
        let mut current = pager.fetch_shared(self.root).map_err(|e| self.name_in(e))?;
        self.check_arrival(pager, &current, None)?;
        if current.level() == level {
            if exclusive {
                return Ok(self.root_exclusive(pager, current, level));
            }
            return Ok(Some(Leaf::Shared(current)));
        }
        loop {
            let (child, child_level) = (seek.child(&current), current.level() - 1);
            pager.offer(&current);
            // The child is latched before the parent is let go: no structure change fits in between.
            let held = if planted::active(Bug::ParentLetGoFirst) {
                drop(current);
                pager.io.yield_now();
                pager.fetch(child)?;
                None
            } else {
                Some(current)
            };
            let last = child_level == level;
            let Some(found) = Leaf::latch(pager, child, last && exclusive) else {
                let Some(parent) = held else { return Ok(None) };
                match self.load_child(pager, parent, child, seek)? {
                    Some(parent) => current = parent,
                    None => return Ok(None),
                }
                continue;
            };
            drop(held);
            self.check_arrival(pager, found.page(), Some(child_level))?;
            match found {
                Leaf::Shared(page) if !last => current = page,
                found => return Ok(Some(found)),
            }
        }
    }

    /// Loads a child with no latch held. The parent stays pinned, so two frames are enough to get on, however small the
    /// pool and however high the tree; latched again, it must still be on the way.
    fn load_child<'p>(
        &self,
        pager: &'p Pager,
        parent: Shared<'p>,
        child: PageId,
        seek: Seek<'_>,
    ) -> Result<Option<Shared<'p>>> {
        let parent = parent.into_pin();
        pager.counters.pages_missed.add(1);
        let _child = pager.fetch(child).map_err(|e| self.name_in(e))?;
        let Some(parent) = parent.shared() else {
            return Ok(None);
        };
        // It may have become free meanwhile, or something else: then the descent starts again.
        let on_the_way = self.is_own(&parent) && parent.level() > 0 && seek.is_on(&parent);
        Ok(on_the_way.then_some(parent))
    }

    /// The root was seen at the right level; it may have grown between the two latches.
    fn root_exclusive<'p>(
        &self,
        pager: &'p Pager,
        seen: Shared<'p>,
        level: u8,
    ) -> Option<Leaf<'p>> {
        drop(seen);
        let root = pager.exclusive(self.root)?;
        (root.level() == level).then_some(Leaf::Exclusive(root))
    }

    /// Whether the page is one of this tree's, and a descent can go on from it.
    pub(super) fn is_own(&self, page: &Page) -> bool {
        let kind = if page.level() == 0 {
            Kind::Leaf
        } else {
            Kind::Inner
        };
        let can_go_on = kind == Kind::Leaf || page.cell_count() > 0;
        page.tree() == self.id && page.kind() == Some(kind) && can_go_on
    }

    /// A link that leads into another tree, or to the wrong level, is damage, not something to follow.
    pub(super) fn check_arrival(
        &self,
        pager: &Pager,
        page: &Page,
        level: Option<u8>,
    ) -> Result<()> {
        let right_level = level.map_or(page.level() <= TREE_LEVEL_MAX, |level| {
            page.level() == level
        });
        if self.is_own(page) && right_level {
            return Ok(());
        }
        let what = format!(
            "a link of tree {} leads to a page of tree {}, level {}, with {} cells",
            self.id,
            page.tree(),
            page.level(),
            page.cell_count()
        );
        Err(self.name_in(pager.corrupt(page.id(), what)))
    }

    /// The page at the end of the way is the one that was sought. One for other keys would show rows as missing that are
    /// there. Pages on the way need no look: from a wrong one, no way leads to the right end.
    pub(super) fn check_keys(&self, pager: &Pager, page: &Page, seek: Seek<'_>) -> Result<()> {
        if seek.is_on(page) {
            return Ok(());
        }
        let what = format!("a link of tree {} leads to a page for other keys", self.id);
        Err(self.name_in(pager.corrupt(page.id(), what)))
    }

    /// Adds the table's name to an error that names a page.
    fn name_in(&self, error: Error) -> Error {
        match error {
            Error::PageCorrupt {
                table: None,
                page,
                file,
                offset,
                what,
            } => Error::PageCorrupt {
                table: Some(self.name().to_string()),
                page,
                file,
                offset,
                what,
            },
            other => other,
        }
    }
}
