//! Scripts as people write them: what textbooks have must be taken, what contradicts itself must be answered, and nothing may panic.

mod common;

use afterimage_explain::{State, Story, Trouble, explain};
use common::{decisions, mistake, only, told};

/// Lines of a script, with `/` between them.
fn lines(script: &str) -> String {
    script.replace(" / ", "\n")
}

#[track_caller]
fn short(script: &str) -> Story {
    told(&lines(script))
}

fn last_state(story: &Story) -> &State {
    let last = only(story).steps.last().expect("steps");
    last.after.as_ref().expect("told")
}

/// The script is refused on this line, and what was expected has this in it.
#[track_caller]
fn refused(script: &str, line: usize, expected: &str) {
    let found = mistake(&lines(script));
    assert_eq!(found.line, line, "{script}\n{found}");
    assert!(found.expected.contains(expected), "{script}\n{found}");
}

#[test]
fn undo_never_goes_to_a_line_that_is_no_record() {
    let script = "1 T1 BEGIN / 2 T1 UPDATE A 0->1 / 3 T1 SAVEPOINT s / 4 T1 UPDATE B 0->2 / 5 T1 CLR undoes=4";
    let story = short(script);
    assert_eq!(only(&story).undone, ["2"]);
    assert_eq!(story.result, "A=0 B=0");
    // Whoever counts the savepoint as a record means the one before it.
    let story = short(&format!("{script} undoNext=3"));
    assert_eq!(only(&story).undone, ["2"]);
    let story = short(
        "1 T1 UPDATE A 0->1 / 2 T1 UPDATE B 0->1 / 3 T1 ABORT / 4 T1 CLR undoes=2 / 5 T1 CLR undoes=1",
    );
    assert_eq!(only(&story).written, ["END T1"]);
    assert_eq!(story.result, "A=0 B=0");
}

#[test]
fn a_commit_may_have_an_end_behind_it() {
    let story = short("1 T1 BEGIN / 2 T1 UPDATE A 0->1 / 3 T1 COMMIT / 4 T1 END / CRASH");
    assert_eq!(only(&story).winners, ["T1"]);
    assert_eq!(story.result, "A=1");
    refused("1 T1 COMMIT / 2 T1 END / 3 T1 END", 3, "not ended");
    refused(
        "1 T1 COMMIT / 2 T1 END / 3 T1 UPDATE A 0->1",
        3,
        "not ended",
    );
}

#[test]
fn the_tables_of_a_fuzzy_checkpoint_may_be_as_of_its_beginning_or_of_its_end() {
    let with = |tables: &str| {
        lines(&format!(
            "10 T1 UPDATE A 0->1 / 20 CHECKPOINT BEGIN / 25 T2 UPDATE B 0->1 / 30 T1 COMMIT / 40 CHECKPOINT END {tables} / CRASH"
        ))
    };
    for tables in [
        "active={T1} dirty={A:10}",
        "active={T1:lastLSN=10} dirty={A:10}",
        "active={T1:lastLSN=30} dirty={A:10}",
        "active={T1, T2} dirty={A:10, B:25}",
        "active={T1, T2:lastLSN=25} dirty={A:10}",
        "active={T2} dirty={A:10, B:25}",
        "active={} dirty={A:10}",
        "dirty={A:10}",
    ] {
        let story = told(&with(tables));
        let recovery = only(&story);
        assert_eq!(
            (&recovery.winners[..], &recovery.losers[..]),
            (&["T1".to_owned()][..], &["T2".to_owned()][..]),
            "{tables}"
        );
        assert_eq!(recovery.redo_from.as_deref(), Some("10"), "{tables}");
        assert_eq!(recovery.redone, ["10", "25"], "{tables}");
        assert_eq!(story.result, "A=1 B=0", "{tables}");
        let shown = |line: &&(String, String, String, String)| line.1.contains("CHECKPOINT");
        let shown: Vec<_> = story.log.iter().filter(shown).map(|l| &l.0[..]).collect();
        assert_eq!(shown, ["20", "40"], "each line of the script is in the log");
    }
    let found = mistake(&with("active={T1:lastLSN=9}"));
    assert!(found.expected.contains("10"), "{found}");
    // Who is unfinished at both must be there, and nobody who had ended before.
    refused(
        "1 T1 BEGIN / 2 CHECKPOINT BEGIN / 3 CHECKPOINT END active={}",
        3,
        "active={T1}",
    );
    refused(
        "1 T1 COMMIT / 2 CHECKPOINT BEGIN / 3 CHECKPOINT END active={T1}",
        3,
        "not ended",
    );
    // Its first line here stands between the two; the table is from before it.
    let story = short(
        "10 CHECKPOINT BEGIN / 11 T1 UPDATE A 0->1 / 12 CHECKPOINT END active={T1:lastLSN=7} / CRASH",
    );
    assert_eq!(only(&story).undone, ["11"]);
    assert_eq!(story.result, "A=0");
}

