//! Hand-made histories: each name is found where it belongs, and nothing where all is well.

use super::anomaly::Name;
use super::history::{History, Key, Op, Outcome, Txn, Value};
use super::{check, wire};

fn read(key: Key, list: &[Value]) -> Op {
    Op::Read {
        key,
        list: list.to_vec(),
    }
}

fn append(key: Key, value: Value) -> Op {
    Op::Append { key, value }
}

fn scan(from: Key, to: Key, found: &[(Key, &[Value])]) -> Op {
    let found = found.iter().map(|(key, list)| (*key, list.to_vec()));
    Op::Scan {
        from,
        to,
        found: found.collect(),
    }
}

/// All at the same time.
fn txn(ops: Vec<Op>) -> Txn {
    Txn {
        client: 0,
        began: 0,
        ended: 100,
        outcome: Outcome::Committed,
        ops,
    }
}

fn at(began: u64, ended: u64, ops: Vec<Op>) -> Txn {
    Txn {
        began,
        ended,
        ..txn(ops)
    }
}

fn ended(outcome: Outcome, ops: Vec<Op>) -> Txn {
    Txn {
        outcome,
        ..txn(ops)
    }
}

/// The names of what is found, sorted, each once.
fn found(txns: Vec<Txn>) -> Vec<String> {
    found_in(History {
        txns,
        complete: false,
    })
}

fn found_in(history: History) -> Vec<String> {
    let report = check(&history);
    let mut titles: Vec<_> = report
        .findings
        .iter()
        .map(super::anomaly::Finding::title)
        .collect();
    titles.sort();
    titles.dedup();
    for finding in &report.findings {
        assert!(!finding.what.is_empty(), "{finding}");
    }
    titles
}

#[test]
fn nothing_is_found_where_all_is_well() {
    assert_eq!(found(vec![]), [] as [&str; 0]);
    let txns = vec![
        at(0, 3, vec![read(1, &[]), append(1, 10)]),
        at(
            1,
            6,
            vec![
                read(1, &[10]),
                append(1, 11),
                read(1, &[10, 11]),
                append(2, 20),
            ],
        ),
        at(
            2,
            9,
            vec![scan(1, 5, &[(1, &[10, 11]), (2, &[20])]), append(3, 30)],
        ),
        ended(Outcome::Aborted, vec![read(2, &[20]), append(2, 21)]),
        ended(Outcome::Unknown, vec![append(4, 40)]),
        at(
            10,
            12,
            vec![Op::Undone { key: 3, value: 31 }, read(3, &[30])],
        ),
        at(
            13,
            14,
            vec![scan(0, 9, &[(1, &[10, 11]), (2, &[20]), (3, &[30])])],
        ),
    ];
    assert_eq!(
        found_in(History {
            txns,
            complete: true
        }),
        [] as [&str; 0]
    );
}

#[test]
fn g0_dirty_write() {
    let txns = vec![
        txn(vec![append(1, 10), append(2, 20)]),
        txn(vec![append(1, 11), append(2, 21)]),
        txn(vec![read(1, &[10, 11]), read(2, &[21, 20])]),
    ];
    assert!(found(txns).contains(&"G0".to_owned()));
}

#[test]
fn g1a_aborted_read() {
    let aborted = ended(Outcome::Aborted, vec![append(1, 10)]);
    assert_eq!(found(vec![aborted, txn(vec![read(1, &[10])])]), ["G1a"]);
    let taken_back = txn(vec![Op::Undone { key: 1, value: 10 }]);
    assert_eq!(
        found(vec![taken_back, txn(vec![scan(0, 2, &[(1, &[10])])])]),
        ["G1a"]
    );
}

#[test]
fn g1b_intermediate_read() {
    let txns = vec![
        txn(vec![append(1, 10), append(1, 11)]),
        txn(vec![read(1, &[10])]),
        txn(vec![read(1, &[10, 11])]),
    ];
    let titles = found(txns);
    assert!(titles.contains(&"G1b".to_owned()), "{titles:?}");
}

