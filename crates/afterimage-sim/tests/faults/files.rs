//! Files that are not what they were: zeroed, gone, cut, spoilt in clusters, somebody else's, older; and taken away while they
//! are in use.

use super::*;
use afterimage_io::OpenMode;
use afterimage_sim::choices::Choices;
use std::path::Path;

/// F33, F24. Of a closed database everything that is left of the log is proven, and a page that is gone is missed.
#[test]
fn a_file_that_is_zeroed_or_gone_is_never_a_lie() {
    let (image, right) = database(1, true);
    let mut refused = 0;
    for (file, len) in files(&image) {
        for gone in [false, true] {
            let mut bad = image.clone();
            if gone {
                bad.remove(&file);
            } else {
                bad.write_bytes(&file, 0, &vec![0; len as usize]);
            }
            let found = look_strictly(&bad);
            assert_no_lie(&found, &right, &format!("{file}, gone: {gone}"));
            let must = ["control", "pages"]
                .iter()
                .any(|f| file == layout().path(f));
            assert!(
                !must || !matches!(found, Found::Rows(_)),
                "{file}, gone: {gone}"
            );
            refused += u32::from(!matches!(found, Found::Rows(_)));
        }
    }
    assert!(refused >= 6, "{refused}");
}

/// F33.
#[test]
fn a_file_cut_at_any_length_is_never_a_lie() {
    let (image, right) = database(2, true);
    for (file, len) in files(&image) {
        let step = if file.ends_with("control") { 64 } else { 4096 };
        let places = (0..len)
            .step_by(step)
            .flat_map(|at| [at, at + 1, (at + step as u64 - 1).min(len - 1)]);
        for at in places.filter(|at| *at < len) {
            let mut bad = image.clone();
            bad.set_len(&file, at);
            assert_no_lie(&look(&bad), &right, &format!("{file} cut at {at}"));
        }
    }
}

/// F33: bad sectors come in clusters.
#[test]
fn clusters_of_bad_sectors_are_never_a_lie() {
    let (image, right) = database(3, true);
    let mut choices = Choices::new(3);
    for n in 0..120 {
        let (file, len) = choices.pick(&files(&image)).clone();
        let mut bad = image.clone();
        let at = choices.below(len / 512) * 512;
        let sectors = 1 + choices.below(128);
        for sector in 0..sectors {
            let place = at + sector * 512;
            if place + 512 <= len && choices.chance(2, 3) {
                let fill = if choices.chance(1, 2) {
                    0
                } else {
                    choices.word() as u8
                };
                bad.write_bytes(&file, place, &[fill; 512]);
            }
        }
        assert_no_lie(
            &look(&bad),
            &right,
            &format!("{n}: {file} from {at}, {sectors} sectors"),
        );
    }
}

/// Puts `file` of one disk into another.
fn exchange(into: &Image, from: &Image, file: &str) -> Option<Image> {
    let len = from.len(file)?;
    let mut image = into.clone();
    image.set_len(file, len);
    image.write_bytes(file, 0, &from.read(file, 0, len as usize)?);
    (image != *into).then_some(image)
}

/// F34.
#[test]
fn a_file_of_another_database_is_refused() {
    for closed in [true, false] {
        let (one, right) = database(4, closed);
        let (other, _) = database(5, closed);
        for (file, _) in files(&one) {
            let Some(bad) = exchange(&one, &other, &file) else {
                continue;
            };
            let found = look(&bad);
            let name = file.trim_start_matches("db/");
            assert_no_lie(&found, &right, &format!("{file}, closed: {closed}"));
            // What the area holds is of no use to anybody else.
            let may = name == "doublewrite";
            assert!(
                may || !matches!(found, Found::Rows(_)),
                "{file}, closed: {closed}: {found:?}"
            );
        }
    }
}

