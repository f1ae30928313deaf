//! Every scenario of the gallery, with what has to come out; the worked examples word for word; and mistakes, by line and column.

mod common;

use afterimage_explain::{Story, explain, gallery};
use common::{decisions, mistake, only, told};

#[track_caller]
fn scenario(name: &str) -> Story {
    told(gallery::find(name).expect("it is in the gallery").script)
}

const FIRST: &str = "\
LSN=200 CHECKPOINT active={T1} dirty={A:recLSN=198}
LSN=201 T1 UPDATE A before=0 after=1
LSN=202 T2 BEGIN
LSN=203 T2 UPDATE B before=0 after=5
LSN=204 T1 COMMIT
LSN=205 T2 UPDATE C before=0 after=9
CRASH
";

#[test]
fn the_first_worked_example() {
    let story = told(FIRST);
    let summary = only(&story).summary();
    assert_eq!(
        summary,
        [
            "winner T1, loser T2",
            "dirty pages {A:198, B:203, C:205}",
            "redo from 198: 198, 201, 203, 205",
            "undo: 205, 203",
            "CLR 206 (C, undoNext 203), CLR 207 (B, undoNext 202), END T2",
        ]
    );
    assert_eq!(story.result, "A=1 B=0 C=0");
    let hidden = &story.log[0];
    assert_eq!(
        (hidden.0.as_str(), hidden.3.as_str()),
        ("198", "not in this excerpt")
    );
}

#[test]
fn the_first_worked_example_with_a_crash_after_one_clr() {
    let story = explain(FIRST, Some(1)).expect("a story");
    let [first, second] = &story.recoveries[..] else {
        panic!("{} recoveries", story.recoveries.len())
    };
    assert_eq!(first.outcome, "crashed");
    assert_eq!(first.written, ["CLR 206 (C, undoNext 203)"]);
    assert_eq!(second.redone, ["198", "201", "203", "205", "206"]);
    assert_eq!(second.undone, ["203"]);
    assert_eq!(second.written, ["CLR 207 (B, undoNext 202)", "END T2"]);
    assert_eq!(story.result, "A=1 B=0 C=0");
}

#[test]
fn a_crash_at_every_number_of_clrs_ends_the_same() {
    for clrs in 0..=3 {
        let story = explain(FIRST, Some(clrs)).expect("a story");
        assert_eq!(story.result, "A=1 B=0 C=0", "{clrs}");
        let all: Vec<_> = story.recoveries.iter().flat_map(|r| &r.undone).collect();
        assert_eq!(all, ["205", "203"], "nothing is taken back twice: {clrs}");
        // There is no third one: undo ends before that, and the power stays.
        assert_eq!(story.recoveries.len(), if clrs < 3 { 2 } else { 1 });
    }
}

#[test]
fn what_is_on_the_disk_decides() {
    let with = |disk: &str| told(&format!("{disk}\n{FIRST}"));
    let story = with("DISK A lsn=198 value=0");
    assert_eq!(only(&story).redone, ["201", "203", "205"]);
    let story = with("DISK A lsn=201 value=1\nDISK C lsn=205 value=9");
    assert_eq!(
        decisions(only(&story)),
        [
            "198 page newer",
            "201 page newer",
            "203 applied",
            "205 page newer"
        ]
    );
    assert_eq!(story.result, "A=1 B=0 C=0");
    // Some change between two that are here.
    let story = with("DISK C lsn=150 value=0");
    assert_eq!(only(&story).redone, ["198", "201", "203", "205"]);
}

#[test]
fn the_second_worked_example() {
    let story = scenario("restored-not-deleted");
    assert_eq!(story.result, "users {1: Alice, 2: Bob}");
    let recovery = only(&story);
    assert_eq!(
        (&recovery.winners[..], &recovery.losers[..]),
        (&["T2".to_owned()][..], &["T3".to_owned()][..])
    );
    assert_eq!(recovery.redone, ["6", "9"], "what is home is not redone");
}

#[test]
fn the_third_worked_example() {
    let story = scenario("two-pages");
    assert_eq!(only(&story).redone, ["101", "102"]);
    assert!(only(&story).losers.is_empty());
    assert_eq!(story.result, "A.x=1 B.y=2");
    let story = scenario("two-pages-no-commit");
    assert_eq!(only(&story).redone, ["101", "102"]);
    assert_eq!(only(&story).undone, ["102", "101"]);
    assert_eq!(story.result, "A.x=0 B.y=_");
}

