//! The deliberate bugs of the log: each is noticed by a small scenario, which passes without the bug. An ordinary build
//! runs the scenarios as they are; one with `--cfg planted` (`cargo xtask planted`) with each bug too.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod files;
mod flushes;

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{catch_unwind, set_hook, take_hook};

use afterimage_io::Io;
use afterimage_io::planted::{self, Bug};
use afterimage_io::sim::{Sim, Survival, Verdict};
use common::{Model, recover_and_check};

/// What notices which bug.
const SCENARIOS: &[(Bug, &str, fn())] = &[
    (
        Bug::DamageTakenForTorn,
        "damage_before_a_watermark",
        ends::damage_before_a_watermark,
    ),
    (Bug::WatermarkTooHigh, "torn_batches", ends::torn_batches),
    (
        Bug::EndElsewhere,
        "a_log_that_ends_before_its_clean_stop",
        ends::a_log_that_ends_before_its_clean_stop,
    ),
    (
        Bug::CleanEndTorn,
        "a_clean_stop_in_a_used_file",
        ends::a_clean_stop_in_a_used_file,
    ),
    (
        Bug::TornIsDamage,
        "an_end_after_a_crash",
        ends::an_end_after_a_crash,
    ),
    (
        Bug::GapIsEnd,
        "a_gap_before_a_batch",
        ends::a_gap_before_a_batch,
    ),
    (
        Bug::EndIsTorn,
        "an_end_after_a_crash",
        ends::an_end_after_a_crash,
    ),
    (
        Bug::StaleRecordValidates,
        "stale_records_in_recycled_segments",
        ends::stale_records_in_recycled_segments,
    ),
    (
        Bug::ZeroesValidate,
        "zeroes_behind_the_end",
        ends::zeroes_behind_the_end,
    ),
    (
        Bug::LengthBelieved,
        "lengths_that_cannot_be",
        ends::lengths_that_cannot_be,
    ),
    (
        Bug::TailLeftAlive,
        "a_tail_left_alive",
        ends::a_tail_left_alive,
    ),
    (
        Bug::ExactFitRefused,
        "frames_that_fit_exactly",
        ends::frames_that_fit_exactly,
    ),
    (
        Bug::AckBeforeSync,
        "an_acknowledgement_before_the_sync",
        flushes::an_acknowledgement_before_the_sync,
    ),
    (
        Bug::DurableOverHole,
        "flushes_that_end_out_of_order",
        flushes::flushes_that_end_out_of_order,
    ),
    (
        Bug::LookedTooEarly,
        "followers_and_tickets",
        flushes::followers_and_tickets,
    ),
    (
        Bug::StopNotTold,
        "a_failed_sync_among_many",
        flushes::a_failed_sync_among_many,
    ),
    (
        Bug::TailNotRewritten,
        "a_tail_believed_from_the_page_cache",
        flushes::a_tail_believed_from_the_page_cache,
    ),
    (Bug::SyncRetried, "a_failed_sync", flushes::a_failed_sync),
    (
        Bug::DescriptionShared,
        "one_failure_of_two_flushes",
        flushes::one_failure_of_two_flushes,
    ),
    (
        Bug::HalfRecordKept,
        "a_write_that_stops_half_way",
        flushes::a_write_that_stops_half_way,
    ),
    (
        Bug::SegmentNameNotSynced,
        "a_segment_whose_name_is_not_durable",
        files::a_segment_whose_name_is_not_durable,
    ),
    (
        Bug::SegmentNotFilled,
        "a_disk_that_fills_up",
        files::a_disk_that_fills_up,
    ),
    (Bug::RenamedBeforeSync, "a_birth", files::a_birth),
    (
        Bug::SlotIgnored,
        "a_slot_holds_the_log",
        files::a_slot_holds_the_log,
    ),
    (
        Bug::GivenUpTooEarly,
        "the_log_is_cut_in_front",
        files::the_log_is_cut_in_front,
    ),
    (Bug::SlotNotSynced, "a_slot_moves", files::a_slot_moves),
];

/// Says nothing of panics while `scenario` runs; answers how it failed, if it did.
fn quietly(scenario: fn()) -> Option<String> {
    let hook = take_hook();
    set_hook(Box::new(|_| ()));
    let end = catch_unwind(scenario);
    set_hook(hook);
    let payload = end.err()?;
    let said = payload.downcast_ref::<String>().map(String::as_str);
    let said = said.or(payload.downcast_ref::<&str>().copied());
    Some(
        said.unwrap_or("a panic")
            .lines()
            .next()
            .unwrap_or_default()
            .into(),
    )
}

/// Adds a line to the file that gathers what every layer has killed, if there is one (`cargo xtask planted`).
fn note(bug: Bug, scenario: &str, seconds: f64) {
    if let Some(path) = std::env::var_os("PLANTED_RESULTS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let line = format!(
            "{}\tscenario {scenario}\t0\t{seconds:.3}\t{}\n",
            bug.name(),
            bug.describe()
        );
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn every_planted_bug_of_the_log_is_noticed() {
    let (io, mut missed) = (Io::os(), Vec::new());
    for (bug, name, scenario) in SCENARIOS {
        scenario();
        if !planted::BUILT_IN {
            continue;
        }
        planted::plant(Some(*bug));
        let (begun, noticed) = (io.now(), quietly(*scenario));
        planted::plant(None);
        let seconds = (io.now() - begun).as_secs_f64();
        let by = noticed.as_ref().map_or("NOT CAUGHT", |_| name);
        println!(
            "{:<6} {by:<38} {seconds:>5.2} s  {}",
            bug.name(),
            bug.describe()
        );
        if noticed.is_some() {
            note(*bug, name, seconds);
        }
        match noticed {
            Some(how) => println!("{:7}{}", "", how.chars().take(110).collect::<String>()),
            None => missed.push(bug.name()),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn every_trap_of_the_log_has_a_bug() {
    let traps = [
        "T1", "T2", "T3", "T4", "T5", "T9", "T11", "T12", "T13", "T14", "T15", "T16", "T20",
    ];
    for trap in traps {
        let has = |(bug, _, _): &(Bug, &str, fn())| bug.name() == trap;
        assert!(SCENARIOS.iter().any(has), "{trap} has no bug here");
    }
}

/// Crashes at every call of `life`, and recovers from each policy's remains.
pub fn everywhere(life: fn(&Sim, &Model)) {
    let whole = Sim::new(5);
    life(&whole, &Model::default());
    for at in 0..whole.calls() {
        let (sim, model) = (Sim::new(5), Model::default());
        sim.set_hook(Some(Box::new(move |call, _| {
            if call.index == at {
                Verdict::Crash
            } else {
                Verdict::Continue
            }
        })));
        assert!(sim.catch(|| life(&sim, &model)).is_err());
        let disk = sim.snapshot();
        for policy in [
            Survival::None,
            Survival::All,
            Survival::Only(0),
            Survival::NewestOnly,
            Survival::TornLast {
                unit: 512,
                seed: at,
            },
            // The names, and none of the bytes.
            Survival::Mask(disk.pending().iter().map(|op| !op.is_write()).collect()),
        ] {
            let sim = Sim::from_image(1, &disk.crash(&policy));
            let found =
                recover_and_check(&sim.io(), &model, &format!("call {at}, {policy:?}")).numbers();
            let again = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
            let db = recover_and_check(
                &again.io(),
                &model,
                &format!("call {at}, {policy:?}, again"),
            );
            assert_eq!(db.numbers(), found);
        }
    }
}
