//! `size`, `advise` and `stats --metrics` as a person, or a script, runs them.

mod common;

use common::{Scratch, ok, run, run_with_input};
use serde_json::json;

/// A database with one row.
fn made(db: &str) {
    run_with_input(&["load", db, "t"], b"k\tv\n").expect(0);
}

/// What a command says that is to end with 2.
fn refused(args: &[&str]) -> String {
    run(args).expect(2).stderr
}

#[test]
fn size_gives_the_figures_and_settings_that_are_taken() {
    let load = [
        "--peak-tps",
        "5000",
        "--wal-per-txn",
        "10KiB",
        "--checkpoint-interval",
        "15min",
    ];
    let text = ok(&[&["size"], &load[..]].concat()).text();
    for word in [
        "48.8 MiB/s",
        "42.9 GiB in 15min",
        "171.7 GiB",
        "max_wal_size = \"172GiB\"",
        "the peak: no --average-tps",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // A recovery of that takes minutes, and it says so, and what fits.
    assert!(
        text.contains("assumed") && text.contains("target_recovery_time = 30s"),
        "{text}"
    );
    let document = ok(&[&["size", "--json"], &load[..]].concat()).json();
    assert_eq!(document["recommended_bytes"], json!(184_320_000_000_u64));
    let fits = document["fitting_interval_seconds"]
        .as_u64()
        .expect("it is told");
    let fits = format!("{fits}s");
    let fitting = [
        "size",
        "--json",
        "--peak-tps",
        "5000",
        "--wal-per-txn",
        "10KiB",
        "--checkpoint-interval",
        &fits,
    ];
    assert_eq!(
        ok(&fitting).json()["warnings"],
        json!([]),
        "what is said to fit does"
    );

    let text = ok(&[
        "size",
        "--peak-tps",
        "10000",
        "--wal-per-txn",
        "278B",
        "--retention",
        "7d",
    ])
    .text();
    for word in ["10.0 GB an hour", "1.68 TB for 7 d"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn size_knows_the_disk_and_the_database_on_it() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    made(&db);
    let over = [
        "size",
        "--json",
        "--peak-tps",
        "1000000",
        "--wal-per-txn",
        "10KiB",
        "--disk",
        &db,
    ];
    let document = ok(&over).json();
    assert!(document["disk_free_bytes"].is_u64(), "{document}");
    let warnings = document["warnings"].as_array().expect("a list");
    let of_the_disk = warnings.iter().filter_map(|warning| warning.as_str());
    assert!(
        of_the_disk
            .into_iter()
            .any(|w| w.starts_with("the disk has")),
        "{document}"
    );
    let no_unit = refused(&["size", "--peak-tps", "5", "--wal-per-txn", "278"]);
    assert!(no_unit.contains("unit"), "{no_unit}");
    refused(&[
        "size",
        "--peak-tps",
        "5",
        "--wal-per-txn",
        "1KiB",
        "--checkpoint-interval",
        "25h",
    ]);
}

#[test]
fn advise_looks_at_a_database_and_at_a_log() {
    let scratch = Scratch::new();
    let (db, log) = (scratch.path("db"), scratch.path("log"));
    made(&db);
    let calm = ok(&["advise", &db]).text();
    assert!(calm.ends_with("nothing to change\n"), "{calm}");
    ok(&["put", &db, "t", "k", "w", "--set", "synchronous_commit=os"]);
    let document = ok(&["advise", &db, "--json"]).json();
    let finding = &document["findings"][0];
    assert_eq!(
        finding["setting"],
        json!("synchronous_commit"),
        "{document}"
    );
    assert_eq!(finding["now"], json!("os"));
    assert_eq!(finding["link"], json!("docs/tuning.md#synchronous_commit"));
    let text = ok(&["advise", &db]).text();
    for word in [
        "1 finding",
        "proposed",
        "effect",
        "docs/tuning.md#synchronous_commit",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    run_with_input(&["log", "append", &log], b"hello\n").expect(0);
    ok(&["log", "slots", &log, "--create", "mailer"]);
    let calm = ok(&["advise", &log]).text();
    assert_eq!(calm, "nothing to change\n");
}

#[test]
fn stats_as_metrics_is_what_stats_are() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    made(&db);
    let text = ok(&["stats", &db, "--metrics"]).text();
    let document = ok(&["stats", &db, "--json"]).json();
    let line = format!("afterimage_commits_total {}", document["commits"]);
    assert!(text.lines().any(|found| found == line), "{line}: {text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(
        document["histograms"]["sync"]["buckets"].is_array(),
        "{document}"
    );
    assert_eq!(document["settings"]["page_size"], json!("8KiB"));
}
