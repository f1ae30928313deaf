//! How `afterimage log` ends: when what it checks is damaged, when nobody reads what it prints, when a record has no end.

mod common;

use common::{Scratch, command, ok, run, run_with_input};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Waits until it ends by itself: its exit code. None if it goes on for far longer than it may; then it is killed.
fn end_of(mut child: Child) -> Option<i32> {
    let mut stderr = child.stderr.take().expect("piped");
    let (send, ended) = channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        let _ = stderr.read_to_string(&mut said);
        let _ = send.send(());
    });
    let alone = ended.recv_timeout(Duration::from_secs(30)).is_ok();
    if !alone {
        child.kill().expect("it can be killed");
    }
    let code = child.wait().expect("it ends").code();
    code.filter(|_| alone)
}

fn piped(args: &[&str]) -> Child {
    command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn what_a_slot_proves_is_checked() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    run_with_input(&["log", "append", &log], b"first\n").expect(0);
    ok(&["log", "slots", &log, "--create", "m"]);
    let set = "wal_writer_delay=10s";
    let mut append = common::running::Running::start(&["log", "append", &log, "--set", set]);
    append.write("acknowledged\n");
    let lsn: usize = append.line().parse().expect("an LSN");
    assert_eq!(ok(&["log", "tail", &log, "--slot", "m"]).lines().len(), 2);
    append.kill();
    let file = std::path::Path::new(&log).join("log/00000001-0000000000000001.log");
    let mut bytes = std::fs::read(&file).expect("a segment");
    bytes[lsn - (16 << 20) + 20] ^= 1;
    std::fs::write(&file, bytes).expect("it can be damaged");
    let found = run(&["log", "verify", &log, "--json"]).expect(1).json();
    let what = found["findings"][0]["what"].to_string();
    assert!(what.contains("the slot"), "{found}");
    run_with_input(&["log", "append", &log], b"").expect(3);
}

#[test]
fn an_append_that_nobody_reads_ends_without_waiting_for_more_input() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let mut append = piped(&["log", "append", &log]);
    drop(append.stdout.take());
    // Kept open until the end.
    let mut stdin = append.stdin.take().expect("piped");
    stdin.write_all(b"unread\n").expect("it reads");
    assert_eq!(end_of(append), Some(0));
    drop(stdin);
    assert_eq!(ok(&["log", "cat", &log]).text(), "unread\n");
}

#[test]
fn a_line_without_an_end_is_refused_once_it_is_too_large() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let mut append = piped(&["log", "append", &log]);
    let mut stdin = append.stdin.take().expect("piped");
    stdin.write_all(b"fits\n").expect("it reads");
    // Four times a segment: none of it is a whole record.
    let refused = (0..64).any(|_| stdin.write_all(&vec![b'x'; 1 << 20]).is_err());
    assert!(refused, "the reader has gone");
    assert_eq!(end_of(append), Some(1));
    let told = run_with_input(&["log", "append", &log], &vec![b'x'; 17 << 20]).expect(1);
    assert!(
        told.stderr.contains("larger than") && told.stderr.contains("record 1"),
        "{}",
        told.stderr
    );
    assert_eq!(ok(&["log", "cat", &log]).text(), "fits\n");
}

#[test]
fn a_follower_whose_reader_has_gone_ends_and_gives_its_slot_back() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    run_with_input(&["log", "append", &log], b"").expect(0);
    ok(&["log", "slots", &log, "--create", "m"]);
    let mut tail = piped(&["log", "tail", "-f", &log, "--slot", "m"]);
    drop(tail.stdout.take());
    assert_eq!(end_of(tail), Some(0));
    ok(&["log", "tail", &log, "--slot", "m"]);
}

#[test]
fn a_file_is_no_log() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, b"").expect("a file");
    for command in ["append", "verify"] {
        let told = run(&["log", command, &file]).expect(2);
        assert!(told.stderr.contains("it is a file"), "{}", told.stderr);
    }
}
