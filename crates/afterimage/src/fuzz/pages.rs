//! Any page with the right checksum: either its check refuses it, or everything that reads and changes pages can use it.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::{Input, PAGE};
use crate::ids::{PageId, TableId};
use crate::page::{
    ADDRESS_BYTES, Address, ApplyError, Extent, FileHeader, Kind, LARGE, LeafCell, PLAIN, Page,
    PageOp, apply, check_op,
};

const FILE: u128 = 0xfeed;
const ID: PageId = PageId(7);
const TREE: TableId = TableId(16);

/// Pages of every kind, as they come about; whatever changes a page is tried on them.
pub(super) fn bases() -> &'static [Page] {
    static BASES: OnceLock<Vec<Page>> = OnceLock::new();
    BASES.get_or_init(|| {
        let address = Address {
            first: Extent {
                first: PageId(9),
                pages: 2,
            },
            len: 5000,
        };
        let address: [u8; ADDRESS_BYTES] = address.encode();
        let mut rows = Vec::new();
        for number in 0..9u8 {
            let key = [b"key".as_slice(), &[b'0' + number; 40]].concat();
            let (flags, value) = match number {
                3 => (LARGE, &address[..]),
                number => (PLAIN, &key[..usize::from(number) * 4]),
            };
            LeafCell {
                flags,
                key: &key,
                value,
            }
            .append_to(&mut rows);
        }
        let leaf = |low: Option<&'static [u8]>, high: Option<&'static [u8]>| PageOp::Format {
            id: ID,
            kind: Kind::Leaf,
            level: 0,
            tree: TREE,
            low: low.map(Cow::Borrowed),
            high: high.map(Cow::Borrowed),
            right: high.map(|_| PageId(8)),
            cells: rows.clone().into(),
        };
        let mut ops = vec![
            leaf(None, None),
            leaf(Some(b"key"), Some(b"kez")),
            PageOp::format_leaf(ID, TREE),
            PageOp::format_root(
                ID,
                TREE,
                1,
                &[(b"", PageId(50)), (b"key4", PageId(51)), (b"l", PageId(52))],
            ),
            PageOp::format_empty_map(PageId::FIRST_MAP),
            PageOp::FileHeader(FileHeader::new(PAGE as u32, FILE, 16)),
            PageOp::Free { id: ID },
        ];
        for next in [None, Some(address_extent())] {
            ops.push(PageOp::Overflow {
                id: ID,
                tree: TREE,
                position: 0,
                next,
                data: (&b"some of a large value"[..]).into(),
            });
        }
        let inner = PageOp::Format {
            id: ID,
            kind: Kind::Inner,
            level: 1,
            tree: TREE,
            low: Some((&b"prefix-a"[..]).into()),
            high: Some((&b"prefix-z"[..]).into()),
            right: Some(PageId(8)),
            // Behind the common prefix: the low fence's own rest, and two more.
            cells: [
                [&[0, 1, b'a'][..], &50u64.to_le_bytes()].concat(),
                [&[0, 1, b'k'][..], &51u64.to_le_bytes()].concat(),
                [&[0, 2, b'k', b'x'][..], &52u64.to_le_bytes()].concat(),
            ]
            .concat()
            .into(),
        };
        ops.push(inner);
        let made = ops.iter().map(|op| {
            let mut page = Page::new(PAGE);
            apply(&mut page, op).unwrap();
            page.check().unwrap();
            page
        });
        made.chain([Page::new(PAGE)]).collect()
    })
}

fn address_extent() -> Extent {
    Extent {
        first: PageId(70),
        pages: 3,
    }
}

/// The first byte says which page to begin with: all bytes from the input, or one of the bases and changes of it.
pub(super) fn page(data: &[u8]) {
    let mut input = Input(data);
    let which = usize::from(input.byte()) % (bases().len() + 1);
    let mut page = Page::new(PAGE);
    if which == 0 {
        let block = input.block(PAGE);
        page.bytes_mut().copy_from_slice(&block);
    } else {
        page = bases()[which - 1].clone();
        for _ in 0..8 {
            let at = input.short() % PAGE;
            let new = input.piece(24);
            let len = new.len().min(PAGE - at);
            page.bytes_mut()[at..at + len].copy_from_slice(&new[..len]);
        }
        // Half of them and all short inputs with heads that fit the keys, or no changed key would get past the check of the heads.
        if input.byte() % 2 == 0 {
            page.mend_heads();
        }
    }
    page.seal(FILE);
    if page.verify(FILE, page.id()).is_err() {
        return assert!(page.is_zero(), "a page that was sealed");
    }
    if page.check().is_err() {
        return;
    }
    read(&page);
    for op in changes(&page) {
        try_op(&page, &op);
    }
}

