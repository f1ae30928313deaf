//! Pages and records that lie, with checksums that are right, as no engine writes them: each costs an error that says where, and
//! neither a panic nor a wait without end. One test for each kind of lie that the fuzzer and its reviewer have found; to be
//! built with the crate, for nobody outside it can make such a page.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use afterimage_io::OpenMode;
use afterimage_io::sim::Sim;
use afterimage_log::{Log, Lsn};

use super::Database;
use crate::error::Error;
use crate::ids::{PageId, TableId};
use crate::limits::CELL_ENTRY_BYTES;
use crate::options::Options;
use crate::page::{Extent, Page, PageOp, USED, apply, check_op};
use crate::record::{Change, ClrRecord, Record, RowRecord};
use crate::transaction::{Chain, undo_record};

const PAGE: usize = 4096;
const ROWS: u32 = 130;

/// A closed database with one table, whose tree has three levels.
struct Victim {
    sim: Sim,
    /// The pages of the table, by level, in the order of their keys.
    levels: [Vec<Page>; 3],
}

/// Long keys that differ at their end make a high tree of few rows.
fn key(n: u32) -> Vec<u8> {
    [vec![b'k'; 400], format!("{n:04}").into_bytes()].concat()
}

fn open(sim: &Sim) -> Database {
    let options = Options::new().io(sim.io()).background(false);
    let options = options.page_size(PAGE).buffer_pool_size(40 * PAGE as u64);
    options.open("d").unwrap()
}

impl Victim {
    fn new() -> Victim {
        let sim = Sim::new(1);
        let db = open(&sim);
        let table = db.table("t").unwrap();
        for n in 0..ROWS {
            db.put(&table, &key(n), &[7; 60]).unwrap();
        }
        drop(table);
        db.close().unwrap();
        let mut victim = Victim {
            sim,
            levels: Default::default(),
        };
        let file = victim.sim.io();
        let file = file.open(Path::new("d/pages"), OpenMode::Read).unwrap();
        let pages = file.len().unwrap() / PAGE as u64;
        let of_table = |id: u64| Some(victim.page(id)).filter(|p| p.tree() >= TableId::FIRST_USER);
        let root = (0..pages).filter_map(of_table).max_by_key(Page::level);
        let children = |pages: &[Page]| -> Vec<Page> {
            let of =
                |p: &Page| -> Vec<u64> { (0..p.cell_count()).map(|n| p.child(n).get()).collect() };
            let ids = pages.iter().flat_map(of);
            ids.map(|id| victim.page(id)).collect()
        };
        let top = vec![root.unwrap()];
        let middle = children(&top);
        victim.levels = [children(&middle), middle, top];
        assert_eq!(victim.levels[2][0].level(), 2, "the tree has three levels");
        victim
    }

    fn file(&self) -> afterimage_io::File {
        let io = self.sim.io();
        io.open(Path::new("d/pages"), OpenMode::ReadWrite).unwrap()
    }

    fn page(&self, id: u64) -> Page {
        let mut page = Page::new(PAGE);
        let read = self
            .file()
            .read_exact_at(id * PAGE as u64, page.bytes_mut());
        read.unwrap();
        page
    }

    /// Writes a page that lies, sealed as the engine does it.
    fn put(&self, mut page: Page) {
        let header = self.page(0).file_header().unwrap();
        let at = page.id().get() * PAGE as u64;
        page.seal(header.file_id);
        self.file().write_all_at(at, page.bytes()).unwrap();
    }
}

/// Makes `child` the `n`-th child of an inner page.
fn set_child(page: &mut Page, n: usize, child: PageId) {
    let at = |page: &Page, at: usize| {
        usize::from(page.bytes()[at]) | usize::from(page.bytes()[at + 1]) << 8
    };
    let cell = at(page, 96 + CELL_ENTRY_BYTES * n);
    // Flags, the length of the key in seven bits a byte, the key.
    let (len, head) = match page.bytes()[cell + 1] {
        low @ 0x80.. => (
            usize::from(low & 0x7F) | usize::from(page.bytes()[cell + 2]) << 7,
            3,
        ),
        len => (usize::from(len), 2),
    };
    let from = cell + head + len;
    page.bytes_mut()[from..from + 8].copy_from_slice(&child.get().to_le_bytes());
    assert_eq!(page.child(n), child);
}

/// An error of damage that says this.
fn assert_says<T>(result: Result<T, Error>, what: &str) {
    let error = result.err().expect("refused");
    assert!(error.is_corruption(), "{error:?}");
    assert!(error.to_string().contains(what), "{error}");
}

/// Frees the pages of the table, as is done once it has been dropped, until an error says that it cannot be.
fn free_all(db: &Database) -> Result<(), Error> {
    let system = &db.shared().system;
    let tree = system.catalogue.by_name("t").unwrap();
    for _ in 0..1000 {
        let pending = &system.catalogue.pending;
        tree.free_page(&system.pager, pending, b"no such entry")?;
    }
    panic!("more pages than there are");
}

