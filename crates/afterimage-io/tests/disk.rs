//! The simulated disk's promises: what a power cut may take, what it may not, and what a failed call leaves.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use afterimage_io::sim::{
    CallKind, DiskState, Event, FailSync, Fate, Image, Observer, Sim, Survival, SyncFailure,
    Verdict,
};
use afterimage_io::{File, Io, LockAttempt, OpenMode};

const BLOCK: usize = 4096;

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn create(io: &Io, name: &str) -> File {
    io.open(path(name), OpenMode::CreateNew)
        .expect("a new file")
}

/// A machine with one durable file `f` of one block of `old` bytes.
fn with_file(old: u8) -> (Sim, Io, File) {
    let sim = Sim::new(1);
    let io = sim.io();
    let file = create(&io, "f");
    file.write_all_at(0, &[old; BLOCK]).expect("written");
    file.sync().expect("synced");
    io.sync_dir(path("")).expect("synced");
    assert!(sim.snapshot().pending().is_empty());
    (sim, io, file)
}

fn bytes(image: &Image, name: &str) -> Option<Vec<u8>> {
    let len = image.len(name)?;
    image.read(name, 0, usize::try_from(len).expect("small"))
}

#[test]
fn reads_see_what_was_written_and_the_disk_only_what_was_synced() {
    let (sim, _, file) = with_file(1);
    file.write_all_at(10, b"new").expect("written");
    let mut seen = [0; 3];
    file.read_exact_at(10, &mut seen).expect("read");
    assert_eq!(&seen, b"new");
    let disk = sim.snapshot();
    assert_eq!(
        disk.read_cached(path("f"), 10, 3).as_deref(),
        Some(&b"new"[..])
    );
    assert_eq!(disk.read_durable(path("f"), 10, 3), Some(vec![1; 3]));
    assert!(!disk.is_durable(path("f"), 10..11));
    assert!(disk.is_durable(path("f"), 13..4096));
    file.sync().expect("synced");
    assert!(sim.snapshot().is_durable(path("f"), 0..4096));
    // The snapshot stays what it was.
    assert_eq!(disk.read_durable(path("f"), 10, 3), Some(vec![1; 3]));
}

#[test]
fn every_policy_keeps_what_it_says() {
    let (sim, _, file) = with_file(0);
    for write in 1..=3_u8 {
        let offset = u64::from(write - 1) * 1000;
        file.write_all_at(offset, &[write; 1000]).expect("written");
    }
    let disk = sim.snapshot();
    assert_eq!(disk.pending().len(), 3);
    let survivors = |policy: &Survival| {
        let image = disk.crash(policy);
        let at = |offset| image.read("f", offset, 1).expect("there")[0];
        [at(0), at(1000), at(2000)]
    };
    assert_eq!(survivors(&Survival::None), [0, 0, 0]);
    assert_eq!(survivors(&Survival::All), [1, 2, 3]);
    assert_eq!(survivors(&Survival::Only(1)), [0, 2, 0]);
    assert_eq!(survivors(&Survival::Without(1)), [1, 0, 3]);
    assert_eq!(survivors(&Survival::Prefix(2)), [1, 2, 0]);
    assert_eq!(
        survivors(&Survival::Mask(vec![true, false, true])),
        [1, 0, 3]
    );
    assert_eq!(survivors(&Survival::Mask(vec![true])), [1, 0, 0]);
    assert_eq!(survivors(&Survival::NewestOnly), [0, 0, 3]);
    let fates = vec![Fate::Lost, Fate::Kept, Fate::LengthOnly];
    assert_eq!(survivors(&Survival::Fates(fates)), [0, 2, 0]);
    let random: std::collections::BTreeSet<_> = (0..200)
        .map(|seed| survivors(&Survival::Random { seed }))
        .collect();
    assert_eq!(random.len(), 8, "every subset turns up: {random:?}");
    assert_eq!(
        disk.crash(&Survival::Random { seed: 9 }),
        disk.crash(&Survival::Random { seed: 9 })
    );
}

