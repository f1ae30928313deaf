//! `afterimage explain`: scenarios, scripts from files and from a pipe, step by step, as JSON, and mistakes.

mod common;

use common::{Scratch, ok, run, run_with_input};
use std::fs;

const SCRIPT: &str = "\
LSN=1 T1 BEGIN
LSN=2 T1 UPDATE A before=0 after=1
LSN=3 T1 UPDATE B before=0 after=2
CRASH
";

#[test]
fn the_list_names_scenarios_that_can_be_explained() {
    let list = ok(&["explain", "--list"]);
    assert!(list.lines().len() >= 12);
    for line in list.lines() {
        let name = line.split_whitespace().next().expect("a name").to_owned();
        let story = ok(&["explain", &name]).text();
        assert!(story.contains("Result"), "{story}");
    }
    let json = ok(&["explain", "--list", "--json"]).json();
    assert_eq!(json.as_array().expect("a list").len(), list.lines().len());
}

#[test]
fn a_scenario_comes_out_as_written() {
    let story = ok(&["explain", "fuzzy-checkpoint"]).text();
    for line in [
        "winner T1, loser T2",
        "dirty pages {A:198, B:203, C:205}",
        "redo from 198: 198, 201, 203, 205",
        "CLR 206 (C, undoNext 203), CLR 207 (B, undoNext 202), END T2",
        "A=1 B=0 C=0",
    ] {
        assert!(story.contains(line), "{line}\n{story}");
    }
    let story = ok(&["explain", "fuzzy-checkpoint", "--crash-after", "1"]).text();
    assert!(
        story.contains("redo from 198: 198, 201, 203, 205, 206"),
        "{story}"
    );
    assert!(story.contains("undo: 203\n"), "{story}");
}

#[test]
fn a_script_from_a_file_and_from_a_pipe() {
    let scratch = Scratch::new();
    let file = scratch.path("my.log");
    fs::write(&file, SCRIPT).expect("a file");
    let from_file = ok(&["explain", &file]).text();
    let from_pipe = run_with_input(&["explain", "-"], SCRIPT.as_bytes()).expect(0);
    assert_eq!(from_pipe.text(), from_file);
    assert!(from_file.ends_with("A=0 B=0\n"), "{from_file}");
    let json = run_with_input(&["explain", "-", "--json"], SCRIPT.as_bytes()).expect(0);
    assert_eq!(json.json()["result"], "A=0 B=0");
    // A file is meant before a scenario of the same name.
    let script = ok(&["explain", "torn-page", "--script"]).text();
    assert!(script.contains("TORN A"), "{script}");
}

#[test]
fn step_by_step_waits_for_enter_and_ends_with_the_same() {
    let whole = ok(&["explain", "two-pages"]).text();
    let steps = "\n".repeat(100);
    let stepped = run_with_input(&["explain", "two-pages", "--step"], steps.as_bytes()).expect(0);
    assert_eq!(stepped.text(), whole);
    let nobody = run_with_input(&["explain", "two-pages", "--step"], b"").expect(0);
    assert_eq!(nobody.text(), whole);
    run_with_input(&["explain", "-", "--step"], SCRIPT.as_bytes()).expect(2);
}

#[test]
fn a_mistake_is_answered_by_line_column_and_what_was_expected() {
    let script = "LSN=1 T1 BEGIN\nLSN=2 T1 UPDAT A before=0 after=1\n";
    let answer = run_with_input(&["explain", "-"], script.as_bytes()).expect(1);
    assert!(answer.stdout.is_empty());
    for part in ["line 2, column 10", "\"UPDAT\"", "expected", "UPDATE"] {
        assert!(answer.stderr.contains(part), "{part}\n{}", answer.stderr);
    }
    let mark = answer.stderr.lines().find(|line| line.trim() == "^");
    assert_eq!(mark.expect("a mark").find('^'), Some(4 + 9));
    // Under a line with tabs the mark is behind as many tabs.
    let tabs = run_with_input(&["explain", "-"], b"1\tT1\tUPDAT A").expect(1);
    let mark = tabs.stderr.lines().find(|line| line.trim() == "^");
    assert_eq!(mark.expect("a mark"), "     \t  \t^");
    let unknown = run(&["explain", "no-such-thing"]).expect(2);
    assert!(unknown.stderr.contains("--list"), "{}", unknown.stderr);
    run(&["explain"]).expect(2);
}
