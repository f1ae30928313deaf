//! `afterimage log` with real processes: one appends, another follows, each is killed and goes on; and the commands that
//! look.

mod common;

use afterimage_io::Io;
use afterimage_log::{LogOptions, Lsn, Wal};
use common::running::Running;
use common::{Scratch, fingerprint, ok, run, run_with_input};

fn split(line: &str) -> (u64, &str) {
    let (lsn, payload) = line.split_once('\t').expect("an LSN and a record");
    (lsn.parse().expect("an LSN"), payload)
}

#[test]
fn what_is_appended_is_followed_and_each_may_be_killed() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    run_with_input(&["log", "append", &log], b"first\n").expect(0);
    let follow = |from: &str| Running::start(&["log", "tail", "-f", &log, "--lsn", "--from", from]);
    let mut tail = follow("start");
    assert_eq!(split(&tail.line()).1, "first");
    let mut last = 0;
    for life in 0..3 {
        let mut append = Running::start(&["log", "append", &log]);
        for n in 0..20 {
            let payload = format!("{life} {n}");
            append.write(&format!("{payload}\n"));
            let seen = tail.line();
            assert_eq!(split(&seen).1, payload);
            last = split(&seen).0;
            assert_eq!(append.line(), last.to_string());
            if n == 10 {
                // The follower dies, misses something, and goes on where it was.
                tail.kill();
                append.write("missed\n");
                append.line();
                tail = follow(&(last + 1).to_string());
                assert_eq!(split(&tail.line()).1, "missed");
            }
        }
        // The holder dies with records under way: what it had said is there, and what the follower shows stays.
        let many: String = (0..2000)
            .map(|n| format!("{life} under way {n}\n"))
            .collect();
        append.write(&many);
        for _ in 0..50 {
            append.line();
        }
        let acknowledged = append.kill();
        // The next holder recovers, appends one record, and closes; up to that one the follower sees everything.
        run_with_input(&["log", "append", &log], b"recovered\n").expect(0);
        let mut followed = Vec::new();
        loop {
            let line = tail.line();
            let end = split(&line).1 == "recovered";
            followed.push(line);
            if end {
                break;
            }
        }
        for lsn in &acknowledged {
            assert!(
                followed
                    .iter()
                    .any(|line| line.starts_with(&format!("{lsn}\t"))),
                "{lsn}"
            );
        }
        let cat = ok(&[
            "log",
            "cat",
            &log,
            "--lsn",
            "--from",
            &(last + 1).to_string(),
        ])
        .lines();
        assert_eq!(cat, followed, "what was shown is what is there");
    }
    ok(&["log", "verify", &log]);
}

#[test]
fn records_of_any_bytes_come_back() {
    let scratch = Scratch::new();
    let (log, copy) = (scratch.path("log"), scratch.path("copy"));
    let mut input = Vec::new();
    for len in [0_u32, 1, 300, 70_000] {
        input.extend_from_slice(&len.to_le_bytes());
        input.extend((0..len).map(|n| (n * 7) as u8));
    }
    let lsns = run_with_input(&["log", "append", &log, "--length-prefixed"], &input).expect(0);
    assert_eq!(lsns.lines().len(), 4);
    let cat = ok(&["log", "cat", &log, "--length-prefixed"]).stdout;
    assert!(cat == input);
    run_with_input(&["log", "append", &copy, "--length-prefixed"], &cat).expect(0);
    assert!(ok(&["log", "cat", &copy, "--length-prefixed"]).stdout == input);

    let cut = run_with_input(
        &["log", "append", &log, "--length-prefixed"],
        &[9, 0, 0, 0, 1],
    )
    .expect(1);
    assert!(cut.stderr.contains("record 1"), "{}", cut.stderr);
    let large = run_with_input(&["log", "append", &log, "--length-prefixed"], &[0xff; 8]).expect(1);
    assert!(large.stderr.contains("larger than"), "{}", large.stderr);
    assert!(ok(&["log", "cat", &log, "--length-prefixed"]).stdout == input);
}

