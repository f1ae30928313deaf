//! The small databases that the inputs damage, and what is in them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use afterimage_io::Io;
use afterimage_io::sim::{Image, Sim, Survival};
use afterimage_log::{ControlFile, Identity, Log};

use super::dir;
use crate::checkpoint::EngineArea;
use crate::database::{Database, LoadOptions};
use crate::fuzz::PAGE;
use crate::ids::PageId;
use crate::options::Options;
use crate::page::{Kind, Page};

/// Rows by table.
pub(super) type Rows = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A database on a disk.
pub(super) struct World {
    pub(super) image: Image,
    pub(super) rows: Rows,
    pub(super) identity: Identity,
    /// Segment, offset and length of each frame that recovery reads.
    pub(super) frames: Vec<(u64, u64, usize)>,
}

pub(super) fn options(io: &Io) -> Options {
    let options = Options::new().io(io.clone()).background(false);
    let options = options.page_size(PAGE).buffer_pool_size(40 * PAGE as u64);
    options
        .unlogged_pool_size(16 * PAGE as u64)
        .wal_segment_size(64 << 10)
        .max_wal_size(512 << 10)
}

/// Long keys that differ at their end, so that few of them make a tree of three levels.
pub(super) fn key(n: usize) -> Vec<u8> {
    let mut key = vec![b'k'; 400];
    key.extend(format!("{n:04}").bytes());
    key
}

/// One that was closed, and one that was not: with changes that only the log has, an unfinished transaction, a load that
/// was cut off, the pages of a dropped table and of a replaced value still waiting.
pub(super) fn worlds() -> &'static [World; 2] {
    static WORLDS: OnceLock<[World; 2]> = OnceLock::new();
    WORLDS.get_or_init(|| [world(true), world(false)])
}

fn put(db: &Database, rows: &mut Rows, table: &'static str, key: Vec<u8>, value: Vec<u8>) {
    let open = match table {
        "unlogged" => db.unlogged_table(table),
        _ => db.table(table),
    };
    db.put(&open.unwrap(), &key, &value).unwrap();
    rows.entry(table).or_default().insert(key, value);
}

fn world(closed: bool) -> World {
    let sim = Sim::new(1);
    let io = sim.io();
    let db = options(&io).open(dir()).unwrap();
    let mut rows = Rows::new();
    for n in 0..130 {
        put(&db, &mut rows, "tall", key(n), vec![n as u8; n % 60]);
        if n % 5 == 0 {
            put(&db, &mut rows, "other", key(n), vec![1; 300]);
            put(&db, &mut rows, "unlogged", key(n), vec![2; 30]);
            let gone = db.table("dropped").unwrap();
            db.put(&gone, &key(n), &[3; 700]).unwrap();
        }
    }
    for (n, len) in [(1, 1500), (2, 5000), (3, 40_000), (4, 9000)] {
        put(&db, &mut rows, "large", key(n), vec![n as u8; len]);
    }
    assert_eq!(height(&io), 2, "the tree has three levels");
    db.checkpoint().unwrap();
    db.drop_table("dropped").unwrap();
    put(&db, &mut rows, "large", key(2), vec![5; 6000]);
    for n in (0..130).step_by(9) {
        put(&db, &mut rows, "tall", key(n), vec![6; 100]);
    }
    let image = if closed {
        db.close().unwrap();
        sim.snapshot().crash(&Survival::All)
    } else {
        // Rows of unlogged tables are gone after a crash.
        rows.insert("unlogged", BTreeMap::new());
        let (tall, large) = (db.table("tall").unwrap(), db.table("large").unwrap());
        let mut tx = db.begin();
        tx.put(&tall, &key(500), b"never was").unwrap();
        tx.put(&large, &key(5), &[8; 7000]).unwrap();
        tx.delete(&tall, &key(50)).unwrap();
        let mut load = db
            .load_table("loading", LoadOptions::new().sorted(true))
            .unwrap();
        for n in 0..40 {
            load.push(&key(n), &[9; 900]).unwrap();
        }
        put(&db, &mut rows, "other", b"last".to_vec(), b"row".to_vec());
        sim.snapshot().crash(&Survival::All)
    };
    let io = Sim::from_image(1, &image).io();
    let control = ControlFile::open(&io, dir(), false).unwrap();
    let control = control.current().clone();
    let from = EngineArea::decode(&control.client).unwrap().scan_lsn;
    let frames = Log::scan(&io, dir(), &control, None).unwrap();
    let frames = frames.take_while(Result::is_ok).map(Result::unwrap);
    let frames = frames.filter(|found| found.kind.holds_records() && found.frame.lsn >= from);
    let frames = frames.map(|found| {
        let len = found.frame.end.get() - found.frame.lsn.get();
        (found.segment, found.offset, len as usize)
    });
    World {
        frames: frames.collect(),
        identity: control.identity,
        image,
        rows,
    }
}

/// The highest level of any page in the file.
fn height(io: &Io) -> u8 {
    let db = io.open(&dir().join("pages"), afterimage_io::OpenMode::Read);
    let file = db.unwrap();
    let mut highest = 0;
    for n in 0..file.len().unwrap() / PAGE as u64 {
        let mut page = Page::new(PAGE);
        file.read_exact_at(n * PAGE as u64, page.bytes_mut())
            .unwrap();
        if page.id() == PageId(n) && page.kind() == Some(Kind::Inner) {
            highest = highest.max(page.level());
        }
    }
    highest
}
