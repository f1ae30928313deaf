//! Cells kept in key order: search, read, and the primitives that [`apply`](super::apply) moves them with.
//!
//! ```text
//! header 96 | entries, 6 bytes a cell, in key order: offset 2, head 4 -> | free | <- heap: cells and fences, in any order | tail bytes
//! ```
//!
//! A page's keys all begin with what its fences have in common, the *prefix*. An inner page's cells hold the rest of them, so that it has
//! more children where keys are long and alike (prefix truncation: Bayer and Unterauer, "Prefix B-trees", 1977). An entry's head is the
//! first bytes of what its key has behind the prefix: a search goes by the heads, which stand side by side, and looks at a cell only where they
//! do not tell (poor man's normalized keys: Graefe and Larson, "B-tree indexes and CPU caches", 2001).
//!
//! A cell that is replaced or removed leaves garbage in the heap; compaction takes it back when room is needed.
//! Room is exact: what [`Page::fits_put`] promises, a put does not refuse.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::Page;
use super::cell::{self, InnerCell, LeafCell, inner_bytes, leaf_bytes};
use super::header::{self, FENCE_ABSENT, Kind};
#[cfg(any(test, fuzzing))]
use crate::codec::Reader;
use crate::ids::{PageId, TableId};
use crate::limits::{CELL_ENTRY_BYTES, HEAD_BYTES, PAGE_HEADER_BYTES};

/// A cell to be written.
#[derive(Clone, Copy)]
pub(super) enum NewCell<'a> {
    Leaf(LeafCell<'a>),
    Inner(InnerCell<'a>),
}

impl NewCell<'_> {
    fn bytes(&self) -> usize {
        match self {
            NewCell::Leaf(cell) => cell.bytes(),
            NewCell::Inner(cell) => cell.bytes(),
        }
    }

    /// What the cell's key has behind a page's prefix of that length.
    fn rest(&self, prefix_len: usize) -> &[u8] {
        match self {
            NewCell::Leaf(cell) => &cell.key[prefix_len..],
            NewCell::Inner(cell) => cell.key,
        }
    }

    fn write(&self, out: &mut [u8]) {
        match self {
            NewCell::Leaf(cell) => cell.write(out),
            NewCell::Inner(cell) => cell.write(out),
        }
    }
}

/// As much of a page has, where rows are not very small, all that a search in it looks at.
const CALLED_UP: usize = 512;
/// As much of a cell, where it is not a large one.
const CELL_CALLED_UP: usize = 192;

/// A byte of each line of the processor's cache, summed up.
fn lines(bytes: &[u8]) -> u8 {
    bytes.iter().step_by(64).fold(0, |sum, byte| sum ^ byte)
}

