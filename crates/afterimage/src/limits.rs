//! Every maximum of the format, in one place, tied together by assertions that run at compile time.
//!
//! A limit that appears twice in the code will one day have two values. Modules take theirs from here; `docs/format.md`
//! states the same numbers.

/// Page size when none is chosen, in bytes.
pub(crate) const PAGE_SIZE_DEFAULT: usize = 8 * 1024;
/// Smallest legal page size, in bytes.
pub(crate) const PAGE_SIZE_MIN: usize = 4 * 1024;
/// Largest legal page size, in bytes. Offsets of cells are 16 bits wide: a cell starts below 65,536.
pub(crate) const PAGE_SIZE_MAX: usize = 64 * 1024;

/// Smallest legal segment, in bytes.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// A segment holds at least this many pages, so that its largest frame (a quarter of it) holds two.
pub(crate) const SEGMENT_PAGES_MIN: u64 = 8;
/// Largest log frame whatever the segment's size, in bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a frame that are not payload: length word, checksum, time.
pub(crate) const FRAME_OVERHEAD_MAX: usize = 16;

/// Bytes at a page's start that are header.
pub(crate) const PAGE_HEADER_BYTES: usize = 96;
/// Most bytes at a page's end that may be set aside for an authentication tag.
pub(crate) const PAGE_TAIL_BYTES_MAX: usize = 256;
/// Most levels a tree may have above its leaves.
pub(crate) const TREE_LEVEL_MAX: u8 = 32;

/// Most pages one structure change may touch: two halves, a parent, a root, the allocation maps and the file header.
pub(crate) const STRUCTURE_PAGES_MAX: usize = 12;
/// Largest record body, in bytes: what the largest frame holds.
pub(crate) const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_OVERHEAD_MAX;
/// Largest chunk of a checkpoint's tables, in bytes, where the segment allows it.
pub(crate) const TABLES_CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a varint of 64 bits at most.
pub(crate) const VARINT_BYTES_MAX: usize = 10;
/// Bytes of a row record or CLR that are neither key nor image: kind, flags, and at most nine varints.
pub(crate) const ROW_OVERHEAD_MAX: usize = 2 + 9 * VARINT_BYTES_MAX;

/// Longest key, in bytes, on pages of this size.
pub(crate) const fn key_bytes_max(page_size: usize) -> usize {
    page_size / 8
}

/// Longest value that stands in its row's cell, in bytes, on pages of this size. A longer one lies in overflow pages.
pub(crate) const fn value_bytes_max(page_size: usize) -> usize {
    page_size / 4
}

/// Longest value of all, in bytes.
pub(crate) const LARGE_VALUE_BYTES_MAX: u64 = 1 << 30;

/// Bytes of an overflow page's own fields, behind the page header.
pub(crate) const OVERFLOW_HEADER_BYTES: usize = 16;

/// Bytes of a value that one overflow page holds.
pub(crate) const fn overflow_bytes(page_size: usize) -> usize {
    page_size - PAGE_HEADER_BYTES - OVERFLOW_HEADER_BYTES
}

/// Fewest frames of a buffer pool: those that one structure change pins, and two for the cleaner.
pub(crate) const POOL_FRAMES_MIN: usize = 8;

/// Most bytes of a leaf cell beside key and value: flags and two lengths.
pub(crate) const LEAF_CELL_OVERHEAD_MAX: usize = 1 + 3 + 3;
/// Most bytes of an inner cell beside its key: flags, a length, a page number.
pub(crate) const INNER_CELL_OVERHEAD_MAX: usize = 1 + 3 + 8;
/// Bytes of a key's head: what an entry holds of it.
pub(crate) const HEAD_BYTES: usize = 4;
/// Bytes of a cell's entry in the array behind the header: its offset, and its key's head.
pub(crate) const CELL_ENTRY_BYTES: usize = 2 + HEAD_BYTES;

/// Most pages one allocation map page can speak for: two bits a page in half a page.
pub(crate) const fn map_pages(page_size: usize) -> u64 {
    2 * page_size as u64
}

/// An upper bound, in bytes, of the body of any structure change on pages of this size.
///
/// The cells that move are those of one page; beside them there are at most six fences and separators, and a header's
/// worth of numbers for each page.
pub(crate) const fn structure_bytes_max(page_size: usize) -> usize {
    2 * page_size - FRAME_OVERHEAD_MAX
}

/// An upper bound, in bytes, of a row record's or CLR's body.
pub(crate) const fn row_bytes_max(key_len: usize, before_len: usize, after_len: usize) -> usize {
    ROW_OVERHEAD_MAX + key_len + before_len + after_len
}

/// Whether a database may have pages of this size.
pub(crate) const fn is_page_size(bytes: usize) -> bool {
    bytes >= PAGE_SIZE_MIN && bytes <= PAGE_SIZE_MAX && bytes.is_power_of_two()
}

/// What must hold for one page size.
const fn assert_fits(page_size: usize) {
    let key = key_bytes_max(page_size);
    let value = value_bytes_max(page_size);
    let room = page_size - PAGE_HEADER_BYTES - PAGE_TAIL_BYTES_MAX - 2 * key;
    let leaf_cell = LEAF_CELL_OVERHEAD_MAX + CELL_ENTRY_BYTES + key + value;
    let inner_cell = INNER_CELL_OVERHEAD_MAX + CELL_ENTRY_BYTES + key;
    // An empty leaf between the longest fences takes the largest cell: so splitting always ends in room.
    assert!(leaf_cell <= room);
    // An inner page holds at least four children: a tree with fewer would not get wider as it gets higher.
    assert!(4 * inner_cell <= room);
    // A map page has room for its bits.
    assert!(PAGE_HEADER_BYTES + PAGE_TAIL_BYTES_MAX + page_size / 2 <= page_size);
    // A structure change: one page of cells, six keys, a few numbers a page.
    let numbers = STRUCTURE_PAGES_MAX * 8 * VARINT_BYTES_MAX;
    assert!(page_size - PAGE_HEADER_BYTES + 6 * key + numbers <= structure_bytes_max(page_size));
    // The largest record of a row fits where a structure change fits.
    assert!(row_bytes_max(key, value, value) <= structure_bytes_max(page_size));
    // The smallest segment that these pages allow has a frame that takes the largest structure change.
    assert!(
        structure_bytes_max(page_size) + FRAME_OVERHEAD_MAX
            <= page_size * SEGMENT_PAGES_MIN as usize / 4
    );
    assert!(structure_bytes_max(page_size) <= RECORD_BYTES_MAX);
}

const _: () = {
    assert!(is_page_size(PAGE_SIZE_DEFAULT));
    assert!(PAGE_SIZE_MAX - 1 <= u16::MAX as usize);
    let mut page_size = PAGE_SIZE_MIN;
    while page_size <= PAGE_SIZE_MAX {
        assert_fits(page_size);
        page_size *= 2;
    }
    assert!(SEGMENT_BYTES_MIN >= SEGMENT_PAGES_MIN * PAGE_SIZE_DEFAULT as u64);
    assert!(TABLES_CHUNK_BYTES_MAX <= RECORD_BYTES_MAX);
};