#[test]
fn a_torn_write_is_torn_at_its_unit() {
    let (sim, _, file) = with_file(0);
    file.write_all_at(0, &[7; 2 * BLOCK]).expect("written");
    let disk = sim.snapshot();
    for unit in [1, 512, 4096] {
        for seed in 0..50 {
            let image = disk.crash(&Survival::TornLast { unit, seed });
            let bytes = bytes(&image, "f").expect("there");
            let kept = bytes.iter().filter(|byte| **byte == 7).count();
            assert!(kept > 0 && kept < 2 * BLOCK, "unit {unit}, seed {seed}");
            for sector in bytes.chunks(unit as usize) {
                assert!(
                    sector.iter().all(|byte| byte == &sector[0]),
                    "unit {unit} is whole"
                );
            }
        }
    }
    let prefix = Survival::Fates(vec![Fate::TornPrefix {
        unit: 512,
        bytes: 1100,
    }]);
    let image = disk.crash(&prefix);
    assert_eq!(image.read("f", 1023, 2), Some(vec![7, 0]));
}

#[test]
fn an_older_write_never_comes_back_over_a_newer_one() {
    let (sim, _, file) = with_file(0);
    file.write_all_at(0, b"older").expect("written");
    file.write_all_at(0, b"newer").expect("written");
    let image = sim.snapshot().crash(&Survival::All);
    assert_eq!(image.read("f", 0, 5).as_deref(), Some(&b"newer"[..]));
    let image = sim.snapshot().crash(&Survival::Only(0));
    assert_eq!(image.read("f", 0, 5).as_deref(), Some(&b"older"[..]));
}

#[test]
fn lengths_are_pending_too() {
    let (sim, _, file) = with_file(1);
    file.write_all_at(BLOCK as u64, &[2; 10]).expect("written");
    let disk = sim.snapshot();
    assert_eq!(disk.crash(&Survival::None).len("f"), Some(BLOCK as u64));
    let image = disk.crash(&Survival::Fates(vec![Fate::LengthOnly]));
    assert_eq!(image.read("f", BLOCK as u64, 10), Some(vec![0; 10]));
    file.set_len(5).expect("cut");
    assert_eq!(file.len().expect("known"), 5);
    let disk = sim.snapshot();
    assert_eq!(disk.crash(&Survival::None).len("f"), Some(BLOCK as u64));
    assert_eq!(disk.crash(&Survival::All).len("f"), Some(5));
    file.sync().expect("synced");
    assert_eq!(sim.snapshot().crash(&Survival::None).len("f"), Some(5));
}

#[test]
fn a_synced_file_without_a_synced_name_is_lost() {
    let sim = Sim::new(1);
    let io = sim.io();
    io.create_dir(path("db")).expect("made");
    let file = create(&io, "db/a");
    file.write_all_at(0, b"data").expect("written");
    file.sync().expect("synced");
    assert!(!sim.snapshot().is_durable(path("db/a"), 0..4));
    assert!(sim.snapshot().crash(&Survival::None).is_empty());
    io.sync_dir(path("db")).expect("synced");
    // The directory's own name is not durable yet.
    assert!(!sim.snapshot().is_name_durable(path("db/a")));
    assert!(sim.snapshot().crash(&Survival::None).is_empty());
    io.sync_dir(path("db").parent().expect("the top"))
        .expect("synced");
    assert!(sim.snapshot().is_durable(path("db/a"), 0..4));
    let image = sim.snapshot().crash(&Survival::None);
    assert_eq!(bytes(&image, "db/a").as_deref(), Some(&b"data"[..]));
    assert_eq!(image.dirs().collect::<Vec<_>>(), ["db"]);
}

#[test]
fn a_synced_name_without_a_synced_file_is_empty() {
    let sim = Sim::new(1);
    let io = sim.io();
    create(&io, "a").write_all_at(0, b"data").expect("written");
    io.sync_dir(path("")).expect("synced");
    assert_eq!(sim.snapshot().crash(&Survival::None).len("a"), Some(0));
}

