//! The structural verifier of one tree: levels step down by one, fences meet their parents' separators, siblings link to
//! each other, large values can be read.
//!
//! It works while others write. Piece by piece, from the lowest key to the highest, it keeps the tree from being split and
//! merged for a few leaves; what it finds there is so. Rows come and go meanwhile, and so do the pages of large values:
//! those are asked about again before they are called damaged.

use std::collections::BTreeSet;

use super::Tree;
use super::descend::Seek;
use super::large::{Large, pages_for};
use crate::buffer::Pager;
use crate::error::Result;
use crate::ids::{PageId, or_none};
use crate::page::{Address, Extent, Kind, Page};

/// Leaves that are looked at while the tree's structure stands still.
const LEAVES: usize = 32;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) table: String,
    pub(crate) page: PageId,
    pub(crate) what: String,
}

/// What one walk over a tree found.
#[derive(Default)]
pub(crate) struct TreeCheck {
    pub(crate) findings: Vec<Finding>,
    pub(crate) pages: BTreeSet<PageId>,
    /// Pages that two large values were seen to own, perhaps one after the other.
    pub(crate) twice: Vec<PageId>,
    pub(crate) rows: u64,
    pub(crate) ghosts: u64,
    /// Large values met and not yet looked at, with their keys.
    values: Vec<(Vec<u8>, Address)>,
}

/// What a parent says about a child.
struct Expected {
    page: PageId,
    level: Option<u8>,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
    /// `None`: not known here. The last child's neighbour is its parent's neighbour's first child.
    right: Option<Option<PageId>>,
}

/// Walks the whole of `tree`. Damage is reported, not returned as an error, and the walk goes on around it. `values`: whether
/// large values are read through, not only asked where they lie.
pub(crate) fn check_tree(pager: &Pager, tree: &Tree, values: bool) -> TreeCheck {
    let mut check = TreeCheck::default();
    let mut from = Vec::new();
    loop {
        let next = {
            let _structure = tree.structure.lock();
            check.piece(pager, tree, &from)
        };
        for (key, address) in std::mem::take(&mut check.values) {
            check.value(pager, tree, &key, address, values);
        }
        match next {
            Some(next) if next > from => from = next,
            _ => return check,
        }
    }
}

impl TreeCheck {
    fn report(&mut self, tree: &Tree, page: PageId, what: String) {
        self.findings.push(Finding {
            table: tree.name().to_string(),
            page,
            what,
        });
    }

    /// Looks at the way from the root to the leaf of `from`, at that leaf, and at some behind it. The first key that was not
    /// looked at; none at the end. The caller holds the structure mutex.
    fn piece(&mut self, pager: &Pager, tree: &Tree, from: &[u8]) -> Option<Vec<u8>> {
        let mut expected = Expected {
            page: tree.root,
            level: None,
            low: None,
            high: None,
            right: Some(None),
        };
        loop {
            let parent = match self.look(pager, tree, &expected) {
                Some(page) if page.level() > 0 => page,
                // What is below damage cannot be found; what is behind it can.
                _ => return expected.high,
            };
            let first = parent.child_for(from).0;
            if parent.level() > 1 {
                expected = child(&parent, &expected, first);
                continue;
            }
            let behind = parent.cell_count().min(first + LEAVES);
            let leaves = (first..behind).map(|index| child(&parent, &expected, index));
            let mut next = None;
            for leaf in leaves {
                self.look(pager, tree, &leaf);
                next = leaf.high;
            }
            return next;
        }
    }

    /// The page, if what is on it can be trusted.
    fn look(&mut self, pager: &Pager, tree: &Tree, expected: &Expected) -> Option<Page> {
        self.pages.insert(expected.page);
        let page = {
            let _permit = pager.permit();
            pager
                .fetch_shared(expected.page)
                .map(|page| (*page).clone())
        };
        match page {
            Ok(page) => self.page(tree, &page, expected).then_some(page),
            Err(error) => {
                self.report(tree, expected.page, error.to_string());
                None
            }
        }
    }