#[test]
fn the_rest_of_the_gallery() {
    let story = scenario("from-zero");
    assert_eq!(story.log[0].0, "0");
    assert_eq!(only(&story).undone, ["50", "40", "30", "10"]);
    assert_eq!(story.result, "A=0 B=0 C=0 D=4");

    let story = scenario("crash-in-undo");
    assert_eq!(only(&story).redone, ["11", "12", "13", "14"]);
    assert_eq!(only(&story).undone, ["12", "11"]);
    assert_eq!(story.result, "A=0 B=0 C=0");

    let story = scenario("redo-twice");
    assert_eq!(story.recoveries.len(), 2);
    assert!(story.recoveries.iter().all(|r| r.redone == ["1001"]));
    assert_eq!(story.result, "page 10 offset 5=500");

    let story = scenario("page-is-newer");
    let decided = decisions(only(&story));
    assert_eq!(
        decided,
        ["4000 page newer", "5000 page newer", "9500 applied"]
    );
    assert_eq!(story.result, "A=3");

    let story = scenario("after-the-checkpoint");
    assert_eq!(only(&story).winners, ["T1", "T2", "T3"]);
    assert_eq!(
        only(&story).redone,
        ["100050", "100150", "100250", "100320"]
    );
    assert_eq!(
        only(&story).written,
        ["CLR 100350 (B, undoNext none)", "END T4"]
    );
    assert_eq!(story.result, "A=2 B=7 C=9");

    let story = scenario("checkpoint-cut-off");
    assert_eq!(only(&story).redo_from.as_deref(), Some("11"));
    assert_eq!(story.result, "A=1");

    let story = scenario("abort-before-crash");
    assert!(only(&story).losers.is_empty() && only(&story).written.is_empty());
    assert_eq!(only(&story).redone, ["2", "3", "5"]);
    assert_eq!(story.result, "A=5 B=1");

    let story = scenario("savepoint");
    assert_eq!(
        only(&story).undone,
        ["6", "2"],
        "what was taken back stays so"
    );
    assert_eq!(story.result, "A=0 B=0 C=0");

    let story = scenario("group-commit");
    assert_eq!(only(&story).winners, ["T1", "T2", "T3"]);
    assert!(only(&story).losers.is_empty());
    let lost = story.log.iter().filter(|line| line.3.contains("lost"));
    assert_eq!(
        lost.map(|line| line.0.as_str()).collect::<Vec<_>>(),
        ["7", "8"]
    );
    assert_eq!(story.result, "A=1 B=2 C=3");

    let story = scenario("torn-page");
    let safe = only(&story)
        .steps
        .iter()
        .filter(|step| step.phase == "safe");
    assert_eq!(safe.count(), 1, "it is written again from its copy");
    assert_eq!(only(&story).redone, ["4"]);
    assert_eq!(story.result, "A=2");

    let story = scenario("torn-tail-or-damage");
    assert_eq!(only(&story).losers, ["T2"]);
    assert_eq!(story.result, "A=1");
}

#[test]
fn what_cannot_be_recovered_is_refused() {
    for (name, why) in [
        ("torn-page-no-copy", "needs it whole"),
        ("damage", "a watermark in the log proves"),
        ("written-too-early", "beyond the end of the log"),
    ] {
        let story = scenario(name);
        let outcome = &only(&story).outcome;
        assert!(
            outcome.starts_with("refused: ") && outcome.contains(why),
            "{name}: {outcome}"
        );
        assert!(story.values.is_empty());
    }
}

#[test]
fn every_scenario_is_tested_and_tells_what_it_shows() {
    let text = include_str!("stories.rs");
    assert!(gallery::ALL.len() >= 12);
    for scenario in gallery::ALL {
        let named = format!("\"{}\"", scenario.name);
        assert!(
            text.contains(&named) || scenario.name == "fuzzy-checkpoint",
            "{}",
            scenario.name
        );
        assert!(!scenario.title().is_empty(), "{}", scenario.name);
        let story = told(scenario.script);
        assert!(story.parts().iter().flatten().count() > 10);
    }
    assert!(
        gallery::find("fuzzy-checkpoint")
            .expect("there")
            .script
            .contains(FIRST)
    );
}

