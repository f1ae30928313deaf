//! Crashes of the real command on a real directory: a load that is killed, and the demo.

mod common;

use common::{Scratch, command, ok, row, rows_text, run, run_with_input, sorted_rows};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Loads many rows, kills the load after `acknowledged` batches were seen, and gives the number of rows acknowledged.
fn load_and_kill(db: &str, file: &str, batch: u64, batches_seen: u64) -> u64 {
    let batch_text = batch.to_string();
    let mut child = command(&["load", db, "t", file, "--progress", "--batch", &batch_text])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut acknowledged = 0;
    let mut seen = 0;
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    while let Some(Ok(line)) = lines.next() {
        if let Some(number) = line.strip_prefix("acknowledged ") {
            acknowledged = number.parse().expect("a number");
            seen += 1;
        }
        if seen == batches_seen {
            child.kill().expect("it can be killed");
        }
    }
    child.wait().expect("it ends");
    acknowledged
}

#[test]
fn a_killed_load_leaves_whole_batches() {
    let scratch = Scratch::new();
    let file = scratch.path("rows.tsv");
    let mut text = String::new();
    for (key, value) in (0..200_000).map(row) {
        writeln!(text, "{key}\t{value}").expect("memory");
    }
    std::fs::write(&file, text).expect("the input is written");
    for (attempt, batches_seen) in [3, 57, 131].into_iter().enumerate() {
        let db = scratch.path(&format!("db{attempt}"));
        let batch = 100;
        let acknowledged = load_and_kill(&db, &file, batch, batches_seen);
        assert!(
            acknowledged >= batches_seen * batch && acknowledged < 200_000,
            "{acknowledged}"
        );

        let exported = ok(&["export", &db, "t"]).text();
        let rows = exported.lines().count() as u64;
        assert!(
            rows == acknowledged || rows == acknowledged + batch,
            "{rows} rows, {acknowledged} acknowledged"
        );
        assert_eq!(exported, sorted_rows(rows));

        ok(&["recover", &db]);
        assert_eq!(ok(&["export", &db, "t"]).text(), exported);
        ok(&["verify", &db]);
    }
}

