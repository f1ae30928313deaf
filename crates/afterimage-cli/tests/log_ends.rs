//! How `afterimage log` ends: when what it checks is damaged, when nobody reads what it prints, when a record has no end.

mod common;

use common::{Scratch, ok, run, run_with_input};

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
