//! Ready-made operations: what the tree and the allocator ask for.

use std::borrow::Cow;
use std::ops::Range;

use super::super::cell::{InnerCell, LeafCell, PLAIN};
use super::super::map::USED;
use super::super::slotted::common_prefix;
use super::super::{Kind, Page};
use super::PageOp;
use crate::ids::{PageId, TableId};

impl<'a> PageOp<'a> {
    /// Makes page `id` out of cells `range` of `page`, with these fences and this right link: the right half of a split, or
    /// a page that takes over a root's cells. Same kind, level and tree.
    pub(crate) fn format_from(
        id: PageId,
        page: &Page,
        range: Range<usize>,
        low: Option<&'a [u8]>,
        high: Option<&'a [u8]>,
        right: Option<PageId>,
    ) -> PageOp<'a> {
        let kind = page.kind().expect("a page with cells");
        let mut cells = Vec::with_capacity(page.size());
        let prefix = common_prefix(low, high);
        for index in range {
            match kind {
                Kind::Inner => page.append_inner(index, prefix, &mut cells),
                _ => cells.extend_from_slice(page.cell_bytes(index)),
            }
        }
        PageOp::Format {
            id,
            kind,
            level: page.level(),
            tree: page.tree(),
            low: low.map(Cow::Borrowed),
            high: high.map(Cow::Borrowed),
            right,
            cells: Cow::Owned(cells),
        }
    }

    /// Makes leaf `page` out of its own cells, without that of `from`, and with one of `to` that holds `value`.
    pub(crate) fn format_renamed(
        page: &'a Page,
        from: &[u8],
        to: &[u8],
        value: &[u8],
    ) -> PageOp<'a> {
        let new = LeafCell {
            flags: PLAIN,
            key: to,
            value,
        };
        let mut cells = Vec::with_capacity(page.size());
        let mut put = |cell: &LeafCell<'_>| {
            let start = cells.len();
            cells.resize(start + cell.bytes(), 0);
            cell.write(&mut cells[start..]);
        };
        let place = page.search(to).unwrap_or_else(|index| index);
        for index in 0..page.cell_count() {
            let cell = page.leaf_cell(index);
            if index == place {
                put(&new);
            }
            if cell.key != from && cell.key != to {
                put(&cell);
            }
        }
        if place == page.cell_count() {
            put(&new);
        }
        PageOp::Format {
            id: page.id(),
            kind: Kind::Leaf,
            level: 0,
            tree: page.tree(),
            low: page.low_fence().map(Cow::Borrowed),
            high: page.high_fence().map(Cow::Borrowed),
            right: page.right_link(),
            cells: Cow::Owned(cells),
        }
    }

    /// Makes `left` out of its own cells and those of its right neighbour of the same kind, leaving out leaf cells that are
    /// not to be kept.
    pub(crate) fn format_merged(
        left: &'a Page,
        right: &'a Page,
        keep: &dyn Fn(&LeafCell<'_>) -> bool,
    ) -> PageOp<'a> {
        let kind = left.kind().expect("a page with cells");
        let mut cells = Vec::with_capacity(left.size());
        let prefix = common_prefix(left.low_fence(), right.high_fence());
        for page in [left, right] {
            for index in 0..page.cell_count() {
                match kind {
                    Kind::Inner => page.append_inner(index, prefix, &mut cells),
                    _ if keep(&page.leaf_cell(index)) => {
                        cells.extend_from_slice(page.cell_bytes(index));
                    }
                    _ => {}
                }
            }
        }
        PageOp::Format {
            id: left.id(),
            kind,
            level: left.level(),
            tree: left.tree(),
            low: left.low_fence().map(Cow::Borrowed),
            high: right.high_fence().map(Cow::Borrowed),
            right: right.right_link(),
            cells: Cow::Owned(cells),
        }
    }

    #[cfg(test)]
    /// Makes page `page.id()` again just as it is, without garbage: a full-page image.
    pub(crate) fn image_of(page: &'a Page) -> PageOp<'a> {
        match page.kind().expect("a page that has been formatted") {
            Kind::FileHeader => {
                PageOp::FileHeader(page.file_header().expect("a page that passed its check"))
            }
            Kind::Map => PageOp::format_map(page.id(), page.map_bits()),
            Kind::Overflow => PageOp::Overflow {
                id: page.id(),
                tree: page.tree(),
                position: page.overflow_position(),
                next: page.next_extent(),
                data: Cow::Borrowed(page.overflow_data()),
            },
            Kind::Free => PageOp::Free { id: page.id() },
            Kind::Leaf | Kind::Inner => PageOp::format_from(
                page.id(),
                page,
                0..page.cell_count(),
                page.low_fence(),
                page.high_fence(),
                page.right_link(),
            ),
        }
    }

    /// Makes an empty root leaf.
    pub(crate) fn format_leaf(id: PageId, tree: TableId) -> PageOp<'static> {
        PageOp::Format {
            id,
            kind: Kind::Leaf,
            level: 0,
            tree,
            low: None,
            high: None,
            right: None,
            cells: Cow::Borrowed(&[]),
        }
    }

    /// Makes a leaf of a tree's right edge, with these cells, each as it stands in a page's heap.
    pub(crate) fn format_rows(
        id: PageId,
        tree: TableId,
        low: Option<&'a [u8]>,
        cells: &'a [u8],
    ) -> PageOp<'a> {
        PageOp::Format {
            id,
            kind: Kind::Leaf,
            level: 0,
            tree,
            low: low.map(Cow::Borrowed),
            high: None,
            right: None,
            cells: Cow::Borrowed(cells),
        }
    }

    /// Makes an inner root over `children`; the first one's key is empty.
    pub(crate) fn format_root(
        id: PageId,
        tree: TableId,
        level: u8,
        children: &[(&[u8], PageId)],
    ) -> PageOp<'static> {
        let mut cells = Vec::new();
        for &(key, child) in children {
            InnerCell { key, child }.append_to(&mut cells);
        }
        PageOp::Format {
            id,
            kind: Kind::Inner,
            level,
            tree,
            low: None,
            high: None,
            right: None,
            cells: Cow::Owned(cells),
        }
    }

    /// Makes an allocation map on which only the map itself is in use.
    pub(crate) fn format_empty_map(id: PageId) -> PageOp<'static> {
        const ITSELF: &[u8] = &[USED];
        PageOp::format_map(id, ITSELF)
    }

    /// Makes an allocation map with these bits; those of its first page, itself, say "used".
    pub(crate) fn format_map(id: PageId, bits: &[u8]) -> PageOp<'_> {
        PageOp::Format {
            id,
            kind: Kind::Map,
            level: 0,
            tree: TableId::NONE,
            low: None,
            high: None,
            right: None,
            cells: Cow::Borrowed(bits),
        }
    }

    /// Sets a row, whether there is one, a ghost, or nothing.
    pub(crate) fn put_cell(key: &'a [u8], value: &'a [u8]) -> PageOp<'a> {
        PageOp::PutCell {
            key: Cow::Borrowed(key),
            value: Cow::Borrowed(value),
            flags: PLAIN,
        }
    }

    /// Drops cells at or above `separator` and links to the page that has them now.
    pub(crate) fn split_left(separator: &'a [u8], right: PageId) -> PageOp<'a> {
        PageOp::SplitLeft {
            separator: Cow::Borrowed(separator),
            right,
        }
    }

    /// Adds a child for the keys from `separator` on.
    pub(crate) fn insert_child(separator: &'a [u8], child: PageId) -> PageOp<'a> {
        PageOp::InsertChild {
            separator: Cow::Borrowed(separator),
            child,
        }
    }

    /// Marks `count` pages of a map as used, or as free.
    pub(crate) fn map_set(first_index: u32, count: u32, used: bool) -> PageOp<'static> {
        PageOp::MapSet {
            first_index,
            count,
            bits: if used { USED } else { 0 },
        }
    }

    /// The same operation, borrowing.
    pub(crate) fn reborrow(&self) -> PageOp<'_> {
        match self {
            PageOp::Format {
                id,
                kind,
                level,
                tree,
                low,
                high,
                right,
                cells,
            } => PageOp::Format {
                id: *id,
                kind: *kind,
                level: *level,
                tree: *tree,
                low: low.as_deref().map(Cow::Borrowed),
                high: high.as_deref().map(Cow::Borrowed),
                right: *right,
                cells: Cow::Borrowed(cells),
            },
            PageOp::FileHeader(header) => PageOp::FileHeader(*header),
            PageOp::PutCell { key, value, flags } => PageOp::PutCell {
                key: Cow::Borrowed(key),
                value: Cow::Borrowed(value),
                flags: *flags,
            },
            PageOp::SetGhost { key, ghost } => PageOp::SetGhost {
                key: Cow::Borrowed(key),
                ghost: *ghost,
            },
            PageOp::XorValue { key, runs } => PageOp::XorValue {
                key: Cow::Borrowed(key),
                runs: Cow::Borrowed(runs),
            },
            PageOp::RemoveCells { keys } => PageOp::RemoveCells {
                keys: keys.iter().map(|key| Cow::Borrowed(&**key)).collect(),
            },
            PageOp::SplitLeft { separator, right } => PageOp::split_left(separator, *right),
            PageOp::InsertChild { separator, child } => PageOp::insert_child(separator, *child),
            PageOp::MapSet {
                first_index,
                count,
                bits,
            } => PageOp::MapSet {
                first_index: *first_index,
                count: *count,
                bits: *bits,
            },
            PageOp::RemoveChild { separator } => PageOp::RemoveChild {
                separator: Cow::Borrowed(separator),
            },
            PageOp::Free { id } => PageOp::Free { id: *id },
            PageOp::Overflow {
                id,
                tree,
                position,
                next,
                data,
            } => PageOp::Overflow {
                id: *id,
                tree: *tree,
                position: *position,
                next: *next,
                data: Cow::Borrowed(data),
            },
        }
    }

    #[cfg(test)]
    /// The same operation, owning what it holds.
    pub(crate) fn into_owned(self) -> PageOp<'static> {
        fn own(bytes: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
            Cow::Owned(bytes.into_owned())
        }
        match self {
            PageOp::Format {
                id,
                kind,
                level,
                tree,
                low,
                high,
                right,
                cells,
            } => PageOp::Format {
                id,
                kind,
                level,
                tree,
                low: low.map(own),
                high: high.map(own),
                right,
                cells: own(cells),
            },
            PageOp::FileHeader(header) => PageOp::FileHeader(header),
            PageOp::PutCell { key, value, flags } => PageOp::PutCell {
                key: own(key),
                value: own(value),
                flags,
            },
            PageOp::SetGhost { key, ghost } => PageOp::SetGhost {
                key: own(key),
                ghost,
            },
            PageOp::XorValue { key, runs } => PageOp::XorValue {
                key: own(key),
                runs: own(runs),
            },
            PageOp::RemoveCells { keys } => PageOp::RemoveCells {
                keys: keys.into_iter().map(own).collect(),
            },
            PageOp::SplitLeft { separator, right } => PageOp::SplitLeft {
                separator: own(separator),
                right,
            },
            PageOp::InsertChild { separator, child } => PageOp::InsertChild {
                separator: own(separator),
                child,
            },
            PageOp::MapSet {
                first_index,
                count,
                bits,
            } => PageOp::MapSet {
                first_index,
                count,
                bits,
            },
            PageOp::RemoveChild { separator } => PageOp::RemoveChild {
                separator: own(separator),
            },
            PageOp::Free { id } => PageOp::Free { id },
            PageOp::Overflow {
                id,
                tree,
                position,
                next,
                data,
            } => PageOp::Overflow {
                id,
                tree,
                position,
                next,
                data: own(data),
            },
        }
    }
}
