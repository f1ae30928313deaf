//! Records there and back, changes and their inverses, and bytes that are no record.

mod changes;
mod golden;

use std::borrow::Cow;

use afterimage_log::Lsn;
use proptest::prelude::*;

use super::{
    AttEntry, Change, ClrRecord, Outline, PagePart, Record, RecordKind, RowRecord, Structure,
    StructureKind, encode_tables,
};
use crate::ids::{PageId, TableId};
use crate::page::{Address, Extent, Page, PageOp, Stored, any_op, apply, cases};

fn lsn(number: u64) -> Lsn {
    Lsn::new(number).expect("not zero")
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

fn bytes() -> impl Strategy<Value = Cow<'static, [u8]>> {
    prop::collection::vec(any::<u8>(), 0..50).prop_map(Cow::Owned)
}

fn stored() -> impl Strategy<Value = Stored<'static>> {
    let address = (1u64..1 << 40, 1u32.., 1u64..).prop_map(|(first, pages, len)| {
        let first = Extent {
            first: PageId(first),
            pages,
        };
        Address { first, len }.stored()
    });
    let value = bytes().prop_map(|bytes| Stored {
        bytes,
        large: false,
    });
    prop_oneof![3 => value, 1 => address]
}

fn change() -> impl Strategy<Value = Change<'static>> {
    prop_oneof![
        (proptest::option::of(stored()), stored())
            .prop_map(|(before, after)| Change::Put { before, after }),
        stored().prop_map(|before| Change::Delete { before }),
        bytes().prop_map(|runs| Change::Xor { runs }),
    ]
}

/// An LSN, small or large.
fn any_lsn() -> impl Strategy<Value = Lsn> {
    prop_oneof![1u64..1000, 1u64..1 << 40, 1u64..=u64::MAX].prop_map(lsn)
}

/// A transaction and an LSN at or behind it.
fn txn_and_later() -> impl Strategy<Value = (Lsn, Lsn)> {
    (any_lsn(), 0u64..1 << 30)
        .prop_map(|(txn, distance)| (txn, lsn(txn.get().saturating_add(distance))))
}

fn row() -> impl Strategy<Value = Record<'static>> {
    let numbers = (any::<u32>(), any::<u64>(), proptest::option::of(any_lsn()));
    let owner = proptest::option::of((txn_and_later(), any::<bool>()));
    (any::<bool>(), owner, numbers, bytes(), change()).prop_map(
        |(commit, owner, (table, page, page_prev), key, change)| {
            Record::Row(RowRecord {
                commit,
                txn: owner.map(|((txn, _), _)| txn),
                prev: owner.and_then(|((_, prev), given)| given.then_some(prev)),
                table: TableId(table),
                page: PageId(page),
                page_prev,
                key,
                change,
            })
        },
    )
}

fn clr() -> impl Strategy<Value = Record<'static>> {
    let numbers = (any::<u32>(), any::<u64>(), proptest::option::of(any_lsn()));
    (txn_and_later(), any::<bool>(), numbers, bytes(), change()).prop_map(
        |((txn, prev), more, (table, page, page_prev), key, change)| {
            Record::Clr(ClrRecord {
                txn,
                prev,
                undo_next: more.then_some(txn),
                table: TableId(table),
                page: PageId(page),
                page_prev,
                key,
                change,
            })
        },
    )
}

fn structure() -> impl Strategy<Value = Record<'static>> {
    let part = (proptest::option::of(any_lsn()), any_op()).prop_map(|(page_prev, op)| PagePart {
        page: PageId(7),
        page_prev,
        op,
    });
    (1u8..=17, prop::collection::vec(part, 0..5)).prop_map(|(kind, parts)| {
        let kind = StructureKind::from_byte(kind).expect("a kind that is");
        Record::Structure(Structure { kind, parts })
    })
}

fn att_entry() -> impl Strategy<Value = AttEntry> {
    (txn_and_later(), any::<bool>()).prop_map(|((txn, last), more)| AttEntry {
        txn,
        last,
        undo_next: more.then_some(last),
    })
}

