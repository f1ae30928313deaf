//! The promise: whoever looks on at a recovery changes nothing of what comes of it, and is told every step of it, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use afterimage::{
    AfterStep, Options, RecoveryObserver, RecoveryReport, RecoveryStep, RedoDecision,
};
use afterimage_io::Io;
use afterimage_io::sim::{Image, Sim, Survival};
use afterimage_io::sync::Mutex;

#[derive(Default)]
struct Seen {
    analysed: u64,
    dirty: BTreeMap<u64, u64>,
    losers: Vec<u64>,
    active: BTreeMap<u64, u64>,
    redo: Vec<(u64, u64, RedoDecision)>,
    applied: u64,
    undone: u64,
    clrs: Vec<u64>,
    ends: usize,
    checkpoints: usize,
}

struct Watch(Mutex<Seen>);

impl Watch {
    fn new() -> Arc<Watch> {
        Arc::new(Watch(Mutex::new(&Io::os(), Seen::default())))
    }
}

impl RecoveryObserver for Watch {
    fn step(&self, step: &RecoveryStep<'_>) -> AfterStep {
        let mut seen = self.0.lock();
        match step {
            RecoveryStep::Analysed {
                transactions,
                pages,
                ..
            } => {
                seen.analysed += 1;
                for change in *transactions {
                    match change {
                        afterimage::TransactionChange::Set(line) => {
                            seen.active.insert(line.txn.get(), line.last.get());
                        }
                        afterimage::TransactionChange::Gone(txn) => {
                            seen.active.remove(&txn.get());
                        }
                    }
                }
                for line in *pages {
                    seen.dirty.insert(line.page, line.rec_lsn.get());
                }
            }
            RecoveryStep::AnalysisEnded { losers, dirty, .. } => {
                let dirty: BTreeMap<_, _> =
                    dirty.iter().map(|l| (l.page, l.rec_lsn.get())).collect();
                assert_eq!(dirty, seen.dirty, "the steps add up to the table");
                seen.losers = losers.iter().map(|line| line.txn.get()).collect();
                assert!(seen.losers.iter().eq(seen.active.keys()));
            }
            RecoveryStep::Redo {
                record,
                page,
                before,
                after,
                decision,
                ..
            } => {
                match decision {
                    RedoDecision::Applied => {
                        assert_eq!(*after, Some(record.lsn));
                        assert!(*before < *after);
                        seen.applied += 1;
                    }
                    RedoDecision::PageNewer => assert!(*before >= Some(record.lsn)),
                    _ => assert_eq!(*before, None, "it is not even read"),
                }
                seen.redo.push((record.lsn.get(), *page, *decision));
            }
            RecoveryStep::Undo { clr, .. } => {
                seen.undone += 1;
                seen.clrs.extend(clr.iter().map(|clr| clr.lsn.get()));
            }
            RecoveryStep::TransactionEnded { .. } => seen.ends += 1,
            RecoveryStep::CheckpointTaken { .. } => seen.checkpoints += 1,
            _ => {}
        }
        AfterStep::GoOn
    }
}

fn options(sim: &Sim) -> Options {
    Options::new()
        .io(sim.io())
        .background(false)
        .page_size(4096)
        .buffer_pool_size(40 * 4096)
        .wal_segment_size(64 << 10)
}

/// A database that has many more pages than its pool, with two transactions left open.
fn crashed() -> Image {
    let sim = Sim::new(5);
    let db = options(&sim).open("d").expect("opens");
    let table = db.table("rows").expect("a table");
    let put = |from: u64, to: u64| {
        for n in from..to {
            let key = (n * 7919) % 2000;
            db.put(&table, &key.to_be_bytes(), &[n as u8; 200])
                .expect("puts");
        }
    };
    put(0, 1000);
    db.checkpoint().expect("a checkpoint");
    put(1000, 1800);
    let mut open = Vec::new();
    for n in 0..2u64 {
        let mut tx = db.begin();
        for m in 0..20u64 {
            let key = 10_000 + n * 100 + m;
            tx.put(&table, &key.to_be_bytes(), b"never").expect("puts");
        }
        open.push(tx);
    }
    db.put(&table, b"last", b"1").expect("puts");
    let image = sim.snapshot().crash(&Survival::None);
    drop(open);
    image
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn recover(image: &Image, watch: Option<Arc<Watch>>) -> (RecoveryReport, Rows) {
    let sim = Sim::from_image(6, image);
    let mut options = options(&sim);
    if let Some(watch) = watch {
        options = options.observer(watch);
    }
    let db = options.open("d").expect("opens");
    let report = db.recovery_report().clone();
    let table = db.table("rows").expect("the table");
    let snapshot = db.snapshot_latest().expect("a snapshot");
    let scan = snapshot.scan::<[u8], _>(&table, ..).expect("a scan");
    let rows = scan.collect::<Result<Rows, _>>().expect("rows");
    assert!(db.verify().expect("verifies").findings.is_empty());
    (report, rows)
}

#[test]
fn who_looks_on_changes_nothing_and_sees_everything() {
    let image = crashed();
    let (plain, rows) = recover(&image, None);
    let watch = Watch::new();
    let (observed, seen_rows) = recover(&image, Some(Arc::clone(&watch)));
    assert_eq!(rows, seen_rows);
    assert!(rows.len() > 1000);
    let counts = |r: &RecoveryReport| {
        (
            (r.records, r.winners, r.losers, r.pages),
            (r.redone, r.already_there, r.undone, r.kinds.clone()),
        )
    };
    assert_eq!(counts(&plain), counts(&observed));

    let seen = watch.0.lock();
    assert_eq!(seen.analysed, observed.records);
    assert_eq!(seen.losers.len() as u64, observed.losers);
    assert_eq!((seen.losers.len(), seen.ends), (2, 2));
    assert_eq!(seen.applied, observed.redone);
    let newer = seen
        .redo
        .iter()
        .filter(|(.., d)| *d == RedoDecision::PageNewer);
    assert_eq!(newer.count() as u64, observed.already_there);
    assert_eq!(seen.undone, observed.undone);
    assert_eq!(seen.clrs.len(), 40);
    assert!(seen.clrs.is_sorted());
    assert_eq!(seen.checkpoints, 1);
    let lsns: Vec<u64> = seen.redo.iter().map(|(lsn, ..)| *lsn).collect();
    assert!(lsns.is_sorted(), "redo goes forward through the log");
    assert!(seen.redo.len() as u64 >= observed.redone + observed.already_there);
}

#[test]
fn after_a_clean_stop_there_is_nothing_to_see() {
    let sim = Sim::new(7);
    let db = options(&sim).open("d").expect("opens");
    let table = db.table("rows").expect("a table");
    db.put(&table, b"k", b"v").expect("puts");
    drop(table);
    db.close().expect("closes");
    let watch = Watch::new();
    let db = options(&sim)
        .observer(watch.clone())
        .open("d")
        .expect("opens");
    let seen = watch.0.lock();
    assert_eq!(
        (seen.analysed, seen.redo.len(), seen.checkpoints),
        (0, 0, 0)
    );
    drop(db);
}
