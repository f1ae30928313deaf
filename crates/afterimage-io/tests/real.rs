//! The real world, and the overlay over it that changes no byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use afterimage_io::sim::{Sim, Survival};
use afterimage_io::{DurableWrites, Io, LockAttempt, OpenMode, SyncMethod};

/// A directory of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let unique = format!("afterimage-io-{}-{name}", std::process::id());
        let place = std::env::temp_dir().join(unique);
        drop(fs::remove_dir_all(&place));
        fs::create_dir_all(&place).expect("a temporary directory");
        Place(place)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Everything a program of this crate can do with files, ending in a known state.
fn work(io: &Io, top: &Path) -> Result<()> {
    let dir = top.join("dir");
    io.create_dir(&dir)?;
    io.sync_dir(top)?;
    assert!(io.is_dir(&dir)? && !io.is_dir(&dir.join("no"))?);
    let file = io.open(&dir.join("a"), OpenMode::CreateNew)?;
    assert_eq!(
        io.open(&dir.join("a"), OpenMode::CreateNew)
            .expect_err("taken")
            .kind(),
        ErrorKind::AlreadyExists
    );
    file.prefill(0, 300_000)?;
    file.write_all_at(4000, &[1; 5000])?;
    file.write_all_at_durably(100, b"durable")?;
    file.sync()?;
    file.set_len(6000)?;
    file.set_len(7000)?;
    file.sync_all()?;
    assert_eq!(file.len()?, 7000);
    let mut bytes = vec![9; 7000];
    file.read_exact_at(0, &mut bytes)?;
    assert_eq!(
        (&bytes[100..107], bytes[3999], bytes[4000]),
        (&b"durable"[..], 0, 1)
    );
    assert_eq!(
        (bytes[5999], bytes[6000]),
        (1, 0),
        "what was cut does not come back"
    );
    assert_eq!(file.read_at(7000, &mut bytes)?, 0);
    assert_eq!(
        file.read_exact_at(6990, &mut bytes)
            .expect_err("short")
            .kind(),
        ErrorKind::UnexpectedEof
    );
    let other = io.open(&dir.join("b"), OpenMode::Create)?;
    other.write_all_at(0, b"b")?;
    other.sync()?;
    io.rename(&dir.join("b"), &dir.join("c"))?;
    io.open(&dir.join("gone"), OpenMode::Create)?;
    io.remove_file(&dir.join("gone"))?;
    io.sync_dir(&dir)?;
    assert_eq!(io.list_dir(&dir)?, ["a", "c"]);
    assert!(io.exists(&dir.join("c"))? && !io.exists(&dir.join("b"))?);
    assert_eq!(
        io.open(&dir.join("b"), OpenMode::ReadWrite)
            .expect_err("renamed")
            .kind(),
        ErrorKind::NotFound
    );
    Ok(())
}

/// All files below a directory with their bytes, and what the system says about when they changed.
fn contents(top: &Path) -> BTreeMap<PathBuf, (Vec<u8>, Option<std::time::SystemTime>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(top).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, (Vec::new(), None));
        } else {
            let changed = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .ok();
            found.insert(path.clone(), (fs::read(&path).expect("a file"), changed));
        }
    }
    found
}

#[test]
fn all_worlds_do_the_same() {
    let (real, over) = (Place::new("same-real"), Place::new("same-overlay"));
    work(&Io::os(), &real.0).expect("the real world");
    work(&Io::overlay(), &over.0).expect("the overlay");
    let sim = Sim::new(1);
    work(&sim.io(), Path::new("")).expect("the simulated world");
    assert!(contents(&over.0).is_empty(), "the overlay wrote nothing");
    let image = sim.snapshot().page_cache();
    let dumped = Place::new("same-dumped");
    image.dump_to_dir(&dumped.0).expect("written");
    for (name, len) in image.files() {
        let bytes = fs::read(real.at(name)).expect("there too");
        assert_eq!(
            image
                .read(name, 0, usize::try_from(len).expect("small"))
                .as_ref(),
            Some(&bytes)
        );
        assert_eq!(fs::read(dumped.at(name)).expect("dumped"), bytes);
    }
    assert_eq!(
        image.files().count() + image.dirs().count(),
        contents(&real.0).len()
    );
    assert_eq!(sim.snapshot().crash(&Survival::None), image);
}

#[test]
#[cfg(unix)]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("modes");
    work(&Io::os(), &place.0).expect("the real world");
    let mode = |name: &str| {
        fs::metadata(place.at(name))
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("dir"), mode("dir/a")), (0o700, 0o600));
}

#[test]
fn an_overlay_changes_no_byte() {
    let place = Place::new("overlay");
    fs::write(place.at("kept"), vec![1; 10_000]).expect("written");
    fs::write(place.at("removed"), b"still here").expect("written");
    let before = contents(&place.0);

    let io = Io::overlay();
    let kept = io
        .open(&place.at("kept"), OpenMode::ReadWrite)
        .expect("there");
    kept.write_all_at(5000, &[2; 10_000]).expect("in memory");
    kept.sync().expect("nothing to do");
    io.remove_file(&place.at("removed")).expect("in memory");
    io.open(&place.at("new"), OpenMode::CreateNew)
        .expect("in memory");
    io.rename(&place.at("new"), &place.at("newer"))
        .expect("in memory");
    let lock = io.try_lock(&place.at("lock")).expect("possible");
    assert!(matches!(lock, LockAttempt::Acquired(_)));

    assert_eq!(io.list_dir(&place.0).expect("listed"), ["kept", "newer"]);
    let again = io.open(&place.at("kept"), OpenMode::Read).expect("there");
    let mut bytes = vec![0; 15_000];
    again.read_exact_at(0, &mut bytes).expect("read");
    assert_eq!((bytes[4999], bytes[5000], bytes[14_999]), (1, 2, 2));
    assert_eq!(
        again.write_all_at(0, b"x").expect_err("for reading").kind(),
        ErrorKind::PermissionDenied
    );
    kept.set_len(100).expect("in memory");
    kept.set_len(200).expect("in memory");
    let mut cut = vec![9; 200];
    again.read_exact_at(0, &mut cut).expect("read");
    assert_eq!(
        (cut[99], cut[100], cut[199]),
        (1, 0, 0),
        "real bytes that were cut stay cut"
    );
    assert_eq!(contents(&place.0), before);

    let fresh = Io::overlay();
    assert_eq!(
        fresh.list_dir(&place.0).expect("listed"),
        ["kept", "removed"],
        "forgotten"
    );
}

