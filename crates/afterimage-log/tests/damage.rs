//! A torn tail is cut, damage is refused, and nothing that a disk can return makes the log panic.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;
use std::time::Duration;

use afterimage_io::sim::{Image, Sim};
use afterimage_log::{Control, ControlFile, Error, FrameKind, Log, Lsn, Proof, Tail};
use common::{Db, Model, SEGMENT, dir};

/// A log of several batches over two segments, stopped by a crash: its image, and where its last batch began.
fn small_log(clean: bool) -> (Image, Model, u64) {
    let (sim, model) = (Sim::new(3), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    let mut last = 0;
    for len in [20, 15_000, 15_000, 200, 15_000, 15_000, 15_000, 40] {
        last = db.log.next_lsn().get();
        db.put(len).unwrap();
    }
    if clean {
        db.close().unwrap();
    }
    (sim.snapshot().page_cache(), model, last)
}

fn control(image: &Image) -> Control {
    ControlFile::open(&Sim::from_image(1, image).io(), dir(), false)
        .unwrap()
        .current()
        .clone()
}

fn examine(image: &Image, control: &Control) -> Result<afterimage_log::Examination, Error> {
    let sim = Sim::from_image(1, image);
    let from = Lsn::new(SEGMENT + 4096).unwrap();
    let found = Log::examine(&sim.io(), dir(), control, from, &[]);
    assert_eq!(sim.snapshot().pending().len(), 0, "a look changes nothing");
    found
}

/// Whether nothing stands at a byte: behind a header's fields, or behind a segment's END.
fn is_unused(found: &afterimage_log::Examination, offset: u64, lsn: u64) -> bool {
    let closed = found
        .segments
        .iter()
        .find(|s| s.first.get() / SEGMENT == lsn / SEGMENT);
    (256..4096).contains(&offset) || closed.is_some_and(|s| lsn >= s.end.get() + 8)
}

fn segment_path(number: u64) -> String {
    format!("db/log/00000001-{number:016X}.log")
}

/// Every byte that holds log, with its LSN.
fn log_bytes(end: u64) -> impl Iterator<Item = (String, u64, u64)> {
    let segments = 1..=end / SEGMENT;
    segments
        .flat_map(move |n| (0..SEGMENT).map(move |o| (segment_path(n), o, n * SEGMENT + o)))
        .filter(move |b| b.2 < end)
}

#[test]
fn every_damaged_byte_is_refused_or_lies_in_the_unproven_end() {
    let (image, _, last_batch) = small_log(false);
    let control = control(&image);
    let whole = examine(&image, &control).unwrap();
    assert!(whole.segments.len() >= 2, "the log is to cross a border");
    let (mut refused, mut torn) = (0, 0);
    // Payload bytes are alike: every byte near frames and borders, and a sample inside the long payloads.
    for (path, offset, lsn) in log_bytes(whole.end.get())
        .filter(|b| b.1 < 6000 || b.1 % 61 == 0 || b.2 >= last_batch - 600)
    {
        let unused = is_unused(&whole, offset, lsn);
        let mut bad = image.clone();
        bad.flip_bit(&path, offset, (offset % 8) as u8);
        match examine(&bad, &control) {
            Err(Error::Corruption {
                lsn: at,
                path: file,
                what,
                advice,
                ..
            }) => {
                assert!(at.get() <= lsn.max(SEGMENT + 4096), "{lsn} is named {at}");
                assert!(!file.as_os_str().is_empty() && !what.is_empty() && !advice.is_empty());
                refused += 1;
            }
            // Nothing proves the last batch; the byte is cut off with what follows it.
            Ok(found) if lsn >= last_batch => {
                assert!(
                    found.end.get() <= lsn && found.end.get() >= last_batch,
                    "{lsn}: {found:?}"
                );
                assert!(
                    matches!(found.verdict, Tail::Torn { .. } | Tail::Open),
                    "{lsn}: {found:?}"
                );
                torn += 1;
            }
            Ok(found) => assert!(
                unused && found == whole,
                "byte {offset} of {path} is not missed: {found:?}"
            ),
            Err(e) => panic!("byte {offset} of {path}: {e}"),
        }
    }
    assert!(
        refused > 5000 && torn > 50,
        "{refused} refused, {torn} torn"
    );
}

#[test]
fn an_idle_log_proves_its_last_batch() {
    let (sim, model) = (Sim::new(3), Model::default());
    let db = Db::open(&sim.io(), &model).unwrap();
    db.put(100).unwrap();
    let end = db.log.next_lsn().get();
    let mut damaged = sim.snapshot().page_cache();
    damaged.flip_bit(&segment_path(1), end - SEGMENT - 5, 0);
    assert!(matches!(
        examine(&damaged, &control(&damaged)).unwrap().verdict,
        Tail::Torn { .. }
    ));
    for _ in 0..4 {
        sim.advance_clock(Duration::from_millis(200));
        let _ = db.log.step().unwrap();
    }
    let mut damaged = sim.snapshot().page_cache();
    damaged.flip_bit(&segment_path(1), end - SEGMENT - 5, 0);
    assert!(examine(&damaged, &control(&damaged)).is_err());
    // One watermark is enough: an idle log does not grow.
    let next = db.log.next_lsn();
    sim.advance_clock(Duration::from_secs(5));
    let _ = db.log.step().unwrap();
    assert_eq!(db.log.next_lsn(), next);
}

#[test]
fn after_a_clean_stop_every_damaged_byte_is_refused() {
    let (image, _, _) = small_log(true);
    let control = control(&image);
    let whole = examine(&image, &control).unwrap();
    assert_eq!(whole.verdict, Tail::Clean);
    for (path, offset, lsn) in log_bytes(whole.end.get()).filter(|b| b.1 % 13 == 0 || b.1 < 256) {
        if is_unused(&whole, offset, lsn) {
            continue;
        }
        let mut bad = image.clone();
        bad.flip_bit(&path, offset, 5);
        assert!(
            examine(&bad, &control).is_err_and(|e| e.is_corruption()),
            "byte {offset} of {path}"
        );
    }
    // A clean end that is not the log's end.
    for wrong in [whole.end.get() - 10, whole.end.get() + 10] {
        let moved = Control {
            clean_end: Lsn::new(wrong),
            durable_lsn: None,
            ..control.clone()
        };
        assert!(
            examine(&image, &moved).is_err_and(|e| e.is_corruption()),
            "clean end {wrong}"
        );
    }
}

#[test]
fn whoever_knows_more_turns_a_torn_tail_into_damage() {
    let (image, _, last_batch) = small_log(false);
    let control = control(&image);
    let end = examine(&image, &control).unwrap().end;
    let sim = Sim::from_image(1, &image);
    let from = Lsn::new(SEGMENT + 4096).unwrap();
    let look = |upto: u64, proof: Proof| {
        Log::examine(
            &sim.io(),
            dir(),
            &control,
            from,
            &[(proof, Lsn::new(upto).unwrap())],
        )
    };
    assert!(look(end.get(), Proof::Doublewrite).is_ok());
    let refused = look(end.get() + 1, Proof::Slot("standby".into())).unwrap_err();
    assert!(refused.to_string().contains("standby"), "{refused}");
    let told = Control {
        durable_lsn: Lsn::new(end.get()),
        ..control.clone()
    };
    let mut torn = image.clone();
    torn.flip_bit(
        &segment_path(last_batch / SEGMENT),
        last_batch % SEGMENT + 3,
        1,
    );
    assert!(examine(&torn, &control).is_ok());
    assert!(examine(&torn, &told).is_err());
}

#[test]
fn a_missing_segment_is_damage() {
    let (image, _, _) = small_log(false);
    let control = control(&image);
    let segments = examine(&image, &control).unwrap().segments.len() as u64;
    for number in 1..segments {
        let mut bad = image.clone();
        assert!(bad.remove(&segment_path(number)));
        assert!(
            examine(&bad, &control).is_err_and(|e| e.is_corruption()),
            "segment {number}"
        );
    }
}

#[test]
fn any_bytes_in_any_place_are_answered_without_a_panic() {
    let (image, _, _) = small_log(false);
    let control = control(&image);
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..400 {
        let mut bad = image.clone();
        for _ in 0..1 + next() % 3 {
            let bytes: Vec<u8> = (0..1 + next() % 64)
                .map(|_| if next() % 3 == 0 { 0xFF } else { next() as u8 })
                .collect();
            bad.write_bytes(&segment_path(1 + next() % 3), next() % SEGMENT, &bytes);
        }
        let sim = Sim::from_image(1, &bad);
        let _ = examine(&bad, &control);
        let _ = Log::verify(
            &sim.io(),
            dir(),
            &control,
            Lsn::new(SEGMENT + 4096).unwrap(),
            &[],
        );
        for frame in Log::scan(&sim.io(), dir(), &control, None)
            .into_iter()
            .flatten()
        {
            assert!(frame.is_ok());
        }
        for from in [1, 4096, SEGMENT, SEGMENT + 5000, u64::MAX] {
            let _ = Log::examine(&sim.io(), dir(), &control, Lsn::new(from).unwrap(), &[]);
        }
    }
}

#[test]
fn a_scan_sees_every_frame_and_says_where_it_ended() {
    let (image, _, _) = small_log(false);
    let control = control(&image);
    let found = examine(&image, &control).unwrap();
    let sim = Sim::from_image(1, &image);
    let mut scan = Log::scan(&sim.io(), dir(), &control, None).unwrap();
    let frames: Vec<_> = scan.by_ref().map(|f| f.unwrap()).collect();
    let count = |kind| frames.iter().filter(|f| f.kind == kind).count();
    assert_eq!(count(FrameKind::Data) as u64, found.records);
    assert_eq!(count(FrameKind::End), found.segments.len() - 1);
    assert_eq!(count(FrameKind::Watermark), 8);
    let watermarks: Vec<_> = frames.iter().filter_map(|f| f.durable).collect();
    assert!(watermarks.is_sorted() && watermarks.len() == 8);
    assert_eq!(scan.end().unwrap().lsn, found.end);
    // From the middle, too.
    let middle = frames[frames.len() / 2].frame.lsn;
    let first = Log::scan(&sim.io(), dir(), &control, Some(middle))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(first.frame.lsn, middle);
}

#[test]
fn verify_reads_what_recovery_would_not() {
    let (image, _, last_batch) = small_log(true);
    let control = control(&image);
    let sim = Sim::from_image(1, &image);
    let from = Lsn::new(last_batch).unwrap();
    let all = Log::verify(&sim.io(), dir(), &control, from, &[]).unwrap();
    assert_eq!(all.records, 8);
    let mut bad = image.clone();
    bad.flip_bit(&segment_path(1), 4100, 0);
    let sim = Sim::from_image(1, &bad);
    assert!(Log::examine(&sim.io(), dir(), &control, from, &[]).is_ok());
    assert!(Log::verify(&sim.io(), dir(), &control, from, &[]).is_err_and(|e| e.is_corruption()));
}

#[test]
fn a_log_is_not_made_over_another() {
    let (image, _, _) = small_log(false);
    let sim = Sim::from_image(1, &image);
    sim.io().remove_file(Path::new("db/control")).unwrap();
    let again = Log::create(&sim.io(), dir(), &common::identity(), 1, &common::options());
    assert!(
        matches!(again, Err(Error::AlreadyExists { .. })),
        "{again:?}"
    );
}