/// Reading.
impl Page {
    /// Where the cell of `key` is (`Ok`), or where it would go (`Err`).
    #[inline]
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        if self.kind() == Some(Kind::Inner) {
            let rest = self.rest_of(key)?;
            return self.search_by(rest, |at| cell::inner_at(&self.bytes, at).key.cmp(rest));
        }
        // A leaf's cell has its whole key: who finds it need not have looked at the prefix, which lies elsewhere.
        let rest = key.get(self.prefix_len()..).unwrap_or_default();
        self.search_by(rest, |at| cell::leaf_at(&self.bytes, at).key.cmp(key))
            .or_else(|place| self.rest_of(key).and(Err(place)))
    }

    /// Reads what every search in the page begins with, a byte of each of the processor's cache lines, whatever the page is. Who calls
    /// this and [`call_up_cell`](Page::call_up_cell) wants the reading done: the sums are to be looked at by somebody.
    pub(crate) fn call_up(&self) -> u8 {
        lines(&self.bytes[..CALLED_UP.min(self.bytes.len())])
    }

    /// Likewise the cell of a leaf that is most probably that of `key`.
    pub(crate) fn call_up_cell(&self, key: &[u8]) -> u8 {
        let rest = key.get(self.prefix_len()..).unwrap_or_default();
        let head = head_number(rest);
        let (entries, _) = self.entries().as_chunks::<CELL_ENTRY_BYTES>();
        let index = entries.partition_point(|[_, _, found @ ..]| u32::from_be_bytes(*found) < head);
        entries.get(index).map_or(0, |[low, high, ..]| {
            let at = usize::from(u16::from_le_bytes([*low, *high]));
            lines(&self.bytes[at..(at + CELL_CALLED_UP).min(self.bytes.len())])
        })
    }

    pub(super) fn entries(&self) -> &[u8] {
        &self.bytes[offset_entry(0)..offset_entry(self.cell_count())]
    }

    /// What `key` has behind the prefix; or, for another page's key, on which side of all cells it is.
    fn rest_of<'k>(&self, key: &'k [u8]) -> Result<&'k [u8], usize> {
        let prefix = self.prefix();
        let outside = if key < prefix { 0 } else { self.cell_count() };
        after_prefix(key, prefix).ok_or(outside)
    }

    /// What all keys of the page have in common.
    pub(super) fn prefix(&self) -> &[u8] {
        match self.prefix_len() {
            0 => &[],
            len => &self.low_fence().unwrap_or_default()[..len],
        }
    }

    pub(super) fn prefix_len(&self) -> usize {
        usize::from(self.u16_at(header::PREFIX_LENGTH))
    }

    /// By the heads, and by `compare`, which looks at a whole key, where heads are equal.
    #[inline]
    fn search_by(&self, rest: &[u8], compare: impl Fn(usize) -> Ordering) -> Result<usize, usize> {
        let head = head_number(rest);
        let (entries, _) = self.entries().as_chunks::<CELL_ENTRY_BYTES>();
        let found = |[_, _, found @ ..]: &[u8; CELL_ENTRY_BYTES]| u32::from_be_bytes(*found);
        let is_equal = |entry: Option<&[u8; CELL_ENTRY_BYTES]>| entry.map(found) == Some(head);
        let (mut low, mut high) = (0, entries.len());
        // Where all begin alike for long, and there is no fence that would say so, the heads tell nothing.
        if !is_equal(entries.first()) || !is_equal(entries.last()) {
            // Without a branch that a processor could guess wrong.
            low = entries.partition_point(|entry| found(entry) < head);
            // Where heads are equal the cells tell; mostly there is one, or none.
            high = match (is_equal(entries.get(low)), is_equal(entries.get(low + 1))) {
                (false, _) => return Err(low),
                (true, false) => low + 1,
                (true, true) => low + entries[low..].partition_point(|entry| found(entry) == head),
            };
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let [at_low, at_high, ..] = entries[middle];
            match compare(usize::from(u16::from_le_bytes([at_low, at_high]))) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Cell `index` of a leaf.
    pub(crate) fn leaf_cell(&self, index: usize) -> LeafCell<'_> {
        debug_assert_eq!(self.kind(), Some(Kind::Leaf));
        cell::leaf_at(&self.bytes, self.cell_offset(index))
    }

    /// Of cell `index` of a leaf: its flags, where in the page its key and its value begin, and where it ends.
    #[inline]
    pub(crate) fn leaf_bounds(&self, index: usize) -> (u8, [usize; 3]) {
        debug_assert_eq!(self.kind(), Some(Kind::Leaf));
        let at = self.cell_offset(index);
        (self.bytes[at], cell::leaf_bounds(&self.bytes, at))
    }

    /// Cell `index` of an inner page, whose key lacks the prefix.
    pub(super) fn inner_cell(&self, index: usize) -> InnerCell<'_> {
        debug_assert_eq!(self.kind(), Some(Kind::Inner));
        cell::inner_at(&self.bytes, self.cell_offset(index))
    }

    /// Child `index` of an inner page; [`Page::key`] has its lowest key.
    pub(crate) fn child(&self, index: usize) -> PageId {
        self.inner_cell(index).child
    }

    #[cfg(any(test, fuzzing))]
    /// The leaf cell of `key`, ghost or not.
    pub(crate) fn leaf_get(&self, key: &[u8]) -> Option<LeafCell<'_>> {
        self.search(key).ok().map(|index| self.leaf_cell(index))
    }

    /// The child of an inner page whose interval holds `key`, and its position. The caller has seen that the page covers
    /// the key.
    pub(crate) fn child_for(&self, key: &[u8]) -> (usize, PageId) {
        let index = match self.search(key) {
            Ok(index) => index,
            Err(index) => index.saturating_sub(1),
        };
        (index, self.child(index))
    }

    /// The key of cell `index`, whatever kind of page this is; the whole of it.
    pub(crate) fn key(&self, index: usize) -> Cow<'_, [u8]> {
        let at = self.cell_offset(index);
        match self.kind() {
            Some(Kind::Inner) => {
                let rest = cell::inner_at(&self.bytes, at).key;
                match self.prefix() {
                    [] => Cow::Borrowed(rest),
                    prefix => Cow::Owned([prefix, rest].concat()),
                }
            }
            _ => Cow::Borrowed(cell::leaf_at(&self.bytes, at).key),
        }
    }

    /// Appends cell `index` of an inner page as it stands on one whose prefix has `len` bytes.
    pub(super) fn append_inner(&self, index: usize, len: usize, out: &mut Vec<u8>) {
        if len == self.prefix_len() {
            out.extend_from_slice(self.cell_bytes(index));
            return;
        }
        let (key, child) = (self.key(index), self.child(index));
        let key = &key[len..];
        InnerCell { key, child }.append_to(out);
    }

    /// Keys on this page are at or above this; `None`: there is no lower bound.
    pub(crate) fn low_fence(&self) -> Option<&[u8]> {
        self.fence(header::LOW_FENCE)
    }

    /// Keys on this page are below this; `None`: there is no upper bound.
    pub(crate) fn high_fence(&self) -> Option<&[u8]> {
        self.fence(header::HIGH_FENCE)
    }

    /// Whether `key` lies between the fences.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        let above_low = self.low_fence().is_none_or(|low| low <= key);
        let below_high = self.high_fence().is_none_or(|high| key < high);
        above_low && below_high
    }

    fn fence(&self, field: usize) -> Option<&[u8]> {
        let len = self.u16_at(field + 2);
        let at = usize::from(self.u16_at(field));
        (len != FENCE_ABSENT).then(|| &self.bytes[at..at + usize::from(len)])
    }

    #[inline]
    pub(super) fn cell_offset(&self, index: usize) -> usize {
        assert!(
            index < self.cell_count(),
            "cell {index} of {}",
            self.cell_count()
        );
        usize::from(self.u16_at(offset_entry(index)))
    }

    /// Where cell `index` is in the page.
    #[inline]
    pub(super) fn cell_extent(&self, index: usize) -> Range<usize> {
        let at = self.cell_offset(index);
        let bytes = match self.kind() {
            Some(Kind::Inner) => cell::inner_at(&self.bytes, at).bytes(),
            _ => cell::leaf_at(&self.bytes, at).bytes(),
        };
        at..at + bytes
    }

    /// The bytes of cell `index`, as they also stand in whole-page operations.
    pub(super) fn cell_bytes(&self, index: usize) -> &[u8] {
        &self.bytes[self.cell_extent(index)]
    }
}