/// F34: the same database, some time ago; behind a clean stop, and behind a crash that came before the next checkpoint and after it.
#[test]
fn an_older_copy_of_a_file_is_refused() {
    let (older, _) = database(6, true);
    for (closed, checkpoints) in [(true, 0), (false, 0), (false, 2)] {
        let sim = Sim::from_image(7, &older);
        let db = open(&sim).expect("opens");
        for n in 20..50 {
            put(&db, n, b'n');
        }
        for _ in 0..checkpoints {
            db.checkpoint().expect("takes a checkpoint");
        }
        db.close().expect("closes");
        let db = open(&sim).expect("opens");
        put(&db, 7, b'o');
        for _ in 0..checkpoints {
            db.checkpoint().expect("takes a checkpoint");
        }
        let right = rows(&db).expect("reads");
        if closed {
            db.close().expect("closes");
        } else {
            sim.crash_now();
            drop(afterimage_sim::outcome::run(move || drop(db)));
        }
        let newer = sim.snapshot().crash(&Survival::None);
        let mut refused = 0;
        for (file, _) in files(&older) {
            if let Some(bad) = exchange(&newer, &older, &file) {
                let found = look_strictly(&bad);
                assert_no_lie(&found, &right, &format!("{file}, closed: {closed}"));
                let refusal = matches!(found, Found::Refused(_));
                let is_pages = file == layout().path("pages");
                assert!(refusal || !is_pages, "{file}, closed: {closed}: {found:?}");
                if let (true, Found::Refused(e)) = (is_pages, &found) {
                    let text = e.to_string();
                    assert!(text.contains("the last clean stop"), "{text}");
                }
                refused += u32::from(refusal);
            }
        }
        assert!(refused >= 3 || !closed, "{refused}");
    }
}

/// F34, F33: the file of a clean stop is as long as it was then, or longer: a shrinking whose sync failed in a process before leaves it so.
#[test]
fn a_file_of_another_length_behind_a_clean_stop_is_refused() {
    let (image, right) = database(10, true);
    let pages = layout().path("pages");
    let len = image.len(&pages).expect("pages");
    let with_len = |wrong| {
        let mut bad = image.clone();
        bad.set_len(&pages, wrong);
        look_strictly(&bad)
    };
    let shorter = with_len(len - 4096);
    let Found::Refused(e) = &shorter else {
        panic!("{shorter:?}");
    };
    assert!(e.is_corruption(), "{e:?}");
    let longer = with_len(len + 4096);
    assert!(
        matches!(&longer, Found::Rows(rows) if *rows == right),
        "{longer:?}"
    );
}

/// F24: somebody removes a file that is in use, or cuts it. What was acknowledged since is there, or nothing is.
#[test]
fn a_file_that_is_taken_away_while_in_use_is_never_a_lie() {
    let (image, _) = database(8, true);
    for (file, len) in files(&image) {
        for cut in [None, Some(0), Some(len / 2)] {
            let sim = Sim::from_image(9, &image);
            let db = open(&sim).expect("opens");
            put(&db, 1, b'1');
            match cut {
                None => sim.io().remove_file(Path::new(&file)).expect("removes"),
                Some(len) => {
                    let handle = sim.io().open(Path::new(&file), OpenMode::ReadWrite);
                    handle.and_then(|f| f.set_len(len)).expect("cuts");
                }
            }
            let mut acknowledged = Vec::new();
            for n in 0..300u32 {
                let Ok(table) = db.table(TABLE) else { break };
                let key = format!("n{n}").into_bytes();
                match db.put(&table, &key, &[b'n'; 500]) {
                    Ok(()) => acknowledged.push(key),
                    Err(_) => break,
                }
                if n % 50 == 0 {
                    drop(db.checkpoint());
                }
            }
            let left = sim.snapshot().page_cache();
            sim.crash_now();
            drop(afterimage_sim::outcome::run(move || drop(db)));
            let found = look(&left);
            if let Found::Rows(rows) = &found {
                let lost = |key: &&Vec<u8>| !rows.contains_key(*key);
                let lost = acknowledged.iter().filter(lost).count();
                assert_eq!(lost, 0, "{file} {cut:?}");
            }
        }
    }
}
