//! A change and its inverse on a real page: forward, back by CLR, and forward again.

use proptest::prelude::*;

use super::*;
use crate::codec::put_varint;
use crate::page::{GHOST, PLAIN};

const KEY: &[u8] = b"key";

/// Two values of the same length that differ in few places or in many, or two that differ in length as well.
fn two_values() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let near = (
        prop::collection::vec(any::<u8>(), 1..200),
        prop::collection::vec((any::<u16>(), any::<u8>()), 0..6),
    )
        .prop_map(|(before, changes)| {
            let mut after = before.clone();
            for (at, byte) in changes {
                let at = usize::from(at) % after.len();
                after[at] = byte;
            }
            (before, after)
        });
    let far = (
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(any::<u8>(), 0..60),
    );
    // Equal bytes and others, in turns of any length.
    let mixed =
        prop::collection::vec((0u8..3, 0u8..3), 1..200).prop_map(|pairs| pairs.into_iter().unzip());
    prop_oneof![near, far, mixed]
}

/// A leaf with a neighbour on each side of the key, and perhaps a cell of the key: (flags, value).
fn page(cell: Option<(u8, &[u8])>) -> Page {
    let mut page = Page::new(4096);
    apply(&mut page, &PageOp::format_leaf(PageId(2), TableId(16))).expect("formats");
    let mut put = |key: &[u8], value: &[u8], flags| {
        apply(
            &mut page,
            &PageOp::PutCell {
                key: key.into(),
                value: value.into(),
                flags,
            },
        )
        .expect("room");
    };
    put(b"a", b"left", PLAIN);
    put(b"z", b"right", PLAIN);
    if let Some((flags, value)) = cell {
        put(KEY, value, flags);
    }
    page
}

/// The row as a reader sees it.
fn row_of(page: &Page) -> Option<&[u8]> {
    page.leaf_get(KEY)
        .filter(|cell| !cell.is_ghost())
        .map(|cell| cell.value)
}

/// Does a change and takes it back by its CLR's change, both as decoded from their bytes.
fn forth_and_back(mut page: Page, before: Option<&[u8]>, after: Option<&[u8]>) {
    let change = Change::of(before, after);
    let room = page.room();
    apply(&mut page, &through_bytes(&change).to_op(KEY)).expect("forward");
    page.check().expect("sound");
    assert_eq!(row_of(&page), after);
    assert_eq!(
        (
            page.leaf_get(b"a").map(|c| c.value),
            page.leaf_get(b"z").map(|c| c.value)
        ),
        (Some(&b"left"[..]), Some(&b"right"[..]))
    );
    for undo in [change.inverse(), change.compensation()] {
        let mut undone = page.clone();
        apply(&mut undone, &through_bytes(&undo).to_op(KEY)).expect("back");
        undone.check().expect("sound");
        assert_eq!(row_of(&undone), before);
        if after.is_none() {
            assert_eq!(undone.room(), room, "taking a delete back needs no room");
        }
    }
    let twice = change.inverse().inverse().into_owned();
    assert_eq!(twice.after(), change.after());
    assert_eq!(twice.before(), change.before());
}

fn through_bytes(change: &Change<'_>) -> Change<'static> {
    let record = Record::Row(RowRecord {
        commit: false,
        txn: None,
        prev: None,
        table: TableId(16),
        page: PageId(2),
        page_prev: None,
        key: KEY.into(),
        change: change.clone(),
    });
    let bytes = encoded(&record);
    let Ok(Record::Row(row)) = Record::decode(&bytes) else {
        panic!("a row record is a row record")
    };
    row.change.into_owned()
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn a_change_is_undone_by_its_inverse((before, after) in two_values()) {
        forth_and_back(page(Some((PLAIN, &before))), Some(&before), Some(&after));
        forth_and_back(page(Some((PLAIN, &before))), Some(&before), None);
        forth_and_back(page(None), None, Some(&after));
        forth_and_back(page(Some((GHOST, &before))), None, Some(&after));
    }

    #[test]
    fn what_is_seen_on_a_page_is_changed_as_what_is_not((before, after) in two_values()) {
        for (before, after) in [
            (Some(&before[..]), Some(&after[..])),
            (Some(&before), None),
            (None, Some(&after)),
        ] {
            prop_assert_eq!(Change::of_seen(before, after), Change::of(before, after));
        }
    }

    /// Compared by words, as by bytes.
    #[test]
    fn runs_end_where_three_bytes_are_equal((before, after) in two_values()) {
        let mut expected = Vec::new();
        let mut end_of_last = 0;
        let mut places = (0..before.len().min(after.len()))
            .filter(|at| before[*at] != after[*at])
            .peekable();
        while let Some(start) = places.next() {
            let mut end = start + 1;
            while let Some(at) = places.next_if(|at| at - end < 3) {
                end = at + 1;
            }
            put_varint(&mut expected, (start - end_of_last) as u64);
            put_varint(&mut expected, (end - start) as u64);
            expected.extend((start..end).map(|at| before[at] ^ after[at]));
            end_of_last = end;
        }
        if let Change::Xor { runs } = Change::of(Some(&before), Some(&after)) {
            prop_assert_eq!(&runs[..], expected);
        }
    }

    #[test]
    fn xor_is_used_only_where_it_is_smaller((before, after) in two_values()) {
        let change = Change::of(Some(&before), Some(&after));
        let images = Change::Put { before: Some((&before).into()), after: (&after).into() };
        let size = |change: &Change<'_>| {
            let record = Record::Row(RowRecord {
                commit: false, txn: None, prev: None, table: TableId(16), page: PageId(2), page_prev: None,
                key: KEY.into(), change: change.clone(),
            });
            encoded(&record).len()
        };
        match &change {
            Change::Xor { .. } => {
                prop_assert_eq!(before.len(), after.len());
                prop_assert!(size(&change) < size(&images));
            }
            other => prop_assert_eq!(other, &images),
        }
    }
}

#[test]
fn runs_closer_than_three_bytes_are_one() {
    let before = [0u8; 40];
    let mut after = before;
    for at in [3, 6, 10, 20] {
        after[at] = 1;
    }
    // 3 and 6 have two equal bytes between them, 6 and 10 have three.
    let Change::Xor { runs } = Change::of(Some(&before), Some(&after)) else {
        panic!("few bytes differ")
    };
    assert_eq!(&runs[..], &[3, 4, 1, 0, 0, 1, 3, 1, 1, 9, 1, 1]);
    let same = Change::of(Some(&before), Some(&before));
    assert_eq!(
        same,
        Change::Xor {
            runs: Cow::Borrowed(&[])
        },
        "no difference is no bytes"
    );
}

#[test]
fn a_rows_record_stays_within_its_bound() {
    let value = vec![7u8; 2048];
    let record = Record::Row(RowRecord {
        commit: true,
        txn: Some(lsn(u64::MAX - 1)),
        prev: Some(lsn(u64::MAX)),
        table: TableId(u32::MAX),
        page: PageId(u64::MAX),
        page_prev: Some(lsn(u64::MAX / 2)),
        key: Cow::Borrowed(&value[..1024]),
        change: Change::Put {
            before: Some(Stored::from(&value)),
            after: Stored::from(&value),
        },
    });
    assert!(encoded(&record).len() <= crate::limits::row_bytes_max(1024, 2048, 2048));
}
