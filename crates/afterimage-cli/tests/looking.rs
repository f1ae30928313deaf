//! Looking changes nothing: reading commands leave every byte of a database as it is, closed, killed or held open.

mod common;

use common::{
    Holder, Scratch, fingerprint, killed, ok, rows_text, run, run_with_input, sorted_rows,
};
use serde_json::json;

/// Runs every reading command and compares every byte before and after.
fn look(db: &str, table: &str, key: &str) {
    let before = fingerprint(db);
    for args in [
        &["get", db, table, key][..],
        &["scan", db, table, "--limit", "3"],
        &["export", db, table],
        &["tables", db],
        &["verify", db],
        &["stats", db],
        &["pins", db],
        &["log", "dump", db],
        &["log", "dump", db, "--images", "--limit", "5"],
    ] {
        ok(args);
        assert_eq!(fingerprint(db), before, "{args:?} changed something");
        let mut with_json = args.to_vec();
        with_json.push("--json");
        ok(&with_json).json();
    }
    assert_eq!(fingerprint(db), before);
}

#[test]
fn a_closed_database_stays_as_it_is() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], rows_text(0, 2000).as_bytes()).expect(0);
    look(&db, "t", &common::row(7).0);
}

#[test]
fn a_killed_database_is_read_as_if_recovered_and_stays_killed() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    killed(&db, "t", 2000);
    look(&db, "t", &common::row(7).0);
    assert_eq!(ok(&["export", &db, "t"]).text(), sorted_rows(2000));

    let report = ok(&["recover", &db, "--json"]).json();
    assert_eq!(report["clean"], json!(false), "{report}");
    assert_eq!(ok(&["recover", &db, "--json"]).json()["clean"], json!(true));
    assert_eq!(ok(&["export", &db, "t"]).text(), sorted_rows(2000));
    look(&db, "t", &common::row(7).0);
}

#[test]
fn a_database_in_use_is_refused_with_its_holder() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let holder = Holder::with_rows(&db, "t", 500, 50);
    let pid = format!("process {}", holder.pid());
    for args in [
        &["get", &db, "t", "k"][..],
        &["scan", &db, "t"],
        &["export", &db, "t"],
        &["tables", &db],
        &["verify", &db],
        &["put", &db, "t", "k", "v"],
        &["delete", &db, "t", "k"],
        &["checkpoint", &db],
        &["recover", &db],
        &["load", &db, "t"],
    ] {
        let refused = run(args).expect(3);
        assert!(
            refused.stderr.contains(&pid),
            "{args:?}: {}",
            refused.stderr
        );
        assert!(
            refused.stderr.contains("in use"),
            "{args:?}: {}",
            refused.stderr
        );
        assert!(refused.stdout.is_empty(), "{args:?}: {}", refused.text());
    }
    drop(holder);
    ok(&["tables", &db]);
}

#[test]
fn a_live_database_tells_its_numbers_and_its_log() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let holder = Holder::with_rows(&db, "t", 500, 50);
    let stats = ok(&["stats", &db, "--json"]).json();
    assert_eq!(stats["holder"]["pid"], json!(holder.pid()), "{stats}");
    for name in [
        "next_lsn",
        "written_lsn",
        "durable_lsn",
        "redo_lsn",
        "checkpoint_lsn",
        "checkpoint_age",
        "commits",
        "wal_syncs",
    ] {
        assert!(stats[name].is_u64(), "{name}: {stats}");
    }
    let text = ok(&["stats", &db]).text();
    for word in [
        "next LSN",
        "durable LSN",
        "redo point",
        "checkpoint age",
        "torn pages",
        "timed",
        "forced",
        "commits",
        "syncs",
        "ago",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // The holder says so again every half second; when it had just made the database, nothing was pinned yet.
    let look = || ok(&["pins", &db, "--json"]).json();
    let pins = (0..1000)
        .map(|_| look())
        .find(|pins| pins["pins"][0].is_object());
    let pins = pins.expect("something is pinned");
    assert_eq!(pins["holder"]["pid"], json!(holder.pid()), "{pins}");
    let first = &pins["pins"][0];
    assert!(first["lsn"].is_u64() && first["bytes"].is_u64(), "{pins}");
    assert!(first["holder"].is_string(), "{pins}");
    let text = ok(&["pins", &db]).text();
    assert!(text.contains("held by"), "{text}");
    let log = ok(&["log", "dump", &db]).lines();
    assert!(
        log.iter().filter(|line| line.contains("commit")).count() >= 10,
        "{log:#?}"
    );
}

#[test]
fn the_log_shows_what_was_written() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"alice\t100\n").expect(0);
    ok(&["put", &db, "t", "alice", "2500"]);
    let dump = ok(&["log", "dump", &db, "--images"]).text();
    assert!(
        ["alice", "before  100", "after   2500"]
            .iter()
            .all(|word| dump.contains(word)),
        "{dump}"
    );
    assert!(!ok(&["log", "dump", &db]).text().contains("alice"));

    let document = ok(&["log", "dump", &db, "--json"]).json();
    let records = document["records"].as_array().expect("an array").clone();
    assert!(records.len() > 3, "{document}");
    let lsns: Vec<u64> = records
        .iter()
        .map(|record| record["lsn"].as_u64().expect("an LSN"))
        .collect();
    assert!(lsns.is_sorted(), "{lsns:?}");
    let from = lsns[lsns.len() / 2].to_string();
    run(&["log", "dump", &db, "--from", "99999999999"]).expect(2);
    run(&["log", "dump", &db, "--from", "0"]).expect(2);
    let later = ok(&["log", "dump", &db, "--from", &from, "--json"]).json();
    assert_eq!(
        later["records"].as_array().map(Vec::len),
        Some(lsns.len() - lsns.len() / 2)
    );
    assert_eq!(
        ok(&["log", "dump", &db, "--limit", "2", "--json"]).json()["records"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn a_checkpoint_moves_the_redo_point() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    killed(&db, "t", 1000);
    ok(&["recover", &db]);
    let before = ok(&["stats", &db, "--json"]).json();
    ok(&["put", &db, "t", "k", "v"]);
    let told = ok(&["checkpoint", &db, "--json"]).json();
    assert!(
        told["checkpoint_lsn"].as_u64() > before["checkpoint_lsn"].as_u64(),
        "{told} {before}"
    );
    assert!(
        ok(&["checkpoint", &db])
            .text()
            .starts_with("checkpoint at LSN ")
    );
}

#[test]
fn stats_says_why_an_engine_has_stopped() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            std::panic::resume_unwind(Box::new("the value's own trouble"))
        }
    }
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let db = afterimage::Database::open(&path).expect("opens");
    let table = db.table("t").expect("creates");
    assert_eq!(
        ok(&["stats", &path, "--json"]).json()["failed"],
        json!(null)
    );
    let value = std::panic::AssertUnwindSafe(|| {
        let mut tx = db.begin();
        tx.put_reader(&table, b"k", 100_000, &mut Broken)
    });
    std::panic::catch_unwind(value).expect_err("it panics inside the engine");
    db.close().expect_err("it has stopped");
    let text = ok(&["stats", &path]).text();
    assert!(
        text.contains("\nstopped ") && text.contains("LogFailed"),
        "{text}"
    );
    let why = ok(&["stats", &path, "--json"]).json()["failed"].clone();
    assert!(
        why.as_str().is_some_and(|why| why.contains("panic")),
        "{why}"
    );
    let metrics = ok(&["stats", &path, "--metrics"]).text();
    assert!(metrics.contains("\nafterimage_failed 1\n"), "{metrics}");
}
