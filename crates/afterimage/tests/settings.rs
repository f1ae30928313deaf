//! The promise of the settings: by name they are taken or refused, never ignored; what a program says goes over
//! `settings.toml`, that over the defaults; what is fixed at creation is said, and not overruled.

use std::path::Path;
use std::time::Duration;

use afterimage::{Durability, Error, Io, Options, SettingInfo, Source, inspect};
use afterimage_io::OpenMode;
use afterimage_io::sim::Sim;

fn put_file(io: &Io, text: &str) {
    let _ = io.create_dir(Path::new("d"));
    let path = Path::new("d/settings.toml");
    let _ = io.remove_file(path);
    let file = io.open(path, OpenMode::Create).expect("creates");
    file.write_all_at(0, text.as_bytes()).expect("writes");
}

fn options(io: &Io) -> Options {
    Options::new().io(io.clone()).background(false)
}

fn of<'a>(shown: &'a [SettingInfo], name: &str) -> (&'a str, Source) {
    let info = shown.iter().find(|info| info.name == name).expect(name);
    (&info.value, info.source)
}

#[test]
fn every_setting_is_taken_as_it_is_shown() {
    for info in Options::new().settings() {
        assert_eq!(info.source, Source::Default, "{}", info.name);
        assert_eq!(info.value, info.default, "{}", info.name);
        let set = Options::new()
            .set(info.name, &info.value)
            .expect(info.name)
            .settings();
        assert_eq!(of(&set, info.name), (&*info.value, Source::Set));
        assert_eq!(set.len(), Options::new().settings().len());
    }
}

#[test]
fn a_set_value_reaches_its_own_setting_only() {
    let other = |name: &str| match name {
        "page_size" => "16KiB",
        "buffer_pool_size" => "32MiB",
        "max_wal_size" => "2GiB",
        "checkpoint_timeout" => "90s",
        "synchronous_commit" => "os",
        "wal_segment_size" => "1MiB",
        "wal_buffers" => "1MiB",
        "wal_writer_delay" => "10ms",
        "commit_delay" => "20us",
        "checkpoint_completion_target" => "0.5",
        _ => "3",
    };
    let default = Options::new().settings();
    for info in &default {
        let Ok(set) = Options::new().set(info.name, other(info.name)) else {
            // Words differ from setting to setting: one that takes no number is tried with its own.
            continue;
        };
        for now in set.settings() {
            let expected = if now.name == info.name {
                other(info.name)
            } else {
                &now.default
            };
            assert_eq!(now.value, expected, "{} after {}", now.name, info.name);
        }
    }
}

#[test]
fn a_method_does_what_its_name_does() {
    let by_method = [
        ("page_size", "16KiB", Options::new().page_size(16 << 10)),
        (
            "buffer_pool_size",
            "32MiB",
            Options::new().buffer_pool_size(32 << 20),
        ),
        (
            "wal_segment_size",
            "1MiB",
            Options::new().wal_segment_size(1 << 20),
        ),
        ("max_wal_size", "2GiB", Options::new().max_wal_size(2 << 30)),
        ("wal_buffers", "1MiB", Options::new().wal_buffers(1 << 20)),
        (
            "checkpoint_timeout",
            "90s",
            Options::new().checkpoint_timeout(Duration::from_secs(90)),
        ),
        (
            "wal_writer_delay",
            "10ms",
            Options::new().wal_writer_delay(Duration::from_millis(10)),
        ),
        (
            "commit_delay",
            "20us",
            Options::new().commit_delay(Duration::from_micros(20)),
        ),
        ("commit_siblings", "3", Options::new().commit_siblings(3)),
        (
            "checkpoint_completion_target",
            "0.55",
            Options::new().checkpoint_completion_target(0.55),
        ),
        ("io_capacity", "200", Options::new().io_capacity(200)),
        (
            "io_capacity_max",
            "2000",
            Options::new().io_capacity_max(2000),
        ),
        (
            "synchronous_commit",
            "os",
            Options::new().synchronous_commit(Durability::Os),
        ),
    ];
    for (name, value, options) in by_method {
        let by_name = Options::new().set(name, value).expect(name);
        assert_eq!(options.settings(), by_name.settings(), "{name}");
    }
}