/// The tables and pages behind one step are those before the next: a page can go back and forth.
#[test]
fn the_document_has_the_tables_before_and_behind_every_step() {
    let story = explain(FIRST, Some(1)).expect("a story");
    let json = story.json();
    for recovery in json["recoveries"].as_array().expect("recoveries") {
        let steps = recovery["steps"].as_array().expect("steps");
        assert!(steps.len() > 5);
        for pair in steps.windows(2) {
            assert_eq!(pair[0]["after"], pair[1]["before"]);
        }
    }
    let steps = json["recoveries"][1]["steps"].as_array().expect("steps");
    let undo = steps
        .iter()
        .find(|step| step["clr"] == "207")
        .expect("CLR 207");
    assert_eq!(undo["page_lsn_before"], "203");
    assert_eq!(undo["page_lsn_after"], "207");
    assert_eq!(undo["after"]["active"][0]["undo_next"], "202");
    let page = |name: &str| {
        let pages = undo["after"]["pages"].as_array().expect("pages");
        pages
            .iter()
            .find(|page| page["page"] == name)
            .expect("the page")
            .clone()
    };
    assert_eq!(page("B")["page_lsn"], "207");
    assert_eq!(page("B")["rows"][0]["value"], "0");
    assert_eq!(json["result"], "A=1 B=0 C=0");
}

/// What the story says is in the pages in the end is what the database says.
#[test]
fn the_story_and_the_database_agree() {
    for scenario in gallery::ALL {
        let story = told(scenario.script);
        let Some(last) = story.recoveries.last().and_then(|r| r.steps.last()) else {
            continue;
        };
        for (page, rows) in &story.values {
            let (_, told) = &last.after.as_ref().expect("told").pages[page];
            for (name, value) in rows {
                let told = told.iter().find(|(row, _)| row == name);
                let told = told.and_then(|(_, value)| value.clone());
                assert_eq!(told, *value, "{}: {name}", scenario.name);
            }
        }
    }
}

#[test]
fn a_mistake_is_answered_by_line_column_and_what_was_expected() {
    let cases = [
        ("", 1, 1, "a line like"),
        ("LSN=1 T1 BEGIN\nLSN=x T1 COMMIT", 2, 5, "a number"),
        ("LSN 1 T1 BEGIN", 1, 5, "= and a number"),
        ("LSN=1 T1 UPDAT A before=0 after=1", 1, 10, "UPDATE"),
        ("LSN=1 T1 UPDATE A before=0", 1, 27, "after=VALUE"),
        ("LSN=1 T1 UPDATE A before=0 after=", 1, 34, "a value"),
        (
            "LSN=1 T1 UPDATE A before=0 afer=1",
            1,
            28,
            "before=, after=",
        ),
        ("LSN=1 T1 INSERT A", 1, 18, "value=VALUE"),
        ("LSN=1 T1 UPDATE A after=1", 1, 17, "before=VALUE"),
        ("LSN=1 T1 BEGIN please", 1, 16, "the end of the line"),
        ("LSN=1 WHAT", 1, 7, "CHECKPOINT"),
        ("LSN=2 T1 BEGIN\nLSN=2 T2 BEGIN", 2, 5, "a higher one"),
        (
            "LSN=1 T1 BEGIN\nLSN=2 T1 BEGIN",
            2,
            1,
            "another transaction",
        ),
        ("LSN=1 T1 COMMIT\nLSN=2 T1 COMMIT", 2, 1, "not ended"),
        (
            "LSN=1 T1 UPDATE A before=0 after=1\nLSN=2 T2 UPDATE A before=0 after=2",
            2,
            26,
            "1, which the lines above",
        ),
        (
            "LSN=1 T1 INSERT A value=1\nLSN=2 T1 INSERT A value=2",
            2,
            17,
            "UPDATE",
        ),
        ("LSN=1 CHECKPOINT active=T1", 1, 25, "{"),
        ("LSN=1 CHECKPOINT active={T1", 1, 28, "a comma or }"),
        ("LSN=1 CHECKPOINT dirty={A}", 1, 26, "recLSN"),
        ("LSN=1 CHECKPOINT dirty={A:x}", 1, 27, "a number"),
        (
            "LSN=1 T1 BEGIN\nLSN=2 CHECKPOINT active={}",
            2,
            18,
            "active={T1}",
        ),
        (
            "LSN=5 T1 BEGIN\nLSN=9 CHECKPOINT active={T1} dirty={A:7}",
            2,
            37,
            "below 5",
        ),
        ("LSN=1 T1 BEGIN\nCRASH\nLSN=3 T1 COMMIT", 3, 1, "nothing"),
        ("LSN=1 T1 CLR undoes=7", 1, 21, "one of its changes"),
        ("LSN=1 T1 INSERT A value=\"x", 1, 25, "another \""),
        ("DISK A value=1\nLSN=1 T1 BEGIN", 1, 1, "lsn=NUMBER"),
        (
            "DISK A lsn=2 value=7\nLSN=2 T1 UPDATE A before=0 after=1",
            1,
            20,
            "1, by the lines",
        ),
        ("LSN=1 T1 BEGIN\nDAMAGE LSN=9", 2, 12, "the LSN of a record"),
        ("CRASH", 1, 1, "a line like"),
    ];
    for (script, line, column, expected) in cases {
        let found = mistake(script);
        assert_eq!(
            (found.line, found.column),
            (line, column),
            "{script}\n{found}"
        );
        assert!(found.expected.contains(expected), "{script}\n{found}");
        assert!(!found.found.is_empty(), "{script}");
    }
}

