//! Every kind of record, byte for byte. If this test fails, logs that exist would no longer be understood: the change
//! needs a new format version, not a new golden value.

use super::*;
use crate::record::encode;

const FORMAT_DOC: &str = include_str!("../../../../../docs/format.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the log holds for an operation on page 7 in a structure change.
fn op_hex(op: PageOp<'_>) -> String {
    let mut out = Vec::new();
    op.encode(&mut out);
    hex(&out)
}

fn row(commit: bool, txn: Option<u64>, change: Change<'static>) -> Record<'static> {
    Record::Row(RowRecord {
        commit,
        txn: txn.map(lsn),
        prev: txn.map(|txn| lsn(txn + 100)),
        table: TableId(16),
        page: PageId(300),
        page_prev: Some(lsn(70_000)),
        key: b"key"[..].into(),
        change,
    })
}

fn clr(undo_next: Option<Lsn>) -> Record<'static> {
    Record::Clr(ClrRecord {
        txn: lsn(70_100),
        prev: lsn(70_200),
        undo_next,
        table: TableId(16),
        page: PageId(300),
        page_prev: None,
        key: b"key"[..].into(),
        change: Change::Delete {
            before: Stored::from(b""),
        },
    })
}

fn large() -> Stored<'static> {
    let first = Extent {
        first: PageId(300),
        pages: 2,
    };
    Address { first, len: 9000 }.stored()
}

#[test]
fn records() {
    let put = |before: Option<&'static [u8]>, after: &'static [u8]| Change::of(before, Some(after));
    let att = vec![AttEntry {
        txn: lsn(70_100),
        last: lsn(70_200),
        undo_next: Some(lsn(70_150)),
    }];
    let parts = vec![
        PagePart {
            page: PageId(300),
            page_prev: Some(lsn(70_000)),
            op: PageOp::split_left(b"m", PageId(301)),
        },
        PagePart {
            page: PageId(1),
            page_prev: None,
            op: PageOp::map_set(300, 1, true),
        },
    ];
    let records = [
        row(true, None, put(None, b"new")),
        row(false, Some(70_100), put(Some(b"old"), b"newer")),
        row(false, Some(70_100), Change::of(Some(b"gone"), None)),
        row(false, None, put(Some(b"0123456789"), b"0123x56789")),
        clr(Some(lsn(70_150))),
        clr(None),
        Record::Commit {
            txn: lsn(70_100),
            prev: lsn(70_200),
        },
        Record::End {
            txn: lsn(70_100),
            prev: lsn(70_200),
        },
        Record::Structure(Structure {
            kind: StructureKind::Split,
            parts,
        }),
        Record::CheckpointBegin,
        Record::CheckpointTables {
            att,
            dpt: vec![(PageId(300), lsn(70_000))],
        },
        Record::CheckpointEnd {
            begin: lsn(70_000),
            last_commit_time: 1_000_000,
        },
        Record::Begin,
        Record::UnloggedCommit,
        row(
            false,
            Some(70_100),
            Change::of(Some(Stored::from(b"old")), Some(large())),
        ),
        row(false, Some(70_100), Change::of(Some(large()), None)),
        row(
            false,
            Some(70_100),
            Change::of(Some(large()), Some(large())),
        ),
    ];
    let found: Vec<String> = records.iter().map(|record| hex(&encoded(record))).collect();
    assert_eq!(found, GOLDEN_RECORDS);
    for (bytes, record) in found.iter().zip(&records) {
        let bytes: Vec<u8> = (0..bytes.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).expect("hex"))
            .collect();
        assert_eq!(Record::decode(&bytes).as_ref(), Ok(record));
    }
}

