//! Rows in and out: `load`, `export`, `get`, `put`, `delete`, `scan`, `tables`, and their exit codes.

mod common;

use common::{Scratch, ok, rows_text, run, run_with_input, sorted_rows};
use serde_json::json;

#[test]
fn an_export_is_the_input_sorted() {
    let scratch = Scratch::new();
    let (db, file) = (scratch.path("db"), scratch.path("rows.tsv"));
    std::fs::write(&file, rows_text(0, 5000)).expect("the input is written");
    let loaded = ok(&["load", &db, "listing", &file, "--batch", "333"]);
    assert!(
        loaded.text().starts_with("acknowledged 5,000 rows"),
        "{}",
        loaded.text()
    );
    assert_eq!(ok(&["export", &db, "listing"]).text(), sorted_rows(5000));
    assert_eq!(ok(&["tables", &db]).lines(), ["listing"]);

    let again = scratch.path("again");
    let exported = ok(&["export", &db, "listing"]).stdout;
    run_with_input(&["load", &again, "copy"], &exported).expect(0);
    assert_eq!(ok(&["export", &again, "copy"]).stdout, exported);
}

#[test]
fn a_new_table_is_loaded_as_a_whole() {
    let scratch = Scratch::new();
    let (db, rows) = (scratch.path("db"), rows_text(0, 5000));
    let loaded = run_with_input(&["load", &db, "t", "--new", "--json"], rows.as_bytes());
    let document = loaded.expect(0).json();
    assert_eq!(
        (&document["table"], &document["rows"]),
        (&json!("t"), &json!(5000))
    );
    let sorted = ok(&["export", &db, "t"]).text();
    assert_eq!(sorted, sorted_rows(5000));
    let again = ["load", &db, "u", "--new", "--sorted"];
    let loaded = run_with_input(&again, sorted.as_bytes()).expect(0);
    assert!(loaded.text().starts_with("loaded 5,000 rows ("));
    assert_eq!(ok(&["export", &db, "u"]).text(), sorted);
    for (args, input, says) in [
        (
            &["t", "--new"][..],
            "a\t1\n",
            "there is a table \"t\" already",
        ),
        (
            &["v", "--new"],
            "b\t1\na\t2\nb\t3\n",
            "two rows have the key \"b\"",
        ),
        (
            &["v", "--new", "--sorted"],
            "b\t1\na\t2\n",
            "standard input, line 2: the rows were said to be sorted",
        ),
        (&["v", "--new"], "b\t1\nwrong\n", "nothing was loaded"),
    ] {
        let args = [&["load", &db][..], args].concat();
        let refused = run_with_input(&args, input.as_bytes()).expect(1);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    run(&["load", &db, "v", "--sorted"]).expect(2);
    assert_eq!(ok(&["tables", &db]).lines(), ["t", "u"]);
    ok(&["verify", &db]);
}

#[test]
fn escapes_make_any_bytes_a_line() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let input = b"back\\\\slash\ttab\\there\nnew\\nline\t\\\\t is no tab\nraw\t\xff\x00\x01\r\n";
    run_with_input(&["load", &db, "odd"], input).expect(0);
    assert_eq!(ok(&["export", &db, "odd"]).stdout, input);
    assert_eq!(
        ok(&["get", &db, "odd", "new\\nline"]).text(),
        "\\\\t is no tab\n"
    );
    assert_eq!(
        ok(&["get", &db, "odd", "new\\nline", "--raw"]).text(),
        "\\t is no tab"
    );
    assert_eq!(
        ok(&["get", &db, "odd", "raw", "--json"]).json()["value"],
        json!({ "hex": "ff00010d" })
    );
    ok(&["put", &db, "odd", "a\\tb", "c\\nd"]);
    assert_eq!(
        ok(&["scan", &db, "odd", "--prefix", "a\\t"]).text(),
        "a\\tb\tc\\nd\n"
    );
}

#[test]
fn a_row_comes_and_goes() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    ok(&["put", &db, "t", "b", "2"]);
    ok(&["put", &db, "t", "a", "one"]);
    assert_eq!(ok(&["get", &db, "t", "a"]).text(), "one\n");
    let found = ok(&["get", &db, "t", "b", "--json"]).json();
    assert_eq!(
        found,
        json!({ "table": "t", "key": "b", "found": true, "value": "2" })
    );

    ok(&["delete", &db, "t", "b"]);
    let gone = run(&["get", &db, "t", "b"]).expect(1);
    assert!(
        gone.stderr
            .starts_with("error: there is no such key\n  table t, key b"),
        "{}",
        gone.stderr
    );
    assert_eq!(
        run(&["get", &db, "t", "b", "--json"]).expect(1).json()["found"],
        json!(false)
    );
    run(&["delete", &db, "t", "b"]).expect(1);
    assert_eq!(
        run(&["delete", &db, "t", "b", "--json"]).expect(1).json()["deleted"],
        json!(false)
    );

    ok(&["put", &db, "another", "k", "v"]);
    assert_eq!(ok(&["tables", &db]).lines(), ["another", "t"]);
    assert_eq!(
        ok(&["tables", &db, "--json"]).json(),
        json!({ "tables": ["another", "t"], "unlogged": [] })
    );
}

