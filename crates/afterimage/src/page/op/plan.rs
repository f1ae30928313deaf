//! Everything that can go wrong with an operation, found before a byte is changed.
//!
//! A [`Step`] holds what was found on the way (where a key is, or would go), so that [`apply`](super::apply()) need not look again.
//! Operations may come from a log that belongs to another page, or from a forged one: nothing here panics.

use std::fmt;

use super::super::cell::{FLAGS, InnerCell, LARGE, LeafCell, inner_bytes, leaf_bytes};
use super::super::check::can_be_child;
use super::super::file_header::FileHeader;
use super::super::map::{BITS_MAX, are_bits, is_map_page, map_bytes};
use super::super::slotted::{NewCell, common_prefix, offset_entry};
use super::super::stored::{Address, Extent};
use super::super::{Kind, Page};
use super::PageOp;
use super::codec::Runs;
use crate::codec::{DecodeError, Reader};
use crate::ids::{PageId, TableId};
use crate::limits::{TREE_LEVEL_MAX, key_bytes_max, overflow_bytes, value_bytes_max};

/// Why an operation cannot be applied to a page. The page is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ApplyError {
    /// The page is full: split it, and try again.
    NoRoom {
        /// Bytes that are missing.
        missing: usize,
    },
    /// The key does not belong on this page.
    OutsideFences,
    /// There is no cell of this key, or none in the state that the change starts from.
    NotFound,
    /// There is a cell of this key already.
    Exists,
    /// Not an operation for this kind of page.
    WrongKind,
    /// A key or value beyond what such a page takes, in bytes.
    TooLong { len: usize, max: usize },
    /// The operation itself makes no sense.
    Malformed(&'static str),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::NoRoom { missing } => write!(f, "the page is full, by {missing} bytes"),
            ApplyError::OutsideFences => f.write_str("the key lies outside the page's fences"),
            ApplyError::NotFound => {
                f.write_str("there is no cell of this key, or not in the state expected")
            }
            ApplyError::Exists => f.write_str("there is a cell of this key already"),
            ApplyError::WrongKind => f.write_str("not an operation for this kind of page"),
            ApplyError::TooLong { len, max } => {
                write!(f, "{len} bytes, where at most {max} are allowed")
            }
            ApplyError::Malformed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ApplyError {}

impl From<DecodeError> for ApplyError {
    fn from(error: DecodeError) -> ApplyError {
        ApplyError::Malformed(error.what)
    }
}

/// What the checks found, so that the change need not look for it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The operation says it all.
    Whole,
    /// Where the search for the key ended.
    At(Result<usize, usize>),
    /// The cell that the change starts from.
    Cell(usize),
}

/// Whether the operation can be applied, and where.
#[inline]
pub(super) fn plan(page: &Page, op: &PageOp<'_>) -> Result<Step, ApplyError> {
    match op {
        PageOp::Format { .. } => plan_format(page, op),
        PageOp::FileHeader(header) => plan_file_header(page, header),
        PageOp::PutCell { key, value, flags } => plan_put(page, key, value, *flags),
        PageOp::SetGhost { key, .. } => find(page, key).map(Step::Cell),
        PageOp::XorValue { key, runs } => plan_xor(page, key, runs),
        PageOp::RemoveCells { keys } => plan_remove(page, keys),
        PageOp::SplitLeft { separator, right } => plan_split(page, separator, *right),
        PageOp::InsertChild { separator, child } => plan_child(page, separator, *child),
        PageOp::MapSet {
            first_index,
            count,
            bits,
        } => plan_map_set(page, *first_index, *count, *bits),
        PageOp::RemoveChild { separator } => plan_remove_child(page, separator),
        PageOp::Free { id } if is_special(page, *id) => {
            Err(ApplyError::Malformed("a page that cannot be free"))
        }
        PageOp::Free { .. } => Ok(Step::Whole),
        PageOp::Overflow {
            id,
            tree,
            next,
            data,
            ..
        } => plan_overflow(page, *id, *tree, *next, data.len()),
    }
}