#[test]
fn operations() {
    let found = [
        op_hex(PageOp::format_root(
            PageId(7),
            TableId(16),
            1,
            &[(b"", PageId(8)), (b"m", PageId(9))],
        )),
        op_hex(PageOp::PutCell {
            key: b"key"[..].into(),
            value: b"value"[..].into(),
            flags: 1,
        }),
        op_hex(PageOp::SetGhost {
            key: b"key"[..].into(),
            ghost: true,
        }),
        op_hex(PageOp::SetGhost {
            key: b"key"[..].into(),
            ghost: false,
        }),
        op_hex(PageOp::XorValue {
            key: b"key"[..].into(),
            runs: b"\x02\x01\xff"[..].into(),
        }),
        op_hex(PageOp::RemoveCells {
            keys: vec![b"a"[..].into(), b"bc"[..].into()],
        }),
        op_hex(PageOp::split_left(b"m", PageId(301))),
        op_hex(PageOp::insert_child(b"m", PageId(301))),
        op_hex(PageOp::map_set(300, 2, true)),
        op_hex(PageOp::Overflow {
            id: PageId(7),
            tree: TableId(16),
            position: 8192,
            next: Some(Extent {
                first: PageId(300),
                pages: 2,
            }),
            data: b"bytes"[..].into(),
        }),
        op_hex(PageOp::Overflow {
            id: PageId(7),
            tree: TableId(16),
            position: 0,
            next: None,
            data: b"bytes"[..].into(),
        }),
        op_hex(PageOp::RemoveChild {
            separator: b"m"[..].into(),
        }),
        op_hex(PageOp::Free { id: PageId(7) }),
    ];
    assert_eq!(found, GOLDEN_OPERATIONS);
}

/// The numbers `| n | name |` under a heading of docs/format.md.
fn numbers_under(heading: &str) -> Vec<(u8, String)> {
    let section = FORMAT_DOC
        .split(heading)
        .nth(1)
        .unwrap_or_else(|| panic!("docs/format.md has no {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
    };
    section.lines().filter_map(row).collect()
}

#[test]
fn the_document_states_the_kinds_of_the_code() {
    let kinds = [
        (encode::ROW, "row"),
        (encode::CLR, "CLR"),
        (encode::COMMIT, "commit"),
        (encode::END, "end"),
        (encode::STRUCTURE, "structure"),
        (encode::CHECKPOINT_BEGIN, "checkpoint begin"),
        (encode::CHECKPOINT_TABLES, "checkpoint tables"),
        (encode::CHECKPOINT_END, "checkpoint end"),
        (encode::BEGIN, "begin"),
        (encode::UNLOGGED_COMMIT, "unlogged commit"),
    ];
    assert_eq!(
        numbers_under("### Kinds of records\n"),
        kinds.map(|(kind, name)| (kind, name.to_owned()))
    );
    let forms = [
        (encode::INSERT, "a value where no row was"),
        (encode::UPDATE, "a value for another"),
        (encode::DELETE, "the row becomes a ghost"),
        (encode::XOR, "bytes of the value change"),
    ];
    assert_eq!(
        numbers_under("### Forms of changes\n"),
        forms.map(|(form, name)| (form, name.to_owned()))
    );
    let structures: Vec<_> = (0..=u8::MAX)
        .filter_map(|byte| {
            StructureKind::from_byte(byte).map(|kind| (byte, kind.name().to_owned()))
        })
        .collect();
    assert_eq!(
        numbers_under("### Kinds of structure changes\n"),
        structures
    );
    let operations: Vec<_> = crate::page::op::CODES
        .iter()
        .map(|&(code, name)| (code, name.to_owned()))
        .collect();
    assert_eq!(numbers_under("### Operations on a page\n"), operations);
}

const GOLDEN_RECORDS: [&str; 17] = [
    "010800f0a20410ac02036b6579036e6577",
    "0101d4a30465c70110ac02036b6579036f6c64056e65776572",
    "0102d4a30465c70110ac02036b657904676f6e65",
    "010300f0a20410ac02036b65790304014c",
    "0202d4a3046433a7c70810ac02036b657900",
    "0202d4a3046400a7c70810ac02036b657900",
    "03d4a30464",
    "04d4a30464",
    "050102ac02f0a20408016dad0201000a01ac0201",
    "06",
    "0701d4a304643301ac02f0a204",
    "08f0a204c0843d",
    "09",
    "0a",
    "0121d4a30465c70110ac02036b6579036f6c64142c01000000000000020000002823000000000000",
    "0112d4a30465c70110ac02036b6579142c01000000000000020000002823000000000000",
    "0131d4a30465c70110ac02036b6579142c01000000000000020000002823000000000000142c01000000000000020000002823000000000000",
];

const GOLDEN_OPERATIONS: [&str; 13] = [
    "010401001000150000080000000000000000016d0900000000000000",
    "0301036b65790576616c7565",
    "04036b6579",
    "05036b6579",
    "06036b6579030201ff",
    "07020161026263",
    "08016dad02",
    "09016dad02",
    "0a01ac0202",
    "0b10804002ac02056279746573",
    "0b100000056279746573",
    "0c016d",
    "0d",
];