/// Room.
impl Page {
    /// Bytes that two neighbours' cells and outer fences would take on one page, entries included, with only those leaf cells
    /// that are kept.
    pub(crate) fn merged_bytes(&self, right: &Page, keep: &dyn Fn(&LeafCell<'_>) -> bool) -> usize {
        let prefix = common_prefix(self.low_fence(), right.high_fence());
        let bytes = |page: &Page, index: usize| match page.kind() {
            // Fences farther apart have less in common: the cells hold more of their keys.
            Some(Kind::Inner) => {
                inner_bytes(page.inner_cell(index).key.len() + page.prefix_len() - prefix)
            }
            _ if keep(&page.leaf_cell(index)) => page.cell_extent(index).len(),
            _ => 0,
        };
        let cells = |page: &Page| -> usize {
            let taken = (0..page.cell_count()).map(|index| bytes(page, index));
            let taken = taken.filter(|bytes| *bytes > 0);
            taken.map(|bytes| bytes + CELL_ENTRY_BYTES).sum()
        };
        let fence = |fence: Option<&[u8]>| fence.map_or(0, <[u8]>::len);
        cells(self) + cells(right) + fence(self.low_fence()) + fence(right.high_fence())
    }

    /// Bytes that new cells and their entries can have, counting what compaction would take back.
    pub(crate) fn room(&self) -> usize {
        self.contiguous() + self.garbage()
    }

    #[cfg(test)]
    /// Whether a leaf takes a new cell with a key and value of these lengths.
    pub(crate) fn fits_leaf(&self, key_len: usize, value_len: usize) -> bool {
        leaf_bytes(key_len, value_len) + CELL_ENTRY_BYTES <= self.room()
    }

    /// Whether a leaf takes this value for this key, in place of the cell that the key may have now. Exact.
    pub(crate) fn fits_put(&self, key: &[u8], value_len: usize) -> bool {
        self.fits_put_at(self.search(key), key.len(), value_len)
    }

    /// As [`Page::fits_put`], for a key that was searched for.
    pub(crate) fn fits_put_at(
        &self,
        at: Result<usize, usize>,
        key_len: usize,
        value_len: usize,
    ) -> bool {
        self.missing_for(at, leaf_bytes(key_len, value_len)) == 0
    }

    /// Whether an inner page takes one more separator of this length, from between its fences.
    pub(crate) fn fits_child(&self, key_len: usize) -> bool {
        inner_bytes(key_len.saturating_sub(self.prefix_len())) + CELL_ENTRY_BYTES <= self.room()
    }

    /// How many bytes are missing for a cell of `bytes` where a search ended; zero: it fits.
    pub(super) fn missing_for(&self, at: Result<usize, usize>, bytes: usize) -> usize {
        match at {
            Ok(index) => bytes.saturating_sub(self.cell_extent(index).len() + self.room()),
            Err(_) => (bytes + CELL_ENTRY_BYTES).saturating_sub(self.room()),
        }
    }

    /// Whether the page takes a separator of this length as its high fence once the cells from `first_right` on are gone.
    /// Always so if one of those has a key at least as long; not always if a full page is cut behind its last cell.
    pub(crate) fn fits_split(&self, first_right: usize, separator_len: usize) -> bool {
        self.missing_for_split(first_right, separator_len) == 0
    }

    /// How many bytes are missing for that separator.
    pub(super) fn missing_for_split(&self, first_right: usize, separator_len: usize) -> usize {
        let dropped = (first_right..self.cell_count())
            .map(|index| self.cell_extent(index).len() + CELL_ENTRY_BYTES);
        let old_fence = self.high_fence().map_or(0, <[u8]>::len);
        separator_len.saturating_sub(self.room() + dropped.sum::<usize>() + old_fence)
    }

    /// Which cell should be the first of the right page when this page splits in half by bytes. At least 1 where there
    /// are two cells, and less than the number of cells.
    pub(crate) fn split_index(&self) -> usize {
        let count = self.cell_count();
        let total: usize = (0..count).map(|index| self.cell_extent(index).len()).sum();
        let mut left = 0;
        for index in 0..count {
            left += self.cell_extent(index).len();
            if 2 * left >= total {
                return (index + 1).min(count - 1);
            }
        }
        0
    }

    /// The gap between the entries and the heap. Pages without cells have none.
    fn contiguous(&self) -> usize {
        self.heap_start()
            .saturating_sub(offset_entry(self.cell_count()))
    }
}

/// The primitives of `apply`. Room has been seen to by the time they are called.
impl Page {
    /// Makes this an empty page of cells, whatever it was.
    pub(super) fn format_slotted(&mut self, kind: Kind, level: u8, tree: TableId, id: PageId) {
        self.format(kind, level, tree, id);
        self.put_u32(header::HEAP_START, self.size() as u32);
    }