#[test]
fn an_inner_page_with_a_child_that_none_can_have_is_refused() {
    let says = "a child that no inner page can have";
    let victim = Victim::new();
    let middle = &victim.levels[1][0];
    for child in [middle.id(), PageId::FIRST_MAP] {
        let mut lying = middle.clone();
        set_child(&mut lying, 0, child);
        victim.put(lying);
        let db = open(&victim.sim);
        let table = db.table("t").unwrap();
        assert_says(db.get(&table, &key(0)), says);
        assert_says(db.put(&table, &key(0), b"new"), says);
        drop((db, table));
        // The log can lie as well.
        let op = PageOp::InsertChild {
            separator: middle.key(1).into_owned()[..403].to_vec().into(),
            child,
        };
        let refused = check_op(middle, &op).expect_err("refused");
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[test]
fn a_page_that_is_a_child_twice_is_merged_with_no_other() {
    let victim = Victim::new();
    let mut lying = victim.levels[1][0].clone();
    let twice = lying.child(1);
    set_child(&mut lying, 2, twice);
    victim.put(lying);
    let db = open(&victim.sim);
    let system = &db.shared().system;
    let tree = system.catalogue.by_name("t").unwrap();
    let key = victim.page(twice.get()).key(0).into_owned();
    let merged = tree.merge_at(&system.pager, &key, &|_| true);
    assert_says(merged.map(|_| ()), "its parent has it for a child twice");
}

#[test]
fn a_page_that_is_free_is_not_freed_again() {
    let victim = Victim::new();
    let (mut map, leaf) = (victim.page(1), victim.levels[0].last().unwrap().id());
    let index = (leaf.get() - 1) as u32;
    assert_ne!(map.map_get(index) & USED, 0);
    apply(&mut map, &PageOp::map_set(index, 1, false)).unwrap();
    victim.put(map);
    let db = open(&victim.sim);
    assert_says(free_all(&db), "are to become free, and are not all in use");
}

#[test]
fn an_extent_that_ends_beyond_all_numbers_is_refused() {
    let overflow = |next| PageOp::Overflow {
        id: PageId(9),
        tree: TableId::FIRST_USER,
        position: 0,
        next: Some(next),
        data: b"of a large value".into(),
    };
    let (last, pages) = (PageId(u64::MAX - 2), 3);
    let mut page = Page::new(PAGE);
    let beyond = overflow(Extent { first: last, pages });
    let refused = check_op(&page, &beyond).expect_err("refused");
    assert!(
        refused.to_string().contains("no large value can have"),
        "{refused}"
    );
    let first = PageId(7);
    apply(&mut page, &overflow(Extent { first, pages })).unwrap();
    page.check().unwrap();
    page.bytes_mut()[32..40].copy_from_slice(&last.get().to_le_bytes());
    let refused = page.check().expect_err("refused");
    assert!(
        refused.to_string().contains("an extent that no file has"),
        "{refused}"
    );
}

#[test]
fn a_dropped_tree_that_leads_in_circles_is_refused() {
    let victim = Victim::new();
    let (root, mut lying) = (
        &victim.levels[2][0],
        victim.levels[1].last().unwrap().clone(),
    );
    let last = lying.cell_count() - 1;
    set_child(&mut lying, last, root.id());
    victim.put(lying);
    let db = open(&victim.sim);
    assert_says(free_all(&db), "it is not a page of the dropped tree");
}

#[test]
fn a_chain_of_undo_that_leads_forward_is_refused() {
    let sim = Sim::new(2);
    let db = open(&sim);
    let table = db.table("t").unwrap();
    db.put(&table, b"row", b"value").unwrap();
    let system = &db.shared().system;
    let log = &system.pager.log;
    let ahead = Lsn::new(log.next_lsn().get() + 100_000);
    let (txn, page) = (log.oldest_lsn(), PageId(4));
    let change = Change::Delete {
        before: b"value".into(),
    };
    let row = Record::Row(RowRecord {
        commit: false,
        txn: Some(txn),
        prev: ahead,
        table: TableId::FIRST_USER,
        page,
        page_prev: None,
        key: b"row"[..].into(),
        change: change.clone(),
    });
    let clr = Record::Clr(ClrRecord {
        txn,
        prev: txn,
        undo_next: ahead,
        table: TableId::FIRST_USER,
        page,
        page_prev: None,
        key: b"row"[..].into(),
        change,
    });
    for record in [row, clr] {
        assert_eq!(record.pages().count(), 1);
        let mut payload = Vec::new();
        record.encode(&mut payload);
        let mut space = log.reserve(Log::frame_bytes(payload.len(), false)).unwrap();
        let at = log.append(&mut space, &payload, false, |_, _| ()).unwrap();
        let mut space = system.undo_step_space().unwrap();
        let mut chain = Chain {
            id: txn,
            last: at.lsn,
        };
        let visited = undo_record(system, &mut space, &mut chain, at.lsn);
        assert_says(visited.map(|_| ()), "undo only goes back");
    }
    // What was appended belongs to no page.
    sim.crash_now();
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
        || drop((db, table)),
    )));
}

/// Pages behind the end that somebody cut off are in use, whatever the file grows by.
#[test]
fn a_file_that_was_cut_grows_by_no_page_in_use() {
    let victim = Victim::new();
    let db = open(&victim.sim);
    let inside = db.enter().unwrap();
    let pager = &inside.system.pager;
    let used = |pages: u64| {
        let map = victim.page(1);
        (0..pages as u32 - 1)
            .filter(|&n| map.map_get(n) & USED != 0)
            .count() as u64
    };
    let (before, _) = pager.page_counts();
    let cut = before / 2;
    assert!(used(before) > used(cut), "there are such pages");
    victim.file().set_len(cut * PAGE as u64).unwrap();
    pager.forget_free_pages(cut);
    // It grows by so many, of which some are in use; who needs more asks again.
    for _ in 0..10 {
        pager.ensure_free_pages(30).unwrap();
    }
    let (after, free) = pager.page_counts();
    assert!(free >= 30);
    assert_eq!(free, after - cut - (used(after) - used(cut)));
}