#[test]
fn a_page_has_one_reclsn() {
    let story = short("200 CHECKPOINT dirty={A.x:198, A.y:199} / 201 T1 UPDATE A.x 0->1 / CRASH");
    assert_eq!(only(&story).dirty, [("A".to_owned(), "198".to_owned())]);
    refused(
        "200 CHECKPOINT dirty={A:198} / 201 CHECKPOINT dirty={A:199} / CRASH",
        2,
        "198",
    );
    refused(
        "1 T1 UPDATE A 0->1 / 2 CHECKPOINT / 3 CHECKPOINT dirty={A:1}",
        3,
        "behind the checkpoint at 2",
    );
    let story = short(
        "200 CHECKPOINT dirty={A:198} / 201 T1 UPDATE A 0->1 / 202 CHECKPOINT dirty={A:201} / CRASH",
    );
    assert_eq!(only(&story).redone, ["201"]);
}

#[test]
fn a_sync_is_no_record() {
    refused("SYNC / DAMAGE LSN=0 / 1 T1 BEGIN", 2, "the LSN of a record");
    refused("SYNC / 1 TEAR / 2 T1 BEGIN", 2, "a record above");
    let story = short("SYNC / 5 CHECKPOINT dirty={A:0} / 6 T1 UPDATE A 0->1 / SYNC / CRASH");
    assert_eq!(only(&story).redone, ["0", "6"]);
    let story = short("SYNC / DISK A lsn=0 value=7 / 1 T1 UPDATE A after=8 / SYNC / CRASH");
    assert_eq!(story.result, "A=7");
}

#[test]
fn two_things_before_the_excerpt_may_have_one_label() {
    let rest = "201 T1 UPDATE A 0->1 / 202 T1 COMMIT";
    let story = short(&format!(
        "DISK A lsn=198 value=0 / 200 CHECKPOINT active={{T1:lastLSN=198}} dirty={{A:198}} / {rest}"
    ));
    assert_eq!(decisions(only(&story)), ["198 page newer", "201 applied"]);
    let story = short(&format!(
        "DISK B lsn=198 value=3 / 200 CHECKPOINT active={{T1}} dirty={{A:198, B:198}} / {rest} / 203 T2 UPDATE B 3->4"
    ));
    assert_eq!(
        decisions(only(&story)),
        [
            "198 page newer",
            "198 applied",
            "201 applied",
            "203 applied"
        ]
    );
    assert_eq!(story.result, "B=3 A=1");
}

#[test]
fn every_torn_page_has_its_copy() {
    let story = short(
        "1 T1 UPDATE A 0->1 / 2 T1 UPDATE B 0->1 / 3 T1 COMMIT / TORN A lsn=1 / TORN B lsn=2",
    );
    assert_eq!(only(&story).outcome, "open");
    assert_eq!(story.result, "A=1 B=1");
    let mut script = String::new();
    for page in 0..20 {
        script += &format!("T1 UPDATE P{page} 0->1\nTORN P{page}\n");
    }
    let story = told(&(script + "T1 COMMIT\nCRASH"));
    let safe = only(&story).steps.iter().filter(|s| s.phase == "safe");
    assert_eq!(safe.count(), 20);
    assert_eq!(story.values.len(), 20);
}

