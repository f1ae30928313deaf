//! Large numbers, on disks that are sparse: log positions around 2^31, 2^32, 2^48 and 2^63, pages beyond 4 TiB. Crashed and
//! recovered there.

use afterimage::{Database, Options, Progress};
use afterimage_io::sim::{CallKind, DiskState, Image, Sim, Survival, Verdict};
use afterimage_sim::bytes::crc32c;
use afterimage_sim::check::World;
use afterimage_sim::model::Rows;
use afterimage_sim::oracle::Layout;
use afterimage_sim::outcome;
use std::sync::{Arc, Mutex};

fn rows(db: &Database) -> Rows {
    let table = db.table("rows").expect("opens the table");
    let mut tx = db.begin();
    let scan = tx.scan::<[u8], _>(&table, ..).expect("scans");
    scan.collect::<afterimage::Result<_>>().expect("reads")
}

/// The same rows written again and again, with checkpoints and background work: the log goes through segments.
fn go_on(db: &Database, rounds: u32) {
    let table = db.table("rows").expect("opens the table");
    for n in 0..rounds {
        let mut tx = db.begin();
        for i in 0..3 {
            let key = format!("k{:02}", (n * 3 + i) % 20);
            tx.put(&table, key.as_bytes(), &vec![b'a' + (n % 26) as u8; 700])
                .expect("puts");
        }
        tx.commit().expect("commits");
        if n % 40 == 39 {
            db.checkpoint().expect("takes a checkpoint");
        }
        while n % 10 == 0 && db.step().expect("steps") == Progress::Worked {}
    }
}

/// The log begins two segments before the position `border` and goes beyond it. The power goes at many calls on the way, and
/// each time everything that was acknowledged is there, also after working on.
fn crosses(border: u64) {
    let layout = Layout::small();
    let first = border / layout.segment_bytes - 2;
    let options = |sim: &Sim| -> Options {
        afterimage_sim::engine::small_options(&layout, &sim.io()).first_wal_segment(first)
    };
    let world = World::of(&layout, Sim::new(border));
    let db = options(&world.sim).open(&layout.directory).expect("opens");
    drop(db.table("rows").expect("makes the table"));
    let begun = db.stats().next_lsn;
    assert!(begun < border && border - begun < 3 * layout.segment_bytes);
    let kept: Arc<Mutex<Vec<DiskState>>> = Arc::default();
    let sink = Arc::clone(&kept);
    let mut calls = 0u64;
    world.sim.set_hook(Some(Box::new(move |info, disk| {
        calls += 1;
        if calls.is_multiple_of(37) || info.kind == CallKind::Rename {
            sink.lock().expect("one thread").push(disk.clone());
        }
        Verdict::Continue
    })));
    go_on(&db, 160);
    assert!(db.stats().next_lsn > border, "{}", db.stats().next_lsn);
    world.sim.set_hook(None);
    world.oracles.verdict().expect("no objection");
    let right = rows(&db);
    world.sim.crash_now();
    drop(outcome::run(move || drop(db)));
    kept.lock().expect("one thread").push(world.sim.snapshot());
    let states = std::mem::take(&mut *kept.lock().expect("one thread"));
    assert!(states.len() > 10, "{}", states.len());
    let last = states.len() - 1;
    for (n, disk) in states.iter().enumerate() {
        for survival in [Survival::None, Survival::TornLast { unit: 512, seed: 1 }] {
            let world = World::boot(&layout, disk.crash(&survival));
            let db = options(&world.sim)
                .open(&layout.directory)
                .expect("recovers");
            if n == last {
                assert_eq!(rows(&db), right);
            }
            go_on(&db, 12);
            assert!(db.verify().expect("verifies").is_clean());
            let found = rows(&db);
            db.close().expect("closes");
            world.oracles.verdict().expect("no objection");
            let image = world.sim.snapshot().crash(&Survival::None);
            let world = World::boot(&layout, image);
            let db = options(&world.sim).open(&layout.directory).expect("opens");
            assert!(db.recovery_report().clean);
            assert_eq!(rows(&db), found);
        }
    }
}

