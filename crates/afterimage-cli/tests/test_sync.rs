//! `afterimage test-sync`: every row is there, the file is not, whatever ended it.

mod common;

use common::{Scratch, command, ok, run};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn is_empty(dir: &str) -> bool {
    std::fs::read_dir(dir)
        .expect("it is there")
        .next()
        .is_none()
}

#[test]
fn every_way_has_its_row_and_nothing_stays_behind() {
    let scratch = Scratch::new();
    let dir = scratch.path("");
    let ended = ok(&["test-sync", &dir, "--seconds", "0.2", "--json"]);
    let document = ended.json();
    let rows = document["rows"].as_array().expect("rows");
    for method in ["fdatasync", "open_datasync", "fsync", "open_sync"] {
        for direct in [false, true] {
            let of_this = rows.iter().filter(|row| {
                row["kind"] == "sequential"
                    && row["wal_sync_method"] == method
                    && row["wal_direct_io"] == direct
            });
            let sizes: Vec<_> = of_this.filter_map(|row| row["bytes"].as_u64()).collect();
            let [block, 8192, 65536] = sizes[..] else {
                panic!("{method} {direct}: {sizes:?}");
            };
            // As the log does: sectors where it passes the page cache by, else pages of it.
            let sector = direct && (512..=4096).contains(&block) && block.is_power_of_two();
            assert!(sector || block == 4096, "{method} {direct}: {block}");
        }
    }
    let uses = |kind: &str, key: &str| -> Vec<&Value> {
        let of_kind = rows.iter().filter(|row| row["kind"] == kind);
        of_kind.map(|row| &row[key]).collect()
    };
    assert_eq!(uses("commits", "commits_per_sync"), [1, 100]);
    assert_eq!(uses("random", "bytes"), [8192]);
    assert_eq!(uses("threads", "threads"), [1, 2, 4]);
    assert_eq!(rows.len(), 24 + 6);
    let number = |row: &Value, key: &str| row[key].as_f64().expect("a number");
    for row in rows {
        if row["offered"] == true {
            assert!(number(row, "writes") >= 1.0, "{row}");
            let (p50, p99) = (number(row, "p50_seconds"), number(row, "p99_seconds"));
            assert!(0.0 < p50 && p50 <= p99, "{row}");
            assert!(number(row, "writes_per_second") > 0.0, "{row}");
        } else {
            assert!(
                row["why_not"].is_string() && row["writes"].is_null(),
                "{row}"
            );
        }
    }
    let chosen = &document["recommendation"];
    assert!(
        rows.iter().any(|row| row["offered"] == true
            && row["wal_sync_method"] == chosen["wal_sync_method"]
            && row["wal_direct_io"] == chosen["wal_direct_io"]),
        "{chosen}"
    );
    assert!(is_empty(&dir));
}

#[test]
fn a_person_can_read_it_on_a_terminal() {
    let scratch = Scratch::new();
    let dir = scratch.path("");
    let ended = ok(&["test-sync", &dir, "--seconds", "0.1"]);
    let text = ended.text();
    for line in text
        .lines()
        .filter(|line| !line.starts_with("durable writes in"))
    {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for part in [
        "open_datasync, direct",
        "100 commits of 128 B in one sync",
        "8 KiB pages at random places",
        "4 threads",
        "wal_sync_method = ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(ended.stderr.contains("measuring"), "{}", ended.stderr);
    assert!(is_empty(&dir));
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_no_file() {
    let scratch = Scratch::new();
    let dir = scratch.path("");
    let mut child = command(&["test-sync", &dir, "--seconds", "3600"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("measuring")));
    assert!(!is_empty(&dir), "there is a file while it measures");
    let pid = child.id().to_string();
    let told = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(told.expect("kill runs").success());
    let code = child.wait().expect("it ends").code();
    let rest: Vec<_> = lines.collect();
    assert_eq!(code, Some(3), "{rest:?}");
    assert!(is_empty(&dir), "{rest:?}");
}

#[test]
fn a_place_where_nothing_can_be_written_is_usage() {
    let scratch = Scratch::new();
    let (dir, file) = (scratch.path(""), scratch.path("file"));
    let missing = run(&["test-sync", &scratch.path("missing")]).expect(2);
    assert!(
        missing.stderr.contains("no such directory"),
        "{}",
        missing.stderr
    );
    assert!(!std::path::Path::new(&scratch.path("missing")).exists());
    std::fs::write(&file, "").expect("a file");
    run(&["test-sync", &file]).expect(2);
    for seconds in ["0", "-1", "NaN", "1e9"] {
        run(&["test-sync", &dir, &format!("--seconds={seconds}")]).expect(2);
    }
    // Root may write anywhere but here.
    if cfg!(target_os = "linux") {
        let refused = run(&["test-sync", "/proc"]).expect(2);
        assert!(
            refused.stderr.contains("no file can be written"),
            "{}",
            refused.stderr
        );
    }
    std::fs::remove_file(&file).expect("it is there");
    assert!(is_empty(&dir));
}
