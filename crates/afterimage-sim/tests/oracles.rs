//! Each oracle, broken on purpose: it must object; and must keep silent where the rule is kept.

use afterimage_io::sim::Sim;
use afterimage_io::{File, Io, Note, OpenMode};
use afterimage_log::{Control, ControlFile, Identity, Log, LogOptions, Lsn};
use afterimage_sim::bytes::crc32c;
use afterimage_sim::oracle::{Layout, Oracles};
use std::path::Path;
use std::sync::Arc;

const SEGMENT: u64 = 64 << 10;
const PAGE: usize = 4096;
const LOG: &str = "db/log/00000001-0000000000000001.log";

struct Bench {
    sim: Sim,
    io: Io,
    oracles: Arc<Oracles>,
}

impl Bench {
    /// A database directory with `pages`, `doublewrite` and one segment, all durable, watched.
    fn new() -> Bench {
        let sim = Sim::new(1);
        let io = sim.io();
        for directory in ["db", "db/log"] {
            io.create_dir(Path::new(directory))
                .expect("makes a directory");
        }
        for (file, bytes) in [
            ("db/pages", 16 * PAGE),
            ("db/doublewrite", 9 * PAGE),
            (LOG, SEGMENT as usize),
        ] {
            let file = io.open(Path::new(file), OpenMode::Create).expect("creates");
            file.prefill(0, bytes as u64).expect("fills");
            file.sync_all().expect("syncs");
        }
        for directory in ["", "db", "db/log"] {
            io.sync_dir(Path::new(directory))
                .expect("syncs a directory");
        }
        Bench::watching(sim)
    }

    fn watching(sim: Sim) -> Bench {
        let oracles = Arc::new(Oracles::new(&Layout::small(), &sim.snapshot()));
        sim.set_observer(Some(oracles.clone()));
        Bench {
            io: sim.io(),
            sim,
            oracles,
        }
    }

    fn file(&self, path: &str) -> File {
        self.io
            .open(Path::new(path), OpenMode::Create)
            .expect("opens")
    }

    /// Writes a frame of 40 bytes at the start of the segment; its LSN.
    fn frame(&self) -> u64 {
        let mut frame = vec![7u8; 40];
        frame[..4].copy_from_slice(&(40u32 | 1 << 24).to_le_bytes());
        self.file(LOG).write_all_at(4096, &frame).expect("writes");
        SEGMENT + 4096
    }

    fn silent(&self) {
        assert!(
            self.oracles.verdict().is_ok(),
            "{:?}",
            self.oracles.verdict()
        );
    }

    fn objects(&self, rule: &str) {
        let objection = self.oracles.verdict().expect_err("the oracle objects");
        assert!(objection.what.contains(rule), "{objection:?}");
    }
}

fn page(number: u64, lsn: u64, fill: u8) -> Vec<u8> {
    let mut page = vec![fill; PAGE];
    page[4..6].copy_from_slice(&0xA101u16.to_le_bytes());
    page[8..16].copy_from_slice(&number.to_le_bytes());
    page[16..24].copy_from_slice(&lsn.to_le_bytes());
    page
}

/// A doublewrite batch of these pages.
fn batch(pages: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; PAGE];
    bytes[..8].copy_from_slice(b"AFIMdblw");
    bytes[40..44].copy_from_slice(&(pages.len() as u32).to_le_bytes());
    for (n, page) in pages.iter().enumerate() {
        bytes[64 + 24 * n..][..8].copy_from_slice(&page[8..16]);
    }
    let crc = crc32c(&[&bytes[..PAGE - 4]]);
    bytes[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    pages.iter().for_each(|p| bytes.extend_from_slice(p));
    bytes
}