#[test]
fn a_rename_leaves_the_old_or_the_new_or_both() {
    let (sim, io, _) = with_file(1);
    let next = create(&io, "next");
    next.write_all_at(0, &[2; 10]).expect("written");
    next.sync().expect("synced");
    io.sync_dir(path("")).expect("synced");
    io.rename(path("next"), path("f")).expect("renamed");
    assert_eq!(io.list_dir(path("")).expect("listed"), ["f"]);
    let disk = sim.snapshot();
    let names = |image: &Image| {
        image
            .files()
            .map(|(name, len)| (name.to_owned(), len))
            .collect()
    };
    let both: Vec<(String, u64)> = names(&disk.crash(&Survival::None));
    assert_eq!(both, [("f".into(), BLOCK as u64), ("next".into(), 10)]);
    let new: Vec<(String, u64)> = names(&disk.crash(&Survival::All));
    assert_eq!(new, [("f".into(), 10)]);
    let two: Vec<(String, u64)> = names(&disk.crash(&Survival::Fates(vec![Fate::BothNames])));
    assert_eq!(two, [("f".into(), 10), ("next".into(), 10)]);
    io.sync_dir(path("")).expect("synced");
    let new: Vec<(String, u64)> = names(&sim.snapshot().crash(&Survival::None));
    assert_eq!(new, [("f".into(), 10)]);
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let (sim, io, file) = with_file(1);
    io.remove_file(path("f")).expect("removed");
    assert!(!io.exists(path("f")).expect("known"));
    assert_eq!(
        sim.snapshot().crash(&Survival::None).len("f"),
        Some(BLOCK as u64)
    );
    io.sync_dir(path("")).expect("synced");
    assert!(sim.snapshot().crash(&Survival::None).is_empty());
    // An open file outlives its name.
    let mut byte = [0];
    file.read_exact_at(0, &mut byte).expect("read");
    assert_eq!(byte, [1]);
}

/// A machine whose disk never tears writes of 4 or 8 KiB, with one durable file of four blocks of ones.
fn with_atomic_writes() -> (Sim, File) {
    let sim = Sim::new(1);
    sim.set_atomic_writes(Some(BLOCK..=2 * BLOCK));
    let io = sim.io();
    let file = io.open_atomic(path("f"), OpenMode::CreateNew);
    let file = file.expect("a new file");
    file.write_all_at(0, &[1; 4 * BLOCK]).expect("written");
    file.sync().expect("synced");
    io.sync_dir(path("")).expect("synced");
    (sim, file)
}

#[test]
fn an_atomic_write_is_there_or_not_and_its_neighbours_are_torn_as_ever() {
    let (sim, file) = with_atomic_writes();
    assert_eq!(file.atomic_sizes(), Some(BLOCK..=2 * BLOCK));
    let (plain, whole) = ([2; 2 * BLOCK], [3; 2 * BLOCK]);
    file.write_all_at(0, &plain).expect("written");
    file.write_atomic(&[(2 * BLOCK as u64, &whole)])
        .expect("written");
    let disk = sim.snapshot();
    let (mut torn, mut kept, mut lost, mut reordered) = (0, 0, 0, 0);
    let survivals = (0..400).map(|seed| Survival::Random { seed });
    let tears = (0..40).flat_map(|seed| {
        [1, 512, 4096].map(|unit| Survival::Fates(vec![Fate::Torn { unit, seed }; 2]))
    });
    let rest = [
        Survival::Fates(vec![Fate::LengthOnly; 2]),
        Survival::Fates(vec![
            Fate::TornPrefix {
                unit: 512,
                bytes: 5000
            };
            2
        ]),
    ];
    for survival in survivals.chain(tears).chain(rest) {
        let image = disk.crash(&survival);
        let read = |at: usize| image.read("f", at as u64, 2 * BLOCK).expect("as long");
        let (first, second) = (read(0), read(2 * BLOCK));
        torn += u32::from(first != [1; 2 * BLOCK] && first != plain);
        kept += u32::from(second == whole);
        lost += u32::from(second == [1; 2 * BLOCK]);
        reordered += u32::from(second == whole && first == [1; 2 * BLOCK]);
        assert!(second == whole || second == [1; 2 * BLOCK], "{survival:?}");
    }
    assert!(torn > 20 && kept > 20 && lost > 20 && reordered > 20);
    file.sync().expect("synced");
    let image = sim.snapshot().crash(&Survival::None);
    let durable = image.read("f", 2 * BLOCK as u64, 2 * BLOCK);
    assert_eq!(durable.as_deref(), Some(&whole[..]));
}