    /// Zeroes the page and gives it a header. The page LSN is none until the caller stamps it.
    pub(super) fn format(&mut self, kind: Kind, level: u8, tree: TableId, id: PageId) {
        self.clear();
        self.put_u16(header::FORMAT, header::PAGE_FORMAT);
        self.bytes[header::KIND] = kind as u8;
        self.bytes[header::LEVEL] = level;
        self.put_u64(header::PAGE_NUMBER, id.get());
        self.put_u32(header::TREE, tree.get());
        self.put_u16(header::LOW_FENCE + 2, FENCE_ABSENT);
        self.put_u16(header::HIGH_FENCE + 2, FENCE_ABSENT);
    }

    /// Writes a cell where a search for its key ended.
    pub(super) fn put_cell(&mut self, at: Result<usize, usize>, cell: &NewCell<'_>) {
        match at {
            Ok(index) => self.replace_cell(index, cell),
            Err(index) => self.insert_cell(index, cell),
        }
    }

    fn replace_cell(&mut self, index: usize, cell: &NewCell<'_>) {
        let (old, bytes) = (self.cell_extent(index), cell.bytes());
        if bytes <= old.len() {
            self.add_garbage(old.len() - bytes);
            cell.write(&mut self.bytes[old.start..old.start + bytes]);
            return;
        }
        if bytes <= self.contiguous() {
            self.add_garbage(old.len());
        } else {
            self.compact_without(Some(index));
        }
        self.write_to_heap(index, cell);
    }