fn require_kind(page: &Page, kind: Kind) -> Result<(), ApplyError> {
    if page.kind() == Some(kind) {
        Ok(())
    } else {
        Err(ApplyError::WrongKind)
    }
}

fn require_len(len: usize, max: usize) -> Result<(), ApplyError> {
    if len <= max {
        Ok(())
    } else {
        Err(ApplyError::TooLong { len, max })
    }
}

fn require_covered(page: &Page, key: &[u8]) -> Result<(), ApplyError> {
    if page.covers(key) {
        Ok(())
    } else {
        Err(ApplyError::OutsideFences)
    }
}

/// Whether the cell that is to be written where a search ended has room.
fn require_room(page: &Page, at: Result<usize, usize>, bytes: usize) -> Result<(), ApplyError> {
    let missing = page.missing_for(at, bytes);
    if missing == 0 {
        Ok(())
    } else {
        Err(ApplyError::NoRoom { missing })
    }
}

#[inline]
fn find(page: &Page, key: &[u8]) -> Result<usize, ApplyError> {
    require_kind(page, Kind::Leaf)?;
    // A key that is there lies between the fences.
    let missing = |_| require_covered(page, key).err();
    let found = page.search(key).map_err(missing);
    found.map_err(|outside| outside.unwrap_or(ApplyError::NotFound))
}

fn plan_put(page: &Page, key: &[u8], value: &[u8], flags: u8) -> Result<Step, ApplyError> {
    require_kind(page, Kind::Leaf)?;
    let at = page.search(key);
    if at.is_err() {
        require_covered(page, key)?;
    }
    require_len(key.len(), key_bytes_max(page.size()))?;
    require_len(value.len(), value_bytes_max(page.size()))?;
    if flags & !FLAGS != 0 {
        return Err(ApplyError::Malformed("an unknown kind of leaf cell"));
    }
    if flags & LARGE != 0 {
        Address::decode(value)?;
    }
    require_room(page, at, leaf_bytes(key.len(), value.len()))?;
    Ok(Step::At(at))
}

#[inline]
fn plan_xor(page: &Page, key: &[u8], runs: &[u8]) -> Result<Step, ApplyError> {
    let index = find(page, key)?;
    let cell = page.leaf_cell(index);
    if cell.is_ghost() || cell.stored().large {
        return Err(ApplyError::NotFound);
    }
    for run in Runs::new(runs) {
        let (at, bytes) = run?;
        if bytes.len() > cell.value.len().saturating_sub(at) {
            return Err(ApplyError::Malformed(
                "a change beyond the end of the value",
            ));
        }
    }
    Ok(Step::Cell(index))
}

fn plan_remove(page: &Page, keys: &[impl AsRef<[u8]>]) -> Result<Step, ApplyError> {
    // Also without a key: the page is stamped all the same.
    require_kind(page, Kind::Leaf)?;
    let mut next = 0;
    for key in keys {
        let index = find(page, key.as_ref())?;
        if index < next {
            return Err(ApplyError::Malformed(
                "keys to remove are not in ascending order",
            ));
        }
        next = index + 1;
    }
    Ok(Step::Whole)
}

fn plan_split(page: &Page, separator: &[u8], right: PageId) -> Result<Step, ApplyError> {
    if !page.kind().is_some_and(Kind::is_slotted) {
        return Err(ApplyError::WrongKind);
    }
    require_covered(page, separator)?;
    require_len(separator.len(), key_bytes_max(page.size()))?;
    if separator <= page.low_fence().unwrap_or_default() {
        return Err(ApplyError::Malformed(
            "a separator that leaves the left page nothing",
        ));
    }
    require_page(right)?;
    let at = page.search(separator);
    // The right page's first child must begin at its low fence.
    if page.kind() == Some(Kind::Inner) && at.is_err() {
        return Err(ApplyError::NotFound);
    }
    let (Ok(first) | Err(first)) = at;
    let missing = page.missing_for_split(first, separator.len());
    if missing > 0 {
        return Err(ApplyError::NoRoom { missing });
    }
    Ok(Step::At(at))
}

