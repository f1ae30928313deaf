//! Pages against a model, and against bytes that nobody vouches for.

mod bytes;
mod golden;
mod model;
mod ops;

use std::borrow::Cow;

use proptest::prelude::*;

use super::file_header::FileHeader;
use super::{Extent, Kind, Page, PageOp};
use crate::ids::{PageId, TableId};

/// How many random cases a test tries. Failures print what failed, shrunk; nothing is written to disk.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    // An interpreter is some hundred times slower.
    let cases = if cfg!(miri) { 3 } else { cases };
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// Small pages, so that they fill up.
pub(crate) const SIZE: usize = 4096;
pub(crate) const TREE: TableId = TableId(16);
pub(crate) const ID: PageId = PageId(7);

/// An empty leaf without fences.
pub(crate) fn empty_leaf() -> Page {
    formatted(&PageOp::format_leaf(ID, TREE))
}

/// A page made by one operation.
pub(crate) fn formatted(op: &PageOp<'_>) -> Page {
    let mut page = Page::new(SIZE);
    super::apply(&mut page, op).expect("the operation makes a page");
    page.check().expect("a page that was just made is sound");
    page
}

/// Few keys, so that they meet; some of them long.
pub(crate) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..24).prop_map(|number| vec![b'k', number]),
        2 => (0u8..8, 1usize..=510).prop_map(|(number, len)| {
            let mut key = vec![b'k', number * 3];
            key.resize(len + 2, b'x');
            key
        }),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0usize..=1024).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

/// Any operation at all, whether or not it makes sense: what the decoder must bring back.
pub(crate) fn any_op() -> impl Strategy<Value = PageOp<'static>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60).prop_map(Cow::<'static, [u8]>::Owned);
    prop_oneof![
        (
            any::<u8>(),
            any::<u32>(),
            proptest::option::of(bytes()),
            proptest::option::of(bytes()),
            0u64..9,
            bytes()
        )
            .prop_map(|(level, tree, low, high, right, cells)| PageOp::Format {
                id: ID,
                kind: [Kind::Map, Kind::Leaf, Kind::Inner][usize::from(level) % 3],
                level,
                tree: TableId(tree),
                low,
                high,
                right: PageId::from_link(right),
                cells,
            }),
        (bytes(), bytes(), any::<u8>()).prop_map(|(key, value, flags)| PageOp::PutCell {
            key,
            value,
            flags
        }),
        (bytes(), any::<bool>()).prop_map(|(key, ghost)| PageOp::SetGhost { key, ghost }),
        (bytes(), bytes()).prop_map(|(key, runs)| PageOp::XorValue { key, runs }),
        prop::collection::vec(bytes(), 0..5).prop_map(|keys| PageOp::RemoveCells { keys }),
        (bytes(), any::<u64>()).prop_map(|(separator, right)| PageOp::SplitLeft {
            separator,
            right: PageId(right)
        }),
        (bytes(), any::<u64>()).prop_map(|(separator, child)| PageOp::InsertChild {
            separator,
            child: PageId(child)
        }),
        bytes().prop_map(|separator| PageOp::RemoveChild { separator }),
        Just(PageOp::Free { id: ID }),
        (any::<u32>(), any::<u32>(), any::<u8>()).prop_map(|(first_index, count, bits)| {
            PageOp::MapSet {
                first_index,
                count,
                bits,
            }
        }),
        (
            any::<u32>(),
            any::<u64>(),
            proptest::option::of((any::<u64>(), 1u32..)),
            bytes()
        )
            .prop_map(|(tree, position, next, data)| PageOp::Overflow {
                id: ID,
                tree: TableId(tree),
                position,
                next: next.map(|(first, pages)| Extent {
                    first: PageId(first),
                    pages
                }),
                data,
            }),
    ]
}

/// A file header that is in order.
pub(crate) fn file_header() -> FileHeader {
    FileHeader {
        page_size: SIZE as u32,
        database_id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        file_id: 0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20,
        required_features: 0,
        optional_features: 1 << 63,
        next_table: 16,
        tail_bytes: 0,
    }
}
