//! Operations as data: there and back, and what they refuse.

use proptest::prelude::*;

use super::super::op::ApplyError;
use super::super::{Extent, Kind, Page, PageOp, apply, check_op};
use super::{ID, SIZE, TREE, any_op, cases, empty_leaf, file_header, formatted};
use crate::codec::Reader;
use crate::ids::{PageId, TableId};

fn encoded(op: &PageOp<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    op.encode(&mut out);
    out
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn operations_come_back(op in any_op()) {
        let bytes = encoded(&op);
        let mut reader = Reader::new(&bytes);
        let decoded = PageOp::decode(&mut reader, ID);
        prop_assert_eq!(decoded.as_ref(), Ok(&op));
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(&op.reborrow(), &op);
        prop_assert_eq!(op.clone().into_owned(), op);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(op) = PageOp::decode(&mut reader, ID) {
            // What decodes encodes to the same bytes again.
            prop_assert_eq!(&encoded(&op)[..], &bytes[..reader.position()]);
            let mut page = empty_leaf();
            let allowed = check_op(&page, &op);
            prop_assert_eq!(apply(&mut page, &op), allowed);
            prop_assert!(page.check().is_ok());
        }
    }

    /// No operation, however senseless, panics or makes a page unsound.
    #[test]
    fn no_operation_spoils_a_page(ops in prop::collection::vec(any_op(), 1..20)) {
        let mut page = empty_leaf();
        for op in &ops {
            let allowed = check_op(&page, op);
            prop_assert_eq!(apply(&mut page, op), allowed);
            prop_assert_eq!(page.check(), Ok(()));
        }
    }
}

#[test]
fn file_headers_come_back() {
    let op = PageOp::FileHeader(file_header());
    let bytes = encoded(&op);
    assert_eq!(
        PageOp::decode(&mut Reader::new(&bytes), PageId::FILE_HEADER),
        Ok(op.clone())
    );
    assert!(
        PageOp::decode(&mut Reader::new(&bytes), ID).is_err(),
        "only page 0 is a file header"
    );
    let page = formatted(&op);
    assert_eq!(page.file_header(), Ok(file_header()));
    assert_eq!(PageOp::image_of(&page), op);
    let mut newer = file_header();
    newer.required_features = 1;
    assert!(apply(&mut Page::new(SIZE), &PageOp::FileHeader(newer)).is_err());
    let mut wider = file_header();
    wider.page_size *= 2;
    assert!(apply(&mut Page::new(SIZE), &PageOp::FileHeader(wider)).is_err());
}