#[test]
fn an_atomic_write_that_is_not_promised_is_refused_and_changes_nothing() {
    let (sim, file) = with_atomic_writes();
    let refused = |file: &File, at: u64, len: usize| {
        let error = file.write_atomic(&[(at, &vec![9; len])]);
        assert_eq!(
            error.expect_err("refused").kind(),
            ErrorKind::Unsupported,
            "{len} at {at}"
        );
        assert!(sim.snapshot().pending().is_empty());
    };
    refused(&file, BLOCK as u64, 2 * BLOCK);
    refused(&file, 0, 3 * BLOCK);
    refused(&file, 0, 4 * BLOCK);
    refused(&file, 0, 512);
    let ordinary = sim.io().open(path("f"), OpenMode::ReadWrite);
    let ordinary = ordinary.expect("opens");
    assert_eq!(ordinary.atomic_sizes(), None, "nobody asked for them");
    refused(&ordinary, 0, BLOCK);
    // The file is moved to another disk, under the feet of whoever has it open.
    sim.set_atomic_writes(None);
    assert_eq!(file.atomic_sizes(), None);
    refused(&file, 0, BLOCK);
}

#[test]
fn an_atomic_write_fits_the_disk_wholly_or_not_at_all() {
    let (sim, file) = with_atomic_writes();
    sim.set_quota(Some(5 * BLOCK as u64));
    let error = file.write_atomic(&[(4 * BLOCK as u64, &[9; 2 * BLOCK])]);
    assert_eq!(error.expect_err("full").kind(), ErrorKind::StorageFull);
    assert!(sim.snapshot().pending().is_empty());
    file.write_atomic(&[(4 * BLOCK as u64, &[9; BLOCK])])
        .expect("fits");
}

#[test]
fn a_durable_write_settles_only_its_range() {
    let (sim, _, file) = with_file(1);
    file.write_all_at(0, &[2; 100]).expect("written");
    file.write_all_at_durably(40, &[3; 20]).expect("written");
    let disk = sim.snapshot();
    assert!(disk.is_durable(path("f"), 40..60));
    assert!(!disk.is_durable(path("f"), 39..60));
    assert!(!disk.is_durable(path("f"), 40..61));
    assert_eq!(
        disk.pending().len(),
        2,
        "what is left of the first write: {:?}",
        disk.pending()
    );
    let none = disk
        .crash(&Survival::None)
        .read("f", 0, 100)
        .expect("there");
    assert_eq!((none[39], none[40], none[59], none[60]), (1, 3, 3, 1));
    let all = disk.crash(&Survival::All).read("f", 0, 100).expect("there");
    assert_eq!((all[39], all[40], all[59], all[60]), (2, 3, 3, 2));
}

#[test]
fn a_durable_write_settles_a_pending_length() {
    let (sim, _, file) = with_file(1);
    file.write_all_at(100, &[2; 200]).expect("written");
    file.set_len(200).expect("cut");
    file.write_all_at_durably(0, b"x").expect("written");
    let disk = sim.snapshot();
    assert_eq!(disk.crash(&Survival::None).len("f"), Some(200));
    assert_eq!(disk.crash(&Survival::All).len("f"), Some(200));
    assert_eq!(
        disk.crash(&Survival::All).read("f", 99, 2),
        Some(vec![1, 2])
    );
}