#[test]
fn other_ways_to_write_the_same() {
    let plain =
        told("LSN=1 T1 BEGIN\nLSN=2 T1 UPDATE A.x before=0 after=1\nLSN=3 T1 COMMIT\nCRASH");
    for script in [
        "1 T1 BEGIN\n2 T1 UPDATE A.x 0 -> 1\n3 T1 COMMIT",
        "LSN=1 T1 begin // a remark\n\n# another\nLSN=2 t1 update A.x 0 to 1\nLSN=3 T1 commit\ncrash",
        "LSN=1 T1 BEGIN\nT1 UPDATE A.x before=0, after=\"1\"\nT1 COMMIT\nCRASH",
    ] {
        // Names of transactions differ by case.
        let script = script.replace("t1", "T1");
        let story = told(&script);
        assert_eq!(story.result, plain.result, "{script}");
        assert_eq!(story.log, plain.log, "{script}");
    }
}

#[test]
fn every_kind_of_object_is_a_row_of_its_page() {
    let story = told(
        "LSN=1 T1 UPDATE A before=0 after=1
         LSN=2 T1 UPDATE A.x before=_ after=2
         LSN=3 T1 INSERT table=users, key=1, value='Alice Smith'
         LSN=4 T1 INSERT users/2 value=Bob
         LSN=5 T1 UPDATE page=10 offset=5 before=400 after=500
         LSN=6 T1 DELETE users/2
         LSN=7 T1 COMMIT
         CRASH",
    );
    assert_eq!(
        story.result,
        "A=1 A.x=2 users {1: Alice Smith} page 10 offset 5=500"
    );
    let dirty: Vec<_> = only(&story)
        .dirty
        .iter()
        .map(|(page, _)| page.as_str())
        .collect();
    assert_eq!(dirty, ["A", "users", "page 10"]);
}

#[test]
fn a_checkpoint_without_a_table_of_pages_means_that_all_are_home() {
    let story = told(
        "LSN=1 T1 UPDATE A before=0 after=1
         LSN=2 CHECKPOINT
         LSN=3 T1 UPDATE B before=0 after=1
         CRASH",
    );
    assert_eq!(only(&story).dirty, [("B".to_owned(), "3".to_owned())]);
    assert_eq!(
        only(&story).undone,
        ["3", "1"],
        "undo goes back beyond the checkpoint"
    );
    assert_eq!(story.result, "A=0 B=0");
    let story = told(
        "LSN=1 T1 UPDATE A before=0 after=1
         LSN=2 CHECKPOINT active={T1:lastLSN=1} dirty={A:1}
         CRASH",
    );
    assert_eq!(only(&story).redone, ["1"]);
    assert_eq!(story.result, "A=0");
}

#[test]
fn a_transaction_that_began_before_the_excerpt_is_a_loser_like_any() {
    let story = told(
        "LSN=10 CHECKPOINT active={T1:lastLSN=7, T2}
         LSN=11 T1 UPDATE A before=0 after=1
         CRASH",
    );
    assert_eq!(only(&story).losers, ["T1", "T2"]);
    assert_eq!(only(&story).written[0], "CLR 12 (A, undoNext 7)");
    assert_eq!(story.result, "A=0");
}