#[test]
fn looking_begins_where_it_is_asked_to_and_changes_nothing() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let input: String = (0..100).map(|n| format!("record {n}\n")).collect();
    let lsns = run_with_input(&["log", "append", &log], input.as_bytes())
        .expect(0)
        .lines();
    let before = fingerprint(&log);
    assert_eq!(ok(&["log", "cat", &log]).text(), input);
    assert_eq!(
        ok(&["log", "cat", &log, "--from", &lsns[97]]).lines(),
        ["record 97", "record 98", "record 99"]
    );
    assert_eq!(ok(&["log", "cat", &log, "--from", "end"]).text(), "");
    assert_eq!(
        ok(&["log", "tail", &log, "-n", "2"]).lines(),
        ["record 98", "record 99"]
    );
    assert_eq!(ok(&["log", "tail", &log]).lines().len(), 10);
    let document = ok(&["log", "cat", &log, "--limit", "3", "--json"]).json();
    assert_eq!(document["count"], 3);
    assert_eq!(document["records"][2]["payload"], "record 2");
    assert_eq!(document["next"].to_string(), lsns[3]);
    let stats = ok(&["log", "stats", &log, "--json"]).json();
    assert_eq!(stats["durable_lsn"], stats["clean_end"]);
    assert_eq!(
        ok(&["log", "verify", &log, "--json"]).json()["records"],
        100
    );
    let frames = ok(&["log", "dump", &log, "--images"]).text();
    assert!(
        frames.contains("record 42") && frames.contains("watermark"),
        "{frames}"
    );
    run(&["log", "cat", &log, "--from", "0"]).expect(2);
    run(&["log", "cat", &scratch.path("nothing")]).expect(2);
    assert_eq!(fingerprint(&log), before);
}

#[test]
fn a_holder_is_no_hindrance_to_looking_but_to_a_second_holder() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let mut append = Running::start(&["log", "append", &log]);
    append.write("a\nb\n");
    let lsns = [append.line(), append.line()];
    assert_eq!(ok(&["log", "cat", &log]).text(), "a\nb\n");
    let stats = ok(&["log", "stats", &log, "--json"]).json();
    assert_eq!(stats["pid"], append.child.id());
    assert!(stats["durable_lsn"].as_u64() > lsns[1].parse().ok());
    let refused = run_with_input(&["log", "append", &log], b"c\n").expect(3);
    assert!(
        refused
            .stderr
            .contains(&format!("process {}", append.child.id())),
        "{}",
        refused.stderr
    );
    run(&["log", "verify", &log]).expect(3);
}

#[test]
fn a_database_shows_its_log_decoded_and_takes_no_records() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"alice\t100\n").expect(0);
    let refused = run_with_input(&["log", "append", &db], b"x\n").expect(3);
    assert!(refused.stderr.contains("database"), "{}", refused.stderr);
    assert!(ok(&["log", "cat", &db]).text().contains("create database"));
    assert!(ok(&["log", "tail", &db]).text().contains("checkpoint end"));
    assert_eq!(
        ok(&["log", "stats", &db, "--json"]).json()["kind"],
        "database"
    );
    ok(&["log", "verify", &db]);
    // It has no slots, and its engine's log is not to be held back from here.
    assert_eq!(ok(&["log", "slots", &db]).text(), "there are no slots\n");
    assert_eq!(
        ok(&["log", "slots", &db, "--json"]).json()["slots"],
        serde_json::json!([])
    );
    for change in ["--create", "--drop"] {
        let refused = run(&["log", "slots", &db, change, "copy"]).expect(3);
        assert!(refused.stderr.contains("database"), "{}", refused.stderr);
    }
    run(&["log", "tail", &db, "--slot", "copy"]).expect(2);
}

#[test]
fn damage_is_a_finding_with_its_place() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let lsns = run_with_input(&["log", "append", &log], b"a\nb\nc\n")
        .expect(0)
        .lines();
    let file = std::path::Path::new(&log).join("log/00000001-0000000000000001.log");
    let mut bytes = std::fs::read(&file).expect("a segment");
    let at: usize = lsns[1].parse().expect("an LSN");
    bytes[at - (16 << 20) + 9] ^= 1;
    std::fs::write(&file, bytes).expect("it can be damaged");
    let found = run(&["log", "verify", &log, "--json"]).expect(1).json();
    assert_eq!(found["findings"][0]["lsn"].to_string(), lsns[1]);
    let cat = run(&["log", "cat", &log]).expect(3);
    assert_eq!(cat.text(), "a\n");
    assert!(cat.stderr.contains(&lsns[1]), "{}", cat.stderr);
}