#[test]
fn after_a_failed_sync_the_cache_says_new_and_the_disk_says_old() {
    let (sim, _, file) = with_file(1);
    sim.fail_sync(FailSync::next().on("f"));
    file.write_all_at(0, &[2; BLOCK]).expect("written");
    let error = file.sync().expect_err("the device refused");
    assert_eq!(error.raw_os_error(), Some(5));
    file.sync().expect("the next sync says OK");
    let disk = sim.snapshot();
    assert!(disk.pending().is_empty());
    assert!(!disk.is_durable(path("f"), 0..1));
    // A restarted process sees the new bytes, and its own sync says OK and changes nothing.
    let restarted = Sim::from_state(2, &disk.restart());
    let file = restarted
        .io()
        .open(path("f"), OpenMode::ReadWrite)
        .expect("there");
    let mut byte = [0];
    file.read_exact_at(0, &mut byte).expect("read");
    assert_eq!(byte, [2]);
    file.sync().expect("synced");
    let image = restarted.snapshot().crash(&Survival::All);
    assert_eq!(
        image.read("f", 0, 1),
        Some(vec![1]),
        "the power cut shows the old bytes"
    );
    // Only writing again heals.
    file.write_all_at(0, &[2; BLOCK]).expect("written");
    file.sync().expect("synced");
    assert!(restarted.snapshot().is_durable(path("f"), 0..4096));
}

#[test]
fn an_error_is_told_once_to_each_description_that_was_open() {
    let (sim, io, file) = with_file(1);
    let open = || io.open(path("f"), OpenMode::ReadWrite).expect("there");
    let before = open();
    sim.fail_sync(FailSync::next());
    file.write_all_at(0, &[2; BLOCK]).expect("written");
    file.sync().expect_err("the device refused");
    let after = open();
    after.sync().expect("it was opened too late to be told");
    before.sync().expect_err("it was open");
    before.sync().expect("it has been told");
    file.clone()
        .sync()
        .expect("the same description, and it has been told");
}

#[test]
fn other_ways_a_sync_can_fail() {
    for failure in [
        SyncFailure::CacheReverts,
        SyncFailure::SizeKeptDataZero,
        SyncFailure::NothingHappened,
    ] {
        let (sim, _, file) = with_file(1);
        sim.fail_sync(FailSync::next().leaving(failure));
        file.write_all_at(BLOCK as u64, b"tail").expect("written");
        file.sync().expect_err("the device refused");
        let cached = sim.snapshot().read_cached(path("f"), BLOCK as u64, 4);
        let cut = sim
            .snapshot()
            .crash(&Survival::All)
            .read("f", BLOCK as u64, 4);
        match failure {
            SyncFailure::CacheReverts => assert_eq!((cached, cut), (None, None)),
            SyncFailure::SizeKeptDataZero => {
                assert_eq!((cached, cut), (Some(b"tail".to_vec()), Some(vec![0; 4])));
            }
            _ => assert_eq!(
                (cached, cut),
                (Some(b"tail".to_vec()), Some(b"tail".to_vec()))
            ),
        }
    }
}