#[test]
fn wal_rule() {
    for (file, at) in [("db/pages", 3 * PAGE), ("db/doublewrite", PAGE)] {
        let bench = Bench::new();
        let lsn = bench.frame();
        bench
            .file(file)
            .write_all_at(at as u64, &page(3, lsn, 1))
            .expect("writes");
        bench.objects("WAL rule");

        let bench = Bench::new();
        let lsn = bench.frame();
        bench.file(LOG).sync().expect("syncs");
        bench
            .file(file)
            .write_all_at(at as u64, &page(3, lsn, 1))
            .expect("writes");
        bench.silent();
        bench
            .file(file)
            .write_all_at(at as u64, &page(3, lsn + SEGMENT, 1))
            .expect("writes");
        bench.objects("does not exist");
    }
}

#[test]
fn acknowledgement_rule_for_bytes() {
    let bench = Bench::new();
    let lsn = bench.frame();
    bench.io.note(Note::Acknowledged { upto: lsn + 40 });
    bench.objects("acknowledgement rule");

    let bench = Bench::new();
    let lsn = bench.frame();
    bench.file(LOG).sync().expect("syncs");
    bench.io.note(Note::Acknowledged { upto: lsn + 40 });
    bench.silent();
}

#[test]
fn acknowledgement_rule_for_names() {
    let bench = Bench::new();
    let next = "db/log/00000001-0000000000000002.log";
    let file = bench.file(next);
    file.prefill(0, SEGMENT).expect("fills");
    file.sync_all().expect("syncs");
    bench.io.note(Note::Acknowledged {
        upto: 2 * SEGMENT + 5000,
    });
    bench.objects("acknowledgement rule");
}

#[test]
fn doublewrite_order() {
    let old = page(3, 0, 1);
    let new = page(3, 0, 2);
    let before = || {
        let bench = Bench::new();
        let home = bench.file("db/pages");
        home.write_all_at(3 * PAGE as u64, &old)
            .expect("a first write needs no copy");
        home.sync().expect("syncs");
        bench.silent();
        (bench, home)
    };
    let (bench, home) = before();
    home.write_all_at(3 * PAGE as u64, &new).expect("writes");
    bench.objects("doublewrite order");

    // The copy is written, and not synced.
    let (bench, home) = before();
    bench
        .file("db/doublewrite")
        .write_all_at(0, &batch(&[&new]))
        .expect("writes");
    home.write_all_at(3 * PAGE as u64, &new).expect("writes");
    bench.objects("without a durable copy");

    let (bench, home) = before();
    let copies = bench.file("db/doublewrite");
    copies.write_all_at(0, &batch(&[&new])).expect("writes");
    copies.sync().expect("syncs");
    home.write_all_at(3 * PAGE as u64, &new).expect("writes");
    bench.silent();
    // The next batch comes before the home is durable.
    copies
        .write_all_at(0, &batch(&[&page(4, 0, 9)]))
        .expect("writes");
    bench.objects("copies were overwritten");
}

#[test]
fn a_write_that_is_never_torn_needs_no_copy_and_leaves_no_older_one() {
    let (old, new, other) = (page(3, 0, 1), page(3, 0, 2), page(4, 0, 9));
    let write = |listed: &[&[u8]]| {
        let bench = Bench::new();
        bench.sim.set_atomic_writes(Some(PAGE..=PAGE));
        let copies = bench.file("db/doublewrite");
        copies.write_all_at(0, &batch(listed)).expect("writes");
        copies.sync().expect("syncs");
        let home = Path::new("db/pages");
        let home = bench.io.open_atomic(home, OpenMode::ReadWrite);
        let home = home.expect("opens");
        home.write_all_at(3 * PAGE as u64, &old).expect("writes");
        home.sync().expect("syncs");
        home.write_atomic(&[(3 * PAGE as u64, &new)])
            .expect("writes");
        bench
    };
    write(&[]).silent();
    write(&[&other]).silent();
    write(&[&new]).silent();
    write(&[&other, &old]).objects("doublewrite has another one");
    // Who is to write atomically keeps to the first rule all the same.
    let bench = Bench::new();
    bench.sim.set_atomic_writes(Some(PAGE..=PAGE));
    let home = bench
        .io
        .open_atomic(Path::new("db/pages"), OpenMode::ReadWrite);
    let lsn = bench.frame();
    let written = home.and_then(|home| home.write_atomic(&[(3 * PAGE as u64, &page(3, lsn, 1))]));
    written.expect("writes");
    bench.objects("WAL rule");
}

