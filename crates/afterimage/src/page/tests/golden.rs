//! The layout, byte for byte. If one of these tests fails, databases that exist would no longer open: the change needs
//! a new format version, not a new golden value.

use afterimage_log::Lsn;

use super::super::{Address, GHOST, LARGE};
use super::super::{Extent, Kind, Page, PageOp, apply, file_header, header, overflow};
use super::{TREE, file_header as sample_file_header, formatted};
use crate::ids::PageId;

const FORMAT_DOC: &str = include_str!("../../../../../docs/format.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The page sealed as it would be written, in two parts: its first bytes and its last.
fn ends(page: &mut Page, first: usize, last: usize) -> (String, String) {
    page.set_lsn(Lsn::new(0x0123_4567).expect("not zero"));
    page.seal(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20);
    let bytes = page.bytes();
    assert!(
        bytes[first..bytes.len() - last]
            .iter()
            .all(|&byte| byte == 0),
        "between the two parts all is free"
    );
    (hex(&bytes[..first]), hex(&bytes[bytes.len() - last..]))
}

#[test]
fn a_leaf() {
    let mut page = formatted(&PageOp::Format {
        id: PageId(7),
        kind: Kind::Leaf,
        level: 0,
        tree: TREE,
        low: Some(b"b"[..].into()),
        high: Some(b"yy"[..].into()),
        right: Some(PageId(9)),
        cells: b"\x00\x03\x05keyvalue\x01\x03\x05manghost"[..].into(),
    });
    let longer = PageOp::PutCell {
        key: b"key"[..].into(),
        value: b"longer value"[..].into(),
        flags: 0,
    };
    apply(&mut page, &longer).expect("room");
    assert_eq!(page.garbage(), 11);
    let (head, heap) = ends(&mut page, 108, 43);
    assert_eq!(head, GOLDEN_LEAF_HEAD);
    assert_eq!(heap, GOLDEN_LEAF_HEAP);
}

#[test]
fn an_inner_page() {
    let mut page = formatted(&PageOp::format_root(
        PageId(7),
        TREE,
        1,
        &[(b"", PageId(8)), (b"m", PageId(9))],
    ));
    let (head, heap) = ends(&mut page, 108, 21);
    assert_eq!(head, GOLDEN_INNER_HEAD);
    assert_eq!(heap, GOLDEN_INNER_HEAP);
}

#[test]
fn a_map() {
    let mut page = formatted(&PageOp::format_empty_map(PageId(1)));
    apply(&mut page, &PageOp::map_set(1, 4, true)).expect("four pages of this map");
    assert_eq!(ends(&mut page, 98, 0).0, GOLDEN_MAP);
}

#[test]
fn an_overflow_page() {
    let mut page = formatted(&PageOp::Overflow {
        id: PageId(7),
        tree: TREE,
        position: 0x0102_0304,
        next: Some(Extent {
            first: PageId(9),
            pages: 0x0506,
        }),
        data: b"bytes of a value"[..].into(),
    });
    assert_eq!(ends(&mut page, 128, 0).0, GOLDEN_OVERFLOW);
}

#[test]
fn a_free_page() {
    let mut page = formatted(&PageOp::Free { id: PageId(7) });
    assert_eq!(ends(&mut page, 60, 0).0, GOLDEN_FREE);
}

#[test]
fn a_leaf_with_a_large_value() {
    let first = Extent {
        first: PageId(300),
        pages: 2,
    };
    let address = Address { first, len: 9000 }.encode();
    let mut page = formatted(&PageOp::format_leaf(PageId(7), TREE));
    let put = PageOp::PutCell {
        key: b"key"[..].into(),
        value: address[..].into(),
        flags: LARGE,
    };
    apply(&mut page, &put).expect("room");
    let bytes = page.bytes();
    assert_eq!(hex(&bytes[bytes.len() - 26..]), GOLDEN_ADDRESS);
    let ghost = PageOp::SetGhost {
        key: b"key"[..].into(),
        ghost: true,
    };
    apply(&mut page, &ghost).expect("is there");
    assert_eq!(
        page.leaf_get(b"key").map(|cell| cell.flags),
        Some(LARGE | GHOST)
    );
    let unghost = PageOp::SetGhost {
        key: b"key"[..].into(),
        ghost: false,
    };
    apply(&mut page, &unghost).expect("is there");
    assert_eq!(page.leaf_get(b"key").map(|cell| cell.flags), Some(LARGE));
}

#[test]
fn a_file_header() {
    let mut page = formatted(&PageOp::FileHeader(sample_file_header()));
    assert_eq!(ends(&mut page, 176, 0).0, GOLDEN_FILE_HEADER);
}

/// The rows `| offset | length | name | ...` under a heading of docs/format.md.
fn rows_under(heading: &str) -> Vec<(usize, usize, String)> {
    let section = FORMAT_DOC
        .split(heading)
        .nth(1)
        .unwrap_or_else(|| panic!("docs/format.md has no {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let cells = |line: &str| {
        line.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let row = |line: &str| match &cells(line)[..] {
        [_, offset, length, name, ..] => {
            Some((offset.parse().ok()?, length.parse().ok()?, name.clone()))
        }
        _ => None,
    };
    section.lines().filter_map(row).collect()
}

#[test]
fn the_document_states_the_fields_of_the_code() {
    for (heading, fields) in [
        ("### Page header\n", header::FIELDS),
        ("### File header page\n", file_header::FIELDS),
        ("### Overflow page\n", overflow::FIELDS),
    ] {
        let stated = rows_under(heading);
        let coded: Vec<_> = fields
            .iter()
            .map(|&(name, at, len)| (at, len, name.to_owned()))
            .collect();
        assert_eq!(stated, coded, "{heading}");
        for pair in coded.windows(2) {
            assert_eq!(
                pair[0].0 + pair[0].1,
                pair[1].0,
                "no gap before {}",
                pair[1].2
            );
        }
    }
}

const GOLDEN_LEAF_HEAD: &str = "d19964b601a103000700000000000000674523010000000010000000000002000900000000000000d50f00000b000000\
    ff0f0100fd0f020000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    d50f6b657900e70f6d616e00";
const GOLDEN_LEAF_HEAP: &str =
    "00030c6b65796c6f6e6765722076616c75650103056d616e67686f73740003056b657976616c7565797962";
const GOLDEN_INNER_HEAD: &str = "7d43106001a104010700000000000000674523010000000010000000000002000000000000000000eb0f000000000000\
    0000ffff0000ffff00000000000000000000000000000000000000000000000000000000000000000000000000000000\
    f60f00000000eb0f6d000000";
const GOLDEN_INNER_HEAP: &str = "00016d090000000000000000000800000000000000";
const GOLDEN_MAP: &str = "0b8d6d4401a1020001000000000000006745230100000000000000000000000000000000000000000000000000000000\
    0000ffff0000ffff00000000000000000000000000000000000000000000000000000000000000000000000000000000\
    5501";
const GOLDEN_OVERFLOW: &str = "e48f021901a10500070000000000000067452301000000001000000000000000090000000000000000000000000000000000ffff0000ffff00000000000000000000000000000000000000000000000000000000000000000000000000000000\
    04030201000000000605000010000000\
    6279746573206f6620612076616c7565";
const GOLDEN_FREE: &str = "512ba24e01a10600070000000000000067452301000000000000000000000000000000000000000000000000000000000000ffff0000ffff00000000";
const GOLDEN_ADDRESS: &str = "0203146b65792c01000000000000020000002823000000000000";
const GOLDEN_FILE_HEADER: &str = "b0c8bdf001a1010000000000000000006745230100000000000000000000000000000000000000000000000000000000\
    0000ffff0000ffff00000000000000000000000000000000000000000000000000000000000000000000000000000000\
    41465452504147450100000000100000100f0e0d0c0b0a090807060504030201201f1e1d1c1b1a191817161514131211\
    0000000000000000000000000000008010000000000000000000000000000000";