#[test]
fn a_damaged_log_is_salvaged_only_where_that_is_wanted() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    // A holder that dies leaves a log whose whole length is read at the next open.
    let mut append = Running::start(&["log", "append", &log]);
    let mut lsns = Vec::new();
    for n in 0..10 {
        append.write(&format!("record {n}\n"));
        lsns.push(append.line());
    }
    append.kill();
    let told = ok(&["log", "salvage", &log]).text();
    assert!(told.contains("nothing to do"), "{told}");

    let file = std::path::Path::new(&log).join("log/00000001-0000000000000001.log");
    let mut bytes = std::fs::read(&file).expect("a segment");
    let at: usize = lsns[4].parse().expect("an LSN");
    bytes[at - (16 << 20) + 9] ^= 1;
    std::fs::write(&file, bytes).expect("it can be damaged");
    let refused = run_with_input(&["log", "append", &log], b"more\n").expect(3);
    assert!(refused.stderr.contains("damaged"), "{}", refused.stderr);

    let before = fingerprint(&log);
    let plan = ok(&["log", "salvage", &log, "--json"]).json();
    assert_eq!(
        (&plan["done"], &plan["kept"]["records"]),
        (&false.into(), &4.into()),
        "{plan}"
    );
    assert!(
        ok(&["log", "salvage", &log])
            .text()
            .contains("would be cut off")
    );
    let unchanged = |dir: &str| {
        let mut found = fingerprint(dir);
        found.retain(|path, _| path.extension().is_some_and(|e| e == "log"));
        found
    };
    assert!(
        unchanged(&log)
            .iter()
            .all(|(path, seen)| before[path] == *seen)
    );

    let evidence = scratch.path("evidence");
    let done = ok(&["log", "salvage", &log, "--yes", "--evidence", &evidence]).text();
    assert!(
        done.contains("kept: ") && done.contains("cannot be read") && done.contains(&evidence),
        "{done}"
    );
    run(&["log", "verify", &evidence]).expect(1);
    run_with_input(&["log", "append", &log], b"after\n").expect(0);
    assert_eq!(
        ok(&["log", "cat", &log]).lines(),
        ["record 0", "record 1", "record 2", "record 3", "after"]
    );
    ok(&["log", "verify", &log]);
    let db = scratch.path("db");
    run_with_input(&["load", &db, "t"], b"a\t1\n").expect(0);
    run(&["log", "salvage", &db, "--yes"]).expect(3);
}

#[test]
fn a_follower_with_a_slot_goes_on_where_it_was() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    run_with_input(&["log", "append", &log], b"before\n").expect(0);
    run(&["log", "slots", &log, "--create", "no/name"]).expect(2);
    ok(&["log", "slots", &log, "--create", "mailer", "--from", "end"]);
    run(&["log", "tail", &log, "--slot", "nobody"]).expect(2);
    let mut append = Running::start(&["log", "append", &log]);
    let follow = || Running::start(&["log", "tail", "-f", &log, "--slot", "mailer"]);
    let position = || ok(&["log", "slots", &log, "--json"]).json()["slots"][0]["position"].as_u64();
    let mut next = 0;
    for _ in 0..3 {
        let tail = follow();
        for _ in 0..10 {
            append.write(&format!("record {next}\n"));
            // After a kill the last ones may come again, and none is left out.
            let mut line = tail.line();
            while line != format!("record {next}") {
                let again: u32 = line
                    .strip_prefix("record ")
                    .and_then(|n| n.parse().ok())
                    .expect("a record");
                assert!(again < next, "{line} before record {next}");
                line = tail.line();
            }
            next += 1;
        }
        run(&["log", "tail", &log, "--slot", "mailer"]).expect(3);
        tail.kill();
    }
    drop(append);
    // Without -f it ends by itself, and then the slot stands at the end.
    ok(&["log", "tail", &log, "--slot", "mailer"]);
    assert_eq!(ok(&["log", "tail", &log, "--slot", "mailer"]).text(), "");
    assert!(position() > Some(0));
    ok(&["log", "slots", &log, "--drop", "mailer"]);
    assert_eq!(ok(&["log", "slots", &log]).text(), "there are no slots\n");
}

#[test]
fn a_follower_of_a_log_that_is_cut_says_so_and_where_it_goes_on() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let lsns = run_with_input(&["log", "append", &log], b"a\nb\nc\n")
        .expect(0)
        .lines();
    ok(&["log", "slots", &log, "--create", "copy"]);
    assert_eq!(
        ok(&["log", "tail", &log, "--slot", "copy"]).lines(),
        ["a", "b", "c"]
    );
    let tail = Running::start(&["log", "tail", "-f", &log]);
    assert_eq!([tail.line(), tail.line(), tail.line()], ["a", "b", "c"]);

    let cut: u64 = lsns[1].parse().expect("an LSN");
    let mut wal = Wal::open(&Io::os(), log.as_ref(), &LogOptions::default()).expect("it opens");
    wal.truncate_after(Lsn::new(cut).expect("an LSN"))
        .expect("it is cut");
    let told = wal.append(b"B").and_then(|ticket| ticket.wait());
    told.expect("it is appended");

    let (code, said) = tail.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("cut at LSN {cut}")) && said.contains(&format!("--from {cut}")),
        "{said}"
    );
    wal.close().expect("it closes");
    assert_eq!(
        ok(&["log", "tail", &log, "--from", &lsns[1]]).lines(),
        ["B"]
    );
    // The slot stands at the cut; its owner is told, and goes on.
    let with_slot = ok(&["log", "tail", &log, "--slot", "copy"]);
    assert_eq!(with_slot.lines(), ["B"]);
    assert!(
        with_slot.stderr.contains(&format!("cut at LSN {cut}")),
        "{}",
        with_slot.stderr
    );
    let again = ok(&["log", "tail", &log, "--slot", "copy"]);
    assert_eq!((again.text(), again.stderr), (String::new(), String::new()));
}