#[test]
fn g1c_circular_information_flow() {
    let txns = vec![
        txn(vec![append(1, 10), read(2, &[20])]),
        txn(vec![append(2, 20), read(1, &[10])]),
    ];
    assert_eq!(found(txns), ["G1c"]);
}

#[test]
fn lost_update() {
    let txns = vec![
        txn(vec![read(1, &[]), append(1, 10)]),
        txn(vec![read(1, &[]), append(1, 11)]),
        txn(vec![read(1, &[10, 11])]),
    ];
    assert_eq!(found(txns), ["lost update"]);
    // And where the second has written over the first.
    let txns = vec![
        txn(vec![read(1, &[]), append(1, 10)]),
        txn(vec![read(1, &[]), append(1, 11)]),
        txn(vec![read(1, &[11])]),
    ];
    let titles = found_in(History {
        txns,
        complete: true,
    });
    assert!(
        ["lost", "lost update"]
            .iter()
            .all(|name| titles.contains(&(*name).to_owned())),
        "{titles:?}"
    );
}

#[test]
fn g_single_read_skew() {
    let txns = vec![
        txn(vec![append(1, 10), append(2, 20)]),
        txn(vec![read(1, &[10]), read(2, &[])]),
    ];
    let mut with_end = txns.clone();
    with_end.push(txn(vec![read(2, &[20])]));
    assert_eq!(found(txns), ["G-single"]);
    assert_eq!(found(with_end), ["G-single"]);
}

#[test]
fn long_fork() {
    let txns = vec![
        txn(vec![append(1, 10)]),
        txn(vec![append(2, 20)]),
        txn(vec![read(1, &[10]), read(2, &[])]),
        txn(vec![read(1, &[]), read(2, &[20])]),
    ];
    assert_eq!(found(txns), ["long fork"]);
}

#[test]
fn g2_item_write_skew() {
    let txns = vec![
        txn(vec![read(1, &[]), append(2, 20)]),
        txn(vec![read(2, &[]), append(1, 10)]),
        txn(vec![read(1, &[10]), read(2, &[20])]),
    ];
    assert_eq!(found(txns), ["G2-item"]);
}

#[test]
fn g2_phantom() {
    let txns = vec![
        txn(vec![scan(1, 9, &[]), append(2, 20)]),
        txn(vec![scan(1, 9, &[]), append(3, 30)]),
        txn(vec![read(2, &[20]), read(3, &[30])]),
    ];
    assert_eq!(found(txns), ["G2"]);
}

#[test]
fn what_the_clock_alone_shows() {
    // Nothing is wrong but that the second one, which began later, has not seen the first.
    let stale = vec![
        at(0, 1, vec![append(1, 10)]),
        at(2, 3, vec![read(1, &[])]),
        at(2, 4, vec![read(1, &[10])]),
    ];
    assert_eq!(found(stale), ["G-single-realtime"]);
    let backwards = vec![
        at(0, 1, vec![append(1, 11)]),
        at(2, 3, vec![append(1, 10)]),
        txn(vec![read(1, &[10, 11])]),
    ];
    assert_eq!(found(backwards), ["G0-realtime"]);
    let seen_before = vec![
        at(0, 1, vec![read(1, &[10])]),
        at(2, 3, vec![append(1, 10)]),
    ];
    assert_eq!(found(seen_before), ["G1c-realtime"]);
    // An end that nobody was told of orders nothing.
    let unknown = Txn {
        ended: u64::MAX,
        ..ended(Outcome::Unknown, vec![append(1, 10)])
    };
    assert_eq!(
        found(vec![unknown, at(2, 3, vec![read(1, &[])])]),
        [] as [&str; 0]
    );
}