#[test]
fn silence_after_a_stop_and_before_a_refusal() {
    let bench = Bench::new();
    bench.io.note(Note::Stopped);
    bench
        .file("db/status")
        .write_all_at(0, b"stopped")
        .expect("writes");
    bench.silent();
    bench.frame();
    bench.objects("after the engine had stopped");

    let bench = Bench::new();
    bench.io.note(Note::RecoveryRefused);
    bench.silent();
    bench.frame();
    bench.io.note(Note::RecoveryRefused);
    bench.objects("an open was refused");
}

/// A real log of three segments; transaction 0 of it is unfinished if `open`.
fn log(sim: &Sim, open: bool) -> (ControlFile, Control) {
    let (io, directory) = (sim.io(), Path::new("db"));
    io.create_dir(directory).expect("makes a directory");
    let identity = Identity {
        database_id: 5,
        timeline_id: 6,
        timeline_ordinal: 1,
    };
    let options = LogOptions {
        segment_bytes: SEGMENT,
        ..LogOptions::default()
    };
    let log = Log::create(&io, directory, &identity, 1, &options).expect("makes a log");
    let append = |payload: &[u8]| {
        let mut room = log
            .reserve(Log::frame_bytes(payload.len(), false))
            .expect("there is room");
        log.append(&mut room, payload, false, |_, _| {})
            .expect("appends")
            .lsn
    };
    // A row record of a transaction that begins with it; then rows of others that commit at once, until the log has moved on.
    let first = append(&[1, 0, 0, 0]);
    let mut last = first;
    while last.get() < 3 * SEGMENT + 9000 {
        last = append(&[&[1, 0b1000, 0], vec![0; 3000].as_slice()].concat());
    }
    if !open {
        let mut end = vec![3];
        let mut n = first.get();
        while n >= 0x80 {
            end.push(n as u8 | 0x80);
            n >>= 7;
        }
        end.extend([n as u8, 0]);
        append(&end);
    }
    log.wait_durable(log.next_lsn()).expect("syncs");
    let mut control = Control::new(identity, SEGMENT);
    area(&mut control, last, last);
    let file = ControlFile::create(&io, directory, &control).expect("makes a control file");
    for name in ["", "db"] {
        io.sync_dir(Path::new(name)).expect("syncs a directory");
    }
    (file, control)
}

fn area(control: &mut Control, checkpoint: Lsn, redo: Lsn) {
    control.client[..8].copy_from_slice(b"AFTRENG1");
    control.client[16..24].copy_from_slice(&checkpoint.get().to_le_bytes());
    control.client[24..32].copy_from_slice(&redo.get().to_le_bytes());
}

#[test]
fn truncation_bound() {
    let sim = Sim::new(1);
    drop(log(&sim, false));
    let bench = Bench::watching(sim);
    bench.io.remove_file(Path::new(LOG)).expect("removes");
    bench.silent();

    // An unfinished transaction needs the segment.
    let sim = Sim::new(1);
    drop(log(&sim, true));
    let bench = Bench::watching(sim);
    bench
        .io
        .rename(
            Path::new(LOG),
            Path::new("db/log/00000001-00000000000000FF.log"),
        )
        .expect("renames");
    bench.objects("is not durably over");

    // The older control copy still redoes from the first segment.
    let sim = Sim::new(1);
    let (mut file, mut control) = log(&sim, false);
    let last = Lsn::new(3 * SEGMENT + 4096).expect("not zero");
    area(
        &mut control,
        last,
        Lsn::new(SEGMENT + 4096).expect("not zero"),
    );
    file.write(&control).expect("writes");
    let bench = Bench::watching(sim);
    bench.io.remove_file(Path::new(LOG)).expect("removes");
    bench.objects("redoes from");
    assert!(bench.sim.calls() > 0);
}