fn record() -> impl Strategy<Value = Record<'static>> {
    let tables = (
        prop::collection::vec(att_entry(), 0..6),
        prop::collection::vec((any::<u64>().prop_map(PageId), any_lsn()), 0..6),
    );
    prop_oneof![
        4 => row(),
        4 => clr(),
        4 => structure(),
        1 => txn_and_later().prop_map(|(txn, prev)| Record::Commit { txn, prev }),
        1 => txn_and_later().prop_map(|(txn, prev)| Record::End { txn, prev }),
        1 => Just(Record::CheckpointBegin),
        1 => Just(Record::Begin),
        1 => Just(Record::UnloggedCommit),
        1 => tables.prop_map(|(att, dpt)| Record::CheckpointTables { att, dpt }),
        1 => (any_lsn(), any::<u64>())
            .prop_map(|(begin, last_commit_time)| Record::CheckpointEnd { begin, last_commit_time }),
    ]
}

/// Every page's operation, as owned data.
fn pages_of(record: &Record<'_>) -> Vec<(PageId, Option<Lsn>, PageOp<'static>)> {
    let mut pages = Vec::new();
    record.for_each_page(|page, page_prev, op| pages.push((page, page_prev, op.into_owned())));
    pages
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn an_outline_says_what_the_record_says(record in record(), own in any_lsn()) {
        let mut payload = Vec::new();
        record.encode(&mut payload);
        let outline = Outline::decode(&payload).expect("decodes");
        let only_page = || record.pages().map(|(page, _, _)| page).collect::<Vec<_>>();
        match (outline, &record) {
            (Outline::Row { kind, txn, commit, page }, Record::Row(row)) => {
                prop_assert_eq!(kind, RecordKind::of(&record));
                prop_assert_eq!(txn.or(Some(own)), record.txn(own));
                prop_assert_eq!(commit, row.commit);
                prop_assert_eq!(vec![page], only_page());
            }
            (Outline::Clr { kind, txn, undo_next, page }, Record::Clr(clr)) => {
                prop_assert_eq!(kind, RecordKind::of(&record));
                prop_assert_eq!(Some(txn), record.txn(own));
                prop_assert_eq!(undo_next, clr.undo_next);
                prop_assert_eq!(vec![page], only_page());
            }
            (Outline::Other, Record::Row(_) | Record::Clr(_)) => prop_assert!(false, "{:?}", record),
            (Outline::Other, _) => {}
            _ => prop_assert!(false, "{:?}", outline),
        }
    }

    /// Of any bytes at all: a record, or one that is cut off, or has a byte too many, or another one somewhere.
    #[test]
    fn a_part_says_what_the_record_says(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>(), harm in 0..4_u8) {
        let mut payload = encoded(&record);
        let at = at.index(payload.len());
        match harm {
            0 => {}
            1 => payload.truncate(at),
            2 => payload.push(byte),
            _ => payload[at] = byte,
        }
        let part = |page| Record::see_part(&payload, page, |kind, page_prev, op| (kind, page_prev, op.clone().into_owned()));
        match Record::decode(&payload) {
            Err(error) => prop_assert_eq!(part(PageId(1)), Err(error)),
            Ok(record) => {
                let parts: Vec<_> = record.pages().map(|(page, page_prev, op)| (page, (RecordKind::of(&record), page_prev, op.into_owned()))).collect();
                let first = |page| parts.iter().find(|(of, _)| *of == page).map(|(_, part)| part.clone());
                for (page, _) in &parts {
                    prop_assert_eq!(part(*page), Ok(first(*page)));
                    let beside = PageId(page.get() ^ 1);
                    prop_assert_eq!(part(beside), Ok(first(beside)));
                }
            }
        }
    }

    #[test]
    fn records_come_back(record in record()) {
        let bytes = encoded(&record);
        let decoded = Record::decode(&bytes).expect("what was encoded decodes");
        prop_assert_eq!(&decoded, &record);
        prop_assert_eq!(pages_of(&decoded), pages_of(&record));
        for cut in 0..bytes.len() {
            prop_assert!(Record::decode(&bytes[..cut]).is_err(), "a record is never a prefix of another");
        }
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(Record::decode(&longer).is_err());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0u8..12) {
        for bytes in [&bytes[..], &[&[kind], &bytes[..]].concat()] {
            if let Ok(record) = Record::decode(bytes) {
                prop_assert_eq!(&encoded(&record)[..], bytes, "what decodes encodes to the same bytes");
            }
        }
    }

    #[test]
    fn damaged_records_decode_or_are_refused(
        record in record(), changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&record);
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(&encoded(&record), &bytes);
            // Lists take no more memory than a small multiple of the bytes they came from.
            if let Record::CheckpointTables { att, dpt } = &record {
                prop_assert!(att.capacity() <= bytes.len() / 3 && dpt.capacity() <= bytes.len() / 2);
            }
        }
    }

    #[test]
    fn tables_come_in_chunks_that_fit(
        att in prop::collection::vec(att_entry(), 0..60),
        dpt in prop::collection::vec((any::<u64>().prop_map(PageId), any_lsn()), 0..60),
        max_payload in 51usize..400,
    ) {
        let chunks = encode_tables(&att, &dpt, max_payload);
        prop_assert_eq!(chunks.is_empty(), att.is_empty() && dpt.is_empty());
        let (mut found_att, mut found_dpt) = (Vec::new(), Vec::new());
        for chunk in &chunks {
            prop_assert!(chunk.len() <= max_payload);
            let Ok(Record::CheckpointTables { att, dpt }) = Record::decode(chunk) else { panic!("not a chunk") };
            prop_assert!(!att.is_empty() || !dpt.is_empty());
            found_att.extend(att);
            found_dpt.extend(dpt);
        }
        prop_assert_eq!((found_att, found_dpt), (att, dpt));
    }
}