/// Puts the operation to the page: what is allowed is done, and leaves a page that is in order; what is not, changes nothing.
pub(super) fn try_op(page: &Page, op: &PageOp<'_>) {
    let mut changed = page.clone();
    let allowed = check_op(page, op);
    assert_eq!(apply(&mut changed, op), allowed, "{op:?}");
    match allowed {
        Ok(()) => {
            assert_eq!(changed.check(), Ok(()), "{op:?}");
            read(&changed);
        }
        Err(ApplyError::NoRoom { missing }) => assert!(missing > 0 && changed == *page),
        Err(_) => assert!(changed == *page, "{op:?}"),
    }
}

/// Asks a page that has passed its check everything that it may be asked.
fn read(page: &Page) {
    let _ = format!("{page:?}");
    let _ = (page.right_link(), page.lsn(), page.tree());
    match page.kind().unwrap() {
        Kind::Map => {
            let free = (0..page.map_len()).find(|&index| page.map_get(index) == 0);
            assert_eq!(page.find_free(0), free);
        }
        Kind::FileHeader => assert!(page.file_header().is_ok()),
        Kind::Overflow => {
            let _ = (page.overflow_position(), page.next_extent());
            assert!(!page.overflow_data().is_empty());
        }
        Kind::Free => assert_eq!(page.cell_count(), 0),
        kind => read_cells(page, kind),
    }
}

fn read_cells(page: &Page, kind: Kind) {
    let count = page.cell_count();
    let _ = (page.room(), page.fits_put(b"key", 9), page.fits_child(9));
    for index in 0..count {
        let key = page.key(index);
        assert!(page.covers(&key));
        assert_eq!(page.search(&key), Ok(index));
        if kind == Kind::Leaf {
            let cell = page.leaf_get(&key).unwrap();
            assert_eq!(cell, page.leaf_cell(index));
            let _ = (cell.stored().address(), page.fits_put(&key, 1000));
        } else {
            assert_eq!(page.child_for(&key), (index, page.child(index)));
        }
    }
    if count > 1 {
        let at = page.split_index();
        assert!((1..count).contains(&at), "a split of {count} at {at}");
        let _ = page.fits_split(at, page.key(at).len());
    }
    for key in [&b""[..], b"key", &[0xFF; 600]] {
        if page.covers(key) {
            let _ = page.search(key);
        }
    }
    let all = page.merged_bytes(page, &|_| true);
    assert!(page.merged_bytes(page, &|_| false) <= all);
}

/// What is done to pages, with keys that the page has and some that it has not.
fn changes(page: &Page) -> Vec<PageOp<'static>> {
    let slotted = page.kind().is_some_and(Kind::is_slotted);
    let has = |index: usize| match slotted && index < page.cell_count() {
        true => page.key(index).into_owned(),
        false => b"key5".to_vec(),
    };
    let keys = [
        has(0),
        has(1),
        has(page.cell_count() / 2),
        b"key2z".to_vec(),
    ];
    let mut ops = vec![
        PageOp::Free { id: page.id() },
        PageOp::RemoveCells {
            keys: vec![has(0).into(), has(1).into()],
        },
        PageOp::MapSet {
            first_index: 3,
            count: 5,
            bits: 1,
        },
    ];
    for key in keys.map(Cow::<'static, [u8]>::Owned) {
        for len in [0, 30, 1024] {
            ops.push(PageOp::PutCell {
                key: key.clone(),
                value: vec![b'v'; len].into(),
                flags: PLAIN,
            });
        }
        ops.extend([true, false].map(|ghost| PageOp::SetGhost {
            key: key.clone(),
            ghost,
        }));
        ops.push(PageOp::SplitLeft {
            separator: key.clone(),
            right: PageId(99),
        });
        ops.push(PageOp::InsertChild {
            separator: key.clone(),
            child: PageId(99),
        });
        ops.push(PageOp::RemoveChild { separator: key });
    }
    ops
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (n, base) in bases().iter().enumerate() {
        seeds.push([&[0], base.bytes()].concat());
        // Kind and level, count of cells, fences, the heap's last bytes.
        for (at, bytes) in [
            (6u16, &[3, 0][..]),
            (30, &[2, 0]),
            (48, &[0, 16, 3, 0]),
            (4090, &[1, 2, 3]),
        ] {
            let at = at.to_le_bytes();
            let head = [n as u8 + 1, at[0], at[1], bytes.len() as u8];
            seeds.push([&head, bytes].concat());
        }
    }
    seeds
}
