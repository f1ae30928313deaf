//! A checker of isolation that looks at nothing but what clients were told, in the manner of Elle (Kingsbury and Alvaro,
//! "Elle: Inferring Isolation Anomalies from Experimental Observations", 2020), and the clients whose histories it checks.
//!
//! ```text
//! client -> history -> versions (lists to dependencies) -> graph + cycles (what cannot be) -> anomaly (its name)
//! ```
//!
//! The exact check of the crash simulation (`history.rs` beside this folder) knows the order of the writes, because it sees
//! when each put returns. This one sees less and believes less: a transaction is what it read and what it appended, and what
//! no order of all of them can explain is an anomaly.

pub mod anomaly;
pub mod board;
pub mod client;
pub mod cycles;
pub mod graph;
pub mod history;
pub mod killed;
mod looks;
pub mod simulated;
#[cfg(test)]
mod tests;
pub mod versions;
pub mod wire;

use anomaly::Finding;
use graph::{Edge, Graph, Why};
use history::{History, Outcome};

/// What a check has seen.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Transactions that have committed.
    pub committed: u64,
    /// Transactions that have not.
    pub aborted: u64,
    /// Transactions of which nobody was told, and which nobody has seen.
    pub unknown: u64,
    /// Dependencies.
    pub edges: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Checks a history: strict serializability, and all that it rests on.
#[must_use]
pub fn check(history: &History) -> Report {
    let versions = versions::infer(history);
    let mut edges = versions.edges;
    let nodes = history.txns.len() + time(history, &versions.committed, &mut edges);
    let mut report = Report {
        edges: edges.len() as u64,
        findings: versions.findings,
        ..Report::default()
    };
    let graph = Graph::new(nodes, edges);
    report.findings.extend(cycles::find(history, &graph));
    for (txn, committed) in history.txns.iter().zip(&versions.committed) {
        match txn.outcome {
            _ if *committed => report.committed += 1,
            Outcome::Unknown => report.unknown += 1,
            _ => report.aborted += 1,
        }
    }
    report
}

/// The passing of time as a chain: from each transaction to the node of its end, from there to the next end, and from the
/// last end before a transaction's begin to it. So there are few edges, and a way wherever one ended before another began.
fn time(history: &History, committed: &[bool], edges: &mut Vec<Edge>) -> usize {
    let txns = history.txns.len();
    let of = |n: &usize| &history.txns[*n];
    let mut begins: Vec<usize> = (0..txns).filter(|n| committed[*n]).collect();
    let mut ends = begins.clone();
    ends.retain(|n| of(n).ended != u64::MAX);
    begins.sort_unstable_by_key(|n| of(n).began);
    ends.sort_unstable_by_key(|n| of(n).ended);
    let mut edge = |from: usize, to: usize| {
        edges.push(Edge {
            from: from as u32,
            to: to as u32,
            why: Why::Time,
            key: 0,
        });
    };
    for (place, n) in ends.iter().enumerate() {
        edge(*n, txns + place);
        if place > 0 {
            edge(txns + place - 1, txns + place);
        }
    }
    let mut passed = 0;
    for n in &begins {
        while ends
            .get(passed)
            .is_some_and(|end| of(end).ended < of(n).began)
        {
            passed += 1;
        }
        if passed > 0 {
            edge(txns + passed - 1, *n);
        }
    }
    ends.len()
}
