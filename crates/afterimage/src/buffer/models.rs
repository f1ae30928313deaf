//! The pool and its frames under loom and shuttle: pinning against eviction, marking dirty against a home write, a load that
//! fails against those who wait for it. Built only for them.
//!
//! A page of the models bears its own number as its LSN, so that whoever looks sees whose bytes they are.

use std::cell::Cell;
use std::sync::Arc;

use afterimage_io::Io;
use afterimage_io::sync::atomic::{AtomicU64, Ordering};
use afterimage_log::Lsn;

use super::permits::Permits;
use super::pool::Pool;
use crate::ids::{PageId, TableId};
use crate::models::check;
use crate::page::{Kind, PageOp, apply};

const ONE: PageId = PageId(10);
const OTHER: PageId = PageId(11);

fn lsn(n: u64) -> Lsn {
    Lsn::new(n).expect("not zero")
}

/// Puts the page into an empty frame, if there is one; false if there is none, or the page is there.
fn load(pool: &Pool, page: PageId) -> bool {
    let Some(mut frame) = pool.take_frame().and_then(|blank| blank.install(page)) else {
        return false;
    };
    frame.clear();
    frame.set_lsn(lsn(page.get()));
    true
}

/// A pool of one frame, in which a page is.
fn pool(io: &Io) -> Arc<Pool> {
    let pool = Arc::new(Pool::new(io, 1, 4096));
    assert!(load(&pool, ONE));
    // Once round for the hand, so that the frame counts as not used.
    let pin = pool.pin(ONE);
    assert!(!load(&pool, OTHER), "a pinned page stays");
    drop(pin);
    pool
}

/// Whoever waits for a permit gets it, also where two wait: nobody is woken where nobody is said to wait.
#[test]
fn a_permit_that_comes_back_is_taken() {
    check(|| {
        let io = Io::os();
        let permits = Arc::new(Permits::new(&io, 1));
        let inside = Arc::new(AtomicU64::new(0));
        let work = |permits: &Permits, inside: &AtomicU64| {
            let permit = permits.take();
            assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0, "one permit");
            inside.fetch_sub(1, Ordering::AcqRel);
            drop(permit);
        };
        let others = ["one", "another"].map(|name| {
            let shared = (Arc::clone(&permits), Arc::clone(&inside));
            io.spawn(name, move || work(&shared.0, &shared.1))
        });
        work(&permits, &inside);
        for other in others {
            other.expect("a thread").join().expect("no panic");
        }
    });
}

#[test]
fn a_pinned_page_is_not_evicted() {
    check(|| {
        let io = Io::os();
        let pool = pool(&io);
        let shared = Arc::clone(&pool);
        let loader = io.spawn("loader", move || _ = load(&shared, OTHER));
        if let Some(page) = pool.shared(ONE) {
            assert_eq!(page.lsn(), Some(lsn(ONE.get())), "another page's bytes");
        }
        loader.expect("a thread").join().expect("no panic");
        let held = [ONE, OTHER].map(|page| pool.pin(page).is_some());
        assert!(held[0] != held[1], "one frame holds one page: {held:?}");
    });
}

#[test]
fn a_dirty_page_is_not_evicted() {
    check(|| {
        let io = Io::os();
        let pool = pool(&io);
        let shared = Arc::clone(&pool);
        let loader = io.spawn("loader", move || _ = load(&shared, OTHER));
        let page = pool.exclusive(ONE);
        let marked = page.map(|page| page.mark_dirty(lsn(700))).is_some();
        loader.expect("a thread").join().expect("no panic");
        let dirty = pool.dirty().oldest(usize::MAX, None);
        assert_eq!(dirty.len(), usize::from(marked), "{dirty:?}");
        assert_eq!(pool.is_dirty(ONE), marked);
        assert_eq!(pool.pin(OTHER).is_none(), marked);
    });
}

/// What a checkpoint reads: a page is in the table when the record that changes it is in the log.
#[test]
fn a_page_is_in_the_table_before_its_record_is_in_the_log() {
    check(|| {
        let io = Io::os();
        let pool = pool(&io);
        let appended = Arc::new(AtomicU64::new(0));
        let (shared, log) = (Arc::clone(&pool), Arc::clone(&appended));
        let writer = io.spawn("writer", move || {
            let page = shared.exclusive(ONE);
            let mut page = page.expect("nobody evicts");
            page.mark_dirty(lsn(700));
            log.store(700, Ordering::Release);
            page.set_lsn(lsn(700));
        });
        if appended.load(Ordering::Acquire) == 700 {
            assert_eq!(pool.dirty().oldest(usize::MAX, None), [(ONE, lsn(700))]);
        }
        writer.expect("a thread").join().expect("no panic");
    });
}

