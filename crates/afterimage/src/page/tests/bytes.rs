//! Bytes from disk: what seal writes verify accepts, and whatever check accepts can be used without a panic.

use std::borrow::Cow;

use afterimage_log::Lsn;
use proptest::prelude::*;

use super::super::cell::LeafCell;
use super::super::check::PageError;
use super::super::slotted::after_prefix;
use super::super::{Kind, Page, PageOp, apply, check_op};
use super::{ID, SIZE, TREE, any_op, cases, empty_leaf, formatted, key, value};
use crate::codec::Reader;
use crate::ids::PageId;

const FILE: u128 = 0xfeed;

/// A page as it comes about: rows put, replaced and removed.
fn lived_in() -> impl Strategy<Value = Page> {
    let rows = prop::collection::vec((key(), value(), any::<bool>()), 0..40);
    let leaf = rows.prop_map(|rows| {
        let mut page = empty_leaf();
        for (key, value, remove) in rows {
            let key: Cow<'_, [u8]> = key.into();
            let _ = apply(
                &mut page,
                &PageOp::PutCell {
                    key: key.clone(),
                    value: value.into(),
                    flags: 0,
                },
            );
            if remove {
                let _ = apply(&mut page, &PageOp::RemoveCells { keys: vec![key] });
            }
        }
        page
    });
    let inner = prop::collection::vec((key(), 10u64..99), 0..40).prop_map(|children| {
        let mut page = formatted(&PageOp::format_root(ID, TREE, 1, &[(b"", PageId(50))]));
        for (key, child) in children {
            let _ = apply(&mut page, &PageOp::insert_child(&key, PageId(child)));
        }
        page
    });
    let overflow =
        (any::<u64>(), prop::collection::vec(any::<u8>(), 1..99)).prop_map(|(position, data)| {
            formatted(&PageOp::Overflow {
                id: ID,
                tree: TREE,
                position,
                next: None,
                data: data.into(),
            })
        });
    prop_oneof![4 => leaf, 1 => overflow, 2 => inner, 1 => Just(formatted(&PageOp::format_empty_map(PageId::FIRST_MAP)))]
}