fn plan_child(page: &Page, separator: &[u8], child: PageId) -> Result<Step, ApplyError> {
    require_kind(page, Kind::Inner)?;
    require_covered(page, separator)?;
    require_len(separator.len(), key_bytes_max(page.size()))?;
    require_child(child, page.id(), page.size())?;
    let at = page.search(separator);
    if at.is_ok() {
        return Err(ApplyError::Exists);
    }
    require_room(page, at, inner_bytes(separator.len() - page.prefix_len()))?;
    Ok(Step::At(at))
}

fn plan_remove_child(page: &Page, separator: &[u8]) -> Result<Step, ApplyError> {
    require_kind(page, Kind::Inner)?;
    match page.search(separator) {
        Ok(0) => Err(ApplyError::Malformed("the first child stays")),
        Ok(index) => Ok(Step::Cell(index)),
        Err(_) => Err(ApplyError::NotFound),
    }
}

/// Whether `id` is the file header's place or a map's.
fn is_special(page: &Page, id: PageId) -> bool {
    id == PageId::FILE_HEADER || is_map_page(id, page.size())
}

fn require_child(child: PageId, own: PageId, page_size: usize) -> Result<(), ApplyError> {
    if can_be_child(child, own, page_size) {
        Ok(())
    } else {
        Err(ApplyError::Malformed("a child that no inner page can have"))
    }
}

fn require_page(link: PageId) -> Result<(), ApplyError> {
    if link == PageId::FILE_HEADER {
        Err(ApplyError::Malformed("a link to the file header"))
    } else {
        Ok(())
    }
}

fn plan_map_set(page: &Page, first: u32, count: u32, bits: u8) -> Result<Step, ApplyError> {
    require_kind(page, Kind::Map)?;
    if bits > BITS_MAX {
        return Err(ApplyError::Malformed(
            "allocation bits that are not defined",
        ));
    }
    match first.checked_add(count) {
        Some(end) if end <= page.map_len() && (first > 0 || bits != 0) => Ok(Step::Whole),
        _ => Err(ApplyError::Malformed(
            "pages that this map does not speak for",
        )),
    }
}

fn plan_file_header(page: &Page, header: &FileHeader) -> Result<Step, ApplyError> {
    header.check().map_err(ApplyError::Malformed)?;
    if header.page_size as usize == page.size() {
        Ok(Step::Whole)
    } else {
        Err(ApplyError::Malformed("a file header for another page size"))
    }
}

fn plan_overflow(
    page: &Page,
    id: PageId,
    tree: TableId,
    next: Option<Extent>,
    len: usize,
) -> Result<Step, ApplyError> {
    let place_fits = !is_special(page, id);
    let next_fits = next.is_none_or(|next| {
        let end = next.first.get().checked_add(u64::from(next.pages));
        next.pages > 0 && next.first != PageId::FILE_HEADER && end.is_some()
    });
    if !place_fits || !next_fits || tree == TableId::NONE || len == 0 {
        return Err(ApplyError::Malformed("a page that no large value can have"));
    }
    require_len(len, overflow_bytes(page.size()))?;
    Ok(Step::Whole)
}