#[test]
fn failures_can_wait_and_last() {
    let (sim, _, file) = with_file(1);
    sim.fail_sync(FailSync::next().on("other"));
    file.sync().expect("not this file");
    sim.fail_sync(FailSync::next().on("f").after(2).for_ever());
    file.sync().expect("the first");
    file.write_all_at_durably(0, b"x").expect("the second");
    file.sync().expect_err("from now on");
    file.write_all_at_durably(0, b"y").expect_err("from now on");
    assert_eq!(
        sim.snapshot().read_cached(path("f"), 0, 1),
        Some(b"y".to_vec())
    );
    assert_eq!(
        sim.snapshot().crash(&Survival::All).read("f", 0, 1),
        Some(b"x".to_vec())
    );
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (sim, io, file) = with_file(1);
    sim.set_quota(Some(3 * BLOCK as u64));
    file.write_all_at(0, &[2; BLOCK])
        .expect("there is space already");
    let error = file
        .write_all_at(BLOCK as u64, &[2; 3 * BLOCK])
        .expect_err("too much");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(
        file.len().expect("known"),
        3 * BLOCK as u64,
        "a short write came first"
    );
    let other = create(&io, "other");
    assert_eq!(
        other.prefill(0, 10).expect_err("full").kind(),
        ErrorKind::StorageFull
    );
    other.set_len(1 << 30).expect("a length takes no space");
    other.write_all_at(0, b"x").expect_err("full");
    file.set_len(BLOCK as u64).expect("cut");
    other.write_all_at(0, b"x").expect("there is room again");
    io.remove_file(path("f")).expect("removed");
    other
        .prefill(0, 2 * BLOCK as u64)
        .expect("there is room again");
    sim.set_quota(None);
    other
        .write_all_at(1 << 20, &[1; 1 << 16])
        .expect("no limit");
}

#[test]
fn short_calls_and_interruptions_are_retried() {
    let (sim, _, file) = with_file(1);
    sim.set_hook_reads(true);
    sim.set_hook(Some(Box::new(|call, _| match call.index % 3 {
        0 => Verdict::Error(ErrorKind::Interrupted),
        _ => Verdict::Short(7),
    })));
    let data: Vec<u8> = (0..100).collect();
    file.write_all_at(50, &data).expect("written in the end");
    let mut read = vec![0; 100];
    file.read_exact_at(50, &mut read).expect("read in the end");
    assert_eq!(read, data);
    assert!(sim.calls() > 40);
    sim.set_hook(Some(Box::new(|_, _| Verdict::Short(0))));
    assert_eq!(
        file.write_all_at(0, b"x").expect_err("stuck").kind(),
        ErrorKind::WriteZero
    );
    assert_eq!(
        file.read_exact_at(0, &mut read).expect_err("stuck").kind(),
        ErrorKind::UnexpectedEof
    );
}

#[test]
fn the_chosen_call_fails_and_changes_nothing() {
    let run = |fail_at: u64| {
        let sim = Sim::new(3);
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == fail_at {
                Verdict::OsError(5)
            } else {
                Verdict::Continue
            }
        })));
        let io = sim.io();
        let work = || {
            io.create_dir(path("d"))?;
            let file = io.open(path("d/f"), OpenMode::Create)?;
            file.write_all_at(0, b"1")?;
            file.write_all_at_durably(1, b"2")?;
            file.prefill(2, 10)?;
            file.set_len(20)?;
            file.sync()?;
            io.rename(path("d/f"), path("d/g"))?;
            io.sync_dir(path("d"))?;
            io.remove_file(path("d/g"))
        };
        let result: std::io::Result<()> = work();
        (result, sim.calls())
    };
    let (result, calls) = run(u64::MAX);
    result.expect("nothing failed");
    assert_eq!(calls, 10);
    for fail_at in 0..calls {
        let (result, made) = run(fail_at);
        assert_eq!(
            result.expect_err("failed").raw_os_error(),
            Some(5),
            "call {fail_at}"
        );
        assert_eq!(made, fail_at + 1);
    }
}

#[test]
fn a_crash_unwinds_and_nothing_more_happens() {
    let (sim, io, file) = with_file(1);
    sim.set_hook(Some(Box::new(|call, disk| {
        assert_eq!(
            disk.read_cached(Path::new("f"), 0, 1),
            Some(vec![1]),
            "asked before"
        );
        if call.kind == CallKind::Write {
            Verdict::Crash
        } else {
            Verdict::Continue
        }
    })));
    struct Tidy(File);
    impl Drop for Tidy {
        fn drop(&mut self) {
            // In a drop during the unwind there is an error instead of a second unwind.
            assert!(self.0.write_all_at(0, b"late").is_err());
        }
    }
    let caught = sim.catch(|| {
        let tidy = Tidy(file.clone());
        tidy.0.write_all_at(0, b"x").expect("never returns");
    });
    assert!(caught.is_err() && io.has_crashed());
    assert_eq!(sim.snapshot().read_cached(path("f"), 0, 1), Some(vec![1]));
    let lock = afterimage_io::sync::Mutex::new(&io, 5);
    assert_eq!(*lock.lock(), 5, "what is left can be looked at");
    let again = sim.catch(|| io.exists(path("f")));
    assert!(again.is_err(), "a crashed world stays crashed");
}