#[test]
fn one_owner_at_a_time() {
    let place = Place::new("lock");
    let io = Io::os();
    let lock = io.try_lock(&place.at("lock")).expect("possible");
    assert!(matches!(lock, LockAttempt::Acquired(_)));
    let own = format!("{}\n", std::process::id());
    assert_eq!(fs::read_to_string(place.at("lock")).expect("readable"), own);
    for other in [Io::os(), Io::overlay()] {
        match other.try_lock(&place.at("lock")).expect("possible") {
            LockAttempt::Held { pid } => assert_eq!(pid, Some(io.process_id())),
            LockAttempt::Acquired(_) => panic!("two owners"),
        }
    }
    drop(lock);
    let reader = Io::overlay().try_lock(&place.at("lock")).expect("possible");
    assert!(matches!(reader, LockAttempt::Acquired(_)));
    let writer = io.try_lock(&place.at("lock")).expect("possible");
    assert!(
        matches!(writer, LockAttempt::Held { .. }),
        "a reader is inside"
    );
    drop(reader);
    assert!(matches!(
        io.try_lock(&place.at("lock")).expect("possible"),
        LockAttempt::Acquired(_)
    ));
}

#[test]
fn clocks_and_chance() {
    let io = Io::os();
    let before = io.now();
    io.sleep(Duration::from_millis(3));
    assert!(io.now() >= before + Duration::from_millis(3));
    assert!(io.wall_clock() > 1_700_000_000_000_000);
    assert_ne!(io.random(), io.random());
    assert!(!io.is_simulated() && !io.has_crashed());
    let (one, same, other) = (Sim::new(1).io(), Sim::new(1).io(), Sim::new(2).io());
    let first = one.random();
    assert_eq!(first, same.random());
    assert_ne!(first, other.random());
    assert_ne!(first, one.random());
    assert!(one.is_simulated());
}

#[test]
fn durable_writes_in_every_way_are_read_back() {
    let place = Place::new("durable");
    let io = Io::os();
    let mut offered = 0;
    for (n, method) in SyncMethod::ALL.into_iter().enumerate() {
        for direct in [false, true] {
            let path = place.at(&format!("{method}-{direct}"));
            let writes = DurableWrites { method, direct };
            let file = match io.open_durable(&path, OpenMode::CreateNew, writes) {
                Ok(file) => file,
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Unsupported, "{writes}: {e}");
                    continue;
                }
            };
            offered += 1;
            let bytes: Vec<u8> = (0..8193u32).map(|i| (i as usize + n) as u8).collect();
            file.prefill(0, 16384).expect("zeroes");
            // Not on a block boundary in memory, for once.
            let written = file.write_all_at_durably(4096, &bytes[1..]);
            written.unwrap_or_else(|e| panic!("{writes}: {e}"));
            file.write_all_at(4100, b"ordinary").expect("beside it");
            file.sync().expect("a sync beside it");
            let mut found = vec![0; 8192];
            file.read_exact_at(4096, &mut found).expect("all of it");
            assert_eq!(&found[4..12], b"ordinary", "{writes}");
            assert_eq!(found[12..], bytes[13..], "{writes}");
            let block = file.block();
            assert!((512..=4096).contains(&block) && block.is_power_of_two());
            let few = &bytes[1..=block as usize];
            let written = file.write_all_at_durably(4096 + block, few);
            written.unwrap_or_else(|e| panic!("{writes}: {e}"));
            let mut found = vec![0; few.len()];
            file.read_exact_at(4096 + block, &mut found)
                .expect("all of it");
            assert_eq!(found, few, "{writes}");
            let odd = file.write_all_at_durably(5, &bytes[..100]);
            assert_eq!(
                odd.is_err(),
                direct,
                "{writes}: whole blocks only where direct"
            );
        }
    }
    assert!(offered >= 4, "the plain ways are offered everywhere");
}

/// Where a disk promises that writes are never torn they are read back through the page cache; where it does not they are refused, and
/// nothing has changed.
#[test]
fn atomic_writes_are_promised_and_made_or_refused() {
    let place = Place::new("atomic");
    for io in [Io::os(), Io::overlay()] {
        let path = place.at("f");
        let file = io.open_atomic(&path, OpenMode::Create).expect("opens");
        file.write_all_at(0, &[1; 1 << 17]).expect("written");
        file.sync().expect("synced");
        let size = file.atomic_sizes().map_or(4096, |sizes| *sizes.end());
        let written = file.write_atomic(&[(0, &vec![2; size])]);
        let mut seen = vec![0; size];
        file.read_exact_at(0, &mut seen).expect("read");
        match written {
            Ok(()) => assert!(file.atomic_sizes().is_some() && seen == vec![2; size]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(file.atomic_sizes().is_none() && seen == vec![1; size]);
            }
        }
        let reader = io.open_atomic(&path, OpenMode::Read).expect("opens");
        assert_eq!(reader.atomic_sizes(), None, "nothing is to be written");
    }
}