#[test]
fn names_that_do_nothing_are_refused() {
    let misspelt = Options::new().set("bufer_pool_size", "1MiB");
    assert!(matches!(
        misspelt,
        Err(Error::UnknownSetting { name, nearest: Some("buffer_pool_size") }) if name == "bufer_pool_size"
    ));
    for name in ["wal_level", "max_slot_wal_keep_size", "archive_timeout"] {
        let later = Options::new().set(name, "1").expect_err(name).to_string();
        assert!(later.contains("it does nothing yet"), "{later}");
        assert!(later.contains(name), "{later}");
    }
}

#[test]
fn code_goes_over_the_file_and_the_file_over_the_defaults() {
    let io = Sim::new(1).io();
    put_file(
        &io,
        "# small\npage_size = \"4KiB\"\nbuffer_pool_size = \"1MiB\"\nwal_segment_size = \"64KiB\"\nsynchronous_commit = false\n",
    );
    let said = || options(&io).buffer_pool_size(2 << 20);
    let before = inspect::settings(Path::new("d"), &said()).expect("no database yet");
    assert_eq!(of(&before, "page_size"), ("4KiB", Source::File { line: 2 }));
    assert_eq!(of(&before, "buffer_pool_size"), ("2MiB", Source::Set));
    let db = said().open("d").expect("creates beside the file");
    assert_eq!(db.stats().pool_frames, 2 << 20 >> 12);
    let live = inspect::settings(Path::new("d"), &said()).expect("takes no lock");
    db.close().expect("closes");
    assert_eq!(of(&live, "page_size"), ("4KiB", Source::Creation));
    assert_eq!(of(&live, "wal_segment_size"), ("64KiB", Source::Creation));
    assert_eq!(
        of(&live, "synchronous_commit"),
        ("memory", Source::File { line: 5 })
    );
    assert_eq!(of(&live, "max_wal_size"), ("1GiB", Source::Default));

    // Said in code to be what it is by default: that, too, goes over the file.
    let default = inspect::settings(Path::new("d"), &options(&io).buffer_pool_size(64 << 20));
    let default = default.expect("looks");
    assert_eq!(of(&default, "buffer_pool_size"), ("64MiB", Source::Set));
    let db = options(&io).open("d").expect("opens");
    assert_eq!(db.stats().pool_frames, 1 << 20 >> 12, "from the file");
}

#[test]
fn what_is_fixed_is_not_overruled() {
    let io = Sim::new(2).io();
    let small = options(&io)
        .page_size(4096)
        .wal_segment_size(64 << 10)
        .buffer_pool_size(256 << 10);
    small.open("d").expect("creates").close().expect("closes");
    options(&io)
        .open("d")
        .expect("who says nothing gets what is there");
    let page = options(&io).page_size(8192).open("d");
    assert!(
        matches!(
            &page,
            Err(Error::FixedAtCreation { name: "page_size", asked, existing })
                if asked == "8KiB" && existing == "4KiB"
        ),
        "{page:?}"
    );
    put_file(&io, "wal_segment_size = \"16MiB\"\n");
    let segment = options(&io).open("d");
    assert!(
        matches!(
            segment,
            Err(Error::FixedAtCreation {
                name: "wal_segment_size",
                ..
            })
        ),
        "{segment:?}"
    );
    put_file(
        &io,
        "wal_segment_size = \"64KiB\"\nmax_wal_size = \"256KiB\"\n",
    );
    options(&io)
        .open("d")
        .expect("agrees, and four segments are those of this database");
}

#[test]
fn contradictions_are_refused_before_anything_is_made() {
    let io = Sim::new(3).io();
    let refused = |options: Options, name: &str| match options.open("made") {
        Err(Error::BadOption { name: found, .. }) => assert_eq!(found, name),
        other => panic!("{other:?}"),
    };
    refused(options(&io).max_wal_size(63 << 20), "max_wal_size");
    let less = options(&io).io_capacity(200).io_capacity_max(100);
    refused(less, "io_capacity_max");
    refused(
        options(&io).page_size(64 << 10).buffer_pool_size(511 << 10),
        "buffer_pool_size",
    );
    refused(
        options(&io).page_size(64 << 10).wal_segment_size(256 << 10),
        "wal_segment_size",
    );
    assert!(!io.exists(Path::new("made")).expect("looks"));
}

