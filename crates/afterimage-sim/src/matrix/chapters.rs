//! The lives that the matrix is made of: short ones from prepared disks, which together make every call that the engine makes.

use super::bases::{clean, crashed, interrupted_birth};
use super::life::{Actor, Unit};
use crate::failure::Mismatch;
use crate::model::Rows;
use crate::oracle::Layout;
use crate::reach::Phase;
use crate::store::beside;
use afterimage::{LoadOptions, Progress};
use afterimage_io::sim::Image;

/// The one table that most of the rows are in.
pub(super) const TABLE: &str = "rows";
pub(super) const SIDE: &str = "side";
/// The table without a log.
pub(super) const UNLOGGED: &str = "unlogged";
pub(super) const LARGE: usize = 9000;

/// A disk to start from, what is in the database on it, and what is done.
pub struct Chapter {
    /// Its name.
    pub name: &'static str,
    /// The disk.
    pub image: Image,
    /// The rows of every table; empty before there is a database.
    pub rows: Rows,
    /// What is done, in order.
    pub units: Vec<Unit>,
    /// The setting `wal_sync_method`.
    pub sync_method: &'static str,
    /// Whether the disk never tears a page.
    pub atomic: bool,
}

impl Chapter {
    /// The database on this chapter's kind of disk.
    pub fn layout(&self, layout: &Layout) -> Layout {
        Layout {
            atomic: self.atomic,
            ..layout.clone()
        }
    }
}

/// Every chapter, with its disk.
///
/// # Errors
/// What did not hold while the disks were prepared.
pub fn all(layout: &Layout) -> Result<Vec<Chapter>, Mismatch> {
    let (empty, none) = (Image::default(), Rows::new());
    let (cut_off, clean, crashed) = (interrupted_birth(layout)?, clean(layout)?, crashed(layout)?);
    let chapter = |name, (image, rows): (&Image, &Rows), units| Chapter {
        name,
        image: image.clone(),
        rows: rows.clone(),
        units,
        sync_method: "auto",
        atomic: false,
    };
    let base = (&clean.0, &clean.1);
    let left = (&crashed.0, &crashed.1);
    Ok(vec![
        chapter("birth", (&empty, &none), birth()),
        chapter("birth again", (&cut_off, &none), birth()),
        chapter("rows", base, rows()),
        chapter("log", base, log()),
        chapter("values and loads", base, values()),
        chapter("tables", base, tables()),
        chapter("unlogged", base, unlogged()),
        chapter("shrink", base, shrink()),
        durable(chapter("durable writes", base, log())),
        chapter("recovery", left, recovery()),
        atomic(chapter("atomic writes", base, rows())),
        atomic(chapter("recovery by atomic writes", left, recovery())),
    ])
}

/// The same with log writes that are durable when they return.
fn durable(chapter: Chapter) -> Chapter {
    Chapter {
        sync_method: "open_datasync",
        ..chapter
    }
}

/// The same on a disk that never tears a page.
fn atomic(chapter: Chapter) -> Chapter {
    Chapter {
        atomic: true,
        ..chapter
    }
}

pub(super) fn key(n: u32) -> Vec<u8> {
    format!("k{n:02}").into_bytes()
}

/// A unit that changes no row.
fn does(
    name: &'static str,
    phase: Phase,
    run: impl Fn(&mut Actor) -> afterimage::Result<()> + Send + Sync + 'static,
) -> Unit {
    Unit::new(name, phase, run, |_| {})
}

/// A unit that puts these rows in one transaction.
pub(super) fn puts(table: &'static str, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Unit {
    let after = rows.clone();
    Unit::new(
        "put",
        Phase::Work,
        move |a| {
            let (db, table) = a.table(table)?;
            let mut tx = db.begin();
            for (key, value) in &rows {
                tx.put(&table, key, value)?;
            }
            tx.commit()
        },
        move |rows| {
            let after = after.iter().map(|(k, v)| (name_of(table, k), v.clone()));
            rows.extend(after);
        },
    )
}

fn name_of(table: &str, key: &[u8]) -> Vec<u8> {
    if table == TABLE {
        key.to_vec()
    } else {
        beside(table, key)
    }
}

pub(super) fn put(n: u32, fill: u8, len: usize) -> Unit {
    puts(TABLE, vec![(key(n), vec![fill; len])])
}

/// Deletes a range of the table in a transaction.
fn deletes(from: &'static [u8], to: &'static [u8]) -> Unit {
    Unit::new(
        "delete_range",
        Phase::Work,
        move |a| {
            let (db, table) = a.table(TABLE)?;
            let mut tx = db.begin();
            tx.delete_range(&table, from..to)?;
            tx.commit()
        },
        move |rows| rows.retain(|key, _| !(from <= key.as_slice() && key.as_slice() < to)),
    )
}