#[test]
fn a_page_between_the_last_line_and_the_crash_is_no_page_from_beyond_the_log() {
    let story =
        short("DISK A lsn=5000 value=2 / 4000 T1 UPDATE A 1->2 / 4001 T1 COMMIT / 10000 CRASH");
    assert_eq!(only(&story).outcome, "open");
    assert_eq!(decisions(only(&story)), ["4000 page newer"]);
    assert_eq!(story.result, "A=2");
    let story = short(
        "DISK A lsn=5000 value=2 / 4000 T1 UPDATE A 1->2 / 4001 T1 COMMIT / SYNC / 10000 CRASH",
    );
    assert_eq!(story.result, "A=2");
    let story = short("DISK A lsn=5000 value=2 / 4000 T1 UPDATE A 1->2 / 4500 CRASH");
    assert!(only(&story).outcome.contains("beyond the end of the log"));
}

#[test]
fn a_page_that_nobody_needs_may_be_torn_and_is_said_to_be() {
    let story = short(
        "1 T1 UPDATE A 0->1 / 2 T1 UPDATE B 0->1 / 3 T1 COMMIT / 4 CHECKPOINT / TORN A copy=no / CRASH",
    );
    assert_eq!(only(&story).outcome, "open");
    let (values, why) = story.result.split_once("; ").expect("two parts");
    assert_eq!(values, "B=1");
    assert!(why.starts_with("page A cannot be read: "), "{why}");
    let text: Vec<String> = story.parts().into_iter().flatten().collect();
    assert!(!text.iter().any(|line| line.contains("does not open")));
}

#[test]
fn what_is_torn_was_on_its_way_to_the_disk() {
    let story = short(
        "1 T1 UPDATE A 0->1 / 2 T1 COMMIT / SYNC / 3 T2 UPDATE A 1->2 / 4 T2 COMMIT / TEAR / CRASH",
    );
    assert_eq!(only(&story).losers, ["T2"]);
    assert!(
        only(&story)
            .steps
            .iter()
            .any(|step| step.text.starts_with("torn: "))
    );
    assert_eq!(story.result, "A=1");
    refused(
        "1 T1 UPDATE A 0->1 / SYNC / TEAR",
        3,
        "a record that is not durable",
    );
    refused("1 T1 BEGIN / 2 CHECKPOINT / TEAR", 3, "not durable");
}

