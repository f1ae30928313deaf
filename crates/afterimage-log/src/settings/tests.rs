//! Each setting is written as it is read; what is not a setting is refused by name, in a file with its line.

use super::*;
use afterimage_io::sim::Sim;

fn put_file(io: &Io, dir: &Path, text: &str) {
    let _ = io.create_dir(dir);
    let file = io.open(&dir.join(FILE), OpenMode::Create).expect("creates");
    file.write_all_at(0, text.as_bytes()).expect("writes");
}

#[test]
fn what_is_shown_is_taken_again() {
    for setting in TABLE {
        let before = LogOptions::default();
        let info = setting.info(&before, Source::Default);
        assert_eq!(info.value, info.default);
        let mut after = before.clone();
        after.set(info.name, &info.value).expect(info.name);
        assert_eq!(before, after, "{}", info.name);
        for text in [info.what, info.too_low, info.too_high, info.unit] {
            assert!(!text.is_empty(), "{}", info.name);
        }
    }
}

#[test]
fn each_setting_reaches_its_own_option() {
    for setting in TABLE {
        let (low, high) = match setting.kind {
            Kind::Size(low, high) | Kind::PowerOfTwo(low, high) => (low, high),
            Kind::Count(low, high) | Kind::Share(low, high) => (low, high),
            Kind::Duration(low, high) => (nanos(low), nanos(high)),
            Kind::OneOf(words) => (0, words.len() as u64 - 1),
        };
        for value in [low, high] {
            let mut options = LogOptions::default();
            let text = setting.write(value);
            options.set(setting.name, &text).expect(setting.name);
            assert_eq!((setting.get)(&options), value, "{}", setting.name);
            for other in TABLE.iter().filter(|other| other.name != setting.name) {
                let default = (other.get)(&LogOptions::default());
                assert_eq!((other.get)(&options), default, "{}", other.name);
            }
        }
        if !matches!(setting.kind, Kind::OneOf(_)) {
            let mut options = LogOptions::default();
            (setting.set)(&mut options, high + 1);
            let refused = options.check().expect_err(setting.name).to_string();
            assert!(refused.contains(setting.name), "{refused}");
            assert!(options.set(setting.name, "-1").is_err(), "{}", setting.name);
        }
    }
}

#[test]
fn a_share_is_what_is_written() {
    let kind = Kind::Share(100, 1000);
    for (text, value) in [("0.9", 900), ("1", 1000), ("0.125", 125), (" 0.50", 500)] {
        assert_eq!(kind.parse(text), Ok(value));
        assert_eq!(kind.parse(&kind.write(value)), Ok(value));
    }
    assert_eq!(
        (kind.write(900), kind.write(1000)),
        ("0.9".into(), "1".into())
    );
    for text in ["", ".5", "0.", "-0.5", "90%", "0.1234", "1e-1", "0.5.5"] {
        assert!(kind.parse(text).is_err(), "{text}");
    }
    assert!(kind.takes(100) && !kind.takes(99) && !kind.takes(1001));
}

#[test]
fn what_changes_while_the_log_is_open_says_so() {
    let io = Sim::new(1).io();
    let identity = crate::Identity {
        database_id: 1,
        timeline_id: 2,
        timeline_ordinal: 1,
    };
    let log = crate::Log::create(&io, Path::new(""), &identity, 1, &LogOptions::default())
        .expect("creates");
    for setting in TABLE {
        let value = setting.write((setting.get)(&LogOptions::default()));
        let changed = log.set(setting.name, &value);
        assert_eq!(
            changed.is_ok(),
            setting.changes_while_running,
            "{}: {changed:?}",
            setting.name
        );
        assert!(log.set(setting.name, "-1").is_err());
    }
    let refused = log
        .set("wal_buffers", "1MiB")
        .expect_err("stays")
        .to_string();
    assert!(
        refused.contains("wal_buffers") && refused.contains("open again"),
        "{refused}"
    );
}

#[test]
fn other_names_are_refused() {
    let mut options = LogOptions::default();
    let misspelt = options.set("wal_bufers", "1MiB").expect_err("misspelt");
    assert_eq!(
        misspelt.to_string(),
        "there is no setting wal_bufers; did you mean wal_buffers?"
    );
    let strange = options.set("colour", "red").expect_err("unknown");
    assert_eq!(strange.to_string(), "there is no setting colour");
    let later = options.set("wal_level", "logical").expect_err("later");
    assert!(
        later.to_string().contains("wal_level: it does nothing yet"),
        "{later}"
    );
    for name in LATER {
        let acts = find(TABLE, name).is_some();
        assert!(!acts, "{name} acts now: take it out of LATER");
    }
}

#[test]
fn words_stand_for_values_beyond_the_bounds() {
    let mut options = LogOptions::default();
    options.set("flushes_in_flight", "4").expect("taken");
    options.set("flushes_in_flight", "auto").expect("taken");
    assert_eq!(options.flushes_in_flight, 0);
    assert!(options.set("flushes_in_flight", "0").is_ok());
    let many = options.set("flushes_in_flight", "many").expect_err("no");
    assert!(many.to_string().contains("or auto"), "{many}");
}

