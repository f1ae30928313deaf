//! The promise: whatever concurrent clients are told, across crashes, some order of all transactions explains it.

use afterimage_sim::isolation::{check, simulated};

#[test]
fn simulated_histories_have_no_anomaly() {
    let (mut committed, mut crashes) = (0, 0);
    for seed in 1000..1006 {
        let (history, crashed) = simulated::history(seed, 800).unwrap_or_else(|e| panic!("{e}"));
        let report = check(&history);
        assert!(
            report.findings.is_empty(),
            "seed {seed}: {}",
            report.findings[0]
        );
        committed += report.committed;
        crashes += crashed;
    }
    assert!(committed > 3000, "{committed} committed");
    assert!(crashes > 6, "{crashes} crashes");
}

#[test]
fn a_seed_makes_the_same_history_again() {
    assert_eq!(simulated::history(7, 300), simulated::history(7, 300));
}
