//! A log and its follower, each killed with SIGKILL at whatever line it had come to: the follower goes on where its slot
//! stands, misses nothing, and never shows what the recovered log does not have.

mod common;

use common::running::Running;
use common::{Scratch, ok, run_with_input};
use std::collections::BTreeSet;

/// How often the log's holder is killed, and how often its follower in each of its lives.
const LIVES: u64 = 5;
const KILLS: u64 = 3;
/// So many records are under way at most when one of them is killed.
const RECORDS: u64 = 2000;

/// Numbers that look arbitrary and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn records(part: u64) -> String {
    (0..RECORDS)
        .map(|n| format!("part {part}, record {n}\n"))
        .collect()
}

/// One life of the follower: where its slot stood when it began, and the lines it showed.
struct Life {
    slot: u64,
    shown: Vec<String>,
}

fn slot(log: &str) -> u64 {
    let slots = ok(&["log", "slots", log, "--json"]).json();
    slots["slots"][0]["position"].as_u64().expect("a position")
}

fn lsn(line: &str) -> u64 {
    let (lsn, _) = line.split_once('\t').expect("an LSN and a record");
    lsn.parse().expect("an LSN")
}

/// A follower, and what it has shown so far.
struct Follower {
    tail: Running,
    life: Life,
}

impl Follower {
    fn start(log: &str) -> Self {
        let slot = slot(log);
        Self {
            tail: Running::start(&["log", "tail", "-f", log, "--slot", "copy", "--lsn"]),
            life: Life {
                slot,
                shown: Vec::new(),
            },
        }
    }

    fn show(&mut self) -> &str {
        self.life.shown.push(self.tail.line());
        self.life.shown.last().expect("it was pushed")
    }

    fn kill(mut self) -> Life {
        self.life.shown.extend(self.tail.kill());
        self.life
    }
}

#[test]
fn killed_at_any_line_the_follower_misses_nothing_and_shows_nothing_that_is_taken_back() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    run_with_input(&["log", "append", &log], b"begin\n").expect(0);
    ok(&["log", "slots", &log, "--create", "copy"]);
    let mut chance = Chance(1);
    let mut lives = Vec::new();
    let mut acknowledged = Vec::new();
    let mut follower = Follower::start(&log);
    for life in 0..LIVES {
        // Some die before they have done anything, or in the middle of recovering.
        for _ in 0..chance.below(3) {
            let mut hasty = Running::start(&["log", "append", &log]);
            hasty.write("hasty\n");
            acknowledged.extend(hasty.kill());
        }
        let mut append = Running::start(&["log", "append", &log]);
        for kill in 0..KILLS {
            append.write(&records(life * KILLS + kill));
            // A follower that begins now sees these at least.
            for _ in 0..chance.below(RECORDS) {
                follower.show();
            }
            lives.push(follower.kill());
            follower = Follower::start(&log);
        }
        append.write(&records(u64::MAX));
        for _ in 0..chance.below(RECORDS * (KILLS + 1)) {
            acknowledged.push(append.line());
        }
        acknowledged.extend(append.kill());
    }
    run_with_input(&["log", "append", &log], b"end\n").expect(0);
    while !follower.show().ends_with("\tend") {}
    lives.push(follower.kill());

    let kept = ok(&["log", "cat", &log, "--lsn"]).lines();
    let mut next = 0;
    for (n, life) in lives.iter().enumerate() {
        let at_slot = kept.iter().position(|line| lsn(line) >= life.slot);
        let begin = at_slot.unwrap_or(kept.len());
        assert!(
            begin <= next,
            "life {n} begins at {begin}, and {next} was not shown"
        );
        let end = begin + life.shown.len();
        assert_eq!(
            life.shown,
            kept[begin..end.min(kept.len())],
            "life {n}: what is shown from the slot on is what is there"
        );
        next = next.max(end);
    }
    assert_eq!(next, kept.len(), "all was shown");
    let there: BTreeSet<u64> = kept.iter().map(|line| lsn(line)).collect();
    for lsn in acknowledged {
        let lsn = lsn.parse().expect("an LSN");
        assert!(there.contains(&lsn), "{lsn} was acknowledged");
    }
    assert!(slot(&log) > lsn(&kept[1]), "the slot has moved");
    ok(&["log", "verify", &log]);
}