/// A change comes before the copy is taken, and is in it; or after it, and the page stays dirty from there on.
#[test]
fn a_change_beside_a_home_write_is_not_forgotten() {
    check(|| {
        let io = Io::os();
        let pool = pool(&io);
        let mark = |pool: &Pool, at: u64| {
            let page = pool.exclusive(ONE);
            let mut page = page.expect("a dirty page stays");
            page.mark_dirty(lsn(at));
            page.set_lsn(lsn(at));
        };
        mark(&pool, 600);
        let shared = Arc::clone(&pool);
        let writer = io.spawn("writer", move || mark(&shared, 700));
        let page = pool.shared(ONE);
        let page = page.expect("a dirty page stays");
        let copied = page.lsn();
        let write = page.begin_write();
        write.end_write();
        drop(write);
        writer.expect("a thread").join().expect("no panic");
        let left = pool.dirty().oldest(usize::MAX, None);
        if copied == Some(lsn(700)) {
            assert_eq!(left, [], "all of it is home");
        } else {
            assert_eq!(left, [(ONE, lsn(700))], "the change is not");
        }
    });
}

/// Who changes a child and its parent holds both latches: so a guess that holds has led to the child as it was when the parent was copied, or
/// as somebody has left it who did not touch the parent.
#[test]
fn a_guess_holds_as_long_as_the_parent_is_as_it_was() {
    check(|| {
        let io = Io::os();
        let pool = Arc::new(Pool::new(&io, 2, 4096));
        assert!(load(&pool, ONE) && load(&pool, OTHER));
        let change = |pool: &Pool, to: u64| {
            let mut parent = pool.exclusive(ONE).expect("nobody evicts");
            let mut child = pool.exclusive(OTHER).expect("nobody evicts");
            parent.set_lsn(lsn(to));
            child.set_lsn(lsn(to));
        };
        {
            let mut parent = pool.exclusive(ONE).expect("nobody evicts");
            let above_leaves = PageOp::Format {
                id: ONE,
                kind: Kind::Inner,
                level: 1,
                tree: TableId::FIRST_USER,
                low: None,
                high: None,
                right: None,
                cells: [0, 0, 11, 0, 0, 0, 0, 0, 0, 0].as_slice().into(),
            };
            apply(&mut parent, &above_leaves).expect("a format always applies");
        }
        change(&pool, 600);
        pool.offer(&pool.shared(ONE).expect("nobody evicts"));
        let shared = Arc::clone(&pool);
        let writer = io.spawn("writer", move || change(&shared, 700));
        let copied = Cell::new(None);
        let guess = pool.guess(ONE, 0, |fan| {
            copied.set(fan.page().lsn());
            Some(fan.page().child(0))
        });
        if let Some(guess) = guess {
            assert_eq!((guess.child, copied.get()), (OTHER, Some(lsn(600))));
            let child = pool.shared(guess.child).expect("nobody evicts");
            assert!(!guess.holds() || child.lsn() == copied.get());
        }
        writer.expect("a thread").join().expect("no panic");
    });
}

/// Whoever takes an empty frame has it alone, though others look at it while it is filled.
#[test]
fn two_who_want_the_last_frame_do_not_both_get_it() {
    check(|| {
        let io = Io::os();
        let pool = Arc::new(Pool::new(&io, 1, 4096));
        let shared = Arc::clone(&pool);
        let loader = io.spawn("loader", move || _ = load(&shared, OTHER));
        load(&pool, ONE);
        loader.expect("a thread").join().expect("no panic");
        let found = [ONE, OTHER].map(|page| {
            let pinned = pool.pin(page);
            pinned.map(|pin| pin.shared().and_then(|page| page.lsn()))
        });
        for (page, found) in [ONE, OTHER].iter().zip(found) {
            assert!(
                found.is_none_or(|lsn| lsn.map(Lsn::get) == Some(page.get())),
                "{found:?}"
            );
        }
        assert!(
            found[0].is_some() != found[1].is_some(),
            "one frame holds one page: {found:?}"
        );
    });
}

#[test]
fn a_load_that_fails_is_seen_by_those_who_wait_for_it() {
    check(|| {
        let io = Io::os();
        let pool = Arc::new(Pool::new(&io, 1, 4096));
        let shared = Arc::clone(&pool);
        let loader = io.spawn("loader", move || {
            let frame = shared.take_frame().and_then(|blank| blank.install(ONE));
            frame.expect("nobody else loads").discard();
        });
        let seen = pool.shared(ONE);
        assert!(seen.is_none(), "a page that was not loaded");
        drop(seen);
        loader.expect("a thread").join().expect("no panic");
        assert!(pool.pin(ONE).is_none());
        assert!(load(&pool, OTHER), "the frame is free again");
    });
}