#[test]
fn what_needs_no_cycle() {
    let internal = vec![txn(vec![append(1, 10), read(1, &[])])];
    assert_eq!(found(internal), ["internal"]);
    let twice = vec![
        txn(vec![append(1, 10)]),
        txn(vec![read(1, &[]), read(1, &[10])]),
    ];
    assert!(found(twice).contains(&"internal".to_owned()));
    let order = vec![
        txn(vec![append(1, 10)]),
        txn(vec![append(1, 11)]),
        txn(vec![read(1, &[10])]),
        txn(vec![read(1, &[11, 10])]),
    ];
    assert!(found(order).contains(&"incompatible order".to_owned()));
    let duplicate = vec![txn(vec![append(1, 10)]), txn(vec![read(1, &[10, 10])])];
    assert!(found(duplicate).contains(&"duplicate".to_owned()));
    assert_eq!(found(vec![txn(vec![read(1, &[10])])]), ["from nowhere"]);
    let lost = vec![
        txn(vec![append(1, 10)]),
        at(200, 201, vec![scan(0, 9, &[])]),
    ];
    let titles = found_in(History {
        txns: lost,
        complete: true,
    });
    assert!(titles.contains(&"lost".to_owned()), "{titles:?}");
}

#[test]
fn what_was_seen_has_committed() {
    // Nobody was told of its end, but somebody has seen it: so what it has read counts.
    let txns = vec![
        ended(Outcome::Unknown, vec![read(2, &[]), append(1, 10)]),
        txn(vec![read(1, &[]), append(2, 20)]),
        txn(vec![read(1, &[10]), read(2, &[20])]),
    ];
    assert_eq!(found(txns), ["G2-item"]);
}

#[test]
fn every_name_has_its_text() {
    let all = [
        Name::G0,
        Name::G1a,
        Name::G1b,
        Name::G1c,
        Name::LostUpdate,
        Name::GSingle,
        Name::LongFork,
        Name::G2Item,
        Name::G2,
        Name::Internal,
        Name::IncompatibleOrder,
        Name::Duplicate,
        Name::FromNowhere,
        Name::Lost,
    ];
    let texts: std::collections::BTreeSet<_> = all.iter().map(|name| name.text()).collect();
    assert_eq!(texts.len(), all.len());
}

#[test]
fn a_long_history_takes_time_in_proportion() {
    // One list after the other, each written by many and read by many; no cycle, and no recursion that could run deep.
    let mut txns = Vec::new();
    for n in 0..100_000u32 {
        let (key, begin) = (n / 20, n / 20 * 20);
        let before: Vec<_> = (begin..n).collect();
        let now = u64::from(n) * 2;
        txns.push(at(now, now + 1, vec![read(key, &before), append(key, n)]));
    }
    let report = check(&History {
        txns,
        complete: false,
    });
    assert_eq!((report.committed, report.findings), (100_000, Vec::new()));
}

#[test]
fn events_come_through_a_pipe_as_they_are() {
    let events = [
        wire::Event::Asks(Txn {
            client: 3,
            began: 1 << 40,
            ended: u64::MAX,
            outcome: Outcome::Unknown,
            ops: vec![
                append(1, 2),
                Op::Undone { key: 3, value: 4 },
                read(5, &[6, 7]),
                scan(8, 9, &[(8, &[1]), (9, &[])]),
            ],
        }),
        wire::Event::Ended {
            began: 1 << 40,
            ended: 1 << 41,
            outcome: Outcome::Committed,
        },
    ];
    let mut bytes = Vec::new();
    for event in &events {
        wire::write(&mut bytes, event).expect("memory takes it");
    }
    let mut rest = &bytes[..];
    for event in events {
        assert_eq!(wire::read(&mut rest).expect("events"), Some(event));
    }
    assert_eq!(wire::read(&mut rest).expect("the end"), None);
    // Killed in the middle of a write.
    for len in 0..bytes.len() {
        let mut cut = &bytes[..len];
        while let Some(event) = wire::read(&mut cut).expect("events") {
            drop(event);
        }
    }
}