#[test]
fn log_positions_around_two_to_the_31() {
    crosses(1 << 31);
}

#[test]
fn log_positions_around_two_to_the_32() {
    crosses(1 << 32);
}

#[test]
fn log_positions_around_two_to_the_48() {
    crosses(1 << 48);
}

#[test]
fn log_positions_around_two_to_the_63() {
    crosses(1 << 63);
}

const PAGE: usize = 64 << 10;
/// Pages that one map speaks for.
const MAP: u64 = 2 * PAGE as u64;
const PAGES: &str = "db/pages";

fn large_pages(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(PAGE)
        .buffer_pool_size(8 * PAGE as u64)
        .wal_segment_size(1 << 20)
        .max_wal_size(8 << 20)
}

/// Makes a file of more than 4 TiB of it: all that the first maps speak for is in use, by nobody; behind that there is room.
fn stretch(image: &mut Image) -> u64 {
    let header = image.read(PAGES, 0, PAGE).expect("a header");
    let sum = |id: &[u8], number: u64, page: &[u8]| {
        crc32c(&[id, &number.to_le_bytes(), &page[4..]]).to_le_bytes()
    };
    let id = (0..4096)
        .map(|at| &header[at..at + 16])
        .find(|id| sum(id, 0, &header) == header[..4])
        .expect("the header names the file");
    let mut map = image.read(PAGES, PAGE as u64, PAGE).expect("a map");
    map[96..96 + PAGE / 2].fill(0x55);
    let full = (4u64 << 40) / (MAP * PAGE as u64);
    for n in 0..=full {
        let number = 1 + n * MAP;
        map[8..16].copy_from_slice(&number.to_le_bytes());
        if n == full {
            map[96..].fill(0);
            map[96] = 1;
        }
        let sum = sum(id, number, &map);
        map[..4].copy_from_slice(&sum);
        image.write_bytes(PAGES, number * PAGE as u64, &map);
    }
    let end = (1 + full * MAP + 24) * PAGE as u64;
    image.set_len(PAGES, end);
    end
}

#[test]
fn pages_beyond_four_tebibytes() {
    let sim = Sim::new(1);
    let db = large_pages(&sim).open("db").expect("opens");
    go_on(&db, 10);
    db.close().expect("closes");
    // Behind a clean stop the file would have to be as long as it was then.
    let db = large_pages(&sim).open("db").expect("opens");
    sim.crash_now();
    drop(outcome::run(move || drop(db)));
    let mut image = sim.snapshot().crash(&Survival::None);
    let end = stretch(&mut image);
    let sim = Sim::from_image(2, &image);
    let db = large_pages(&sim).open("db").expect("opens");
    let table = db.table("rows").expect("opens the table");
    for n in 0..30u8 {
        db.put(&table, &[b'v', n], &vec![n; 100_000]).expect("puts");
        if n % 10 == 3 {
            db.checkpoint().expect("takes a checkpoint");
        }
    }
    let right = rows(&db);
    assert_eq!(right.len(), 50);
    sim.crash_now();
    drop(outcome::run(move || drop((table, db))));
    let disk = sim.snapshot();
    let beyond = |image: &Image| {
        let len = image.len(PAGES).expect("pages");
        assert!(len > end, "the file has grown");
        let used = |at: &u64| image.read(PAGES, *at, 8).is_some_and(|b| b != [0; 8]);
        ((4u64 << 40) + 2 * PAGE as u64..len)
            .step_by(PAGE)
            .filter(used)
            .count()
    };
    for survival in [
        Survival::None,
        Survival::All,
        Survival::TornLast { unit: 512, seed: 4 },
    ] {
        let image = disk.crash(&survival);
        assert!(beyond(&image) > 20, "{}", beyond(&image));
        let sim = Sim::from_image(3, &image);
        let db = large_pages(&sim).open("db").expect("recovers");
        assert_eq!(rows(&db), right);
        go_on(&db, 5);
        db.close().expect("closes");
    }
}
