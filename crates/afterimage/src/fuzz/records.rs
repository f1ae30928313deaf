//! Any record body: what can be read is written the same again, and its operations either fit a page or are refused.

use super::pages::{bases, try_op};
use crate::ids::{PageId, TableId};
use crate::page::{Page, PageOp};
use crate::record::{
    AttEntry, Change, ClrRecord, PagePart, Record, RowRecord, Structure, StructureKind,
    encode_tables,
};
use afterimage_log::Lsn;

pub(super) fn record(data: &[u8]) {
    let _ = crate::inspect::kind(data);
    let Ok(record) = Record::decode(data) else {
        return;
    };
    let mut again = Vec::new();
    record.encode(&mut again);
    assert_eq!(again, data);
    let own = Lsn::new(1 << 40).unwrap();
    let _ = (record.name(), record.txn(own), record.prev());
    record.for_each_page(|_, _, op| bases().iter().for_each(|page: &Page| try_op(page, &op)));
}

fn lsn(value: u64) -> Lsn {
    Lsn::new(value).unwrap()
}

/// Every kind of record, and every kind of operation that the log can hold.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let put = |before: Option<&'static [u8]>, after: &'static [u8]| Change::Put {
        before: before.map(Into::into),
        after: after.into(),
    };
    let row = |change: Change<'static>, first: bool| {
        Record::Row(RowRecord {
            commit: first,
            txn: (!first).then(|| lsn(70_000)),
            prev: (!first).then(|| lsn(70_100)),
            table: TableId(16),
            page: PageId(7),
            page_prev: Some(lsn(69_000)),
            key: (&b"key55"[..]).into(),
            change,
        })
    };
    let mut records = vec![
        Record::Begin,
        Record::UnloggedCommit,
        Record::CheckpointBegin,
        Record::Commit {
            txn: lsn(70_000),
            prev: lsn(70_100),
        },
        Record::End {
            txn: lsn(70_000),
            prev: lsn(70_100),
        },
        Record::CheckpointEnd {
            begin: lsn(70_000),
            last_commit_time: 5,
        },
        row(put(None, b"value"), true),
        row(put(Some(b"old"), b"value"), false),
        row(
            Change::Delete {
                before: (&b"old"[..]).into(),
            },
            false,
        ),
        Record::Clr(ClrRecord {
            txn: lsn(70_000),
            prev: lsn(70_100),
            undo_next: Some(lsn(70_050)),
            table: TableId(16),
            page: PageId(7),
            page_prev: None,
            key: (&b"key55"[..]).into(),
            change: put(Some(b"value"), b"old"),
        }),
    ];
    let id = PageId(7);
    let ops = [
        PageOp::format_leaf(id, TableId(16)),
        PageOp::format_root(id, TableId(16), 1, &[(b"", PageId(50)), (b"k", PageId(51))]),
        PageOp::format_empty_map(PageId::FIRST_MAP),
        PageOp::FileHeader(crate::page::FileHeader::new(4096, 7, 16)),
        PageOp::Free { id },
        PageOp::map_set(9, 4, true),
        PageOp::put_cell(b"key", b"value"),
        PageOp::insert_child(b"key", PageId(60)),
        PageOp::RemoveChild {
            separator: (&b"key4"[..]).into(),
        },
        PageOp::SplitLeft {
            separator: (&b"key4"[..]).into(),
            right: PageId(60),
        },
        PageOp::Overflow {
            id,
            tree: TableId(16),
            position: 0,
            next: None,
            data: (&b"bytes"[..]).into(),
        },
    ];
    records.extend(ops.map(|op| {
        let parts = vec![PagePart {
            page: id,
            page_prev: None,
            op,
        }];
        Record::Structure(Structure {
            kind: StructureKind::Split,
            parts,
        })
    }));
    let mut seeds: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes
        })
        .collect();
    let att = [AttEntry {
        txn: lsn(70_000),
        last: lsn(70_100),
        undo_next: Some(lsn(70_050)),
    }];
    let dpt = [(PageId(3), lsn(69_000)), (PageId(9), lsn(69_500))];
    seeds.extend(encode_tables(&att, &dpt, 4096));
    seeds
}
