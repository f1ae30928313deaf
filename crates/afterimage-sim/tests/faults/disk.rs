//! Disks that lose writes, put them elsewhere, take long; and both copies of a page bad at once.

use super::*;
use afterimage_io::sim::{Body, CallKind, FailSync, RunEnd, Verdict};
use std::time::Duration;

const PAGE: u64 = 4096;

/// F22: a page that stands in another one's place.
#[test]
fn a_page_in_the_wrong_place_is_an_error() {
    let (image, right) = database(21, true);
    let pages = layout().path("pages");
    let count = image.len(&pages).expect("pages") / PAGE;
    let used = |n: &u64| image.read(&pages, n * PAGE, 8).is_some_and(|b| b != [0; 8]);
    let used: Vec<u64> = (0..count).filter(used).collect();
    let mut errors = 0;
    for (n, page) in used.iter().enumerate() {
        let other = used[(n + 1) % used.len()];
        let mut bad = image.clone();
        let bytes = image
            .read(&pages, other * PAGE, PAGE as usize)
            .expect("a page");
        bad.write_bytes(&pages, page * PAGE, &bytes);
        let found = look(&bad);
        assert_no_lie(
            &found,
            &right,
            &format!("page {other} in the place of {page}"),
        );
        errors += u32::from(!matches!(found, Found::Rows(_)));
    }
    assert!(errors > 8, "{errors} of {}", used.len());
}

/// F22: a write that was acknowledged, synced, and never arrived. The page that is there is whole, and older than the log says.
#[test]
fn a_lost_write_is_noticed_by_the_records_behind_it() {
    let sim = Sim::new(22);
    let db = open(&sim).expect("opens");
    (0..300).for_each(|n| put(&db, n, b'1'));
    db.checkpoint().expect("takes a checkpoint");
    db.checkpoint().expect("takes a checkpoint");
    let before = sim.snapshot().crash(&Survival::None);
    (0..300).for_each(|n| put(&db, n, b'2'));
    db.checkpoint().expect("takes a checkpoint");
    db.checkpoint().expect("takes a checkpoint");
    (0..300).for_each(|n| put(&db, n, b'3'));
    let right = rows(&db).expect("reads");
    sim.crash_now();
    drop(afterimage_sim::outcome::run(move || drop(db)));
    let image = sim.snapshot().crash(&Survival::None);
    assert!(matches!(look(&image), Found::Rows(rows) if rows == right));
    let pages = layout().path("pages");
    let (mut noticed, mut changed) = (0, 0);
    for n in 0..image.len(&pages).expect("pages") / PAGE {
        let old = before.read(&pages, n * PAGE, PAGE as usize);
        if old == image.read(&pages, n * PAGE, PAGE as usize) {
            continue;
        }
        changed += 1;
        let mut bad = image.clone();
        bad.write_bytes(&pages, n * PAGE, &old.expect("a page"));
        let found = look(&bad);
        assert_no_lie(&found, &right, &format!("page {n} is an older one"));
        noticed += u32::from(!matches!(found, Found::Rows(_)));
    }
    assert!(noticed > 3 && changed > 3, "{noticed} of {changed}");
}

/// F8. What there is of both stays as it is.
#[test]
fn a_page_whose_copy_is_bad_too_is_named() {
    let sim = Sim::new(23);
    let db = open(&sim).expect("opens");
    (0..40).for_each(|n| put(&db, n, b'1'));
    db.checkpoint().expect("takes a checkpoint");
    db.checkpoint().expect("takes a checkpoint");
    (0..40).for_each(|n| put(&db, n, b'2'));
    let mut writes = 0;
    sim.set_hook(Some(Box::new(move |info, _| {
        writes += u32::from(info.kind == CallKind::Write && info.path == "db/pages");
        if writes == 1 {
            Verdict::CrashAfter
        } else {
            Verdict::Continue
        }
    })));
    let end = afterimage_sim::outcome::run(|| db.checkpoint().and_then(|()| db.checkpoint()));
    assert!(matches!(end, Outcome::Crashed), "{end:?}");
    drop(afterimage_sim::outcome::run(move || drop(db)));
    let mut named = 0;
    for seed in 0..6 {
        let image = sim
            .snapshot()
            .crash(&Survival::TornLast { unit: 512, seed });
        let Found::Rows(right) = look(&image) else {
            panic!("a torn page is mended")
        };
        let copies = image.len("db/doublewrite").expect("an area");
        // With the header, and behind it.
        for from in [0, 4096] {
            let mut bad = image.clone();
            bad.write_bytes(
                "db/doublewrite",
                from,
                &vec![0xEE; (copies - from) as usize],
            );
            // What there is of the copies stays, for a second try.
            let found = look_strictly(&bad);
            assert_no_lie(&found, &right, "both are bad");
            if let Found::Refused(e) | Found::Unreadable(e) = &found {
                assert!(matches!(e, Error::PageCorrupt { .. }), "{e:?}");
                assert!(matches!(found, Found::Refused(_)), "{found:?}");
                named += 1;
            }
        }
    }
    assert!(named > 0);
}