/// The kinds of pages that an operation is for, and no other.
#[test]
fn operations_refuse_other_kinds_of_pages() {
    let pages = [
        formatted(&PageOp::FileHeader(file_header())),
        formatted(&PageOp::format_empty_map(PageId::FIRST_MAP)),
        formatted(&PageOp::format_leaf(ID, TREE)),
        formatted(&PageOp::format_root(
            ID,
            TREE,
            1,
            &[(b"", PageId(8)), (b"m", PageId(9))],
        )),
        Page::new(SIZE),
        formatted(&PageOp::Overflow {
            id: ID,
            tree: TREE,
            position: 5,
            next: None,
            data: b"other bytes"[..].into(),
        }),
    ];
    let overflow = PageOp::Overflow {
        id: ID,
        tree: TREE,
        position: 0,
        next: None,
        data: b"bytes"[..].into(),
    };
    let put = PageOp::PutCell {
        key: b"k"[..].into(),
        value: b"v"[..].into(),
        flags: 0,
    };
    let ghost = PageOp::SetGhost {
        key: b"k"[..].into(),
        ghost: true,
    };
    let remove = PageOp::RemoveCells {
        keys: vec![b"k"[..].into()],
    };
    let cases = [
        (put, [false, false, true, false, false, false]),
        (
            PageOp::insert_child(b"p", PageId(10)),
            [false, false, false, true, false, false],
        ),
        (
            PageOp::split_left(b"m", PageId(10)),
            [false, false, true, true, false, false],
        ),
        (
            PageOp::map_set(1, 1, true),
            [false, true, false, false, false, false],
        ),
        (ghost, [false; 6]),
        (remove, [false; 6]),
        (PageOp::format_leaf(ID, TREE), [true; 6]),
        (PageOp::FileHeader(file_header()), [true; 6]),
        (overflow.clone(), [true; 6]),
        (PageOp::Free { id: ID }, [true; 6]),
        (
            PageOp::RemoveChild {
                separator: b"m"[..].into(),
            },
            [false, false, false, true, false, false],
        ),
    ];
    for (op, expected) in cases {
        let allowed = pages.each_ref().map(|page| check_op(page, &op).is_ok());
        assert_eq!(allowed, expected, "{}", op.name());
        if op.makes_whole_page() {
            assert_eq!(expected, [true; 6]);
            // The page's old contents make no difference, so twice is once.
            for mut page in pages.clone() {
                apply(&mut page, &op).expect("allowed");
                assert_eq!(page, formatted(&op));
                apply(&mut page, &op).expect("allowed");
                assert_eq!(page, formatted(&op));
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut leaf = empty_leaf();
    let put = |key: &'static [u8], value: Vec<u8>| PageOp::PutCell {
        key: key.into(),
        value: value.into(),
        flags: 0,
    };
    assert_eq!(
        check_op(&leaf, &put(&[1; 513], vec![])),
        Err(ApplyError::TooLong { len: 513, max: 512 })
    );
    assert_eq!(
        check_op(&leaf, &put(b"k", vec![0; 1025])),
        Err(ApplyError::TooLong {
            len: 1025,
            max: 1024
        })
    );
    for key in [b"a", b"b", b"c"] {
        apply(&mut leaf, &put(key, vec![7; 1024])).expect("three large rows fit");
    }
    assert!(matches!(
        check_op(&leaf, &put(b"d", vec![7; 1024])),
        Err(ApplyError::NoRoom { .. })
    ));
    assert_eq!(
        check_op(&leaf, &put(b"c", vec![8; 1024])),
        Ok(()),
        "a row of the same size takes the old one's place"
    );
    apply(&mut leaf, &PageOp::split_left(b"b", PageId(9))).expect("splits");
    assert_eq!(
        check_op(&leaf, &put(b"b", vec![])),
        Err(ApplyError::OutsideFences)
    );
    assert!(check_op(&leaf, &PageOp::split_left(b"", PageId(9))).is_err());
    assert_eq!(
        check_op(
            &leaf,
            &PageOp::SetGhost {
                key: b"aa"[..].into(),
                ghost: true
            }
        ),
        Err(ApplyError::NotFound)
    );
    let inner = formatted(&PageOp::format_root(
        ID,
        TREE,
        1,
        &[(b"", PageId(8)), (b"m", PageId(9))],
    ));
    assert_eq!(
        check_op(&inner, &PageOp::insert_child(b"m", PageId(5))),
        Err(ApplyError::Exists)
    );
    assert_eq!(
        check_op(&inner, &PageOp::split_left(b"n", PageId(5))),
        Err(ApplyError::NotFound)
    );
}

#[test]
fn overflow_pages_that_cannot_be_are_refused() {
    let page = Page::new(SIZE);
    let next = Extent {
        first: PageId(9),
        pages: 1,
    };
    let op = |id, tree, next, len| PageOp::Overflow {
        id,
        tree,
        position: 0,
        next: Some(next),
        data: vec![1; len].into(),
    };
    let room = SIZE - 112;
    assert_eq!(check_op(&page, &op(ID, TREE, next, room)), Ok(()));
    assert!(check_op(&page, &op(ID, TREE, next, room + 1)).is_err());
    assert!(check_op(&page, &op(ID, TREE, next, 0)).is_err());
    assert!(check_op(&page, &op(PageId(0), TREE, next, 1)).is_err());
    assert!(check_op(&page, &op(PageId(1), TREE, next, 1)).is_err());
    assert!(check_op(&page, &op(ID, TableId::NONE, next, 1)).is_err());
    let nowhere = Extent {
        first: PageId(0),
        pages: 1,
    };
    assert!(check_op(&page, &op(ID, TREE, nowhere, 1)).is_err());
    let mut leaf = empty_leaf();
    let put = |value: &'static [u8]| PageOp::PutCell {
        key: b"k"[..].into(),
        value: value.into(),
        flags: 2,
    };
    assert!(check_op(&leaf, &put(b"no address")).is_err());
    assert!(check_op(&leaf, &put(&[0; 20])).is_err());
    apply(&mut leaf, &put(&[1; 20])).expect("an address");
    let xor = PageOp::XorValue {
        key: b"k"[..].into(),
        runs: b"\x00\x01\xff"[..].into(),
    };
    assert_eq!(check_op(&leaf, &xor), Err(ApplyError::NotFound));
}

#[test]
fn a_page_and_its_neighbour_become_one() {
    let leaf =
        |id: u64, low: Option<&'static [u8]>, high: Option<&'static [u8]>, cells: &'static [u8]| {
            formatted(&PageOp::Format {
                id: PageId(id),
                kind: Kind::Leaf,
                level: 0,
                tree: TREE,
                low: low.map(Into::into),
                high: high.map(Into::into),
                right: Some(PageId(id + 1)),
                cells: cells.into(),
            })
        };
    let left = leaf(7, Some(b"b"), Some(b"m"), b"\x00\x01\x01c1\x01\x01\x01d2");
    let right = leaf(8, Some(b"m"), Some(b"y"), b"\x01\x01\x01m3\x00\x01\x01n4");
    let all = PageOp::format_merged(&left, &right, &|_| true);
    let rows = PageOp::format_merged(&left, &right, &|cell| !cell.is_ghost());
    assert!(
        left.merged_bytes(&right, &|_| true) > left.merged_bytes(&right, &|cell| !cell.is_ghost())
    );
    for (op, keys) in [(all, &[b"c", b"d", b"m", b"n"][..]), (rows, &[b"c", b"n"])] {
        let mut page = left.clone();
        apply(&mut page, &op).expect("fits");
        page.check().expect("sound");
        let found: Vec<_> = (0..page.cell_count())
            .map(|index| page.key(index).into_owned())
            .collect();
        assert_eq!(found, keys);
        assert_eq!(
            (page.low_fence(), page.high_fence()),
            (Some(&b"b"[..]), Some(&b"y"[..]))
        );
        assert_eq!(page.right_link(), Some(PageId(9)));
    }
    let mut parent = formatted(&PageOp::format_root(
        ID,
        TREE,
        1,
        &[(b"", PageId(8)), (b"m", PageId(9))],
    ));
    let remove = |separator: &'static [u8]| PageOp::RemoveChild {
        separator: separator.into(),
    };
    assert!(
        check_op(&parent, &remove(b"")).is_err(),
        "the first child stays"
    );
    assert_eq!(check_op(&parent, &remove(b"n")), Err(ApplyError::NotFound));
    apply(&mut parent, &remove(b"m")).expect("is there");
    parent.check().expect("sound");
    assert_eq!(parent.cell_count(), 1);
    assert!(check_op(&parent, &PageOp::Free { id: PageId(1) }).is_err());
    assert!(check_op(&parent, &PageOp::Free { id: PageId(0) }).is_err());
}

