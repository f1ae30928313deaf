//! From the root to a leaf, latch by latch.

use afterimage_io::planted::{self, Bug};

use super::Tree;
use crate::buffer::{Exclusive, Pager, Pin, Shared};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::TREE_LEVEL_MAX;
use crate::page::{Kind, Page};

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

impl Tree {
    pub(super) fn leaf_shared<'p>(&self, pager: &'p Pager, seek: Seek<'_>) -> Result<Shared<'p>> {
        match self.descend(pager, seek, false, 0)? {
            Leaf::Shared(leaf) => Ok(leaf),
            Leaf::Exclusive(_) => unreachable!("a shared leaf was asked for"),
        }
    }

    pub(super) fn leaf_exclusive<'p>(&self, pager: &'p Pager, key: &[u8]) -> Result<Exclusive<'p>> {
        match self.descend(pager, Seek::Key(key), true, 0)? {
            Leaf::Exclusive(leaf) => Ok(leaf),
            Leaf::Shared(_) => unreachable!("an exclusive leaf was asked for"),
        }
    }

    /// The inner page of `level` that covers `key`, latched exclusively. The caller holds the structure mutex.
    pub(super) fn inner_exclusive<'p>(
        &self,
        pager: &'p Pager,
        key: &[u8],
        level: u8,
    ) -> Result<Exclusive<'p>> {
        debug_assert!(level > 0);
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
        loop {
            if let Some(leaf) = self.try_descend(pager, seek, exclusive, level)? {
                return Ok(leaf);
            }
        }
    }

    /// `None`: the tree has changed under way, start again.
    fn try_descend<'p>(
        &self,
        pager: &'p Pager,
        seek: Seek<'_>,
        exclusive: bool,
        level: u8,
    ) -> Result<Option<Leaf<'p>>> {
        let root = pager.fetch(self.root).map_err(|e| self.name_in(e))?;
        let Some(mut current) = root.shared() else {
            return Ok(None);
        };
        self.check_arrival(pager, &current, None)?;
        if current.level() == level {
            self.check_keys(pager, &current, seek)?;
            if exclusive {
                return Ok(self.root_exclusive(pager, current, level));
            }
            return Ok(Some(Leaf::Shared(current)));
        }
        loop {
            let (child, child_level) = (seek.child(&current), current.level() - 1);
            let Some(pin) = pager.pin(child) else {
                match self.load_child(pager, current, child, seek)? {
                    Some(parent) => current = parent,
                    None => return Ok(None),
                }
                continue;
            };
            // The child is latched before the parent is let go: no structure change fits in between.
            let _held = if planted::active(Bug::ParentLetGoFirst) {
                drop(current);
                pager.io.yield_now();
                None
            } else {
                Some(current)
            };
            if child_level == level && exclusive {
                let Some(page) = pin.exclusive() else {
                    return Ok(None);
                };
                self.check_arrival(pager, &page, Some(child_level))?;
                self.check_keys(pager, &page, seek)?;
                return Ok(Some(Leaf::Exclusive(page)));
            }
            let Some(page) = pin.shared() else {
                return Ok(None);
            };
            self.check_arrival(pager, &page, Some(child_level))?;
            current = page;
            if child_level == level {
                self.check_keys(pager, &current, seek)?;
                return Ok(Some(Leaf::Shared(current)));
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
        let root = pager.pin(self.root).and_then(Pin::exclusive)?;
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
    fn check_arrival(&self, pager: &Pager, page: &Page, level: Option<u8>) -> Result<()> {
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
    fn check_keys(&self, pager: &Pager, page: &Page, seek: Seek<'_>) -> Result<()> {
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