#[test]
fn scans_take_bounds_in_both_directions() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let rows: String = (0..1000).map(|n| format!("{n:03}\tv{n}\n")).collect();
    run_with_input(&["load", &db, "t"], rows.as_bytes()).expect(0);
    let keys = |args: &[&str]| -> Vec<String> {
        let all = [&["scan", &db, "t"], args].concat();
        ok(&all)
            .lines()
            .iter()
            .map(|line| line[..3].to_string())
            .collect()
    };
    assert_eq!(keys(&[]).len(), 1000);
    assert_eq!(keys(&["--limit", "2"]), ["000", "001"]);
    assert_eq!(keys(&["--limit", "2", "--reverse"]), ["999", "998"]);
    assert_eq!(keys(&["--prefix", "12"]).len(), 10);
    assert_eq!(
        keys(&["--prefix", "12", "--reverse", "--limit", "1"]),
        ["129"]
    );
    assert_eq!(keys(&["--from", "500", "--to", "502"]), ["500", "501"]);
    assert_eq!(keys(&["--from", "997", "--reverse"]), ["999", "998", "997"]);
    assert_eq!(keys(&["--prefix", "12", "--from", "128"]), ["128", "129"]);
    assert!(keys(&["--from", "5", "--to", "4"]).is_empty());
    let document = ok(&["scan", &db, "t", "--limit", "1", "--json"]).json();
    assert_eq!(
        document,
        json!({ "table": "t", "rows": [{ "key": "000", "value": "v0" }], "count": 1 })
    );
    assert_eq!(
        ok(&["scan", &db, "t", "--prefix", "x", "--json"]).json()["count"],
        json!(0)
    );
}

#[test]
fn a_wrong_row_ends_the_load_and_says_what_is_loaded() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let ended = run_with_input(
        &["load", &db, "t", "--batch", "2"],
        b"a\t1\nb\t2\nc\t3\nno tab here\n",
    )
    .expect(1);
    assert!(
        ended.text().starts_with("acknowledged 2 rows"),
        "{}",
        ended.text()
    );
    assert!(
        ended.stderr.contains("standard input, line 4"),
        "{}",
        ended.stderr
    );
    assert_eq!(ok(&["export", &db, "t"]).text(), "a\t1\nb\t2\n");

    let document = run_with_input(&["load", &db, "t", "--json"], b"z\t1\n\\x\t2\n")
        .expect(1)
        .json();
    assert_eq!(document["acknowledged"], json!(0));
    assert_eq!(document["complete"], json!(false));
}

#[test]
fn a_key_that_is_too_large_is_refused_by_size_a_value_is_not() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    let long = "k".repeat(5000);
    let refused = run(&["put", &db, "t", &long, "v"]).expect(1);
    assert!(refused.stderr.contains("5000"), "{}", refused.stderr);
    assert_eq!(ok(&["export", &db, "t"]).text(), "a\t1\n");
    // A value has pages of its own where one is too small.
    let large = "v".repeat(100_000);
    ok(&["put", &db, "t", "k", &large]);
    assert_eq!(
        ok(&["export", &db, "t"]).text(),
        format!("a\t1\nk\t{large}\n")
    );
}

#[test]
fn settings_reach_the_engine() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let small = [
        "--set",
        "page_size=4KiB",
        "--set",
        "buffer_pool_size=64KiB",
        "--set",
        "wal_segment_size=64KiB",
        "--set",
        "max_wal_size=1MiB",
    ];
    let load = [&["load", &db, "t"][..], &small[..]].concat();
    run_with_input(&load, rows_text(0, 3000).as_bytes()).expect(0);
    assert_eq!(ok(&["export", &db, "t"]).text(), sorted_rows(3000));
    ok(&["verify", &db]);
    let refused = run(&["tables", &db, "--set", "max_wal_size=1"]).expect(2);
    assert!(
        refused.stderr.contains("max_wal_size"),
        "{}",
        refused.stderr
    );
}