pub(super) fn open(phase: Phase) -> Unit {
    does("open", phase, Actor::open)
}

fn close() -> Unit {
    does("close", Phase::Close, Actor::close)
}

pub(super) fn checkpoint() -> Unit {
    does("checkpoint", Phase::Checkpoint, |a| {
        a.database()?.checkpoint()
    })
}

/// All the background work there is.
fn settle() -> Unit {
    does("background work", Phase::Work, |a| {
        let db = a.database()?;
        // So that the status file is due.
        a.sleep(600);
        for _ in 0..500 {
            if db.step()? == Progress::Idle {
                break;
            }
        }
        Ok(())
    })
}

/// Reads every row; the pool is smaller than the table.
fn read() -> Unit {
    does("read", Phase::Work, |a| a.rows().map(drop))
}

/// Changes much and takes it back.
fn rollback() -> Unit {
    does("rollback", Phase::Rollback, |a| {
        let (db, table) = a.table(TABLE)?;
        let mut tx = db.begin();
        a.phase(Phase::Work);
        for n in 0..30 {
            tx.put(&table, &key(n), &[b'r'; 870])?;
        }
        tx.put(&table, b"kr", &[b'r'; LARGE])?;
        tx.delete(&table, &key(3))?;
        // So that what the rollback needs is not in memory, and the log has to be written for it.
        db.checkpoint()?;
        a.phase(Phase::Rollback);
        tx.rollback()
    })
}

pub(super) fn make(name: &'static str) -> Unit {
    Unit::new(
        "make a table",
        Phase::Work,
        move |a| a.database()?.table(name).map(drop),
        move |rows| {
            if name != TABLE {
                rows.insert(beside(name, b""), Vec::new());
            }
        },
    )
}

pub(super) fn make_unlogged() -> Unit {
    Unit::new(
        "make an unlogged table",
        Phase::Work,
        |a| a.database()?.unlogged_table(UNLOGGED).map(drop),
        |rows| drop(rows.insert(beside(UNLOGGED, b""), Vec::new())),
    )
}

fn birth() -> Vec<Unit> {
    vec![
        open(Phase::Birth),
        make(TABLE),
        puts(TABLE, (0..12).map(|n| (key(n), vec![b'b'; 880])).collect()),
        make_unlogged(),
        puts(UNLOGGED, vec![(b"u".to_vec(), vec![b'u'; 100])]),
        checkpoint(),
        close(),
    ]
}

fn rows() -> Vec<Unit> {
    let mut units = vec![open(Phase::Open)];
    units.push(puts(
        TABLE,
        (10..24).map(|n| (key(n), vec![b'x'; 890])).collect(),
    ));
    units.push(put(50, b'y', 900));
    units.push(Unit::new(
        "savepoint",
        Phase::Work,
        |a| {
            let (db, table) = a.table(TABLE)?;
            let mut tx = db.begin();
            tx.put(&table, b"ks", b"kept")?;
            let savepoint = tx.savepoint()?;
            tx.put(&table, &key(1), &[b's'; 1000])?;
            tx.delete(&table, &key(2))?;
            tx.rollback_to(&savepoint)?;
            tx.commit()
        },
        |rows| drop(rows.insert(b"ks".to_vec(), b"kept".to_vec())),
    ));
    units.push(read());
    units.push(rollback());
    units.push(checkpoint());
    units.push(put(51, b'z', 600));
    units.push(settle());
    units.push(deletes(b"k05", b"k09"));
    units.push(read());
    units.push(put(52, b'z', 600));
    units.push(close());
    units
}

/// Goes through segments, with the background work that prepares and recycles them, and without.
fn log() -> Vec<Unit> {
    let mut units = vec![open(Phase::Open)];
    for round in 0..5u8 {
        for n in 0..6u32 {
            let row = |i: u32| (key(n * 3 + i), vec![b'a' + round + n as u8; 1000]);
            units.push(puts(TABLE, (0..3).map(row).collect()));
        }
        if round % 2 == 0 {
            units.push(checkpoint());
            units.push(put(60, b'q', 10 + usize::from(round)));
            units.push(checkpoint());
        }
        if round > 0 {
            units.push(settle());
        }
    }
    units.push(put(61, b'e', 100));
    units.push(close());
    units
}