    /// Asks where a large value lies, and reads it through if it should be. Its pages are the tree's.
    fn value(&mut self, pager: &Pager, tree: &Tree, key: &[u8], address: Address, read: bool) {
        let mut tried = tried(pager, tree, address, read);
        if tried.is_err() && !still_there(pager, tree, key, address) {
            return;
        }
        if tried.is_err() {
            // It was there before and after, but perhaps not meanwhile.
            tried = self::tried(pager, tree, address, read);
        }
        let extents = tried.unwrap_or_else(|what| {
            self.report(tree, address.first.first, what);
            // Damage inside does not make its pages nobody's.
            self::tried(pager, tree, address, false).unwrap_or_default()
        });
        for page in extents.iter().flat_map(|extent| extent.ids()) {
            if !self.pages.insert(page) {
                self.twice.push(page);
            }
        }
    }

    /// False if the page's children cannot be trusted.
    fn page(&mut self, tree: &Tree, page: &Page, expected: &Expected) -> bool {
        let mut fine = true;
        let mut complain = |what: String| {
            self.findings.push(Finding {
                table: tree.name().to_string(),
                page: page.id(),
                what,
            });
            fine = false;
        };
        if let Err(error) = page.check() {
            complain(error.to_string());
            return false;
        }
        if page.tree() != tree.id {
            complain(format!(
                "it belongs to tree {}, not {}",
                page.tree(),
                tree.id
            ));
        }
        if expected.level.is_some_and(|level| level != page.level()) {
            complain(format!(
                "it is of level {}, its parent says {}",
                page.level(),
                or_none(expected.level)
            ));
        }
        if page.low_fence() != expected.low.as_deref()
            || page.high_fence() != expected.high.as_deref()
        {
            complain("its fences are not its parent's separators".to_owned());
        }
        if expected
            .right
            .is_some_and(|right| right != page.right_link())
        {
            complain(format!(
                "its right link is {}, not {}",
                or_none(page.right_link()),
                or_none(expected.right.flatten())
            ));
        }
        let kind = if page.level() == 0 {
            Kind::Leaf
        } else {
            Kind::Inner
        };
        if page.kind() != Some(kind) {
            complain(format!(
                "it is of kind {:?} at level {}",
                page.kind(),
                page.level()
            ));
        }
        if kind == Kind::Inner && page.cell_count() == 0 {
            complain("it has no children".to_owned());
        }
        if kind == Kind::Leaf && page.kind() == Some(kind) {
            for index in 0..page.cell_count() {
                let cell = page.leaf_cell(index);
                if cell.is_ghost() {
                    self.ghosts += 1;
                    continue;
                }
                self.rows += 1;
                let address = cell.stored().address();
                self.values
                    .extend(address.map(|address| (cell.key.to_vec(), address)));
            }
        }
        fine
    }
}

/// What `parent` says about its child `index`.
fn child(parent: &Page, expected: &Expected, index: usize) -> Expected {
    let next = (index + 1 < parent.cell_count()).then_some(index + 1);
    Expected {
        page: parent.child(index),
        level: Some(parent.level() - 1),
        low: match index {
            0 => expected.low.clone(),
            _ => Some(parent.key(index).into_owned()),
        },
        high: match next {
            Some(next) => Some(parent.key(next).into_owned()),
            None => expected.high.clone(),
        },
        right: match next {
            Some(next) => Some(Some(parent.child(next))),
            None => expected.right.filter(Option::is_none),
        },
    }
}

/// The extents of a large value, if all of it is as it must be.
fn tried(
    pager: &Pager,
    tree: &Tree,
    address: Address,
    read: bool,
) -> std::result::Result<Vec<Extent>, String> {
    let extents = (|| -> Result<Vec<Extent>> {
        let mut value = Large::new(pager, tree.id, address)?;
        let mut piece = vec![0; pager.page_size()];
        let mut done = if read { 0 } else { value.len() };
        while done < value.len() {
            done += value.read_at(pager, done, &mut piece)? as u64;
        }
        value.extents(pager)
    })();
    let extents = extents.map_err(|error| error.to_string())?;
    let owned: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
    let needed = pages_for(address.len, pager.page_size());
    if owned == needed {
        return Ok(extents);
    }
    Err(format!(
        "a large value has {owned} pages and needs {needed}"
    ))
}

/// Whether the row of `key` has that large value now; also where that cannot be known.
fn still_there(pager: &Pager, tree: &Tree, key: &[u8], address: Address) -> bool {
    let _permit = pager.permit();
    let Ok(leaf) = tree.leaf_shared(pager, Seek::Key(key)) else {
        return true;
    };
    leaf.search(key).is_ok_and(|index| {
        let cell = leaf.leaf_cell(index);
        !cell.is_ghost() && cell.stored().address() == Some(address)
    })
}
