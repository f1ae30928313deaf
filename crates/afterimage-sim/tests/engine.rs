//! The real engine under each driver, for a few seconds: the long runs are `cargo xtask sim`.

use afterimage_sim::engine::Engine;
use afterimage_sim::exhaustive::{self, Config};
use afterimage_sim::oracle::Layout;
use afterimage_sim::{corruption, random};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

#[test]
fn every_workload_of_one_operation_survives_every_crash() {
    let config = Config {
        longest: 1,
        deeper_one_in: 400,
        workers: 2,
        ..Config::default()
    };
    let counts = exhaustive::run::<Engine>(&Layout::small(), &config, &AtomicBool::new(false))
        .unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(counts.workloads, 5 * (1 + 16) + 2 + 5, "{counts}");
    assert_eq!(counts.verified, counts.distinct, "{counts}");
    assert!(counts.verified > 500, "{counts}");
    assert_eq!(counts.kinds.missing(), [""; 0], "{}", counts.kinds);
}

#[test]
fn random_episodes_hold() {
    let limit = Some(Duration::from_secs(8));
    let tally = random::run(1, Some(40), limit, 2, &AtomicBool::new(false))
        .unwrap_or_else(|f| panic!("{f}"));
    assert!(tally.verified > 0 && tally.acknowledged > 0, "{tally}");
    assert!(tally.in_a_row.iter().all(|n| *n > 0), "{tally}");
}

#[test]
fn a_seed_repeats_itself() {
    for seed in [5, 6] {
        random::replays(seed).unwrap_or_else(|f| panic!("{f}"));
    }
}

#[test]
fn changed_bytes_are_refused_named_or_harmless() {
    let (counts, failures) = corruption::run(7, 4001, &AtomicBool::new(false));
    failures.verdict().unwrap_or_else(|f| panic!("{f}"));
    assert!(
        counts
            .ends
            .keys()
            .any(|(_, end)| *end == corruption::End::Refused),
        "{counts}"
    );
}