#[test]
fn formats_that_make_no_page_are_refused() {
    let mut page = Page::new(SIZE);
    let good = PageOp::format_root(ID, TREE, 2, &[(b"", PageId(8)), (b"m", PageId(9))]);
    assert_eq!(check_op(&page, &good), Ok(()));
    let spoil = |change: &dyn Fn(&mut PageOp<'static>)| {
        let mut op = good.clone();
        change(&mut op);
        check_op(&page, &op)
    };
    macro_rules! set {
        ($field:ident, $value:expr) => {
            spoil(&|op| {
                if let PageOp::Format { $field, .. } = op {
                    *$field = $value;
                }
            })
        };
    }
    assert!(set!(level, 0).is_err());
    assert!(set!(level, 33).is_err());
    assert!(set!(kind, Kind::Leaf).is_err());
    assert!(set!(kind, Kind::Map).is_err());
    assert!(set!(kind, Kind::FileHeader).is_err());
    assert!(set!(id, PageId(0)).is_err());
    assert!(set!(id, PageId(1)).is_err());
    assert!(set!(tree, TableId::NONE).is_err());
    assert!(
        set!(low, Some(b"a"[..].into())).is_err(),
        "the first child begins below the low fence"
    );
    assert!(
        set!(high, Some(b"m"[..].into())).is_err(),
        "a child at the high fence"
    );
    assert!(set!(high, Some(b""[..].into())).is_err());
    assert!(set!(right, Some(PageId(0))).is_err());
    assert!(set!(cells, b""[..].into()).is_err());
    assert!(set!(cells, b"\x00"[..].into()).is_err());
    assert!(set!(right, Some(PageId(1))).is_ok());
    apply(&mut page, &good).expect("the good one is good");
}

#[test]
fn an_unreadable_page_is_mended_by_its_format() {
    let op = PageOp::format_root(ID, TREE, 1, &[(b"", PageId(8)), (b"m", PageId(9))]);
    let fresh = formatted(&op);
    let mut wreck = Page::new(SIZE);
    wreck.bytes_mut().fill(0xa5);
    apply(&mut wreck, &op).expect("needs no old contents");
    assert_eq!(wreck, fresh);
}
