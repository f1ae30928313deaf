//! The structural verifier of one tree: every page is reached once, levels step down by one, fences meet their
//! parents' separators, siblings link to each other.

use std::collections::BTreeSet;

use super::Tree;
use super::large::{Large, pages_for};
use crate::buffer::Pager;
use crate::ids::PageId;
use crate::page::{Address, Kind, Page};

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
    pub(crate) rows: u64,
    pub(crate) ghosts: u64,
    /// Large values met and not yet looked at.
    values: Vec<Address>,
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

/// Walks the whole of `tree`. Damage is reported, not returned as an error, and the walk goes on around it.
pub(crate) fn check_tree(pager: &Pager, tree: &Tree) -> TreeCheck {
    let mut check = TreeCheck::default();
    let root = Expected {
        page: tree.root,
        level: None,
        low: None,
        high: None,
        right: Some(None),
    };
    let mut todo = vec![root];
    while let Some(expected) = todo.pop() {
        if !check.pages.insert(expected.page) {
            check.report(
                tree,
                expected.page,
                "two links lead to this page".to_owned(),
            );
            continue;
        }
        let page = match pager.fetch_shared(expected.page) {
            Ok(page) => (*page).clone(),
            Err(error) => {
                check.report(tree, expected.page, error.to_string());
                continue;
            }
        };
        if check.page(tree, &page, &expected) {
            children(&page, &expected, &mut todo);
        }
        while let Some(address) = check.values.pop() {
            check.value(pager, tree, address);
        }
    }
    check
}

impl TreeCheck {
    fn report(&mut self, tree: &Tree, page: PageId, what: String) {
        self.findings.push(Finding {
            table: tree.name.clone(),
            page,
            what,
        });
    }

    /// Reads a large value through; its pages are the tree's.
    fn value(&mut self, pager: &Pager, tree: &Tree, address: Address) {
        let first = address.first.first;
        let mut value = match Large::new(pager, tree.id, address) {
            Ok(value) => value,
            Err(error) => return self.report(tree, first, error.to_string()),
        };
        let mut piece = vec![0; pager.page_size()];
        let mut read = 0;
        while read < value.len() {
            match value.read_at(pager, read, &mut piece) {
                Ok(count) => read += count as u64,
                Err(error) => return self.report(tree, first, error.to_string()),
            }
        }
        let extents = match value.extents(pager) {
            Ok(extents) => extents,
            Err(error) => return self.report(tree, first, error.to_string()),
        };
        let owned: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
        let needed = pages_for(value.len(), pager.page_size());
        if owned != needed {
            let what = format!("a large value has {owned} pages and needs {needed}");
            return self.report(tree, first, what);
        }
        for page in extents.iter().flat_map(|extent| extent.ids()) {
            if !self.pages.insert(page) {
                self.report(tree, page, "two links lead to this page".to_owned());
            }
        }
    }

    /// False if the page's children cannot be trusted.
    fn page(&mut self, tree: &Tree, page: &Page, expected: &Expected) -> bool {
        let mut fine = true;
        let mut complain = |what: String| {
            self.findings.push(Finding {
                table: tree.name.clone(),
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
                "it is of level {}, its parent says {:?}",
                page.level(),
                expected.level
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
                "its right link is {:?}, not {:?}",
                page.right_link(),
                expected.right
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
        if kind == Kind::Leaf && page.kind() == Some(kind) {
            for index in 0..page.cell_count() {
                let cell = page.leaf_cell(index);
                if cell.is_ghost() {
                    self.ghosts += 1;
                    continue;
                }
                self.rows += 1;
                self.values.extend(cell.stored().address());
            }
        }
        fine
    }
}

fn children(page: &Page, expected: &Expected, todo: &mut Vec<Expected>) {
    if page.level() == 0 {
        return;
    }
    let count = page.cell_count();
    for index in 0..count {
        let cell = page.inner_cell(index);
        let next = (index + 1 < count).then(|| page.inner_cell(index + 1));
        todo.push(Expected {
            page: cell.child,
            level: Some(page.level() - 1),
            low: if index == 0 {
                expected.low.clone()
            } else {
                Some(cell.key.to_vec())
            },
            high: next
                .as_ref()
                .map_or_else(|| expected.high.clone(), |next| Some(next.key.to_vec())),
            right: match next {
                Some(next) => Some(Some(next.child)),
                None => expected.right.filter(Option::is_none),
            },
        });
    }
}