fn values() -> Vec<Unit> {
    let load = |name: &'static str, sorted: bool, count: u32, len: usize, large: bool| {
        let row = move |n: u32| {
            let n = if sorted { n } else { n * 7 % count };
            let len = if large && n == 3 { LARGE } else { len };
            (format!("l{n:03}").into_bytes(), vec![b'l'; len])
        };
        Unit::new(
            "load_table",
            Phase::Work,
            move |a| {
                let options = LoadOptions::new().sorted(sorted);
                let options = if sorted {
                    options
                } else {
                    options.sort_memory(64 << 10)
                };
                let mut load = a.database()?.load_table(name, options)?;
                for n in 0..count {
                    let (key, value) = row(n);
                    load.push(&key, &value)?;
                }
                load.finish().map(drop)
            },
            move |rows| {
                rows.insert(beside(name, b""), Vec::new());
                rows.extend((0..count).map(row).map(|(k, v)| (beside(name, &k), v)));
            },
        )
    };
    vec![
        open(Phase::Open),
        puts(TABLE, vec![(b"kl".to_vec(), vec![b'1'; LARGE])]),
        puts(
            TABLE,
            vec![
                (b"kl".to_vec(), vec![b'2'; 2 * LARGE]),
                (b"km".to_vec(), vec![b'm'; LARGE]),
            ],
        ),
        settle(),
        load("sorted", true, 12, 880, true),
        load("unsorted", false, 110, 700, true),
        settle(),
        deletes(b"kl", b"kn"),
        settle(),
        close(),
    ]
}

fn tables() -> Vec<Unit> {
    let side = |rows: &mut Rows| {
        rows.remove(&beside(SIDE, b"")).is_some() && rows.remove(&beside(SIDE, b"s")).is_some()
    };
    vec![
        open(Phase::Open),
        Unit::new(
            "rename_table",
            Phase::Work,
            |a| a.database()?.rename_table(SIDE, "edis"),
            move |rows| {
                if side(rows) {
                    rows.insert(beside("edis", b""), Vec::new());
                    rows.insert(beside("edis", b"s"), b"beside".to_vec());
                }
            },
        ),
        make("third"),
        puts(
            "third",
            (0..30).map(|n| (key(n), vec![b't'; 800])).collect(),
        ),
        checkpoint(),
        Unit::new(
            "drop_table",
            Phase::Work,
            |a| a.database()?.drop_table("third").map(drop),
            |rows| rows.retain(|key, _| !key.starts_with(&beside("third", b""))),
        ),
        settle(),
        deletes(b"k00", b"k20"),
        settle(),
        close(),
    ]
}

fn unlogged() -> Vec<Unit> {
    let row = |n: u32| (key(n), vec![b'v'; 900]);
    vec![
        open(Phase::Open),
        puts(UNLOGGED, (0..60).map(row).collect()),
        read(),
        settle(),
        checkpoint(),
        puts(UNLOGGED, vec![(key(7), vec![b'w'; LARGE])]),
        close(),
        open(Phase::Open),
        read(),
        does("rollback", Phase::Rollback, |a| {
            let (db, table) = a.table(UNLOGGED)?;
            let mut tx = db.begin();
            a.phase(Phase::Work);
            for n in 0..10 {
                tx.put(&table, &key(n), &[b'r'; 900])?;
            }
            a.phase(Phase::Rollback);
            tx.rollback()
        }),
        Unit::new(
            "drop_table",
            Phase::Work,
            |a| a.database()?.drop_table(UNLOGGED).map(drop),
            |rows| rows.retain(|key, _| !key.starts_with(&beside(UNLOGGED, b""))),
        ),
        settle(),
        close(),
    ]
}

/// Fills many leaves at the end of the file, empties them, and gives their room back.
fn shrink() -> Vec<Unit> {
    let mut units = vec![open(Phase::Open)];
    let row = |n: u32| (format!("z{n:03}").into_bytes(), vec![b'z'; 880]);
    units.extend((0..5).map(|p| puts(TABLE, (p * 30..p * 30 + 30).map(row).collect())));
    for (from, to) in [(b"z000", b"z050"), (b"z050", b"z100"), (b"z100", b"z150")] {
        units.push(checkpoint());
        units.push(deletes(from, to));
    }
    units.push(settle());
    units.push(put(70, b's', 10));
    units.push(does("shrink_file", Phase::Work, |a| {
        a.database()?.shrink_file().map(drop)
    }));
    units.push(put(70, b's', 10));
    units.push(close());
    units
}

fn recovery() -> Vec<Unit> {
    vec![
        open(Phase::Recovery),
        read(),
        put(80, b'n', 500),
        settle(),
        close(),
    ]
}
