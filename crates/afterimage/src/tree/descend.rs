//! From the root to a leaf, latch by latch.

use super::Tree;
use crate::buffer::{Exclusive, Pager, Pin, Shared};
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::TREE_LEVEL_MAX;
use crate::page::{Kind, Page};

/// Pages loaded on the way stay pinned, so that a small pool does not lose them again before they are used.
const HELD_MAX: usize = 2;

/// Which leaf to go to.
#[derive(Clone, Copy)]
pub(super) enum Seek<'a> {
    /// The one that covers this key.
    Key(&'a [u8]),
    /// The one that covers the keys just below this one.
    Before(&'a [u8]),
    /// The leftmost.
    First,
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
            Seek::First => 0,
            Seek::Last => page.cell_count() - 1,
        };
        page.inner_cell(index).child
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
    pub(super) fn inner_exclusive<'p>(&self, pager: &'p Pager, key: &[u8], level: u8) -> Result<Exclusive<'p>> {
        debug_assert!(level > 0);
        match self.descend(pager, Seek::Key(key), true, level)? {
            Leaf::Exclusive(page) => Ok(page),
            Leaf::Shared(_) => unreachable!("an exclusive page was asked for"),
        }
    }

    /// Goes down to the page of `level`. Every latch but the last is shared, and none is held over a load.
    fn descend<'p>(&self, pager: &'p Pager, seek: Seek<'_>, exclusive: bool, level: u8) -> Result<Leaf<'p>> {
        let mut held: Vec<Pin<'p>> = Vec::new();
        loop {
            match self.try_descend(pager, seek, exclusive, level)? {
                Step::Arrived(leaf) => return Ok(leaf),
                Step::Again => {}
                Step::Load(page) => {
                    if held.len() == HELD_MAX {
                        held.remove(0);
                    }
                    held.push(pager.fetch(page).map_err(|e| self.name_in(e))?);
                }
            }
        }
    }

    fn try_descend<'p>(&self, pager: &'p Pager, seek: Seek<'_>, exclusive: bool, level: u8) -> Result<Step<'p>> {
        let Some(root) = pager.pin(self.root) else { return Ok(Step::Load(self.root)) };
        let Some(mut current) = root.shared() else { return Ok(Step::Again) };
        self.check_arrival(pager, &current, None)?;
        if current.level() == level {
            return Ok(if exclusive { self.root_exclusive(pager, current, level) } else { arrived(current) });
        }
        loop {
            let (child, child_level) = (seek.child(&current), current.level() - 1);
            let Some(pin) = pager.pin(child) else { return Ok(Step::Load(child)) };
            if child_level == level && exclusive {
                let Some(page) = pin.exclusive() else { return Ok(Step::Again) };
                self.check_arrival(pager, &page, Some(child_level))?;
                return Ok(Step::Arrived(Leaf::Exclusive(page)));
            }
            let Some(page) = pin.shared() else { return Ok(Step::Again) };
            self.check_arrival(pager, &page, Some(child_level))?;
            // The child is latched before the parent is let go: no structure change fits in between.
            current = page;
            if child_level == level {
                return Ok(arrived(current));
            }
        }
    }

    /// The root was seen at the right level; it may have grown between the two latches.
    fn root_exclusive<'p>(&self, pager: &'p Pager, seen: Shared<'p>, level: u8) -> Step<'p> {
        drop(seen);
        match pager.pin(self.root).and_then(Pin::exclusive) {
            Some(root) if root.level() == level => Step::Arrived(Leaf::Exclusive(root)),
            _ => Step::Again,
        }
    }

    /// A link that leads into another tree, or to the wrong level, is damage, not something to follow.
    fn check_arrival(&self, pager: &Pager, page: &Page, level: Option<u8>) -> Result<()> {
        let kind = if page.level() == 0 { Kind::Leaf } else { Kind::Inner };
        let right_place = page.tree() == self.id && page.kind() == Some(kind);
        let right_level = level.map_or(page.level() <= TREE_LEVEL_MAX, |level| page.level() == level);
        let can_go_on = kind == Kind::Leaf || page.cell_count() > 0;
        if right_place && right_level && can_go_on {
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

    /// Adds the table's name to an error that names a page.
    fn name_in(&self, error: Error) -> Error {
        match error {
            Error::PageCorrupt { table: None, page, file, offset, what } => {
                Error::PageCorrupt { table: Some(self.name.clone()), page, file, offset, what }
            }
            other => other,
        }
    }
}

fn arrived(page: Shared<'_>) -> Step<'_> {
    Step::Arrived(Leaf::Shared(page))
}

enum Step<'p> {
    Arrived(Leaf<'p>),
    /// Let go of everything, load this page, start again.
    Load(PageId),
    Again,
}