#[test]
fn the_file_is_read_and_what_is_given_goes_over_it() {
    let io = Sim::new(1).io();
    let dir = Path::new("log");
    assert_eq!(
        LogOptions::from_file(&io, dir).expect("no file is no settings"),
        LogOptions::default()
    );
    put_file(
        &io,
        dir,
        "# for the small machine\nwal_buffers = \"1MiB\"\ncommit_siblings = 3\n\n'wal_segment_size' = '1 MiB'\n",
    );
    let options = LogOptions::from_file(&io, dir).expect("reads");
    assert_eq!(options.wal_buffers, 1 << 20);
    assert_eq!(options.commit_siblings, 3);
    assert_eq!(options.segment_bytes, 1 << 20);
    let given = [("wal_buffers".to_owned(), "2MiB".to_owned())];
    let shown = LogOptions::settings(&io, dir, &given).expect("reads");
    let of = |name: &str| {
        let info = shown.iter().find(|info| info.name == name).expect(name);
        (info.value.as_str(), info.source)
    };
    assert_eq!(shown.len(), TABLE.len());
    assert_eq!(of("wal_buffers"), ("2MiB", Source::Set));
    assert_eq!(of("commit_siblings"), ("3", Source::File { line: 3 }));
    assert_eq!(of("wal_segment_size"), ("1MiB", Source::File { line: 5 }));
    assert_eq!(of("spare_segments"), ("1", Source::Default));
}

#[test]
fn the_segment_size_of_a_log_stays() {
    let io = Sim::new(3).io();
    let dir = Path::new("log");
    put_file(&io, dir, "\nwal_segment_size = \"1MiB\"\n");
    let options = LogOptions::from_file(&io, dir).expect("reads");
    let options = LogOptions {
        background: false,
        ..options
    };
    let wal = crate::Wal::open(&io, dir, &options).expect("makes it");
    wal.close().expect("closes");

    let given = |value: &str| {
        let pair = ("wal_segment_size".to_owned(), value.to_owned());
        LogOptions::from_file_and(&io, dir, &[pair])
    };
    let options = given("1MiB").expect("that is what it is");
    assert_eq!(options.segment_bytes, 1 << 20);
    let refused = given("2MiB").expect_err("it is there").to_string();
    assert_eq!(
        refused,
        "setting wal_segment_size: 2MiB was asked for, but the log was made with 1MiB"
    );
    io.remove_file(&dir.join(FILE)).expect("removes");
    let options = LogOptions::from_file(&io, dir).expect("reads");
    assert_eq!(options.segment_bytes, 1 << 20, "nobody says anything");
    put_file(&io, dir, "\nwal_segment_size = \"16MiB\"\n");
    match LogOptions::from_file(&io, dir) {
        Err(Error::SettingsFile { line: 2, what, .. }) => assert!(what.contains("made with 1MiB")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_file_is_told_by_line_and_setting() {
    let io = Sim::new(2).io();
    let dir = Path::new("log");
    for (text, line, what) in [
        ("\nwal_bufers = \"1MiB\"\n", 2, "did you mean wal_buffers?"),
        (
            "wal_buffers = 1048576\n",
            1,
            "wal_buffers: `1048576` has no unit",
        ),
        ("\n\nwal_buffers = \"1KiB\"", 3, "from 64KiB to 1GiB"),
        ("wal_buffers = -1\n", 1, "wal_buffers"),
        ("commit_siblings = 0.5\n", 1, "commit_siblings"),
        ("wal_level = true\n", 1, "wal_level: it does nothing yet"),
        (
            "wal_buffers = \"1MiB\"\nwal_buffers = \"1MiB\"\n",
            2,
            "duplicate",
        ),
        ("[log]\nwal_buffers = \"1MiB\"\n", 1, "log"),
        ("spare_segments = 2\nwal_buffers = \"1Mi", 2, "string"),
        ("# \u{fffd}\nspare_segments 2\n", 2, ""),
    ] {
        let _ = io.remove_file(&dir.join(FILE));
        put_file(&io, dir, text);
        match LogOptions::from_file(&io, dir) {
            Err(Error::SettingsFile {
                path,
                line: found,
                what: why,
            }) => {
                assert_eq!(path, dir.join(FILE));
                assert_eq!(found, line, "{text:?}: {why}");
                assert!(why.contains(what), "{text:?}: {why}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

/// A read may stop anywhere, or be interrupted: what is left of the file is read all the same.
#[test]
fn a_file_is_read_whole_whatever_a_read_stops_at() {
    use afterimage_io::sim::{CallKind, Verdict};
    let text = "spare_segments = 2\nwal_buffers = \"1MiB\"\n";
    for first in (1..text.len())
        .map(Verdict::Short)
        .chain([Verdict::OsError(4)])
    {
        let sim = Sim::new(1);
        put_file(&sim.io(), Path::new("d"), text);
        let mut reads = 0;
        sim.set_hook_reads(true);
        sim.set_hook(Some(Box::new(move |call, _| {
            reads += u32::from(call.kind == CallKind::Read);
            match reads {
                1 => first,
                _ => Verdict::Continue,
            }
        })));
        let lines = read_file(&sim.io(), Path::new("d")).expect("reads");
        assert_eq!(lines.len(), 2, "{first:?}");
    }
}

#[test]
fn the_document_has_every_setting() {
    let document = include_str!("../../../../docs/settings.md");
    check_document(document, "## Of a log", TABLE);
}
