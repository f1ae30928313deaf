//! The example that promises "exactly once" keeps it: who adds and who works are processes that are killed at some line of
//! their output and started again, and in the end every payment was booked once.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../afterimage-log/tests/example/mod.rs"]
mod example;

use std::collections::BTreeMap;

use afterimage::Io;
use afterimage_log::{Start, WalReader};
use example::Home;

const EXAMPLE: &str = "exactly_once";

#[test]
fn every_payment_is_booked_exactly_once() {
    let home = Home::new(EXAMPLE);
    home.small_segments("queue");
    home.small_segments("bank");
    // Different powers: a sum shows which of its parts came twice.
    let payments = |from: u32, count: u32| -> Vec<String> {
        let payment = |n: u32| format!("name{} {}", n / 30, 1_u64 << (n % 30 * 2));
        (from..from + count).map(payment).collect()
    };
    home.start(EXAMPLE, &["add"]).finish();
    let (mut added, mut from, mut in_the_middle) = (Vec::new(), 0, 0);
    for (round, kill_at) in [1, 30, 12, 29, 5, 26, 16, 7, 22, 3, 14, 10]
        .into_iter()
        .enumerate()
    {
        let mut adder = home.start(EXAMPLE, &["add"]);
        adder.tell(&payments(from, 60));
        from += 60;
        // While payments are added, and while the log is held by nobody.
        let worker = home.start(EXAMPLE, &["work"]);
        let booked = worker.kill_after(kill_at).len();
        in_the_middle += usize::from(booked < 40);
        added.extend(if round % 2 == 0 {
            adder.kill_after(45)
        } else {
            adder.finish()
        });
    }
    let mut adder = home.start(EXAMPLE, &["add"]);
    let last = payments(from, 10);
    adder.tell(&last);
    added.extend(adder.finish());
    let mut worker = home.start(EXAMPLE, &["work"]);
    let last = format!("booked {}", last.last().unwrap());
    while worker.line() != last {}
    worker.kill_after(0);

    let mut log = WalReader::open(&Io::os(), &home.0.join("queue"), Start::Oldest).unwrap();
    let mut expected = BTreeMap::new();
    let mut there = Vec::new();
    while let Some(record) = log.try_next().unwrap() {
        let payment = String::from_utf8(record.payload).unwrap();
        let (name, amount) = payment.split_once(' ').unwrap();
        *expected.entry(name.to_owned()).or_insert(0) += amount.parse::<u64>().unwrap();
        there.push(format!("added {payment}"));
    }
    let lost = added.iter().find(|line| !there.contains(line));
    assert_eq!(lost, None, "it was acknowledged");
    let shown = home.start(EXAMPLE, &["show"]).finish();
    let expected: Vec<_> = expected.iter().map(|(k, v)| format!("{k} {v}")).collect();
    assert_eq!(shown, expected);
    assert!(in_the_middle > 0, "always killed too late");
}