#[test]
fn what_clrs_take_back_may_be_older_than_the_excerpt() {
    let story = short(
        "10 CHECKPOINT active={T1:lastLSN=9} dirty={A:9} / 11 T1 CLR A value=0 undoNext=5 / CRASH",
    );
    let recovery = only(&story);
    assert!(recovery.steps[1].text.contains("last 9"), "{recovery:?}");
    assert_eq!(recovery.undone, [""; 0]);
    assert_eq!(recovery.written, ["END T1"]);
    let undo = recovery.steps.iter().find(|step| step.phase == "undo");
    let undo = undo.expect("it goes to LSN 5");
    assert_eq!(undo.lsn, "5");
    assert!(undo.text.contains("before this excerpt"), "{}", undo.text);
    assert_eq!(story.result, "A=0");

    let story = short(
        "DISK A lsn=9 value=5 / 10 CHECKPOINT active={T1:lastLSN=9} dirty={A:9} / 11 T1 CLR A value=0 undoNext=9",
    );
    assert_eq!(decisions(only(&story)), ["9 page newer", "11 applied"]);
    assert_eq!(story.result, "A=0");

    let story = short("9 CHECKPOINT active={T1} / 10 T1 CLR A value=_ / CRASH");
    assert_eq!(story.result, "A=_");
    let homes: Vec<_> = story.homes.iter().map(|home| &home.2[..]).collect();
    assert_eq!(homes, ["A=?"], "nobody has said what it was");
    let story = short("9 CHECKPOINT active={T1} / 10 T1 CLR A value=4 / CRASH");
    assert_eq!(story.homes[0].2, "A=?");
    assert_eq!(story.result, "A=4");

    // In the middle of a rollback; the last CLR may be lost, and undo visits what it would have passed.
    let middle = "11 T1 CLR A value=0 undoNext=7 / SYNC / 12 T1 CLR B value=0 undoNext=5";
    let story = short(middle);
    let visited = only(&story).steps.iter().filter(|s| s.phase == "undo");
    let visited: Vec<_> = visited.map(|step| step.lsn.as_str()).collect();
    assert_eq!(visited[..2], ["7", "5"]);
    let story = short(&format!("{middle} / SYNC"));
    let dirty: Vec<_> = only(&story)
        .dirty
        .iter()
        .map(|(page, _)| &page[..])
        .collect();
    assert_eq!(dirty, ["A", "B"]);
    assert_eq!(story.result, "A=0 B=0");
    refused(
        "11 T1 CLR A value=0 undoNext=5 / 12 T1 CLR B value=0 undoNext=7",
        2,
        "below 5",
    );
}

#[test]
fn a_rollback_that_contradicts_itself_is_a_mistake() {
    for (script, line, expected) in [
        (
            "1 T1 UPDATE A 0->1 / 2 T1 ABORT / 3 T1 END",
            3,
            "T1 CLR undoes=1",
        ),
        (
            "1 T1 UPDATE A 0->1 / 2 T1 UPDATE A 1->2 / 3 T1 CLR undoes=1",
            3,
            "LSN 2",
        ),
        (
            "1 T1 UPDATE A 0->1 / 2 T1 UPDATE B 0->2 / 3 T1 CLR A value=0",
            3,
            "LSN 2",
        ),
        (
            "1 T1 UPDATE A 0->1 / 2 T1 ABORT / 3 T1 COMMIT",
            3,
            "CLR or END",
        ),
        (
            "1 T1 UPDATE A 0->1 / 2 T1 ABORT / 3 T1 SAVEPOINT s",
            3,
            "CLR or END",
        ),
        (
            "1 T1 UPDATE B 0->1 / 2 T1 UPDATE A 0->1 / 3 T1 CLR B undoes=2",
            3,
            "A",
        ),
        ("1 T1 BEGIN / 2 T1 CLR A value=0", 2, "T1 has begun"),
        (
            "1 T1 UPDATE A 0->1 / 2 T1 UPDATE B 0->1 / 3 T1 CLR undoes=2 undoNext=_",
            3,
            "undoNext=1",
        ),
        (
            "1 T1 BEGIN / 2 T1 UPDATE A 0->1 / 3 T1 UPDATE B 0->1 / 4 T1 CLR undoes=3 undoNext=1",
            4,
            "undoNext=2",
        ),
        (
            "1 T1 UPDATE A 0->1 / 2 T1 UPDATE B 0->1 / 3 T1 CLR undoes=2 / 4 T1 CLR undoes=1 undoNext=3",
            4,
            "_",
        ),
        (
            "10 CHECKPOINT active={T1:lastLSN=9} / 11 T1 UPDATE A 0->1 / 12 T1 CLR B value=0",
            3,
            "LSN 11",
        ),
        (
            "10 CHECKPOINT active={T1:lastLSN=9} / 11 CHECKPOINT active={T1:lastLSN=8}",
            2,
            "9",
        ),
    ] {
        refused(script, line, expected);
    }
    // Whoever does not count BEGIN as a record says that nothing is left.
    let story = short("1 T1 BEGIN / 2 T1 UPDATE A 0->1 / 3 T1 CLR undoes=2 undoNext=_");
    assert_eq!(only(&story).written, ["END T1"]);
}