#[test]
fn the_hook_can_snapshot_at_every_call() {
    let sim = Sim::new(1);
    let states: Arc<Mutex<Vec<DiskState>>> = Arc::default();
    let (inside, kept) = (sim.clone(), Arc::clone(&states));
    sim.set_hook(Some(Box::new(move |call, disk| {
        assert_eq!(inside.calls(), call.index + 1);
        assert_eq!(inside.snapshot().pending().len(), disk.pending().len());
        kept.lock().expect("whole").push(disk.clone());
        Verdict::Continue
    })));
    let file = create(&sim.io(), "f");
    for write in 0..10_u8 {
        file.write_all_at(u64::from(write), &[write])
            .expect("written");
    }
    let states = states.lock().expect("whole");
    let pending: Vec<usize> = states.iter().map(|state| state.pending().len()).collect();
    assert_eq!(pending, (0..=10).collect::<Vec<_>>());
    let hashes: std::collections::BTreeSet<u64> = states
        .iter()
        .map(|state| state.crash(&Survival::All).hash())
        .collect();
    assert_eq!(hashes.len(), 11);
}

#[test]
fn the_observer_is_told_what_took_effect() {
    struct Log(Mutex<Vec<String>>);
    impl Observer for Log {
        fn event(&self, disk: &DiskState, event: &Event<'_>) {
            if let Event::Written { path, offset, data } = event {
                let now = disk.read_cached(Path::new(path), *offset, data.len());
                assert_eq!(now.as_deref(), Some(*data), "told after");
            }
            let text = format!("{event:?}");
            let name = text.split([' ', '(']).next().unwrap_or_default();
            self.0.lock().expect("whole").push(name.to_owned());
        }
    }
    let sim = Sim::new(1);
    let log = Arc::new(Log(Mutex::default()));
    sim.set_observer(Some(log.clone()));
    let io = sim.io();
    let file = create(&io, "f");
    file.write_all_at(0, b"x").expect("written");
    file.sync().expect("synced");
    sim.fail_sync(FailSync::next());
    file.sync().expect_err("failed");
    io.note(afterimage_io::Note::Acknowledged { upto: 1 });
    io.sync_dir(path("")).expect("synced");
    sim.crash_now();
    assert_eq!(
        *log.0.lock().expect("whole"),
        [
            "Created",
            "Written",
            "Synced",
            "SyncFailed",
            "Note",
            "DirSynced",
            "Crashed"
        ]
    );
}

#[test]
fn images_compare_by_content_and_boot() {
    let (sim, _, _) = with_file(1);
    let mut image = sim.snapshot().crash(&Survival::None);
    let same = Sim::from_image(5, &image).snapshot().crash(&Survival::None);
    assert_eq!((same.hash(), &same), (image.hash(), &image));
    let before = image.clone();
    image.flip_bit("f", 100, 3);
    assert_ne!(image, before);
    assert_ne!(image.hash(), before.hash());
    image.flip_bit("f", 100, 3);
    assert_eq!(image, before);
    assert_eq!(image.hash(), before.hash());
    image.write_bytes("new/file", 3, b"abc");
    assert_eq!(
        bytes(&image, "new/file").as_deref(),
        Some(&b"\0\0\0abc"[..])
    );
    assert!(image.remove("new/file"));
    let booted = Sim::from_image(5, &image);
    assert!(booted.io().is_dir(path("new")).expect("known"));
    assert!(booted.snapshot().is_durable(path("f"), 0..4096));
}