/// Reads everything that a page which passed its check may be asked for.
fn use_it(page: &Page) {
    let _ = format!("{page:?}");
    let _ = (
        page.low_fence(),
        page.high_fence(),
        page.right_link(),
        page.room(),
    );
    match page.kind() {
        Some(Kind::Map) => {
            let _ = (0..page.map_len())
                .filter(|&index| page.map_get(index) == 0)
                .count();
            let _ = page.find_free(0);
        }
        Some(Kind::FileHeader) => assert!(page.file_header().is_ok()),
        _ => {
            for index in 0..page.cell_count() {
                assert_eq!(page.search(&page.key(index)), Ok(index));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn sealed_pages_verify_and_no_flipped_bit_does(page in lived_in(), lsn in 1u64..u64::MAX, at in 0..SIZE, bit in 0..8) {
        let mut page = page;
        page.set_lsn(Lsn::new(lsn).expect("not zero"));
        page.seal(FILE);
        let id = page.id();
        prop_assert_eq!(page.verify(FILE, id), Ok(()));
        prop_assert_eq!(page.check(), Ok(()));
        prop_assert!(page.verify(FILE + 1, id).is_err(), "another file");
        prop_assert_eq!(page.verify(FILE, PageId(99)), Err(PageError::Misplaced { found: id, expected: PageId(99) }));
        page.bytes_mut()[at] ^= 1u8 << bit;
        prop_assert!(page.verify(FILE, id).is_err());
    }

    /// A forged page: bytes changed, then sealed again. Either the check refuses it, or it can be used.
    #[test]
    fn forged_pages_are_refused_or_harmless(
        page in lived_in(),
        changes in prop::collection::vec((prop_oneof![4 => 4usize..200, 1 => 0..SIZE], any::<u8>()), 1..6),
        mend in any::<bool>(),
        ops in prop::collection::vec(any_op(), 0..4),
        rows in prop::collection::vec((key(), value()), 0..8),
    ) {
        let mut page = page;
        for (at, byte) in changes {
            page.bytes_mut()[at] = byte;
        }
        if mend {
            page.mend_heads();
        }
        page.seal(FILE);
        prop_assert_eq!(page.verify(FILE, page.id()), Ok(()));
        if page.check().is_ok() {
            use_it(&page);
            let puts = rows.iter().map(|(key, value)| PageOp::PutCell { key: key.into(), value: value.into(), flags: 0 });
            for op in puts.chain(ops.iter().map(PageOp::reborrow)) {
                let allowed = check_op(&page, &op);
                prop_assert_eq!(apply(&mut page, &op), allowed);
                prop_assert_eq!(page.check(), Ok(()), "{:?}", op);
                use_it(&page);
            }
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        kind in 0u8..6, level in 0u8..3, count in 0u8..20, noise in prop::collection::vec(any::<u8>(), SIZE),
    ) {
        let mut page = Page::new(SIZE);
        page.bytes_mut().copy_from_slice(&noise);
        let _ = page.check();
        // With a header that looks right, the check gets as far as the cells.
        let head = empty_leaf();
        page.bytes_mut()[..60].copy_from_slice(&head.bytes()[..60]);
        page.bytes_mut()[60..96].fill(0);
        page.bytes_mut()[6] = kind;
        page.bytes_mut()[7] = level;
        page.bytes_mut()[30] = count;
        page.bytes_mut()[40..44].copy_from_slice(&300u32.to_le_bytes());
        let _ = page.check();
        for index in 0..usize::from(count) {
            let at = 96 + 6 * index;
            let offset = 300 + u16::from_le_bytes([noise[at], noise[at + 1]]) % (SIZE as u16 - 300);
            page.bytes_mut()[at..at + 2].copy_from_slice(&offset.to_le_bytes());
        }
        let _ = page.check();
    }
}

#[test]
fn a_page_of_zeroes_is_told_from_a_bad_one() {
    let mut page = Page::new(SIZE);
    assert!(page.is_zero());
    assert_eq!(page.verify(FILE, ID), Err(PageError::Zero));
    assert_eq!(page.check(), Err(PageError::Zero));
    assert_eq!((page.kind(), page.lsn()), (None, None));
    page.bytes_mut()[SIZE - 1] = 1;
    assert!(!page.is_zero());
    assert!(matches!(
        page.verify(FILE, ID),
        Err(PageError::Checksum { .. })
    ));
    assert!(matches!(page.check(), Err(PageError::Structure { .. })));
}

/// Two cells may not share a byte: changing one would change the other.
#[test]
fn overlapping_cells_are_found() {
    let mut page = empty_leaf();
    for key in [b"a", b"b"] {
        let value = b"0123456789"[..].into();
        apply(
            &mut page,
            &PageOp::PutCell {
                key: key[..].into(),
                value,
                flags: 0,
            },
        )
        .expect("room");
    }
    let second: [u8; 6] = page.bytes()[102..108].try_into().expect("an entry");
    page.bytes_mut()[96..102].copy_from_slice(&second);
    assert!(matches!(
        page.check(),
        Err(PageError::Structure { at: 102, .. })
    ));
}

/// A head that is not its key's would send a search past the row.
#[test]
fn a_wrong_head_is_found() {
    let format = |low: &'static [u8], cells: &'static [u8]| {
        formatted(&PageOp::Format {
            id: ID,
            kind: Kind::Leaf,
            level: 0,
            tree: TREE,
            low: Some(low.into()),
            high: Some(b"ke~"[..].into()),
            right: None,
            cells: cells.into(),
        })
    };
    let page = format(b"ke", b"\x00\x02\x00ke\x00\x03\x00key\x00\x08\x00keyboard");
    let heads: Vec<&[u8]> = [98, 104, 110].map(|at| &page.bytes()[at..at + 4]).into();
    assert_eq!(heads, [b"\0\0\0\0", b"y\0\0\0", b"yboa"]);
    for (at, key) in [(98, "ke"), (104, "key"), (113, "keyboard")] {
        let mut wrong = page.clone();
        wrong.bytes_mut()[at] ^= 1;
        let entry = (at - 96) / 6 * 6 + 98;
        let error = wrong.check().expect_err(key);
        assert!(
            matches!(error, PageError::Structure { at, .. } if at == entry),
            "{error}"
        );
        wrong.mend_heads();
        assert_eq!(wrong, page);
    }
}

#[test]
#[should_panic(expected = "PAGE-2")]
fn the_page_lsn_never_goes_back() {
    let mut page = empty_leaf();
    page.set_lsn(Lsn::new(9).expect("not zero"));
    page.set_lsn(Lsn::new(8).expect("not zero"));
}

#[test]
fn copies_are_copies() {
    let page = formatted(&PageOp::format_root(ID, TREE, 1, &[(b"", PageId(8))]));
    let mut copy = Page::new(SIZE);
    copy.copy_from(&page);
    assert_eq!(copy, page);
    copy.clear();
    assert!(copy.is_zero());
}

/// The short way into a cell finds what the long one finds, or leaves it to that one; whatever the bytes.
fn assert_ways_agree(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let read = LeafCell::read(&mut reader).map(|cell| (cell, reader.position()));
    if let Some(usual) = LeafCell::read_usual(bytes) {
        assert_eq!(read, Ok(usual), "{bytes:?}");
    }
}

#[test]
fn both_ways_into_a_cell_agree_at_every_length() {
    let lengths = [0, 1, 126, 127, 128, 129, 300];
    for (key_len, value_len) in lengths
        .iter()
        .flat_map(|key| lengths.map(|value| (*key, value)))
        .chain([(16, 16_383), (16, 16_384), (16, 20_000)])
    {
        for flags in 0..5 {
            let (key, value) = (vec![1; key_len], vec![2; value_len]);
            let cell = LeafCell {
                flags,
                key: &key,
                value: &value,
            };
            let mut bytes = Vec::new();
            cell.append_to(&mut bytes);
            let is_usual = flags < 2 && key_len < 128 && value_len < 16_384;
            assert_eq!(LeafCell::read_usual(&bytes).is_some(), is_usual);
            assert_ways_agree(&bytes);
            bytes.push(7);
            assert_ways_agree(&bytes);
            assert_ways_agree(&bytes[..bytes.len() - 2]);
        }
    }
    // Not in its shortest form.
    assert_eq!(LeafCell::read_usual(&[0, 0, 0x80, 0]), None);
    assert_ways_agree(&[0, 0, 0x80, 0]);
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn both_ways_into_a_cell_agree(bytes in prop::collection::vec(prop_oneof![0u8..9, any::<u8>()], 0..40)) {
        assert_ways_agree(&bytes);
    }

    #[test]
    fn what_follows_a_prefix(key in prop::collection::vec(0u8..2, 0..20), prefix in prop::collection::vec(0u8..2, 0..12)) {
        prop_assert_eq!(after_prefix(&key, &prefix), key.strip_prefix(&prefix[..]));
        let begin = &key[..prefix.len().min(key.len())];
        prop_assert_eq!(after_prefix(&key, begin), key.strip_prefix(begin));
    }
}
