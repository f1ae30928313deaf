//! `afterimage settings` and `settings.toml`: what is shown is what counts, with where it came from; a file that is
//! wrong is refused by line, with exit code 2.

mod common;

use common::{Scratch, ok, run, run_with_input};
use serde_json::Value;
use std::fs;

/// The settings of a JSON document, each with value and source.
fn listed(document: &Value) -> Vec<(String, String, String)> {
    let text = |info: &Value, name: &str| info[name].as_str().expect(name).to_owned();
    let all = document["settings"].as_array().expect("an array");
    all.iter()
        .map(|info| {
            (
                text(info, "name"),
                text(info, "value"),
                text(info, "source"),
            )
        })
        .collect()
}

fn json(args: &[&str]) -> Vec<(String, String, String)> {
    let ended = ok(&[&["settings", "--json"], args].concat());
    listed(&serde_json::from_slice(&ended.stdout).expect("JSON"))
}

#[test]
fn every_setting_of_the_registry_is_shown() {
    let registry = afterimage::Options::new().settings();
    let names: Vec<_> = registry.iter().map(|info| info.name).collect();
    let shown = json(&[]);
    let found: Vec<_> = shown.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(found, names);
    let text = ok(&["settings"]).text();
    for info in &registry {
        assert!(text.contains(&format!("\n{} ", info.name)) || text.starts_with(info.name));
        for part in [
            info.what,
            &info.bounds,
            info.too_low,
            info.too_high,
            info.unit,
            &info.default,
        ] {
            assert!(text.contains(part), "{}: {part}", info.name);
        }
    }
}

#[test]
fn the_source_of_each_value_is_told() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    fs::create_dir(&db).expect("creates");
    fs::write(
        format!("{db}/settings.toml"),
        "page_size = \"4KiB\"\nmax_wal_size = \"2GiB\"\nwal_buffers = \"1MiB\"\n",
    )
    .expect("writes");
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    let shown = json(&[&db, "--set", "max_wal_size=3GiB"]);
    let of = |name: &str| {
        let found = shown.iter().find(|(found, ..)| found == name).expect(name);
        (found.1.clone(), found.2.clone())
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(of("page_size"), pair("4KiB", "fixed at creation"));
    assert_eq!(of("wal_segment_size"), pair("16MiB", "fixed at creation"));
    assert_eq!(of("max_wal_size"), pair("3GiB", "set"));
    assert_eq!(of("wal_buffers"), pair("1MiB", "file"));
    assert_eq!(of("checkpoint_timeout"), pair("5min", "default"));
    let text = ok(&["settings", &db]).text();
    assert!(text.contains("(settings.toml line 3)"), "{text}");

    let fixed = run(&["tables", &db, "--set", "page_size=8KiB"]).expect(2);
    assert!(
        fixed.stderr.contains("page_size") && fixed.stderr.contains("made with 4KiB"),
        "{}",
        fixed.stderr
    );
    run(&["settings", &scratch.path("nothing")]).expect(2);
}

#[test]
fn a_wrong_file_is_refused_by_line_by_every_command_that_opens() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    fs::write(format!("{db}/settings.toml"), "\nmax_wal_size = 5\n").expect("writes");
    for command in [
        &["tables", &db][..],
        &["get", &db, "t", "a"],
        &["put", &db, "t", "a", "2"],
        &["verify", &db],
        &["settings", &db],
    ] {
        let refused = run(command).expect(2);
        for part in ["settings.toml line 2", "max_wal_size", "has no unit"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
    }
    fs::remove_file(format!("{db}/settings.toml")).expect("removes");
    assert_eq!(ok(&["get", &db, "t", "a"]).text(), "1\n");
}

#[test]
fn a_log_alone_shows_the_settings_of_a_log() {
    let scratch = Scratch::new();
    let dir = scratch.path("events");
    let options = afterimage_log::LogOptions {
        segment_bytes: 1 << 20,
        ..afterimage_log::LogOptions::default()
    };
    let io = afterimage_io::Io::os();
    let log = afterimage_log::Wal::open(&io, dir.as_ref(), &options).expect("creates");
    log.close().expect("closes");
    let shown = json(&[&dir, "--set", "wal_buffers=1MiB"]);
    let names: Vec<_> = shown.iter().map(|(name, ..)| name.as_str()).collect();
    let table = afterimage_log::settings::TABLE;
    assert_eq!(names, table.iter().map(|s| s.name).collect::<Vec<_>>());
    let segment = shown.iter().find(|(name, ..)| name == "wal_segment_size");
    let (_, value, source) = segment.expect("is shown");
    assert_eq!((&**value, &**source), ("1MiB", "fixed at creation"));
}

#[test]
fn a_log_takes_its_settings_from_its_file_and_from_the_command_line() {
    let scratch = Scratch::new();
    let dir = scratch.path("events");
    let file = format!("{dir}/settings.toml");
    fs::create_dir(&dir).expect("creates");
    fs::write(&file, "wal_segment_size = \"64KiB\"\n").expect("writes");
    let append = |more: &[&str]| {
        let lines = "a record of some forty characters, or so\n".repeat(4000);
        run_with_input(&[&["log", "append", &dir], more].concat(), lines.as_bytes())
    };
    append(&[]).expect(0);
    let segments = fs::read_dir(format!("{dir}/log")).expect("a directory");
    for segment in segments {
        let len = segment.expect("a file").metadata().expect("a file").len();
        assert_eq!(len, 64 << 10, "the file counts");
    }

    // What the slot holds back is far above 64 KiB: the default keeps it, the setting does not.
    let state = || {
        let slots = ok(&["log", "slots", &dir, "--json"]).json();
        slots["slots"][0]["state"].clone()
    };
    ok(&["log", "slots", &dir, "--create", "mailer"]);
    append(&[]).expect(0);
    assert_eq!(state(), "active");
    fs::write(
        &file,
        "wal_segment_size = \"64KiB\"\nrecycle_behind_slots = \"on\"\nmax_slot_wal_keep_size = \"64KiB\"\n",
    )
    .expect("writes");
    append(&["--set", "max_slot_wal_keep_size=1GiB"]).expect(0);
    assert_eq!(state(), "active", "the command line goes over the file");
    append(&[]).expect(0);
    assert_eq!(state(), "lost");

    for (set, why) in [
        ("wal_segment_size=1MiB", "made with 64KiB"),
        ("buffer_pool_size=64MiB", "no setting buffer_pool_size"),
    ] {
        let refused = append(&["--set", set]).expect(2);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    fs::write(&file, "\nwal_bufers = \"1MiB\"\n").expect("writes");
    for refused in [
        append(&[]),
        run(&["log", "slots", &dir, "--drop", "mailer"]),
    ] {
        let refused = refused.expect(2);
        for part in ["settings.toml line 2", "did you mean wal_buffers?"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
    }
    ok(&["log", "cat", &dir]);
}
