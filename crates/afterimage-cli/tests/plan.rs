//! What a recovery would do, what the last one did, and what has become of a row: `recover --plan`, `explain DIR`, `stats --recovery`,
//! `history`. None of them changes a byte.

mod common;

use common::{Scratch, fingerprint, killed, ok, run, run_with_input};
use std::fs;
use std::path::PathBuf;

#[test]
fn a_plan_tells_what_a_recovery_will_do_and_changes_nothing() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    killed(&db, "t", 2000);
    let before = fingerprint(&db);
    let plan = ok(&["recover", &db, "--plan"]);
    for part in ["analysis", "redo", "undo", "time", "it would open", "--all"] {
        assert!(plan.text().contains(part), "{part}\n{}", plan.text());
    }
    assert!(plan.lines().len() < 120, "{}", plan.text());
    for done in [
        "is on disk for certain",
        "open      after",
        "changes applied to",
    ] {
        assert!(!plan.text().contains(done), "{done}\n{}", plan.text());
    }
    assert!(
        plan.text().contains("would be applied to"),
        "{}",
        plan.text()
    );
    let same = ok(&["explain", &db, "--json"]).json();
    let tables = &same["recoveries"][0];
    assert_eq!(
        tables["losers"].as_array().expect("a list").len() as u64,
        same["report"]["losers"].as_u64().expect("a number")
    );
    assert_eq!(
        tables["dirty"].as_array().expect("a list").len() as u64,
        same["report"]["pages"].as_u64().expect("a number")
    );
    assert_eq!(
        tables["redone"],
        serde_json::Value::Null,
        "not all are told"
    );
    let steps = tables["steps"].as_array().expect("steps");
    let more = steps.iter().find(|step| step["lsn"] == "...");
    assert_eq!(
        more.expect("not all are told")["after"],
        serde_json::Value::Null
    );
    assert_eq!(same["refused"], serde_json::Value::Null);
    assert!(same["estimate_seconds"].as_f64().expect("a time") > 0.0);
    let all = ok(&["explain", &db, "--all"]);
    assert!(all.lines().len() > plan.lines().len());
    let whole = ok(&["explain", &db, "--all", "--json"]).json();
    for (list, count) in [("winners", "winners"), ("losers", "losers")] {
        let names = whole["recoveries"][0][list].as_array().expect("a list");
        assert_eq!(whole["report"][count], names.len(), "{list}");
    }
    assert_eq!(fingerprint(&db), before, "not a byte");

    let done = ok(&["recover", &db, "--json"]).json();
    for count in [
        "records",
        "winners",
        "losers",
        "redone",
        "already_there",
        "undone",
        "pages",
    ] {
        assert_eq!(same["report"][count], done[count], "{count}");
    }
    let clean = ok(&["recover", &db, "--plan"]).text();
    assert!(clean.contains("nothing to recover"), "{clean}");
}

#[test]
fn the_last_recovery_is_kept_and_survives_clean_stops() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"k\tv\n").expect(0);
    let none = run(&["stats", &db, "--recovery"]).expect(1);
    assert!(
        none.stderr.contains("no recovery is known"),
        "{}",
        none.stderr
    );
    let db = scratch.path("killed");
    killed(&db, "t", 500);
    let done = ok(&["recover", &db, "--json"]).json();
    ok(&["put", &db, "t", "later", "1"]);
    ok(&["checkpoint", &db]);
    let kept = ok(&["stats", &db, "--recovery", "--json"]).json();
    for count in [
        "records",
        "winners",
        "redone",
        "already_there",
        "undone",
        "end_lsn",
        "tail",
    ] {
        assert_eq!(kept[count], done[count], "{count}");
    }
    let told = ok(&["stats", &db, "--recovery"]).text();
    assert!(told.contains("Redo") && told.contains("ago"), "{told}");
}

#[test]
fn damage_is_told_with_what_each_policy_would_come_to() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    killed(&db, "t", 2000);
    let log = PathBuf::from(&db).join("log");
    let mut segments: Vec<PathBuf> = fs::read_dir(&log)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    segments.sort();
    let mut bytes = fs::read(&segments[0]).expect("a segment");
    bytes[60_000] ^= 0x40;
    fs::write(&segments[0], bytes).expect("a segment");
    let before = fingerprint(&db);
    // It is told, and a script can tell from the exit code.
    let plan = run(&["explain", &db]).expect(3).text();
    run(&["recover", &db, "--plan", "--json"]).expect(3);
    assert!(plan.contains("it would be refused"), "{plan}");
    assert!(plan.contains("damage, salvage: not offered"), "{plan}");
    assert_eq!(fingerprint(&db), before);
}