/// F8. No record tells of what a clean stop does to page 0: so it is looked at by itself.
#[test]
fn a_first_page_that_nothing_mends_is_named() {
    let (closed, right) = database(29, true);
    // The power goes right behind the next open.
    let sim = Sim::from_image(3, &closed);
    let db = open(&sim).expect("opens");
    sim.crash_now();
    drop(afterimage_sim::outcome::run(move || drop(db)));
    let image = sim.snapshot().crash(&Survival::None);
    let mut torn = image.clone();
    torn.write_bytes("db/pages", 512, &[0xEE; 512]);
    // The stop wrote it last of all: its copy is still there.
    assert!(matches!(look(&torn), Found::Rows(rows) if rows == right));
    let copies = image.len("db/doublewrite").expect("an area");
    let pages = image.len("db/pages").expect("pages");
    for from in [0, 4096] {
        let rotten = vec![0xEE; (copies - from) as usize];
        let mut bad = torn.clone();
        bad.write_bytes("db/doublewrite", from, &rotten);
        let mut zeroed = image.clone();
        zeroed.write_bytes("db/doublewrite", from, &rotten);
        zeroed.write_bytes("db/pages", 0, &[0; 4096]);
        for image in [bad, zeroed] {
            match look_strictly(&image) {
                Found::Refused(Error::PageCorrupt { page: 0, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        // With a page 0 that is good, the copies are not needed.
        let mut whole = image.clone();
        whole.write_bytes("db/doublewrite", from, &rotten);
        assert!(matches!(look(&whole), Found::Rows(rows) if rows == right));
    }
    assert!(pages > 4096);
}

/// F17. No record tells of what a clean stop does to page 0. Where one of the stop's syncs fails, the next process reads from the cache what the
/// disk does not have, and works on; then the power goes.
#[test]
fn a_stamp_that_is_lost_behind_a_failed_sync_is_not_missed() {
    let mut stops = 0;
    for (syncs, atomic) in (0..4).flat_map(|n| [(n, None), (n, Some(4096..=4096))]) {
        let sim = Sim::new(31);
        sim.set_atomic_writes(atomic.clone());
        let db = open(&sim).expect("opens");
        (0..40).for_each(|n| put(&db, n, b'1'));
        sim.fail_sync(FailSync::next().on("db/pages").after(syncs));
        if db.close().is_ok() {
            continue;
        }
        stops += 1;
        let sim = Sim::from_state(32, &sim.snapshot().restart());
        sim.set_atomic_writes(atomic);
        let db = open(&sim).expect("opens");
        drop(db.table("changes the first page").expect("creates"));
        sim.crash_now();
        drop(afterimage_sim::outcome::run(move || drop(db)));
        let sim = Sim::from_image(33, &sim.snapshot().crash(&Survival::None));
        let db = open(&sim).unwrap_or_else(|e| panic!("after {syncs} syncs: {e}"));
        assert_eq!(rows(&db).expect("reads").len(), 40);
        assert_eq!(db.tables().expect("lists").len(), 2);
    }
    assert!(stops >= 4, "{stops}");
}

/// F25: each sync takes five seconds, some a minute. Everybody waits, nobody is told anything wrong, and it ends.
#[test]
fn a_disk_that_takes_seconds_for_a_sync_only_takes_long() {
    let sim = Sim::new(24);
    let db = open(&sim).expect("opens");
    drop(db.table(TABLE).expect("makes the table"));
    let clock = sim.clone();
    sim.set_hook(Some(Box::new(move |info, _| {
        if info.kind.syncs() {
            clock.advance_clock(Duration::from_secs(if info.index.is_multiple_of(9) {
                60
            } else {
                5
            }));
        }
        Verdict::Continue
    })));
    let work = |who: u32, db: Database| -> Body {
        let body = move || {
            for n in 0..12 {
                put(&db, who * 20 + n, b'0' + who as u8);
                let _ = db.step().expect("steps");
            }
        };
        (format!("client {who}"), Box::new(body))
    };
    let end = sim.run_threads((0..3).map(|who| work(who, db.clone())).collect());
    assert_eq!(end, RunEnd::Finished);
    assert_eq!(rows(&db).expect("reads").len(), 36);
    db.close().expect("closes");
    let Found::Rows(found) = look(&sim.snapshot().crash(&Survival::None)) else {
        panic!("it is there")
    };
    assert_eq!(found.len(), 36);
}