#[test]
fn what_the_lines_say_of_rows_and_pages_must_fit_together() {
    for (script, line, expected) in [
        ("DISK A lsn=2 value=1 / 2 T1 UPDATE A after=1", 2, "before="),
        ("1 T1 DELETE A before=1 after=2", 1, "UPDATE"),
        ("1 T1 DELETE A before=1 value=2", 1, "one of the two"),
        ("1 T1 INSERT A before=1 after=2", 1, "UPDATE"),
        ("1 T1 INSERT A value=1 after=2", 1, "one of the two"),
        ("1 T1 UPDATE A before=0 before=1 after=2", 1, "once"),
        (
            "1 T1 UPDATE A before=0 after=1 / TORN A lsn=77",
            2,
            "LSN of a line",
        ),
        ("1 T1 UPDATE A 0->1 / TORN A / TORN A lsn=1", 3, "once"),
    ] {
        refused(script, line, expected);
    }
    let story = short("DISK A lsn=1 value=1 / 2 T1 UPDATE A after=2");
    assert_eq!(story.result, "A=1", "its home is what it was before");
}

#[test]
fn labels_are_given_to_lines_without_one_and_have_a_bound() {
    let story = short("CHECKPOINT / LSN=10 T1 BEGIN / T1 UPDATE A 0->1");
    let labels: Vec<_> = story.log.iter().map(|line| &line.0[..]).collect();
    assert_eq!(labels, ["9", "10", "11"]);
    refused("CHECKPOINT / LSN=0 T1 BEGIN", 2, "a higher one");
    for label in [u64::MAX.to_string(), "9".repeat(19), "9".repeat(40)] {
        refused(&format!("{label} T1 BEGIN / T1 COMMIT"), 1, "up to");
        refused(&format!("LSN={label} T1 BEGIN / T1 COMMIT"), 1, "up to");
    }
    let story = short(&format!("{} T1 UPDATE A 0->1 / T2 BEGIN", "9".repeat(18)));
    assert_eq!(story.result, "A=0");
}

#[test]
fn the_power_goes_in_the_middle_of_undo_or_not_at_all() {
    let script = lines("1 T1 UPDATE A 0->1 / 2 T1 COMMIT / CRASH");
    for (script, clrs, said) in [
        (script.clone(), 0, "nothing to undo"),
        (script.clone(), 2, "undo ended before 2 CLRs"),
        (
            script
                .replace("COMMIT", "BEGIN")
                .replace("T1 BEGIN", "T2 BEGIN"),
            3,
            "before 3 CLRs",
        ),
    ] {
        let story = explain(&script, Some(clrs)).expect("a story");
        assert_eq!(only(&story).outcome, "open", "{script}");
        let last = only(&story).steps.last().expect("steps");
        assert!(last.text.contains(said), "{script}\n{}", last.text);
    }
}

#[test]
fn the_story_tells_what_it_knows() {
    // A page from its copy has the rows of that version.
    let story = short(
        "1 T1 UPDATE A 0->1 / 2 T1 COMMIT / 3 T2 UPDATE A 1->2 / 4 T2 COMMIT / TORN A lsn=3 / CRASH",
    );
    let (lsn, rows) = &last_state(&story).pages["A"];
    assert_eq!((lsn.as_str(), rows.len()), ("3", 1));
    assert_eq!(rows[0].1.as_deref(), Some("2"));
    // A CLR that undo visits moves undoNext like any record.
    let story = short(
        "1 T1 BEGIN / 2 T1 UPDATE A 0->1 / 3 T1 UPDATE B 0->1 / 4 T1 CLR undoes=3 / 5 T1 UPDATE C 0->1 / CRASH",
    );
    let undo = only(&story).steps.iter().filter(|s| s.phase == "undo");
    let next: Vec<_> = undo
        .filter_map(|step| Some(step.after.as_ref()?.active.get("T1")?.1.clone()))
        .collect();
    assert_eq!(next, ["4", "2", "1", "none"]);
    // A value is what it is, however long.
    let long = "x".repeat(200);
    let story = short(&format!("1 T1 INSERT A value={long} / 2 T1 COMMIT / CRASH"));
    let rows = &last_state(&story).pages["A"].1;
    assert_eq!(rows[0].1.as_deref(), Some(long.as_str()));
    // What was there before the excerpt, nobody has told.
    let story = short("10 CHECKPOINT active={T1:lastLSN=7} / 11 T1 UPDATE A 0->1 / CRASH");
    let at_7 = only(&story)
        .steps
        .iter()
        .find(|s| s.lsn == "7" && s.phase == "undo");
    let text = &at_7.expect("undo goes there").text;
    assert!(text.contains("before this excerpt") && !text.contains("first record"));
}