#[test]
fn every_version_of_a_row_with_what_became_of_it() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let long = "x".repeat(50);
    let script = format!(
        "create t\nput t k {long}1\nput t k {long}2\nbegin\nput t k other\nrollback\ndelete t k\nput t k back\n"
    );
    run_with_input(&["shell", &db, "--create"], script.as_bytes()).expect(0);
    let before = fingerprint(&db);
    let versions = ok(&["history", &db, "t", "k", "--json"]).json();
    let versions = versions.as_array().expect("a list");
    let told: Vec<(String, String, String)> = versions
        .iter()
        .map(|version| {
            let text = |name: &str| version[name].as_str().unwrap_or("_").to_owned();
            (text("before"), text("after"), text("outcome"))
        })
        .collect();
    let line = |before: &str, after: &str, outcome: &str| {
        (before.to_owned(), after.to_owned(), outcome.to_owned())
    };
    let (one, two) = (format!("{long}1"), format!("{long}2"));
    assert_eq!(
        told,
        [
            line("_", &one, "committed"),
            line(&one, &two, "committed"),
            line(&two, "other", "rolled back"),
            line("other", &two, "rolled back"),
            line(&two, "_", "committed"),
            line("_", "back", "committed"),
        ]
    );
    assert_eq!(versions[3]["takes_back"], true);
    assert!(versions[0]["commit_time_micros"].as_u64().is_some());
    let text = ok(&["history", &db, "t", "k"]).text();
    assert!(
        text.contains("(taken back)") && text.contains("_ -> back"),
        "{text}"
    );
    let nothing = ok(&["history", &db, "t", "nobody"]).text();
    assert!(nothing.contains("no change of this row"), "{nothing}");
    assert!(nothing.contains("load"), "{nothing}");
    run(&["history", &db, "missing", "k"]).expect(2);
    assert_eq!(fingerprint(&db), before);
}

/// A change that a savepoint has taken back did not commit with its transaction.
#[test]
fn what_a_savepoint_took_back_is_rolled_back() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let script = "create t\nbegin\nput t k 1\nsavepoint s\nput t k 2\nput t k 3\nrollback to s\nput t k 4\ncommit\n";
    run_with_input(&["shell", &db, "--create"], script.as_bytes()).expect(0);
    let versions = ok(&["history", &db, "t", "k", "--json"]).json();
    let outcomes: Vec<_> = versions
        .as_array()
        .expect("a list")
        .iter()
        .map(|version| (&version["after"], &version["outcome"]))
        .map(|(after, outcome)| {
            format!("{} {}", after.as_str().unwrap(), outcome.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            "1 committed",
            "2 rolled back",
            "3 rolled back",
            "2 rolled back",
            "1 rolled back",
            "4 committed"
        ]
    );
    assert!(ok(&["history", &db, "t", "k"]).text().contains("Z  _ -> 1"));
}

/// A log that cannot be read to its end has told something before that.
#[test]
fn what_is_before_the_damage_is_told() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let long = "x".repeat(1000);
    let mut script = "create t\nput t k first\n".to_owned();
    for n in 0..60 {
        script += &format!("put t other{n} {long}\n");
    }
    script += "put t k last\n";
    run_with_input(&["shell", &db, "--create"], script.as_bytes()).expect(0);
    let log = PathBuf::from(&db).join("log");
    let segments = fs::read_dir(&log).expect("a directory");
    let mut segments: Vec<PathBuf> = segments
        .map(|entry| entry.expect("an entry").path())
        .collect();
    segments.sort();
    let mut bytes = fs::read(&segments[0]).expect("a segment");
    let at = bytes
        .windows(7)
        .position(|found| found == b"other30")
        .expect("a record");
    bytes[at + 100] ^= 0x40;
    fs::write(&segments[0], bytes).expect("a segment");
    let told = run(&["history", &db, "t", "k"]).expect(3);
    assert!(told.text().contains("_ -> first"), "{}", told.text());
    assert!(!told.text().contains("last"), "{}", told.text());
}
