//! The command line as a person meets it: help that teaches, exit codes, three-line errors, pipes that end early.

mod common;

use common::{Scratch, command, ok, rows_text, run, run_with_input};
use std::io::Read;
use std::process::Stdio;

#[test]
fn help_teaches_by_example() {
    for subcommand in [
        "demo",
        "load",
        "export",
        "get",
        "put",
        "delete",
        "scan",
        "shell",
        "tables",
        "checkpoint",
        "recover",
        "stats",
        "pins",
        "verify",
        "test-sync",
    ] {
        let help = ok(&[subcommand, "--help"]).text();
        assert!(help.contains("Example"), "{subcommand}: {help}");
        assert!(
            help.contains(&format!("afterimage {subcommand} ")),
            "{subcommand}: {help}"
        );
    }
    for [group, subcommand] in [["log", "dump"], ["bench", "commit"]] {
        assert!(
            ok(&[group, subcommand, "--help"])
                .text()
                .contains("Example")
        );
    }
    assert!(ok(&["--help"]).text().contains("Exit codes"));
    assert!(ok(&["--version"]).text().starts_with("afterimage 0."));
}

#[test]
fn a_wrong_command_line_is_usage() {
    let scratch = Scratch::new();
    let (db, nothing) = (scratch.path("db"), scratch.path("nothing"));
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    run(&[]).expect(2);
    run(&["no-such-command"]).expect(2);
    run(&["get", &db]).expect(2);
    run(&["bench", "commit", "--sync-delay", "5"]).expect(2);
    run(&["load", &db, "t", &scratch.path("no-such-file")]).expect(2);
    run(&["get", &db, "t", "bad\\escape"]).expect(2);
    let unknown = run(&["tables", &db, "--set", "bufer_pool_size=1MiB"]).expect(2);
    assert!(
        unknown.stderr.contains("bufer_pool_size"),
        "{}",
        unknown.stderr
    );
    let no_table = run(&["scan", &db, "nope"]).expect(2);
    assert!(
        no_table.stderr.contains("there are: t"),
        "{}",
        no_table.stderr
    );
    for reading in ["tables", "verify", "stats", "recover", "checkpoint"] {
        let ended = run(&[reading, &nothing]).expect(2);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(
            !std::path::Path::new(&nothing).exists(),
            "{reading} made a directory"
        );
    }
    run(&["log", "dump", &nothing]).expect(2);
    run(&["put", &nothing, "t", "k", "v"]).expect(2);
    assert!(!std::path::Path::new(&nothing).exists());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], rows_text(0, 20_000).as_bytes()).expect(0);
    for args in [
        &["export", &db, "t"][..],
        &["export", &db, "t", "--json"],
        &["log", "dump", &db],
    ] {
        let mut child = command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut first = [0; 100];
        child
            .stdout
            .take()
            .expect("piped")
            .read_exact(&mut first)
            .expect("it prints");
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut stderr)
            .expect("text");
        assert_eq!(
            child.wait().expect("it ends").code(),
            Some(0),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr, "", "{args:?}");
    }
}