#[test]
fn a_script_has_bounds() {
    let many = "T1 UPDATE A 0->0\n".repeat(400);
    let found = mistake(&many);
    assert_eq!(found.line, 301);
    let names: Vec<String> = (0..200).map(|n| format!("T{n}")).collect();
    refused(
        &format!("1 CHECKPOINT active={{{}}}", names.join(", ")),
        1,
        "100 transactions",
    );
    let pages: Vec<String> = (0..200).map(|n| format!("P{n}:0")).collect();
    refused(
        &format!("1 CHECKPOINT dirty={{{}}}", pages.join(", ")),
        1,
        "100 pages",
    );
    refused(&format!("1 T1 BEGIN{}", " / CRASH".repeat(20)), 12, "10");
    refused("1 T1 UPDATE .x before=0 after=1", 1, "a page's name");
    let found = mistake("1 T1 UPDATE .x before=0 after=1");
    assert_eq!(found.column, 13);
    let key = "k".repeat(513);
    refused(
        &format!("1 T1 INSERT table=t key={key} value=1"),
        1,
        "512 bytes",
    );
    refused(
        &format!("1 T1 INSERT A value={}", "v".repeat(1025)),
        1,
        "1024 bytes",
    );
    refused(
        &format!("1 T1 INSERT {} value=1", "n".repeat(256)),
        1,
        "255",
    );
    let value = "v".repeat(1000);
    refused(
        &format!(
            "1 T1 INSERT A.1 value={value} / 2 T1 INSERT A.2 value={value} / 3 T1 INSERT A.3 value={value} / 4 T1 INSERT A.4 value={value}"
        ),
        4,
        "another page",
    );
    // As much as is taken fits, whatever becomes of it.
    let value = "v".repeat(900);
    let story = short(&format!(
        "1 T1 INSERT A.1 value={value} / 2 T1 UPDATE A.1 {value}->0 / 3 T1 INSERT A.2 value={value} / 4 T1 INSERT A.3 value={value} / CRASH"
    ));
    assert_eq!(only(&story).outcome, "open");
    assert_eq!(story.result, "A.1=_ A.2=_ A.3=_");
}

#[test]
fn remarks_and_marks_of_the_file_are_no_part_of_the_log() {
    let story = short("\u{feff}// A title / 1 T1 UPDATE A before=0 after=1//x / CRASH");
    assert_eq!(story.title, "A title");
    assert_eq!(only(&story).undone, ["1"]);
    assert!(story.log[0].1.ends_with("0 -> 1"), "{:?}", story.log);
    let found = mistake("\u{feff}1 T1 WHAT");
    assert_eq!((found.line, found.column), (1, 6));
}