/// A list that claims more than its bytes can hold is refused before anything is allocated for it.
#[test]
fn claims_beyond_the_payload_are_refused() {
    for kind in [5u8, 7] {
        let claim = [kind, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(Record::decode(&claim).is_err());
        let claim = [kind, 1, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(Record::decode(&claim).is_err());
    }
    assert!(Record::decode(&[]).is_err());
    assert!(
        Record::decode(&[5, 1, 13]).is_err(),
        "more pages than a structure change touches"
    );
}

/// A split, decoded from its bytes, does to the pages what the original does.
#[test]
fn a_decoded_split_is_the_split() {
    let mut leaf = Page::new(4096);
    apply(&mut leaf, &PageOp::format_leaf(PageId(2), TableId(16))).expect("formats");
    for key in 0..30u8 {
        let (key, value) = ([b'k', key], [key; 20]);
        let put = PageOp::PutCell {
            key: key[..].into(),
            value: value[..].into(),
            flags: key[1] & 1,
        };
        apply(&mut leaf, &put).expect("room");
    }
    let separator = leaf.key(leaf.split_index()).to_vec();
    let right = PageOp::format_from(
        PageId(9),
        &leaf,
        leaf.split_index()..30,
        Some(&separator),
        None,
        None,
    );
    let root = PageOp::format_root(
        PageId(10),
        TableId(16),
        1,
        &[(b"", PageId(2)), (&separator, PageId(9))],
    );
    let parts = vec![
        PagePart {
            page: PageId(2),
            page_prev: Some(lsn(5000)),
            op: PageOp::split_left(&separator, PageId(9)),
        },
        PagePart {
            page: PageId(9),
            page_prev: None,
            op: right,
        },
        PagePart {
            page: PageId(10),
            page_prev: None,
            op: root,
        },
    ];
    let record = Record::Structure(Structure {
        kind: StructureKind::Split,
        parts,
    });
    let bytes = encoded(&record);
    let decoded = Record::decode(&bytes).expect("decodes");
    let pages = [&record, &decoded].map(|record| {
        let mut pages = [leaf.clone(), Page::new(4096), Page::new(4096)];
        let mut next = pages.iter_mut();
        record
            .try_for_each_page(|_, _, op| apply(next.next().expect("three pages"), &op))
            .expect("every part applies");
        pages
    });
    assert_eq!(pages[0], pages[1]);
    pages[0]
        .iter()
        .for_each(|page| page.check().expect("sound"));
    assert!(bytes.len() <= crate::limits::structure_bytes_max(4096));
}