fn plan_format(page: &Page, op: &PageOp<'_>) -> Result<Step, ApplyError> {
    let PageOp::Format {
        id,
        kind,
        level,
        tree,
        low,
        high,
        right,
        cells,
    } = op
    else {
        unreachable!("only a format is planned as one");
    };
    match kind {
        Kind::FileHeader | Kind::Overflow | Kind::Free => Err(ApplyError::WrongKind),
        Kind::Map => {
            let bare = low.is_none()
                && high.is_none()
                && right.is_none()
                && *tree == TableId::NONE
                && *level == 0;
            let counts_itself = cells.first().is_some_and(|bits| bits & 1 == 1);
            if bare
                && counts_itself
                && is_map_page(*id, page.size())
                && cells.len() <= map_bytes(page.size())
                && are_bits(cells)
            {
                Ok(Step::Whole)
            } else {
                Err(ApplyError::Malformed("not an allocation map"))
            }
        }
        Kind::Leaf | Kind::Inner => {
            let level_fits = (*kind == Kind::Leaf) == (*level == 0) && *level <= TREE_LEVEL_MAX;
            let place_fits = !is_special(page, *id);
            if !level_fits
                || !place_fits
                || *tree == TableId::NONE
                || *right == Some(PageId::FILE_HEADER)
            {
                return Err(ApplyError::Malformed("a page that no tree can have"));
            }
            let fences = (low.as_deref(), high.as_deref());
            plan_cells(page.size(), *id, *kind, fences, cells)
        }
    }
}

/// Whether these cells make a page between these fences.
fn plan_cells(
    page_size: usize,
    id: PageId,
    kind: Kind,
    (low, high): (Option<&[u8]>, Option<&[u8]>),
    cells: &[u8],
) -> Result<Step, ApplyError> {
    let key_max = key_bytes_max(page_size);
    for fence in [low, high].into_iter().flatten() {
        require_len(fence.len(), key_max)?;
    }
    if high.is_some_and(|high| low.unwrap_or_default() >= high) {
        return Err(ApplyError::Malformed("the fences leave no room for keys"));
    }
    let prefix = match kind {
        Kind::Inner => common_prefix(low, high),
        _ => 0,
    };
    // What an inner cell is compared with lacks the prefix, as its key does.
    let (lowest, highest) = (
        low.map(|low| &low[prefix..]),
        high.map(|high| &high[prefix..]),
    );
    let mut reader = Reader::new(cells);
    let mut previous: Option<&[u8]> = None;
    let mut count = 0;
    while !reader.is_at_end() {
        let key = match read_cell(kind, &mut reader)? {
            NewCell::Leaf(cell) => {
                require_len(cell.value.len(), value_bytes_max(page_size))?;
                cell.key
            }
            NewCell::Inner(cell) => {
                require_child(cell.child, id, page_size)?;
                cell.key
            }
        };
        require_len(prefix + key.len(), key_max)?;
        if previous.is_some_and(|previous| previous >= key) {
            return Err(ApplyError::Malformed("cells out of order"));
        }
        if lowest.is_some_and(|low| key < low) || highest.is_some_and(|high| key >= high) {
            return Err(ApplyError::OutsideFences);
        }
        if kind == Kind::Inner && count == 0 && key != lowest.unwrap_or_default() {
            return Err(ApplyError::Malformed(
                "the first child does not begin at the low fence",
            ));
        }
        previous = Some(key);
        count += 1;
    }
    if kind == Kind::Inner && count == 0 {
        return Err(ApplyError::Malformed("an inner page without children"));
    }
    let bytes = offset_entry(count)
        + cells.len()
        + low.map_or(0, <[u8]>::len)
        + high.map_or(0, <[u8]>::len);
    match bytes.saturating_sub(page_size) {
        0 => Ok(Step::Whole),
        missing => Err(ApplyError::NoRoom { missing }),
    }
}

/// The next of a format's cells.
pub(super) fn read_cell<'a>(
    kind: Kind,
    reader: &mut Reader<'a>,
) -> Result<NewCell<'a>, DecodeError> {
    if kind == Kind::Leaf {
        LeafCell::read(reader).map(NewCell::Leaf)
    } else {
        InnerCell::read(reader).map(NewCell::Inner)
    }
}