/// Loads a new table and kills that at a line of its progress that begins with `at`. True if it was over before.
fn load_new_and_kill(db: &str, file: &str, how: &[&str], at: &str) -> bool {
    let mut child = command(&[&["load", db, "t", file, "--new", "--progress"], how].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    while let Some(Ok(line)) = lines.next() {
        if line == at {
            child.kill().expect("it can be killed");
        }
    }
    child.wait().expect("it ends").success()
}

#[test]
fn a_killed_load_of_a_new_table_leaves_all_of_it_or_nothing() {
    let scratch = Scratch::new();
    let (any, sorted) = (scratch.path("any.tsv"), scratch.path("sorted.tsv"));
    let rows = 50_000;
    std::fs::write(&any, rows_text(0, rows)).expect("the input is written");
    std::fs::write(&sorted, sorted_rows(rows)).expect("the input is written");
    let little = ["--sort-memory", "128KiB"];
    for (attempt, (file, how, at)) in [
        (&sorted, &["--sorted"][..], "read 23000"),
        (&sorted, &["--sorted"], "read 50000, all"),
        (&any, &little, "read 40000"),
        (&any, &little, "read 50000, all"),
    ]
    .into_iter()
    .enumerate()
    {
        let db = scratch.path(&format!("db{attempt}"));
        run_with_input(&["load", &db, "kept"], rows_text(0, 5).as_bytes()).expect(0);
        let whole = load_new_and_kill(&db, file, how, at);
        let names = ok(&["tables", &db]).lines();
        if names == ["kept", "t"] {
            assert_eq!(ok(&["export", &db, "t"]).text(), sorted_rows(rows));
        } else {
            assert_eq!(names, ["kept"]);
            assert!(!whole);
        }
        ok(&["recover", &db]);
        ok(&["verify", &db]);
        let left = std::fs::read_dir(&db).expect("a directory");
        let spilled = left
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find(|name| name.starts_with("sorting"));
        assert_eq!(spilled, None);
        // It can be loaded again.
        if names == ["kept"] {
            ok(&["load", &db, "t", file, "--new"]);
            assert_eq!(ok(&["export", &db, "t"]).text(), sorted_rows(rows));
        }
    }
}

#[test]
fn a_short_demo_loses_nothing() {
    let scratch = Scratch::new();
    let bank = scratch.path("bank");
    let ended = run(&[
        "demo",
        "--dir",
        &bank,
        "--seconds",
        "2",
        "--kills",
        "2",
        "--clients",
        "4",
        "--seed",
        "7",
    ])
    .expect(0);
    let text = ended.text();
    let last = text.lines().last().expect("a verdict");
    let numbers: Vec<u64> = last
        .split(['=', ' '])
        .filter_map(|word| word.parse().ok())
        .collect();
    let [kills, acknowledged, recovered, lost, half] = numbers[..] else {
        panic!("{last}")
    };
    assert_eq!(
        last,
        format!("kills=2 acknowledged={acknowledged} recovered={recovered} lost=0 half=0 sum=ok")
    );
    assert_eq!((kills, lost, half), (2, 0, 0));
    assert!(acknowledged > 0 && recovered >= acknowledged, "{last}");
    for word in [
        "SIGKILL",
        "Analysis",
        "Redo",
        "Undo",
        "cargo xtask sim",
        "seed 7",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    ok(&["verify", &bank]);
    assert_eq!(
        ok(&["export", &bank, "transfers"]).lines().len() as u64,
        recovered
    );
    run(&["demo", "--dir", &bank]).expect(2);
}

/// Every transfer changes one row, is counted there exactly once, also in every snapshot taken meanwhile; and the row's
/// history is that of the transfers.
#[test]
fn a_hot_demo_counts_every_transfer_once() {
    let scratch = Scratch::new();
    let bank = scratch.path("bank");
    let clients = [
        "--clients",
        "8",
        "--kills",
        "2",
        "--seconds",
        "2",
        "--readers",
        "2",
    ];
    let ended = run(&[&["demo", "--hot", "--json", "--dir", &bank], &clients[..]].concat());
    let document: serde_json::Value =
        serde_json::from_str(&ended.expect(0).text()).expect("one JSON document");
    assert_eq!(
        (&document["lost"], &document["half"], &document["sum"]),
        (&json!(0), &json!(0), &json!("ok"))
    );
    assert!(document["snapshots"].as_u64() > Some(0));
    assert_eq!(document["taken_back"], json!(0));
    let rounds = document["rounds"].as_array().expect("rounds");
    let clients: Vec<_> = rounds.iter().map(|round| &round["clients"]).collect();
    assert_eq!(clients, [1, 8, 8, 8]);
    let times = document["hot"]["times"].as_f64().expect("a number");
    assert!(times > 0.0);
    let branch = ok(&["get", &bank, "branches", "main"]).text();
    let counted = branch
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok());
    assert_eq!(counted, document["recovered"].as_u64(), "{branch}");
    ok(&["verify", &bank]);
}

#[test]
fn a_demo_tells_one_document_and_leaves_nothing() {
    let scratch = Scratch::new();
    let ended = command(&[
        "demo",
        "--seconds",
        "0.6",
        "--kills",
        "1",
        "--clients",
        "2",
        "--json",
    ])
    .current_dir(scratch.path(""))
    .stdin(Stdio::null())
    .output()
    .expect("it runs");
    let document: serde_json::Value =
        serde_json::from_slice(&ended.stdout).expect("one JSON document");
    assert_eq!(ended.status.code(), Some(0), "{document}");
    assert_eq!(
        (&document["lost"], &document["half"], &document["sum"]),
        (&json!(0), &json!(0), &json!("ok"))
    );
    assert_eq!(document["rounds"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        std::fs::read_dir(scratch.path(""))
            .expect("a directory")
            .count(),
        0
    );
}

#[test]
fn a_benchmark_prints_a_row_for_each_number_of_clients() {
    let scratch = Scratch::new();
    let place = scratch.path("bench");
    let document = ok(&[
        "bench",
        "commit",
        "--dir",
        &place,
        "--clients",
        "1,2",
        "--seconds",
        "0.2",
        "--json",
    ])
    .json();
    let rows = document["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["commits"].as_u64() > Some(0), "{row}");
        assert!(
            row["multiple_of_single_write"].as_f64() > Some(0.0),
            "{row}"
        );
        assert!(row["log_bytes_per_commit"].as_f64() > Some(100.0), "{row}");
    }
}

#[test]
fn a_sync_delay_slows_the_benchmark_and_its_calibration_alike() {
    let scratch = Scratch::new();
    let place = scratch.path("bench");
    let args = [
        "bench",
        "commit",
        "--dir",
        &place,
        "--clients",
        "1",
        "--seconds",
        "0.2",
        "--sync-delay",
        "3ms",
        "--json",
    ];
    let row = &ok(&args).json()["rows"][0];
    assert!(
        row["single_write_before"]["p50_seconds"].as_f64() >= Some(0.003),
        "{row}"
    );
    assert!(row["p50_seconds"].as_f64() >= Some(0.003), "{row}");
}