    fn insert_cell(&mut self, index: usize, cell: &NewCell<'_>) {
        if cell.bytes() + CELL_ENTRY_BYTES > self.contiguous() {
            self.compact_without(None);
        }
        let count = self.cell_count();
        let (from, end) = (offset_entry(index), offset_entry(count));
        self.bytes.copy_within(from..end, from + CELL_ENTRY_BYTES);
        self.put_u16(header::CELL_COUNT, (count + 1) as u16);
        self.write_to_heap(index, cell);
    }

    fn write_to_heap(&mut self, index: usize, cell: &NewCell<'_>) {
        let at = self.allocate(cell.bytes());
        cell.write(&mut self.bytes[at..at + cell.bytes()]);
        self.put_u16(offset_entry(index), at as u16);
        self.put_head(index, head_of(cell.rest(self.prefix_len())));
    }

    fn put_head(&mut self, index: usize, head: [u8; HEAD_BYTES]) {
        let at = offset_entry(index) + 2;
        self.bytes[at..at + HEAD_BYTES].copy_from_slice(&head);
    }

    /// Takes bytes from the free gap for the heap.
    fn allocate(&mut self, bytes: usize) -> usize {
        assert!(bytes <= self.contiguous(), "a cell without room");
        let at = self.heap_start() - bytes;
        self.put_u32(header::HEAP_START, at as u32);
        at
    }

    pub(super) fn set_cell_flags(&mut self, index: usize, flags: u8) {
        let at = self.cell_offset(index);
        self.bytes[at] = flags;
    }

    /// The value of leaf cell `index`, to be changed in place.
    pub(super) fn value_mut(&mut self, index: usize) -> &mut [u8] {
        let end = self.cell_extent(index).end;
        let len = self.leaf_cell(index).value.len();
        &mut self.bytes[end - len..end]
    }

    pub(super) fn remove_cell(&mut self, index: usize) {
        let count = self.cell_count();
        self.add_garbage(self.cell_extent(index).len());
        let from = offset_entry(index + 1);
        self.bytes
            .copy_within(from..offset_entry(count), from - CELL_ENTRY_BYTES);
        self.put_u16(header::CELL_COUNT, (count - 1) as u16);
    }

    /// Drops the cells from `first` on.
    pub(super) fn truncate_cells(&mut self, first: usize) {
        let dropped: usize = (first..self.cell_count())
            .map(|index| self.cell_extent(index).len())
            .sum();
        self.add_garbage(dropped);
        self.put_u16(header::CELL_COUNT, first as u16);
    }

    pub(super) fn set_right_link(&mut self, right: Option<PageId>) {
        self.put_u64(header::RIGHT_LINK, PageId::to_link(right));
    }

    pub(super) fn set_low_fence(&mut self, key: Option<&[u8]>) {
        self.set_fence(header::LOW_FENCE, key);
    }

    pub(super) fn set_high_fence(&mut self, key: Option<&[u8]>) {
        self.set_fence(header::HIGH_FENCE, key);
    }

    /// After the fences have moved together: all that they have in common now is the prefix. An inner page's cells are written anew without it;
    /// that needs no room.
    pub(super) fn truncate_prefix(&mut self) {
        let len = common_prefix(self.low_fence(), self.high_fence());
        if len == self.prefix_len() {
            return;
        }
        if self.kind() == Some(Kind::Inner) {
            self.compact(None, len);
        }
        self.set_prefix_len(len);
        for index in 0..self.cell_count() {
            self.put_head(index, self.head_by_cell(index));
        }
    }

    /// Makes every head what its cell's key asks for, whatever the bytes are: cells that cannot be read keep theirs.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn mend_heads(&mut self) {
        let prefix = self.prefix_len();
        let is_leaf = self.kind() == Some(Kind::Leaf);
        let fit = (self.size() - PAGE_HEADER_BYTES) / CELL_ENTRY_BYTES;
        for index in 0..self.cell_count().min(fit) {
            let at = self.cell_offset(index);
            let cell = self.bytes.get(at..).unwrap_or_default();
            let mut reader = Reader::new(cell);
            let rest = match is_leaf {
                true => LeafCell::read(&mut reader).map(|cell| cell.key.get(prefix..)),
                false => InnerCell::read(&mut reader).map(|cell| Some(cell.key)),
            };
            if let Ok(Some(rest)) = rest {
                self.put_head(index, head_of(rest));
            }
        }
    }