/// Whatever stands in a script: it is a story or a mistake.
#[test]
fn no_script_panics() {
    let words = [
        "T1",
        "T2",
        "BEGIN",
        "UPDATE",
        "INSERT",
        "DELETE",
        "COMMIT",
        "ABORT",
        "END",
        "SAVEPOINT s",
        "CLR",
        "CHECKPOINT",
        "CHECKPOINT BEGIN",
        "CHECKPOINT END",
        "SYNC",
        "TEAR",
        "DAMAGE LSN=2",
        "TORN A",
        "TORN B lsn=3",
        "DISK A lsn=2",
        "DISK B lsn=0 value=3",
        "CRASH",
        "A",
        "B",
        "A.x",
        "0->1",
        "1->2",
        "before=0",
        "after=1",
        "value=1",
        "value=_",
        "undoes=2",
        "undoes=3",
        "undoNext=1",
        "undoNext=_",
        "active={T1}",
        "active={T1:0, T2}",
        "dirty={A:1}",
        "dirty={A:0, B:2}",
        "copy=no",
    ];
    let starts = [
        "T1 BEGIN",
        "T2 BEGIN",
        "T1 UPDATE A 0->1",
        "T1 UPDATE A after=2",
        "T2 UPDATE B 0->1",
        "T2 INSERT C value=1",
        "T1 DELETE A",
        "T1 COMMIT",
        "T2 COMMIT",
        "T1 ABORT",
        "T1 END",
        "T2 END",
        "T1 CLR A value=0",
        "T2 CLR B value=0",
        "T2 CLR D value=_ undoNext=0",
        "T1 CLR undoes=3",
        "T1 SAVEPOINT s",
        "CHECKPOINT",
        "CHECKPOINT BEGIN",
        "CHECKPOINT END",
        "CHECKPOINT active={T1} dirty={A:2}",
        "CHECKPOINT dirty={A:2}",
        "CHECKPOINT active={T1:lastLSN=1} dirty={A:1, B:1}",
        "CHECKPOINT active={T1, T2:1}",
        "CHECKPOINT END active={T1, T2} dirty={B:0}",
        "SYNC",
        "TEAR",
        "DAMAGE LSN=4",
        "TORN A",
        "TORN B copy=no",
        "DISK A lsn=1 value=0",
        "DISK B lsn=4",
        "CRASH",
        "9 CRASH",
    ];
    let mut seed = 0x5EED_u64;
    let mut below = |n: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let (mut stories, mut open) = (0, 0);
    for _ in 0..1500 {
        let count = 1 + below(9);
        let mut script = String::new();
        for n in 0..count {
            let line = match below(12) {
                0 => format!(
                    "{} {} {}",
                    words[below(words.len())],
                    words[below(words.len())],
                    words[below(words.len())]
                ),
                _ => starts[below(starts.len())].to_owned(),
            };
            let label = if n == 0 && below(2) == 0 { "2 " } else { "" };
            script += &format!("{label}{line}\n");
        }
        let story = match explain(&script, (below(3) == 0).then(|| below(3))) {
            Ok(story) => story,
            Err(Trouble::Mistake(_)) => continue,
            Err(other) => panic!("{other}\n{script}"),
        };
        {
            stories += 1;
            let last = story.recoveries.last().expect("a recovery");
            let harmed = ["DISK", "TORN", "TEAR", "DAMAGE"];
            if !harmed.iter().any(|word| script.contains(word)) {
                assert_eq!(last.outcome, "open", "{script}");
            }
            // What the story says of the pages is what the database says.
            let after = last.steps.last().and_then(|step| step.after.as_ref());
            let after = after.filter(|_| last.outcome == "open");
            for (page, rows) in story.values.iter().filter(|_| after.is_some()) {
                let (_, told) = &after.expect("filtered").pages[page];
                for (name, value) in rows {
                    let told = told.iter().find(|(row, _)| row == name);
                    let told = told.and_then(|(_, value)| value.clone());
                    assert_eq!(told, *value, "{name}\n{script}");
                }
            }
            open += usize::from(story.recoveries.iter().any(|r| r.outcome == "open"));
            let text: Vec<String> = story.parts().into_iter().flatten().collect();
            assert!(!text.is_empty() && story.json()["recoveries"].is_array());
        }
    }
    assert!(
        stories > 100 && open > 50,
        "{stories} stories, {open} of them open"
    );
}
