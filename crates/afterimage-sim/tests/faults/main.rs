//! Faults of the catalogue that no driver makes: each with its one response. `docs/faults.md` has the whole list; `table.rs`
//! holds it against the tests that it names.

mod disk;
mod files;
mod table;
mod tree;

use afterimage::{Database, Error};
use afterimage_io::sim::{Image, Sim, Survival};
use afterimage_sim::check::World;
use afterimage_sim::engine::{TABLE, small_options};
use afterimage_sim::model::Rows;
use afterimage_sim::oracle::Layout;
use afterimage_sim::outcome::Outcome;

fn layout() -> Layout {
    Layout::small()
}

fn open(sim: &Sim) -> afterimage::Result<Database> {
    let layout = layout();
    small_options(&layout, &sim.io()).open(&layout.directory)
}

fn put(db: &Database, n: u32, fill: u8) {
    let table = db.table(TABLE).expect("opens the table");
    db.put(&table, format!("k{n:03}").as_bytes(), &[fill; 300])
        .expect("puts");
}

fn rows(db: &Database) -> afterimage::Result<Rows> {
    let table = db.table(TABLE)?;
    let mut tx = db.begin();
    tx.scan::<[u8], _>(&table, ..)?.collect()
}

/// A tree of two levels and a large value. Closed, or with all of it in the log and half of it in the pages.
fn database(seed: u64, closed: bool) -> (Image, Rows) {
    let sim = Sim::new(seed);
    let db = open(&sim).expect("opens");
    for n in 0..60 {
        put(&db, n, b'a' + (seed % 20) as u8);
        if n == 40 {
            db.checkpoint().expect("takes a checkpoint");
        }
    }
    let table = db.table(TABLE).expect("opens the table");
    db.put(&table, b"large", &[b'l'; 9000]).expect("puts");
    let all = rows(&db).expect("reads");
    if closed {
        db.close().expect("closes");
    } else {
        sim.crash_now();
        drop(afterimage_sim::outcome::run(move || drop((db, table))));
    }
    (sim.snapshot().crash(&Survival::None), all)
}

/// What opening and reading a disk comes to.
#[derive(Debug)]
enum Found {
    Rows(Rows),
    /// The open was refused, and every byte is what it was.
    Refused(Error),
    /// Reading was.
    Unreadable(Error),
}

/// Opens, reads and verifies. An error has to be typed, and one of damage has to say where.
fn look(image: &Image) -> Found {
    let layout = layout();
    let world = World::unwatched(&layout, image.clone());
    let options = small_options(&layout, &world.sim.io()).create(false);
    let end = world.run("opening", || {
        let db = match options.open(&layout.directory) {
            Ok(db) => db,
            Err(e) => return Found::Refused(e),
        };
        let found = match rows(&db) {
            Ok(rows) => Found::Rows(rows),
            Err(e) => Found::Unreadable(e),
        };
        // Whatever it says, it comes to an end, and does not panic.
        drop(db.verify());
        found
    });
    let found = match end {
        Ok(Outcome::Done(found)) => found,
        Ok(other) => panic!("{other:?}"),
        Err(mismatch) => panic!("{mismatch:?}"),
    };
    if let Found::Refused(e) | Found::Unreadable(e) = &found {
        let typed = e.is_corruption()
            || matches!(e, Error::Unsupported { .. } | Error::NotADatabase { .. })
            || matches!(e, Error::Io { .. });
        assert!(typed, "{e:?}");
        let text = e.to_string();
        assert!(
            text.contains("db") || text.contains("page "),
            "where? {text}"
        );
    }
    found
}

/// As [`look`]; a refused open has changed no byte, but for who has the lock.
fn look_strictly(image: &Image) -> Found {
    let found = look(image);
    if let Found::Refused(_) = found {
        let layout = layout();
        let world = World::unwatched(&layout, image.clone());
        let options = small_options(&layout, &world.sim.io()).create(false);
        drop(options.open(&layout.directory));
        let (mut before, mut after) = (image.clone(), world.sim.snapshot().page_cache());
        before.remove(&layout.path("lock"));
        after.remove(&layout.path("lock"));
        assert!(before == after, "{before:?}\n{after:?}");
    }
    found
}

/// Right rows, or none at all.
fn assert_no_lie(found: &Found, right: &Rows, what: &str) {
    if let Found::Rows(rows) = found {
        assert!(
            rows == right,
            "{what}: {} rows of {}",
            rows.len(),
            right.len()
        );
    }
}

/// The files with data in them.
fn files(image: &Image) -> Vec<(String, u64)> {
    let layout = layout();
    let no_data = [
        layout.path("lock"),
        layout.path("status"),
        layout.path("doublewrite.tmp"),
    ];
    let all = image
        .files()
        .filter(|(p, _)| !no_data.iter().any(|n| n == p));
    all.map(|(p, len)| (p.to_string(), len)).collect()
}