#[test]
fn a_wrong_file_is_refused_by_line_and_changes_nothing() {
    let io = Sim::new(4).io();
    for (text, line, what) in [
        (
            "buffer_pool_size = 64\n",
            1,
            "buffer_pool_size: `64` has no unit",
        ),
        (
            "\nbufer_pool_size = \"1MiB\"",
            2,
            "did you mean buffer_pool_size?",
        ),
        (
            "\n\nwal_level = \"replica\"",
            3,
            "wal_level: it does nothing yet",
        ),
        (
            "page_size = \"5000B\"\n",
            1,
            "a power of two from 4KiB to 64KiB",
        ),
        (
            "synchronous_commit = \"replica\"\n",
            1,
            "one of memory, os, disk",
        ),
    ] {
        put_file(&io, text);
        // A value that is overruled is refused all the same: it would count the next time.
        match options(&io).page_size(8192).open("d") {
            Err(Error::SettingsFile {
                line: found,
                what: why,
                path,
            }) => {
                assert_eq!(path, Path::new("d/settings.toml"));
                assert_eq!(found, line, "{why}");
                assert!(why.contains(what), "{why}");
            }
            other => panic!("{text}: {other:?}"),
        }
        let names = io.list_dir(Path::new("d")).expect("lists");
        assert_eq!(names, ["settings.toml"]);
    }
}

/// All that says it changes while the database is open does, and shows; what does not is refused, with what to do.
#[test]
fn what_changes_while_the_database_is_open_says_so() {
    let io = Sim::new(5).io();
    let db = options(&io).page_size(4096).open("d").expect("creates");
    let before = db.settings();
    assert_eq!(of(&before, "page_size"), ("4KiB", Source::Creation));
    let mut changing = Vec::new();
    for info in &before {
        let other = match info.name {
            "checkpoint_completion_target" => "0.5",
            "max_wal_size" => "128MiB",
            "checkpoint_timeout" => "9s",
            "commit_delay" => "1ms",
            _ if info.value == "unlimited" => "1000",
            _ => &info.value,
        };
        // A limit may not be above the one for times of pressure; so both ways are tried.
        let result = match info.name {
            "io_capacity_max" => db.set("io_capacity", "500").and(db.set(info.name, other)),
            _ => db.set(info.name, other),
        };
        let now = db.settings();
        if info.changes_while_running {
            result.expect(info.name);
            assert_eq!(of(&now, info.name), (other, Source::Set));
            changing.push(info.name);
            continue;
        }
        let refused = result.expect_err(info.name).to_string();
        assert!(refused.contains(info.name), "{refused}");
        assert!(
            refused.contains("open again") || refused.contains("never"),
            "{refused}"
        );
        assert_eq!(of(&now, info.name), of(&before, info.name));
    }
    assert_eq!(
        changing,
        [
            "max_wal_size",
            "checkpoint_timeout",
            "checkpoint_completion_target",
            "io_capacity",
            "io_capacity_max",
            "commit_delay",
            "commit_siblings"
        ]
    );
    assert_eq!(db.stats().max_wal_size, 128 << 20);
    for (name, value) in [
        ("io_capacity_max", "499"),
        ("max_wal_size", "63MiB"),
        ("max_wal_size", "64"),
        ("io_capacty", "3"),
        ("wal_level", "minimal"),
    ] {
        let refused = db.set(name, value).expect_err(value).to_string();
        assert!(refused.contains(name), "{refused}");
    }
    assert_eq!(db.stats().max_wal_size, 128 << 20);
    db.close().expect("closes");
    let db = options(&io).open("d").expect("opens");
    assert_eq!(
        of(&db.settings(), "max_wal_size"),
        ("1GiB", Source::Default)
    );
}