    /// The head that the entry of cell `index` has to have.
    fn head_by_cell(&self, index: usize) -> [u8; HEAD_BYTES] {
        let at = self.cell_offset(index);
        head_of(match self.kind() {
            Some(Kind::Inner) => cell::inner_at(&self.bytes, at).key,
            _ => &cell::leaf_at(&self.bytes, at).key[self.prefix_len()..],
        })
    }

    pub(super) fn set_prefix_len(&mut self, len: usize) {
        self.put_u16(header::PREFIX_LENGTH, len as u16);
    }

    fn set_fence(&mut self, field: usize, key: Option<&[u8]>) {
        let old = self.fence(field).map_or(0, <[u8]>::len);
        self.add_garbage(old);
        self.put_u16(field, 0);
        self.put_u16(field + 2, FENCE_ABSENT);
        let Some(key) = key else { return };
        if key.len() > self.contiguous() {
            self.compact_without(None);
        }
        self.write_fence(field, key);
    }

    fn write_fence(&mut self, field: usize, key: &[u8]) {
        self.put_u16(field + 2, key.len() as u16);
        if key.is_empty() {
            return;
        }
        let at = self.allocate(key.len());
        self.bytes[at..at + key.len()].copy_from_slice(key);
        self.put_u16(field, at as u16);
    }

    /// Packs the heap against its end, leaving out one cell whose bytes are about to be written anew.
    fn compact_without(&mut self, dead: Option<usize>) {
        self.compact(dead, self.prefix_len());
    }

    /// As [`Page::compact_without`], with an inner page's cells as they stand under a prefix of that length. Heads stay as they are.
    fn compact(&mut self, dead: Option<usize>, prefix_len: usize) {
        let old = self.clone();
        let mut inner = Vec::new();
        self.put_u32(header::HEAP_START, self.heap_end() as u32);
        self.put_u32(header::GARBAGE, 0);
        for field in [header::LOW_FENCE, header::HIGH_FENCE] {
            if let Some(key) = old.fence(field) {
                self.write_fence(field, key);
            }
        }
        for index in (0..old.cell_count()).filter(|&index| Some(index) != dead) {
            let bytes = if prefix_len == old.prefix_len() {
                old.cell_bytes(index)
            } else {
                inner.clear();
                old.append_inner(index, prefix_len, &mut inner);
                &inner
            };
            let at = self.allocate(bytes.len());
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            self.put_u16(offset_entry(index), at as u16);
        }
    }
}

/// Where the entry of cell `index` stands, which begins with the cell's offset.
pub(super) const fn offset_entry(index: usize) -> usize {
    PAGE_HEADER_BYTES + index * CELL_ENTRY_BYTES
}

/// As `key.strip_prefix(prefix)`, without a call for a prefix of a few bytes, as most are.
#[inline]
pub(super) fn after_prefix<'k>(key: &'k [u8], prefix: &[u8]) -> Option<&'k [u8]> {
    let (begin, rest) = key.split_at_checked(prefix.len())?;
    let is_short = prefix.len() <= size_of::<u64>();
    let begins_so = match is_short {
        true => begin.iter().zip(prefix).all(|(a, b)| a == b),
        false => begin == prefix,
    };
    begins_so.then_some(rest)
}

/// What an entry holds of a key that goes on like this behind the prefix: its first bytes, and zeroes behind a shorter one. Two heads are in
/// the order of their keys, or equal.
pub(super) fn head_of(rest: &[u8]) -> [u8; HEAD_BYTES] {
    match rest.first_chunk() {
        Some(head) => *head,
        None => {
            let mut head = [0; HEAD_BYTES];
            head[..rest.len()].copy_from_slice(rest);
            head
        }
    }
}

/// As [`head_of`], as a number: numbers are in the order of the heads.
pub(super) fn head_number(rest: &[u8]) -> u32 {
    u32::from_be_bytes(head_of(rest))
}

/// How many bytes all keys between two fences have in common: none where there is no bound.
pub(super) fn common_prefix(low: Option<&[u8]>, high: Option<&[u8]>) -> usize {
    match (low, high) {
        (Some(low), Some(high)) => common(low, high),
        _ => 0,
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The shortest key that separates two leaves: above everything up to `left`, and at most `right`.
///
/// `left` is the last key of the left page, `right` the first of the right one; `left < right`.
pub(crate) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    debug_assert!(left < right);
    &right[..(common(left, right) + 1).min(right.len())]
}