#[test]
fn a_lock_is_held_until_it_is_dropped() {
    let (sim, io, _) = with_file(1);
    let lock = io.try_lock(path("lock")).expect("possible");
    assert!(matches!(lock, LockAttempt::Acquired(_)));
    match io.try_lock(path("lock")).expect("possible") {
        LockAttempt::Held { pid } => assert_eq!(pid, Some(io.process_id())),
        LockAttempt::Acquired(_) => panic!("two owners"),
    }
    let pid = sim.snapshot().read_cached(path("lock"), 0, 4);
    assert_eq!(pid.as_deref(), Some(&b"4242"[..]));
    drop(lock);
    let calls = sim.calls();
    let lock = io.try_lock(path("lock")).expect("possible");
    assert!(matches!(lock, LockAttempt::Acquired(_)));
    assert_eq!(sim.calls(), calls, "taking it again writes nothing");
    // The lock of a process that was killed is free.
    let restarted = Sim::from_state(2, &sim.snapshot().restart());
    let again = restarted.io().try_lock(path("lock")).expect("possible");
    assert!(matches!(again, LockAttempt::Acquired(_)));
}

#[test]
fn names_behave_as_on_a_real_system() {
    let sim = Sim::new(1);
    let io = sim.io();
    let kind = |result: std::io::Result<()>| result.expect_err("refused").kind();
    assert_eq!(
        kind(io.open(path("a/b"), OpenMode::Create).map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(io.open(path("a"), OpenMode::ReadWrite).map(drop)),
        ErrorKind::NotFound
    );
    assert_eq!(kind(io.create_dir(path("a/b"))), ErrorKind::NotFound);
    io.create_dir(path("/a")).expect("made");
    assert_eq!(kind(io.create_dir(path("a"))), ErrorKind::AlreadyExists);
    let file = create(&io, "./a/f");
    assert_eq!(
        kind(io.open(path("a/f"), OpenMode::CreateNew).map(drop)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(io.open(path("a"), OpenMode::Read).map(drop)),
        ErrorKind::IsADirectory
    );
    assert_eq!(kind(io.rename(path("x"), path("y"))), ErrorKind::NotFound);
    assert_eq!(kind(io.remove_file(path("x"))), ErrorKind::NotFound);
    assert_eq!(kind(io.sync_dir(path("x"))), ErrorKind::NotFound);
    assert_eq!(
        kind(io.list_dir(path("a/f")).map(drop)),
        ErrorKind::NotADirectory
    );
    assert_eq!(io.list_dir(path("a")).expect("listed"), ["f"]);
    assert_eq!(file.read_at(10, &mut [0; 4]).expect("the end"), 0);
    let reader = io.open(path("a/f"), OpenMode::Read).expect("there");
    assert_eq!(
        kind(reader.write_all_at(0, b"x")),
        ErrorKind::PermissionDenied
    );
    assert_eq!(kind(file.set_len(u64::MAX)), ErrorKind::FileTooLarge);
}

#[test]
fn a_small_trial_is_cheap() {
    let (sim, _, file) = with_file(1);
    file.prefill(0, 16 << 20).expect("filled");
    file.sync().expect("synced");
    let image = sim.snapshot().crash(&Survival::None);
    let began = std::time::Instant::now();
    let trials = 1000;
    for seed in 0..trials {
        let sim = Sim::from_image(seed, &image);
        let file = sim
            .io()
            .open(path("f"), OpenMode::ReadWrite)
            .expect("there");
        file.write_all_at(8192, &[seed as u8 | 1; 100])
            .expect("written");
        assert_ne!(sim.snapshot().crash(&Survival::All).hash(), image.hash());
    }
    let each = began.elapsed() / u32::try_from(trials).expect("small");
    // Tens of microseconds; the bound is loose for slow machines.
    assert!(each < std::time::Duration::from_millis(1), "{each:?} each");
    println!("{each:?} a trial");
}
